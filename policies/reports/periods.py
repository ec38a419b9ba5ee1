"""The periods of a report: hours, days, weeks and months as the clock of a time zone shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

HOUR, DAY, WEEK, MONTH = STEPS = ("hour", "day", "week", "month")
_ONE_DAY = timedelta(days=1)


def boundaries(since: datetime, until: datetime, step: str | None, zone: ZoneInfo, most: int) -> list[datetime]:
    """The starts of the periods from `since` on, and `until` at the end, in UTC; one period if `step` is None.

    The first and the last period may be shorter than the others. A day is from midnight to midnight, and has 23 or 25
    hours where clocks change. Raises ValueError if there are more than `most` periods.
    """
    starts = [since.astimezone(UTC)]
    following = None if step is None else _FOLLOWING[step]
    while following is not None:
        start = following(starts[-1], zone)
        if start >= until:
            break
        if len(starts) == most:
            raise ValueError(f"there are more than {most:,} periods")
        starts.append(start)
    return [*starts, until.astimezone(UTC)]


def periods(boundaries: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
    """The start and the end of each period."""
    return list(pairwise(boundaries))


def _next_hour(moment: datetime, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone)
    # Counted in UTC: the hour that clocks repeat in autumn is two hours.
    return moment + timedelta(hours=1) - timedelta(minutes=local.minute, seconds=local.second) - _fraction(local)


def _fraction(local: datetime) -> timedelta:
    return timedelta(microseconds=local.microsecond)


def _midnight(day: datetime, zone: ZoneInfo) -> datetime:
    return datetime.combine(day.date(), time(), zone).astimezone(UTC)


def _next_day(moment: datetime, zone: ZoneInfo) -> datetime:
    return _midnight(moment.astimezone(zone).replace(tzinfo=None) + _ONE_DAY, zone)


def _next_week(moment: datetime, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone).replace(tzinfo=None)
    return _midnight(local + timedelta(days=7 - local.weekday()), zone)


def _next_month(moment: datetime, zone: ZoneInfo) -> datetime:
    local = moment.astimezone(zone).replace(tzinfo=None, day=1)
    return _midnight((local + timedelta(days=32)).replace(day=1), zone)


_FOLLOWING: dict[str, Callable[[datetime, ZoneInfo], datetime]] = {
    HOUR: _next_hour,
    DAY: _next_day,
    WEEK: _next_week,
    MONTH: _next_month,
}
