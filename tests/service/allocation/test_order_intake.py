"""What an adapter hands over may come in any order, and more than once: the order ends in one state."""

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


def states(minute: int, lines: Sequence[tuple[str, int]], commitment: int = SOLD) -> Event:
    """The channel states the order's contents as of a minute."""

    async def send(shop: Retailer, order_id: str) -> Any:
        fields: dict[str, Any] = {"channel_id": "tiktok_shop", "channel_update_time": at(minute)}
        return await shop.allocate(order_id, list(lines), commitment, **fields)

    return send


def cancels(minute: int, units: dict[str, int] | None) -> Event:
    """The channel cancels units, or everything, at a minute."""

    async def send(shop: Retailer, order_id: str) -> Any:
        times = {"channel_update_time": at(minute), "event_id": f"cancel-{minute}"}
        return await shop.cancel_order(f"tiktok_shop/{order_id}", units, **times)

    return send


async def copies(shop: Retailer, order_id: str) -> Any:
    """Shopify's copy, with contents of its own, comes much later by its own clock."""
    fields = {"copy_of": order_reference(f"tiktok_shop/{order_id}"), "channel_update_time": at(90)}
    return await shop.allocate(f"copy-{order_id}", [("CUP", 9)], SOLD, channel_id="shopify", **fields)


async def deliver(shop: Retailer, order_id: str, events: Sequence[Event]) -> allocation_pb.Allocation:
    """Hands events over in an order; what is refused because it came too early is sent again, as adapters do."""
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


def said(order: allocation_pb.Allocation) -> dict[str, Any]:
    """What must not depend on the order of arrival."""
    return {
        "channel": order.channel_id,
        "state": State.Name(order.state),
        "commitment": order.commitment,
        "status": order_pb2.OrderStatus.Name(order.status),
        "lines": sorted((x.line_id, x.sku, x.unit_count, x.promised_count, x.cancelled_count) for x in order.lines),
        "promised": {place: units for place, units in promised(order).items() if units},
    }


STORIES = {
    "updates-copy-and-a-cancelled-line": [
        states(1, [("MUG", 3), ("CUP", 2)], HOLD),
        states(2, [("MUG", 4), ("CUP", 2)]),
        states(3, [("MUG", 4), ("CUP", 3)]),
        cancels(4, {"2": 1}),
        copies,
    ],
    "a-cancelled-line-that-newer-contents-have-in-them": [
        states(1, [("MUG", 3), ("CUP", 2)], HOLD),
        states(2, [("MUG", 4), ("CUP", 2)]),
        cancels(3, {"2": 1}),
        states(4, [("MUG", 4), ("CUP", 1)]),
        copies,
    ],
    "everything-is-cancelled-in-the-end": [
        states(1, [("MUG", 3), ("CUP", 2)], HOLD),
        states(2, [("MUG", 4), ("CUP", 2)]),
        states(3, [("MUG", 4), ("CUP", 3)]),
        cancels(4, {"2": 1}),
        cancels(5, None),
        copies,
    ],
    "an-unpaid-order-that-is-paid-in-shopify": [
        states(1, [("MUG", 3)], HOLD),
        states(2, [("MUG", 4)], HOLD),
        cancels(3, {"1": 1}),
        copies,
    ],
}
ENDS = {
    "updates-copy-and-a-cancelled-line": ("STATE_CONFIRMED", {"dc": 6}),
    "a-cancelled-line-that-newer-contents-have-in-them": ("STATE_CONFIRMED", {"dc": 5}),
    "everything-is-cancelled-in-the-end": ("STATE_CANCELLED", {}),
    "an-unpaid-order-that-is-paid-in-shopify": ("STATE_CONFIRMED", {"dc": 3}),
}


@pytest.mark.parametrize("story", STORIES)
async def test_the_same_events_in_any_order_end_in_the_same_state(shop: Retailer, story: str) -> None:
    events = STORIES[story]
    orders = list(itertools.permutations(events))
    random.Random(4).shuffle(orders)
    told = [tuple(events), tuple(reversed(events)), *orders[:58]]

    ends = []
    for start in range(0, len(told), 10):
        batch = range(start, min(start + 10, len(told)))
        ends += await asyncio.gather(*(deliver(shop, f"{story}-{n}", told[n]) for n in batch))

    assert [said(end) for end in ends] == [said(ends[0])] * len(ends)
    assert (State.Name(ends[0].state), said(ends[0])["promised"]) == ENDS[story]
    assert (await shop.ledger()).balanced


async def test_events_that_come_twice_and_at_once_end_in_the_same_state(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].channels(tiktok_shop="tiktok_shop", shopify="shopify")
    await shops[0].stock({("MUG", "dc"): 10_000, ("CUP", "dc"): 10_000})
    story = STORIES["updates-copy-and-a-cancelled-line"]
    alone = said(await deliver(shops[0], "alone", story))

    for turn in range(5):
        order_id, events = f"at-once-{turn}", story * 3
        await asyncio.gather(
            *(deliver(shops[n % 2], order_id, [event]) for n, event in enumerate(events)), return_exceptions=True
        )
        assert said(await deliver(shops[0], order_id, story)) == alone

    assert (await shops[0].ledger()).balanced


async def test_older_contents_change_nothing(shop: Retailer) -> None:
    await states(2, [("MUG", 2)])(shop, "A-1")
    answer = await states(1, [("MUG", 5)])(shop, "A-1")

    assert promised(answer) == {"dc": 2}
    assert answer.channel_update_time.ToDatetime(tzinfo=UTC) == at(2)


