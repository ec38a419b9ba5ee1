"""What calls of locations count of their shipments: the times that they kept or missed, and how long they took.

A shipment whose time has passed while it waited was counted as late then: `resolution/missed_deadlines`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from policies.domain.shipments import ShipmentState
from service.metrics import DELIVERY_DAY, SHIP_BY, Metrics
from service.orders.allocation_record import AllocationRecord, ShipmentRecord
from service.orders.shipment_deadlines import ShipmentDeadline

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
    deadlines: tuple[ShipmentDeadline, ...] = ()
    """Those that are not decided yet count."""

    def count(self, metrics: Metrics) -> None:
        """Counts how long it took; to be called after the commit."""
        if self.accepted_after is not None:
            metrics.shipments.accept_seconds.labels(self.location_id).observe(self.accepted_after)
        if self.finished_after is not None:
            metrics.shipments.ship_seconds.labels(self.location_id).observe(self.finished_after)


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
    has_finished = state_before in _WAITING and shipment.state in _FINISHED
    return ShipmentCounts(
        shipment.location_id,
        accepted_after=seconds if shipment.accept_time is not None and not accepted_before else None,
        finished_after=seconds if has_finished and not was_undone else None,
        deadlines=tuple(_decided(record, shipment, state_before, now)),
    )


def _decided(
    record: AllocationRecord, shipment: ShipmentRecord, state_before: ShipmentState, now: datetime
) -> Iterator[ShipmentDeadline]:
    times = [x for x in (shipment.ship_by_time, record.ship_by_time) if x is not None]
    if state_before in _WAITING and times:
        is_late = now > min(times)
        # A location that rejects a shipment after its time was late with it.
        if is_late or shipment.state in _FINISHED:
            yield ShipmentDeadline(shipment.id, SHIP_BY, record.channel_id, shipment.location_id, is_kept=not is_late)
    is_delivered = shipment.state is ShipmentState.DELIVERED and state_before is not ShipmentState.DELIVERED
    if is_delivered and shipment.deliver_by_time is not None:
        is_kept = now <= shipment.deliver_by_time
        yield ShipmentDeadline(shipment.id, DELIVERY_DAY, record.channel_id, shipment.location_id, is_kept=is_kept)
