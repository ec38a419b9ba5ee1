"""What a transaction did is counted once it is committed, and not before: what is rolled back never happened."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from service.database.database import Connection, Database
from service.metrics import Metrics

pytestmark = pytest.mark.database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = await Database.open(database_url, Metrics(CollectorRegistry()), connections=2)
    yield database
    await database.close()


async def test_what_the_commit_refuses_is_not_counted(database: Database) -> None:
    """Only the commit finds that the parcel which another one refers to is not there."""
    counted: list[str] = []

    async def store(connection: Connection, parcel: str, other: str) -> str:
        reference = "text REFERENCES parcel DEFERRABLE INITIALLY DEFERRED"
        await connection.execute(
            f"CREATE TEMPORARY TABLE parcel (id text PRIMARY KEY, other {reference}) ON COMMIT DROP"
        )
        await connection.execute("INSERT INTO parcel VALUES ($1, $2)", parcel, other)
        return parcel

    await database.transaction("test", lambda connection: store(connection, "a", "a"), counted.append)
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await database.transaction("test", lambda connection: store(connection, "b", "c"), counted.append)

    assert counted == ["a"]
