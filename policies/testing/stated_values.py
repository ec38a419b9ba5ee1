"""Reads single values of test suites: words, prices, coordinates, destinations, days and stock figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import TypeVar

from policies.domain.model import MAX_UNITS, MAX_WEIGHT_GRAMS, Coordinates, Destination, StockLevel
from policies.facts.fact_table import COUNTRY_CODE
from policies.source import likely_forms
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile, described
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_ENTRIES = 1_000
"""Most entries of one mapping of a suite."""

MAX_WORDS = 100
MAX_AGE_DAYS = 10 * 365
MAX_AGE_MINUTES = MAX_AGE_DAYS * 1_440

COUNTS = ("available", "on_hand", "unavailable", "held", "allocated")
FIGURES = (*COUNTS, "age_minutes", "days_since_count", "oldest_days", "count_confidence", "source", "tracked")
"""Keys for the stock of one product at one location."""

Value = TypeVar("Value")

_CLOCK = re.compile("([01][0-9]|2[0-3]):[0-5][0-9]")


def entries(file: RuleFile, node: Node, what: str) -> Iterator[tuple[ScalarNode, Node]]:
    """The keys and values of a mapping from names; notes a problem if it is not a mapping."""
    if not isinstance(node, MappingNode):
        file.note(
            node, "wrong-type", f"{what} must be a mapping, not {described(node)}", "write a name, a colon and a value."
        )
    elif len(node.entries) > MAX_ENTRIES:
        message = f"{what} has {len(node.entries):,} entries; at most {MAX_ENTRIES:,} are allowed"
        file.note(node, "too-large", message, "split it into several suites.")
    else:
        for key, value in node.entries.values():
            if file.text(key, f"a name in {what}") is not None:
                yield key, value


def optional(fields: Mapping[str, Node], key: str, read: Callable[[Node, str], Value | None]) -> Value | None:
    """The value of a key, or None; `read` gets its node and its name for messages."""
    return read(fields[key], f"'{key}'") if key in fields else None


def unit_count(file: RuleFile, node: Node, what: str) -> int | None:
    """A number of units, 0 or more."""
    return file.integer(node, what, 0, MAX_UNITS)


def words(file: RuleFile, node: Node, what: str) -> frozenset[str] | None:
    """A list of words, which may be empty."""
    if isinstance(node, SequenceNode) and not node.items:
        return frozenset()
    texts = [file.text(item, f"an entry of {what}") for item in file.items(node, what, "[one, two]", at_most=MAX_WORDS)]
    return frozenset(word for word in texts if word is not None)


def destination(file: RuleFile, node: Node, what: str) -> Destination | None:
    """Where an order is delivered to."""
    fields = file.fields(node, what, ("country", "region", "postal_code", "coordinates"))
    if fields is None:
        return None
    return Destination(
        country=optional(fields, "country", partial(country, file)),
        region=optional(fields, "region", file.text),
        postal_code=optional(fields, "postal_code", file.text),
        coordinates=optional(fields, "coordinates", partial(coordinates, file)),
    )


def price(file: RuleFile, node: Node, what: str) -> Decimal | None:
    """An amount of money, exactly as written."""
    number = file.number(node, what, 0)
    return None if number is None or not isinstance(node, ScalarNode) else Decimal(node.text)


def weight(file: RuleFile, node: Node, what: str) -> int | None:
    """A weight in whole grams."""
    return file.integer(node, what, 1, MAX_WEIGHT_GRAMS)


def stock_level(file: RuleFile, node: Node, now: datetime, sku: str, location_id: str) -> StockLevel | None:
    """A level written as the units available, or as a mapping of figures."""
    what = f"the stock of {quoted(sku)} at {quoted(location_id)}"
    if isinstance(node, ScalarNode) and not node.is_empty:
        available = unit_count(file, node, what)
        return None if available is None else StockLevel(sku, location_id, available, as_of_time=now)
    fields = file.fields(node, what, FIGURES)
    return None if fields is None else stated_level(file, node, fields, now, (sku, location_id))


def stated_level(
    file: RuleFile, node: Node, fields: Mapping[str, Node], now: datetime, key: tuple[str, str]
) -> StockLevel | None:
    """A level from its figures, for the (sku, location id) of `key`. Without an age its figure was true just now."""
    if ("available" in fields) is ("on_hand" in fields):
        message, code = "the stock has neither 'available' nor 'on_hand'", "missing-key"
        if "available" in fields:
            message, code = "'available' and 'on_hand' exclude each other", "conflicting-keys"
        file.note(
            fields.get("on_hand", node),
            code,
            message,
            "state one of them: available = on_hand - unavailable - held - allocated.",
        )
        return None
    counts = {name: optional(fields, name, partial(unit_count, file)) or 0 for name in COUNTS}
    reserved = counts["unavailable"] + counts["held"] + counts["allocated"]
    age = number_or_unknown(file, fields, "age_minutes", MAX_AGE_MINUTES, default=0.0)
    counted = number_or_unknown(file, fields, "days_since_count", MAX_AGE_DAYS)
    oldest = number_or_unknown(file, fields, "oldest_days", MAX_AGE_DAYS)
    counted_time = None if counted is None else now - timedelta(days=counted)
    return StockLevel(
        *key,
        counts["on_hand"] if "on_hand" in fields else counts["available"] + reserved,
        counts["unavailable"],
        counts["held"],
        counts["allocated"],
        as_of_time=None if age is None else now - timedelta(minutes=age),
        counted_time=counted_time,
        count_confidence=number_or_unknown(file, fields, "count_confidence", 1),
        source=optional(fields, "source", file.text),
        tracked=optional(fields, "tracked", file.flag) is not False,
        physical_count_time=counted_time,
        oldest_receipt_time=None if oldest is None else now - timedelta(days=oldest),
    )


def number_or_unknown(
    file: RuleFile, fields: Mapping[str, Node], key: str, high: float, *, default: float | None = None
) -> float | None:
    """A number from 0 to `high`, or None for the word 'unknown'; the default if the key is omitted."""
    if key not in fields:
        return default
    node = fields[key]
    if isinstance(node, ScalarNode) and node.text == "unknown":
        return None
    if isinstance(node, ScalarNode) and node.is_empty:
        help = "write a number, or unknown if it is not known."
        file.note(node, "wrong-type", f"'{key}' must be a number, not empty", help)
        return None
    return file.number(node, f"'{key}'", 0, high)


def country(file: RuleFile, node: Node, what: str) -> str | None:
    """A country's ISO code of two capital letters."""
    code = file.text(node, what)
    if code is not None and not COUNTRY_CODE.matches.fullmatch(code):
        likely = code.strip().upper()
        help = f"write {likely}." if COUNTRY_CODE.matches.fullmatch(likely) else "write an ISO code such as NO or US."
        file.note(node, "unknown-value", f"{what} cannot be {quoted(code)}", help)
        return None
    return code


