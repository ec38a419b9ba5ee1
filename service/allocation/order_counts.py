"""Adds orders to the metrics: the counts of an order after a transaction less those before, so no unit counts twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from prometheus_client import Counter

from policies.decisions.cancellations import SELLER, UNKNOWN
from policies.domain.model import Commitment
from service.allocation.planner import AllocationChange
from service.allocation.unit_values import (
    PricedLines,
    UnitsValue,
    cancelled_value,
    oversold_value,
    priced_lines,
    withheld_value,
)
from service.history.counted_orders import CANCELLED, NEEDS_PERSON, NO_VALUE, OVERSOLD, SOLD, WITHHELD
from service.metrics import Metrics
from service.orders.allocation_record import AllocationRecord, ShipmentRecord
from service.orders.cancellations.cancellation_request import CancellationRequest
from service.orders.order_exceptions import OrderException

UnitsByLabel = dict[str, int]

COUNTED_RULES = 20
"""Rules of a decision that are kept with what is counted of its order."""


@dataclass(slots=True, unsafe_hash=True)
class OrderCounts:
    """The counts of one order for the metrics; an order that is not sold counts nothing yet."""

    sold: Final[bool] = False
    sold_units: Final[int] = 0
    split: Final[bool] = False
    needs_person: Final[bool] = False
    allocated: Final[UnitsByLabel] = field(default_factory=dict)
    oversold: Final[int] = 0
    withheld: Final[int] = 0
    unfillable: Final[int] = 0
    cancelled: Final[int] = 0
    priced: Final[PricedLines] = field(default_factory=dict, hash=False)
    """Its lines that state a price."""

    @classmethod
    def of(cls, record: AllocationRecord) -> OrderCounts:
        """The current counts of an allocation."""
        if record.commitment is not Commitment.SOLD:
            return cls(needs_person=record.needs_person)
        units = oversold = withheld = cancelled = 0
        for line in record.lines:
            units += line.unit_count
            oversold += line.oversold
            withheld += line.withheld
            cancelled += line.cancelled
        return cls(
            sold=True,
            sold_units=units - cancelled,
            split=len([s for s in record.shipments if s.units or s.shipped]) > 1,
            needs_person=record.needs_person,
            allocated=_sums([(s.location_id, _units_there(s)) for s in record.shipments]),
            oversold=oversold,
            withheld=withheld,
            unfillable=sum([s.unit_count for s in record.shortages if s.kind == "unfillable"]),
            cancelled=cancelled,
            priced=priced_lines(record),
        )


def _units_there(shipment: ShipmentRecord) -> int:
    """Units that the location has shipped or is to ship."""
    promised = sum(shipment.units.values())
    return promised + sum(shipment.shipped.values()) if shipment.shipped else promised


NO_COUNTS = OrderCounts()
"""Those of an order that was not stored before."""


def count_answer(metrics: Metrics, record: AllocationRecord, now: datetime) -> None:
    """Counts the answer to an order, as of `now`; to be called after the commit."""
    metrics.orders.allocations.labels(record.channel_id, record.outcome_at(now).value).inc()


@dataclass(frozen=True, slots=True)
class AddedCounts:
    """What one transaction adds to the counts of one order, in units by cause or fault.

    `first_oversold`, `first_withheld` and `first_cancelled` are set if the order had no such units before: it counts
    once, by the cause of the first. `intervention` is why it needs a person now; empty if it did before or does not.
    `after` are the counts of the order with the changes.
    """

    after: OrderCounts

    is_sale: bool = False
    sold: int = 0
    cancelled: UnitsByLabel = field(default_factory=dict)
    oversold: UnitsByLabel = field(default_factory=dict)
    withheld: UnitsByLabel = field(default_factory=dict)
    first_cancelled: str = ""
    first_oversold: str = ""
    first_withheld: str = ""
    intervention: str = ""
    values: Mapping[str, UnitsValue] = field(default_factory=dict)
    """Of the units of a kind that have a price, by the kind of `counted_orders`."""


def added_counts(before: OrderCounts, changes: Sequence[AllocationChange]) -> AddedCounts:
    """What the changes that a transaction made to one order add to its counts."""
    record = changes[-1].record
    after = OrderCounts.of(record)
    # Units that a policy cancelled at once count as sold first.
    cancelled = sum(change.cancelled + change.cancelled_by_channel for change in changes)
    added = after.sold_units - before.sold_units + cancelled
    by_fault = _units_by_fault(changes, cancelled + max(0, -added))
    # A unit that is short again, or is short for another reason now, is still one oversell.
    causes = _sums([(short.cause, short.unit_count) for change in changes for short in change.oversold])
    oversold = _counted(causes, after.oversold - before.oversold)
    kept = _sums([(short.cause, short.unit_count) for change in changes for short in change.withheld])
    withheld = _counted(kept, after.withheld - before.withheld)
    return AddedCounts(
        after,
        is_sale=after.sold and not before.sold,
        sold=max(0, added),
        cancelled=by_fault,
        oversold=oversold,
        withheld=withheld,
        # The fault of its first cancelled unit, so that an order counts once.
        first_cancelled=_first(by_fault) if not before.cancelled else "",
        first_oversold=_first(causes) if after.oversold and not before.oversold else "",
        first_withheld=_first(kept) if after.withheld and not before.withheld else "",
        intervention=_reason(changes) if after.needs_person and not before.needs_person else "",
        values=_values(before.priced, after.priced, by_fault, oversold, withheld),
    )


def _values(
    before: PricedLines, after: PricedLines, cancelled: UnitsByLabel, oversold: UnitsByLabel, withheld: UnitsByLabel
) -> dict[str, UnitsValue]:
    if not (before or after):
        return {}
    values = {
        CANCELLED: cancelled_value(before, after, sum(cancelled.values())),
        OVERSOLD: oversold_value(before, after, sum(oversold.values())),
        WITHHELD: withheld_value(before, after, sum(withheld.values())),
    }
    return {kind: value for kind, value in values.items() if value is not None}


def count_changes(
    metrics: Metrics, before: OrderCounts, changes: Sequence[AllocationChange], added: AddedCounts
) -> None:
    """Counts the changes that a transaction made to one order; to be called after the commit."""
    record = changes[-1].record
    after, channel = added.after, record.channel_id
    for counter, count in (
        (metrics.orders.sold_orders, added.is_sale),
        (metrics.orders.sold_units, added.sold),
        (metrics.orders.split_orders, after.split and not before.split),
        (metrics.orders.unfillable_units, after.unfillable - before.unfillable),
    ):
        if count > 0:
            counter.labels(channel).inc(count)
    _count_units(metrics.orders.cancelled_units, channel, added.cancelled)
    if added.first_cancelled:
        metrics.orders.cancelled_orders.labels(channel, added.first_cancelled).inc()
    for location, units in _increases(before.allocated, after.allocated):
        metrics.orders.allocated_units.labels(channel, location).inc(units)
    _count_shortages(metrics, record, added)
    for change in changes:
        count_exceptions(metrics, channel, change.exceptions)
        if change.inputs is not None:
            metrics.policies.decisions_stored_bytes.inc(change.inputs.byte_count)
        if change.decision is not None and change.decision.buffer_saved:
            metrics.orders.buffer_saved_units.labels(channel).inc(sum(change.decision.buffer_saved.values()))
        if change.rerouted and after.sold:
            metrics.orders.rerouted_units.labels(channel, change.cause).inc(change.rerouted)


def counted_rows(
    record: AllocationRecord,
    added: AddedCounts,
    now: datetime,
    *,
    is_sale_written: bool,
    oversold_record: Callable[[str], bytes | None],
) -> Iterator[tuple[object, ...]]:
    """Rows of `counted_orders.ORDER_COUNTS`: what is counted besides sales, and sales that no event has.

    `oversold_record` returns what is kept of units oversold for a cause.
    """
    order = (record.channel_id, record.id, record.decision.policy_revision)
    for kind, units_by_cause, first in (
        (SOLD, {} if is_sale_written or not (added.sold or added.is_sale) else {"": added.sold}, ""),
        (OVERSOLD, added.oversold, added.first_oversold),
        (WITHHELD, added.withheld, added.first_withheld),
        (CANCELLED, added.cancelled, added.first_cancelled),
        (NEEDS_PERSON, {added.intervention: 0} if added.intervention else {}, added.intervention),
    ):
        value = added.values.get(kind)
        for cause, units in units_by_cause.items():
            is_first = added.is_sale if kind == SOLD else cause == first
            kept = oversold_record(cause) if kind == OVERSOLD else None
            yield now, kind, cause, units, is_first, *order, _rules(record), kept, *_value_columns(record, value)
            # It is known of all units of a kind together, so one row has it.
            value = None


def _value_columns(record: AllocationRecord, value: UnitsValue | None) -> tuple[object, ...]:
    return NO_VALUE if value is None else (value.unit_count, value.value, record.currency)


def _rules(record: AllocationRecord) -> list[str]:
    """The names of the routing policy and the rules that decided an order, each once."""
    decision = record.decision
    names = dict.fromkeys([decision.routing_policy, *(fired.rule for fired in decision.fired_rules)])
    return [name for name in names if name][:COUNTED_RULES]


def count_exceptions(metrics: Metrics, channel_id: str, raised: Iterable[OrderException]) -> None:
    """Counts exceptions of one order, and those that a policy resolved at once; to be called after the commit."""
    for exception in raised:
        metrics.exceptions.count_raised(exception.kind, channel_id, exception.handling.owner)
        if exception.resolution is not None:
            metrics.exceptions.resolved.labels(exception.kind, exception.resolution).inc()


def _count_shortages(metrics: Metrics, record: AllocationRecord, added: AddedCounts) -> None:
    channel = record.channel_id
    _count_units(metrics.orders.oversold_units, channel, added.oversold)
    if added.first_oversold:
        metrics.orders.oversold_orders.labels(channel, added.first_oversold).inc(exemplar=_exemplar(record))
    _count_units(metrics.orders.withheld_units, channel, added.withheld)
    if added.first_withheld:
        metrics.orders.withheld_orders.labels(channel, added.first_withheld).inc(exemplar=_exemplar(record))
    if added.intervention:
        metrics.orders.manual_interventions.labels(channel, added.intervention).inc(exemplar=_exemplar(record))


def _reason(changes: Sequence[AllocationChange]) -> str:
    """Why an order needs a person after these changes."""
    reasons = [exception.kind for change in changes for exception in change.exceptions if exception.needs_person]
    reasons += [change.intervention for change in changes if change.intervention]
    return reasons[0] if reasons else "review"


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


def _count_units(metric: Counter, channel: str, units_by_cause: UnitsByLabel) -> None:
    for cause, units in units_by_cause.items():
        metric.labels(channel, cause).inc(units)


def _counted(causes: UnitsByLabel, uncounted: int) -> UnitsByLabel:
    """Of these units, those that are not counted yet, the first cause first."""
    counted: UnitsByLabel = {}
    for cause, units in causes.items():
        if uncounted > 0:
            counted[cause] = min(uncounted, units)
            uncounted -= counted[cause]
    return counted


def _first(units_by_label: UnitsByLabel) -> str:
    return next(iter(units_by_label), "")


def _sums(pairs: Iterable[tuple[str, int]]) -> UnitsByLabel:
    sums: UnitsByLabel = {}
    for label, units in pairs:
        sums[label] = sums.get(label, 0) + units
    return sums


def _increases(before: UnitsByLabel, after: UnitsByLabel) -> list[tuple[str, int]]:
    return [(label, units - before.get(label, 0)) for label, units in after.items() if units > before.get(label, 0)]
