"""The right form of a value that is written in another one: `10%`, `2 hours`, `>= 4`, `9am-5pm`, `27.11.2026`.

Each function returns what the writer most likely meant, as a rule file states it, or None where that is unclear. A
text that could mean two things, such as 3/4/2026, has no right form here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

from policies.facts.fact_table import MAX_CONSTANT
from policies.facts.periods import DAYS

COMPARISONS = {
    **dict.fromkeys((">=", "=>", "≥", "gte", "ge", "min", "minimum", "from"), "at_least"),
    **dict.fromkeys(("<=", "=<", "≤", "lte", "le", "max", "maximum", "up_to", "to"), "at_most"),
    **dict.fromkeys((">", "gt", "above", "over", "greater_than", "after"), "more_than"),
    **dict.fromkeys(("<", "lt", "below", "under", "fewer_than"), "less_than"),
    **dict.fromkeys(("=", "==", "eq", "equals", "equal"), "is"),
    **dict.fromkeys(("!=", "<>", "≠", "ne", "not", "not_equal", "not_equals"), "is_not"),
    **dict.fromkeys(("one_of", "any_of", "any"), "in"),
    **dict.fromkeys(("none_of", "not_any", "notin"), "not_in"),
    **dict.fromkeys(("has", "include", "includes", "tag"), "contains"),
    **dict.fromkeys(("has_any", "includes_any", "contains_one"), "contains_any"),
}
"""Other ways to write a comparison, with the key in rule files."""

GROUPS = {
    **dict.fromkeys(("and", "&&", "&", "all_of", "both", "every"), "all"),
    **dict.fromkeys(("or", "||", "|", "any_of", "either", "one_of"), "any"),
    **dict.fromkeys(("not", "nor", "!", "none_of", "neither", "unless", "except"), "none"),
}
"""Other words for a group of conditions, with the key in rule files."""

_SIGNS = re.compile(r"\s*(>=|=>|≥|<=|=<|≤|==|=|!=|<>|≠|>|<)\s*(\S.*?)\s*")
_SPAN = re.compile(r"\s*(-?[0-9.,]+)\s*(?:-|\.\.|to)\s*(-?[0-9.,]+)\s*")
_AMOUNT = re.compile(r"(?:[$€£¥]|[A-Z]{3}\s)?\s*([-+]?[0-9][0-9.,_' ]*|[-+]?\.[0-9]+)\s*(%|[$€£¥]|[A-Za-z]+\.?)?")
_DURATION_PART = re.compile(r"([0-9]+(?:[.,][0-9]+)?)\s*([A-Za-z]+)\.?")
_CLOCK = re.compile(r"([0-9]{1,2})(?:[:.h]([0-9]{2}))?\s*(am|pm)?", re.IGNORECASE)
_DAY_AND_CLOCK = re.compile(
    r"\s*(\S.*?)[T ]+([0-9]{1,2}[:.][0-9]{2}(?:\s*[ap]m)?|[0-9]{1,2}\s*[ap]m)(?::[0-9]{2}(?:\.[0-9]+)?)?\s*(Z?)\s*",
    re.IGNORECASE,
)
_COMPACT_CLOCK = re.compile("([01][0-9]|2[0-3])([0-5][0-9])")
_MINUTES_OF = {"w": 10_080, "d": 1_440, "h": 60, "m": 1}
_MINUTES_OF_UNIT = {"minutes": 1, "days": 1_440}
_UNIT_WORDS = {
    "units": ("unit", "units", "pc", "pcs", "piece", "pieces", "item", "items"),
    "kilometers": ("km", "kilometer", "kilometers", "kilometre", "kilometres"),
    "lines": ("line", "lines"),
    "shipments": ("shipment", "shipments", "parcel", "parcels"),
    "percent": ("percent", "pct"),
}
_UNIT_OF = {
    **dict.fromkeys(("w", "wk", "week", "weeks"), "w"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
}
_LONGEST_NAME = 63
_MOST_IN_UNIT = 999_999
"""Days, hours or minutes of one duration."""
_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_DATE_FORMATS = (
    *("%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%Y", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%B %d %Y"),
    *("%d-%b-%Y", "%d-%B-%Y"),
)


def number(text: str, unit: str = "") -> str | None:
    """The number in `$4.90`, `4,90`, `1,000`, `10%`, `+5`, `.5` or `007`, and with a unit in `5 units` or `25 km`.

    For minutes and days it converts durations: `2h` is 120 minutes.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if unit in _MINUTES_OF_UNIT and any(letter.isalpha() for letter in text):
        minutes = _minutes(text)
        return None if minutes is None else _plain(round(minutes / _MINUTES_OF_UNIT[unit], 6).normalize())
    if match is None:
        return None
    word = (match[2] or "").rstrip(".")
    if word.isalpha() and word.lower() not in _UNIT_WORDS.get(unit, ()) and not re.fullmatch("[A-Z]{3}", word):
        return None
    digits = re.sub("[_' ]", "", match[1])
    if re.fullmatch(r"[-+]?[0-9]{1,3}(,[0-9]{3})+(\.[0-9]+)?", digits):
        digits = digits.replace(",", "")
    elif re.fullmatch(r"[-+]?[0-9]{1,3}(\.[0-9]{3})+,[0-9]+", digits):
        digits = digits.replace(".", "")
    try:
        return _plain(Decimal(digits.replace(",", ".")))
    except InvalidOperation:
        return None


