"""Locations that gave an order fewer units than they have, because they are full: what room they had left, and when."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from math import isinf

from policies.decisions.routing import RoutedOrder
from policies.domain.handling_times import first_handling_time


@dataclass(frozen=True, slots=True)
class FullLocation:
    """What a location could still take at the first time at which it would have handled the order.

    `day` and `hour` are that time in its own calendar; None if it has none. `orders_left` and `units_left` are None
    without a limit. `unit_count` are units that the order could use there and that are beyond its capacity, at that
    time and at every later one that it may plan.
    """

    location_id: str
    unit_count: int
    day: date | None = None
    hour: int | None = None
    orders_left: int | None = None
    units_left: int | None = None


def full_locations(routed: RoutedOrder) -> Iterator[FullLocation]:
    """The full locations in the order of their ids."""
    world, beyond, demand = routed.run.question.world, routed.usable.beyond_capacity, routed.run.order.units_by_sku()
    for location_id in sorted({key for units in beyond.values() for key in units}):
        location = world.locations[location_id]
        unit_count = sum(min(demand.get(sku, 0), units.get(location_id, 0)) for sku, units in beyond.items())
        first = first_handling_time(location, world.now)
        if first is None or location.capacity is None:
            yield FullLocation(location_id, unit_count)
            continue
        room = world.capacity_figures.room(location_id, location.capacity, *first)
        yield FullLocation(location_id, unit_count, *first, _count(room.order_count), _count(room.unit_count))


def _count(left: float) -> int | None:
    return None if isinf(left) else int(left)
