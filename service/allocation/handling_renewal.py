"""Moves promised units whose day of handling has passed to the day on which they will be handled."""

from __future__ import annotations

from policies.decisions.capacity import time_with_room
from policies.domain.capacity import NO_FIGURES
from policies.domain.handling_times import HandlingTime, first_handling_time
from service.allocation.planning_context import ChannelContext
from service.allocation.shipment_dates import ShipmentDates
from service.capacity.order_uses import shipped
from service.orders.allocation_record import AllocationRecord, ShipmentRecord
from service.stock.capacity_ledger import ShipmentUse
from service.stock.stock_book import Book


def must_renew(record: AllocationRecord) -> bool:
    """Whether any of its shipments takes of a day, which may have passed."""
    return any(shipment.handling is not None for shipment in record.shipments)


def renew_handling(channel_context: ChannelContext, book: Book, record: AllocationRecord) -> bool:
    """Moves the shipments whose day or hour has passed to the first time with room; False if one has no such time.

    Nothing is changed then: the order must be planned again.
    """
    if not must_renew(record):
        return True
    taking: list[ShipmentUse] = []
    renewed: list[tuple[ShipmentRecord, HandlingTime | None]] = []
    for shipment in record.shipments:
        if shipment.handling is None or not shipment.units:
            continue
        location = channel_context.locations.get(shipment.location_id)
        time: HandlingTime | None = shipment.handling
        if location is None or location.capacity is None:
            time = None
        elif _has_passed(shipment.handling, first_handling_time(location, book.now)):
            figures = book.capacity.figures_for(record.id, [*shipped(record), *taking]) or NO_FIGURES
            found = time_with_room(
                location, book.now, figures, shipment.handled_count, ship_by_time=record.ship_by_time
            )
            if found is None or not found[1].fits(shipment.handled_count):
                return False
            time = found[0]
        if time is not None:
            taking.append(ShipmentUse(shipment.location_id, time, shipment.handled_count))
        renewed.append((shipment, time))
    dates = ShipmentDates(channel_context, record, book.now)
    for shipment, time in renewed:
        if time != shipment.handling:
            shipment.handling = time
            shipment.promise_dates(dates.at(shipment.location_id, time.day if time else None))
    return True


def _has_passed(handling: HandlingTime, first: HandlingTime | None) -> bool:
    """Whether an order received now would be handled later."""
    if first is None or handling.day != first.day:
        return first is not None and handling.day < first.day
    return handling.hour is not None and first.hour is not None and handling.hour < first.hour