def grouped(text: str) -> str | None:
    """`1000` for `1.000`, where a point may separate thousands: YAML reads it as 1, and who writes so means 1000."""
    return text.replace(".", "") if re.fullmatch(r"-?[1-9][0-9]{0,2}\.[0-9]{3}", text) else None


def _plain(value: Decimal) -> str | None:
    """The number in digits; None if it is beyond what a rule file takes."""
    return f"{value:f}" if abs(value) <= MAX_CONSTANT else None


def percent(text: str) -> str | None:
    """The number of percent in `10%` or `10 percent`."""
    match = re.fullmatch(r"\s*(\S+?)\s*(%|percent|per cent|pct)\s*", text, re.IGNORECASE)
    return number(match[1]) if match else None


def flag(text: str) -> str | None:
    """`true` or `false` for `yes`, `off`, `True` or `0`."""
    match text.strip().lower():
        case "true" | "yes" | "on" | "y" | "t" | "1":
            return "true"
        case "false" | "no" | "off" | "n" | "f" | "0":
            return "false"
        case _:
            return None


def duration(text: str) -> str | None:
    """`90m` for `1.5 hours`, `1h30m` or `1:30`, and `14d` for `2 weeks`."""
    text = text.strip()
    if clock_span := re.fullmatch("([0-9]{1,3}):([0-5][0-9])", text):
        return _in_largest_unit(Decimal(int(clock_span[1]) * 60 + int(clock_span[2])))
    iso = re.fullmatch("P(?:([0-9]+)D)?(?:T(?:([0-9]+)H)?(?:([0-9]+)M)?)?", text)
    if iso and any(iso.groups()):
        parts = [int(part or 0) for part in iso.groups()]
        return _in_largest_unit(Decimal(parts[0] * 1_440 + parts[1] * 60 + parts[2]))
    minutes = _minutes(text)
    return None if minutes is None else _in_largest_unit(minutes)


def comparison(text: str) -> str | None:
    """`{at_least: 4}` for `>= 4` or `4+`, and `{at_least: 4, at_most: 9}` for `4-9`."""
    if match := _SIGNS.fullmatch(text):
        value = number(match[2])
        return None if value is None else f"{{{COMPARISONS[match[1]]}: {value}}}"
    if match := re.fullmatch(r"\s*([0-9.,]+)\s*(?:\+|or more)\s*", text):
        low = number(match[1])
        return None if low is None else f"{{at_least: {low}}}"
    if match := _SPAN.fullmatch(text):
        low, high = number(match[1]), number(match[2])
        return None if low is None or high is None else f"{{at_least: {low}, at_most: {high}}}"
    return None


def word_comparison(text: str) -> str | None:
    """`{is_not: store}` for `!= store` or `not store`."""
    match = re.fullmatch(r"\s*(?:!=|<>|≠|not\s)\s*([\w-]+)\s*", text)
    return f"{{is_not: {match[1]}}}" if match else None


def condition(text: str) -> str | None:
    """`{stock.on_hand: {at_least: 4}}` for `stock.on_hand >= 4`; the fact and the value are as written."""
    match = re.fullmatch(r"\s*([a-z]+\.[a-z_]+)\s*(>=|=>|≥|<=|=<|≤|==|=|!=|<>|≠|>|<|:|is)\s*([\w.,-]+)\s*", text)
    if match is None:
        return None
    operator = COMPARISONS.get(match[2], "is")
    return f"{{{match[1]}: {match[3] if operator == 'is' else f'{{{operator}: {match[3]}}}'}}}"


def words(text: str) -> str | None:
    """`[web, pos]` for `web, pos`, and `[web]` for `web`."""
    parts = [part.strip() for part in re.split(r"[,;|]", text)]
    return f"[{', '.join(parts)}]" if text.strip() and all(parts) else None


