"""How many of a channel's items it may sell: whole items of so many units of one product, each from one location."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from policies.decisions.availability.location_availability import LocationAvailability
from policies.decisions.availability.sellable import Availability, DeliveryDay
from policies.domain.listings import whole_items


def in_items(availability: Availability, units_each: int) -> Availability:
    """The availability with sellable figures in items of `units_each` units, of the whole and of each location.

    An item comes from one location, so units that make up no whole item at their location are not sellable in items.
    What is not sellable stays in units.
    """
    if units_each == 1:
        return availability
    locations = tuple(
        replace(figure, sellable=whole_items(figure.sellable, units_each)) for figure in availability.locations
    )
    sellable = min(whole_items(availability.sellable, units_each), sum(figure.sellable for figure in locations))

    def largest(units: int, figures: Iterable[LocationAvailability]) -> int:
        counts = sorted((figure.sellable for figure in figures), reverse=True)
        return min(whole_items(units, units_each), sellable, sum(counts[: availability.policy.max_shipments]))

    days: list[DeliveryDay] = []
    for day in availability.delivery_days:
        in_time = [figure for figure in locations if figure.location_id in day.location_ids]
        count = largest(day.largest_order, in_time)
        if count > (days[-1].largest_order if days else 0):
            days.append(replace(day, largest_order=count))
    return replace(
        availability,
        sellable=sellable,
        largest_single_order=largest(availability.largest_single_order, locations),
        locations=locations,
        delivery_days=tuple(days),
    )
