"""How many of a channel's items it may sell: whole items of so many units of one product, each from one location."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from policies.decisions.availability.location_availability import LocationAvailability
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
    sellable = min(whole_items(availability.sellable, units_each), sum(figure.sellable for figure in locations))

    # Whether `split_only_if` would allow a split of items is not worked out here: one location is always allowed.
    policy = availability.policy
    shipments = policy.max_shipments if policy.split_only_if is None else 1

    def largest(units: int, figures: Iterable[LocationAvailability]) -> int:
        counts = sorted((figure.sellable for figure in figures), reverse=True)
        return min(whole_items(units, units_each), sum(counts[:shipments]))

    options = []
    for option in availability.delivery_options:
        in_time = [figure for figure in locations if figure.location_id in option.location_ids]
        count, fewest = largest(option.largest, in_time), -(-option.fewest // units_each)
        if count >= max(1, fewest):
            options.append(replace(option, fewest=fewest, largest=count))
    return replace(
        availability,
        sellable=sellable,
        largest_single_order=largest(availability.largest_single_order, locations),
        locations=locations,
        delivery_options=tuple(options),
    )
