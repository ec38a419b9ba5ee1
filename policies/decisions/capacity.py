"""Limits an order to what locations can still handle: a full location takes it for a later day, or is dropped."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from functools import partial
from itertools import chain

from policies.decisions.deadlines import keeps_dates
from policies.decisions.kits.kit_limits import KitLimit
from policies.decisions.order_limits import UsableUnits
from policies.decisions.planning.planning_memory import PolicyView
from policies.domain.capacity import CapacityFigures, Room
from policies.domain.demand import DemandPart
from policies.domain.handling_times import HandlingTime, handling_times, last_day_before
from policies.domain.model import Location, Order
from policies.explanation import DroppedLocation, DropReason

NO_KIT_LIMITS: Mapping[str, KitLimit] = {}


def within_capacity(
    view: PolicyView,
    order: Order,
    usable: UsableUnits,
    parts: Sequence[DemandPart] = (),
    kits: Mapping[str, KitLimit] = NO_KIT_LIMITS,
) -> UsableUnits:
    """The units that the order may use of those, at most as many at each location as it can handle at one time.

    That time is the first one that has room for all that the order could get there, else the one with the most room. If
    it has room for some of those units only, SKUs get it in the order of the lines. If the order has `parts`, they get
    it in their order, each for whole sets, such as kits; the components of kits that may be split get it kit by kit, so
    that none of them uses up the room of the others. `kits` are the limits of rules of the kits' own. A location
    without room at any time is dropped: no time is later than its `days_ahead` or, beyond the first day, than the
    `ship_by_time` of the order, and none is so late that the location would not keep a date which the policy makes it
    meet.
    """
    if not view.memory.limited_ids:
        return usable
    demand = order.units_by_sku()
    may_be_full = _may_be_full(view, sum(demand.values()))
    crowded = may_be_full and may_be_full.intersection(chain.from_iterable(usable.units.values()))
    if not crowded:
        return usable
    units = {sku: dict(by_location) for sku, by_location in usable.units.items()}
    beyond: dict[str, dict[str, int]] = {}
    dropped: list[DroppedLocation] = []
    for location_id in sorted(crowded):
        view.question.world.pause()
        there = {sku: count for sku, by_location in units.items() if (count := by_location.get(location_id, 0))}
        wanted = _wanted_at(location_id, parts) if parts else demand
        wanted = {sku: min(count, wanted.get(sku, 0)) for sku, count in there.items() if wanted.get(sku)}
        total = sum(wanted.values())
        if not total:
            continue
        found = _time_with_room(view, order, location_id, total)
        if found is not None and found[1].fits(total):
            continue
        left = 0 if found is None else int(found[1].unit_count)
        given = _whole_sets(location_id, parts, kits, there, left) if parts else _in_line_order(wanted, left)
        if not given:
            dropped.append(DroppedLocation(location_id, None, DropReason.CAPACITY))
        for sku in wanted:
            del units[sku][location_id]
            if sku in given:
                units[sku][location_id] = given[sku]
            beyond.setdefault(sku, {})[location_id] = there[sku] - given.get(sku, 0)
    if not beyond:
        return usable
    return replace(usable, units=units, dropped=(*usable.dropped, *dropped), beyond_capacity=beyond)


def _may_be_full(view: PolicyView, unit_count: int) -> set[str] | frozenset[str]:
    """The locations that may lack room for so many units at the first time at which they would handle them.

    Most have it, and to look for a time costs more than all else that an order asks of a location.
    """
    world = view.question.world
    if view.late is not None:
        return view.memory.limited_ids
    return view.memory.first_days.tight(world.now, world.capacity_figures, unit_count)


def _wanted_at(location_id: str, parts: Sequence[DemandPart]) -> dict[str, int]:
    """Units by SKU of the parts that may ship from the location."""
    wanted: dict[str, int] = {}
    for part in parts:
        if part.placement.allows(location_id):
            for sku, count in part.units.items():
                wanted[sku] = wanted.get(sku, 0) + count * part.set_count
    return wanted


def _in_line_order(wanted: Mapping[str, int], left: int) -> dict[str, int]:
    """The units by SKU that get the room that is left, none of them 0."""
    given: dict[str, int] = {}
    for sku, count in wanted.items():
        if left and count:
            given[sku] = min(count, left)
            left -= given[sku]
    return given


def _whole_sets(
    location_id: str, parts: Sequence[DemandPart], kits: Mapping[str, KitLimit], there: Mapping[str, int], left: int
) -> dict[str, int]:
    """As `_in_line_order`, for whole sets of the parts that may ship from the location."""
    remaining, given = dict(there), dict[str, int]()
    remaining.update({sku: limit.units.get(location_id, 0) for sku, limit in kits.items()})
    split_lines: set[str] = set()
    for part in parts:
        if not part.placement.allows(location_id):
            continue
        if part.split_kit is not None:
            if part.split_kit.line_id in split_lines:
                continue
            split_lines.add(part.split_kit.line_id)
            for sku, count in _kit_by_kit(part.split_kit.line_id, parts, remaining, left).items():
                remaining[sku] -= count
                given[sku] = given.get(sku, 0) + count
                left -= count
            continue
        sets = min([part.set_count, left // part.set_size, *(remaining.get(x, 0) // n for x, n in part.needs.items())])
        for sku, count in part.needs.items() if sets else ():
            remaining[sku] -= sets * count
        for sku, count in part.units.items() if sets else ():
            given[sku] = given.get(sku, 0) + sets * count
        left -= sets * part.set_size
    return given


def _kit_by_kit(
    line_id: str, parts: Sequence[DemandPart], remaining: Mapping[str, int], left: int
) -> Mapping[str, int]:
    """The units by SKU that the components of a kit which may be split get of the room that is left.

    They get the room of one kit after the other, and of the last one in the order of its components, as far as the
    location has them.
    """
    members = [(part, part.split_kit) for part in parts if part.split_kit and part.split_kit.line_id == line_id]
    wanted = {
        sku: (min(part.set_count, remaining.get(sku, 0)), kit.unit_count) for part, kit in members for sku in part.units
    }

    def taken(kit_count: int) -> int:
        return sum(min(count, kit_count * size) for count, size in wanted.values())

    kit_count = bisect_right(range(max(-(-count // size) for count, size in wanted.values()) + 1), left, key=taken) - 1
    given = {sku: min(count, kit_count * size) for sku, (count, size) in wanted.items()}
    spare = left - taken(kit_count)
    for sku, (count, size) in wanted.items():
        more = min(count - given[sku], size, spare)
        given[sku], spare = given[sku] + more, spare - more
    return {sku: count for sku, count in given.items() if count}


def planned_handling(view: PolicyView, order: Order, location_id: str, unit_count: int) -> HandlingTime | None:
    """When the location handles a shipment of this many units: the first time that has room; None if none has."""
    world = view.question.world
    if view.late is None:
        first = view.memory.first_days.time_with_room(location_id, world.now, world.capacity_figures, unit_count)
        if first is not None:
            return first
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
