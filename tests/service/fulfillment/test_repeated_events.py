"""Events about units that have shipped already: the same again is accepted, what exceeds or contradicts is not."""

from __future__ import annotations

import asyncpg
import grpc
import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import Retailer, order_reference, refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2, shipment_pb2

State = shipment_pb2.Shipment.State


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    """50 mugs at one location; rejected units are rerouted."""
    shop = await retailers.make(RESOLVED_RULES)
    await shop.stock({("MUG", "dc"): 50})
    return shop


async def state_of(shop: Retailer, order: allocation_pb.Allocation) -> tuple[object, ...]:
    """All that a refused event must leave as it is: the order with its timeline, and the stock."""
    return await shop.get(order.allocation_id), await shop.level("MUG", "dc")


async def test_more_units_than_were_ordered_never_ship_in_whatever_state_the_shipment_is(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 15})
    (shipment,) = order.shipments
    await shop.ship(shipment, {"1": 10}, event_id="van-1")
    while_open = await refused(shop.ship(shipment, {"1": 6}, event_id="van-2"))
    await shop.ship(shipment, {"1": 5}, event_id="van-3")
    before = await state_of(shop, order)

    shipped = await refused(shop.ship(shipment, {"1": 5}, event_id="van-4"))
    unnamed = await refused(shop.ship(shipment, {"1": 1}))
    unchanged = await state_of(shop, order) == before
    await shop.deliver(shipment, event_id="door-1")
    delivered = await refused(shop.ship(shipment, {"1": 5}, event_id="van-5"))

    assert unchanged
    for error in (while_open, shipped, unnamed, delivered):
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "so correct the count" in (error.details() or "")
    assert "line 1 has 0 units remaining, so 5 cannot be shipped" in (shipped.details() or "")
    assert (await shop.level("MUG", "dc")).on_hand_count == 35


async def test_units_of_a_parcel_delivered_unreported_are_reported_as_shipped_once(shop: Retailer) -> None:
    """The carrier's first event was lost on its way: it may arrive after the parcel, in parts, but not twice over."""
    order = await shop.allocate("A-1", {"MUG": 5})
    (shipment,) = order.shipments
    await shop.ship(shipment, {"1": 2}, event_id="van-1")
    await shop.deliver(shipment, event_id="door-1")

    too_many = await refused(shop.ship(shipment, {"1": 4}, event_id="van-2"))
    await shop.ship(shipment, {"1": 1}, event_id="van-3")
    await shop.ship(shipment, {"1": 1}, event_id="van-3")
    late = await shop.ship(shipment, {"1": 2}, event_id="van-4")
    one_more = await refused(shop.ship(shipment, {"1": 1}, event_id="van-5"))

    assert late.shipments[0].state == State.STATE_DELIVERED
    for error in (too_many, one_more):
        assert "so correct the count" in (error.details() or "")
    assert (await shop.level("MUG", "dc")).on_hand_count == 45


async def test_a_repeated_scan_without_units_of_its_own_changes_nothing(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 5})
    (shipment,) = order.shipments
    shipped = await shop.ship(shipment, event_id="van-1")

    again = await shop.ship(shipment, event_id="van-2")

    assert again == shipped


async def test_more_units_than_there_are_cannot_be_rejected_after_a_rejection(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 3})
    (shipment,) = order.shipments
    await shop.reject(shipment, "damaged", event_id="r-1")
    before = await state_of(shop, order)

    error = await refused(shop.reject(shipment, "damaged", {"1": 3}, event_id="r-2"))

    assert "line 1 has 0 units remaining, so 3 cannot be rejected" in (error.details() or "")
    assert await state_of(shop, order) == before


