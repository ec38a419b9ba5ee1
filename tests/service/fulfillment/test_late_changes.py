"""Cancellations and changes that come after units have shipped: figures stay, and somebody hears of it once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from tests.conftest import RESOLVED_RULES, RetailerMaker
from tests.retailer import Retailer, refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, exception_pb2, order_pb2

KIND = "cancelled_after_shipping"


@pytest.fixture
async def shop(retailers: RetailerMaker) -> Retailer:
    """50 mugs and cups at one location, and a channel with the words of Shopify."""
    shop = await retailers.make(RESOLVED_RULES)
    await shop.channels(kiosk="shopify")
    await shop.stock({("MUG", "dc"): 50, ("CUP", "dc"): 50})
    return shop


async def shipped_order(
    shop: Retailer, units: int = 5, shipped: int | None = None, **fields: Any
) -> allocation_pb.Allocation:
    """An order of mugs, of which `shipped` have left; all if it is None."""
    order = await sell(shop, [("MUG", units)], **fields)
    answer: allocation_pb.Allocation = await shop.ship(order.shipments[0], {"1": shipped or units})
    return answer


async def sell(shop: Retailer, lines: Sequence[tuple[str, int]], **fields: Any) -> allocation_pb.Allocation:
    return await shop.allocate("A-1", list(lines), channel_id="kiosk", **fields)


async def latest(shop: Retailer) -> allocation_pb.GetAllocationResponse:
    return await shop.find_order("kiosk/A-1")


def open_exceptions(answer: allocation_pb.GetAllocationResponse) -> list[exception_pb2.ExceptionRecord]:
    return [x for x in answer.exceptions if x.state == exception_pb2.ExceptionRecord.STATE_OPEN]


def channel_time(seconds_ago: int) -> Any:
    moment = allocation_pb.AllocateOrderRequest().channel_update_time
    moment.FromDatetime(datetime.now(UTC) - timedelta(seconds=seconds_ago))
    return moment


def manual_interventions(shop: Retailer) -> float:
    return shop.metric("manual_interventions_total", channel="kiosk", reason=KIND)


# Cancelled


@pytest.mark.parametrize("shipped", [5, 2])
@pytest.mark.parametrize("way", ["call", "channel status"])
async def test_a_whole_cancellation_after_shipping_tells_its_owner_once(shop: Retailer, way: str, shipped: int) -> None:
    order = await shipped_order(shop, 5, shipped)

    for _ in range(2):
        if way == "call":
            await shop.cancel_order("kiosk/A-1")
        else:
            await sell(shop, [("MUG", 5)], channel_status="cancelled", channel_update_time=channel_time(-1))
    answer = await latest(shop)

    line = answer.allocation.lines[0]
    assert (line.shipped_count, line.cancelled_count, line.excess_count) == (shipped, 5 - shipped, shipped)
    assert answer.allocation.needs_person
    (event,) = [event for event in answer.timeline if event.event == "cancelled"]
    assert f"The cancellation came too late for {shipped} units, which had shipped" in event.description
    assert ("3 units cancelled" in event.description) == (shipped == 2)
    (exception,) = open_exceptions(answer)
    assert (exception.kind, exception.owner, exception.sku) == (KIND, "operations", "MUG")
    assert exception.shipment_id == order.shipments[0].shipment_id
    assert f"{shipped} units should come back" in exception.description
    assert manual_interventions(shop) == 1
    level = await shop.level("MUG", "dc")
    assert (level.on_hand_count, level.allocated_count) == (50 - shipped, 0)
    assert (await shop.ledger()).balanced


async def test_both_ways_to_cancel_are_one_cancellation(shop: Retailer) -> None:
    await shipped_order(shop)
    await shop.cancel_order("kiosk/A-1", event_id="c-1")
    await sell(shop, [("MUG", 5)], channel_status="cancelled")

    answer = await latest(shop)

    assert [event.event for event in answer.timeline] == ["sold", "shipped", "cancelled", "updated"]
    assert len(answer.exceptions) == 1


async def test_a_cancellation_of_shipped_lines_is_refused_and_says_that_they_shipped(shop: Retailer) -> None:
    order = await shipped_order(shop, 5, 4)
    before = await latest(shop)

    error = await refused(shop.cancel(order.allocation_id, {"1": 2}))

    assert error.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert "line 1 has 1 unit remaining, so 2 cannot be cancelled" in (error.details() or "")
    assert "4 units shipped already; stop the parcel, or record the return" in (error.details() or "")
    assert await latest(shop) == before


@pytest.mark.parametrize(("disposition", "location_id"), [("sellable", "dc"), ("not_returned", "")])
async def test_nobody_waits_for_units_that_are_back_or_refunded(
    shop: Retailer, disposition: str, location_id: str
) -> None:
    order = await shipped_order(shop)
    await shop.cancel_order("kiosk/A-1")

    await shop.record_return(order.allocation_id, {"1": 4}, disposition, location_id)
    waiting = open_exceptions(await latest(shop))
    await shop.record_return(order.allocation_id, {"1": 1}, disposition, location_id)
    answer = await latest(shop)

    assert len(waiting) == 1
    assert open_exceptions(answer) == []
    assert answer.exceptions[0].state == exception_pb2.ExceptionRecord.STATE_SUPERSEDED


async def test_a_cancellation_of_units_that_are_back_already_asks_nobody(shop: Retailer) -> None:
    order = await shipped_order(shop)
    await shop.record_return(order.allocation_id, {"1": 5}, "sellable", "dc")

    await shop.cancel_order("kiosk/A-1")
    answer = await latest(shop)

    assert not answer.exceptions
    assert not answer.allocation.needs_person
    assert "nothing else has to come back" in answer.timeline[-1].description


# Changed


@pytest.mark.parametrize("timed", [True, False])
async def test_an_order_changed_below_what_has_shipped_asks_for_the_rest_back_once(shop: Retailer, timed: bool) -> None:
    await shipped_order(shop, channel_update_time=channel_time(600))
    time = channel_time(60) if timed else None

    for _ in range(2):
        changed = await sell(shop, [("MUG", 2)], channel_update_time=time)
    answer = await latest(shop)

    line = changed.lines[0]
    assert (line.unit_count, line.shipped_count, line.excess_count) == (5, 5, 3)
    assert [event.event for event in answer.timeline] == ["sold", "shipped", "changed"]
    sentence = "The order is now for 2 units of line 1, and 5 have shipped; 3 units should come back"
    assert answer.timeline[-1].description.startswith(sentence)
    (exception,) = open_exceptions(answer)
    assert exception.kind == KIND
    assert sentence in exception.description
    assert manual_interventions(shop) == 1


async def test_each_further_change_restates_what_should_come_back(shop: Retailer) -> None:
    await shipped_order(shop)
    descriptions = []
    for units in (4, 1, 3, 5):
        await sell(shop, [("MUG", units)])
        descriptions.append([exception.description for exception in open_exceptions(await latest(shop))])

    for open_ones, count in zip(descriptions, ("1 unit", "4 units", "2 units", ""), strict=True):
        assert [f"{count} should come back" in text for text in open_ones] == [True] * bool(count)
    assert manual_interventions(shop) == 1


async def test_a_line_removed_after_it_shipped_should_come_back_and_others_go_on(shop: Retailer) -> None:
    order = await sell(shop, [("MUG", 2), ("CUP", 3)])
    await shop.ship(order.shipments[0], {"1": 2})
    request = allocation_pb.AllocateOrderRequest(
        channel_id="kiosk", order_id="A-1", commitment=order_pb2.COMMITMENT_SOLD
    )
    request.lines.add(line_id="2", sku="CUP", unit_count=3)

    changed = (await shop.allocations.AllocateOrder(request)).allocation

    lines = {line.line_id: (line.shipped_count, line.excess_count, line.promised_count) for line in changed.lines}
    assert lines == {"1": (2, 2, 0), "2": (0, 0, 3)}
    (exception,) = open_exceptions(await latest(shop))
    assert exception.sku == "MUG"
    assert "2 units should come back" in exception.description
    assert (await shop.ledger()).balanced


async def test_another_product_on_a_shipped_line_is_refused_and_says_what_to_do(shop: Retailer) -> None:
    await shipped_order(shop)

    error = await refused(sell(shop, [("CUP", 5)]))

    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "line '1' has shipped as 'MUG'; use a new line_id" in (error.details() or "")


async def test_a_replan_of_the_rest_leaves_the_recall_open(shop: Retailer) -> None:
    await shipped_order(shop, 5, 3)
    await sell(shop, [("MUG", 2)])

    await sell(shop, [("MUG", 2), ("CUP", 1)])

    assert [exception.kind for exception in open_exceptions(await latest(shop))] == [KIND]


async def test_a_cart_of_a_sold_order_is_no_change(shop: Retailer) -> None:
    await shipped_order(shop)

    await sell(shop, [("MUG", 2)], commitment=order_pb2.COMMITMENT_HOLD)

    assert not (await latest(shop)).exceptions


async def test_fewer_units_after_a_return_of_the_others_ask_for_nothing(shop: Retailer) -> None:
    """Some channels state what remains after a return as the order's quantity."""
    order = await shipped_order(shop)
    await shop.record_return(order.allocation_id, {"1": 3}, "sellable", "dc")

    await sell(shop, [("MUG", 2)])

    assert not (await latest(shop)).exceptions
