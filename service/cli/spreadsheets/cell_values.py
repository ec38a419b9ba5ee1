"""Reads the text of a cell as a value: ids, numbers, words, countries, times. Writes numbers and times as text."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import available_timezones

from google.type.date_pb2 import Date
from google.type.money_pb2 import Money
from google.type.timeofday_pb2 import TimeOfDay

from policies.domain.model import LEAST_VELOCITY
from policies.domain.near_names import near_name
from service import limits
from service.cli.spreadsheets.cell_text import split_list
from service.cli.spreadsheets.countries import country_code

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SHORTEST_WEEKDAY = 3


def text(limit: int) -> Callable[[str], str]:
    """Reads text of at most `limit` characters without control characters."""

    def read(cell: str) -> str:
        if len(cell) > limit:
            raise ValueError(f"{len(cell)} characters are more than {limit}; shorten it")
        if _CONTROL.search(cell):
            raise ValueError(f"{cell!r} has control characters; remove them")
        return cell

    return read


def identifier(cell: str) -> str:
    """Reads the id of a location or channel."""
    if re.fullmatch(r"[a-z0-9_-]{1,64}", cell):
        return cell
    lower = re.sub(r"[\s.]+", "-", cell.lower())
    example = f" such as {lower!r}" if re.fullmatch(r"[a-z0-9_-]{1,64}", lower) else ""
    raise ValueError(f"{cell!r} is not an id{example}; use lower-case letters, digits, '-' and '_', at most 64")


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """Reads a whole number in a range, both ends included."""

    def read(cell: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", cell):
            raise ValueError(f"{cell!r} is not a whole number; write digits only, such as 12")
        if not minimum <= int(cell) <= maximum:
            raise ValueError(f"{cell} is not between {minimum:,} and {maximum:,}; correct the number")
        return int(cell)

    return read


def number(minimum: float, maximum: float) -> Callable[[str], float]:
    """Reads a finite number in a range, both ends included."""

    def read(cell: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", cell):
            raise ValueError(f"{cell!r} is not a number; write it such as 35.15")
        value = float(cell)
        if not math.isfinite(value) or not minimum <= value <= maximum:
            raise ValueError(f"{cell} is not between {minimum:,g} and {maximum:,g}; correct the number")
        return value

    return read


def velocity(cell: str) -> float:
    """Reads units a day: 0, or a number that the API allows."""
    value = number(0, limits.VELOCITY_PER_DAY)(cell)
    if 0 < value < LEAST_VELOCITY:
        raise ValueError(f"{cell} is neither 0 nor at least {LEAST_VELOCITY:f} units a day; correct the number")
    return value


def choice(words: Mapping[str, Any]) -> Callable[[str], Any]:
    """Reads one of several words, in any case; the error names the closest word."""

    def read(cell: str) -> Any:
        if cell.lower() in words:
            return words[cell.lower()]
        near = near_name(cell, words)
        hint = f"did you mean {near!r}?" if near else f"use one of {', '.join(words)}"
        raise ValueError(f"{cell!r} is not a valid value; {hint}")

    return read


def enum_words(names: Sequence[str], prefix: str, number_of: Callable[[str], Any]) -> dict[str, Any]:
    """The values of an enum by their words: `pop_up` of `TYPE_POP_UP`."""
    return {name.removeprefix(prefix).lower(): number_of(name) for name in names if not name.endswith("UNSPECIFIED")}


def entries_of(read: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    r"""Reads entries separated by `|`, each by `read`; `\|` is a `|` inside an entry."""
    return lambda cell: [read(entry) for entry in split_list(cell)]


def country(cell: str) -> str:
    """Reads the name or code of a country."""
    code = country_code(cell)
    if code is None:
        raise ValueError(f"{cell!r} is not a country; write an ISO 3166-1 code, such as US")
    return code


def countries(cell: str) -> list[str]:
    """Reads countries separated by `|`; `none` is an empty list."""
    return [] if cell.lower() == "none" else entries_of(country)(cell)


def markets(cell: str) -> list[str]:
    """Reads countries and regions of them, such as `US` and `US-HI`, separated by `|`."""
    return entries_of(_market)(cell)


def _market(entry: str) -> str:
    name, dash, region = entry.rpartition("-")
    if dash and re.fullmatch("[A-Za-z0-9]{1,3}", region) and (code := country_code(name)) is not None:
        return f"{code}-{region.upper()}"
    return country(entry)


def time_zone(cell: str) -> str:
    """Reads an IANA time zone."""
    zones = available_timezones()
    if cell not in zones:
        near = near_name(cell, zones)
        hint = f"did you mean {near!r}?" if near else "write an IANA name, such as America/Chicago"
        raise ValueError(f"{cell!r} is not a time zone; {hint}")
    return cell


def time_of_day(cell: str) -> TimeOfDay:
    """Reads a time such as `17:30`; `24:00` is midnight at the end of the day."""
    match = re.fullmatch(r"([0-9]{1,2}):([0-5][0-9])(?::00)?", cell)
    if match is None or int(match[1]) * 60 + int(match[2]) > 24 * 60:
        raise ValueError(f"{cell!r} is not a time of day; write hours and minutes, such as 17:30")
    return TimeOfDay(hours=int(match[1]), minutes=int(match[2]))


def weekday(cell: str) -> int:
    """Reads a weekday or its first letters, at least three, as its number in the API: 1 is Monday."""
    matches = [
        place
        for place, day in enumerate(WEEKDAYS, start=1)
        if len(cell) >= _SHORTEST_WEEKDAY and day.startswith(cell.lower())
    ]
    if not matches:
        raise ValueError(f"{cell!r} is not a weekday; write such as mon or monday")
    return matches[0]


def calendar_date(cell: str) -> Date:
    """Reads a date such as `2026-12-25`."""
    try:
        day = date.fromisoformat(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is not a date; write year, month and day, such as 2026-12-25") from None
    return Date(year=day.year, month=day.month, day=day.day)


def zoned_time(cell: str) -> datetime:
    """Reads an ISO 8601 time with a time zone, between the years that the service takes."""
    try:
        value = datetime.fromisoformat(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is not a time; write ISO 8601, such as 2026-11-27T09:00:00Z") from None
    if value.tzinfo is None:
        raise ValueError(f"{cell!r} has no time zone; add Z for UTC or an offset such as -06:00")
    # Compared before it is converted to any zone, which fails near the ends of the calendar.
    if not limits.EARLIEST <= value <= limits.LATEST:
        raise ValueError(f"{cell!r} is not between the years 1970 and 9999 in UTC; correct the year")
    return value.astimezone(UTC)


def word_of(words: Mapping[str, Any], value: Any) -> str:
    """The first word that is read as this value; empty for an unset enum."""
    return next((word for word, word_value in words.items() if word_value == value), "")


def number_text(value: float) -> str:
    """A number in full, without exponent, that is read as the same number."""
    return f"{Decimal(repr(value)):f}"


def money_text(amount: Money) -> str:
    """An amount with two decimals, or as many more as it has."""
    value = Decimal(amount.units) + Decimal(amount.nanos) / 1_000_000_000
    decimals = max(2, -int(value.normalize().as_tuple().exponent))
    return f"{value:.{decimals}f}"


def time_of_day_text(time: TimeOfDay) -> str:
    """A time such as `17:30`."""
    return f"{time.hours:02}:{time.minutes:02}"
