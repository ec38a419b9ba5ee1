"""A paid order is never lost unheard: it is allocated anew, or its owner learns that a payment was taken."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.exception_shop import COMPLETED
from tests.retailer import HOLD, SOLD, Retailer, State, order_reference, promised, refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

MONDAY = datetime(2026, 11, 23, 9, tzinfo=UTC)
PAID = "paid_after_cancellation"


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 1_000})
    return retailer


def at(minute: int | None) -> dict[str, Any]:
    """A field with the channel's time; none if it does not state one."""
    return {} if minute is None else {"channel_update_time": MONDAY + timedelta(minutes=minute)}


async def cancelled_cart(shop: Retailer, order_id: str, minute: int | None) -> allocation_pb.Allocation:
    """A cart of minute 0 that was cancelled at a minute."""
    await shop.allocate(order_id, {"MUG": 2}, HOLD, **at(0))
    return (await shop.cancel_order(f"web/{order_id}", **at(minute))).allocation


async def test_a_sale_that_is_newer_than_the_cancellation_is_allocated_anew(shop: Retailer) -> None:
    await cancelled_cart(shop, "A-1", 5)
    paid = await shop.allocate("A-1", {"MUG": 2}, SOLD, **at(6))
    again = await shop.allocate("A-1", {"MUG": 2}, SOLD, **at(6))
    seen = await shop.find_order("web/A-1")

    assert (paid.state, paid.outcome, promised(paid)) == (
        State.STATE_CONFIRMED,
        order_pb2.OUTCOME_ALLOCATED,
        {"dc": 2},
    )
    assert again == paid
    assert (len(seen.exceptions), seen.allocation.needs_person) == (0, False)
    assert [event.event for event in seen.timeline] == ["held", "cancelled", "sold"]
    assert (await shop.ledger()).balanced


async def test_a_sold_order_that_was_cancelled_is_allocated_anew_when_it_is_stated_as_sold_later(
    shop: Retailer,
) -> None:
    await shop.allocate("A-1", {"MUG": 2}, **at(1))
    await shop.cancel_order("web/A-1", **at(5))
    duplicate = await shop.allocate("A-1", {"MUG": 2}, **at(1))
    edit_before = await shop.allocate("A-1", {"MUG": 3}, **at(4))
    again = await shop.allocate("A-1", {"MUG": 3}, **at(6))

    assert [x.state for x in (duplicate, edit_before)] == [State.STATE_CANCELLED] * 2
    assert (again.state, promised(again), again.needs_person) == (State.STATE_CONFIRMED, {"dc": 3}, False)
    assert not await shop.open_exceptions()
    sold, cancelled = (shop.metric(name, channel="web") for name in ("sold_units_total", "cancelled_units_total"))
    assert sold - cancelled == 3


async def test_a_sale_that_is_not_proven_to_be_newer_stays_cancelled_and_raises_one_exception(shop: Retailer) -> None:
    # By order: the minute of the cancellation, and that of the sale; None is not stated.
    stories: dict[str, tuple[int | None, int | None]] = {
        "untimed-sale": (5, None),
        "untimed-cancellation": (None, 6),
        "untimed": (None, None),
        "same-time": (5, 5),
        "older-sale": (5, 4),
    }
    for order_id, (cancelled_at, sold_at) in stories.items():
        await cancelled_cart(shop, order_id, cancelled_at)
        for _ in range(3):
            answer = await shop.allocate(order_id, {"MUG": 2}, SOLD, **at(sold_at))
        seen = await shop.find_order(f"web/{order_id}")

        assert (answer.state, answer.outcome) == (State.STATE_CANCELLED, order_pb2.OUTCOME_ENDED), order_id
        assert (answer.needs_person, promised(answer)) == (True, {}), order_id
        assert [(x.kind, x.state, x.repeat_count) for x in seen.exceptions] == [(PAID, 1, 0)], order_id
        assert [event.event for event in seen.timeline] == ["held", "cancelled", PAID], order_id

    assert shop.metric("exceptions_total", kind=PAID, channel="web") == len(stories)
    assert shop.metric("manual_interventions_total", channel="web", reason=PAID) == len(stories)
    assert (await shop.level("MUG", "dc")).available_count == 1_000


async def test_an_order_of_which_every_line_was_cancelled_and_that_is_paid_later_raises_one_exception(
    shop: Retailer,
) -> None:
    sold = await shop.allocate("A-1", {"MUG": 2}, **at(1))
    await shop.cancel(sold.allocation_id, {"1": 2})
    for minute in (1, 6, 6):
        answer = await shop.allocate("A-1", {"MUG": 2}, **at(minute))

        assert answer.state == State.STATE_CANCELLED
        assert [x.kind for x in await shop.open_exceptions()] == ([PAID] if minute == 6 else [])
    assert [event.event for event in (await shop.find_order("web/A-1")).timeline] == ["sold", "cancelled", PAID]


async def test_the_exception_ends_with_proof_or_by_a_person(shop: Retailer) -> None:
    for order_id in ("A-1", "A-2"):
        await cancelled_cart(shop, order_id, 5)
        await shop.allocate(order_id, {"MUG": 2}, SOLD)
    await shop.allocate("A-1", {"MUG": 2}, SOLD, **at(6))
    (of_second,) = await shop.open_exceptions()
    await shop.resolve(of_second.exception_id, COMPLETED)

    assert of_second.order_id == "A-2"
    assert promised((await shop.find_order("web/A-1")).allocation) == {"dc": 2}
    assert not await shop.open_exceptions()


