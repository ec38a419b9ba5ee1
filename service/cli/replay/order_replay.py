"""`truestock replay-orders`: sends the orders of a file to a running service, one by one, and totals the results."""

from __future__ import annotations

import asyncio
import math
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from service.cli.client import Call, Client, Request, Response, ServiceError
from service.cli.replay.order_export import FileLine, FileOrder, OrderFile
from service.cli.spreadsheets.csv_table import CsvProblem
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

_WITHHELD = (Shortage.KIND_HELD_BY_BUFFER, Shortage.KIND_BLOCKED_BY_RULE)
_REQUEST_NAMESPACE = uuid.UUID("6d1f5e0a-3c0e-5b7e-9a53-9d1a4c1f7a10")
"""Request ids are hashes of contents in this namespace, so that replaying a file again counts as retries."""


@dataclass(slots=True)
class SoldLine:
    """A replayed order line, and how many of its units are not cancelled yet."""

    allocation_id: str
    line_id: str
    remaining_count: int


@dataclass(frozen=True, slots=True)
class UnitsToCancel:
    """Units to cancel of one line of one allocation."""

    allocation_id: str
    line_id: str
    unit_count: int


class SoldLines:
    """The lines sold so far, by SKU, oldest first. Each cancellation is matched to earlier sales among them."""

    def __init__(self) -> None:
        self._by_sku: dict[str, list[SoldLine]] = {}

    def record(self, sku: str, allocation_id: str, line_id: str, unit_count: int) -> None:
        """Adds the units of an order line that the service has accepted."""
        self._by_sku.setdefault(sku, []).append(SoldLine(allocation_id, line_id, unit_count))

    def match_cancellation(self, sku: str, unit_count: int) -> list[UnitsToCancel]:
        """Removes at most `unit_count` units of this SKU, newest sales first, and returns them as units to cancel."""
        matches: list[UnitsToCancel] = []
        sales = self._by_sku.get(sku, [])
        while sales and unit_count > 0:
            newest = sales[-1]
            units = min(newest.remaining_count, unit_count)
            matches.append(UnitsToCancel(newest.allocation_id, newest.line_id, units))
            newest.remaining_count -= units
            unit_count -= units
            if newest.remaining_count == 0:
                sales.pop()
        return matches


@dataclass(slots=True)
class ReplayTotals:
    """The totals of a replay, in units, orders or lines as the names say."""

    orders: int = 0
    lines: int = 0
    answered: int = 0
    duplicate_orders: int = 0
    units_allocated: int = 0
    units_oversold: int = 0
    units_unfillable: int = 0
    units_withheld: int = 0
    short_by_reason: Counter[str] = field(default_factory=Counter)
    """Short units by cause, with the rules that keep them: "race", "blocked_by_rule not-ready-for-tiktok"."""
    units_cancelled: int = 0
    split_orders: int = 0
    needs_review: int = 0
    excluded_lines: int = 0
    unknown_countries: int = 0
    interrupted: bool = False
    seconds: float = 0.0
    errors: list[CsvProblem] = field(default_factory=list)
    unknown_names: bool = False
    """True if the service does not know the channel or a product of an order."""
    nothing_to_cancel: list[CsvProblem] = field(default_factory=list)
    partly_cancelled: list[CsvProblem] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """The totals for `--json`; latencies are None if no call was made."""
        return {
            "orders": self.orders,
            "lines": self.lines,
            "answered": self.answered,
            "errors": len(self.errors),
            "units_sold": self.units_allocated + self.units_oversold + self.units_unfillable + self.units_withheld,
            "units_allocated": self.units_allocated,
            "units_oversold": self.units_oversold,
            "units_withheld": self.units_withheld,
            "units_unfillable": self.units_unfillable,
            "short_by_reason": dict(sorted(self.short_by_reason.items())),
            "units_cancelled": self.units_cancelled,
            "split_orders": self.split_orders,
            "needs_review": self.needs_review,
            "nothing_to_cancel": len(self.nothing_to_cancel),
            "partly_cancelled": len(self.partly_cancelled),
            "excluded_lines": self.excluded_lines,
            "unknown_countries": self.unknown_countries,
            "duplicate_orders": self.duplicate_orders,
            "interrupted": self.interrupted,
            "p50_ms": percentile(self.latencies_ms, 0.50),
            "p99_ms": percentile(self.latencies_ms, 0.99),
            "seconds": round(self.seconds, 3),
        }


