"""Adds shipments to the metrics: whether locations kept the times of their shipments, and how long they took.

A shipment is counted by the call that finishes the work of its location, and by the one that reports its delivery. One
whose shipping was undone was counted when it seemed to ship, and is not counted again when it does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from policies.domain.shipments import ShipmentState
from service.metrics import DELIVERY_DAY, IN_TIME, LATE, SHIP_BY, Metrics
from service.orders.allocation_record import AllocationRecord, ShipmentRecord

_WAITING = frozenset({ShipmentState.ASSIGNED, ShipmentState.ACCEPTED})
_FINISHED = frozenset(
    {ShipmentState.READY_FOR_PICKUP, ShipmentState.SHIPPED, ShipmentState.DELIVERED, ShipmentState.COLLECTED}
)


@dataclass(frozen=True, slots=True)
class ShipmentCounts:
    """What one call counts of one shipment: seconds from assignment, and whether each time was kept, if due."""

    location_id: str
    accepted_after: float | None = None
    finished_after: float | None = None
    kept: tuple[tuple[str, bool], ...] = ()
    """By deadline, SHIP_BY or DELIVERY_DAY."""

    def count(self, metrics: Metrics) -> None:
        """Counts it; to be called after the commit."""
        if self.accepted_after is not None:
            metrics.shipment_accept_seconds.labels(self.location_id).observe(self.accepted_after)
        if self.finished_after is not None:
            metrics.shipment_ship_seconds.labels(self.location_id).observe(self.finished_after)
        for deadline, is_kept in self.kept:
            metrics.shipments_due.labels(self.location_id, deadline, IN_TIME if is_kept else LATE).inc()


def counts_of_call(
    record: AllocationRecord,
    shipment: ShipmentRecord,
    *,
    state_before: ShipmentState,
    accepted_before: bool,
    was_undone: bool,
    now: datetime,
) -> ShipmentCounts:
    """What a call that changed a shipment at `now` counts; `was_undone` says that it has seemed to ship before."""
    seconds = None if shipment.assign_time is None else max(0.0, (now - shipment.assign_time).total_seconds())
    kept: list[tuple[str, bool]] = []
    is_finished = state_before in _WAITING and shipment.state in _FINISHED and not was_undone
    times = [x for x in (shipment.ship_by_time, record.ship_by_time) if x is not None]
    if is_finished and times:
        kept.append((SHIP_BY, now <= min(times)))
    is_delivered = shipment.state is ShipmentState.DELIVERED and state_before is not ShipmentState.DELIVERED
    if is_delivered and shipment.deliver_by_time is not None:
        kept.append((DELIVERY_DAY, now <= shipment.deliver_by_time))
    return ShipmentCounts(
        shipment.location_id,
        accepted_after=seconds if shipment.accept_time is not None and not accepted_before else None,
        finished_after=seconds if is_finished else None,
        kept=tuple(kept),
    )
