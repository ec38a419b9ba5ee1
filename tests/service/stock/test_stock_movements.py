"""Listed movements of the ledger, and the details of stock levels."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from service.stock import level_details
from tests.retailer import Retailer, change, movement
from tests.service.test_bad_input import refused
from truestock.v1 import stock_service_pb2 as stock_pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
RECEIVED, SOLD_AT_TILL = stock_pb.MOVEMENT_KIND_RECEIVED, stock_pb.MOVEMENT_KIND_SOLD


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("MUG", "store"): 4, ("BOWL", "dc"): 3})
    return retailer


async def movements(shop: Retailer, **fields: Any) -> list[stock_pb.StockMovementRecord]:
    """Every movement that passes the filters, page by page."""
    records: list[stock_pb.StockMovementRecord] = []
    request = stock_pb.ListStockMovementsRequest(**fields)
    while True:
        page = await shop.stock_service.ListStockMovements(request)
        records.extend(page.stock_movements)
        request.page_token = page.next_page_token
        if not page.next_page_token:
            return records


async def test_every_movement_of_a_stock_level_is_listed_newest_first(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 2})
    await shop.cancel(order.allocation_id, {order.lines[0].line_id: 2})

    records = await movements(shop, skus=["MUG"], location_ids=["dc"])

    assert [(record.kind, record.on_hand_delta, record.allocated_delta) for record in records] == [
        ("released", 0, -2),
        ("allocated", 0, 2),
        ("counted", 10, 0),
    ]
    assert {record.allocation_id for record in records[:2]} == {order.allocation_id}
    assert (records[2].source, records[2].reported_count, records[2].result) == ("counter", 10, "accepted")


async def test_an_unknown_kind_is_refused_with_those_that_there_are(shop: Retailer) -> None:
    request = stock_pb.ListStockMovementsRequest(kinds=["counted", "wrong"])

    error = await refused(shop.stock_service.ListStockMovements(request))

    assert error.is_(INVALID, "INVALID_FIELD", "kinds[1]")
    assert "'wrong' is not one of counted, incoming, untracked, received" in error.message


async def test_absorbed_movements_are_listed_too(shop: Retailer) -> None:
    old = datetime.now(UTC) - timedelta(days=1)
    await shop.record(change("MUG", "dc", at=old, change_id="late", movement=movement(SOLD_AT_TILL, 1)), source="till")

    records = await movements(shop, kinds=["sold"])

    assert [(record.change_id, record.result, record.on_hand_delta) for record in records] == [("late", "absorbed", 0)]
    assert records[0].effective_time.ToDatetime(UTC) == old


async def test_movements_are_filtered_by_order_kind_sku_and_location(shop: Retailer) -> None:
    first = await shop.allocate("A-1", {"MUG": 2, "BOWL": 1})
    await shop.allocate("A-2", {"MUG": 1})

    of_order = await movements(shop, allocation_id=first.allocation_id)

    assert sorted(record.sku for record in of_order) == ["BOWL", "MUG"]
    assert len(await movements(shop, kinds=["allocated"])) == 3
    assert len(await movements(shop, kinds=["allocated"], skus=["MUG"])) == 2
    assert len(await movements(shop, location_ids=["store"])) == 1
    assert not await movements(shop, location_ids=["nowhere"])


async def test_movements_are_filtered_by_ingest_time(shop: Retailer) -> None:
    await asyncio.sleep(0.01)
    between = (await shop.sql("SELECT clock_timestamp() AS now"))[0]["now"]
    await shop.allocate("A-1", {"MUG": 2})
    moment = Timestamp()
    moment.FromDatetime(between)

    assert [record.kind for record in await movements(shop, start_time=moment)] == ["allocated"]
    assert {record.kind for record in await movements(shop, end_time=moment)} == {"counted"}


async def test_pages_neither_repeat_nor_leave_out_a_movement(shop: Retailer) -> None:
    for number in range(4):
        # Changes of record call have the same ingest time.
        changes = [
            change("MUG", location_id, at=datetime.now(UTC), movement=movement(RECEIVED, number + 1))
            for location_id in ("dc", "store", "dc")
        ]
        await shop.record(*changes)

    whole, pieces = await movements(shop), await movements(shop, page_size=4)

    assert len(whole) == 15
    assert [record.movement_id for record in pieces] == [record.movement_id for record in whole]
    assert len({record.movement_id for record in whole}) == 15


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"skus": ["X"] * 501}, "skus"),
        ({"skus": [""]}, "skus[0]"),
        ({"location_ids": ["x"] * 501}, "location_ids"),
        ({"kinds": ["x"] * 51}, "kinds"),
        ({"kinds": ["x" * 65]}, "kinds[0]"),
        ({"allocation_id": "A-1"}, "allocation_id"),
        ({"page_size": -1}, "page_size"),
        ({"start_time": Timestamp(seconds=9), "end_time": Timestamp(seconds=9)}, "end_time"),
        ({"start_time": Timestamp(seconds=-9)}, "start_time"),
    ],
)
async def test_an_invalid_request_for_movements_is_refused(shop: Retailer, fields: dict[str, Any], field: str) -> None:
    request = stock_pb.ListStockMovementsRequest(**fields)

    assert (await refused(shop.stock_service.ListStockMovements(request))).is_(INVALID, "INVALID_FIELD", field)


async def test_a_stock_level_shows_unavailable_reasons_and_count_confidence(shop: Retailer) -> None:
    counted = datetime.now(UTC).replace(microsecond=0) - timedelta(days=52)
    await shop.sql("INSERT INTO stock_unavailable VALUES ('MUG', 'dc', 'display', 1), ('MUG', 'dc', 'damaged', 2)")
    await shop.sql(
        "UPDATE stock_level SET not_found_since_count = 1, movements_since_count = 24, physical_count_time = $1, "
        "tracked = false WHERE sku = 'MUG' AND location_id = 'dc'",
        counted,
    )
    await shop.sql("UPDATE stock_level SET physical_count_time = NULL WHERE location_id = 'store'")

    level = await shop.level("MUG", "dc")

    assert [(record.reason, record.unit_count) for record in level.unavailable] == [
        (stock_pb.UNAVAILABLE_REASON_DAMAGED, 2),
        (stock_pb.UNAVAILABLE_REASON_DISPLAY, 1),
    ]
    # 52 days and 24 movements: (76 / 152) ** 0.5, halved by the failed pick.
    assert (level.count_confidence, level.untracked) == (0.354, True)
    assert level.physical_count_time.ToDatetime(UTC) == counted
    assert not (await shop.level("MUG", "store")).HasField("count_confidence")


async def test_the_version_of_a_stock_level_rises_with_every_change(shop: Retailer) -> None:
    before = (await shop.level("MUG", "dc")).version
    await shop.allocate("A-1", {"MUG": 2})

    assert (await shop.level("MUG", "dc")).version > before


async def test_a_stock_level_shows_its_hundred_earliest_deliveries(shop: Retailer) -> None:
    await shop.sql(
        "INSERT INTO stock_incoming SELECT 'wms', 'PO-' || lpad(n::text, 3, '0'), 'MUG', 'dc', n, "
        "CASE WHEN n % 2 = 0 THEN now() + n * interval '1 hour' END, now() FROM generate_series(1, 300) AS n"
    )

    incoming = (await shop.level("MUG", "dc")).incoming

    assert len(incoming) == 100
    assert [record.unit_count for record in incoming[:3]] == [2, 4, 6]
    assert all(record.HasField("expect_time") for record in incoming)


async def test_a_page_of_stock_levels_reads_its_details_once(shop: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    await shop.stock({(f"SKU-{number}", "dc"): 1 for number in range(150)})
    reads = 0
    read = level_details.read

    async def counted(*arguments: Any) -> Any:
        nonlocal reads
        reads += 1
        return await read(*arguments)

    monkeypatch.setattr(level_details, "read", counted)
    page = await shop.stock_service.ListStockLevels(stock_pb.ListStockLevelsRequest(page_size=150))

    assert (len(page.stock_levels), reads) == (150, 1)
