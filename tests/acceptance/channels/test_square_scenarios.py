"""Square's tills and Truestock behave as one, with real processes over real HTTP.

A fifth of the webhooks comes twice, they come in any order, and two connectors share the work. It ends with a ledger in
which every stock level is the sum of its movements.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.acceptance.channels.connector_processes import Processes, processes
from tests.connector_site import until
from tests.fakes.square.merchant import SquareMerchant
from tests.fakes.square.records import Order
from truestock.v1 import order_pb2

READY = order_pb2.ORDER_STATUS_READY_TO_FULFILL
pytestmark = pytest.mark.long


@contextmanager
def merchant_with_faults() -> Iterator[SquareMerchant]:
    """A merchant whose webhooks come twice and in any order."""
    with SquareMerchant(seed=6).serving() as merchant:
        merchant.faults.duplicates, merchant.faults.reorder_seconds = 0.2, 0.5
        yield merchant


async def test_what_is_refunded_comes_back_once_where_square_put_it_and_nowhere_without_goods(
    database_url: str, tmp_path: Path
) -> None:
    with merchant_with_faults() as merchant:
        async with processes(database_url, tmp_path, merchant, replicas=2, units={"MUG": 10}) as running:
            running.subscribe()
            books = merchant.books
            austin, boston = books.locations.values()
            sent, sale = books.place_order({"MUG": 3}, austin, "SHIPMENT"), books.sell_at_till({"MUG": 2}, austin)
            await _reaches(running, sent, READY)
            books.set_fulfillment(sent, "COMPLETED")
            await _has(running, "austin", 10 - 3 - 2)
            books.give_back(sent, {"MUG": 1}, boston)
            await _has(running, "boston", 11)
            books.give_back(sale, {"MUG": 1}, boston)
            await _has(running, "boston", 12)
            books.give_back(sent, {"MUG": 1}, boston, restock=False)
            books.give_back(sale, {"MUG": 1}, austin, restock=False)
            line = await _line(running, sent, lambda line: line.refunded_count == 1)
            await asyncio.to_thread(merchant.settle)
            await _nothing_waits(running)
            levels = [(await running.retailer.level("MUG", place)).on_hand_count for place in ("austin", "boston")]
            of_books = [books.quantity(books.variation("MUG"), place) for place in (austin, boston)]
            running.verify_ledger()

    assert levels == of_books == [5, 12]
    assert (line.returned_count, line.refunded_count) == (1, 1)


async def _has(running: Processes, location_id: str, on_hand: int) -> None:
    async def reached() -> bool:
        return (await running.retailer.level("MUG", location_id)).on_hand_count == on_hand

    await until(reached, f"{on_hand} units in {location_id}")


async def _found(running: Processes, order: Order) -> Any:
    try:
        return (await running.retailer.find_order(f"square/{order.id}")).allocation
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.NOT_FOUND:
            raise
        return None


async def _reaches(running: Processes, order: Order, status: int) -> None:
    async def reached() -> bool:
        found = await _found(running, order)
        return found is not None and found.status == status

    await until(reached, f"order {order.id}")


async def _line(running: Processes, order: Order, fits: Callable[[Any], bool]) -> Any:
    async def fitting() -> Any:
        line = (await _found(running, order)).lines[0]
        return line if fits(line) else None

    return await until(fitting, f"the line of order {order.id}")


async def _nothing_waits(running: Processes) -> None:
    async def nothing() -> bool:
        return not await asyncio.to_thread(running.json, "inbox", "--state", "waiting")

    await until(nothing, "an empty inbox")
