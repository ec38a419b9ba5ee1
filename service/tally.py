"""What an order adds to the counters: what it is less what it was, so that nothing counts twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from policies.model import Commitment
from service.exceptions import OrderException
from service.metrics import Metrics
from service.planning import Verdict
from service.record import AllocationRecord

Labelled = dict[str, int]


@dataclass(frozen=True, slots=True)
class Tally:
    """The countable figures of one order that is sold; an order that is not sold counts nothing yet."""

    sold: bool = False
    sold_units: int = 0
    split: bool = False
    needs_person: bool = False
    allocated: Labelled = field(default_factory=dict)
    oversold: Labelled = field(default_factory=dict)
    unfillable: int = 0

    @classmethod
    def of(cls, record: AllocationRecord) -> Tally:
        """The figures of an allocation as it stands."""
        if record.commitment is not Commitment.SOLD:
            return cls(needs_person=record.needs_person)
        return cls(
            sold=True,
            sold_units=sum(line.wanted for line in record.lines),
            split=len(record.shipments) > 1,
            needs_person=record.needs_person,
            allocated=_sums((s.location_id, sum(s.units.values())) for s in record.shipments),
            oversold=_sums((s.cause, s.unit_count) for s in record.shortages if s.kind == "oversell"),
            unfillable=sum(s.unit_count for s in record.shortages if s.kind == "unfillable"),
        )


def count_order(metrics: Metrics, before: Tally, verdict: Verdict) -> None:
    """Counts an answered order; to be called after the commit."""
    record, after = verdict.record, Tally.of(verdict.record)
    channel = record.channel_id
    metrics.allocations.labels(channel, record.outcome.value).inc()
    metrics.sold_orders.labels(channel).inc(after.sold and not before.sold)
    metrics.sold_units.labels(channel).inc(max(0, after.sold_units - before.sold_units))
    count_cancelled(metrics, before, record)
    metrics.split_orders.labels(channel).inc(after.split and not before.split)
    metrics.unfillable_units.labels(channel).inc(max(0, after.unfillable - before.unfillable))
    for location, units in _risen(before.allocated, after.allocated):
        metrics.allocated_units.labels(channel, location).inc(units)
    _count_oversell(metrics, channel, before, after)
    if after.needs_person and not before.needs_person:
        reason = verdict.exceptions[0].kind if verdict.exceptions else "review"
        metrics.manual_interventions.labels(channel, reason).inc()
    count_exceptions(metrics, channel, verdict.exceptions)
    if verdict.decision is not None:
        metrics.buffer_saved_units.labels(channel).inc(sum(verdict.decision.buffer_saved.values()))


def count_exceptions(metrics: Metrics, channel_id: str, raised: Iterable[OrderException]) -> None:
    """Counts exceptions of one order, and those that policy settled at once; to be called after the commit."""
    for one in raised:
        metrics.exceptions.labels(one.kind, channel_id).inc()
        if one.resolution is not None:
            metrics.exceptions_resolved.labels(one.kind, one.resolution).inc()


def count_settled(metrics: Metrics, before: Tally, record: AllocationRecord) -> None:
    """Counts what settling an exception did to its order; to be called after the commit."""
    count_cancelled(metrics, before, record)
    for location, units in _risen(before.allocated, Tally.of(record).allocated):
        metrics.allocated_units.labels(record.channel_id, location).inc(units)


def count_cancelled(metrics: Metrics, before: Tally, record: AllocationRecord) -> None:
    """Counts units taken off a sold order, by a cancellation or by stating fewer of them."""
    fewer = max(0, before.sold_units - Tally.of(record).sold_units)
    metrics.cancelled_units.labels(record.channel_id).inc(fewer)


def _count_oversell(metrics: Metrics, channel: str, before: Tally, after: Tally) -> None:
    # A line that is short still, for another reason now, is one oversell.
    left = max(0, sum(after.oversold.values()) - sum(before.oversold.values()))
    for cause, units in after.oversold.items():
        metrics.oversold_units.labels(channel, cause).inc(min(left, units))
        left -= min(left, units)
    if after.oversold and not before.oversold:
        metrics.oversold_orders.labels(channel, next(iter(after.oversold))).inc()


def _sums(pairs: Iterable[tuple[str, int]]) -> Labelled:
    sums: Labelled = {}
    for label, units in pairs:
        sums[label] = sums.get(label, 0) + units
    return sums


def _risen(before: Labelled, after: Labelled) -> list[tuple[str, int]]:
    return [(label, units - before.get(label, 0)) for label, units in after.items() if units > before.get(label, 0)]
