"""Partitions of months are made ahead, whoever makes them, and take their rows out of the default partition."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from service.database import monthly_partitions
from service.database.database import plain_url
from service.database.monthly_partitions import first_id

MONTH_END = datetime(2031, 1, 31, 23, 59, 59, 999_000, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_url(database_url))
    yield connection
    await connection.close()


async def place_of(connection: asyncpg.Connection, id: UUID) -> str:
    """The partition into which a decision of this id goes."""
    await connection.execute(
        "INSERT INTO decision (id, allocation_id, create_time) VALUES ($1, $1, now()) ON CONFLICT DO NOTHING", id
    )
    place: str = await connection.fetchval("SELECT tableoid::regclass::text FROM decision WHERE id = $1", id)
    return place


async def test_partitions_are_made_ahead_at_the_end_of_a_month(connection: asyncpg.Connection) -> None:
    before = await place_of(connection, first_id(MONTH_END))
    async with connection.transaction():
        await monthly_partitions.make_ahead(connection, "decision", MONTH_END)

    moments = [MONTH_END, MONTH_END + MILLISECOND, MONTH_END + timedelta(days=59), MONTH_END + timedelta(days=60)]
    places = [await place_of(connection, first_id(moment)) for moment in moments]

    assert before == "decision_default"
    assert places == ["decision_2031_01", "decision_2031_02", "decision_2031_03", "decision_default"]
    assert await place_of(connection, UUID(int=uuid4().int | 1 << 127)) == "decision_default"


async def test_several_services_make_partitions_at_once(connection: asyncpg.Connection, database_url: str) -> None:
    async def make() -> None:
        other = await asyncpg.connect(plain_url(database_url))
        async with other.transaction():
            await monthly_partitions.make_ahead(other, "decision", MONTH_END)
        await other.close()

    await asyncio.gather(*(make() for _ in range(4)))

    found = {x.name for x in await monthly_partitions.partitions(connection, "decision")}
    assert found > {"decision_2031_01", "decision_2031_02", "decision_2031_03"}


async def test_a_decision_is_found_by_the_index_of_its_month(connection: asyncpg.Connection) -> None:
    async with connection.transaction():
        await monthly_partitions.make_ahead(connection, "decision", MONTH_END)
    plan = await connection.fetch(
        "EXPLAIN SELECT * FROM decision WHERE id = $1".replace("$1", f"'{first_id(MONTH_END)}'")
    )

    text = "\n".join(row[0] for row in plan)
    assert "decision_2031_01" in text
    assert "decision_2031_02" not in text
