"""The rows of a statement in slices, between which others use the event loop.

asyncpg makes values of all rows that have arrived, in one callback. Of many rows 256 kB arrive at a time, whose values
would stop everything else for 30 ms.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import asyncpg

from service.background import Turn
from service.database.database import Connection, Statement

ROWS_AT_ONCE = 200
"""Rows that are worked on before others get their turn."""


async def row_slices(
    statement: Statement, connection: Connection, values: Mapping[str, Any], *, row_count: int, is_many: bool
) -> AsyncIterator[Sequence[asyncpg.Record]]:
    """Every row that the statement returns, of one snapshot, at most ROWS_AT_ONCE at a time.

    If they may be many, `row_count` of them are asked for at a time; that takes a transaction, and a round trip more
    for each slice.
    """
    turn = Turn()
    parts = _fetched(statement, connection, values, row_count) if is_many else _at_once(statement, connection, values)
    async for rows in parts:
        for start in range(0, len(rows), ROWS_AT_ONCE):
            yield rows[start : start + ROWS_AT_ONCE]
            await turn.end_if_long()


async def _at_once(
    statement: Statement, connection: Connection, values: Mapping[str, Any]
) -> AsyncIterator[Sequence[asyncpg.Record]]:
    yield await statement.rows(connection, **values)


async def _fetched(
    statement: Statement, connection: Connection, values: Mapping[str, Any], row_count: int
) -> AsyncIterator[Sequence[asyncpg.Record]]:
    if not getattr(connection, "keeps_statements", False):
        # A cursor needs a prepared statement, which a pooler might keep for somebody else.
        yield await statement.rows(connection, **values)
        return
    cursor = await connection.cursor(statement.sql, *statement.arguments(dict(values)))
    while rows := await cursor.fetch(row_count):
        yield rows
        if len(rows) < row_count:
            return
