"""The retailer of the benchmarks: a warehouse, nine stores, the repository's rules, and a check of stock at the end."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import asyncpg
from google.type.latlng_pb2 import LatLng
from prometheus_client import CollectorRegistry

from bench.bench_calls import CHANNEL_ID, UNITS, sold_order
from bench.rounds import WrongAnswer
from policies.policy_set import PolicySet
from service.allocation.allocation_queue import Ticket
from service.app.wiring import new_id
from service.catalog import catalog_requests
from service.catalog.catalog_store import CHANNELS, LOCATIONS, PRODUCTS, CatalogCache
from service.database import migrate
from service.database.database import Connection, Database, plain_url
from service.feeds import stock_intake
from service.feeds.stock_requests import record_request
from service.metrics import Metrics
from service.orders import order_requests
from service.policy.active_policies import ActivePolicies
from service.rpc import proto_values
from service.rpc.idempotency import IdempotencyKey
from service.stock import ledger_check, levels
from truestock.v1 import (
    catalog_service_pb2 as catalog_pb,
    stock_service_pb2 as stock_pb,
)

RULES = Path(__file__).parent.parent / "rules"
LOCATION_IDS = ("dc", *(f"store-{number}" for number in range(1, 10)))
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
class BenchRetailer:
    """A migrated database with the retailer in it. `sold` counts answered orders of one unit by SKU."""

    url: str
    policies: ActivePolicies
    metrics: Metrics
    sold: Counter[str] = field(default_factory=Counter)

    def new_ticket(self, sku: str) -> Ticket:
        """A new SOLD order of one unit, as the servicer passes it to the allocation queue."""
        message = sold_order(sku, f"order-{next(_order_numbers)}")
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

    async def verify(self) -> str:
        """What was verified. Raises WrongAnswer unless the ledger balances and each order has its unit allocated."""
        connection = await asyncpg.connect(plain_url(self.url))
        try:
            report = await ledger_check.verify(connection)
            allocated = {
                row["sku"]: row["units"]
                for row in await connection.fetch(
                    "SELECT sku, sum(allocated)::int AS units FROM stock_level GROUP BY sku"
                )
            }
            oversold_count = await connection.fetchval(
                "SELECT count(*) FROM stock_level WHERE held + allocated > on_hand - unavailable"
            )
        finally:
            await connection.close()
        if not report.balanced:
            raise WrongAnswer(f"the ledger does not balance: {'; '.join(report.differences[:3])}")
        if oversold_count:
            raise WrongAnswer(f"{oversold_count} stock levels have more units held and allocated than in stock")
        _compare(self.sold, allocated)
        return (
            f"ledger balances over {report.totals['movements']:,} movements; {self.sold.total():,} orders answered, "
            "as many units allocated, no stock level oversold"
        )

    async def durability_settings(self) -> dict[str, str | float]:
        """The settings of PostgreSQL that decide whether a commit is durable."""
        connection = await asyncpg.connect(plain_url(self.url))
        try:
            return {name: str(await connection.fetchval(f"SHOW {name}")) for name in DURABILITY_SETTINGS}
        finally:
            await connection.close()


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


def _compare(sold: Mapping[str, int], allocated: Mapping[str, int]) -> None:
    for sku, order_count in sold.items():
        if allocated.get(sku, 0) != order_count:
            raise WrongAnswer(
                f"{order_count} orders of one {sku} were answered, but {allocated.get(sku, 0)} units are allocated"
            )


async def _add_locations_and_channel(connection: Connection) -> None:
    locations = [_location(number) for number in range(len(LOCATION_IDS))]
    channel = catalog_pb.Channel(channel_id=CHANNEL_ID, kind=catalog_pb.Channel.KIND_SOCIAL)
    await LOCATIONS.upsert(connection, catalog_requests.location_rows(locations))
    await CHANNELS.upsert(connection, catalog_requests.channel_rows([channel]))


def _location(number: int) -> catalog_pb.Location:
    is_store = number > 0
    return catalog_pb.Location(
        location_id=LOCATION_IDS[number],
        type=catalog_pb.Location.TYPE_STORE if is_store else catalog_pb.Location.TYPE_WAREHOUSE,
        country="US",
        coordinates=LatLng(latitude=30 + number, longitude=-80 - 4 * number),
        offers_pickup=is_store,
        priority=10 + number,
    )


async def _add_products(connection: Connection, skus: list[str], policy_set: PolicySet) -> None:
    for start in range(0, len(skus), 100):
        batch = skus[start : start + 100]
        await PRODUCTS.upsert(connection, catalog_requests.product_rows([_product(sku) for sku in batch]))
        counted_time = await levels.clock(connection) - timedelta(minutes=1)
        changes = [
            stock_pb.StockChange(
                change_id=f"{sku}@{location_id}",
                sku=sku,
                location_id=location_id,
                effective_time=proto_values.timestamp(counted_time),
                count=stock_pb.StockCount(on_hand_count=UNITS),
            )
            for sku in batch
            for location_id in LOCATION_IDS
        ]
        request = stock_pb.RecordStockChangesRequest(source="bench", changes=changes)
        counts = record_request(request).changes
        await stock_intake.record(connection, counts, new_id, cache=CatalogCache(), policy_set=policy_set)


def _product(sku: str) -> catalog_pb.Product:
    return catalog_pb.Product(
        sku=sku,
        velocity_per_day=3.0,
        dimensions=catalog_pb.PackageDimensions(weight_grams=400, length_mm=200, width_mm=100, height_mm=100),
        image_uri="https://img.example/mug.jpg",
    )
