"""Direct connections prepare statements by name; behind a connection pooler nothing depends on a session."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from service.app.application import running
from service.app.listening import StartError
from service.cli.commands import database_commands
from service.database import connection_pool, migrate
from service.database.connection_pool import ConnectionPool
from service.database.database import Connection, Database
from service.metrics import Metrics
from service.settings import Settings
from tests.conftest import PLAIN_RULES, RULES, RetailerMaker, service_settings
from tests.pooler import needs_pgbouncer, pgbouncer
from tests.retailer import HOLD, Retailer, eventually, promised
from tests.server_socket import socket_of, url_by
from truestock.v1 import allocation_service_pb2 as allocation_pb, availability_service_pb2 as availability_pb

SKUS = ("CUP", "MUG", "POT")


@pytest.fixture
def pooled_url(database_url: str) -> Iterator[str]:
    """The database through a pooler that lends two sessions, each for one transaction."""
    with pgbouncer(database_url) as url:
        yield url


@asynccontextmanager
async def opened(url: str, *, connections: int = 2) -> AsyncIterator[Database]:
    database = await Database.open(url, Metrics(CollectorRegistry()), connections=connections)
    try:
        yield database
    finally:
        await database.close()


async def names_in_session(database: Database) -> int:
    """Statements that the session of a connection has prepared by name."""

    async def work(connection: Connection) -> int:
        count: int = await connection.fetchval("SELECT count(*) FROM pg_prepared_statements")
        return count

    return await database.unlocked("test", work)


async def test_a_direct_connection_prepares_its_statements_by_name(database_url: str) -> None:
    async with opened(database_url) as database:
        assert await names_in_session(database) == 1
        assert not database.behind_pooler


async def test_a_session_that_has_lost_a_statement_costs_a_retry_and_nothing_is_named_from_then_on(
    database_url: str,
) -> None:
    async with opened(database_url) as database:
        await names_in_session(database)
        async with database.session("test") as connection:
            # What a pooler does to a session before it lends it to the next client.
            await connection.execute("DEALLOCATE ALL")

        assert await names_in_session(database) == 0
        assert database.behind_pooler


@needs_pgbouncer
async def test_a_caller_that_gives_up_while_a_connection_opens_leaves_none(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opening = asyncio.Event()

    async def never_answered(_: Connection) -> bool:
        opening.set()
        return await asyncio.Future()

    pool = await ConnectionPool.open(database_url, connections=2)
    monkeypatch.setattr(connection_pool, "_is_direct", never_answered)
    async with pool.acquire() as connection:
        second = asyncio.ensure_future(pool.acquire().__aenter__())
        await opening.wait()
        second.cancel()

        async def is_alone() -> bool:
            sessions = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            )
            return bool(sessions == 1)

        await eventually(is_alone)
    await pool.close(1)


async def test_a_pooler_is_noticed_at_the_first_connection(pooled_url: str) -> None:
    async with opened(pooled_url) as database:
        assert database.behind_pooler
        assert await names_in_session(database) == 0


@needs_pgbouncer
async def test_all_statements_of_a_read_share_a_session_behind_a_pooler(pooled_url: str) -> None:
    async with opened(pooled_url) as database, opened(pooled_url) as other:

        async def read(connection: Connection) -> list[int]:
            first = await connection.fetchval("SELECT pg_backend_pid()")
            # A pooler lends a session that is free to the next transaction.
            async with other.session("test") as busy, busy.transaction():
                await busy.execute("SELECT 1")
                return [first, await connection.fetchval("SELECT pg_backend_pid()")]

        sessions = await database.unlocked("test", read)

    assert len(set(sessions)) == 1


@needs_pgbouncer
@pytest.mark.long
async def test_each_call_is_answered_behind_a_pooler_that_shares_its_sessions(pooled_url: str) -> None:
    """More callers than sessions, and services that would have names in common."""
    async with AsyncExitStack() as stack:
        first, second = [await RetailerMaker(pooled_url, stack).make() for _ in range(2)]
        await first.stock({(sku, "dc"): 10 for sku in SKUS})

        answers = await asyncio.gather(*(use(shop, number) for number in range(8) for shop in (first, second)))

        units = sum(sum(promised(order).values()) for order in answers)
        ledger = await asyncio.to_thread(database_commands.verify_ledger, Settings(database_url=pooled_url))
    assert units == 16
    assert ledger.balanced
    assert ledger.totals["promised_units"] == units
    assert "pooler" in first.service.database


async def use(shop: Retailer, number: int) -> allocation_pb.Allocation:
    """A hold, its confirmation, and reads around them."""
    sku = SKUS[number % len(SKUS)]
    watch = shop.availability.WatchAvailability(availability_pb.WatchAvailabilityRequest(channel_id="web", skus=[sku]))
    await watch.read()
    held, *_ = await asyncio.gather(
        shop.allocate(f"{shop.service.address}-{number}", {sku: 1}, HOLD), shop.sellable(sku), shop.level(sku, "dc")
    )
    await watch.read()
    watch.cancel()
    return await shop.confirm(held.allocation_id)


@needs_pgbouncer
async def test_a_pooler_that_is_put_in_between_later_is_noticed(database_url: str, pooled_url: str) -> None:
    folder = Path(tempfile.mkdtemp(prefix="moved-", dir="/tmp"))
    socket = folder / ".s.PGSQL.5432"
    moved_url = url_by(folder, database_url)
    async with AsyncExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        socket.symlink_to(socket_of(database_url))
        shop = await RetailerMaker(moved_url, stack).make()
        await shop.stock({("MUG", "dc"): 10})

        socket.unlink()
        socket.symlink_to(socket_of(pooled_url))
        await shop.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        orders = await asyncio.gather(*(shop.allocate(f"A-{number}", {"MUG": 1}) for number in range(8)))

        assert sum(sum(promised(order).values()) for order in orders) == 8


@needs_pgbouncer
async def test_a_service_refuses_a_pooler_that_allows_no_transactions(database_url: str) -> None:
    with (
        pgbouncer(database_url, pool_mode="statement") as url,
        pytest.raises(StartError, match="set pool_mode to transaction"),
    ):
        async with running(service_settings(url, PLAIN_RULES)):
            pass


@needs_pgbouncer
@pytest.mark.long
async def test_a_database_is_migrated_and_the_sample_served_behind_a_pooler(empty_database_url: str) -> None:
    with pgbouncer(empty_database_url) as url:
        await migrate.migrate(url)
        settings = service_settings(url, RULES).model_copy(update={"sample": True, "sample_orders": False})
        async with running(settings) as service, Retailer.connect(service, url) as shop:
            orders = await asyncio.gather(
                *(shop.allocate(f"A-{number}", {"TRN-1205-MOS": 1}, channel_id="shopify") for number in range(20))
            )
        ledger = await asyncio.to_thread(database_commands.verify_ledger, Settings(database_url=url))

    assert service.loaded_sample
    assert ledger.balanced
    assert ledger.totals["promised_units"] == sum(sum(promised(order).values()) for order in orders)


async def test_a_cancelled_caller_leaves_no_statement_behind_for_the_next(database_url: str) -> None:
    """Each new statement is prepared and then run; its caller is cancelled a little later each time."""

    async def states(connection: Connection) -> list[str]:
        query = "SELECT state FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        return [row["state"] for row in await connection.fetch(f"{query} AND application_name = 'truestock'")]

    async def one(connection: Connection) -> int:
        number: int = await connection.fetchval("SELECT 1")
        return number

    async def new_statement(connection: Connection, number: int) -> None:
        await connection.fetchval(f"SELECT {number} + count(*) FROM pg_class")

    cancelled_count = 0
    async with opened(database_url, connections=1) as database, opened(database_url, connections=1) as observer:
        await database.unlocked("test", one)
        for number in range(900):
            call = asyncio.ensure_future(database.unlocked("test", partial(new_statement, number=number)))
            for _ in range(number % 60):
                await asyncio.sleep(0)
            call.cancel()
            cancelled_count += isinstance((await asyncio.gather(call, return_exceptions=True))[0], BaseException)

            assert await observer.unlocked("test", states) == ["idle"]
            assert await database.snapshot("test", one) == 1
    assert cancelled_count > 50
