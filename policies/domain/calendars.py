"""A location's local time, opening hours, ship day and ship-by time, and the delivery day of a parcel.

Days follow the wall clock, so that a change to or from daylight saving time moves no date.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from policies.domain.model import EVERY_DAY, Location

MAX_DAYS_AHEAD = 500
"""How many days ahead are searched; 60 days of transit on one day a week take 420 days."""

_DAY = timedelta(days=1)
_MINUTES_A_DAY = 24 * 60

DayFilter = Callable[[date], bool]
"""Whether a day meets a condition."""


def local_time(now: datetime, time_zone: str) -> datetime:
    """The time in an IANA time zone. Raises ValueError or KeyError if there is no such zone."""
    return now.astimezone(_zone(time_zone))


def is_open(location: Location, moment: datetime) -> bool | None:
    """Whether the location is open at a local time; None on an opening day if its hours are unknown."""
    if not location.opens_on(moment.date()):
        return False
    if location.opens is None or location.closes is None:
        return None
    return location.opens <= moment.time() < location.closes


def ship_day(location: Location, now: datetime, ships_on: frozenset[int]) -> date | None:
    """The local day on which the location ships an order received now.

    None if its handling time is unknown, or if there is no such day in MAX_DAYS_AHEAD days.

    Handling starts on the first opening day whose cut-off has not passed and takes `handling_minutes`; each midnight
    in them skips to the next opening day. The order ships on the first opening day among `ships_on` from then on.
    """
    if location.handling_minutes is None:
        return None
    moment = local_time(now, location.time_zone)
    day, start_time = moment.date(), max(moment.time(), location.opens or time.min)
    if not _is_before_cut_off(location, moment.time()) or not location.opens_on(day):
        day, start_time = day + _DAY, location.opens or time.min
    nights = (start_time.hour * 60 + start_time.minute + location.handling_minutes) // _MINUTES_A_DAY
    handled_on = _nth_matching_day(day, nights, location.opens_on)
    if handled_on is None:
        return None
    return _nth_matching_day(handled_on, 0, lambda day: location.opens_on(day) and day.weekday() in ships_on)


def ship_by(location: Location, now: datetime) -> datetime | None:
    """When the location should have shipped an order received now; None if it states no working times.

    That is its closing time on the day on which it ships, otherwise the end of that day, in local time. With a cut-off
    and no handling time it is the day that the cut-off names: orders up to it are handled the same day. Without
    either, opening hours alone say nothing about the day.
    """
    if location.handling_minutes is None:
        if location.cut_off is None:
            return None
        location = replace(location, handling_minutes=0)
    if location.cut_off is None and location.closes is None and not location.handling_minutes:
        return None
    day = ship_day(location, now, EVERY_DAY)
    if day is None:
        return None
    zone = _zone(location.time_zone)
    if location.closes is not None:
        return datetime.combine(day, location.closes, zone)
    return datetime.combine(day + _DAY, time.min, zone)


def delivery_day(shipped_on: date, transit_days: int, ships_on: frozenset[int]) -> date | None:
    """The day that is `transit_days` days of `ships_on` after the parcel was shipped."""
    return _nth_matching_day(shipped_on, transit_days, lambda day: day.weekday() in ships_on)


def _is_before_cut_off(location: Location, at: time) -> bool:
    # An order at the cut-off minute is still in time, so its seconds are ignored.
    return location.cut_off is None or at.replace(second=0, microsecond=0) <= location.cut_off


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
