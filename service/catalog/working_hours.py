"""Working hours of locations: the API's times, weekdays and dates as columns, and back."""

from __future__ import annotations

from datetime import date, time
from typing import Any

import asyncpg
from google.type.date_pb2 import Date
from google.type.timeofday_pb2 import TimeOfDay

from policies.domain.model import EVERY_DAY, opens_before
from service import limits
from service.rpc.validation import Fields
from truestock.v1 import catalog_service_pb2 as catalog_pb


def columns(fields: Fields, at: str, message: catalog_pb.WorkingTime) -> dict[str, Any]:
    """The columns of a location's working time; unset means every day, all day."""
    opens, closes = _time(fields, at, message, "opens"), _time(fields, at, message, "closes")
    if (opens is None) is not (closes is None):
        fields.wrong(
            f"{at}.closes" if opens else f"{at}.opens", "must be set too: opens and closes are both or neither"
        )
    if opens is not None and closes is not None and not opens_before(opens, closes):
        fields.wrong(f"{at}.closes", f"is {closes:%H:%M}; it must be after opens, {opens:%H:%M}, or 24:00")
    return {
        "cut_off": _time(fields, at, message, "cut_off"),
        "opening_days": _days(fields, f"{at}.opening_days", message),
        "opens": opens,
        "closes": closes,
        "holidays": _holidays(fields, f"{at}.holidays", message),
    }


def message_of(row: asyncpg.Record) -> catalog_pb.WorkingTime | None:
    """A location's working time; None for every day, all day."""
    days = [] if frozenset(row["opening_days"]) == EVERY_DAY else [day + 1 for day in row["opening_days"]]
    working_time = catalog_pb.WorkingTime(
        opening_days=days,
        holidays=[Date(year=day.year, month=day.month, day=day.day) for day in row["holidays"]],
    )
    for name in ("cut_off", "opens", "closes"):
        if row[name] is not None:
            # An unset time differs from midnight, so presence is set separately from the value.
            getattr(working_time, name).SetInParent()
            getattr(working_time, name).MergeFrom(TimeOfDay(hours=row[name].hour, minutes=row[name].minute))
    return working_time if working_time.ByteSize() else None


def _time(fields: Fields, at: str, message: catalog_pb.WorkingTime, name: str) -> time | None:
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
