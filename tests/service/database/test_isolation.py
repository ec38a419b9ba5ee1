"""Which isolation the service asks PostgreSQL for, whatever the database has as its default."""

from __future__ import annotations

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from service.database.database import Connection, Database, plain_url
from service.metrics import Metrics

pytestmark = pytest.mark.database


@pytest.fixture
async def strict_url(database_url: str) -> str:
    """A database whose sessions are serializable unless they ask for something else."""
    connection = await asyncpg.connect(plain_url(database_url))
    name = await connection.fetchval("SELECT current_database()")
    await connection.execute(f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    await connection.close()
    return database_url


async def test_changes_are_read_committed_and_reports_are_snapshots_on_a_database_with_another_default(
    strict_url: str,
) -> None:
    """Figures are read after the locks; in a snapshot from before them, two orders would get the last unit."""

    async def level(connection: Connection) -> str:
        return str(await connection.fetchval("SHOW transaction_isolation"))

    database = await Database.open(strict_url, Metrics(CollectorRegistry()), connections=2)
    changes = await database.transaction("test", level)
    report = await database.snapshot("test", level)
    await database.close()

    assert (changes, report) == ("read committed", "repeatable read")