@dataclass(slots=True)
class OrderReplayer:
    """Replays a file through one client. `totals` may be read at any time, also after an interruption."""

    client: Client
    channel_id: str
    currency: str = "USD"
    speed: float | None = None
    """Factor by which the replay is faster than the times in the file; None sends orders without waiting."""
    advance: Callable[[], None] = lambda: None
    totals: ReplayTotals = field(default_factory=ReplayTotals)
    _sales: SoldLines = field(default_factory=SoldLines)
    _started: Timestamp = field(default_factory=Timestamp)
    _file: str = ""

    async def replay(self, file: OrderFile) -> ReplayTotals:
        """Sends every order in turn. If interrupted, returns the totals so far.

        Raises ServiceError if the service becomes unreachable; orders that it refuses are counted as errors.
        """
        self._start_totals(file)
        started = time.perf_counter()
        try:
            # Orders updated before this time are duplicates. It is the database's clock, because ours may differ.
            page = await self.client.ask(self.client.stock.ListStockLevels, ListStockLevelsRequest(page_size=1))
            self._started = page.read_time
            previous: datetime | None = None
            for order in file.orders:
                await self._wait(previous, order.time)
                previous = order.time or previous
                await self._replay_order(order)
                self.advance()
        except asyncio.CancelledError:
            self.totals.interrupted = True
        finally:
            self.totals.seconds = time.perf_counter() - started
            self.totals.errors.sort()
        return self.totals

    def _start_totals(self, file: OrderFile) -> None:
        self._file = file.file
        self.totals.orders = len(file.orders)
        self.totals.lines = file.line_count
        self.totals.excluded_lines = file.excluded_line_count
        self.totals.errors = list(file.problems)
        self.totals.unknown_countries = sum(bool(order.unknown_country) for order in file.orders)

    async def _wait(self, previous: datetime | None, now: datetime | None) -> None:
        if self.speed is None or previous is None or now is None:
            return
        await asyncio.sleep(max(0.0, (now - previous).total_seconds() / self.speed))

    async def _replay_order(self, order: FileOrder) -> None:
        """Sends the sales of an order, then its cancellations. Counts it as answered unless a call failed."""
        try:
            if order.sales:
                await self._sell(order)
            await self._cancel(order)
        except ServiceError as error:
            if error.unreachable:
                raise
            self.totals.unknown_names |= error.reason == "NOT_FOUND"
            self._report(
                self.totals.errors, refused_line(order, error), f"order {order.order_id}: {error_summary(error)}"
            )
            return
        if order.sales or order.cancellations or order.excluded_cancellations or not order.problem_count:
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
        response = await self._timed(self.client.allocations.AllocateOrder, request)
        self._add_to_totals(response.allocation)
        for line in order.sales:
            self._sales.record(line.sku, response.allocation.allocation_id, str(line.line), line.unit_count)

    def _order_line(self, line: FileLine) -> OrderLine:
        message = OrderLine(
            line_id=str(line.line),
            sku=line.sku,
            unit_count=line.unit_count,
            only_location_ids=line.only_locations,
            not_location_ids=line.not_locations,
            keep_together=line.keep_together,
        )
        if line.price is not None:
            message.unit_price.CopyFrom(proto_values.money(line.price, self.currency))
        return message

    def _add_to_totals(self, allocation: Allocation) -> None:
        totals = self.totals
        totals.units_allocated += sum(line.promised_count for line in allocation.lines)
        for shortage in allocation.shortages:
            if shortage.kind == Shortage.KIND_OVERSELL:
                totals.units_oversold += shortage.unit_count
            elif shortage.kind in _WITHHELD:
                totals.units_withheld += shortage.unit_count
            else:
                totals.units_unfillable += shortage.unit_count
            reason = " ".join([shortage.cause or "unfillable", ", ".join(shortage.rules)]).rstrip()
            totals.short_by_reason[reason] += shortage.unit_count
        totals.split_orders += len(allocation.shipments) > 1
        totals.needs_review += allocation.needs_person
        totals.duplicate_orders += allocation.update_time.ToNanoseconds() < self._started.ToNanoseconds()

    async def _cancel(self, order: FileOrder) -> None:
        for line in order.excluded_cancellations:
            self._report(self.totals.nothing_to_cancel, line.line, f"{line.sku} is excluded, so no unit of it was sold")
        to_cancel: list[UnitsToCancel] = []
        for line in order.cancellations:
            matches = self._sales.match_cancellation(line.sku, line.unit_count)
            self._report_missing(line, sum(match.unit_count for match in matches))
            to_cancel += matches
        for allocation_id, cancellations in group_by_allocation(to_cancel).items():
            request = CancelOrderLinesRequest(allocation_id=allocation_id, cancellations=cancellations)
            request.request_id = request_id(order.order_id, request)
            await self._timed(self.client.allocations.CancelOrderLines, request)
            self.totals.units_cancelled += sum(line.unit_count for line in cancellations)

    def _report_missing(self, line: FileLine, matched_count: int) -> None:
        if matched_count == 0:
            message = f"no earlier sale of {line.sku} in this file has units left to cancel"
            self._report(self.totals.nothing_to_cancel, line.line, message)
        elif matched_count < line.unit_count:
            message = f"earlier sales in this file cover only {matched_count} of {line.unit_count} units of {line.sku}"
            self._report(self.totals.partly_cancelled, line.line, message)

    def _report(self, problems: list[CsvProblem], line: int, message: str) -> None:
        problems.append(CsvProblem(self._file, line, 0, message))

    async def _timed(self, call: Call[Request, Response], request: Request) -> Response:
        started = time.perf_counter()
        try:
            return await self.client.ask(call, request)
        finally:
            self.totals.latencies_ms.append((time.perf_counter() - started) * 1_000)


