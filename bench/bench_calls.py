"""Calls, channel and stock that server and load generator share. Imports little, because generators start often."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.duration_pb2 import Duration

from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2

EMPTY_SERVICE = "truestock.v1.Bench"
"""In the package of our own services, so that the interceptor measures its calls as it measures theirs."""

ALLOCATE = "/truestock.v1.AllocationService/AllocateOrder"
BATCH = "/truestock.v1.AllocationService/BatchAllocateOrders"
CHECK = "/truestock.v1.AvailabilityService/CheckAvailability"
RECORD = "/truestock.v1.StockService/RecordStockChanges"
LIST_ORDERS = "/truestock.v1.AllocationService/ListAllocations"
LIST_SHIPMENTS = "/truestock.v1.FulfillmentService/ListShipments"
LIST_EXCEPTIONS = "/truestock.v1.ExceptionService/ListExceptions"
LIST_MOVEMENTS = "/truestock.v1.StockService/ListStockMovements"
HEALTH = "/grpc.health.v1.Health/Check"
REFUSED = "/truestock.v1.CatalogService/UpsertKits"
"""A method for which the principal of the benchmarks has no role."""
EMPTY = f"/{EMPTY_SERVICE}/DoNothing"
ECHO_SERVICE = "bench.BareEcho"
ECHO = f"/{ECHO_SERVICE}/Echo"

CHANNEL_ID = "tiktok_shop"
LOCATION_IDS = ("dc", *(f"store-{number}" for number in range(1, 10)))
HOLD_DURATION = Duration(seconds=4 * 3_600)
UNITS = 1_000_000
"""Units of every SKU at every location: nothing sells out, because shortages would be measured instead of sales."""


@dataclass(frozen=True, slots=True)
class CallStream:
    """Calls of one method: a closed loop of `callers`, which may end after `calls`, or an open loop of `per_second`.

    A CheckAvailability call asks for all `skus`. Orders take them in turn, `lines` each, and start each run with the
    first; a BatchAllocateOrders call has `orders` orders. A RecordStockChanges call reports one unit of the next SKU
    as received at each location. The call of a list asks for the first page of `filters`, fields of its request.
    """

    name: str
    method: str
    skus: Sequence[str] = ()
    callers: int = 0
    calls: int | None = None
    per_second: float = 0.0
    lines: int = 1
    orders: int = 1
    hold: bool = False
    filters: dict[str, Any] = field(default_factory=dict)
    deadline_seconds: float = 0.0
    """If above 0, the deadline of calls of an open loop, which may be refused or stay unanswered."""

    def units(self, calls: int) -> Counter[str]:
        """The units by SKU that this many answered calls sold, held or received."""
        if self.method == RECORD:
            return Counter({sku: n * len(LOCATION_IDS) for sku, n in self._turns(calls).items()})
        return self._turns(calls * self.orders * self.lines)

    def _turns(self, count: int) -> Counter[str]:
        return Counter(itertools.islice(itertools.cycle(self.skus), count))


@dataclass(slots=True, kw_only=True)
class AnsweredUnits:
    """Units by SKU that calls sold, held or received, as they were answered."""

    sold: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)
    received: Counter[str] = field(default_factory=Counter)

    def count_answers(self, stream: CallStream, calls: int) -> None:
        """Counts what this many answered calls sold, held or received: nothing, where they only ask."""
        if stream.method == RECORD:
            self.received.update(stream.units(calls))
        elif stream.method in (ALLOCATE, BATCH):
            (self.held if stream.hold else self.sold).update(stream.units(calls))


def zipf_skus(skus: Sequence[str], *, lines: int, orders: int = 1_000, seed: int = 1) -> list[str]:
    """The SKUs of this many orders, one after another: the SKU of rank n is drawn with a weight of 1 / n.

    No order has a SKU twice.
    """
    random_numbers = random.Random(seed)
    weights = [1 / rank for rank in range(1, len(skus) + 1)]
    drawn: list[str] = []
    for _ in range(orders):
        order: dict[str, None] = {}
        while len(order) < lines:
            order.update(dict.fromkeys(random_numbers.choices(skus, weights)))
        drawn.extend(order)
    return drawn


def sold_order(sku: str, order_id: str) -> allocation_pb.AllocateOrderRequest:
    """A paid order of one unit to an address in Texas."""
    return new_order([sku], order_id)


def new_order(skus: Sequence[str], order_id: str, *, hold: bool = False) -> allocation_pb.AllocateOrderRequest:
    """An order of one unit of each SKU to an address in Texas: paid, or a hold that outlasts every benchmark."""
    return allocation_pb.AllocateOrderRequest(
        channel_id=CHANNEL_ID,
        order_id=order_id,
        lines=[order_pb2.OrderLine(sku=sku, unit_count=1) for sku in skus],
        commitment=order_pb2.COMMITMENT_HOLD if hold else order_pb2.COMMITMENT_SOLD,
        destination=order_pb2.Destination(country="US", region="TX", postal_code="78704"),
        hold_duration=HOLD_DURATION if hold else None,
    )
