"""What an order adds to the counters: what it is less what it was, so that nothing counts twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from policies.domain.model import Commitment
from service.allocation.planner import AllocationChange
from service.metrics import Metrics
from service.orders.allocation_record import AllocationRecord
from service.orders.order_exceptions import OrderException

UnitsByLabel = dict[str, int]


@dataclass(frozen=True, slots=True)
class OrderCounts:
    """The countable figures of one order that is sold; an order that is not sold counts nothing yet."""

    sold: bool = False
    sold_units: int = 0
    split: bool = False
    needs_person: bool = False
    allocated: UnitsByLabel = field(default_factory=dict)
    oversold: int = 0
    unfillable: int = 0

    @classmethod
    def of(cls, record: AllocationRecord) -> OrderCounts:
        """The figures of an allocation as it stands."""
        if record.commitment is not Commitment.SOLD:
            return cls(needs_person=record.needs_person)
        return cls(
            sold=True,
            sold_units=sum(line.uncancelled for line in record.lines),
            split=len([s for s in record.shipments if s.units or s.shipped]) > 1,
            needs_person=record.needs_person,
            allocated=_sums((s.location_id, sum(s.units.values()) + sum(s.shipped.values())) for s in record.shipments),
            oversold=sum(line.oversold for line in record.lines),
            unfillable=sum(s.unit_count for s in record.shortages if s.kind == "unfillable"),
        )


def count_answer(metrics: Metrics, record: AllocationRecord) -> None:
    """Counts the answer to an order; to be called after the commit."""
    metrics.allocations.labels(record.channel_id, record.outcome.value).inc()


def count_change(metrics: Metrics, before: OrderCounts, verdicts: Sequence[AllocationChange]) -> None:
    """Counts what a transaction did to one order; to be called after the commit."""
    record = verdicts[-1].record
    after, channel = OrderCounts.of(record), record.channel_id
    metrics.sold_orders.labels(channel).inc(after.sold and not before.sold)
    # What policy took off at once was sold first.
    taken_off = sum(verdict.cancelled for verdict in verdicts)
    more = after.sold_units - before.sold_units + taken_off
    metrics.sold_units.labels(channel).inc(max(0, more))
    metrics.cancelled_units.labels(channel).inc(taken_off + max(0, -more))
    metrics.split_orders.labels(channel).inc(after.split and not before.split)
    metrics.unfillable_units.labels(channel).inc(max(0, after.unfillable - before.unfillable))
    for location, units in _increases(before.allocated, after.allocated):
        metrics.allocated_units.labels(channel, location).inc(units)
    _count_oversell(metrics, channel, before, after, verdicts)
    if after.needs_person and not before.needs_person:
        reasons = [one.kind for verdict in verdicts for one in verdict.exceptions if one.needs_person]
        reasons += [verdict.intervention for verdict in verdicts if verdict.intervention]
        metrics.manual_interventions.labels(channel, reasons[0] if reasons else "review").inc()
    for verdict in verdicts:
        count_exceptions(metrics, channel, verdict.exceptions)
        if verdict.inputs is not None:
            metrics.decisions_stored_bytes.inc(verdict.inputs.byte_count)
        if verdict.decision is not None:
            metrics.buffer_saved_units.labels(channel).inc(sum(verdict.decision.buffer_saved.values()))
        if verdict.rerouted and after.sold:
            metrics.rerouted_units.labels(channel, verdict.cause).inc(verdict.rerouted)


def count_exceptions(metrics: Metrics, channel_id: str, raised: Iterable[OrderException]) -> None:
    """Counts exceptions of one order, and those that policy settled at once; to be called after the commit."""
    for one in raised:
        metrics.exceptions.labels(one.kind, channel_id).inc()
        if one.resolution is not None:
            metrics.exceptions_resolved.labels(one.kind, one.resolution).inc()


def _count_oversell(
    metrics: Metrics, channel: str, before: OrderCounts, after: OrderCounts, verdicts: Sequence[AllocationChange]
) -> None:
    # A unit of a line that is short again, or for another reason now, is one oversell.
    left = max(0, after.oversold - before.oversold)
    causes = _sums((short.cause, short.unit_count) for verdict in verdicts for short in verdict.oversold)
    for cause, units in causes.items():
        metrics.oversold_units.labels(channel, cause).inc(min(left, units))
        left -= min(left, units)
    if after.oversold and not before.oversold:
        metrics.oversold_orders.labels(channel, next(iter(causes))).inc()


def _sums(pairs: Iterable[tuple[str, int]]) -> UnitsByLabel:
    sums: UnitsByLabel = {}
    for label, units in pairs:
        sums[label] = sums.get(label, 0) + units
    return sums


def _increases(before: UnitsByLabel, after: UnitsByLabel) -> list[tuple[str, int]]:
    return [(label, units - before.get(label, 0)) for label, units in after.items() if units > before.get(label, 0)]
