"""Sold orders on hold: their stock is promised, and no location works on them until they are released."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.type.timeofday_pb2 import TimeOfDay

from tests.retailer import HOLD, SOLD, Retailer, State, order_reference, promised, refused, request_id
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    shipment_pb2,
)

ON_HOLD, READY = order_pb2.ORDER_STATUS_ON_HOLD, order_pb2.ORDER_STATUS_READY_TO_FULFILL
ShipmentState = shipment_pb2.Shipment.State
PICKUP = order_pb2.FULFILLMENT_METHOD_PICKUP


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("MUG", "store"): 10})
    return retailer


def order_hold(reason: str = "fraud check", *, minutes: float | None = None) -> order_pb2.OrderHold:
    hold = order_pb2.OrderHold(reason=reason)
    if minutes is not None:
        hold.until.FromDatetime(datetime.now(UTC) + timedelta(minutes=minutes))
    return hold


async def put_on_hold(shop: Retailer, order_id: str = "A-1", units: int = 2, **fields: Any) -> Any:
    return await shop.allocate(order_id, {"MUG": units}, hold=fields.pop("hold", order_hold()), **fields)


async def release(shop: Retailer, name: str = "web/A-1", **fields: Any) -> allocation_pb.Allocation:
    request = allocation_pb.ReleaseOrderHoldRequest(order=order_reference(name), **fields)
    released: allocation_pb.Allocation = (await shop.allocations.ReleaseOrderHold(request)).allocation
    return released


async def work_list(shop: Retailer, **filters: Any) -> list[shipment_pb2.Shipment]:
    return list((await shop.fulfillment.ListShipments(fulfillment_pb.ListShipmentsRequest(**filters))).shipments)


async def events(shop: Retailer, name: str = "web/A-1") -> list[str]:
    return [event.event for event in (await shop.find_order(name)).timeline]


async def test_an_order_on_hold_has_its_stock_and_is_in_no_work_list(shop: Retailer) -> None:
    answer = await put_on_hold(shop, hold=order_hold("remorse period", minutes=60))
    level = await shop.level("MUG", answer.shipments[0].location_id)

    assert (answer.state, answer.outcome, answer.status) == (
        State.STATE_CONFIRMED,
        order_pb2.OUTCOME_ALLOCATED,
        ON_HOLD,
    )
    assert (answer.hold.reason, answer.hold.HasField("until"), answer.hold.HasField("place_time")) == (
        "remorse period",
        True,
        True,
    )
    assert [shipment.state for shipment in answer.shipments] == [ShipmentState.STATE_ON_HOLD]
    assert level.allocated_count == 2
    assert await work_list(shop) == []
    assert shop.metric("sold_orders_total", channel="web") == 1
    assert await events(shop) == ["sold", "on_hold"]


async def test_no_location_works_on_an_order_on_hold_and_the_error_says_why(shop: Retailer) -> None:
    answer = await put_on_hold(shop, hold=order_hold("remorse period", minutes=60))
    until = answer.hold.until.ToDatetime(UTC)
    cause = f"the order is on hold until {until:%Y-%m-%d %H:%M} UTC because of: remorse period"

    for call in (shop.accept, shop.ship, shop.deliver):
        error = await refused(call(answer.shipments[0]))
        assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert cause in str(error.details())
    assert (await shop.level("MUG", answer.shipments[0].location_id)).on_hand_count == 10


async def test_a_pickup_order_on_hold_is_not_made_ready(shop: Retailer) -> None:
    await shop.locations("store", offers_pickup=True)
    answer = await put_on_hold(shop, method=PICKUP, pickup_location_id="store")

    error = await refused(shop.mark_ready(answer.shipments[0]))

    assert "the order is on hold because of: fraud check" in str(error.details())


async def test_a_released_order_starts_its_work_now(shop: Retailer) -> None:
    hours = catalog_pb.WorkingTime(opens=TimeOfDay(hours=0), closes=TimeOfDay(hours=23, minutes=59))
    await shop.locations("dc", "store", working_time=hours, handling_minutes=30)
    await put_on_hold(shop)
    await shop.sql(
        "UPDATE shipment SET assign_time = now() - interval '3 days', ship_by_time = now() - interval '2 days'"
    )
    before = datetime.now(UTC)

    released = await release(shop)

    (listed,) = await work_list(shop)
    assert (released.status, released.HasField("hold")) == (READY, False)
    assert listed.state == ShipmentState.STATE_ASSIGNED
    assert listed.assign_time.ToDatetime(UTC) > before - timedelta(seconds=5)
    assert listed.ship_by_time.ToDatetime(UTC) > before
    assert await events(shop) == ["sold", "on_hold", "hold_released"]
    await shop.ship(listed)


async def test_releasing_again_or_without_a_hold_changes_nothing(shop: Retailer) -> None:
    await put_on_hold(shop)
    same = request_id()

    first = await release(shop, request_id=same)
    again, repeated = await release(shop), await release(shop, request_id=same)

    assert first.version == again.version == repeated.version
    assert (await events(shop)).count("hold_released") == 1


async def test_an_order_is_released_by_its_allocation_id_and_by_its_copy(shop: Retailer) -> None:
    by_id = await put_on_hold(shop)
    await shop.allocations.ReleaseOrderHold(allocation_pb.ReleaseOrderHoldRequest(allocation_id=by_id.allocation_id))
    await put_on_hold(shop, "A-2")
    await shop.allocate("copy", {"MUG": 2}, copy_of=order_reference("web/A-2"))

    assert (await release(shop, "web/copy")).order_id == "A-2"
    assert len(await work_list(shop)) == 2


async def test_what_is_released_must_exist_and_is_named_once(shop: Retailer) -> None:
    both = allocation_pb.ReleaseOrderHoldRequest(allocation_id=request_id(), order=order_reference("web/A-1"))
    missing = await refused(release(shop, "web/nobody"))
    twice = await refused(shop.allocations.ReleaseOrderHold(both))

    assert (missing.code(), twice.code()) == (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_person_who_releases_an_order_is_a_manual_intervention(shop: Retailer) -> None:
    await put_on_hold(shop)
    await put_on_hold(shop, "A-2")

    released, by_person = await release(shop), await release(shop, "web/A-2", actor="anna")

    assert (released.needs_person, by_person.needs_person) == (False, True)
    assert shop.metric("manual_interventions_total", channel="web", reason="hold_released") == 1
    assert "by anna" in (await shop.find_order("web/A-2")).timeline[-1].description


async def test_repeated_contents_keep_the_hold_and_its_end(shop: Retailer) -> None:
    first = await put_on_hold(shop, hold=order_hold(minutes=60))
    again = await shop.allocate("A-1", {"MUG": 2})
    changed = await shop.allocate("A-1", {"MUG": 5})

    assert (again.status, changed.status) == (ON_HOLD, ON_HOLD)
    assert first.hold == again.hold == changed.hold
    assert changed.lines[0].promised_count == 5


async def test_a_stated_hold_replaces_the_one_in_force(shop: Retailer) -> None:
    first = await put_on_hold(shop, hold=order_hold(minutes=60))
    changed = await put_on_hold(shop, hold=order_hold("address check", minutes=90))

    assert changed.hold.reason == "address check"
    assert changed.hold.until.ToDatetime() > first.hold.until.ToDatetime()
    assert changed.hold.place_time == first.hold.place_time
    assert await events(shop) == ["sold", "on_hold", "hold_changed"]


async def test_a_message_that_comes_again_after_the_release_does_not_hold_the_order_again(shop: Retailer) -> None:
    hold = order_hold(minutes=60)
    await put_on_hold(shop, hold=hold)
    await release(shop)

    repeated = await put_on_hold(shop, hold=hold)
    another = await put_on_hold(shop, hold=order_hold("fraud check again"))

    assert (repeated.status, another.status) == (READY, ON_HOLD)


async def test_a_hold_is_older_or_newer_by_the_channels_time(shop: Retailer) -> None:
    now = datetime.now(UTC)
    older, newer = now - timedelta(minutes=10), now - timedelta(minutes=1)
    await shop.allocate("A-1", {"MUG": 2}, channel_update_time=now - timedelta(minutes=5))

    late = await put_on_hold(shop, channel_update_time=older)
    placed = await put_on_hold(shop, channel_update_time=newer)

    assert (late.status, placed.status) == (READY, ON_HOLD)


async def test_a_hold_holds_what_has_not_shipped(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 4})
    await shop.ship(sold.shipments[0], {"1": 1})

    held = await put_on_hold(shop, units=4)

    assert (held.status, held.lines[0].shipped_count, held.lines[0].promised_count) == (ON_HOLD, 1, 3)
    assert held.shipments[0].state == ShipmentState.STATE_ON_HOLD
    assert "on hold" in str((await refused(shop.ship(sold.shipments[0]))).details())
    await release(shop)
    assert (await shop.ship(sold.shipments[0])).status == order_pb2.ORDER_STATUS_SHIPPED


async def test_a_hold_that_comes_after_everything_has_shipped_has_an_owner_once(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 2})
    await shop.ship(sold.shipments[0])

    for _ in range(2):
        late = await put_on_hold(shop)

    (raised,) = await shop.open_exceptions()
    assert "because of: fraud check came too late" in (await shop.find_order("web/A-1")).timeline[-1].description
    assert (late.status, late.HasField("hold")) == (order_pb2.ORDER_STATUS_SHIPPED, False)
    assert await events(shop) == ["sold", "shipped", "hold_too_late"]
    assert (raised.kind, raised.order_id, raised.repeat_count) == ("sync_failed", "A-1", 0)
    assert len(await work_list(shop)) == 1


async def test_everything_else_works_while_an_order_is_on_hold(shop: Retailer) -> None:
    held = await put_on_hold(shop, units=4)
    first = held.shipments[0].location_id
    await shop.count({("MUG", first): 1})
    rerouted = (await shop.find_order("web/A-1")).allocation
    cancelled = await shop.cancel(held.allocation_id, {"1": 1})
    edited = await shop.allocate("A-1", {"MUG": 6})
    whole = (await shop.cancel_order("web/A-1")).allocation

    assert (rerouted.status, sum(promised(rerouted).values())) == (ON_HOLD, 4)
    assert (cancelled.status, cancelled.lines[0].promised_count) == (ON_HOLD, 3)
    assert (edited.status, edited.lines[0].promised_count) == (ON_HOLD, 6)
    assert (whole.status, whole.HasField("hold")) == (order_pb2.ORDER_STATUS_CANCELLED, False)
    assert await work_list(shop, states=[ShipmentState.STATE_ASSIGNED]) == []
    assert (await release(shop)).status == order_pb2.ORDER_STATUS_CANCELLED
    assert (await shop.ledger()).balanced


async def test_only_a_sold_order_has_a_hold_and_it_says_why_within_a_year(shop: Retailer) -> None:
    unpaid = await refused(shop.allocate("A-1", {"MUG": 1}, HOLD, hold=order_hold()))
    nameless = await refused(shop.allocate("A-1", {"MUG": 1}, SOLD, hold=order_hold("")))
    too_long = await refused(shop.allocate("A-1", {"MUG": 1}, SOLD, hold=order_hold("x" * 129)))
    too_late = await refused(shop.allocate("A-1", {"MUG": 1}, SOLD, hold=order_hold(minutes=366 * 24 * 60)))
    passed = await shop.allocate("A-1", {"MUG": 1}, SOLD, hold=order_hold(minutes=-5))

    for error in (unpaid, nameless, too_long, too_late):
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "only for a sold order" in str(unpaid.details())
    assert "more than 365 days ahead" in str(too_late.details())
    assert passed.status == ON_HOLD


async def test_a_dry_run_shows_the_hold_and_stores_nothing(shop: Retailer) -> None:
    preview = await put_on_hold(shop, validate_only=True)

    assert (preview.status, preview.hold.reason) == (ON_HOLD, "fraud check")
    assert not await shop.sql("SELECT FROM allocation")


async def test_orders_on_hold_are_listed(shop: Retailer) -> None:
    await put_on_hold(shop)
    await put_on_hold(shop, "A-2")
    await shop.allocate("A-3", {"MUG": 1})
    await release(shop, "web/A-2")

    listed = await shop.allocations.ListAllocations(allocation_pb.ListAllocationsRequest(on_hold_only=True))

    assert [order.order_id for order in listed.allocations] == ["A-1"]
