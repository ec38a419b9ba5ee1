"""How many of a channel's items it may sell: whole items of so many units of one product, each from one location."""

from __future__ import annotations

from dataclasses import replace

from policies.decisions.availability.sellable import Availability
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
    counts = sorted((figure.sellable for figure in locations), reverse=True)
    sellable = min(whole_items(availability.sellable, units_each), sum(counts))
    in_shipments = sum(counts[: availability.policy.max_shipments])
    largest = min(whole_items(availability.largest_single_order, units_each), sellable, in_shipments)
    return replace(availability, sellable=sellable, largest_single_order=largest, locations=locations)
