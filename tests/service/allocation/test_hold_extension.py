"""Holds whose expiry is set later, or earlier."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import grpc
import pytest

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, Retailer, State, request_id
from truestock.v1 import allocation_service_pb2 as allocation_pb


async def extend(
    retailer: Retailer, allocation_id: str, seconds: float | None = None, request: str = ""
) -> allocation_pb.Allocation:
    message = allocation_pb.ExtendHoldRequest(allocation_id=allocation_id, request_id=request)
    if seconds is not None:
        message.hold_duration.FromTimedelta(timedelta(seconds=seconds))
    allocation: allocation_pb.Allocation = (await retailer.allocations.ExtendHold(message)).allocation
    return allocation


def hold_seconds(allocation: allocation_pb.Allocation) -> float:
    """From the extension, which was the last update, to the expiry."""
    return (allocation.expire_time.ToDatetime(UTC) - allocation.update_time.ToDatetime(UTC)).total_seconds()


async def is_extended(retailer: Retailer, allocation_id: str, seconds: float) -> bool:
    """Whether the hold could be extended; it cannot once it has expired."""
    try:
        await extend(retailer, allocation_id, seconds)
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.FAILED_PRECONDITION:
            return False
        raise
    return True


async def place_hold(retailer: Retailer, seconds: float = 60, order_id: str = "A-1") -> allocation_pb.Allocation:
    await retailer.stock({("MUG", "dc"): 9})
    return await retailer.allocate(order_id, {"MUG": 2}, HOLD, hold_duration=timedelta(seconds=seconds))


@pytest.mark.parametrize(("requested", "expected"), [(3_600, 3_600), (5, 5), (None, 900)])
async def test_the_new_expiry_of_a_hold_counts_from_now_whether_later_or_earlier(
    retailer: Retailer, requested: float | None, expected: float
) -> None:
    hold = await place_hold(retailer, seconds=600)
    before = datetime.now(UTC)

    extended = await extend(retailer, hold.allocation_id, requested)

    assert extended.state == State.STATE_HELD
    assert hold_seconds(extended) == expected
    assert before <= extended.update_time.ToDatetime(UTC) <= datetime.now(UTC)
    assert extended.version == hold.version + 1


async def test_an_extended_hold_is_not_released_at_its_old_expiry(retailer: Retailer) -> None:
    for seconds in range(1, 30):
        hold = await place_hold(retailer, seconds, f"A-{seconds}")
        if await is_extended(retailer, hold.allocation_id, 60):
            break
        # The machine was so busy that the hold had expired.
    await asyncio.sleep(seconds + 0.2)

    assert await retailer.sellable("MUG") == 7
    assert (await retailer.confirm(hold.allocation_id)).decision == hold.decision
    assert (await retailer.ledger()).balanced


async def test_a_shortened_hold_is_released_at_its_new_expiry(retailer: Retailer) -> None:
    hold = await place_hold(retailer, seconds=600)
    await extend(retailer, hold.allocation_id, 1)
    await asyncio.sleep(1.1)

    assert await retailer.sellable("MUG") == 9
    assert (await retailer.get(hold.allocation_id)).allocation.state == State.STATE_EXPIRED
    assert (await retailer.ledger()).balanced


async def test_the_timeline_shows_the_extension(retailer: Retailer) -> None:
    hold = await place_hold(retailer)
    await extend(retailer, hold.allocation_id, 600)

    timeline = (await retailer.get(hold.allocation_id)).timeline

    assert [event.event for event in timeline] == ["held", "extended"]


async def test_an_expired_hold_cannot_be_extended(retailer: Retailer) -> None:
    hold = await place_hold(retailer)
    await retailer.expire(hold)

    with pytest.raises(grpc.aio.AioRpcError, match=r"is expired, .*create a new hold") as refused:
        await extend(retailer, hold.allocation_id, 60)

    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_a_sold_or_released_order_has_no_hold_to_extend(retailer: Retailer) -> None:
    sold = await place_hold(retailer)
    await retailer.confirm(sold.allocation_id)
    released = await retailer.allocate("A-2", {"MUG": 1}, HOLD)
    await retailer.release(released.allocation_id)

    for order, advice in ((sold, "does not expire"), (released, "create a new hold")):
        with pytest.raises(grpc.aio.AioRpcError, match=advice):
            await extend(retailer, order.allocation_id, 60)


@pytest.mark.parametrize("seconds", [0.5, 0, -1, 4 * 3_600 + 1])
async def test_a_hold_lasts_one_second_to_four_hours(retailer: Retailer, seconds: float) -> None:
    hold = await place_hold(retailer)

    with pytest.raises(grpc.aio.AioRpcError, match="hold_duration") as refused:
        await extend(retailer, hold.allocation_id, seconds)

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_an_unknown_allocation_cannot_be_extended(retailer: Retailer) -> None:
    for id, code in ((request_id(), grpc.StatusCode.NOT_FOUND), ("seven", grpc.StatusCode.INVALID_ARGUMENT)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await extend(retailer, id, 60)
        assert refused.value.code() == code


async def test_an_extension_that_is_sent_fifty_times_at_once_applies_once(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    hold = await place_hold(shops[0])
    same = request_id()

    answers = await asyncio.gather(*(extend(shops[n % 2], hold.allocation_id, 600, same) for n in range(50)))

    timeline = (await shops[0].get(hold.allocation_id)).timeline
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert [event.event for event in timeline] == ["held", "extended"]


async def test_fifty_extensions_at_once_leave_one_expiry_in_all_tables(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    hold = await place_hold(shops[0])

    answers = await asyncio.gather(
        *(extend(shops[n % 2], hold.allocation_id, 600 + n, request_id()) for n in range(50))
    )

    last = max(answers, key=lambda answer: answer.version)
    rows = await shops[0].sql("SELECT expire_time FROM promise UNION SELECT expire_time FROM allocation")
    assert sorted(answer.version for answer in answers) == list(range(hold.version + 1, hold.version + 51))
    assert [row["expire_time"] for row in rows] == [last.expire_time.ToDatetime(UTC)]
    assert (await shops[0].ledger()).balanced


async def test_a_hold_that_is_extended_as_it_expires_is_either_held_or_expired(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].stock({("MUG", "dc"): 20})
    holds = [await shops[0].allocate(f"A-{n}", {"MUG": 1}, HOLD, hold_duration=timedelta(seconds=1)) for n in range(20)]

    async def extend_late(number: int) -> bool:
        await asyncio.sleep(0.6 + number * 0.03)
        return await is_extended(shops[number % 2], holds[number].allocation_id, 60)

    extended = await asyncio.gather(*(extend_late(number) for number in range(20)))

    assert await shops[0].sellable("MUG") == 20 - sum(extended)
    assert (await shops[0].ledger()).balanced
