"""Declared feeds: the basis of their counts, which feed owns a stock level, and feeds that fall silent."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from service.feeds.quarantine_retry import QuarantineRetry
from tests.conftest import RetailerMaker
from tests.retailer import SOLD, Retailer, bad_fields, change, movement, refused
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb

Feed = catalog_pb.Feed
ChangeResult = stock_pb.StockChangeResult
OWNER, OBSERVER = Feed.ROLE_OWNER, Feed.ROLE_OBSERVER
NET = Feed.OPEN_ORDERS_NET


def ago(minutes: float) -> datetime:
    return datetime.now(UTC) - timedelta(minutes=minutes)


def counted(units: int, **more: Any) -> stock_pb.StockCount:
    return stock_pb.StockCount(on_hand_count=units, **more)


async def declare(retailer: Retailer, *feeds: Feed, **more: Any) -> catalog_pb.UpsertFeedsResponse:
    request = catalog_pb.UpsertFeedsRequest(feeds=feeds, **more)
    answer: catalog_pb.UpsertFeedsResponse = await retailer.catalog.UpsertFeeds(request)
    return answer


async def listed_feeds(retailer: Retailer) -> list[Feed]:
    return list((await retailer.catalog.ListFeeds(catalog_pb.ListFeedsRequest())).feeds)


async def mismatches(retailer: Retailer) -> list[Any]:
    return await retailer.sql(
        "SELECT subject, state, resolution, description FROM exception WHERE kind = 'mismatch' ORDER BY create_time"
    )


async def test_feeds_are_listed_as_they_were_declared(retailer: Retailer) -> None:
    await retailer.locations("dc")
    wms = Feed(source="wms", role=OWNER, location_ids=["dc"], skus=["MUG"], cadence_minutes=60, display_name="WMS")
    erp = Feed(source="erp", role=OBSERVER, basis=Feed.BASIS_AVAILABLE, open_orders=NET, tolerance_units=3)

    answer = await declare(retailer, wms, erp)

    assert (answer.created_count, answer.updated_count) == (2, 0)
    stored = {feed.source: feed for feed in await listed_feeds(retailer)}
    assert stored["erp"] == erp
    assert (stored["wms"].basis, stored["wms"].open_orders) == (Feed.BASIS_ON_HAND, Feed.OPEN_ORDERS_GROSS)
    assert (list(stored["wms"].location_ids), stored["wms"].cadence_minutes) == (["dc"], 60)


async def test_a_validate_only_declaration_stores_no_feed(retailer: Retailer) -> None:
    await declare(retailer, Feed(source="wms", role=OWNER), validate_only=True)

    assert not await listed_feeds(retailer)


async def test_two_feeds_cannot_own_one_stock_level(retailer: Retailer) -> None:
    await retailer.locations("dc", "annex")
    await declare(retailer, Feed(source="wms", role=OWNER, location_ids=["dc"]))

    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await declare(retailer, Feed(source="erp", role=OWNER, location_ids=["annex", "dc"], skus=["MUG"]))

    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    status = rpc_status.from_call(refused.value)  # type: ignore[arg-type]
    assert status is not None
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "FEED_CONFLICT"
    assert dict(info.metadata) == {"source": "erp", "owner": "wms", "location_id": "dc", "sku": "MUG"}


async def test_every_wrong_field_of_a_feed_is_named(retailer: Retailer) -> None:
    wrong = Feed(source="orders", cadence_minutes=0, tolerance_units=-1, skus=[""])

    fields = bad_fields(await refused(declare(retailer, wrong)))

    assert {field.removeprefix("feeds[0].") for field in fields} == {
        *("source", "role", "cadence_minutes", "tolerance_units", "skus[0]"),
    }


async def test_one_of_fifty_feeds_that_race_for_a_stock_level_owns_it(retailers: RetailerMaker) -> None:
    shops = [await retailers.make(), await retailers.make()]

    async def race(number: int) -> bool:
        try:
            await declare(shops[number % 2], Feed(source=f"feed-{number}", role=OWNER))
        except grpc.aio.AioRpcError:
            return False
        return True

    declared = await asyncio.gather(*(race(number) for number in range(50)))

    assert sum(declared) == 1
    assert len(await listed_feeds(shops[0])) == 1


async def test_an_observer_changes_no_stock_and_its_reports_are_in_the_ledger(retailer: Retailer) -> None:
    await declare(retailer, Feed(source="camera", role=OBSERVER))
    await retailer.stock({("MUG", "dc"): 10})

    results = await retailer.record(
        change("MUG", "dc", at=ago(0), count=counted(7)),
        change("MUG", "dc", at=ago(0), movement=movement(stock_pb.MOVEMENT_KIND_SOLD, 2)),
        change("MUG", "dc", at=ago(0), untracked=stock_pb.Untracked()),
        source="camera",
    )

    assert [result.result for result in results] == [ChangeResult.CHANGE_RESULT_OBSERVED] * 3
    assert (await retailer.level("MUG", "dc")).on_hand_count == 10
    movements = await retailer.sql(
        "SELECT result, on_hand_delta, reported_count FROM stock_movement WHERE source = 'camera'"
    )
    assert {(row["result"], row["on_hand_delta"]) for row in movements} == {("observed", 0)}
    assert (await retailer.ledger()).balanced


async def test_an_undeclared_source_is_compared_with_the_owner_and_its_movements_count(retailer: Retailer) -> None:
    await retailer.locations("dc")
    await declare(retailer, Feed(source="counter", role=OWNER, location_ids=["dc"]))
    await retailer.stock({("MUG", "dc"): 10})

    results = await retailer.record(
        change("MUG", "dc", at=ago(0), movement=movement(stock_pb.MOVEMENT_KIND_SOLD, 2)),
        change("MUG", "dc", at=ago(-1), count=counted(5)),
        source="till",
    )

    assert [result.result for result in results] == [
        ChangeResult.CHANGE_RESULT_ACCEPTED,
        ChangeResult.CHANGE_RESULT_OBSERVED,
    ]
    assert (await retailer.level("MUG", "dc")).on_hand_count == 8


async def test_drift_raises_one_exception_and_is_resolved_when_the_observer_agrees(retailer: Retailer) -> None:
    await declare(retailer, Feed(source="camera", role=OBSERVER, tolerance_units=1))
    await retailer.stock({("MUG", "dc"): 10})

    for units in (9, 7, 6):
        await retailer.count({("MUG", "dc"): units}, at=ago(0), source="camera")
    before = await mismatches(retailer)
    await retailer.count({("MUG", "dc"): 10}, at=ago(0), source="camera")

    assert [(row["subject"], row["state"]) for row in before] == [("camera/MUG/dc", "open")]
    assert "4 units fewer" in before[0]["description"]
    after = await mismatches(retailer)
    assert [(row["state"], row["resolution"]) for row in after] == [("resolved", "stock_corrected")]
    assert retailer.metric("inventory_comparisons_total", source="camera", location="dc") == 4
    assert retailer.metric("inventory_mismatches_total", source="camera", location="dc") == 2
    assert retailer.metric("inventory_mismatch_units_total", source="camera", location="dc") == 7


async def test_a_net_feed_does_not_subtract_an_open_order_twice(retailer: Retailer) -> None:
    await declare(retailer, Feed(source="erp", role=OWNER, open_orders=NET))
    await retailer.stock({("A", "s"): 0})
    await retailer.count({("A", "s"): 2}, at=ago(0.5), source="erp")
    await retailer.allocate("1", {"A": 1}, SOLD)

    await retailer.count({("A", "s"): 1}, at=datetime.now(UTC), source="erp")

    level = await retailer.level("A", "s")
    assert (level.on_hand_count, level.allocated_count, level.available_count) == (2, 1, 1)
    assert (await retailer.ledger()).balanced


async def test_an_order_after_the_watermark_is_still_in_a_net_count(retailer: Retailer) -> None:
    await declare(retailer, Feed(source="erp", role=OWNER, open_orders=NET))
    await retailer.stock({("A", "s"): 0})
    await retailer.count({("A", "s"): 10}, at=ago(0.5), source="erp")
    await retailer.allocate("1", {"A": 1}, SOLD)
    watermark = datetime.now(UTC)
    await retailer.allocate("2", {"A": 3}, SOLD)

    count = counted(9)
    count.orders_until_time.FromDatetime(watermark)
    await retailer.record(change("A", "s", at=datetime.now(UTC), count=count), source="erp")

    level = await retailer.level("A", "s")
    assert (level.on_hand_count, level.available_count) == (10, 6)


async def test_a_shipment_from_before_a_net_count_is_subtracted_when_reported_after_it(retailer: Retailer) -> None:
    await declare(retailer, Feed(source="erp", role=OWNER, open_orders=NET))
    await retailer.stock({("A", "s"): 0})
    await retailer.count({("A", "s"): 10}, at=ago(0.5), source="erp")
    order = await retailer.allocate("1", {"A": 4}, SOLD)
    ship_time = datetime.now(UTC)
    await retailer.count({("A", "s"): 6}, at=datetime.now(UTC), source="erp")

    await retailer.ship(order.shipments[0], {"1": 2}, event_time=ship_time)
    after_shipping = await retailer.level("A", "s")
    await retailer.count({("A", "s"): 6}, at=datetime.now(UTC), source="erp")

    assert (after_shipping.on_hand_count, after_shipping.allocated_count, after_shipping.available_count) == (8, 2, 6)
    assert (await retailer.level("A", "s")).on_hand_count == 8
    assert (await retailer.ledger()).balanced


async def test_an_order_allocated_after_a_net_count_is_not_subtracted_from_it_twice(retailer: Retailer) -> None:
    await declare(retailer, Feed(source="erp", role=OWNER, open_orders=NET))
    await retailer.stock({("A", "s"): 0})
    ship_time = datetime.now(UTC)
    await retailer.count({("A", "s"): 6}, at=datetime.now(UTC), source="erp")
    order = await retailer.allocate("1", {"A": 2}, SOLD)

    await retailer.ship(order.shipments[0], event_time=ship_time)

    assert (await retailer.level("A", "s")).on_hand_count == 6


async def test_open_orders_are_subtracted_from_a_gross_count(retailer: Retailer) -> None:
    await declare(retailer, Feed(source="erp", role=OWNER))
    await retailer.stock({("A", "s"): 0})
    await retailer.count({("A", "s"): 2}, at=ago(0.5), source="erp")
    await retailer.allocate("1", {"A": 2}, SOLD)

    await retailer.count({("A", "s"): 2}, at=datetime.now(UTC), source="erp")

    assert (await retailer.level("A", "s")).available_count == 0


async def test_a_count_of_available_units_excludes_units_set_aside(retailer: Retailer) -> None:
    await retailer.stock({("A", "s"): 0})
    await declare(retailer, Feed(source="erp", role=OWNER, basis=Feed.BASIS_AVAILABLE))
    aside = stock_pb.StockMovement(
        kind=stock_pb.MOVEMENT_KIND_SET_ASIDE, unit_count=3, reason=stock_pb.UNAVAILABLE_REASON_DISPLAY
    )
    await retailer.record(change("A", "s", at=ago(0.5), movement=aside), source="erp")

    await retailer.count({("A", "s"): 7}, at=datetime.now(UTC), source="erp")
    results = await retailer.record(change("A", "s", at=ago(0), count=counted(7, unavailable_count=1)), source="erp")

    level = await retailer.level("A", "s")
    assert (level.on_hand_count, level.unavailable_count, level.available_count) == (10, 3, 7)
    assert results[0].result == ChangeResult.CHANGE_RESULT_QUARANTINED


async def test_a_silent_feed_raises_one_exception_until_it_reports(
    retailer: Retailer, quarantine_retry: QuarantineRetry
) -> None:
    await retailer.stock({("MUG", "dc"): 10})
    await declare(retailer, Feed(source="wms", role=OWNER, cadence_minutes=5), Feed(source="erp", role=OBSERVER))
    await retailer.sql("UPDATE feed SET ingest_time = now() - interval '16 minutes'")

    await asyncio.gather(*(quarantine_retry.check_feeds() for _ in range(5)))
    raised = await retailer.sql("SELECT subject, state FROM exception WHERE kind = 'stale_feed'")
    await retailer.count({("MUG", "dc"): 10}, at=ago(0), source="wms")

    assert [(row["subject"], row["state"]) for row in raised] == [("wms", "open")]
    resolved = await retailer.sql("SELECT state, resolution FROM exception WHERE kind = 'stale_feed'")
    assert [(row["state"], row["resolution"]) for row in resolved] == [("resolved", "completed")]


async def test_the_exception_of_a_silent_feed_is_resolved_when_no_cadence_is_declared(
    retailer: Retailer, quarantine_retry: QuarantineRetry
) -> None:
    await declare(retailer, Feed(source="wms", role=OWNER, cadence_minutes=5))
    await retailer.sql("UPDATE feed SET ingest_time = now() - interval '16 minutes'")
    await quarantine_retry.check_feeds()

    await declare(retailer, Feed(source="wms", role=OWNER))
    await quarantine_retry.check_feeds()

    rows = await retailer.sql("SELECT state FROM exception WHERE kind = 'stale_feed'")
    assert [row["state"] for row in rows] == ["resolved"]


async def test_the_exception_of_a_feed_that_reports_again_is_counted_as_resolved(
    retailer: Retailer, quarantine_retry: QuarantineRetry
) -> None:
    await declare(retailer, Feed(source="erp", role=OWNER, cadence_minutes=1))
    await retailer.stock({("A", "s"): 0})
    await retailer.sql("UPDATE feed SET update_time = update_time - interval '1 hour', ingest_time = NULL")
    await quarantine_retry.check_feeds()

    await retailer.count({("A", "s"): 2}, source="erp")

    assert retailer.metric("exceptions_resolved_total", kind="stale_feed", resolution="completed") == 1