def group_by_allocation(to_cancel: Iterable[UnitsToCancel]) -> dict[str, list[LineCancellation]]:
    """The cancellations of each allocation, with one entry for each line, in the order of `to_cancel`."""
    units: dict[str, dict[str, int]] = {}
    for item in to_cancel:
        lines = units.setdefault(item.allocation_id, {})
        lines[item.line_id] = lines.get(item.line_id, 0) + item.unit_count
    return {
        allocation_id: [LineCancellation(line_id=line_id, unit_count=count) for line_id, count in lines.items()]
        for allocation_id, lines in units.items()
    }


def refused_line(order: FileOrder, error: ServiceError) -> int:
    """The line of the file of the first refused order line; the order's first line if the error names none."""
    for violation in error.violations:
        match = re.match(r"lines\[([0-9]+)\]", violation.field)
        if match and int(match[1]) < len(order.sales):
            return order.sales[int(match[1])].line
    return order.line


def error_summary(error: ServiceError) -> str:
    """The service's error in one line."""
    if len(error.violations) <= 1:
        return " ".join(str(error).split())
    descriptions = list(dict.fromkeys(violation.description for violation in error.violations))
    more = f"; and {len(descriptions) - 3:,} more" if len(descriptions) > 3 else ""
    return "; ".join(descriptions[:3]) + more


def request_id(order_id: str, request: Message) -> str:
    """The same UUID for the same order and contents, so that the service returns its earlier response."""
    contents = request.SerializeToString(deterministic=True).hex()
    return str(uuid.uuid5(_REQUEST_NAMESPACE, f"{order_id}\n{contents}"))


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile, rounded to 3 decimals; None without values."""
    if not values:
        return None
    rank = max(1, math.ceil(share * len(values)))
    return round(sorted(values)[rank - 1], 3)
