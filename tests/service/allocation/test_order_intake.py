"""Events may arrive in any order and more than once: the order ends in the same state."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, State, order_reference, promised, request_id
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2

MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)
TOO_EARLY = (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.FAILED_PRECONDITION)
Event = Callable[[Retailer, str], Awaitable[Any]]


def at(minute: int) -> datetime:
    return MONDAY + timedelta(minutes=minute)


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """Plenty of mugs and cups, and the two channels."""
    await retailer.channels(tiktok_shop="tiktok_shop", shopify="shopify")
    await retailer.stock({("MUG", "dc"): 10_000, ("CUP", "dc"): 10_000})
    return retailer


def state_contents(minute: int, lines: Sequence[tuple[str, int]], commitment: int = SOLD) -> Event:
    """An event in which the channel states the order's contents as of a minute."""

    async def send(shop: Retailer, order_id: str) -> Any:
        fields: dict[str, Any] = {"channel_id": "tiktok_shop", "channel_update_time": at(minute)}
        return await shop.allocate(order_id, list(lines), commitment, **fields)

    return send


def cancel_at(minute: int, units: dict[str, int] | None) -> Event:
    """An event in which the channel cancels units, or everything, at a minute."""

    async def send(shop: Retailer, order_id: str) -> Any:
        times = {"channel_update_time": at(minute), "event_id": f"cancel-{minute}"}
        return await shop.cancel_order(f"tiktok_shop/{order_id}", units, **times)

    return send


async def send_copy(shop: Retailer, order_id: str) -> Any:
    """Sends Shopify's copy, which has other contents and a much later time by its own clock."""
    fields = {"copy_of": order_reference(f"tiktok_shop/{order_id}"), "channel_update_time": at(90)}
    return await shop.allocate(f"copy-{order_id}", [("CUP", 9)], SOLD, channel_id="shopify", **fields)


async def deliver(shop: Retailer, order_id: str, events: Sequence[Event]) -> allocation_pb.Allocation:
    """Sends events in this sequence; those refused because they came too early are sent again, as adapters do."""
    waiting = list(events)
    for _ in range(3):
        refused = []
        for event in waiting:
            try:
                await event(shop, order_id)
            except grpc.aio.AioRpcError as error:
                if error.code() not in TOO_EARLY:
                    raise
                refused.append(event)
        waiting = refused
    return (await shop.find_order(f"tiktok_shop/{order_id}")).allocation


def outcome(order: allocation_pb.Allocation) -> dict[str, Any]:
    """The part of the result that must not depend on the order of arrival."""
    return {
        "channel": order.channel_id,
        "state": State.Name(order.state),
        "commitment": order.commitment,
        "status": order_pb2.OrderStatus.Name(order.status),
        "lines": sorted((x.line_id, x.sku, x.unit_count, x.promised_count, x.cancelled_count) for x in order.lines),
        "promised": {location_id: units for location_id, units in promised(order).items() if units},
    }


STORIES = {
    "updates-copy-and-a-cancelled-line": [
        state_contents(1, [("MUG", 3), ("CUP", 2)], HOLD),
        state_contents(2, [("MUG", 4), ("CUP", 2)]),
        state_contents(3, [("MUG", 4), ("CUP", 3)]),
        cancel_at(4, {"2": 1}),
        send_copy,
    ],
    "a-cancelled-line-that-newer-contents-have-in-them": [
        state_contents(1, [("MUG", 3), ("CUP", 2)], HOLD),
        state_contents(2, [("MUG", 4), ("CUP", 2)]),
        cancel_at(3, {"2": 1}),
        state_contents(4, [("MUG", 4), ("CUP", 1)]),
        send_copy,
    ],
    "everything-is-cancelled-in-the-end": [
        state_contents(1, [("MUG", 3), ("CUP", 2)], HOLD),
        state_contents(2, [("MUG", 4), ("CUP", 2)]),
        state_contents(3, [("MUG", 4), ("CUP", 3)]),
        cancel_at(4, {"2": 1}),
        cancel_at(5, None),
        send_copy,
    ],
    "an-unpaid-order-that-is-paid-in-shopify": [
        state_contents(1, [("MUG", 3)], HOLD),
        state_contents(2, [("MUG", 4)], HOLD),
        cancel_at(3, {"1": 1}),
        send_copy,
    ],
    "a-cart-that-is-cancelled-and-then-paid": [
        state_contents(1, [("MUG", 3), ("CUP", 2)], HOLD),
        cancel_at(3, None),
        state_contents(5, [("MUG", 4), ("CUP", 2)]),
        cancel_at(6, {"2": 1}),
    ],
}
EXPECTED = {
    "updates-copy-and-a-cancelled-line": ("STATE_CONFIRMED", {"dc": 6}),
    "a-cancelled-line-that-newer-contents-have-in-them": ("STATE_CONFIRMED", {"dc": 5}),
    "everything-is-cancelled-in-the-end": ("STATE_CANCELLED", {}),
    "an-unpaid-order-that-is-paid-in-shopify": ("STATE_CONFIRMED", {"dc": 3}),
    "a-cart-that-is-cancelled-and-then-paid": ("STATE_CONFIRMED", {"dc": 5}),
}


