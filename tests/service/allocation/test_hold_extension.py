"""Holds that live longer, or shorter, than they would have."""

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
    asked = allocation_pb.ExtendHoldRequest(allocation_id=allocation_id, request_id=request)
    if seconds is not None:
        asked.hold_duration.FromTimedelta(timedelta(seconds=seconds))
    made: allocation_pb.Allocation = (await retailer.allocations.ExtendHold(asked)).allocation
    return made


def lives_seconds(allocation: allocation_pb.Allocation) -> float:
    return (allocation.expire_time.ToDatetime(UTC) - datetime.now(UTC)).total_seconds()


async def held(retailer: Retailer, seconds: float = 60) -> allocation_pb.Allocation:
    await retailer.stock({("MUG", "dc"): 9})
    return await retailer.allocate("A-1", {"MUG": 2}, HOLD, hold_duration=timedelta(seconds=seconds))


@pytest.mark.parametrize(("asked", "lives"), [(3_600, 3_600), (5, 5), (None, 900)])
async def test_a_hold_lives_so_long_from_now_on_whether_longer_or_shorter(
    retailer: Retailer, asked: float | None, lives: float
) -> None:
    made = await held(retailer, seconds=600)

    extended = await extend(retailer, made.allocation_id, asked)

    assert extended.state == State.STATE_HELD
    assert lives_seconds(extended) == pytest.approx(lives, abs=4)
    assert extended.version == made.version + 1


async def test_an_extended_hold_is_not_given_back_at_its_old_time(retailer: Retailer) -> None:
    made = await held(retailer, seconds=1)
    await extend(retailer, made.allocation_id, 60)
    await asyncio.sleep(1.2)

    assert await retailer.sellable("MUG") == 7
    assert (await retailer.confirm(made.allocation_id)).decision == made.decision
    assert (await retailer.ledger()).balanced


async def test_a_shortened_hold_is_given_back_at_its_new_time(retailer: Retailer) -> None:
    made = await held(retailer, seconds=600)
    await extend(retailer, made.allocation_id, 1)
    await asyncio.sleep(1.1)

    assert await retailer.sellable("MUG") == 9
    assert (await retailer.get(made.allocation_id)).allocation.state == State.STATE_EXPIRED
    assert (await retailer.ledger()).balanced


async def test_the_history_tells_of_it(retailer: Retailer) -> None:
    made = await held(retailer)
    await extend(retailer, made.allocation_id, 600)

    told = (await retailer.get(made.allocation_id)).timeline

    assert [event.event for event in told] == ["held", "extended"]


async def test_a_hold_that_is_over_is_to_be_held_anew(retailer: Retailer) -> None:
    made = await held(retailer, seconds=1)
    await asyncio.sleep(1.1)

    with pytest.raises(grpc.aio.AioRpcError, match=r"is expired, .*hold it anew") as refused:
        await extend(retailer, made.allocation_id, 60)

    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION


async def test_what_is_sold_or_given_back_is_no_hold_any_more(retailer: Retailer) -> None:
    sold = await held(retailer)
    await retailer.confirm(sold.allocation_id)
    freed = await retailer.allocate("A-2", {"MUG": 1}, HOLD)
    await retailer.release(freed.allocation_id)

    for one, said in ((sold, "does not expire"), (freed, "hold it anew")):
        with pytest.raises(grpc.aio.AioRpcError, match=said):
            await extend(retailer, one.allocation_id, 60)


@pytest.mark.parametrize("seconds", [0.5, 0, -1, 4 * 3_600 + 1])
async def test_a_hold_lives_a_second_to_four_hours(retailer: Retailer, seconds: float) -> None:
    made = await held(retailer)

    with pytest.raises(grpc.aio.AioRpcError, match="hold_duration") as refused:
        await extend(retailer, made.allocation_id, seconds)

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_what_is_not_there_cannot_be_extended(retailer: Retailer) -> None:
    for name, code in ((request_id(), grpc.StatusCode.NOT_FOUND), ("seven", grpc.StatusCode.INVALID_ARGUMENT)):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await extend(retailer, name, 60)
        assert refused.value.code() == code


async def test_an_extension_sent_fifty_times_at_once_is_one(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    made = await held(shops[0])
    same = request_id()

    answers = await asyncio.gather(*(extend(shops[n % 2], made.allocation_id, 600, same) for n in range(50)))

    told = (await shops[0].get(made.allocation_id)).timeline
    assert len({one.SerializeToString(deterministic=True) for one in answers}) == 1
    assert [event.event for event in told] == ["held", "extended"]


async def test_fifty_extensions_at_once_leave_one_time_everywhere(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    made = await held(shops[0])

    answers = await asyncio.gather(
        *(extend(shops[n % 2], made.allocation_id, 600 + n, request_id()) for n in range(50))
    )

    last = max(answers, key=lambda one: one.version)
    rows = await shops[0].sql("SELECT expire_time FROM promise UNION SELECT expire_time FROM allocation")
    assert sorted(one.version for one in answers) == list(range(made.version + 1, made.version + 51))
    assert [row["expire_time"] for row in rows] == [last.expire_time.ToDatetime(UTC)]
    assert (await shops[0].ledger()).balanced


async def test_a_hold_that_is_extended_as_it_ends_is_either_held_or_over(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].stock({("MUG", "dc"): 20})
    made = [await shops[0].allocate(f"A-{n}", {"MUG": 1}, HOLD, hold_duration=timedelta(seconds=1)) for n in range(20)]

    async def late(number: int) -> bool:
        await asyncio.sleep(0.6 + number * 0.03)
        try:
            await extend(shops[number % 2], made[number].allocation_id, 60)
        except grpc.aio.AioRpcError as error:
            codes.add(error.code())
            return False
        return True

    codes: set[grpc.StatusCode] = set()
    kept = await asyncio.gather(*(late(number) for number in range(20)))

    assert codes <= {grpc.StatusCode.FAILED_PRECONDITION}
    assert await shops[0].sellable("MUG") == 20 - sum(kept)
    assert (await shops[0].ledger()).balanced
