"""The retailer of the benchmarks: a warehouse, nine stores, the repository's rules, and a check of stock at the end."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncpg
from prometheus_client import CollectorRegistry

from bench import bench_catalog
from bench.bench_calls import CHANNEL_ID, LOCATION_IDS, UNITS, AnsweredUnits, new_order
from bench.rounds import WrongAnswer
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from service.allocation.allocation_queue import Ticket
from service.app.wiring import new_id
from service.catalog import catalog_requests, catalog_store
from service.catalog.catalog_store import CHANNELS, LOCATIONS, PRODUCTS, CatalogCache
from service.database import migrate
from service.database.database import Connection, Database, single_connection
from service.feeds import stock_intake
from service.feeds.stock_requests import record_request
from service.metrics import Metrics
from service.orders import order_requests
from service.policy.active_policies import ActivePolicies
from service.policy.rules_folder import read_folder
from service.rpc.idempotency import IdempotencyKey
from service.stock import ledger_check, levels
from service.stock.ledger_check import LedgerReport
from truestock.v1 import catalog_service_pb2 as catalog_pb

RULES = Path(__file__).parent.parent / "rules"
DURABILITY_SETTINGS = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "commit_delay",
    "server_version",
)

_order_numbers = itertools.count(1)


@dataclass(slots=True)
class BenchRetailer(AnsweredUnits):
    """A migrated database with the retailer in it, and what its calls answered.

    `unanswered` counts units of orders whose calls got no answer: each of them may have been sold.
    """

    url: str
    policies: ActivePolicies
    metrics: Metrics
    unanswered: Counter[str] = field(default_factory=Counter)

    def new_ticket(self, *skus: str) -> Ticket:
        """A new SOLD order of one unit of each SKU, as the servicer passes it to the allocation queue."""
        message = new_order(skus, f"order-{next(_order_numbers)}")
        order = order_requests.order_request(message)
        key = IdempotencyKey(new_id(), "AllocateOrder", b"")
        return Ticket(order, key, message, self.policies.current.policy_set, new_id())

    async def add_products(self, skus: Iterable[str]) -> None:
        """Creates products and counts UNITS of each at every location."""
        skus = list(skus)
        policy_set = self.policies.in_force()
        database = await Database.open(self.url, self.metrics, connections=1)
        await database.transaction("stock", lambda connection: _add_products(connection, skus, policy_set))
        await database.close()

    async def add_chain(self, location_count: int, skus: Sequence[str]) -> None:
        """Adds this many stores, and UNITS of each new product at each of them. Through the API that takes minutes."""
        await self.add_stocked(bench_catalog.stores(location_count), skus)

    async def add_stocked(self, locations: Sequence[catalog_pb.Location], skus: Sequence[str]) -> None:
        """Adds these locations, and UNITS of each new product at each of them."""
        database = await Database.open(self.url, self.metrics, connections=1)
        await database.transaction("stocked", lambda connection: _add_stocked(connection, locations, skus))
        await database.close()

    async def verify(self) -> str:
        """What was verified. Raises WrongAnswer unless the ledger balances and stock says what calls answered."""
        async with single_connection(self.url) as connection:
            report = await check_ledger(connection)
            levels_by_sku = await connection.fetch(
                "SELECT sku, sum(allocated)::int AS allocated, sum(held)::int AS held, "
                "sum(on_hand)::int - count(*)::int * $1 AS received FROM stock_level GROUP BY sku",
                UNITS,
            )
            oversold_count = await connection.fetchval(
                "SELECT count(*) FROM stock_level WHERE held + allocated > on_hand - unavailable"
            )
        if oversold_count:
            raise WrongAnswer(f"{oversold_count} stock levels have more units held and allocated than in stock")
        for row in levels_by_sku:
            self._compare(row)
        return (
            f"ledger balances over {report.totals['movements']:,} movements; {self.sold.total():,} units sold, "
            f"{self.held.total():,} held and {self.received.total():,} received by the answers, as many by the stock "
            "levels, none of them oversold"
        )

    def _compare(self, level: asyncpg.Record) -> None:
        sku = level["sku"]
        for counted, column in ((self.sold, "allocated"), (self.held, "held"), (self.received, "received")):
            unanswered = self.unanswered[sku] if column == "allocated" else 0
            if not 0 <= level[column] - counted[sku] <= unanswered:
                raise WrongAnswer(
                    f"{counted[sku]} units of {sku} are {column} by the answers, {level[column]} by the stock levels"
                )

    async def durability_settings(self) -> dict[str, str | float]:
        """The settings of PostgreSQL that decide whether a commit is durable."""
        async with single_connection(self.url) as connection:
            return {name: str(await connection.fetchval(f"SHOW {name}")) for name in DURABILITY_SETTINGS}


async def check_ledger(connection: Connection) -> LedgerReport:
    """The report of a ledger that balances. Raises WrongAnswer if it does not."""
    report = await ledger_check.verify(connection)
    if not report.balanced:
        raise WrongAnswer(f"the ledger does not balance: {'; '.join(report.differences[:3])}")
    return report


def repository_rules() -> PolicySet:
    """The rules of RULES. Raises WrongAnswer if they have problems."""
    reading = read(read_folder(RULES).files)
    if reading.policy_set is None:
        raise WrongAnswer(f"the repository's rules have problems: {reading.problems[0]}")
    return reading.policy_set


@asynccontextmanager
async def open_retailer(url: str) -> AsyncIterator[BenchRetailer]:
    """The retailer in an empty database, which is migrated first."""
    await migrate.migrate(url)
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(url, metrics, connections=1)
    try:
        await database.transaction("catalog", _add_locations_and_channel)
    finally:
        await database.close()
    metrics.start_channels([CHANNEL_ID], LOCATION_IDS)
    yield BenchRetailer(url, ActivePolicies(RULES, metrics), metrics)


async def _add_locations_and_channel(connection: Connection) -> None:
    await LOCATIONS.upsert(connection, catalog_requests.location_rows(bench_catalog.locations()))
    await CHANNELS.upsert(connection, catalog_requests.channel_rows([bench_catalog.channel()]))


async def _add_stocked(connection: Connection, locations: Sequence[catalog_pb.Location], skus: Sequence[str]) -> None:
    await catalog_store.claim(connection)
    await LOCATIONS.upsert(connection, catalog_requests.location_rows(locations))
    await PRODUCTS.upsert(connection, catalog_requests.product_rows(bench_catalog.products(skus)))
    for statement in (_STOCKED_LEVELS, _STOCKED_MOVEMENTS):
        await connection.execute(statement, skus, [location.location_id for location in locations], UNITS)


_STOCKED_LEVELS = """
    INSERT INTO stock_level (sku, location_id, on_hand, source, counted_source, counted_units, counted_time, as_of_time,
        physical_count_time)
    SELECT sku, location_id, $3, 'bench', 'bench', $3, now(), now(), now()
    FROM unnest($1::text[]) sku, unnest($2::text[]) location_id
"""
_STOCKED_MOVEMENTS = """
    INSERT INTO stock_movement (id, sku, location_id, kind, result, on_hand_delta, unavailable_delta, held_delta,
        allocated_delta, reported_count, source, change_id, effective_time, ingest_time)
    SELECT gen_random_uuid(), sku, location_id, 'count', 'accepted', on_hand, 0, 0, 0, on_hand, 'bench',
        sku || '@' || location_id, now(), now()
    FROM stock_level WHERE sku = ANY($1) AND location_id = ANY($2) AND on_hand = $3
"""


async def _add_products(connection: Connection, skus: list[str], policy_set: PolicySet) -> None:
    for start in range(0, len(skus), 100):
        batch = skus[start : start + 100]
        await PRODUCTS.upsert(connection, catalog_requests.product_rows(bench_catalog.products(batch)))
        counted_time = await levels.clock(connection) - timedelta(minutes=1)
        counts = record_request(bench_catalog.counts(batch, counted_time)).changes
        await stock_intake.record(connection, counts, new_id, cache=CatalogCache(), policy_set=policy_set)
