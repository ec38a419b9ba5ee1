"""What a page of a list reads does not grow with the number of orders: property of every paged method and filter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import grpc
import pytest
from prometheus_client import CollectorRegistry

from bench.order_history import copy_orders
from service import limits
from service.app.wiring import add_services, new_id
from service.database.database import Database, plain_url
from service.dependencies import Dependencies
from service.metrics import Metrics
from service.orders import order_messages
from service.policy.active_policies import ActivePolicies
from service.rpc import proto_values
from service.rpc.page_tokens import PageTokens
from service.settings import Settings
from tests.conftest import PLAIN_RULES
from tests.retailer import HOLD, Retailer, State
from tests.service.test_page_tokens import FILES, paged_methods
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    audit_service_pb2 as audit_pb,
    catalog_history_pb2 as history_pb,
    catalog_service_pb2 as catalog_pb,
    channel_figure_pb2,
    demand_pb2 as demand_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    kit_pb2,
    listing_pb2 as listing_pb,
    order_pb2,
    outlet_pb2,
    policy_history_pb2 as policy_history_pb,
    policy_service_pb2 as policy_pb,
    shipment_pb2,
    stock_service_pb2 as stock_pb,
)

COPIES = 200
"""Of some ten orders: a page that reads all of a table of orders is above the bound of rows."""
PAGE_SIZE = 10
ROWS, BLOCKS = 800, 1_500
"""The most rows, and blocks of tables and indexes, that a page of PAGE_SIZE may read."""

ROWS_OF_STATUS = 3

Shipment = shipment_pb2.Shipment
Exception_ = exception_pb2.ExceptionRecord
Outcome, OrderStatus = order_pb2.Outcome, order_pb2.OrderStatus
OLDEST, NEWEST, DUE = order_pb2.LIST_ORDER_OLDEST, order_pb2.LIST_ORDER_NEWEST, order_pb2.LIST_ORDER_DUE
EARLY = proto_values.timestamp(datetime(2020, 1, 1, tzinfo=UTC))
LATER = proto_values.timestamp(datetime(2031, 1, 1, tzinfo=UTC))
LATE = proto_values.timestamp(datetime(2030, 1, 1, tzinfo=UTC))
_PRODUCTS = "SELECT sku FROM product"
HISTORY = (
    """
    INSERT INTO exception
    SELECT resolved.* FROM (SELECT * FROM exception LIMIT 1) AS one, generate_series(1, 2000) AS n,
    LATERAL jsonb_populate_record(NULL::exception, to_jsonb(one) || jsonb_build_object(
        'id', gen_random_uuid(), 'state', 'resolved', 'resolution', 'other', 'due_time', due_time - n * interval '1 h'
    )) AS resolved
    """,
    """
    INSERT INTO transfer
    SELECT completed.* FROM (SELECT * FROM transfer LIMIT 1) AS one, generate_series(1, 2000) AS n,
    LATERAL jsonb_populate_record(NULL::transfer, to_jsonb(one) || jsonb_build_object(
        'id', id || n, 'dispatch_time', dispatch_time - n * interval '1 h', 'complete_time', dispatch_time
    )) AS completed
    """,
    """
    INSERT INTO audit_event (event_time, principal, credential, rpc, area, entity, entity_id, change)
    SELECT now() - n * interval '1 h', 'pim', 'token', 'UpsertProducts', 'catalog', 'product', 'MUG', 'updated'
    FROM generate_series(1, 2000) AS n
    """,
    """
    INSERT INTO catalog_history (change_time, kind, record_id, change, call, before, after)
    SELECT now() - n * interval '1 h', 'product', 'MUG', 'updated', 'UpsertProducts', '{"price": null}', '{"price": 1}'
    FROM generate_series(1, 2000) AS n
    """,
    """
    INSERT INTO unmet_demand (demand_time, kind, channel_id, sku, wanted_count, met_count, unmet_count, cause)
    SELECT now() - n * interval '1 h', 'hold_refused', 'web', 'MUG', 2, 0, 2, 'out_of_stock'
    FROM generate_series(1, 2000) AS n
    """,
    """
    INSERT INTO policy_history (event_time, instance, run_id, event, revision, load_time)
    SELECT now() - n * interval '1 h', 'pod-7', gen_random_uuid(), 'started', (n % 10)::text, now()
    FROM generate_series(1, 2000) AS n
    """,
    "INSERT INTO policy_set SELECT 'R' || n, 'rules/a.yaml', 'x' FROM generate_series(1, 2000) AS n",
    """
    INSERT INTO policy_revision SELECT 'R' || n, 1, 1, now() - n * interval '1 h' FROM generate_series(1, 2000) AS n
    """,
    """
    INSERT INTO policy_history (event_time, instance, run_id, event, revision, load_time)
    SELECT now() - n * interval '1 h', 'pod-8', gen_random_uuid(), 'started', 'R' || n, now()
    FROM generate_series(1, 2000) AS n
    """,
    "INSERT INTO listing SELECT 'web', n, 'MUG', 6, now(), now() FROM generate_series(1, 2000) AS n",
    "INSERT INTO kit SELECT 'KIT-' || n, ARRAY['PART-' || n], ARRAY[2], false FROM generate_series(1, 2000) AS n",
)
"""Resolved exceptions, completed transfers, unmet demand, changes of the catalog and rules, listings and kits, as many
as orders."""


@dataclass(frozen=True, slots=True)
class PagedList:
    """A paged method: its request, the client that has it, and filters, alone and as people combine them.

    `keys` selects the keys of all entries, in order.
    """

    request: Any
    client: str
    keys: str
    cases: list[dict[str, Any]]


LISTS = {
    "ListAllocations": PagedList(
        allocation_pb.ListAllocationsRequest,
        "allocations",
        "SELECT id FROM allocation ORDER BY id",
        [
            {},
            {"needs_person_only": True},
            {"on_hold_only": True},
            {"location_id": "dc"},
            {"location_id": "store"},
            {"channel_ids": ["web"]},
            {"channel_ids": ["tiktok"]},
            *({"states": [state]} for state in State.values() if state),
            {"states": [State.STATE_RELEASED, State.STATE_CANCELLED], "channel_ids": ["web", "tiktok"]},
            {"needs_person_only": True, "location_id": "dc"},
            {"needs_person_only": True, "channel_ids": ["tiktok"], "states": [State.STATE_CANCELLED]},
            {"location_id": "dc", "states": [State.STATE_CANCELLED]},
            {"location_id": "dc", "channel_ids": ["tiktok"]},
            *({"order_by": order} for order in (NEWEST, DUE)),
            *({"outcomes": [outcome]} for outcome in Outcome.values() if outcome),
            *({"statuses": [status]} for status in OrderStatus.values() if status),
            *({"skus": ["MUG"], "order_by": order} for order in (OLDEST, NEWEST, DUE)),
            {"skus": ["BOWL", "CUP"]},
            {"skus": ["MUG"], "location_ids": ["dc", "store"], "order_by": NEWEST},
            {"location_ids": ["dc", "store"], "order_by": NEWEST},
            {"location_ids": ["store"], "order_by": DUE},
            {"channel_ids": ["tiktok"], "order_by": NEWEST},
            {"channel_ids": ["tiktok"], "order_by": DUE},
            {"channel_ids": ["tiktok"], "outcomes": [order_pb2.OUTCOME_NEEDS_REVIEW]},
            *({"order_id_part": part} for part in ("A-1", "-0~1", "D-4~7")),
            {"order_id_part": "nothing", "channel_ids": ["web"], "order_by": DUE},
            {"created_from": LATE},
            {"created_before": LATE, "order_by": NEWEST},
            {"updated_from": LATE, "updated_before": LATER, "order_by": NEWEST},
            {"created_from": EARLY, "created_before": LATE, "skus": ["MUG"], "states": [State.STATE_CANCELLED]},
        ],
    ),
    "ListShipments": PagedList(
        fulfillment_pb.ListShipmentsRequest,
        "fulfillment",
        "SELECT assign_time, id FROM shipment ORDER BY assign_time, id",
        [
            {},
            {"location_ids": ["dc"]},
            {"location_ids": ["dc", "store"]},
            *({"states": [state]} for state in order_messages.SHIPMENT_STATES.values()),
            {"location_ids": ["dc"], "states": [Shipment.STATE_ASSIGNED, Shipment.STATE_ACCEPTED]},
            {"location_ids": ["store"], "states": [Shipment.STATE_CANCELLED]},
            {"location_ids": ["dc"], "assigned_before": LATE},
            *({"order_by": order} for order in (NEWEST, DUE)),
            *({"skus": ["MUG"], "order_by": order} for order in (OLDEST, NEWEST, DUE)),
            *({"channel_ids": ["tiktok"], "order_by": order} for order in (OLDEST, NEWEST, DUE)),
            *({"location_ids": ["dc", "store"], "order_by": order} for order in (NEWEST, DUE)),
            {"skus": ["BOWL", "CUP"]},
            {"channel_ids": ["nowhere"], "order_by": NEWEST},
            {"location_ids": ["dc"], "channel_ids": ["web"], "skus": ["MUG"], "order_by": NEWEST},
            {"location_ids": ["dc"], "states": [Shipment.STATE_ACCEPTED], "order_by": DUE},
            *({"order_id_part": part} for part in ("A-1", "-0~1", "D-4~7")),
            {"order_id_part": "nothing", "order_by": DUE},
            {"assigned_from": LATE},
            {"assigned_from": EARLY, "assigned_before": LATE, "order_by": NEWEST},
        ],
    ),
    "ListExceptions": PagedList(
        exception_pb.ListExceptionsRequest,
        "exceptions",
        "SELECT due_time, id FROM exception ORDER BY due_time, id",
        [
            {},
            *({"states": [state]} for state in Exception_.State.values() if state),
            {"kinds": ["sync_failed"]},
            {"kinds": ["late_shipment"]},
            {"owners": ["nobody"]},
            {"channel_ids": ["tiktok"]},
            {"overdue_only": True},
            {"allocation_id": str(UUID(int=1))},
            {"order": order_pb2.OrderReference(channel_id="web", order_id="S-0")},
            {"states": [Exception_.STATE_OPEN], "kinds": ["late_shipment"], "channel_ids": ["web"]},
            *({"order_by": order} for order in (OLDEST, NEWEST, DUE)),
            *({"states": [Exception_.STATE_OPEN], "order_by": order} for order in (OLDEST, NEWEST, DUE)),
            *({"skus": ["MUG"], "order_by": order} for order in (NEWEST, DUE)),
            {"skus": ["CUP"], "states": [Exception_.STATE_OPEN]},
            {"location_ids": ["dc"]},
            {"assignees": ["anna"], "order_by": NEWEST},
            {"unassigned_only": True, "owners": ["operations"]},
            {"resolutions": [exception_pb2.EXCEPTION_RESOLUTION_CANCELLED]},
            *({"order_id_part": part} for part in ("S-0", "~no")),
            {"created_from": LATE},
            {"created_before": LATE, "order_by": NEWEST},
            {"updated_from": LATE},
            {"updated_before": LATE},
            {"include_counts": True},
            {"include_counts": True, "owners": ["operations"], "kinds": ["unfillable"]},
        ],
    ),
    "ListStockMovements": PagedList(
        stock_pb.ListStockMovementsRequest,
        "stock_service",
        "SELECT ingest_time, id FROM stock_movement ORDER BY ingest_time DESC, id DESC",
        [
            {},
            {"skus": ["MUG"]},
            {"skus": ["BOWL", "CUP"]},
            {"location_ids": ["store"]},
            {"kinds": ["counted"]},
            {"allocation_id": str(UUID(int=1))},
            {"start_time": LATE},
            {"end_time": LATE},
            {"skus": ["MUG"], "location_ids": ["store"], "kinds": ["counted"]},
            {"skus": ["MUG"], "allocation_id": str(UUID(int=1))},
        ],
    ),
    "ListTransfers": PagedList(
        stock_pb.ListTransfersRequest,
        "stock_service",
        "SELECT dispatch_time, id FROM transfer ORDER BY dispatch_time DESC, id DESC",
        [
            {},
            {"location_id": "dc"},
            {"location_id": "nowhere"},
            {"in_transit_only": True},
            {"in_transit_only": True, "location_id": "dc"},
        ],
    ),
    "ListStockLevels": PagedList(
        stock_pb.ListStockLevelsRequest,
        "stock_service",
        "SELECT sku, location_id FROM stock_level ORDER BY sku, location_id",
        [{}, {"skus": ["MUG"]}, {"location_ids": ["dc"]}, {"skus": ["MUG"], "location_ids": ["dc"]}],
    ),
    "ListAuditEvents": PagedList(
        audit_pb.ListAuditEventsRequest,
        "audit",
        "SELECT event_time, id FROM audit_event ORDER BY event_time DESC, id DESC",
        [
            {},
            {"entity_ids": ["MUG"]},
            {"principals": ["pim", "local"], "areas": ["stock"]},
            {"rpcs": ["UpsertProducts"], "entities": ["location"]},
            {"areas": ["access"]},
            {"since_time": LATE},
            {"until_time": LATE},
        ],
    ),
    "ListCatalogHistory": PagedList(
        history_pb.ListCatalogHistoryRequest,
        "catalog",
        "SELECT change_time, id FROM catalog_history ORDER BY change_time DESC, id DESC",
        [
            {},
            {"record_ids": ["MUG"]},
            {"record_ids": ["MUG", "dc"], "kinds": ["location"]},
            {"kinds": ["feed"]},
            {"since_time": LATE},
            {"until_time": LATE},
        ],
    ),
    "ListCategories": PagedList(catalog_pb.ListCategoriesRequest, "catalog", _PRODUCTS, [{}]),
    "ListChannelFigures": PagedList(
        channel_figure_pb2.ListChannelFiguresRequest,
        "availability",
        "SELECT sku, item_id, outlet_id, first_time FROM channel_figure",
        [{"channel_id": "web"}, {"channel_id": "web", "skus": ["MUG"]}, {"channel_id": "web", "include_history": True}],
    ),
    "ListChannels": PagedList(
        catalog_pb.ListChannelsRequest,
        "catalog",
        "SELECT id FROM channel",
        [{}, {"channel_ids": ["web"]}, {"kinds": [catalog_pb.Channel.KIND_WEB]}],
    ),
    "ListFeeds": PagedList(catalog_pb.ListFeedsRequest, "catalog", _PRODUCTS, [{}]),
    "ListKits": PagedList(
        kit_pb2.ListKitsRequest,
        "catalog",
        "SELECT sku FROM kit ORDER BY sku",
        [{}, {"skus": ["KIT-7"]}, {"component_skus": ["PART-7"]}, {"component_skus": ["none"]}],
    ),
    "ListListings": PagedList(
        listing_pb.ListListingsRequest,
        "catalog",
        "SELECT channel_id, item_id FROM listing ORDER BY channel_id, item_id",
        [
            {},
            {"channel_ids": ["web"]},
            {"item_ids": ["7"]},
            {"skus": ["MUG"]},
            {"channel_ids": ["web"], "skus": ["MUG"]},
            {"channel_ids": ["none"], "skus": ["MUG"]},
        ],
    ),
    "ListLocations": PagedList(
        catalog_pb.ListLocationsRequest,
        "catalog",
        "SELECT id FROM location",
        [
            {},
            {"location_ids": ["dc"]},
            {"types": [catalog_pb.Location.TYPE_STORE]},
            {"statuses": [1]},
            {"tags": ["none"]},
            {"countries": ["US"]},
        ],
    ),
    "ListOutlets": PagedList(
        outlet_pb2.ListOutletsRequest,
        "catalog",
        "SELECT id AS channel_id, id FROM channel",
        [{}, {"channel_ids": ["web"]}, {"outlet_ids": ["1"]}, {"pool_ids": ["all"]}],
    ),
    "ListPools": PagedList(
        outlet_pb2.ListPoolsRequest,
        "catalog",
        "SELECT id FROM channel",
        [{}, {"pool_ids": ["all"]}, {"location_ids": ["dc"]}],
    ),
    "ListPolicyHistory": PagedList(
        policy_history_pb.ListPolicyHistoryRequest,
        "policies",
        "SELECT event_time, id FROM policy_history ORDER BY event_time DESC, id DESC",
        [
            {},
            {"instances": ["pod-7"]},
            {"policy_revisions": ["none"]},
            {"policy_revisions": ["7"], "instances": ["pod-7"]},
            {"since_time": LATE},
            {"until_time": LATE},
        ],
    ),
    "ListPolicyRevisions": PagedList(
        policy_pb.ListPolicyRevisionsRequest,
        "policies",
        "SELECT create_time, revision FROM policy_revision ORDER BY create_time DESC, revision DESC",
        [{}, {"candidates": True}],
    ),
    "ListProducts": PagedList(
        catalog_pb.ListProductsRequest,
        "catalog",
        _PRODUCTS,
        [
            {},
            {"skus": ["MUG"]},
            {"statuses": [1]},
            {"tags": ["none"]},
            {"categories": ["none"]},
            {"brands": ["none"]},
            {"near_skus": ["MUGS"]},
        ],
    ),
    "ListUnmetDemand": PagedList(
        demand_pb.ListUnmetDemandRequest,
        "availability",
        "SELECT demand_time, id FROM unmet_demand ORDER BY demand_time DESC, id DESC",
        [
            {},
            {"skus": ["MUG"]},
            {"skus": ["BOWL", "CUP"]},
            {"channel_ids": ["web"]},
            {"channel_ids": ["tiktok", "web"], "kinds": [demand_pb.DEMAND_KIND_HOLD_CUT]},
            {"location_ids": ["dc"]},
            {"skus": ["MUG"], "channel_ids": ["tiktok"]},
            {"since_time": LATE},
            {"until_time": LATE},
        ],
    ),
    "ListTags": PagedList(catalog_pb.ListTagsRequest, "catalog", _PRODUCTS, [{}]),
}


@dataclass(frozen=True, slots=True)
class Read:
    """Rows, and blocks of 8 KiB, that PostgreSQL read from the tables and indexes of the database."""

    rows: int
    blocks: int


class MeasuredService:
    """A service without background work on one connection, whose statistics show what a call reads."""

    def __init__(self, database: Database, retailer: Retailer) -> None:
        self._database = database
        self._read: Read | None = None
        self.retailer = retailer

    async def read(self) -> Read:
        """Everything read so far."""
        async with self._database.session("statistics") as connection:
            await connection.execute("SELECT pg_stat_force_next_flush()")
            row = await connection.fetchrow(
                """
                SELECT (SELECT sum(seq_tup_read) FROM pg_stat_user_tables)
                         + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes) AS rows,
                    (SELECT sum(heap_blks_hit + heap_blks_read + coalesce(idx_blks_hit, 0) + coalesce(idx_blks_read, 0))
                       FROM pg_statio_user_tables) AS blocks
                """
            )
        return Read(int(row["rows"]), int(row["blocks"]))

    async def read_of(self, method: str, **fields: Any) -> Read:
        """What a page reads."""
        paged = LISTS[method]
        before = self._read or await self.read()
        await getattr(getattr(self.retailer, paged.client), method)(paged.request(**fields))
        after = self._read = await self.read()
        return Read(after.rows - before.rows, after.blocks - before.blocks)


@asynccontextmanager
async def measured_service(url: str) -> AsyncIterator[MeasuredService]:
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(url, metrics, connections=1)
    deps = Dependencies(Settings(), database, ActivePolicies(Path(PLAIN_RULES), metrics), metrics, new_id)
    server = grpc.aio.server()
    queue, _ = add_services(deps, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield MeasuredService(database, Retailer(None, channel, url))  # It has no metrics.
    finally:
        await queue.close()
        await server.stop(None)
        await database.close()


async def place_orders(retailer: Retailer) -> None:
    """Orders in every state, with shipments in most."""
    await retailer.set_up()
    await retailer.channels(tiktok="tiktok_shop")
    await retailer.stock({("MUG", "dc"): 10_000, ("MUG", "store"): 10_000})
    for number in range(6):
        channel_id = ("web", "tiktok")[number % 2]
        order = await retailer.allocate(f"D-{number}", {"MUG": 1}, channel_id=channel_id)
        if number < 3:
            await retailer.ship(order.shipments[0])
            await retailer.deliver(order.shipments[0])
        else:
            await retailer.cancel_order(f"{channel_id}/D-{number}")
    failure = exception_pb.ReportSyncFailureRequest(source="wms", description="not sent", channel_id="web")
    await retailer.exceptions.ReportSyncFailure(failure)
    units = [stock_pb.TransferUnits(sku="MUG", unit_count=1)]
    dispatch = stock_pb.TransferDispatch(from_location_id="dc", to_location_id="store", units=units)
    await retailer.stock_service.TransferStock(stock_pb.TransferStockRequest(transfer_id="T", dispatch=dispatch))
    for number in range(4):
        cart = await retailer.allocate(f"R-{number}", {"MUG": 1}, HOLD)
        await retailer.release(cart.allocation_id)


@pytest.fixture
async def grown(database_url: str) -> AsyncIterator[MeasuredService]:
    """Some 2,000 orders that have ended, and a few that somebody still has to work on."""
    connection = await asyncpg.connect(plain_url(database_url))
    database = await connection.fetchval("SELECT current_database()")
    # Tables of this size are read as a whole because that is quick. They are to be read as large ones are.
    plans = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
    for setting, value in {**plans, "plan_cache_mode": "force_custom_plan"}.items():
        await connection.execute(f'ALTER DATABASE "{database}" SET {setting} TO {value}')
    async with measured_service(database_url) as service:
        await place_orders(service.retailer)
        for statement in HISTORY:
            await connection.execute(statement)
        await copy_orders(connection, COPIES, timedelta(hours=1))
        await connection.close()
        for number in range(3):
            await service.retailer.allocate(f"S-{number}", {"MUG": 50_000})
            await service.retailer.allocate(f"H-{number}", {"MUG": 1}, HOLD)
            await service.retailer.allocate(f"A-{number}", {"MUG": 1})
        yield service


async def positions(url: str) -> dict[str, dict[str, tuple[Any, ...]]]:
    """The keys of an entry in the middle of each list that has any, and of one near its end."""
    connection = await asyncpg.connect(plain_url(url))
    try:
        keys = {method: await connection.fetch(paged.keys) for method, paged in LISTS.items()}
    finally:
        await connection.close()
    return {
        method: {"middle": tuple(rows[len(rows) // 2]), "last": tuple(rows[-3:][0])}
        for method, rows in keys.items()
        if rows
    }


def test_every_paged_method_and_every_filter_of_it_is_in_the_table() -> None:
    methods = [method for file in FILES for method in paged_methods(file.DESCRIPTOR)]
    filters = {
        method.name: {field.name for field in method.input_type.fields} - {"page_size", "page_token"}
        for method in methods
    }
    # A page of decisions re-runs each of them; it counts up to 100,000 of them first.
    del filters["ReplayDecisions"]
    # The first page of a check counts the products that all its pages will check.
    del filters["CheckProducts"]
    # A sum reads what it sums up: at most 31 days.
    del filters["SumUnmetDemand"]

    assert {name: {field for case in paged.cases for field in case} for name, paged in LISTS.items()} == filters


async def test_a_page_reads_as_much_of_a_large_database_as_of_a_small_one(
    grown: MeasuredService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "EXAMINED", 100)
    monkeypatch.setattr(limits, "NUMBERS_SEARCHED", 100)
    too_many: dict[str, Read] = {}
    after = await positions(grown.retailer.database_url)
    for method, paged in LISTS.items():
        for filters in paged.cases:
            tokens = PageTokens(paged.request(page_size=PAGE_SIZE, **filters))
            keys = {name: key_in(method, filters.get("order_by"), key) for name, key in after.get(method, {}).items()}
            pages = {"first": "", **{name: tokens.after_key(key) for name, key in keys.items()}}
            for position, page_token in pages.items():
                read = await grown.read_of(method, page_size=PAGE_SIZE, page_token=page_token, **filters)
                if exceeds(read, filters):
                    too_many[f"{position} page of {method} with {filters}"] = read

    assert not too_many, "\n".join(map(str, too_many.items()))


def exceeds(read: Read, filters: dict[str, Any]) -> bool:
    """Whether a page has read more than is allowed with these filters."""
    # Few rows say what the status of an order is: of its lines, promises, shortages and shipments.
    factor = ROWS_OF_STATUS if "statuses" in filters else 1
    return read.rows > factor * ROWS or read.blocks > factor * BLOCKS


def key_in(method: str, order_by: int | None, key: tuple[Any, ...]) -> tuple[Any, ...]:
    """The key of an entry in another order of its list."""
    if method == "ListAllocations" and order_by == DUE:
        return datetime(2020, 1, 1, tzinfo=UTC), *key
    return key[1:] if method == "ListExceptions" and order_by in (OLDEST, NEWEST) else key
