"""Bytes in the database for each order with its whole life: allocated, shipped and delivered.

Every call names a request id, so each answer is stored too; those are kept for 7 days.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import grpc

from bench.allocators import allocation_queue
from bench.bench_calls import new_order
from bench.bench_report import Ratio, Report
from bench.bench_retailer import open_retailer
from bench.bench_server import running_server
from bench.rounds import Figures, Pace, WrongAnswer
from service.app.wiring import new_id
from service.database.database import single_connection
from truestock.v1 import (
    allocation_service_pb2_grpc as allocation_grpc,
    fulfillment_service_pb2 as fulfillment_pb,
    fulfillment_service_pb2_grpc as fulfillment_grpc,
)

NAME = "storage"
PACE = Pace(rounds=1, seconds=60.0)
"""One round: bytes do not vary. The seconds are about what it takes."""
ORDERS = 20_000
CALLERS = 128
SKUS = [f"SKU-{number}" for number in range(200)]
BYTES_AN_ORDER = 6_000
LARGEST = 12
"""Tables and indexes that are listed by name."""
Item = TypeVar("Item")
Result = TypeVar("Result")

_SIZES = """
SELECT c.relname AS name, pg_table_size(c.oid) AS bytes
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'public' AND c.relkind IN ('r', 'i')
"""


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Grown bytes of all tables and indexes ÷ orders, after VACUUM. Raises WrongAnswer."""
    async with open_retailer(url) as retailer:
        await retailer.add_products(SKUS)
        before = await _sizes(url)
        async with allocation_queue(retailer) as queue, running_server(retailer, queue) as address:
            await _live(address)
        after = await _sizes(url)
        grown = {name: (size - before.get(name, 0)) / ORDERS for name, size in after.items()}
        total = sum(grown.values())
        largest = sorted(grown, key=grown.__getitem__, reverse=True)[:LARGEST]
        figures: Figures = {f"{name}_bytes": grown[name] for name in largest}
        return Report(
            name=NAME,
            pace=pace,
            variants={"an order": [figures]},
            ratios=[Ratio("bytes_an_order", (total,), at_most=BYTES_AN_ORDER)],
            settings={**await retailer.durability_settings(), "orders": ORDERS},
            verified=await _verified(url),
        )


async def _live(address: str) -> None:
    """Allocates, ships and delivers every order, many at once."""
    async with grpc.aio.insecure_channel(address) as channel:
        allocations: Any = allocation_grpc.AllocationServiceStub(channel)
        fulfillment: Any = fulfillment_grpc.FulfillmentServiceStub(channel)
        numbers = itertools.count()

        async def allocate(skus: Sequence[str]) -> str:
            request = new_order(skus, f"order-{next(numbers)}")
            request.request_id = str(new_id())
            order = (await allocations.AllocateOrder(request)).allocation
            if len(order.shipments) != 1 or len(order.shipments[0].lines) != len(skus):
                raise WrongAnswer(f"an order of {len(skus)} lines, all in stock, has {len(order.shipments)} shipments")
            return str(order.shipments[0].shipment_id)

        async def ship(id: str) -> str:
            request = fulfillment_pb.ShipShipmentRequest(shipment_id=id, request_id=str(new_id()))
            await fulfillment.ShipShipment(request)
            return id

        async def deliver(id: str) -> None:
            request = fulfillment_pb.DeliverShipmentRequest(shipment_id=id, request_id=str(new_id()))
            await fulfillment.DeliverShipment(request)

        shipment_ids = await _each(allocate, _orders())
        await _each(deliver, await _each(ship, shipment_ids))


def _orders() -> Iterator[Sequence[str]]:
    """The products of each order, the same in every run: most have one line, and few products are ordered often."""
    dice = random.Random(1)
    for _ in range(ORDERS):
        line_count = dice.choices((1, 2, 3), (70, 20, 10))[0]
        yield list({SKUS[int(len(SKUS) ** dice.random()) - 1] for _ in range(line_count)})


async def _each(call: Callable[[Item], Awaitable[Result]], items: Iterable[Item]) -> list[Result]:
    """Calls with every item from CALLERS callers at once; the results come in the order in which calls end."""
    remaining, results = iter(items), list[Result]()

    async def caller() -> None:
        # A comprehension would begin its call before other callers have taken theirs.
        for item in remaining:
            result = await call(item)
            results.append(result)

    await asyncio.gather(*(caller() for _ in range(CALLERS)))
    return results


async def _sizes(url: str) -> Mapping[str, int]:
    """Bytes by table or index, after VACUUM; TOAST counts with its table."""
    async with single_connection(url) as connection:
        await connection.execute("VACUUM ANALYZE", timeout=600)
        return {row["name"]: row["bytes"] for row in await connection.fetch(_SIZES)}


async def _verified(url: str) -> str:
    async with single_connection(url) as connection:
        rows = await connection.fetch("SELECT state, count(*) FROM shipment GROUP BY state")
    return ", ".join(f"{row['count']:,} {row['state']}" for row in rows)
