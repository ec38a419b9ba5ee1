"""The days, and where a location limits them the hours, in which it could handle an order."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from math import inf
from typing import NamedTuple

from policies.domain.calendars import closing_time, handled_by, local_time, opening_time
from policies.domain.capacity import CapacityFigures
from policies.domain.model import Location
from policies.domain.remembered import remember

DAY_KNOWN_FOR = timedelta(minutes=5)
"""For which the day on which a location handles an order is worked out at once, if it stays the same until then."""
REMEMBERED_LOCATIONS = 4_096
_DAY = timedelta(days=1)
_INSTANT = timedelta(microseconds=1)


class HandlingTime(NamedTuple):
    """The day in the location's own calendar on which it handles an order, and the hour where it limits hours."""

    day: date
    hour: int | None = None


def first_handling_time(location: Location, now: datetime) -> HandlingTime | None:
    """When the location would handle an order received now; None if there is no such day (`handled_by`).

    That is when the order is ready. An order at a location without a handling time is ready when work on it starts.
    """
    if not _is_hourly(location):
        return _first_day(location, now)
    handled = _handled_by(location, now)
    if handled is None:
        return None
    day, ready = handled
    return HandlingTime(day, _hour_of(location, day, ready))


def _first_day(location: Location, now: datetime) -> HandlingTime | None:
    """When a location that limits no hours would handle an order.

    An order that is received later is never handled earlier. So the day of two moments is that of all between them.
    """
    known = _first_days.get(id(location))
    if known is not None and known[0] is location and known[1] <= now <= known[2]:
        return known[3]
    until = now + DAY_KNOWN_FOR
    later, handled = _handled_by(location, until), _handled_by(location, now)
    if handled is None:
        return None
    first = HandlingTime(handled[0])
    same_until = until if later and later[0] == first.day else now
    remember(_first_days, id(location), (location, now, same_until, first), at_most=REMEMBERED_LOCATIONS)
    return first


_first_days: dict[int, tuple[Location, datetime, datetime, HandlingTime]] = {}
"""By the location's identity: from when until when an order would be handled on which day."""


def handling_times(location: Location, now: datetime, *, until: date | None = None) -> Iterator[HandlingTime]:
    """When a location with a capacity could handle an order received now, the earliest time first.

    After the first time come the later hours of that day and then the next opening days, from opening to closing: at
    most `days_ahead` days after the first one, and none after `until`.
    """
    first = first_handling_time(location, now)
    if first is None or location.capacity is None:
        return
    yield from _hours(location, first)
    last = first.day + timedelta(days=location.capacity.days_ahead)
    last = last if until is None else min(last, until)
    day = first.day + _DAY
    while day <= last:
        if location.opens_on(day):
            hour = _hour_of(location, day, opening_time(location, day)) if first.hour is not None else None
            yield from _hours(location, HandlingTime(day, hour))
        day += _DAY


def rooms_by_day(location: Location, now: datetime, figures: CapacityFigures) -> Iterator[tuple[date | None, float]]:
    """The days on which a location could handle one order received now, with the most units of it.

    A day comes again for each of its hours where these are limited, and is left out without room. Without a limit it is
    one entry: no day, and infinite units.
    """
    if location.capacity is None:
        yield None, inf
        return
    for time in handling_times(location, now):
        room = figures.room(location.id, location.capacity, *time)
        if room.fits(1):
            yield time.day, room.unit_count


def most_of_one_order(location: Location, now: datetime, figures: CapacityFigures) -> float:
    """The most units of one order that a location could handle on one of its days; 0 if it is full."""
    return max([units for _, units in rooms_by_day(location, now, figures)], default=0)


def last_day_before(location: Location, moment: datetime) -> date:
    """The local day of the last instant before a moment: an order due at midnight is due on the day that ends then."""
    return local_time(moment - _INSTANT, location.time_zone).date()


def _handled_by(location: Location, now: datetime) -> tuple[date, datetime] | None:
    return handled_by(location, now, 0)


def _is_hourly(location: Location) -> bool:
    return location.capacity is not None and location.capacity.is_hourly


def _hours(location: Location, first: HandlingTime) -> Iterator[HandlingTime]:
    """The time and, where hours are limited, those of the later hours of its day up to closing."""
    if first.hour is None:
        yield first
        return
    last = _hour_of(location, first.day, closing_time(location, first.day))
    for hour in range(first.hour, max(first.hour, last) + 1):
        yield HandlingTime(first.day, hour)


def _hour_of(location: Location, day: date, moment: datetime) -> int:
    """The local hour of a moment of the day; what is ready at closing is handled in the hour before."""
    if moment >= closing_time(location, day).astimezone(UTC):
        moment = closing_time(location, day) - _INSTANT
    return local_time(moment, location.time_zone).hour
