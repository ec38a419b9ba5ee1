"""A service that reads from a streaming replica: what it answers, when it does not, and what never touches it."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import asyncpg
import pytest
from google.type.latlng_pb2 import LatLng
from prometheus_client import CollectorRegistry

from service.app.application import running
from service.app.wiring import new_id
from service.app.workers.supervisor import running_workers
from service.catalog.catalog_store import CatalogCache
from service.database import migrate
from service.database.database import Connection, Database
from service.metrics import Metrics
from service.replica.reads import DATABASE, READ_FROM, Reads
from service.replica.replica import Replica, Source
from tests.acceptance.test_workers import metrics_of, total
from tests.conftest import PLAIN_RULES, service_settings
from tests.postgres_servers import ReplicatedPair, needs_postgresql, replicated_pair
from tests.retailer import HOLD, Retailer, eventually
from tests.service.reports.counted import report
from tests.steady_shoppers import Shoppers
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    exception_service_pb2 as exception_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    pickup_pb2,
    stock_service_pb2 as stock_pb,
)
from truestock.v1.availability_service_pb2_grpc import AvailabilityServiceStub

pytestmark = [
    pytest.mark.database,
    pytest.mark.long,
    needs_postgresql,
]

MUG = ("MUG", "dc")
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Shop:
    """The database of one test, on both servers."""

    servers: ReplicatedPair
    name: str

    @property
    def primary_url(self) -> str:
        return self.servers.primary.url(self.name)

    @property
    def replica_url(self) -> str:
        return self.servers.standby.url(self.name)


@pytest.fixture(scope="module")
def servers() -> Iterator[ReplicatedPair]:
    # What the replica runs is looked for in its log. Its replay does not wait for a query that is in its way.
    settings = {"log_statement": "all", "max_standby_streaming_delay": "0", "hot_standby_feedback": "off"}
    with replicated_pair(is_synchronous=False, standby_settings=settings) as servers:
        asyncio.run(migrate.migrate(servers.primary.url()))
        yield servers


@pytest.fixture
async def database(servers: ReplicatedPair) -> Shop:
    name = f"shop_{next(_numbers)}"
    connection = await asyncpg.connect(servers.primary.url("postgres"))
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE shop")
    await connection.close()
    return Shop(servers, name)


@asynccontextmanager
async def served(database: Shop, max_lag_seconds: float = 30) -> AsyncIterator[Retailer]:
    """A service that reads from the replica, once it does; ten mugs at each start."""
    settings = service_settings(database.primary_url, PLAIN_RULES).model_copy(
        update={"read_database_url": database.replica_url, "read_max_lag_seconds": max_lag_seconds}
    )
    async with running(settings) as service, Retailer.connect(service, database.primary_url) as shop:
        await shop.set_up()
        await shop.stock({MUG: 10})
        await is_read_from(shop)
        yield shop


async def is_read_from(shop: Retailer) -> None:
    """Waits until the replica answers, and has what was written before."""
    began = time.monotonic()

    async def has_all() -> bool:
        return shop.metric("replica_up") == 1 and shop.metric("replica_lag_seconds") < time.monotonic() - began

    await eventually(has_all, 60)


async def sellable(shop: Retailer, *, sees_own_writes: bool = False) -> int:
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["MUG"])
    metadata = ((READ_FROM, DATABASE),) if sees_own_writes else ()
    answer = await shop.availability.CheckAvailability(request, metadata=metadata, timeout=20)
    count: int = answer.availabilities[0].sellable_count
    return count


@asynccontextmanager
async def paused_replay(database: Shop) -> AsyncIterator[None]:
    """The replica goes on to answer, with what it has."""
    connection = await asyncpg.connect(database.replica_url)
    try:
        await connection.execute("SELECT pg_wal_replay_pause()")

        async def is_paused() -> bool:
            state = await connection.fetchval("SELECT pg_get_wal_replay_pause_state()")
            return bool(state == "paused")

        await eventually(is_paused)
        yield
    finally:
        await connection.execute("SELECT pg_wal_replay_resume()")
        await connection.close()


async def test_lists_reports_and_availability_come_from_the_replica(database: Shop) -> None:
    async with served(database) as shop:
        await shop.allocate("LISTED", {"MUG": 1})
        await is_read_from(shop)
        before = {name: shop.metric("replica_reads_total", answered_by=name) for name in ("replica", "database")}

        assert await sellable(shop) == 9
        assert (await shop.level(*MUG)).on_hand_count == 10
        listed = await shop.allocations.ListAllocations(allocation_pb.ListAllocationsRequest())
        assert [order.order_id for order in listed.allocations] == ["LISTED"]
        await shop.fulfillment.ListShipments(fulfillment_pb.ListShipmentsRequest(location_ids=["dc"]))
        await shop.exceptions.ListExceptions(exception_pb.ListExceptionsRequest(include_counts=True))
        await shop.stock_service.ListStockMovements(stock_pb.ListStockMovementsRequest())
        await shop.stock_service.ListTransfers(stock_pb.ListTransfersRequest())
        await shop.availability.SearchPickupLocations(
            pickup_pb2.SearchPickupLocationsRequest(
                channel_id="web",
                lines=[order_pb2.OrderLine(line_id="1", sku="MUG", unit_count=1)],
                destination=order_pb2.Destination(coordinates=LatLng(latitude=40, longitude=-74)),
            )
        )
        await report(shop)

        assert shop.metric("replica_reads_total", answered_by="replica") == before["replica"] + 9
        assert shop.metric("replica_reads_total", answered_by="database") == before["database"]
        assert shop.metric("replica_lag_seconds") < 30


async def test_promises_and_what_is_not_there_yet_never_rest_on_the_replica(database: Shop) -> None:
    async with served(database) as shop:
        async with paused_replay(database):
            await shop.stock({MUG: 3, ("BOWL", "attic"): 5})
            attic = catalog_pb.Channel(channel_id="attic", kind=catalog_pb.Channel.KIND_WEB, location_ids=["attic"])
            await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[attic]))
            seen = await sellable(shop), await sellable(shop, sees_own_writes=True)
            answers_of_replica = shop.metric("replica_reads_total", answered_by="replica")
            statements = database.servers.standby.log.read_text().count("stock_level")

            held = await shop.allocate("HELD", {"MUG": 2}, HOLD)
            trial = await shop.allocate("TRIED", {"MUG": 2}, validate_only=True)
            sold = await shop.allocate("SOLD", {"MUG": 1})
            confirmed = await shop.confirm(held.allocation_id)
            late = await shop.allocate("LATE", {"MUG": 1})
            of_attic = await shop.allocate("ATTIC", {"BOWL": 5}, channel_id="attic")
            found = (await shop.get(sold.allocation_id)).allocation
            untouched = database.servers.standby.log.read_text().count("stock_level") == statements
            new = availability_pb.CheckAvailabilityRequest(channel_id="attic", skus=["BOWL"])
            answer = await shop.availability.CheckAvailability(new)

            # The replica still has ten mugs, and neither the bowl nor its channel.
            assert seen == (10, 3)
            assert [x.outcome for x in (held, sold, confirmed, of_attic)] == [held.outcome] * 4
            assert trial.outcome != held.outcome
            assert late.outcome != held.outcome
            assert found.order_id == "SOLD"
            assert answer.availabilities[0].sellable_count == 0
            assert shop.metric("replica_reads_total", answered_by="replica") == answers_of_replica
            assert untouched
            assert await sellable(shop) == 10
        await is_read_from(shop)
        assert await sellable(shop) == 0
        assert (await shop.ledger()).balanced


async def test_beyond_the_stated_lag_the_database_answers(database: Shop) -> None:
    async with served(database, max_lag_seconds=4) as shop:
        async with paused_replay(database):
            await shop.count({MUG: 4})
            counted = time.monotonic()
            seen: list[tuple[float, int]] = []

            async def is_fresh() -> bool:
                asked = time.monotonic() - counted
                seen.append((asked, await sellable(shop)))
                return seen[-1][1] == 4 and shop.metric("replica_up") == 0

            await eventually(is_fresh)

        assert all(units == 4 for asked, units in seen if asked > 4)
        await is_read_from(shop)
        answered = shop.metric("replica_reads_total", answered_by="replica")
        assert await sellable(shop) == 4
        assert shop.metric("replica_reads_total", answered_by="replica") == answered + 1


async def test_an_idle_database_leaves_its_replica_in_use(database: Shop) -> None:
    async with served(database, max_lag_seconds=1) as shop:
        await asyncio.sleep(2.5)

        async def is_used() -> bool:
            return shop.metric("replica_up") == 1 and shop.metric("replica_lag_seconds") < 1

        # The last commit of a shop is older than that for good.
        await eventually(is_used)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["is killed", "hangs"])
async def test_every_call_is_answered_when_the_replica(database: Shop, number: signal.Signals) -> None:
    async with served(database) as shop:
        asking = [asyncio.create_task(_ask(shop)) for _ in range(4)]
        database.servers.standby.send(number)

        async def is_left() -> bool:
            return shop.metric("replica_up") == 0

        await eventually(is_left)
        before = shop.metric("replica_reads_total", answered_by="database")
        assert await sellable(shop) == 10
        assert shop.metric("replica_reads_total", answered_by="database") > before
        if number == signal.SIGKILL:
            database.servers.standby.stop()
            database.servers.standby.start()
        else:
            database.servers.standby.send(signal.SIGCONT)
        await is_read_from(shop)
        for task in asking:
            task.cancel()
        results = await asyncio.gather(*asking, return_exceptions=True)

        # Each ended because it was cancelled, not because a call failed.
        assert [type(result) for result in results] == [asyncio.CancelledError] * 4


async def _ask(shop: Retailer) -> None:
    while True:
        assert await sellable(shop) == 10


async def test_each_worker_reads_from_the_replica_and_their_metrics_are_one(database: Shop) -> None:
    settings = service_settings(database.primary_url, PLAIN_RULES).model_copy(
        update={"read_database_url": database.replica_url, "read_max_lag_seconds": 30, "workers": 2}
    )
    async with (
        running_workers(settings) as service,
        Retailer.connect(service, database.primary_url) as shop,
        Shoppers.connect([service.address], 16) as shoppers,
    ):
        await shop.set_up()
        await shop.stock({MUG: 10})
        counted = time.monotonic()

        async def is_read_from_by_all() -> bool:
            families = await metrics_of(service)
            return total(families, "replica_up") == 1 and (
                total(families, "replica_lag_seconds") < time.monotonic() - counted
            )

        await eventually(is_read_from_by_all, 60)
        before = total(await metrics_of(service), "replica_reads_total", answered_by="replica")
        request = availability_pb.CheckAvailabilityRequest(channel_id="web", skus=["MUG"])
        # Each connection is one worker's.
        answers = [
            await AvailabilityServiceStub(channel).CheckAvailability(request, timeout=20)
            for channel in shoppers.channels
        ]
        families = await metrics_of(service)

        assert {answer.availabilities[0].sellable_count for answer in answers} == {10}
        assert total(families, "replica_reads_total", answered_by="replica") == before + len(answers)
        readers = await shop.sql("SELECT count(*) AS readers FROM replica_heartbeat")
        assert [row["readers"] for row in readers] == [2]


async def test_a_query_that_replay_cancels_is_answered_by_the_database(database: Shop) -> None:
    """Replay does not wait for it here, as it does not for longer than `max_standby_streaming_delay` elsewhere."""
    metrics, stop = Metrics(CollectorRegistry()), asyncio.Event()
    primary_database = await Database.open(database.primary_url, metrics, connections=4)
    reads = Reads(Source(primary_database, CatalogCache()))
    open_replica = partial(Database.open_replica, database.replica_url, metrics)
    primary = Source(primary_database, CatalogCache())
    reads.replica = replica = Replica(
        open_replica, primary, metrics.replica, new_id(), max_lag_seconds=30, connections=2
    )
    following = asyncio.create_task(replica.run(stop))
    asked: list[bool] = []
    begun = asyncio.Event()

    async def read(source: Source) -> int:
        async def work(connection: Connection) -> int:
            asked.append(source.is_replica)
            await connection.fetchval("SELECT count(*) FROM conflict")
            begun.set()
            seconds = 30 * source.is_replica
            count: int = await connection.fetchval("SELECT count(*) FROM conflict, pg_sleep($1)", seconds)
            return count

        return await source.database.snapshot("conflict", work)

    connection = await asyncpg.connect(database.primary_url)
    try:
        await connection.execute("CREATE TABLE conflict AS SELECT generate_series(1, 100) AS n")
        created = time.monotonic()

        async def has_all() -> bool:
            return replica.source is not None and replica.lag_seconds < time.monotonic() - created

        await eventually(has_all)
        reading = asyncio.create_task(reads.answer(read))
        await begun.wait()
        await connection.execute("DELETE FROM conflict WHERE n > 40")
        await connection.execute("VACUUM conflict")

        assert await reading == 40
        assert asked == [True, False]
    finally:
        await connection.execute("DROP TABLE IF EXISTS conflict")
        await connection.close()
        stop.set()
        await following
        await primary_database.close()


async def test_a_replica_that_is_promoted_is_no_longer_read_from(database: Shop) -> None:
    """The last test of the module: nothing makes it a replica again."""
    async with served(database) as shop:
        connection = await asyncpg.connect(database.replica_url)
        await connection.fetchval("SELECT pg_promote()")

        async def is_left() -> bool:
            return shop.metric("replica_up") == 0

        await eventually(is_left)
        # What is sold there now is another world.
        await connection.execute("UPDATE stock_level SET on_hand = 999")
        answers = [await sellable(shop) for _ in range(5)]
        await connection.close()

        assert answers == [10] * 5
