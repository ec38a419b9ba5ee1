"""Shoppers who order through several connections, and repeat with the same request id what got no answer."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc

from tests.retailer import SOLD, Retailer, change, eventually, movement, order_request, request_id
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    allocation_service_pb2_grpc as allocation_grpc,
    availability_service_pb2_grpc as availability_grpc,
    order_pb2,
    stock_service_pb2 as stock_pb,
    stock_service_pb2_grpc as stock_grpc,
)

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1), ("grpc.initial_reconnect_backoff_ms", 100))
"""gRPC would send all channels of a process to one address through one connection."""
ANSWER_SECONDS = 10.0
PATIENCE_SECONDS = 90.0
ASKED_AT_ONCE = 100
REPEATED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
"""Codes of calls whose outcome is not known. gRPC itself cancels a call that reaches a server as it closes."""


@dataclass(slots=True)
class Shoppers:
    """Their connections, and what each order was answered."""

    channels: list[grpc.aio.Channel]
    destination: order_pb2.Destination | None = None
    answers: dict[str, allocation_pb.Allocation] = field(default_factory=dict)
    requests: dict[str, allocation_pb.AllocateOrderRequest] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    repeats: int = 0
    received: int = 0
    received_units: Counter[str] = field(default_factory=Counter)
    waits: list[tuple[float, float]] = field(default_factory=list)
    """When each order was asked for and when it was answered, in seconds of `time.monotonic`."""
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _next: Iterator[int] = field(default_factory=itertools.count)

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, addresses: Sequence[str], connections: int = 8, *, destination: order_pb2.Destination | None = None
    ) -> AsyncIterator[Shoppers]:
        """Shoppers with this many connections to each address, who all live at the destination."""
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(grpc.aio.insecure_channel(address, options=OWN_CONNECTION))
                for _ in range(connections)
                for address in addresses
            ]
            yield cls(channels, destination)

    async def order(self, stop: asyncio.Event, skus: Sequence[str], *, at_once: int = 8) -> None:
        """Orders one unit after another until `stop` is set; `at_once` shoppers do."""
        await asyncio.gather(*(self._shop(stop, skus) for _ in range(at_once)))

    async def receive(self, stop: asyncio.Event, stock: Mapping[tuple[str, str], int]) -> None:
        """Receives one unit after another into stock until `stop` is set, each by one change, however often sent."""
        places = list(stock)
        while not stop.is_set():
            sku, location_id = places[self.received % len(places)]
            received = movement(stock_pb.MOVEMENT_KIND_RECEIVED, 1)
            change_ = change(sku, location_id, change_id=f"receipt-{self.received}", movement=received)
            self.received += 1
            self.received_units[sku] += 1
            await self._answered(
                lambda: stock_grpc.StockServiceStub(self.channel()).RecordStockChanges,
                stock_pb.RecordStockChangesRequest(source="dock", changes=[change_]),
            )

    async def ask_again(self) -> None:
        """Repeats the request of every order: each gets the answer that it got."""
        ids = list(self.requests)
        for start in range(0, len(ids), ASKED_AT_ONCE):
            batch = ids[start : start + ASKED_AT_ONCE]
            repeated = await asyncio.gather(*(self._answer(self.requests[id]) for id in batch))
            assert [x.allocation_id for x in repeated] == [self.answers[id].allocation_id for id in batch]

    async def _shop(self, stop: asyncio.Event, skus: Sequence[str]) -> None:
        while not stop.is_set():
            number = next(self._numbers)
            order_id = f"N-{number}"
            line = {skus[number % len(skus)]: 1}
            request = order_request(order_id, line, SOLD, request_id=request_id(), destination=self.destination)
            self.requests[order_id] = request
            asked = time.monotonic()
            self.answers[order_id] = await self._answer(request)
            self.waits.append((asked, time.monotonic()))

    async def more_orders(self, count: int) -> None:
        """Returns when `count` more orders have been answered."""
        answered = len(self.answers)

        async def is_more() -> bool:
            return len(self.answers) >= answered + count

        await eventually(is_more, 60)

    async def ordered_after(self, moment: float) -> None:
        """Returns when an order has been answered that was asked for after a moment of `time.monotonic`."""

        async def is_answered() -> bool:
            return bool(self.waits) and self.waits[-1][0] > moment

        await eventually(is_answered, 60)

    async def repeats_one(self) -> None:
        """Returns when a call has got no answer and is repeated: while no database answers, one does."""

        async def is_repeated() -> bool:
            return self.repeats > 0

        await eventually(is_repeated, 60)

    async def _answer(self, request: allocation_pb.AllocateOrderRequest) -> allocation_pb.Allocation:
        response = await self._answered(
            lambda: allocation_grpc.AllocationServiceStub(self.channel()).AllocateOrder, request
        )
        return response.allocation  # type: ignore[no-any-return]

    async def _answered(self, method: Callable[[], Any], request: Any) -> Any:
        """The answer to a request, which is repeated until there is one."""
        deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while True:
            try:
                return await method()(request, timeout=ANSWER_SECONDS)
            except grpc.aio.AioRpcError as error:
                if error.code() not in REPEATED or asyncio.get_running_loop().time() > deadline:
                    raise
                self.repeats += 1
                await asyncio.sleep(0.05)

    async def cancel(self, count: int) -> None:
        """Cancels this many orders, of those that were placed first; each at another server than the one before."""
        for order_id in [id for id in self.answers if id not in self.cancelled][:count]:
            request = allocation_pb.CancelOrderLinesRequest(
                allocation_id=self.answers[order_id].allocation_id,
                cancellations=[allocation_pb.LineCancellation(line_id="1", unit_count=1)],
                request_id=request_id(),
            )
            await self._answered(
                lambda: allocation_grpc.AllocationServiceStub(self.channel()).CancelOrderLines, request
            )
            self.cancelled.add(order_id)

    def channel(self) -> grpc.aio.Channel:
        """The next connection in turn."""
        return self.channels[next(self._next) % len(self.channels)]

    def availability(self) -> Any:
        """A stub on the next connection."""
        return availability_grpc.AvailabilityServiceStub(self.channel())


async def check_each_order_is_there_once(shop: Retailer, shoppers: Shoppers, stock: dict[tuple[str, str], int]) -> None:
    """Every order that was answered stands once, with the answer it got, and no other one stands."""
    rows = await shop.sql("SELECT order_id, id FROM allocation")
    stored = [(row["order_id"], str(row["id"])) for row in rows]
    answered = [(order_id, answer.allocation_id) for order_id, answer in shoppers.answers.items()]
    promised_units = Counter(
        line.sku
        for order_id, answer in shoppers.answers.items()
        if order_id not in shoppers.cancelled
        for shipment in answer.shipments
        for line in shipment.lines
        for _ in range(line.unit_count)
    )
    left = {
        row["sku"]: int(row["left"])
        for row in await shop.sql("SELECT sku, sum(on_hand - allocated - held) AS left FROM stock_level GROUP BY sku")
    }
    counted = Counter(shoppers.received_units)
    for (sku, _), units in stock.items():
        counted[sku] += units

    assert sorted(stored) == sorted(answered)
    assert left == {sku: units - promised_units[sku] for sku, units in counted.items()}
    report = await shop.ledger()
    assert report.balanced, report.differences[:3]
