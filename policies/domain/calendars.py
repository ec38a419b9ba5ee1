"""A location's local time, opening hours, ship day and ship-by time, and the delivery day of a parcel.

Days follow the wall clock, so that a change to or from daylight saving time moves no date.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from policies.domain.day_hours import DayHours
from policies.domain.model import EVERY_DAY, Location
from policies.domain.remembered import remember

MAX_DAYS_AHEAD = 500
"""How many days ahead are searched; 60 days of transit on one day a week take 420 days."""

REMEMBERED_LOCATIONS = 4_096
"""Locations of which it is remembered by when they handle an order. When there are more, all are forgotten."""

_DAY = timedelta(days=1)

DayFilter = Callable[[date], bool]
"""Whether a day meets a condition."""


def local_time(now: datetime, time_zone: str) -> datetime:
    """The time in an IANA time zone. Raises ValueError or KeyError if there is no such zone."""
    return now.astimezone(_zone(time_zone))


def is_open(location: Location, moment: datetime) -> bool | None:
    """Whether the location is open at a local time; None on an opening day if its hours are unknown."""
    return location.hours_on(moment.date()).include(moment.time()) if location.opens_on(moment.date()) else False


def handled_by(location: Location, now: datetime, unstated_minutes: int | None = None) -> tuple[date, datetime] | None:
    """The local day on which, and the moment at which, an order received now is ready to leave the location.

    Work starts at once, or at the next opening if the location is closed or the cut-off has passed. It takes
    `handling_minutes` of opening hours: what does not fit before closing continues on the next opening day. An opening
    day without stated hours lasts from midnight to midnight. None if the handling time is unknown, or if the work needs
    more than MAX_DAYS_AHEAD days. `unstated_minutes` are the handling time of a location that states none.
    """
    minutes = unstated_minutes if location.handling_minutes is None else location.handling_minutes
    if minutes is None:
        return None
    # All orders of a batch are received at one moment, and each asks for many of the same locations.
    known = _handled.get((id(location), minutes))
    if known is not None and known[0] is location and known[1] == now:
        return known[2]
    handled = _handled_by(location, now, minutes)
    remember(_handled, (id(location), minutes), (location, now, handled), at_most=REMEMBERED_LOCATIONS)
    return handled


_handled: dict[tuple[int, int], tuple[Location, datetime, tuple[date, datetime] | None]] = {}
"""The newest answers of `handled_by`, by the location's identity: to hash it takes as long as to find the day."""


def _handled_by(location: Location, now: datetime, minutes: int) -> tuple[date, datetime] | None:
    now, remaining = now.astimezone(UTC), timedelta(minutes=minutes)
    moment = local_time(now, location.time_zone)
    is_in_time = location.hours_on(moment.date()).is_before_cut_off(moment.time())
    day = moment.date() if is_in_time else moment.date() + _DAY
    for _ in range(MAX_DAYS_AHEAD):
        if location.opens_on(day):
            hours = location.hours_on(day)
            opening, closing = max(now, _opening(location, day, hours)), _closing(location, day, hours)
            ready = opening + remaining
            # What is ready at a stated closing time can still leave. Midnight alone already belongs to the next day.
            if opening < closing and (ready < closing or (ready == closing and hours.closes is not None)):
                return day, ready
            # Elapsed time is counted in UTC, so that an hour of work takes an hour on a day that changes the clock.
            remaining -= max(timedelta(), closing - opening)
        day += _DAY
    return None


def ship_day(location: Location, now: datetime, ships_on: frozenset[int]) -> date | None:
    """The local day on which the location ships an order received now.

    None if its handling time is unknown, or if there is no such day in MAX_DAYS_AHEAD days.

    That is the first opening day among `ships_on` from the day on which the order is ready (`handled_by`).
    """
    handled = handled_by(location, now)
    return None if handled is None else first_ship_day(location, handled[0], ships_on)


def first_ship_day(location: Location, start: date, ships_on: frozenset[int]) -> date | None:
    """The first opening day among `ships_on` from `start` on; None if there is none in MAX_DAYS_AHEAD days."""
    return _nth_matching_day(start, 0, lambda day: location.opens_on(day) and day.weekday() in ships_on)


def ready_by(location: Location, now: datetime) -> tuple[date, datetime] | None:
    """As `handled_by`; a location that states a cut-off and no handling time is ready when it begins with the order."""
    return handled_by(location, now, 0 if location.states_cut_off() else None)


def ship_by(location: Location, now: datetime, ships_on: frozenset[int] = EVERY_DAY) -> datetime | None:
    """When the location should have shipped an order received now; None if it states no working times.

    That is its closing time on the day among `ships_on` on which it ships, otherwise the end of that day, in local
    time. With a cut-off and no handling time it is the day that the cut-off names: orders up to it are handled the same
    day. Without either, opening hours alone say nothing about the day.
    """
    ready = ready_by(location, now)
    day = None if ready is None else first_ship_day(location, ready[0], ships_on)
    return None if day is None else due_time(location, day)


def due_time(location: Location, ships_on: date) -> datetime | None:
    """By when what the location ships on a day should have left it, in local time; see `ship_by`."""
    if not (location.states_cut_off() or location.states_hours() or location.handling_minutes):
        return None
    return closing_time(location, ships_on).astimezone(_zone(location.time_zone))


def opening_time(location: Location, day: date) -> datetime:
    """When the location opens on an opening day, in UTC; midnight if it states no hours."""
    return _opening(location, day, location.hours_on(day))


def closing_time(location: Location, day: date) -> datetime:
    """When the location closes on an opening day, in UTC; the end of the day if it states no hours."""
    return _closing(location, day, location.hours_on(day))


def end_of_day(day: date, time_zone: str) -> datetime:
    """Midnight at the end of a day, in an IANA time zone."""
    return datetime.combine(day + _DAY, time.min, _zone(time_zone))


def delivery_day(shipped_on: date, transit_days: int, ships_on: frozenset[int]) -> date | None:
    """The day that is `transit_days` days of `ships_on` after the parcel was shipped."""
    return _nth_matching_day(shipped_on, transit_days, lambda day: day.weekday() in ships_on)


def _opening(location: Location, day: date, hours: DayHours) -> datetime:
    """When the location opens on an opening day with these hours, in UTC."""
    return datetime.combine(day, hours.opens or time.min, _zone(location.time_zone)).astimezone(UTC)


def _closing(location: Location, day: date, hours: DayHours) -> datetime:
    """When the location closes on an opening day with these hours, in UTC; the end of the day if it states none."""
    end = (day, hours.closes) if hours.closes and not hours.close_at_midnight else (day + _DAY, time.min)
    return datetime.combine(*end, _zone(location.time_zone)).astimezone(UTC)


def _nth_matching_day(start: date, count: int, matches: DayFilter) -> date | None:
    """The matching day that comes `count` matching days after the first one from `start` on."""
    day = start
    for _ in range(MAX_DAYS_AHEAD):
        if matches(day):
            if not count:
                return day
            count -= 1
        day += _DAY
    return None


@cache
def _zone(name: str) -> ZoneInfo:
    # ZoneInfo itself caches only a few zones. A chain has more, and each one that drops out is read from disk again.
    return ZoneInfo(name)
