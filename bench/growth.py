"""The same calls on a database of 300,000 orders and on one of 1,500: what do they cost as the history grows?

A few orders are placed, shipped and delivered through the API. All others are copies of their rows, earlier in time
(`order_history`). A few with a failure, held, on hold or not shipped are in both databases once, and are the newest.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from statistics import median
from typing import Any

from grpc import aio
from rich.console import Console
from rich.progress import Progress

from bench.allocators import allocation_queue
from bench.bench_calls import (
    ALLOCATE,
    CHANNEL_ID,
    CHECK,
    LIST_EXCEPTIONS,
    LIST_MOVEMENTS,
    LIST_ORDERS,
    LIST_SHIPMENTS,
    CallStream,
    new_order,
)
from bench.bench_report import Ratio, Report, ratio
from bench.bench_retailer import BenchRetailer, check_ledger, open_retailer
from bench.bench_server import running_server
from bench.cpu_meter import MeteredServer, postgres_meter
from bench.load_generator import running_generator
from bench.order_history import copy_orders
from bench.rounds import Figures, Pace, run_in_turns
from service.database.database import plain_url, single_connection
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    allocation_service_pb2_grpc as allocation_grpc,
    exception_service_pb2 as exception_pb,
    exception_service_pb2_grpc as exception_grpc,
    fulfillment_service_pb2 as fulfillment_pb,
    fulfillment_service_pb2_grpc as fulfillment_grpc,
    order_pb2,
    shipment_pb2,
)

NAME = "growth"
PACE = Pace(rounds=5, seconds=1.0)
FEW, MANY = 1_500, 300_000
"""Orders in the two databases."""
FINISHED = 100
"""Orders that are placed and copied."""
UNFINISHED = 20
"""Orders of each kind that somebody still works on."""
SKU = "MUG"
HISTORY = timedelta(days=60)

State = allocation_pb.Allocation
CALLS = (
    CallStream("allocate", ALLOCATE, [SKU], callers=1),
    CallStream("check", CHECK, [SKU], callers=1),
)
LISTS = (
    CallStream("orders", LIST_ORDERS, callers=1),
    CallStream("orders that need a person", LIST_ORDERS, callers=1, filters={"needs_person_only": True}),
    CallStream("orders on hold", LIST_ORDERS, callers=1, filters={"on_hold_only": True}),
    CallStream("held orders", LIST_ORDERS, callers=1, filters={"states": [State.STATE_HELD]}),
    CallStream("orders of a location", LIST_ORDERS, callers=1, filters={"location_id": "dc"}),
    CallStream("shipments", LIST_SHIPMENTS, callers=1),
    CallStream(
        "work list",
        LIST_SHIPMENTS,
        callers=1,
        filters={"location_ids": ["dc"], "states": [shipment_pb2.Shipment.STATE_ASSIGNED]},
    ),
    CallStream("exceptions", LIST_EXCEPTIONS, callers=1),
    CallStream("movements of a product", LIST_MOVEMENTS, callers=1, filters={"skus": [SKU]}),
)


async def measure(url: str, pace: Pace = PACE) -> Report:
    """One caller at a time, on both databases in turns. Raises WrongAnswer."""
    async with AsyncExitStack() as stack:
        retailer = await stack.enter_async_context(open_retailer(url))
        await retailer.add_products([SKU])
        await _place_orders(retailer)
        large = BenchRetailer(
            await stack.enter_async_context(_copy_of_database(url)), retailer.policies, retailer.metrics
        )
        for each, orders in ((retailer, FEW), (large, MANY)):
            await _grow(each.url, orders)
        generator = await stack.enter_async_context(running_generator())
        servers = {
            size: MeteredServer(
                generator,
                await stack.enter_async_context(
                    running_server(each, await stack.enter_async_context(allocation_queue(each)))
                ),
                await postgres_meter(os.getpid(), url),
            )
            for size, each in (("few", retailer), ("many", large))
        }
        variants = {
            f"{stream.name}, {size}": partial(server.run, stream)
            for stream in (*CALLS, *LISTS)
            for size, server in servers.items()
        }
        figures = await run_in_turns(variants, pace)
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=[
                *(ratio(f"{stream.name}_p50", *_sizes(figures, stream), "p50_ms", at_most=1.3) for stream in CALLS),
                _slowest_list(figures),
            ],
            settings={**await retailer.durability_settings(), "few": FEW, "many": MANY},
            verified=await _verify([retailer.url, large.url]),
        )


def _sizes(figures: dict[str, list[Figures]], stream: CallStream) -> tuple[list[Figures], list[Figures]]:
    return figures[f"{stream.name}, many"], figures[f"{stream.name}, few"]


def _slowest_list(figures: dict[str, list[Figures]]) -> Ratio:
    """The ratio of the list that grows most."""
    lists = [ratio("lists_p50", *_sizes(figures, stream), "p50_ms", at_most=2.0) for stream in LISTS]
    return max(lists, key=lambda each: median(each.rounds))


async def _place_orders(retailer: BenchRetailer) -> None:
    """Orders that are delivered, and some with a failure, held, on hold or not shipped."""
    async with (
        allocation_queue(retailer) as queue,
        running_server(retailer, queue) as address,
        aio.insecure_channel(address) as channel,
    ):
        orders = allocation_grpc.AllocationServiceStub(channel)
        exceptions = exception_grpc.ExceptionServiceStub(channel)
        fulfillment = fulfillment_grpc.FulfillmentServiceStub(channel)

        async def place(kind: str, count: int, **fields: Any) -> list[allocation_pb.Allocation]:
            requests = [new_order([SKU], f"{kind}-{number}", hold=kind == "held") for number in range(count)]
            for request in requests:
                request.MergeFrom(allocation_pb.AllocateOrderRequest(**fields))
            batch = allocation_pb.BatchAllocateOrdersRequest(requests=requests)
            return [result.allocation for result in (await orders.BatchAllocateOrders(batch)).results]

        for allocation in await place("delivered", FINISHED):
            for shipment in allocation.shipments:
                id = shipment.shipment_id
                await fulfillment.ShipShipment(fulfillment_pb.ShipShipmentRequest(shipment_id=id))
                await fulfillment.DeliverShipment(fulfillment_pb.DeliverShipmentRequest(shipment_id=id))
        for kind in ("held", "assigned"):
            await place(kind, UNFINISHED)
        for allocation in await place("failed", UNFINISHED):
            order = order_pb2.OrderReference(channel_id=CHANNEL_ID, order_id=allocation.order_id)
            await exceptions.ReportSyncFailure(
                exception_pb.ReportSyncFailureRequest(source="bench", description="not sent", order=order)
            )
        await place("on-hold", UNFINISHED, hold={"reason": "fraud_check"})


@asynccontextmanager
async def _copy_of_database(url: str) -> AsyncIterator[str]:
    """The URL of a copy, which is dropped in the end."""
    name = plain_url(url).split("?")[0].rsplit("/", 1)[1]
    async with single_connection(url.replace(f"/{name}?", "/postgres?")) as connection:
        await connection.execute(f'CREATE DATABASE "{name}_many" TEMPLATE "{name}"')
    try:
        yield url.replace(f"/{name}?", f"/{name}_many?")
    finally:
        async with single_connection(url) as connection:
            await connection.execute(f'DROP DATABASE "{name}_many" WITH (FORCE)')


async def _grow(url: str, orders: int) -> None:
    copies = orders // FINISHED - 1
    async with single_connection(url) as connection:
        with Progress(console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(f"Copying orders to {orders:,}", total=copies * FINISHED)
            await copy_orders(connection, copies, HISTORY / copies, partial(progress.advance, task))


async def _verify(urls: Sequence[str]) -> str:
    """What was verified. Raises WrongAnswer unless both ledgers balance."""
    movements = []
    for url in urls:
        async with single_connection(url) as connection:
            report = await check_ledger(connection)
        movements.append(f"{report.totals['movements']:,}")
    return f"every page had entries; the ledgers balance over {' and '.join(movements)} movements"
