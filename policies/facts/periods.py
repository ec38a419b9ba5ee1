"""When rules are in force: points in time and hours of the week, as true-or-false facts.

The name of such a fact states its whole content, so equal bounds in different rules are the same fact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from policies.domain.calendars import local_time
from policies.domain.model import Context

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WHOLE_DAY = 24 * 60
"""Minutes in a day."""

AT_LOCATION = "location"
"""Stands for the time zone of the location for which the rule is evaluated."""

TimeFactReader = Callable[[Context], bool | None]

_FROM, _DURING = "from", "during"


def moment_fact(moment: datetime) -> str:
    """The name of the fact that is true from this moment on."""
    return f"{_FROM} {moment.astimezone(UTC).isoformat()}"


@dataclass(frozen=True, slots=True)
class Hours:
    """Hours that start on some days of the week, by the local time of a time zone.

    `start` and `end` are minutes of the day. If `end` is not after `start`, the hours end on the next day. In `days`,
    0 is Monday.
    """

    days: tuple[int, ...]
    start: int
    end: int
    zone: str

    @property
    def name(self) -> str:
        """The name of the fact that is true during these hours."""
        days = ",".join(DAYS[day] for day in self.days)
        return f"{_DURING} {days} {_clock(self.start)}-{_clock(self.end)} {self.zone}"

    def include_now(self, context: Context) -> bool | None:
        """Whether the context's time is within these hours; None if they need a location, and none is known."""
        zone = self.zone
        if zone == AT_LOCATION:
            if context.location is None:
                return None
            zone = context.location.time_zone
        return self._include(local_time(context.now, zone))

    def _include(self, moment: datetime) -> bool:
        day, minute = moment.weekday(), moment.hour * 60 + moment.minute
        if self.start < self.end:
            return self.start <= minute < self.end and day in self.days
        started_yesterday = minute < self.end and (day - 1) % 7 in self.days
        return started_yesterday or (minute >= self.start and day in self.days)


def time_fact_reader(name: str) -> TimeFactReader | None:
    """How the fact of this name is read; None if it is not a fact about time."""
    match name.split(" "):
        case [word, moment] if word == _FROM:
            start_time = datetime.fromisoformat(moment)
            return lambda context: context.now >= start_time
        case [word, days, hours, zone] if word == _DURING:
            start, _, end = hours.partition("-")
            day_numbers = tuple(DAYS.index(day) for day in days.split(","))
            return Hours(day_numbers, minutes(start), minutes(end), zone).include_now
        case _:
            return None


def minutes(clock: str) -> int:
    """The minutes since midnight of a time such as '09:30'. '24:00' is the end of the day."""
    hour, _, minute = clock.partition(":")
    return int(hour) * 60 + int(minute)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