@pytest.mark.parametrize("story", STORIES)
async def test_the_same_events_in_any_order_end_in_the_same_state(shop: Retailer, story: str) -> None:
    events = STORIES[story]
    orders = list(itertools.permutations(events))
    random.Random(4).shuffle(orders)
    arrivals = [tuple(events), tuple(reversed(events)), *orders[:58]]

    results = []
    for start in range(0, len(arrivals), 10):
        batch = range(start, min(start + 10, len(arrivals)))
        results += await asyncio.gather(*(deliver(shop, f"{story}-{n}", arrivals[n]) for n in batch))

    assert [outcome(result) for result in results] == [outcome(results[0])] * len(results)
    assert (State.Name(results[0].state), outcome(results[0])["promised"]) == EXPECTED[story]
    assert (await shop.ledger()).balanced


async def test_repeated_events_that_arrive_at_once_end_in_the_same_state(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].channels(tiktok_shop="tiktok_shop", shopify="shopify")
    await shops[0].stock({("MUG", "dc"): 10_000, ("CUP", "dc"): 10_000})
    story = STORIES["updates-copy-and-a-cancelled-line"]
    alone = outcome(await deliver(shops[0], "alone", story))

    for turn in range(5):
        order_id, events = f"at-once-{turn}", story * 3
        await asyncio.gather(
            *(deliver(shops[n % 2], order_id, [event]) for n, event in enumerate(events)), return_exceptions=True
        )
        assert outcome(await deliver(shops[0], order_id, story)) == alone

    assert (await shops[0].ledger()).balanced


async def test_older_contents_change_nothing_and_are_in_the_timeline_once(shop: Retailer) -> None:
    await state_contents(2, [("MUG", 2)])(shop, "A-1")
    for _ in range(3):
        answer = await state_contents(1, [("MUG", 5)])(shop, "A-1")
        await state_contents(1, [("MUG", 2)], HOLD)(shop, "A-1")

    timeline = (await shop.find_order("tiktok_shop/A-1")).timeline
    assert promised(answer) == {"dc": 2}
    assert answer.channel_update_time.ToDatetime(tzinfo=UTC) == at(2)
    assert [event.event for event in timeline] == ["sold", "ignored"]
    assert timeline[1].description == (
        "The channel sent other contents of 2026-11-23 09:01:00 UTC, older than those of 2026-11-23 09:02:00 UTC; "
        "they were ignored."
    )


async def test_older_contents_of_a_copy_are_ignored_before_its_original_has_arrived(shop: Retailer) -> None:
    for minute, units in ((2, 2), (1, 5)):
        times: dict[str, Any] = {"channel_update_time": at(minute), "copy_of": order_reference("tiktok_shop/A-1")}
        answer = await shop.allocate("5001", {"MUG": units}, channel_id="shopify", **times)

    timeline = (await shop.find_order("tiktok_shop/A-1")).timeline
    assert promised(answer) == {"dc": 2}
    assert timeline[-1].description == (
        "The channel sent other contents of 2026-11-23 09:01:00 UTC; they were ignored."
    )


async def test_a_cart_that_arrives_after_its_sale_changes_nothing(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, channel_id="tiktok_shop")
    answer = await shop.allocate("A-1", {"MUG": 5}, HOLD, channel_id="tiktok_shop")

    timeline = (await shop.find_order("tiktok_shop/A-1")).timeline
    assert (answer.commitment, promised(answer)) == (SOLD, {"dc": 2})
    assert [event.event for event in timeline] == ["sold", "ignored"]
    assert timeline[1].description == (
        "The channel sent other contents as an unpaid order, after it had been sold; they were ignored."
    )


