"""`truestock play`: sends the orders of a file to a running service, one by one, and adds up what it answered."""

from __future__ import annotations

import asyncio
import math
import re
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from service.cli.client import Answer, Call, Client, Question, ServiceError
from service.cli.files.csv_table import CsvProblem
from service.cli.files.order_export import FileLine, FileOrder, OrderFile
from service.rpc import proto_values
from truestock.v1.allocation_service_pb2 import (
    AllocateOrderRequest,
    Allocation,
    CancelOrderLinesRequest,
    LineCancellation,
    Shortage,
)
from truestock.v1.order_pb2 import (
    COMMITMENT_SOLD,
    Destination,
    OrderLine,
)
from truestock.v1.stock_service_pb2 import ListStockLevelsRequest

_REQUESTS = uuid.UUID("6d1f5e0a-3c0e-5b7e-9a53-9d1a4c1f7a10")
"""Request ids are made from contents in this namespace, so that playing a file again is a retry to the service."""


@dataclass(slots=True)
class ReplayedSale:
    """An order line that was played, and how many of its units are not cancelled yet."""

    allocation_id: str
    line_id: str
    remaining_count: int


@dataclass(frozen=True, slots=True)
class UnitsToCancel:
    """Units to cancel of one line of one allocation."""

    allocation_id: str
    line_id: str
    unit_count: int


class ReplayedSales:
    """What was played so far, by SKU, oldest first: cancellations look for their sale here."""

    def __init__(self) -> None:
        self._by_sku: dict[str, list[ReplayedSale]] = {}

    def record(self, sku: str, allocation_id: str, line_id: str, unit_count: int) -> None:
        """Remembers the units of a line that was answered."""
        self._by_sku.setdefault(sku, []).append(ReplayedSale(allocation_id, line_id, unit_count))

    def take(self, sku: str, unit_count: int) -> list[UnitsToCancel]:
        """Units of this SKU to cancel, from the newest sale back, together at most `unit_count`."""
        taken: list[UnitsToCancel] = []
        sales = self._by_sku.get(sku, [])
        while sales and unit_count > 0:
            newest = sales[-1]
            units = min(newest.remaining_count, unit_count)
            taken.append(UnitsToCancel(newest.allocation_id, newest.line_id, units))
            newest.remaining_count -= units
            unit_count -= units
            if newest.remaining_count == 0:
                sales.pop()
        return taken


@dataclass(slots=True)
class ReplayTotals:
    """What playing came to, in units, orders and lines as the names say."""

    orders: int = 0
    lines: int = 0
    answered: int = 0
    already_played: int = 0
    units_allocated: int = 0
    units_oversold: int = 0
    units_unfillable: int = 0
    units_cancelled: int = 0
    split_orders: int = 0
    reviewed: int = 0
    not_goods: int = 0
    unknown_countries: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    errors: list[CsvProblem] = field(default_factory=list)
    unknown_names: bool = False
    """Some order named a product, or the channel, that the service does not know."""
    nothing_to_cancel: list[CsvProblem] = field(default_factory=list)
    partly_cancelled: list[CsvProblem] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """The totals for `--json`; latencies are None where nothing was asked."""
        return {
            "orders": self.orders,
            "lines": self.lines,
            "answered": self.answered,
            "errors": len(self.errors),
            "units_sold": self.units_allocated + self.units_oversold + self.units_unfillable,
            "units_allocated": self.units_allocated,
            "units_oversold": self.units_oversold,
            "units_unfillable": self.units_unfillable,
            "units_cancelled": self.units_cancelled,
            "split_orders": self.split_orders,
            "reviewed": self.reviewed,
            "nothing_to_cancel": len(self.nothing_to_cancel),
            "partly_cancelled": len(self.partly_cancelled),
            "not_goods": self.not_goods,
            "unknown_countries": self.unknown_countries,
            "already_played": self.already_played,
            "interrupted": self.interrupted,
            "p50_ms": percentile(self.latencies_ms, 0.50),
            "p99_ms": percentile(self.latencies_ms, 0.99),
            "seconds": round(self.seconds, 3),
        }


