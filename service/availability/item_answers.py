"""Availability of a channel's items: the figures of their SKUs, with what is sellable in items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from google.type.date_pb2 import Date

from policies.decisions.availability.item_availability import in_items
from policies.decisions.availability.outlet_split import NO_OUTLET, outlet_units
from policies.decisions.availability.sellable import Availability
from policies.domain.listings import Listing
from policies.domain.outlets import Outlet
from service.availability.product_assessment import ProductProblem
from truestock.v1 import availability_service_pb2 as availability_pb


def set_item(
    message: availability_pb.Availability,
    availability: Availability | ProductProblem,
    listing: Listing,
    outlets: Sequence[Outlet],
) -> None:
    """Makes the answer about an item's SKU one about the item; `outlets` are those of the channel, if it has them."""
    message.item_id, message.units_per_item = listing.item_id, listing.unit_count
    if isinstance(availability, ProductProblem):
        return
    items = in_items(availability, listing.unit_count)
    message.sellable_count, message.largest_single_order_count = items.sellable, items.largest_single_order
    set_delivery_days(message, items)
    if message.outlets:
        by_outlet = outlet_units(items, outlets)
        for outlet in message.outlets:
            outlet.sellable_count = by_outlet[outlet.outlet_id]


def set_delivery_days(message: availability_pb.Availability, availability: Availability) -> None:
    """Sets the days by which one order can get more, if they were asked for."""
    if message.delivery_days:
        del message.delivery_days[:]
    for x in availability.delivery_days:
        day = Date(year=x.day.year, month=x.day.month, day=x.day.day)
        message.delivery_days.add(deliver_by=day, largest_order_count=x.largest_order)


def published_units(response: availability_pb.CheckAvailabilityResponse) -> dict[str, int]:
    """The units of each SKU that a channel was shown as sellable: those of the answer that shows most of it."""
    units: dict[str, int] = {}
    for answer in response.availabilities:
        count = answer.sellable_count * (answer.units_per_item or 1)
        units[answer.sku] = max(count, units.get(answer.sku, 0))
    return units


def published_outlets(response: availability_pb.CheckAvailabilityResponse) -> dict[str, dict[str, int]]:
    """The units of each SKU that a channel was shown in each of its outlets: of several answers, the most."""
    outlets: dict[str, dict[str, int]] = {}
    for answer in response.availabilities:
        if answer.outlets:
            by_outlet = {x.outlet_id: x.sellable_count for x in answer.outlets}
            add_outlets(outlets.setdefault(answer.sku, {}), by_outlet, answer.units_per_item or 1)
    return outlets


def add_outlets(units: dict[str, int], shown: Mapping[str, int], unit_count: int) -> None:
    """Adds items of `unit_count` units, shown by outlet, to the most units shown there; NO_OUTLET is left out."""
    for outlet_id, items in shown.items():
        if outlet_id != NO_OUTLET:
            units[outlet_id] = max(items * unit_count, units.get(outlet_id, 0))
