"""A connection asks the server about PostgreSQL's own types only if none before it has, and about others always."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import asyncpg

from service.database.built_in_types import Connection
from service.database.database import plain_url

ID = UUID("0195e9c1-0000-7000-8000-000000000001")
QUESTIONS = r"SELECT count(*) FROM pg_prepared_statements WHERE statement ~ '^\s*WITH RECURSIVE typeinfo'"
"""What the session has asked about types, each question once."""


async def answers(database_url: str, statement: str, *values: Any) -> tuple[Any, int]:
    """What a new connection reads, and the questions about types that this took."""
    connection = await asyncpg.connect(plain_url(database_url), connection_class=Connection)
    try:
        return await connection.fetchval(statement, *values), await connection.fetchval(QUESTIONS)
    finally:
        await connection.close()


async def test_a_second_connection_knows_the_types_of_the_first(database_url: str) -> None:
    lists = "SELECT $1::uuid[] || $2::uuid"
    await answers(database_url, lists, [ID], ID)

    assert await answers(database_url, lists, [ID], ID) == ([ID, ID], 0)


async def test_a_type_that_was_dropped_and_made_again_is_read_as_it_is_now(database_url: str) -> None:
    connection = await asyncpg.connect(plain_url(database_url))
    found = []
    for members, value in (("size text", "ROW(38)"), ("size int, colour text", "ROW(38, 'red')")):
        await connection.execute(f"DROP TYPE IF EXISTS variant; CREATE TYPE variant AS ({members})")
        row, questions = await answers(database_url, f"SELECT {value}::variant")
        found.append((tuple(row), questions))
    await connection.close()

    assert found == [(("38",), 1), ((38, "red"), 1)]