async def test_contents_with_the_same_time_apply(shop: Retailer) -> None:
    await state_contents(2, [("MUG", 2)])(shop, "A-1")
    answer = await state_contents(2, [("MUG", 5)])(shop, "A-1")

    assert promised(answer) == {"dc": 5}


async def test_an_order_that_was_sold_before_it_changed_is_sold(shop: Retailer) -> None:
    await state_contents(2, [("MUG", 2)], HOLD)(shop, "A-1")
    answer = await state_contents(1, [("MUG", 5)], SOLD)(shop, "A-1")

    assert (answer.state, promised(answer)) == (State.STATE_CONFIRMED, {"dc": 2})


async def test_an_id_longer_than_a_double_can_hold_survives_unchanged(shop: Retailer) -> None:
    sku, order_id = "1732301361504355959", "576461413038785752"
    await shop.stock({(sku, "dc"): 3})

    await shop.allocate(order_id, [(sku, 1)], channel_id="tiktok_shop")
    order = (await shop.find_order(f"tiktok_shop/{order_id}")).allocation

    assert (order.order_id, order.lines[0].sku) == (order_id, sku)


async def test_a_request_that_is_repeated_after_a_timeout_applies_once(shop: Retailer) -> None:
    same = request_id()
    for _ in range(3):
        await shop.allocate("A-1", {"MUG": 2}, channel_id="tiktok_shop", request_id=same)

    assert (await shop.level("MUG", "dc")).allocated_count == 2


# The status in the channel


async def test_the_status_in_the_channel_is_stored_and_shown(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, channel_id="tiktok_shop", channel_status="AWAITING_SHIPMENT")
    order = (await shop.find_order("tiktok_shop/A-1")).allocation

    assert (order.channel_status, order.status) == ("AWAITING_SHIPMENT", order_pb2.ORDER_STATUS_READY_TO_FULFILL)


@pytest.mark.parametrize("status", ["CANCEL", "CANCELLED"])
async def test_both_cancelled_statuses_of_tiktok_cancel_whatever_the_commitment_says(
    shop: Retailer, status: str
) -> None:
    await shop.allocate("A-1", {"MUG": 2}, channel_id="tiktok_shop", channel_status="AWAITING_SHIPMENT")
    answer = await shop.allocate("A-1", {"MUG": 2}, SOLD, channel_id="tiktok_shop", channel_status=status)

    assert (answer.state, answer.status) == (State.STATE_CANCELLED, order_pb2.ORDER_STATUS_CANCELLED)
    assert (await shop.level("MUG", "dc")).allocated_count == 0


async def test_a_cancelled_order_stays_cancelled_whatever_arrives_later(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, channel_id="tiktok_shop", channel_status="CANCEL")
    answer = await shop.allocate("A-1", {"MUG": 3}, channel_id="tiktok_shop", channel_status="AWAITING_SHIPMENT")

    assert answer.state == State.STATE_CANCELLED
    assert (answer.lines[0].unit_count, answer.lines[0].cancelled_count) == (3, 3)


async def test_a_channel_has_a_platform_whose_statuses_are_known(shop: Retailer) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shop.channels(tik_tok="tik_tok")
    known = await shop.catalog.ListChannels(catalog_pb.ListChannelsRequest())

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert {x.channel_id: x.platform for x in known.channels} == {
        "shopify": "shopify",
        "tiktok_shop": "tiktok_shop",
        "web": "",
    }


async def test_a_channel_without_a_platform_may_use_any_status(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, channel_status="TELEPORTED")

    assert not await shop.sql("SELECT FROM exception")


async def test_a_cancellation_in_the_remorse_hour_releases_once(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, HOLD, channel_id="tiktok_shop", channel_status="ON_HOLD")

    for _ in range(2):
        answer = await shop.allocate("A-1", {"MUG": 2}, HOLD, channel_id="tiktok_shop", channel_status="CANCEL")
        await shop.cancel_order("tiktok_shop/A-1", event_id="c-1")

    level = await shop.level("MUG", "dc")
    assert answer.status == order_pb2.ORDER_STATUS_CANCELLED
    assert (level.held_count, level.available_count) == (0, 10_000)
    assert (await shop.ledger()).balanced


async def test_fifty_updates_at_once_end_with_the_newest(shop: Retailer) -> None:
    await asyncio.gather(*(state_contents(n, [("MUG", n)])(shop, "A-1") for n in range(1, 51)))

    assert promised((await shop.find_order("tiktok_shop/A-1")).allocation) == {"dc": 50}
    assert (await shop.ledger()).balanced
