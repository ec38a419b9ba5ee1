"""Working hours of locations: the API's times, weekdays and dates as columns, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, time
from typing import Any

import asyncpg
from google.type.date_pb2 import Date
from google.type.dayofweek_pb2 import DayOfWeek
from google.type.timeofday_pb2 import TimeOfDay

from policies.domain.day_hours import DayHours, opens_before
from policies.domain.model import EVERY_DAY
from service import limits
from service.rpc.validation import Fields
from truestock.v1 import catalog_service_pb2 as catalog_pb

Row = asyncpg.Record | Mapping[str, Any]
_Hours = catalog_pb.WorkingTime | catalog_pb.WeekdayHours


def columns(fields: Fields, at: str, message: catalog_pb.WorkingTime) -> dict[str, Any]:
    """The columns of a location's working time; unset means every day, all day."""
    usual = _hours(fields, at, message)
    opening_days = _days(fields, f"{at}.opening_days", message)
    return {
        "cut_off": usual.cut_off,
        "opening_days": opening_days,
        "opens": usual.opens,
        "closes": usual.closes,
        "holidays": _holidays(fields, f"{at}.holidays", message),
        **_weekday_columns(fields, f"{at}.weekday_hours", message, opening_days),
        "closed_on_public_holidays": message.closed_on_public_holidays,
    }


def weekday_hours_of(row: Row) -> tuple[tuple[int, DayHours], ...]:
    """What differs on some weekdays, as `Location.weekday_hours` has it."""
    times = list(zip(row["weekday_opens"], row["weekday_closes"], row["weekday_cut_offs"], strict=True))
    return tuple((day, DayHours(*of_day)) for day, of_day in enumerate(times) if any(x is not None for x in of_day))


def message_of(row: Row) -> catalog_pb.WorkingTime | None:
    """A location's working time; None for every day, all day."""
    days = [] if frozenset(row["opening_days"]) == EVERY_DAY else [day + 1 for day in row["opening_days"]]
    working_time = catalog_pb.WorkingTime(
        opening_days=days,
        holidays=date_messages(row["holidays"]),
        closed_on_public_holidays=row["closed_on_public_holidays"],
    )
    _set_hours(working_time, DayHours(row["opens"], row["closes"], row["cut_off"]))
    for day, hours in weekday_hours_of(row):
        _set_hours(working_time.weekday_hours.add(day=day + 1), hours)
    return working_time if working_time.ByteSize() else None


def date_messages(days: Iterable[date]) -> list[Date]:
    """Dates as messages."""
    return [Date(year=day.year, month=day.month, day=day.day) for day in days]


def _set_hours(message: _Hours, hours: DayHours) -> None:
    for name, moment in (("cut_off", hours.cut_off), ("opens", hours.opens), ("closes", hours.closes)):
        if moment is not None:
            # An unset time differs from midnight, so presence is set separately from the value.
            getattr(message, name).SetInParent()
            getattr(message, name).MergeFrom(TimeOfDay(hours=moment.hour, minutes=moment.minute))


def _hours(fields: Fields, at: str, message: _Hours) -> DayHours:
    opens, closes = _time(fields, at, message, "opens"), _time(fields, at, message, "closes")
    if (opens is None) is not (closes is None):
        unset = "closes" if closes is None else "opens"
        fields.wrong(f"{at}.{unset}", "must be set too: opens and closes are both or neither")
    if opens is not None and closes is not None and not opens_before(opens, closes):
        fields.wrong(f"{at}.closes", f"is {closes:%H:%M}; it must be after opens, {opens:%H:%M}, or 24:00")
    return DayHours(opens, closes, _time(fields, at, message, "cut_off"))


def _weekday_columns(
    fields: Fields, at: str, message: catalog_pb.WorkingTime, opening_days: Sequence[int]
) -> dict[str, list[time | None]]:
    by_day: dict[int, DayHours] = {}
    if fields.size(at, message.weekday_hours, 0, len(EVERY_DAY)):
        for index, entry in enumerate(message.weekday_hours):
            day = fields.whole_number(f"{at}[{index}].day", entry.day, 1, len(EVERY_DAY)) - 1
            name = DayOfWeek.Name(entry.day) if entry.day in DayOfWeek.values() else ""
            if day in by_day:
                fields.wrong(f"{at}[{index}].day", f"{name} is stated twice; state each weekday once")
            elif day in EVERY_DAY and day not in opening_days:
                fields.wrong(f"{at}[{index}].day", f"{name} is not one of the opening_days; add it there")
            by_day[day] = _hours(fields, f"{at}[{index}]", entry)
            if by_day[day] == DayHours():
                fields.wrong(f"{at}[{index}]", "states neither hours nor a cut-off; set them or leave the day out")
    days = [by_day.get(day, DayHours()) for day in sorted(EVERY_DAY)] if by_day else []
    return {
        "weekday_opens": [hours.opens for hours in days],
        "weekday_closes": [hours.closes for hours in days],
        "weekday_cut_offs": [hours.cut_off for hours in days],
    }


def _time(fields: Fields, at: str, message: _Hours, name: str) -> time | None:
    if not message.HasField(name):  # type: ignore[arg-type]
        return None
    stated: TimeOfDay = getattr(message, name)
    if name == "closes" and (stated.hours, stated.minutes) == (24, 0):
        return time.min
    try:
        return time(stated.hours, stated.minutes)
    except ValueError:
        fields.wrong(f"{at}.{name}", f"is {stated.hours}:{stated.minutes:02}; it must be 0:00 to 23:59")
        return None


def _days(fields: Fields, at: str, message: catalog_pb.WorkingTime) -> list[int]:
    for index, day in enumerate(message.opening_days):
        fields.whole_number(f"{at}[{index}]", day, 1, 7)
    return sorted({day - 1 for day in message.opening_days}) or sorted(EVERY_DAY)


def _holidays(fields: Fields, at: str, message: catalog_pb.WorkingTime) -> list[date]:
    holidays: set[date] = set()
    if fields.size(at, message.holidays, 0, limits.HOLIDAYS):
        for index, day in enumerate(message.holidays):
            try:
                holidays.add(date(day.year, day.month, day.day))
            except ValueError:
                fields.wrong(f"{at}[{index}]", f"{day.year}-{day.month}-{day.day} is not a calendar date")
    return sorted(holidays)
