"""How the units of a channel are divided over its outlets.

An outlet offers what its locations may sell. What the channel's own rules keep from the sum of all locations (its
buffer, cut-off and cap) is taken a unit at a time from the outlet that has most left, ties by id, so that the outlets
always add up to the channel's sellable units. Locations in no outlet come first: nobody can buy there, so the outlets
that the channel shows keep as much as they can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from policies.decisions.availability.sellable import Availability
from policies.domain.model import StockLevel
from policies.domain.outlets import Outlet

NO_OUTLET = ""
"""In place of an outlet's id: the locations of a channel that are in none of its outlets."""


@dataclass(frozen=True, slots=True)
class OutletFigures:
    """Units of one product in one outlet, or at the locations that are in none (NO_OUTLET).

    `sellable`, `kept_by_rules`, `promised_here` (to the channel's orders), `promised_elsewhere` and `unavailable` add
    up to `on_hand`, unless a location has fewer units than are promised or unavailable there. `kept_by_rules` has all
    units that are neither promised nor unavailable and may not be sold.
    """

    outlet_id: str
    sellable: int = 0
    kept_by_rules: int = 0
    promised_here: int = 0
    promised_elsewhere: int = 0
    unavailable: int = 0
    on_hand: int = 0


def reduced(units: Mapping[str, int], count: int) -> dict[str, int]:
    """The units by id after `count` of them were taken, one at a time, from the id that has most left, ties by id.

    No units are below 0, and `count` is at most their sum.
    """
    if not count:
        return dict(units)
    # Unit by unit, whatever is above some height is cut down to it; the rest comes from those of that height, in order
    # of their ids.
    low, high = 0, max(units.values())
    while low < high:
        height = (low + high) // 2
        if sum(max(0, units_of - height) for units_of in units.values()) <= count:
            high = height
        else:
            low = height + 1
    left = {id: min(units_of, low) for id, units_of in units.items()}
    remaining = count - (sum(units.values()) - sum(left.values()))
    for id in sorted(id for id, units_of in left.items() if units_of == low)[:remaining]:
        left[id] -= 1
    return left


def outlet_units(availability: Availability, outlets: Sequence[Outlet]) -> dict[str, int]:
    """Sellable units by outlet id; they add up to `availability.sellable`.

    NO_OUTLET is there if the product has stock at locations of the channel that are in none of these outlets. It also
    has the kits that several locations make up together: only orders that name no outlet may use them.
    """
    by_location = _outlet_ids(outlets)
    units = dict.fromkeys((outlet.id for outlet in outlets), 0)
    is_all_in_outlets = availability.kit is None or not availability.kit.split_count
    for figure in availability.locations:
        outlet_id = by_location.get(figure.location_id)
        if outlet_id is None:
            is_all_in_outlets = False
        else:
            units[outlet_id] += figure.sellable
    left = reduced(units, max(0, sum(units.values()) - availability.sellable))
    return left if is_all_in_outlets else left | {NO_OUTLET: availability.sellable - sum(left.values())}


def outlet_figures(
    availability: Availability,
    outlets: Sequence[Outlet],
    levels: Mapping[tuple[str, str], StockLevel],
    promised: Mapping[tuple[str, str], int],
) -> tuple[OutletFigures, ...]:
    """The figures of each outlet, in the order of their ids; NO_OUTLET, where there is one, is the last.

    `promised` are the units promised to the channel's orders by (SKU, location id), read together with the levels.
    """
    by_location, units = _outlet_ids(outlets), outlet_units(availability, outlets)
    figures = {outlet_id: OutletFigures(outlet_id, sellable) for outlet_id, sellable in units.items()}
    available = dict.fromkeys(figures, 0)
    for location in availability.locations:
        level = levels[location.sku, location.location_id]
        outlet_id = by_location.get(location.location_id, NO_OUTLET)
        figure, all_promised = figures[outlet_id], level.held + level.allocated
        here = min(promised.get((location.sku, location.location_id), 0), all_promised)
        available[outlet_id] += location.available
        figures[outlet_id] = replace(
            figure,
            promised_here=figure.promised_here + here,
            promised_elsewhere=figure.promised_elsewhere + all_promised - here,
            unavailable=figure.unavailable + level.unavailable,
            on_hand=figure.on_hand + level.on_hand,
        )
    return tuple(
        replace(figure, kept_by_rules=max(0, available[outlet_id] - figure.sellable))
        for outlet_id, figure in figures.items()
    )


def _outlet_ids(outlets: Iterable[Outlet]) -> dict[str, str]:
    """The id of the outlet of each location."""
    return {location_id: outlet.id for outlet in outlets for location_id in outlet.location_ids}