@dataclass(slots=True)
class OrderReplayer:
    """Plays a file through one client. `totals` may be read at any time, also after an interruption."""

    client: Client
    channel_id: str
    currency: str = "USD"
    speed: float | None = None
    """How many times faster than the file's own times; None does not wait at all."""
    advance: Callable[[], None] = lambda: None
    totals: ReplayTotals = field(default_factory=ReplayTotals)
    _sales: ReplayedSales = field(default_factory=ReplayedSales)
    _started: Timestamp = field(default_factory=Timestamp)
    _file: str = ""

    async def play(self, file: OrderFile) -> ReplayTotals:
        """Plays every order in turn. Stops early, with what was done so far, when interrupted.

        Raises ServiceError where the service cannot be reached any more; what it refuses is counted instead.
        """
        self._begin(file)
        begun = time.perf_counter()
        try:
            # The database's clock, because ours may differ, tells orders that it knew before from new ones.
            first = await self.client.ask(self.client.stock.ListStockLevels, ListStockLevelsRequest(page_size=1))
            self._started = first.read_time
            previous: datetime | None = None
            for order in file.orders:
                await self._wait(previous, order.time)
                previous = order.time or previous
                await self._play_order(order)
                self.advance()
        except asyncio.CancelledError:
            self.totals.interrupted = True
        finally:
            self.totals.seconds = time.perf_counter() - begun
            self.totals.errors.sort()
        return self.totals

    def _begin(self, file: OrderFile) -> None:
        self._file = file.file
        self.totals.orders = len(file.orders)
        self.totals.lines = file.line_count
        self.totals.not_goods = file.not_goods
        self.totals.errors = list(file.problems)
        self.totals.unknown_countries = sum(bool(order.unknown_country) for order in file.orders)

    async def _wait(self, previous: datetime | None, now: datetime | None) -> None:
        if self.speed is None or previous is None or now is None:
            return
        await asyncio.sleep(max(0.0, (now - previous).total_seconds() / self.speed))

    async def _play_order(self, order: FileOrder) -> None:
        """One order: what it sells, then what it cancels. It counts as answered unless something of it failed."""
        try:
            if order.sales:
                await self._sell(order)
            await self._cancel(order)
        except ServiceError as error:
            if error.unreachable:
                raise
            self.totals.unknown_names |= error.reason == "NOT_FOUND"
            self._report(self.totals.errors, refused_line(order, error), f"order {order.order_id}: {in_short(error)}")
            return
        if order.sales or order.cancellations or order.not_goods or not order.problem_count:
            self.totals.answered += 1

    async def _sell(self, order: FileOrder) -> None:
        request = AllocateOrderRequest(
            channel_id=self.channel_id,
            order_id=order.order_id,
            lines=[self._order_line(line) for line in order.sales],
            commitment=COMMITMENT_SOLD,
        )
        if order.country:
            request.destination.CopyFrom(Destination(country=order.country))
        request.request_id = request_id(order.order_id, request)
        answer = await self._timed(self.client.allocations.AllocateOrder, request)
        self._add_up(answer.allocation)
        for line in order.sales:
            self._sales.record(line.sku, answer.allocation.allocation_id, str(line.line), line.unit_count)

    def _order_line(self, line: FileLine) -> OrderLine:
        message = OrderLine(line_id=str(line.line), sku=line.sku, unit_count=line.unit_count)
        if line.price is not None:
            message.unit_price.CopyFrom(proto_values.money(line.price, self.currency))
        return message

    def _add_up(self, allocation: Allocation) -> None:
        totals = self.totals
        totals.units_allocated += sum(line.promised_count for line in allocation.lines)
        for shortage in allocation.shortages:
            if shortage.kind == Shortage.KIND_OVERSELL:
                totals.units_oversold += shortage.unit_count
            else:
                totals.units_unfillable += shortage.unit_count
        totals.split_orders += len(allocation.shipments) > 1
        totals.reviewed += allocation.needs_person
        totals.already_played += allocation.update_time.ToNanoseconds() < self._started.ToNanoseconds()

    async def _cancel(self, order: FileOrder) -> None:
        for line in order.not_goods:
            self._report(self.totals.nothing_to_cancel, line.line, f"{line.sku} is no goods, so nothing was sold of it")
        taken: list[UnitsToCancel] = []
        for line in order.cancellations:
            found = self._sales.take(line.sku, line.unit_count)
            self._report_missing(line, sum(units.unit_count for units in found))
            taken += found
        for allocation_id, cancellations in by_allocation(taken).items():
            request = CancelOrderLinesRequest(allocation_id=allocation_id, cancellations=cancellations)
            request.request_id = request_id(order.order_id, request)
            await self._timed(self.client.allocations.CancelOrderLines, request)
            self.totals.units_cancelled += sum(line.unit_count for line in cancellations)

    def _report_missing(self, line: FileLine, found_count: int) -> None:
        if found_count == 0:
            message = f"no earlier sale of {line.sku} in this file has units left to cancel"
            self._report(self.totals.nothing_to_cancel, line.line, message)
        elif found_count < line.unit_count:
            message = f"only {found_count} of {line.unit_count} units of {line.sku} have an earlier sale in this file"
            self._report(self.totals.partly_cancelled, line.line, message)

    def _report(self, problems: list[CsvProblem], line: int, message: str) -> None:
        problems.append(CsvProblem(self._file, line, 0, message))

    async def _timed(self, call: Call[Question, Answer], request: Question) -> Answer:
        begun = time.perf_counter()
        try:
            return await self.client.ask(call, request)
        finally:
            self.totals.latencies_ms.append((time.perf_counter() - begun) * 1_000)


def by_allocation(taken: Iterable[UnitsToCancel]) -> dict[str, list[LineCancellation]]:
    """Cancellations for each allocation, every line of it once, in the order in which they were found."""
    units: dict[str, dict[str, int]] = {}
    for item in taken:
        lines = units.setdefault(item.allocation_id, {})
        lines[item.line_id] = lines.get(item.line_id, 0) + item.unit_count
    return {
        allocation_id: [LineCancellation(line_id=line_id, unit_count=count) for line_id, count in lines.items()]
        for allocation_id, lines in units.items()
    }


def refused_line(order: FileOrder, error: ServiceError) -> int:
    """The line of the file that the service objects to first; the order's first line where it names none."""
    for violation in error.violations:
        match = re.match(r"lines\[([0-9]+)\]", violation.field)
        if match and int(match[1]) < len(order.sales):
            return order.sales[int(match[1])].line
    return order.line


def in_short(error: ServiceError) -> str:
    """What the service refuses, in one line."""
    if len(error.violations) <= 1:
        return " ".join(str(error).split())
    descriptions = list(dict.fromkeys(violation.description for violation in error.violations))
    more = f"; and {len(descriptions) - 3:,} more" if len(descriptions) > 3 else ""
    return "; ".join(descriptions[:3]) + more


def request_id(order_id: str, request: Message) -> str:
    """The same UUID for the same order and contents, so that the service answers again what it did before."""
    contents = request.SerializeToString(deterministic=True).hex()
    return str(uuid.uuid5(_REQUESTS, f"{order_id}\n{contents}"))


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile, rounded to a microsecond if the values are milliseconds; None of nothing."""
    if not values:
        return None
    rank = max(1, math.ceil(share * len(values)))
    return round(sorted(values)[rank - 1], 3)