async def test_contents_of_the_same_moment_apply(shop: Retailer) -> None:
    await states(2, [("MUG", 2)])(shop, "A-1")
    answer = await states(2, [("MUG", 5)])(shop, "A-1")

    assert promised(answer) == {"dc": 5}


async def test_an_order_that_was_sold_before_it_changed_is_sold(shop: Retailer) -> None:
    await states(2, [("MUG", 2)], HOLD)(shop, "A-1")
    answer = await states(1, [("MUG", 5)], SOLD)(shop, "A-1")

    assert (answer.state, promised(answer)) == (State.STATE_CONFIRMED, {"dc": 2})


async def test_an_id_longer_than_a_double_can_hold_survives_unchanged(shop: Retailer) -> None:
    sku, order_id = "1732301361504355959", "576461413038785752"
    await shop.stock({(sku, "dc"): 3})

    await shop.allocate(order_id, [(sku, 1)], channel_id="tiktok_shop")
    order = (await shop.find_order(f"tiktok_shop/{order_id}")).allocation

    assert (order.order_id, order.lines[0].sku) == (order_id, sku)


async def test_a_write_that_is_repeated_after_a_time_out_has_one_effect(shop: Retailer) -> None:
    same = request_id()
    for _ in range(3):
        await shop.allocate("A-1", {"MUG": 2}, channel_id="tiktok_shop", request_id=same)

    assert (await shop.level("MUG", "dc")).allocated_count == 2


# The channel's own words


async def test_a_word_of_the_channel_is_kept_and_shown(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, channel_id="tiktok_shop", channel_status="AWAITING_SHIPMENT")
    order = (await shop.find_order("tiktok_shop/A-1")).allocation

    assert (order.channel_status, order.status) == ("AWAITING_SHIPMENT", order_pb2.ORDER_STATUS_READY_TO_FULFILL)


@pytest.mark.parametrize("word", ["CANCEL", "CANCELLED"])
async def test_both_words_of_tiktok_for_cancelled_cancel_whatever_the_commitment_says(
    shop: Retailer, word: str
) -> None:
    await shop.allocate("A-1", {"MUG": 2}, channel_id="tiktok_shop", channel_status="AWAITING_SHIPMENT")
    answer = await shop.allocate("A-1", {"MUG": 2}, SOLD, channel_id="tiktok_shop", channel_status=word)

    assert (answer.state, answer.status) == (State.STATE_CANCELLED, order_pb2.ORDER_STATUS_CANCELLED)
    assert (await shop.level("MUG", "dc")).allocated_count == 0


async def test_a_cancelled_order_stays_cancelled_whatever_is_heard_later(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, channel_id="tiktok_shop", channel_status="CANCEL")
    answer = await shop.allocate("A-1", {"MUG": 3}, channel_id="tiktok_shop", channel_status="AWAITING_SHIPMENT")

    assert answer.state == State.STATE_CANCELLED
    assert (answer.lines[0].unit_count, answer.lines[0].cancelled_count) == (3, 3)


async def test_an_unknown_word_is_an_exception_and_the_order_is_taken_as_it_is_committed(shop: Retailer) -> None:
    for order_id in ("A-1", "A-2"):
        answer = await shop.allocate(order_id, {"MUG": 2}, channel_id="tiktok_shop", channel_status="TELEPORTED")

    raised = await shop.sql("SELECT kind, subject, channel_id, repeat_count FROM exception")
    assert promised(answer) == {"dc": 2}
    assert [tuple(row) for row in raised] == [("sync_failed", "tiktok_shop/TELEPORTED", "tiktok_shop", 1)]


async def test_the_platform_of_a_channel_is_one_whose_words_are_known(shop: Retailer) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await shop.channels(tik_tok="tik_tok")
    known = await shop.catalog.ListChannels(catalog_pb.ListChannelsRequest())

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert {x.channel_id: x.platform for x in known.channels} == {
        "shopify": "shopify",
        "tiktok_shop": "tiktok_shop",
        "web": "",
    }


async def test_a_channel_of_no_platform_may_use_any_word(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, channel_status="TELEPORTED")

    assert not await shop.sql("SELECT FROM exception")


async def test_an_order_in_its_remorse_hour_reserves_and_never_allocates(shop: Retailer) -> None:
    answer = await shop.allocate("A-1", {"MUG": 2}, HOLD, channel_id="tiktok_shop", channel_status="ON_HOLD")
    level = await shop.level("MUG", "dc")

    assert (answer.state, answer.status) == (State.STATE_HELD, order_pb2.ORDER_STATUS_PLACED)
    assert (level.held_count, level.allocated_count) == (2, 0)


async def test_a_cancellation_in_the_remorse_hour_frees_once(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, HOLD, channel_id="tiktok_shop", channel_status="ON_HOLD")

    for _ in range(2):
        answer = await shop.allocate("A-1", {"MUG": 2}, HOLD, channel_id="tiktok_shop", channel_status="CANCEL")
        await shop.cancel_order("tiktok_shop/A-1", event_id="c-1")

    level = await shop.level("MUG", "dc")
    assert answer.status == order_pb2.ORDER_STATUS_CANCELLED
    assert (level.held_count, level.available_count) == (0, 10_000)
    assert (await shop.ledger()).balanced


async def test_fifty_updates_at_once_end_with_the_newest(shop: Retailer) -> None:
    await asyncio.gather(*(states(n, [("MUG", n)])(shop, "A-1") for n in range(1, 51)))

    assert promised((await shop.find_order("tiktok_shop/A-1")).allocation) == {"dc": 50}
    assert (await shop.ledger()).balanced