def days(text: str) -> str | None:
    """`[mon, tue]` for `Monday, Tuesday`, and every day between for `mon-fri`."""
    lowered = text.strip().lower()
    if lowered in ("weekend", "weekends"):
        return "[sat, sun]"
    if lowered in ("weekdays", "workdays", "working days"):
        return f"[{', '.join(DAYS[:5])}]"
    found: list[str] = []
    for part in re.split(r"[,;]|\band\b", lowered):
        ends = [day(end) for end in re.split(r"-|\bto\b", part)]
        if None in ends or len(ends) > 2:
            return None
        first, last = (DAYS.index(end) for end in (ends[0], ends[-1]) if end is not None)
        found += [DAYS[number % 7] for number in range(first, last + 1 if last >= first else last + 8)]
    return f"[{', '.join(dict.fromkeys(found))}]" if found else None


def day(text: str) -> str | None:
    """`mon` for `Monday`, `Mon.` or `MON`."""
    word = text.strip().lower().rstrip(".").removesuffix("s")
    matching = [name[:3] for name in _DAY_NAMES if len(word) >= 2 and name.startswith(word)]
    return matching[0] if len(matching) == 1 else None


def clock(text: str) -> str | None:
    """`09:00` for `9`, `9:00`, `9am` or `0900`, and `17:30` for `5.30 pm`."""
    text = text.strip()
    if compact := _COMPACT_CLOCK.fullmatch(text):
        return f"{compact[1]}:{compact[2]}"
    match = _CLOCK.fullmatch(text)
    if match is None:
        return None
    hour, minute = int(match[1]), int(match[2] or 0)
    if match[3]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if match[3].lower() == "pm" else 0)
    return f"{hour:02}:{minute:02}" if hour < 24 and minute < 60 else None


def hours(text: str) -> str | None:
    """`"09:00-17:00"` for `9-17`, `9am - 5pm` or `9:00 to 17:00`."""
    ends = [clock(end) for end in re.split(r"\s*(?:-|\bto\b|\buntil\b)\s*", text.strip())]
    return f'"{ends[0]}-{ends[1]}"' if len(ends) == 2 and None not in ends and ends[0] != ends[1] else None


def calendar_day(text: str) -> str | None:
    """`2026-11-27` for `27.11.2026`, `2026/11/27`, `27 Nov 2026` or `11/27/2026`."""
    return next((found.isoformat() for found in _dates(text) if 2000 <= found.year < 3000), None)


def moment(text: str) -> str | None:
    """`2026-11-27T09:00` for `2026-11-27 9:00`, `27.11.2026 9:00` or `2026-11-27T9:00`; a date for a date."""
    match = _DAY_AND_CLOCK.fullmatch(text)
    if match is None:
        return calendar_day(text)
    found, time = calendar_day(match[1]), clock(match[2])
    return None if found is None or time is None else f"{found}T{time}{match[3].upper()}"


def name(text: str) -> str | None:
    """`two-on-the-floor` for `Two on the Floor` or `two_on_the_floor`."""
    plain = re.sub("[^a-z0-9]+", "-", text.strip().lower()).strip("-")
    return plain if re.match("[a-z]", plain) and len(plain) <= _LONGEST_NAME else None


def _dates(text: str) -> Iterator[date]:
    text = re.sub(r"[,\s]+", " ", text.strip())
    if re.fullmatch("[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}", text):
        text = text.replace("-", "/")
    for form in _DATE_FORMATS:
        try:
            yield datetime.strptime(text, form).replace(tzinfo=UTC).date()
        except ValueError:
            continue
    if match := re.fullmatch("([0-9]{1,2})[/-]([0-9]{1,2})[/-]([0-9]{4})", text):
        first, second, year = (int(part) for part in match.groups())
        # 3/4/2026 is in March or in April.
        if first > 12 >= second or first == second <= 12:
            first, second = second, first
        elif second <= 12:
            return
        try:
            yield date(year, first, second)
        except ValueError:
            return


def _minutes(text: str) -> Decimal | None:
    """The minutes in `1.5 hours` or `1h 30m`."""
    parts = _DURATION_PART.findall(text)
    if not parts or _DURATION_PART.sub("", text).replace("and", "").strip(" ,"):
        return None
    units = [_UNIT_OF.get(unit.lower()) for _, unit in parts]
    amounts = [Decimal(amount.replace(",", ".")) for amount, _ in parts]
    minutes = [amount * _MINUTES_OF[unit] for amount, unit in zip(amounts, units, strict=True) if unit is not None]
    return sum(minutes, Decimal(0)) if len(minutes) == len(parts) else None


def _in_largest_unit(minutes: Decimal) -> str | None:
    """The duration in whole days, hours or minutes; None if that has more digits than a rule file takes."""
    if minutes <= 0 or minutes != minutes.to_integral_value():
        return None
    whole = int(minutes)
    unit = "d" if whole % 1_440 == 0 else "h" if whole % 60 == 0 else "m"
    count = whole // _MINUTES_OF[unit]
    return f"{count}{unit}" if count <= _MOST_IN_UNIT else None
