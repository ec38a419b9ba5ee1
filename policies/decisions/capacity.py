"""Limits an order to what locations can still handle: a full location takes it for a later day, or is dropped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from functools import partial

from policies.decisions.deadlines import keeps_dates
from policies.decisions.order_limits import UsableUnits
from policies.decisions.planning.planning_memory import PolicyView
from policies.domain.capacity import CapacityFigures, Room
from policies.domain.handling_times import HandlingTime, handling_times, last_day_before
from policies.domain.model import Location, Order
from policies.explanation import DroppedLocation, DropReason


def within_capacity(view: PolicyView, order: Order, usable: UsableUnits) -> UsableUnits:
    """The units that the order may use of those, at most as many at each location as it can handle at one time.

    That time is the first one that has room for all that the order could get there, else the one with the most room. If
    it has room for some of those units only, SKUs get it in the order of the lines. A location without room at any time
    is dropped: no time is later than its `days_ahead` or, beyond the first day, than the `ship_by_time` of the order,
    and none is so late that the location would not keep a date which the policy makes it meet.
    """
    if not view.memory.limited_ids:
        return usable
    demand = order.units_by_sku()
    units = {sku: dict(by_location) for sku, by_location in usable.units.items()}
    beyond: dict[str, dict[str, int]] = {}
    dropped: list[DroppedLocation] = []
    offering = {location_id for by_location in units.values() for location_id in by_location}
    for location_id in sorted(offering & view.memory.limited_ids):
        view.question.world.pause()
        wanted = {sku: min(count, units.get(sku, {}).get(location_id, 0)) for sku, count in demand.items()}
        total = sum(wanted.values())
        found = _time_with_room(view, order, location_id, total)
        if found is None:
            dropped.append(DroppedLocation(location_id, None, DropReason.CAPACITY))
        elif found[1].fits(total):
            continue
        left = 0 if found is None else int(found[1].unit_count)
        for sku in (sku for sku, count in wanted.items() if count):
            there = units[sku].pop(location_id)
            kept = min(wanted[sku], left)
            left -= kept
            if kept:
                units[sku][location_id] = kept
            beyond.setdefault(sku, {})[location_id] = there - kept
    if not beyond:
        return usable
    return replace(usable, units=units, dropped=(*usable.dropped, *dropped), beyond_capacity=beyond)


def planned_handling(view: PolicyView, order: Order, location_id: str, unit_count: int) -> HandlingTime | None:
    """When the location handles a shipment of this many units: the first time that has room; None if none has."""
    found = _time_with_room(view, order, location_id, unit_count)
    return None if found is None else found[0]


def _time_with_room(
    view: PolicyView, order: Order, location_id: str, unit_count: int
) -> tuple[HandlingTime, Room] | None:
    world, number = view.question.world, view.memory.numbers[location_id]
    location, keeps = view.memory.locations[number], None
    # A location that is too late already has only units that were promised to the order before.
    if view.late is not None and view.late[number] is None:
        keeps = partial(keeps_dates, view.policy_set, view.policy, view.question, location)
    return time_with_room(
        *(location, world.now, world.capacity_figures, unit_count),
        ship_by_time=order.ship_by_time,
        keeps_dates_on=keeps,
    )


def time_with_room(
    location: Location,
    now: datetime,
    figures: CapacityFigures,
    unit_count: int,
    *,
    ship_by_time: datetime | None,
    keeps_dates_on: Callable[[date], bool] | None = None,
) -> tuple[HandlingTime, Room] | None:
    """The first time with room for one order of these units, else the one with room for most of them; None if none.

    `keeps_dates_on` says whether the order's dates are kept if it is handled on a day; those after one on which they
    are not keep them neither.
    """
    best: tuple[HandlingTime, Room] | None = None
    if location.capacity is None:
        return None
    until = None if ship_by_time is None else last_day_before(location, ship_by_time)
    for time in handling_times(location, now, until=until):
        if keeps_dates_on is not None and not keeps_dates_on(time.day):
            break
        room = figures.room(location.id, location.capacity, *time)
        if room.fits(unit_count):
            return time, room
        if room.fits(1) and (best is None or room.unit_count > best[1].unit_count):
            best = time, room
    return best
