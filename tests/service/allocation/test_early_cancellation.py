"""A cancellation may arrive before its order, and more than once."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, State, order_reference, promised, request_id
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("CUP", "dc"): 10})
    return retailer


async def refused(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code()


async def test_an_order_that_was_cancelled_before_it_arrived_promises_nothing(shop: Retailer) -> None:
    early = await shop.cancel_order("web/A-1")
    answer = await shop.allocate("A-1", {"MUG": 3})

    assert not early.HasField("allocation")
    assert (answer.state, answer.status) == (State.STATE_CANCELLED, order_pb2.ORDER_STATUS_CANCELLED)
    assert (promised(answer), answer.lines[0].cancelled_count) == ({}, 3)
    assert await shop.sellable("MUG") == 10
    assert (await shop.ledger()).balanced


async def test_units_that_were_cancelled_before_their_order_arrived_are_not_promised(shop: Retailer) -> None:
    await shop.cancel_order("web/A-1", {"1": 2, "2": 1})
    answer = await shop.allocate("A-1", {"MUG": 3, "CUP": 1})

    assert promised(answer) == {"dc": 1}
    assert [(x.unit_count, x.promised_count, x.cancelled_count) for x in answer.lines] == [(3, 1, 2), (1, 0, 1)]
    assert (await shop.ledger()).balanced


async def test_an_order_that_is_sent_again_keeps_its_cancelled_units(shop: Retailer) -> None:
    await shop.cancel_order("web/A-1", {"1": 2})
    await shop.allocate("A-1", {"MUG": 3})
    answer = await shop.allocate("A-1", {"MUG": 3})

    assert promised(answer) == {"dc": 1}


async def test_a_cart_that_is_cancelled_first_is_neither_held_nor_sold_later(shop: Retailer) -> None:
    await shop.cancel_order("web/A-1")
    cart = await shop.allocate("A-1", {"MUG": 3}, HOLD)
    sold = await shop.allocate("A-1", {"MUG": 3}, SOLD)

    assert (cart.state, sold.state) == (State.STATE_RELEASED, State.STATE_CANCELLED)
    assert await shop.sellable("MUG") == 10


async def test_a_cancellation_of_a_copy_waits_for_the_order(shop: Retailer) -> None:
    await shop.channels(shopify="shopify")
    await shop.cancel_order("shopify/5001", {"1": 1})
    await shop.allocate("A-1", {"MUG": 3})

    answer = await shop.allocate("5001", {"MUG": 3}, channel_id="shopify", copy_of=order_reference("web/A-1"))

    assert promised(answer) == {"dc": 2}
    assert (await shop.ledger()).balanced


async def test_a_repeated_cancellation_event_applies_once_before_and_after_the_order(shop: Retailer) -> None:
    for _ in range(2):
        await shop.cancel_order("web/A-1", {"1": 1}, event_id="c-1")
    await shop.allocate("A-1", {"MUG": 3})
    again = await shop.cancel_order("web/A-1", {"1": 1}, event_id="c-1", request_id=request_id())
    second = await shop.cancel_order("web/A-1", {"1": 1}, event_id="c-2")

    assert again.allocation.lines[0].cancelled_count == 1
    assert second.allocation.lines[0].cancelled_count == 2


async def test_an_event_applies_once_whether_it_names_the_order_or_its_allocation(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 3})
    await shop.cancel(sold.allocation_id, {"1": 1}, event_id="c-1")
    again = await shop.cancel_order("web/A-1", {"1": 1}, event_id="c-1")

    assert again.allocation.lines[0].cancelled_count == 1


async def test_cancelling_everything_keeps_shipped_units(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 3})
    await shop.ship(sold.shipments[0], {"1": 1})

    answer = (await shop.cancel_order("web/A-1")).allocation

    assert (answer.lines[0].shipped_count, answer.lines[0].cancelled_count) == (1, 2)
    assert (answer.state, answer.status) == (State.STATE_CONFIRMED, order_pb2.ORDER_STATUS_SHIPPED)
    assert (await shop.level("MUG", "dc")).available_count == 9
    assert (await shop.ledger()).balanced


async def test_cancelling_everything_again_changes_nothing(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 3})
    first = await shop.cancel_order("web/A-1")
    again = await shop.cancel_order("web/A-1")

    assert first == again


async def test_an_early_cancellation_counts_as_sold_and_cancelled(shop: Retailer) -> None:
    await shop.cancel_order("web/A-1")
    await shop.cancel_order("web/A-2", {"1": 1})
    await shop.allocate("A-1", {"MUG": 3})
    await shop.allocate("A-2", {"MUG": 3})
    await shop.allocate("A-3", {"MUG": 3})
    await shop.cancel_order("web/A-3")

    assert shop.metric("sold_orders_total", channel="web") == 3
    assert shop.metric("sold_units_total", channel="web") == 9
    assert shop.metric("cancelled_units_total", channel="web") == 7


async def test_a_cancellation_cannot_name_a_shipment_before_the_order_arrives(shop: Retailer) -> None:
    line = allocation_pb.LineCancellation(line_id="1", unit_count=1, shipment_id=request_id())
    request = allocation_pb.CancelOrderLinesRequest(order=order_reference("web/A-1"), cancellations=[line])

    assert await refused(shop.allocations.CancelOrderLines(request)) is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"order": order_reference("web/A-1")},
        {
            "order": order_reference("web/A-1"),
            "allocation_id": "01890a5d-ac96-774b-bcce-b302099a8057",
            "whole_order": True,
        },
        {"order": order_reference("web/" + "9" * 129), "whole_order": True},
        {"order": order_pb2.OrderReference(channel_id="web"), "whole_order": True},
        {"order": order_reference("web/A-1"), "whole_order": True, "event_id": "e" * 129},
        {
            "order": order_reference("web/A-1"),
            "whole_order": True,
            "cancellations": [allocation_pb.LineCancellation(line_id="1", unit_count=1)],
        },
    ],
)
async def test_an_ambiguous_cancellation_is_refused(shop: Retailer, fields: dict[str, Any]) -> None:
    request = allocation_pb.CancelOrderLinesRequest(**fields)

    assert await refused(shop.allocations.CancelOrderLines(request)) is grpc.StatusCode.INVALID_ARGUMENT
    assert not await shop.sql("SELECT FROM order_cancellation")


async def test_an_order_and_its_cancellation_at_once_leave_nothing_promised(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].stock({("MUG", "dc"): 100})

    for turn in range(10):
        await asyncio.gather(
            shops[0].allocate(f"A-{turn}", {"MUG": 3}),
            shops[1].cancel_order(f"web/A-{turn}"),
        )

    assert await shops[0].sellable("MUG") == 100
    assert len(await shops[0].sql("SELECT FROM allocation WHERE state = 'cancelled'")) == 10
    assert (await shops[0].ledger()).balanced


@pytest.mark.parametrize("has_arrived", [True, False])
async def test_the_same_cancellation_sent_fifty_times_at_once_applies_once(shop: Retailer, has_arrived: bool) -> None:
    if has_arrived:
        await shop.allocate("A-1", {"MUG": 5})
    same = request_id()

    answers = await asyncio.gather(*(shop.cancel_order("web/A-1", {"1": 1}, request_id=same) for _ in range(50)))
    last = await shop.allocate("A-1", {"MUG": 5})

    assert all(answer == answers[0] for answer in answers)
    assert promised(last) == {"dc": 4}


@pytest.mark.parametrize("has_arrived", [True, False])
async def test_fifty_cancellations_of_one_event_at_once_apply_once(shop: Retailer, has_arrived: bool) -> None:
    if has_arrived:
        await shop.allocate("A-1", {"MUG": 5})

    await asyncio.gather(
        *(shop.cancel_order("web/A-1", {"1": 1}, event_id="c-1", request_id=request_id()) for _ in range(50))
    )
    last = await shop.allocate("A-1", {"MUG": 5})

    assert promised(last) == {"dc": 4}
    assert (await shop.ledger()).balanced
