"""When the shipments of an order leave and arrive, if their locations start on them now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import TypeVar

from policies.decisions.delivery import shipping_dates_of
from policies.decisions.rest_of_pickup import at_location
from policies.domain.model import TRANSFER, Context, Destination, Location, Order, OrderFacts
from policies.domain.shipments import OPEN
from policies.domain.shipping_dates import NO_DATES, ShippingDates
from service.allocation.planning_context import ChannelContext
from service.orders.allocation_record import AllocationRecord

Time = TypeVar("Time", date, datetime)


def destination_of(
    record: AllocationRecord, method: str | None, locations: Mapping[str, Location]
) -> Destination | None:
    """Where a shipment of the order goes: to its store if it is a transfer, else to the shopper."""
    store = locations.get(record.pickup_location_id or "") if method == TRANSFER else None
    return record.destination if store is None else at_location(store)


class ShipmentDates:
    """The dates of any shipment of one order at one time, by the rules and the catalog in force."""

    def __init__(
        self, channel_context: ChannelContext, record: AllocationRecord, now: datetime, order: Order | None = None
    ) -> None:
        """`order` has the contents of the record, where they are at hand."""
        self._channel_context, self._record, self._now = channel_context, record, now
        # Only delivery rules see more of the order than its method.
        has_rules = bool(channel_context.policy_set.delivery)
        self._order = (
            OrderFacts.of(order or record.order(record.commitment), channel_context.products)
            if has_rules
            else OrderFacts(method=record.method)
        )

    def at(self, location_id: str, handled_on: date | None = None, method: str | None = None) -> ShippingDates:
        """The dates of a shipment from a location; none if it is not in the catalog.

        `handled_on` is the first day for which the location has room for it, where its capacity is limited. `method` is
        that of the shipment if it is not the order's; a transfer arrives at the store of the order.
        """
        location = self._channel_context.locations.get(location_id)
        if location is None:
            return NO_DATES
        channel = self._channel_context.channel
        order = self._order if method is None else replace(self._order, method=method)
        destination = destination_of(self._record, method, self._channel_context.locations)
        context = Context(self._now, channel, order, destination, location)
        return shipping_dates_of(self._channel_context.policy_set, context, handled_on)


def renew_dates(channel_context: ChannelContext, record: AllocationRecord, now: datetime) -> None:
    """Dates the shipments of an order that is paid now anew, where they can no longer keep the dates of its hold.

    Locations start when an order is paid. A date that can be kept stays, also if work could be done sooner now.
    """
    for shipment in record.shipments:
        if shipment.state in OPEN and (shipment.ship_by_time is not None or shipment.deliver_date is not None):
            handled_on = shipment.handling.day if shipment.handling else None
            dates = ShipmentDates(channel_context, record, now).at(shipment.location_id, handled_on, shipment.method)
            if _is_later(dates.ship_by, shipment.ship_by_time) or _is_later(dates.arrives_on, shipment.deliver_date):
                shipment.promise_dates(dates)


def _is_later(new: Time | None, old: Time | None) -> bool:
    return new is not None and old is not None and new > old
