"""What the shipments of an order take of their locations' capacity."""

from __future__ import annotations

from datetime import datetime

from policies.domain.capacity import CapacityFigures
from service.orders.allocation_record import EXPIRED, AllocationRecord
from service.stock.capacity_ledger import CapacityLedger, ShipmentUse


def load(ledger: CapacityLedger, record: AllocationRecord, now: datetime) -> None:
    """Notes what an order that was just read takes; orders that take nothing are left out."""
    stored = [
        ShipmentUse(x.location_id, x.handling, x.handling_units) for x in record.shipments if x.handling is not None
    ]
    if stored:
        ledger.load(record.id, stored, is_expired=record.state_at(now) == EXPIRED)


def taking(record: AllocationRecord) -> list[ShipmentUse]:
    """What its shipments take now: promised and shipped units, since shipping gives nothing back."""
    return [
        ShipmentUse(x.location_id, x.handling, count)
        for x in record.shipments
        if x.handling is not None and (count := x.handled_count)
    ]


def figures_without(ledger: CapacityLedger, record: AllocationRecord) -> CapacityFigures | None:
    """What is taken if everything of this order that has not shipped is planned again; None if nothing was read."""
    if not ledger.locations:
        return None
    return ledger.figures_for(record.id, shipped(record))


def shipped(record: AllocationRecord) -> list[ShipmentUse]:
    """What its shipments take for units that have shipped."""
    return [
        ShipmentUse(x.location_id, x.handling, sum(x.shipped.values()))
        for x in record.shipments
        if x.handling is not None and x.shipped
    ]
