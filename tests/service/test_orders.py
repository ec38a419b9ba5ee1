"""What orders do to stock, through the API."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, State, promised, request_id
from truestock.v1 import order_pb2


@pytest.mark.smoke
async def test_a_sold_order_reduces_what_is_sellable(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})

    sold = await retailer.allocate("A-1", {"MUG": 2})

    assert sold.state == State.STATE_CONFIRMED
    assert promised(sold) == {"dc": 2}
    assert await retailer.sellable("MUG") == 3
    assert (await retailer.ledger()).balanced


async def test_two_hundred_shoppers_share_the_last_fifty(retailers: RetailerMaker) -> None:
    shops = [await retailers.make(), await retailers.make()]
    await shops[0].stock({("MUG", "dc"): 30, ("MUG", "high-street"): 20})

    answers = await asyncio.gather(*(shops[n % 2].allocate(f"A-{n}", {"MUG": 1}) for n in range(200)))

    outcomes = Counter(answer.outcome for answer in answers)
    assert outcomes == {order_pb2.OUTCOME_ALLOCATED: 50, order_pb2.OUTCOME_NEEDS_REVIEW: 150}
    assert await shops[1].sellable("MUG") == 0
    report = await shops[0].ledger()
    assert report.balanced
    assert report.totals["promised_units"] == 50


async def test_two_hundred_carts_hold_the_last_fifty_and_the_others_are_refused(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 50})

    answers = await asyncio.gather(*(retailer.allocate(f"A-{n}", {"MUG": 1}, HOLD) for n in range(200)))

    states = Counter(answer.state for answer in answers)
    assert states == {State.STATE_HELD: 50, State.STATE_REFUSED: 150}
    assert (await retailer.ledger()).balanced


async def test_the_same_order_sent_twice_is_promised_once(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})

    first = await retailer.allocate("A-1", {"MUG": 2})
    again = await retailer.allocate("A-1", {"MUG": 2})

    assert again.allocation_id == first.allocation_id
    assert await retailer.sellable("MUG") == 3
    assert retailer.metric("sold_units_total", channel="web") == 2


async def test_the_same_order_sent_fifty_times_at_once_is_promised_once(retailers: RetailerMaker) -> None:
    shops = [await retailers.make(), await retailers.make()]
    await shops[0].stock({("MUG", "dc"): 500})

    answers = await asyncio.gather(*(shops[n % 2].allocate("A-1", {"MUG": 2}) for n in range(50)))

    assert len({answer.allocation_id for answer in answers}) == 1
    assert await shops[0].sellable("MUG") == 498
    assert (await shops[0].ledger()).balanced


async def test_a_hold_that_is_sold_keeps_its_own_units(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 2})
    held = await retailer.allocate("A-1", {"MUG": 2}, HOLD)

    sold = await retailer.allocate("A-1", {"MUG": 2}, SOLD)

    assert sold.allocation_id == held.allocation_id
    assert sold.state == State.STATE_CONFIRMED
    assert promised(sold) == {"dc": 2}
    assert not sold.HasField("expire_time")
    assert (await retailer.ledger()).balanced


async def test_a_hold_that_is_sold_with_more_units_takes_only_the_difference(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 3})
    await retailer.allocate("A-1", {"MUG": 2}, HOLD)

    sold = await retailer.allocate("A-1", {"MUG": 3}, SOLD)

    assert promised(sold) == {"dc": 3}
    assert await retailer.sellable("MUG") == 0
    assert [event.description for event in (await retailer.find_order("web/A-1")).timeline] == [
        "Planned: 2 units from dc.",
        "Replanned: 3 units from dc.",
    ]
    assert (await retailer.ledger()).balanced


async def test_a_hold_never_changes_an_order_that_is_sold(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    await retailer.allocate("A-1", {"MUG": 2}, SOLD)

    late = await retailer.allocate("A-1", {"MUG": 5}, HOLD)

    assert late.state == State.STATE_CONFIRMED
    assert promised(late) == {"dc": 2}


async def test_a_cart_that_cannot_grow_keeps_its_hold(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 3})
    await retailer.allocate("A-1", {"MUG": 2}, HOLD)

    refused = await retailer.allocate("A-1", {"MUG": 4}, HOLD)

    assert refused.change_refused
    assert promised(refused) == {"dc": 2}
    assert (await retailer.ledger()).balanced


async def test_two_lines_of_one_product_share_its_stock(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})

    sold = await retailer.allocate("A-1", [("MUG", 3), ("MUG", 3)])

    assert [line.promised_count for line in sold.lines] == [3, 2]
    assert sold.shortages[0].unit_count == 1
    assert (await retailer.ledger()).balanced


async def test_units_of_an_expired_hold_can_be_sold_at_once(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 2})
    await retailer.allocate("A-1", {"MUG": 2}, HOLD, hold_duration=timedelta(seconds=1))

    await asyncio.sleep(1.05)

    assert await retailer.sellable("MUG") == 2
    sold = await retailer.allocate("A-2", {"MUG": 2})
    assert promised(sold) == {"dc": 2}
    assert (await retailer.ledger()).balanced


async def test_an_order_that_is_short_stays_so_when_some_of_its_units_are_cancelled(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    short = await retailer.allocate("A-1", {"MUG": 9})

    cancelled = await retailer.cancel(short.allocation_id, {"1": 1})

    assert (short.outcome, cancelled.outcome) == (order_pb2.OUTCOME_PARTLY_ALLOCATED,) * 2


async def test_a_cart_that_is_paid_gets_what_has_arrived_and_keeps_its_cancelled_units(
    retailer: Retailer,
) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    short = await retailer.allocate("A-1", {"MUG": 9}, HOLD)
    await retailer.cancel(short.allocation_id, {"1": 1})
    await retailer.count({("MUG", "dc"): 20})

    paid = await retailer.confirm(short.allocation_id)

    assert promised(short) == {"dc": 5}
    assert [(x.unit_count, x.cancelled_count, x.promised_count) for x in paid.lines] == [(9, 1, 8)]


async def test_a_payment_after_expiry_is_replanned(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 2})
    held = await retailer.allocate("A-1", {"MUG": 2}, HOLD)
    await retailer.expire(held)
    await retailer.allocate("A-2", {"MUG": 1})

    paid = await retailer.confirm(held.allocation_id)

    assert paid.allocation_id == held.allocation_id
    assert paid.state == State.STATE_CONFIRMED
    assert promised(paid) == {"dc": 1}
    assert paid.outcome == order_pb2.OUTCOME_PARTLY_ALLOCATED
    assert retailer.metric("oversold_units_total", channel="web", cause="not_told") == 1
    assert (await retailer.ledger()).balanced


async def test_confirming_and_releasing_again_changes_nothing(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 4})
    first = await retailer.allocate("A-1", {"MUG": 2}, HOLD)
    second = await retailer.allocate("A-2", {"MUG": 2}, HOLD)

    for _ in range(2):
        assert (await retailer.confirm(first.allocation_id)).state == State.STATE_CONFIRMED
        assert (await retailer.release(second.allocation_id)).state == State.STATE_RELEASED

    level = await retailer.level("MUG", "dc")
    assert (level.held_count, level.allocated_count) == (0, 2)
    assert (await retailer.ledger()).balanced


async def test_cancelled_units_can_be_sold_again(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 3})
    sold = await retailer.allocate("A-1", {"MUG": 3})

    order = await retailer.cancel(sold.allocation_id, {"1": 2})

    assert order.lines[0].cancelled_count == 2
    assert promised(order) == {"dc": 1}
    assert await retailer.sellable("MUG") == 2
    assert (await retailer.ledger()).balanced


async def test_short_units_are_cancelled_first(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 3})
    sold = await retailer.allocate("A-1", {"MUG": 5})

    order = await retailer.cancel(sold.allocation_id, {"1": 3})

    assert (order.lines[0].promised_count, order.lines[0].short_count) == (2, 0)
    assert order.outcome == order_pb2.OUTCOME_ALLOCATED
    assert (await retailer.ledger()).balanced


async def test_fifty_cancellations_at_once_with_one_request_id_cancel_once(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    sold = await retailer.allocate("A-1", {"MUG": 9})
    same = request_id()

    await asyncio.gather(*(retailer.cancel(sold.allocation_id, {"1": 2}, request_id=same) for _ in range(50)))

    assert await retailer.sellable("MUG") == 2
    assert (await retailer.ledger()).balanced


async def test_a_repeated_sale_does_not_undo_a_cancellation(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 5})
    part = await retailer.allocate("A-1", {"MUG": 3})
    whole = await retailer.allocate("A-2", {"MUG": 2})
    await retailer.cancel(part.allocation_id, {"1": 2})
    await retailer.cancel(whole.allocation_id, {"1": 2})

    again = [await retailer.allocate("A-1", {"MUG": 3}), await retailer.allocate("A-2", {"MUG": 2})]

    assert [answer.state for answer in again] == [State.STATE_CONFIRMED, State.STATE_CANCELLED]
    assert await retailer.sellable("MUG") == 4
    assert (await retailer.ledger()).balanced


async def test_an_order_whose_promised_units_are_all_cancelled_waits_for_a_person(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 3, ("CUP", "dc"): 0})
    sold = await retailer.allocate("A-1", {"MUG": 3, "CUP": 2})

    order = await retailer.cancel(sold.allocation_id, {"1": 3})

    assert order.outcome == order_pb2.OUTCOME_NEEDS_REVIEW
    assert (await retailer.ledger()).balanced


async def test_a_replanned_order_has_one_open_exception(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 1})
    for units in (3, 4, 5):
        await retailer.allocate("A-1", {"MUG": units})

    states = [row["state"] for row in await retailer.sql("SELECT state FROM exception ORDER BY create_time")]

    assert states == ["superseded", "superseded", "open"]
    assert retailer.metric("exceptions_superseded_total", kind="oversell") == 2


async def test_a_preview_promises_nothing_and_uses_up_no_request_id(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 3})
    same = request_id()

    preview = await retailer.allocate("A-1", {"MUG": 2}, validate_only=True, request_id=same)

    assert promised(preview) == {"dc": 2}
    assert preview.allocation_id == ""
    assert await retailer.sellable("MUG") == 3
    assert not await retailer.sql("SELECT FROM allocation")
    sold = await retailer.allocate("A-1", {"MUG": 3}, request_id=same)
    assert promised(sold) == {"dc": 3}


async def test_a_retry_with_the_same_request_id_gets_the_stored_answer(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 3})
    same = request_id()

    first, again = [await retailer.allocate("A-1", {"MUG": 2}, request_id=same) for _ in range(2)]

    assert again == first


@pytest.mark.parametrize("servers", [pytest.param(1, marks=pytest.mark.long), 2])
async def test_an_expiry_sweep_and_an_order_never_promise_the_same_units_twice(
    retailers: RetailerMaker, servers: int
) -> None:
    """A sweeper races the allocator for ten units that are held and released again and again."""
    shops = [await retailers.make() for _ in range(servers)]
    await shops[0].stock({("MUG", "dc"): 10})

    for turn in range(3):
        holds = (
            shops[n % servers].allocate(f"H-{turn}-{n}", {"MUG": 1}, HOLD, hold_duration=timedelta(seconds=1))
            for n in range(10)
        )
        await asyncio.gather(*holds)
        await asyncio.sleep(0.9)
        # Around the time of expiry, carts arrive while every service sweeps.
        carts = []
        for n in range(60):
            carts.append(asyncio.create_task(shops[n % servers].allocate(f"S-{turn}-{n}", {"MUG": 1}, HOLD)))
            await asyncio.sleep(0.004)
        answers = await asyncio.gather(*carts)
        held = [answer for answer in answers if answer.state == State.STATE_HELD]
        assert len(held) <= 10
        for answer in held:
            await shops[0].release(answer.allocation_id)
        assert (await shops[0].ledger()).balanced

    assert await shops[0].sellable("MUG") == 10
