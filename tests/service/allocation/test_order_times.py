"""No time that lies ahead, or that is no time, ever hides a message with the right one."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tests.retailer import HOLD, SOLD, Retailer, State, promised, refused

FAR_AHEAD = datetime(2999, 1, 1, tzinfo=UTC)
START = datetime.now(UTC) - timedelta(hours=1)


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 1_000})
    return retailer


def at(minute: int) -> dict[str, Any]:
    return {"channel_update_time": START + timedelta(minutes=minute)}


async def test_a_sold_order_is_taken_without_a_time_that_lies_ahead(shop: Retailer) -> None:
    sold = await shop.allocate("A-1", {"MUG": 4}, channel_update_time=FAR_AHEAD)
    edited = await shop.allocate("A-1", {"MUG": 3}, **at(1))
    cancelled = (await shop.cancel_order("web/A-1", {"1": 2}, **at(2))).allocation
    timeline = (await shop.find_order("web/A-1")).timeline

    assert (promised(sold), sold.HasField("channel_update_time")) == ({"dc": 4}, False)
    assert (promised(edited), promised(cancelled)) == ({"dc": 3}, {"dc": 1})
    assert [event.event for event in timeline] == ["sold", "left_out", "sold", "cancelled"]
    assert (
        "channel_update_time: is 2999-01-01 00:00:00 UTC, more than 5 minutes in the future" in timeline[1].description
    )


async def test_a_payment_is_taken_although_its_time_lies_ahead(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2}, HOLD, **at(0))
    paid = await shop.allocate("A-1", {"MUG": 2}, SOLD, channel_update_time=FAR_AHEAD)
    repeated = await shop.allocate("A-1", {"MUG": 2}, SOLD, channel_update_time=FAR_AHEAD)

    assert (paid.state, promised(paid)) == (State.STATE_CONFIRMED, {"dc": 2})
    assert repeated == paid


async def test_a_hold_an_edit_and_a_cancellation_with_a_time_ahead_are_refused(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 4}, **at(1))
    ahead: dict[str, Any] = {"channel_update_time": datetime.now(UTC) + timedelta(minutes=6)}
    calls = [
        shop.allocate("A-2", {"MUG": 1}, HOLD, **ahead),
        shop.allocate("A-1", {"MUG": 1}, SOLD, **ahead),
        shop.cancel_order("web/A-1", {"1": 1}, **ahead),
        shop.cancel_order("web/A-1", **ahead),
        shop.cancel_order("web/A-3", **ahead),
    ]
    errors = [await refused(call) for call in calls]

    assert {error.code() for error in errors} == {grpc.StatusCode.INVALID_ARGUMENT}
    for error in errors:
        assert "channel_update_time: is 20" in (error.details() or "")
        assert "more than 5 minutes in the future; check the clock of the sender" in (error.details() or "")
    assert promised((await shop.find_order("web/A-1")).allocation) == {"dc": 4}
    assert not await shop.sql("SELECT FROM order_cancellation")


async def test_a_time_within_five_minutes_ahead_counts(shop: Retailer) -> None:
    soon = datetime.now(UTC) + timedelta(minutes=4)
    await shop.allocate("A-1", {"MUG": 4}, channel_update_time=soon)
    older = await shop.allocate("A-1", {"MUG": 1}, channel_update_time=soon - timedelta(minutes=1))

    assert promised(older) == {"dc": 4}


async def test_a_time_long_past_or_outside_the_calendar_breaks_nothing(shop: Retailer) -> None:
    year_one, no_time = Timestamp(seconds=-62_135_596_800), Timestamp(seconds=1, nanos=-1)
    for number, time in enumerate((year_one, no_time, Timestamp(seconds=400_000_000_000))):
        order_id = f"A-{number}"
        sold = await shop.allocate(order_id, {"MUG": 2}, SOLD, channel_update_time=time)
        edited = await shop.allocate(order_id, {"MUG": 1}, SOLD, **at(1))
        error = await refused(shop.allocate(f"B-{number}", {"MUG": 2}, HOLD, channel_update_time=time))

        assert (promised(sold), promised(edited)) == ({"dc": 2}, {"dc": 1})
        assert "is not a time between the years 1970 and 9999" in (error.details() or "")
    await shop.allocate("C-1", {"MUG": 2}, SOLD, channel_update_time=Timestamp(seconds=0))

    assert promised(await shop.allocate("C-1", {"MUG": 1}, SOLD, **at(0))) == {"dc": 1}


async def test_random_messages_end_as_if_those_with_a_time_ahead_had_had_none(shop: Retailer) -> None:
    async def story(seed: int) -> None:
        chance = random.Random(seed)
        newest, units = -1, 0
        for number in range(6):
            minute, count, is_ahead = chance.randrange(50), chance.randint(1, 9), chance.random() < 0.4
            time: dict[str, Any] = {"channel_update_time": FAR_AHEAD} if is_ahead else at(minute)
            try:
                await shop.allocate(f"R-{seed}", {"MUG": count}, SOLD, **time)
            except grpc.aio.AioRpcError as error:
                assert (is_ahead, error.code()) == (True, grpc.StatusCode.INVALID_ARGUMENT)  # noqa: PT017
                continue
            if (is_ahead and not number) or (not is_ahead and minute >= newest):
                units, newest = count, newest if is_ahead else minute
        # A cancellation of the right time is never dropped because of a time ahead either.
        await shop.cancel_order(f"web/R-{seed}", {"1": 1}, **at(55))
        final = (await shop.find_order(f"web/R-{seed}")).allocation

        assert sum(promised(final).values()) == units - 1, (seed, final)

    await asyncio.gather(*(story(seed) for seed in range(20)))
    assert (await shop.ledger()).balanced
