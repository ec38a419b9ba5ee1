"""How many of a channel's items it may sell: whole items of so many units of one product, each from one location."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from policies.decisions.availability.sellable import Availability
from policies.domain.listings import whole_items
from policies.policy_set import PLAN_STEPS


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
    units = {figure.location_id: figure.sellable for figure in availability.locations} | {**availability.in_one_order}
    sellable = min(whole_items(availability.sellable, units_each), sum(figure.sellable for figure in locations))

    policy = availability.policy
    compares_plans = any(step.kind in PLAN_STEPS for step in policy.rank)
    # Whether an order of items is one that may be split is not worked out here: one location is always allowed.
    may_split = policy.split_only_if is None and policy.min_split_value is None
    shipments = policy.max_shipments if may_split else 1

    def largest(units: int, units_there: Iterable[int]) -> int:
        # Without a step that compares plans the locations come as they rank, be they those with the fewest items.
        counts = sorted(filter(None, (whole_items(there, units_each) for there in units_there)), reverse=compares_plans)
        items = sum(counts[:shipments])
        if may_split and shipments is not None and not compares_plans:
            # Of the units that one order gets, at most these make up no whole item.
            items = max(items, whole_items(units - (shipments - 1) * (units_each - 1), units_each))
        return min(whole_items(units, units_each), items)

    options = []
    for option in availability.delivery_options:
        count, fewest = largest(option.largest, option.units.values()), -(-option.fewest // units_each)
        if count >= max(1, fewest):
            options.append(replace(option, fewest=fewest, largest=count))
    return replace(
        availability,
        sellable=sellable,
        largest_single_order=largest(availability.largest_single_order, units.values()),
        locations=locations,
        delivery_options=tuple(options),
    )
