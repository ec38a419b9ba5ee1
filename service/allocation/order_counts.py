"""Adds orders to the metrics: the counts of an order after a transaction less those before, so no unit counts twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prometheus_client import Counter

from policies.decisions.cancellations import SELLER, UNKNOWN
from policies.domain.model import Commitment
from service.allocation.planner import AllocationChange
from service.metrics import Metrics
from service.orders.allocation_record import AllocationRecord
from service.orders.cancellations.cancellation_request import CancellationRequest
from service.orders.order_exceptions import OrderException

UnitsByLabel = dict[str, int]


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """The counts of one order for the metrics; an order that is not sold counts nothing yet."""

    sold: bool = False
    sold_units: int = 0
    split: bool = False
    needs_person: bool = False
    allocated: UnitsByLabel = field(default_factory=dict)
    oversold: int = 0
    withheld: int = 0
    unfillable: int = 0
    cancelled: int = 0

    @classmethod
    def of(cls, record: AllocationRecord) -> OrderCounts:
        """The current counts of an allocation."""
        if record.commitment is not Commitment.SOLD:
            return cls(needs_person=record.needs_person)
        return cls(
            sold=True,
            sold_units=sum(line.uncancelled for line in record.lines),
            split=len([s for s in record.shipments if s.units or s.shipped]) > 1,
            needs_person=record.needs_person,
            allocated=_sums((s.location_id, sum(s.units.values()) + sum(s.shipped.values())) for s in record.shipments),
            oversold=sum(line.oversold for line in record.lines),
            withheld=sum(line.withheld for line in record.lines),
            unfillable=sum(s.unit_count for s in record.shortages if s.kind == "unfillable"),
            cancelled=sum(line.cancelled for line in record.lines),
        )


def count_answer(metrics: Metrics, record: AllocationRecord, now: datetime) -> None:
    """Counts the answer to an order, as of `now`; to be called after the commit."""
    metrics.orders.allocations.labels(record.channel_id, record.outcome_at(now).value).inc()


def count_changes(metrics: Metrics, before: OrderCounts, changes: Sequence[AllocationChange]) -> None:
    """Counts the changes that a transaction made to one order; to be called after the commit."""
    record = changes[-1].record
    after, channel = OrderCounts.of(record), record.channel_id
    # Units that a policy cancelled at once count as sold first.
    cancelled = sum(change.cancelled + change.cancelled_by_channel for change in changes)
    added = after.sold_units - before.sold_units + cancelled
    for counter, count in (
        (metrics.orders.sold_orders, after.sold and not before.sold),
        (metrics.orders.sold_units, added),
        (metrics.orders.split_orders, after.split and not before.split),
        (metrics.orders.unfillable_units, after.unfillable - before.unfillable),
    ):
        if count > 0:
            counter.labels(channel).inc(count)
    _count_cancelled(metrics, channel, before, after, _units_by_fault(changes, cancelled + max(0, -added)))
    for location, units in _increases(before.allocated, after.allocated):
        metrics.orders.allocated_units.labels(channel, location).inc(units)
    _count_shortages(metrics, record, before, after, changes)
    if after.needs_person and not before.needs_person:
        reasons = [exception.kind for change in changes for exception in change.exceptions if exception.needs_person]
        reasons += [change.intervention for change in changes if change.intervention]
        reason = reasons[0] if reasons else "review"
        metrics.orders.manual_interventions.labels(channel, reason).inc(exemplar=_exemplar(record))
    for change in changes:
        count_exceptions(metrics, channel, change.exceptions)
        if change.inputs is not None:
            metrics.policies.decisions_stored_bytes.inc(change.inputs.byte_count)
        if change.decision is not None and change.decision.buffer_saved:
            metrics.orders.buffer_saved_units.labels(channel).inc(sum(change.decision.buffer_saved.values()))
        if change.rerouted and after.sold:
            metrics.orders.rerouted_units.labels(channel, change.cause).inc(change.rerouted)


def count_exceptions(metrics: Metrics, channel_id: str, raised: Iterable[OrderException]) -> None:
    """Counts exceptions of one order, and those that a policy resolved at once; to be called after the commit."""
    for exception in raised:
        metrics.exceptions.count_raised(exception.kind, channel_id, exception.handling.owner)
        if exception.resolution is not None:
            metrics.exceptions.resolved.labels(exception.kind, exception.resolution).inc()


def _count_shortages(
    metrics: Metrics,
    record: AllocationRecord,
    before: OrderCounts,
    after: OrderCounts,
    changes: Sequence[AllocationChange],
) -> None:
    channel = record.channel_id
    # A unit that is short again, or is short for another reason now, is still one oversell.
    causes = _sums((short.cause, short.unit_count) for change in changes for short in change.oversold)
    _count_units(metrics.orders.oversold_units, channel, causes, after.oversold - before.oversold)
    if after.oversold and not before.oversold:
        metrics.orders.oversold_orders.labels(channel, next(iter(causes))).inc(exemplar=_exemplar(record))
    kept = _sums((short.cause, short.unit_count) for change in changes for short in change.withheld)
    _count_units(metrics.orders.withheld_units, channel, kept, after.withheld - before.withheld)


def _exemplar(record: AllocationRecord) -> dict[str, str] | None:
    """The decision behind a count, by which a dashboard leads from a rate to one order."""
    return None if record.decision_id is None else {"decision_id": str(record.decision_id)}


def count_request(metrics: Metrics, request: CancellationRequest) -> None:
    """Counts the answer that a request to cancel got in a transaction, if it got one; to be called after the commit."""
    if request.answer_cause:
        labels = (request.channel_id, request.state, request.answer_cause)
        metrics.orders.cancellation_requests.labels(*labels).inc()
        request.answer_cause = ""


def _units_by_fault(changes: Sequence[AllocationChange], cancelled: int) -> UnitsByLabel:
    """The cancelled units by fault: as the cancellations state it, the seller's if a rule cancelled, else unknown."""
    stated = [
        (change.cancellation.cause.fault or UNKNOWN, change.cancellation.unit_count)
        for change in changes
        if change.cancellation is not None
    ]
    units: UnitsByLabel = {}
    for fault, count in (*stated, (SELLER, sum(change.cancelled for change in changes)), (UNKNOWN, cancelled)):
        counted = min(count, cancelled)
        if counted:
            units[fault] = units.get(fault, 0) + counted
        cancelled -= counted
    return units


def _count_cancelled(
    metrics: Metrics, channel: str, before: OrderCounts, after: OrderCounts, units_by_fault: UnitsByLabel
) -> None:
    for fault, units in units_by_fault.items():
        metrics.orders.cancelled_units.labels(channel, fault).inc(units)
    if units_by_fault and not before.cancelled:
        # The fault of its first cancelled unit, so that an order counts once.
        metrics.orders.cancelled_orders.labels(channel, next(iter(units_by_fault))).inc()


def _count_units(metric: Counter, channel: str, causes: UnitsByLabel, uncounted: int) -> None:
    for cause, units in causes.items():
        counted = min(max(0, uncounted), units)
        metric.labels(channel, cause).inc(counted)
        uncounted -= counted


def _sums(pairs: Iterable[tuple[str, int]]) -> UnitsByLabel:
    sums: UnitsByLabel = {}
    for label, units in pairs:
        sums[label] = sums.get(label, 0) + units
    return sums


def _increases(before: UnitsByLabel, after: UnitsByLabel) -> list[tuple[str, int]]:
    return [(label, units - before.get(label, 0)) for label, units in after.items() if units > before.get(label, 0)]
