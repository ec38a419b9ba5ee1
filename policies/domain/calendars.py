"""A location's own clock and calendar: local times, opening hours, and when an order that comes now leaves.

Days pass by wall-clock time, so that a change to or from summer time moves no date.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from policies.domain.model import EVERY_DAY, Location

MAX_DAYS_AHEAD = 500
"""How far ahead a day is looked for; 60 days of transit on one day a week are 420 days."""

_DAY = timedelta(days=1)
_MINUTES_A_DAY = 24 * 60

DayFilter = Callable[[date], bool]
"""Whether a day counts."""


def local_time(now: datetime, time_zone: str) -> datetime:
    """The moment by the clock of an IANA time zone. Raises ValueError or KeyError where there is no such zone."""
    return now.astimezone(_zone(time_zone))


def is_open(location: Location, moment: datetime) -> bool | None:
    """Whether the location is open at a local moment; None on an opening day where it does not say its hours."""
    if not location.opens_on(moment.date()):
        return False
    if location.opens is None or location.closes is None:
        return None
    return location.opens <= moment.time() < location.closes


def ship_day(location: Location, now: datetime, ships_on: frozenset[int]) -> date | None:
    """The local day on which an order that comes now leaves the location; None where none is near.

    It is taken up on the first opening day whose cut-off is not over, then takes `handling_minutes`, of which each
    midnight leads to the next opening day, and leaves on the first opening day among `ships_on`.
    """
    moment = local_time(now, location.time_zone)
    day, begins = moment.date(), max(moment.time(), location.opens or time.min)
    if not _is_before_cut_off(location, moment.time()) or not location.opens_on(day):
        day, begins = day + _DAY, location.opens or time.min
    nights = (begins.hour * 60 + begins.minute + location.handling_minutes) // _MINUTES_A_DAY
    handled = _nth_matching_day(day, nights, location.opens_on)
    if handled is None:
        return None
    return _nth_matching_day(handled, 0, lambda one: location.opens_on(one) and one.weekday() in ships_on)


def ship_by(location: Location, now: datetime) -> datetime | None:
    """When an order that comes now should have left the location; None where it names no working time.

    That is when it closes on the day on which it is handled, else the end of that day, by its own clock.
    """
    if location.cut_off is None and location.closes is None and not location.handling_minutes:
        return None
    day = ship_day(location, now, EVERY_DAY)
    if day is None:
        return None
    zone = _zone(location.time_zone)
    if location.closes is not None:
        return datetime.combine(day, location.closes, zone)
    return datetime.combine(day + _DAY, time.min, zone)


def delivery_day(leaves: date, transit_days: int, ships_on: frozenset[int]) -> date | None:
    """The day that is so many days of `ships_on` after the one on which a parcel leaves."""
    return _nth_matching_day(leaves, transit_days, lambda day: day.weekday() in ships_on)


def _is_before_cut_off(location: Location, at: time) -> bool:
    # An order at the cut-off minute is in time, so its seconds do not count.
    return location.cut_off is None or at.replace(second=0, microsecond=0) <= location.cut_off


def _nth_matching_day(start: date, count: int, counts: DayFilter) -> date | None:
    """The first day from `start` on that counts, and then so many further."""
    day = start
    for _ in range(MAX_DAYS_AHEAD):
        if counts(day):
            if not count:
                return day
            count -= 1
        day += _DAY
    return None


@cache
def _zone(name: str) -> ZoneInfo:
    # ZoneInfo keeps only a few zones of its own accord; a chain has more, and reading one again takes a file.
    return ZoneInfo(name)
