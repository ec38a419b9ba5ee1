"""When rules are in force: moments and hours of the week, as true-or-false facts about the clock.

A fact's name says all of it, so that equal bounds are one fact wherever they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from policies.domain.calendars import local_time
from policies.domain.model import Context

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WHOLE_DAY = 24 * 60
"""Minutes."""

AT_LOCATION = "location"
"""Stands for the time zone of the location that the rule is asked about."""

TimeFactReader = Callable[[Context], bool | None]

_FROM, _DURING = "from", "during"


def moment_fact(moment: datetime) -> str:
    """The name of the fact that a moment has come: true at the moment and ever after."""
    return f"{_FROM} {moment.astimezone(UTC).isoformat()}"


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours that begin on some days of the week, by the clock on the wall of a time zone.

    `start` and `end` are minutes of the day; hours whose end is not after their start end on the next day. `days`
    count from 0, which is Monday.
    """

    days: tuple[int, ...]
    start: int
    end: int
    zone: str

    @property
    def name(self) -> str:
        """The name of the fact that it is now within these hours."""
        days = ",".join(DAYS[day] for day in self.days)
        return f"{_DURING} {days} {_clock(self.start)}-{_clock(self.end)} {self.zone}"

    def hold(self, context: Context) -> bool | None:
        """Whether it is within these hours; unknown where they are a location's and there is none."""
        zone = self.zone
        if zone == AT_LOCATION:
            if context.location is None:
                return None
            zone = context.location.time_zone
        return self._hold_at(local_time(context.now, zone))

    def _hold_at(self, moment: datetime) -> bool:
        day, minute = moment.weekday(), moment.hour * 60 + moment.minute
        if self.start < self.end:
            return self.start <= minute < self.end and day in self.days
        begun_yesterday = minute < self.end and (day - 1) % 7 in self.days
        return begun_yesterday or (minute >= self.start and day in self.days)


def time_fact_reader(name: str) -> TimeFactReader | None:
    """How the fact of this name is read; None where it is no fact of time."""
    match name.split(" "):
        case [word, moment] if word == _FROM:
            came = datetime.fromisoformat(moment)
            return lambda context: context.now >= came
        case [word, days, hours, zone] if word == _DURING:
            start, _, end = hours.partition("-")
            return Hours(tuple(DAYS.index(day) for day in days.split(",")), minutes(start), minutes(end), zone).hold
        case _:
            return None


def minutes(clock: str) -> int:
    """The minutes of the day of a time such as '09:30'. '24:00' is the day's end."""
    hour, _, minute = clock.partition(":")
    return int(hour) * 60 + int(minute)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
