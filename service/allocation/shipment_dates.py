"""When the shipments of an order leave and arrive, if their locations start on them now."""

from __future__ import annotations

from datetime import date, datetime

from policies.decisions.delivery import shipping_dates_of
from policies.domain.model import Context, OrderFacts
from policies.domain.shipping_dates import NO_DATES, ShippingDates
from service.allocation.planning_context import ChannelContext
from service.orders.allocation_record import AllocationRecord


class ShipmentDates:
    """The dates of any shipment of one order at one time, by the rules and the catalog in force."""

    def __init__(self, channel_context: ChannelContext, record: AllocationRecord, now: datetime) -> None:
        self._channel_context, self._destination, self._now = channel_context, record.destination, now
        self._order = OrderFacts.of(record.order(record.commitment))

    def at(self, location_id: str, handled_on: date | None = None) -> ShippingDates:
        """The dates of a shipment from a location; none if it is not in the catalog.

        `handled_on` is the first day for which the location has room for it, where its capacity is limited.
        """
        location = self._channel_context.locations.get(location_id)
        if location is None:
            return NO_DATES
        channel = self._channel_context.channel
        context = Context(self._now, channel, self._order, self._destination, location)
        return shipping_dates_of(self._channel_context.policy_set, context, handled_on)