async def test_an_order_stated_again_while_it_waits_for_its_owner_repeats_the_exception(shop: Retailer) -> None:
    await cancelled_cart(shop, "A-1", None)
    for minute in (6, 7, 8):
        await shop.allocate("A-1", {"MUG": minute}, SOLD, **at(minute))

    assert [(x.kind, x.repeat_count) for x in await shop.open_exceptions()] == [(PAID, 2)]


async def test_a_cancellation_that_a_sale_overtook_changes_nothing(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 2}, **at(6))
    kept = (await shop.cancel_order("web/A-1", event_id="c-1", **at(5))).allocation
    await shop.cancel_order("web/A-2", **at(5))
    second = await shop.allocate("A-2", {"MUG": 2}, **at(6))
    final = (await shop.cancel_order("web/A-1", event_id="c-2", **at(7))).allocation

    assert promised(kept) == promised(sold) == promised(second) == {"dc": 2}
    for name in ("web/A-1", "web/A-2"):
        timeline = (await shop.find_order(name)).timeline
        assert [event.event for event in timeline[:2]] == ["sold", "ignored"]
        assert "09:05:00 UTC, before it was sold at 2026-11-23 09:06:00 UTC" in timeline[1].description
    assert final.state == State.STATE_CANCELLED


async def test_a_sold_order_stays_sold_after_its_cancellation(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2})
    await shop.cancel_order("web/A-1")
    cart = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    duplicate = await shop.allocate("A-1", {"MUG": 2})

    assert [(x.state, x.commitment) for x in (cart, duplicate)] == [(State.STATE_CANCELLED, SOLD)] * 2
    assert not await shop.open_exceptions()


async def test_a_cancelled_status_of_the_channel_is_a_cancellation_at_its_time(shop: Retailer) -> None:
    await shop.channels(tiktok_shop="tiktok_shop")
    fields: dict[str, Any] = {"channel_id": "tiktok_shop"}
    await shop.allocate("T-1", {"MUG": 2}, channel_status="AWAITING_SHIPMENT", **fields, **at(1))
    ended = await shop.allocate("T-1", {"MUG": 2}, channel_status="CANCELLED", **fields, **at(5))
    again = await shop.allocate("T-1", {"MUG": 2}, channel_status="AWAITING_SHIPMENT", **fields, **at(6))
    last = await shop.allocate("T-1", {"MUG": 2}, channel_status="CANCELLED", **fields, **at(7))

    states = [x.state for x in (ended, again, last)]
    assert states == [State.STATE_CANCELLED, State.STATE_CONFIRMED, State.STATE_CANCELLED]
    assert not await shop.open_exceptions()


@pytest.mark.parametrize("minute", [5, None])
async def test_the_advice_of_a_refused_confirmation_works(shop: Retailer, minute: int | None) -> None:
    ended = await cancelled_cart(shop, "A-1", minute)
    # The order was cancelled an hour ago.
    await shop.sql("UPDATE order_cancellation SET ingest_time = ingest_time - interval '1 hour'")
    confirmation = allocation_pb.ConfirmAllocationRequest(allocation_id=ended.allocation_id)
    extension = allocation_pb.ExtendHoldRequest(allocation_id=ended.allocation_id)
    for call in (shop.allocations.ConfirmAllocation(confirmation), shop.allocations.ExtendHold(extension)):
        details = (await refused(call)).details() or ""
        (after,) = re.findall(r"with AllocateOrder as SOLD and a channel_update_time after (\S+ \S+) UTC", details)

    time = datetime.fromisoformat(after).replace(tzinfo=UTC)
    paid = await shop.allocate("A-1", {"MUG": 2}, SOLD, channel_update_time=time)

    assert (paid.state, promised(paid)) == (State.STATE_CONFIRMED, {"dc": 2})


async def test_the_advice_for_other_orders_that_promise_nothing_works(shop: Retailer) -> None:
    released = await shop.allocate("A-1", {"MUG": 2}, HOLD)
    await shop.release(released.allocation_id)
    merged = await shop.allocate("A-2", {"MUG": 2}, HOLD)
    await shop.allocate("A-2", {"MUG": 2}, HOLD, copy_of=order_reference("web/A-3"))
    emptied = await shop.allocate("A-4", {"MUG": 2})
    await shop.cancel(emptied.allocation_id, {"1": 2})

    async def advice(allocation: allocation_pb.Allocation) -> str:
        request = allocation_pb.ConfirmAllocationRequest(allocation_id=allocation.allocation_id)
        return (await refused(shop.allocations.ConfirmAllocation(request))).details() or ""

    assert "send it again with AllocateOrder as SOLD" in await advice(released)
    assert promised(await shop.allocate("A-1", {"MUG": 2}, SOLD)) == {"dc": 2}
    assert "use that order's allocation_id" in await advice(merged)
    original = (await shop.find_order("web/A-3")).allocation
    assert promised(await shop.confirm(original.allocation_id)) == {"dc": 2}
    assert (await advice(emptied)).startswith(f"allocation {emptied.allocation_id} is cancelled, ")
    assert (await advice(emptied)).endswith(
        "; its units were cancelled one by one, so send a new sale under another order_id"
    )
    assert (await shop.release(emptied.allocation_id)).state == State.STATE_CANCELLED