async def test_an_event_id_that_returns_with_other_units_is_refused_and_says_what_is_known(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 9})
    (shipment,) = order.shipments
    await shop.ship(shipment, {"1": 2}, event_id="van-1")
    await shop.reject(shipment, "damaged", {"1": 1}, event_id="r-1")
    before = await state_of(shop, order)

    errors = [
        await refused(call)
        for call in (
            shop.ship(shipment, {"1": 3}, event_id="van-1"),
            shop.ship(shipment, {"1": 1}, event_id="van-1"),
            shop.ship(shipment, event_id="van-1"),
            shop.reject(shipment, "damaged", {"1": 2}, event_id="r-1"),
        )
    ]

    assert {error.code() for error in errors} == {grpc.StatusCode.INVALID_ARGUMENT}
    assert "event_id 'van-1' was already used for 2 units of line 1, and this request states 3" in (
        errors[0].details() or ""
    )
    assert await state_of(shop, order) == before


# Returns and refunds


async def test_units_are_refunded_once_and_may_still_come_back(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 2})
    await shop.ship(order.shipments[0])
    refunded = await shop.record_return(order.allocation_id, {"1": 2}, "not_returned", event_id="R-1")

    twice = await refused(shop.record_return(order.allocation_id, {"1": 2}, "not_returned", event_id="R-2"))
    # The goods arrive under the number of the return, which is an event of its own and happens once.
    for _ in range(2):
        returned = await shop.record_return(order.allocation_id, {"1": 2}, "inspect", "dc", event_id="R-1")
    again = await refused(shop.record_return(order.allocation_id, {"1": 1}, "not_returned", event_id="R-3"))

    assert "line 1 has 0 units remaining, so 2 cannot be refunded" in (twice.details() or "")
    assert again.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert (refunded.lines[0].returned_count, refunded.lines[0].refunded_count) == (0, 2)
    assert (returned.lines[0].returned_count, returned.lines[0].refunded_count) == (2, 0)
    assert returned.status == order_pb2.ORDER_STATUS_RETURNED
    level = await shop.level("MUG", "dc")
    assert (level.on_hand_count, level.unavailable_count) == (50, 2)
    events = [event.event for event in (await shop.get(order.allocation_id)).timeline]
    assert events == ["sold", "shipped", "refunded", "returned"]
    assert (await shop.ledger()).balanced


async def test_a_returned_unit_cannot_be_refunded_as_one_that_stays_away(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 3})
    await shop.ship(order.shipments[0])
    await shop.record_return(order.allocation_id, {"1": 2}, "sellable", "dc")

    error = await refused(shop.record_return(order.allocation_id, {"1": 2}, "not_returned"))
    other_units = await refused_after_return(shop, order)

    assert "line 1 has 1 unit remaining, so 2 cannot be refunded" in (error.details() or "")
    assert "event_id 'R-9' was already used for 1 unit of line 1" in other_units


async def refused_after_return(shop: Retailer, order: allocation_pb.Allocation) -> str:
    """The refusal of a return's number that is used again for more units."""
    await shop.record_return(order.allocation_id, {"1": 1}, "not_returned", event_id="R-9")
    error = await refused(shop.record_return(order.allocation_id, {"1": 2}, "not_returned", event_id="R-9"))
    return error.details() or ""


async def test_the_database_itself_refuses_more_returned_and_refunded_units_than_shipped(shop: Retailer) -> None:
    order = await shop.allocate("A-1", {"MUG": 3})
    await shop.ship(order.shipments[0])
    await shop.record_return(order.allocation_id, {"1": 2}, "not_returned")

    for change in ("returned = 2", "refunded = 4", "refunded = -1", "returned = -1", "shipped = 1"):
        with pytest.raises(asyncpg.CheckViolationError):
            await shop.sql(f"UPDATE promise SET {change}")


async def test_refunds_of_a_copy_are_those_of_its_order(shop: Retailer) -> None:
    await shop.channels(tiktok_shop="")
    order = await shop.allocate("T-1", {"MUG": 2}, channel_id="tiktok_shop")
    await shop.allocate("S-1", {"MUG": 2}, copy_of=order_reference("tiktok_shop/T-1"))
    await shop.ship(order.shipments[0])

    answer = await shop.record_return(order.allocation_id, {"1": 1}, "not_returned")

    assert answer.lines[0].refunded_count == 1
    assert (await shop.find_order("web/S-1")).allocation.lines[0].refunded_count == 1