def countries(file: RuleFile, node: Node, what: str) -> frozenset[str] | None:
    """A list of countries; an empty one means nowhere."""
    if isinstance(node, SequenceNode):
        return frozenset(code for item in node.items if (code := country(file, item, what)) is not None)
    likely = likely_forms.words(node.text.upper()) if isinstance(node, ScalarNode) and not node.is_empty else None
    message = f"{what} must be a list, not {described(node)}"
    file.note(node, "wrong-type", message, f"write: ships_to: {likely or '[US, CA]'}")
    return None


def coordinates(file: RuleFile, node: Node, what: str) -> Coordinates | None:
    """Latitude and longitude, in degrees."""
    if not isinstance(node, SequenceNode) or len(node.items) != 2:
        likely = likely_forms.words(node.text) if isinstance(node, ScalarNode) and node.text.count(",") == 1 else None
        help = f"write latitude and longitude: {likely or '[35.04, -89.98]'}."
        file.note(node, "wrong-type", f"{what} must be two numbers, not {described(node)}", help)
        return None
    latitude = file.number(node.items[0], "the latitude", -90, 90)
    longitude = file.number(node.items[1], "the longitude", -180, 180)
    return None if latitude is None or longitude is None else Coordinates(latitude, longitude)


def clock(file: RuleFile, node: Node, what: str) -> time | None:
    """A time of day, from 00:00 to 23:59."""
    text = node.text if isinstance(node, ScalarNode) else ""
    if not _CLOCK.fullmatch(text):
        help = f"write {likely_forms.clock(text) or '09:00 or 17:30'}."
        file.note(node, "wrong-type", f"{what} must be a time of day, not {described(node)}", help)
        return None
    return time.fromisoformat(text)


def day(file: RuleFile, node: Node, what: str) -> date | None:
    """A calendar day."""
    try:
        return date.fromisoformat(
            node.text if isinstance(node, ScalarNode) and len(node.text) == len("2026-12-01") else ""
        )
    except ValueError:
        likely = likely_forms.calendar_day(node.text) if isinstance(node, ScalarNode) else None
        help = f"write year, month, day: {likely or '2026-12-01'}."
        file.note(node, "wrong-type", f"{what} must be a day, not {described(node)}", help)
        return None


def moment(file: RuleFile, node: Node, what: str) -> datetime | None:
    """A time with a time zone."""
    text = file.text(node, what)
    if text is None:
        return None
    likely = likely_forms.moment(text)
    likely = likely if likely is None or "T" in likely else f"{likely}T00:00"
    example = f"{likely.removesuffix('Z')}:00Z" if likely else "2026-11-27T09:00:00Z"
    help = f"write a date, a time and Z for UTC: {example}."
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        file.note(node, "wrong-type", f"{what} must be a time, not {described(node)}", help)
        return None
    if time.tzinfo is None or not 2000 <= time.year < 3000:
        file.note(node, "wrong-type", f"{what} has no time zone, or its year is not from 2000 to 2999", help)
        return None
    return time


def days(file: RuleFile, node: Node, what: str) -> frozenset[date] | None:
    """A list of calendar days."""
    items = file.items(node, what, "[2026-12-25]", at_most=MAX_ENTRIES)
    dates = [day(file, item, f"a day of {what}") for item in items]
    return frozenset(date for date in dates if date is not None)
