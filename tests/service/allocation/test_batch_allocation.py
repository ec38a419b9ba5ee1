"""Many orders in one call."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import grpc
import pytest

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, eventually, promised, request_id
from truestock.v1 import allocation_service_pb2 as allocation_pb, catalog_service_pb2 as catalog_pb, order_pb2

_numbers = itertools.count(1)


def order(sku: str = "MUG", units: int = 1, **fields: Any) -> allocation_pb.AllocateOrderRequest:
    values: dict[str, Any] = {"channel_id": "web", "order_id": f"N-{next(_numbers)}", "commitment": SOLD} | fields
    lines = [order_pb2.OrderLine(sku=sku, unit_count=units)]
    return allocation_pb.AllocateOrderRequest(lines=lines, **values)


async def batch(
    retailer: Retailer, orders: list[allocation_pb.AllocateOrderRequest]
) -> list[allocation_pb.BatchAllocateOrdersResult]:
    request = allocation_pb.BatchAllocateOrdersRequest(requests=orders)
    return list((await retailer.allocations.BatchAllocateOrders(request, timeout=60)).results)


async def test_each_order_of_a_batch_is_answered_in_its_place(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9, ("CUP", "dc"): 9})
    orders = [order("MUG", 2), order("CUP", 1, commitment=HOLD), order("MUG", 3)]

    results = await batch(retailer, orders)

    assert [result.allocation.order_id for result in results] == [order.order_id for order in orders]
    assert [promised(result.allocation) for result in results] == [{"dc": 2}, {"dc": 1}, {"dc": 3}]
    assert (await retailer.ledger()).balanced


async def test_orders_of_a_batch_get_stock_in_the_order_of_the_list(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 100, ("CUP", "dc"): 9})
    # More orders than one transaction holds, some of them for another product.
    orders = [order("CUP" if n % 50 == 7 else "MUG", 1, commitment=HOLD) for n in range(400)]

    results = await batch(retailer, orders)

    mugs = [x.allocation.state for x, order in zip(results, orders, strict=True) if order.lines[0].sku == "MUG"]
    held, refused = allocation_pb.Allocation.STATE_HELD, allocation_pb.Allocation.STATE_REFUSED
    assert mugs == [held] * 100 + [refused] * (len(mugs) - 100)


async def test_a_batch_is_one_transaction(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 500})
    before = retailer.metric("allocator_batch_orders_count")

    await batch(retailer, [order() for _ in range(200)])

    assert retailer.metric("allocator_batch_orders_count") - before == 1


@pytest.mark.usefixtures("one_day")
async def test_a_place_that_a_cart_of_a_batch_gives_up_goes_to_a_later_order_of_it(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "full"): 9, ("CUP", "other"): 9})
    await retailer.locations("full", capacity=catalog_pb.Capacity(orders_per_day=1, days_ahead=0))
    await batch(retailer, [order("MUG", 3, order_id="cart", commitment=HOLD)])

    results = await batch(retailer, [order("CUP", 3, order_id="cart", commitment=HOLD), order("MUG", 2)])

    assert [promised(result.allocation) for result in results] == [{"other": 3}, {"full": 2}]
    taken = await retailer.sql("SELECT order_count, unit_count FROM capacity_use WHERE order_count > 0")
    assert [tuple(row.values()) for row in taken] == [(1, 2)]


async def test_an_error_in_one_order_is_reported_in_its_place(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    reused = request_id()
    orders = [
        order(),
        order("MGU", commitment=HOLD),
        order(units=0),
        order(request_id=reused),
        order(request_id=reused, units=2),
        order(channel_id="nowhere"),
        order(),
    ]

    results = await batch(retailer, orders)

    codes = [result.error.code if result.HasField("error") else 0 for result in results]
    not_found, invalid = grpc.StatusCode.NOT_FOUND.value[0], grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert codes == [0, not_found, invalid, 0, invalid, not_found, 0]
    assert "MGU" in results[1].error.message
    assert len(results[2].error.details) == 2


async def test_the_same_order_twice_in_a_batch_is_promised_once(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})
    twice = order(units=2)

    first, second = await batch(retailer, [twice, twice])

    assert first.allocation.allocation_id == second.allocation.allocation_id
    assert (await retailer.level("MUG", "dc")).allocated_count == 2


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ([], "requests: must not be empty"),
        ([order() for _ in range(501)], "501 entries; 1 to 500 are allowed"),
        ([order(), order(validate_only=True)], r"requests\[1\].validate_only"),
    ],
)
async def test_an_invalid_batch_is_refused(
    retailer: Retailer, orders: list[allocation_pb.AllocateOrderRequest], message: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match=message) as refused:
        await batch(retailer, orders)

    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert await retailer.sql("SELECT FROM allocation") == []


async def test_a_batch_whose_deadline_cannot_be_met_promises_nothing_later(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 500})
    request = allocation_pb.BatchAllocateOrdersRequest(requests=[order() for _ in range(500)])

    with pytest.raises(grpc.aio.AioRpcError) as error:
        await retailer.allocations.BatchAllocateOrders(request, timeout=0.005)
    # By its answer, orders that still waited before it would be allocated, which they must not be.
    await retailer.allocate("last", {"MUG": 1})

    async def is_idle() -> bool:
        return retailer.metric("allocator_queued_orders") == 0

    await eventually(is_idle)
    # Orders that were in flight are allocated; those that waited behind them are not.
    stored = await retailer.sql("SELECT FROM allocation")
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert len(stored) <= 256 + 1
    assert (await retailer.level("MUG", "dc")).allocated_count == len(stored)


async def test_a_batch_that_is_sent_fifty_times_at_once_is_allocated_once(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].stock({("MUG", "dc"): 99, ("CUP", "dc"): 99})
    orders = [order(request_id=request_id()), order("CUP", 2, request_id=request_id()), order(units=3)]

    answers = await asyncio.gather(*(batch(shops[n % 2], orders) for n in range(50)))

    assert len({answer[0].allocation.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert len({answer[1].allocation.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert not any(result.HasField("error") for answer in answers for result in answer)
    assert (await shops[0].level("MUG", "dc")).allocated_count == 4
    assert (await shops[0].level("CUP", "dc")).allocated_count == 2
    assert (await shops[0].ledger()).balanced


async def test_fifty_batches_at_once_never_promise_more_than_is_in_stock(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].stock({("MUG", "dc"): 70, ("CUP", "dc"): 30})

    answers = await asyncio.gather(
        *(
            batch(shops[n % 2], [order(sku, commitment=HOLD, request_id=request_id()) for sku in ("MUG", "CUP", "MUG")])
            for n in range(50)
        )
    )

    held = [result.allocation.state for answer in answers for result in answer].count(
        allocation_pb.Allocation.STATE_HELD
    )
    levels = [await shops[0].level(sku, "dc") for sku in ("MUG", "CUP")]
    assert held == 100
    assert [level.available_count for level in levels] == [0, 0]
    assert (await shops[0].ledger()).balanced
