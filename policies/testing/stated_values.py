"""What a test suite states in passing: words, prices, places, destinations and stock figures, read into values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import TypeVar

from policies.domain.model import MAX_UNITS, Coordinates, Destination, StockLevel
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile, described
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode

MAX_ENTRIES = 1_000
"""Locations, products, channels or figures that one mapping of a suite names."""

MAX_WORDS = 100
MAX_AGE_DAYS = 10 * 365
MAX_AGE_MINUTES = MAX_AGE_DAYS * 1_440

COUNTS = ("available", "on_hand", "unavailable", "held", "allocated")
FIGURES = (*COUNTS, "age_minutes", "days_since_count", "count_confidence", "source", "tracked")
"""What a test can say of one product at one location."""

Value = TypeVar("Value")

_COUNTRY = re.compile("[A-Z]{2}")
_CLOCK = re.compile("([01][0-9]|2[0-3]):[0-5][0-9]")


def entries(page: RuleFile, node: Node, what: str) -> Iterator[tuple[ScalarNode, Node]]:
    """The keys and values of a mapping whose keys are names; notes a problem where it is none."""
    if not isinstance(node, MappingNode):
        page.note(node, "wrong-type", f"{what} is a mapping, not {described(node)}", "write a name, a colon, and more.")
    elif len(node.entries) > MAX_ENTRIES:
        message = f"{what} has {len(node.entries):,} entries; at most {MAX_ENTRIES:,} are allowed"
        page.note(node, "too-large", message, "make several suites.")
    else:
        for key, value in node.entries.values():
            if page.text(key, f"a name in {what}") is not None:
                yield key, value


def optional(fields: Mapping[str, Node], key: str, read: Callable[[Node, str], Value | None]) -> Value | None:
    """What stands under a key, or None; `read` gets the node and what messages call it."""
    return read(fields[key], f"'{key}'") if key in fields else None


def unit_count(page: RuleFile, node: Node, what: str) -> int | None:
    """A number of units, 0 or more."""
    return page.integer(node, what, 0, MAX_UNITS)


def words(page: RuleFile, node: Node, what: str) -> frozenset[str] | None:
    """A list of words, which may be empty."""
    if isinstance(node, SequenceNode) and not node.items:
        return frozenset()
    found = [page.text(item, f"an entry of {what}") for item in page.items(node, what, "[one, two]", at_most=MAX_WORDS)]
    return frozenset(word for word in found if word is not None)


def destination(page: RuleFile, node: Node, what: str) -> Destination | None:
    """Where an order goes."""
    fields = page.fields(node, what, ("country", "region", "postal_code", "coordinates"))
    if fields is None:
        return None
    return Destination(
        country=optional(fields, "country", partial(country, page)),
        region=optional(fields, "region", page.text),
        postal_code=optional(fields, "postal_code", page.text),
        coordinates=optional(fields, "coordinates", partial(coordinates, page)),
    )


def price(page: RuleFile, node: Node, what: str) -> Decimal | None:
    """An amount of money, exactly as written."""
    number = page.number(node, what, 0)
    return None if number is None or not isinstance(node, ScalarNode) else Decimal(node.text)


def stock_level(page: RuleFile, node: Node, now: datetime, sku: str, location_id: str) -> StockLevel | None:
    """A level written as the units available, or as a mapping of figures."""
    what = f"the stock of {quoted(sku)} at {quoted(location_id)}"
    if isinstance(node, ScalarNode) and not node.is_empty:
        available = unit_count(page, node, what)
        return None if available is None else StockLevel(sku, location_id, available, as_of_time=now)
    fields = page.fields(node, what, FIGURES)
    return None if fields is None else stated_level(page, node, fields, now, (sku, location_id))


def stated_level(
    page: RuleFile, node: Node, fields: Mapping[str, Node], now: datetime, key: tuple[str, str]
) -> StockLevel | None:
    """A level from its figures, for the (sku, location id) of `key`. Without an age its figure is of this minute."""
    if ("available" in fields) is ("on_hand" in fields):
        message, code = "say how much is there: either 'available' or 'on_hand'", "missing-key"
        if "available" in fields:
            message, code = "'available' and 'on_hand' are both stated; only one can count", "conflicting-keys"
        page.note(fields.get("on_hand", node), code, message, "available = on_hand - unavailable - held - allocated.")
        return None
    counts = {name: optional(fields, name, partial(unit_count, page)) or 0 for name in COUNTS}
    kept = counts["unavailable"] + counts["held"] + counts["allocated"]
    age = number_or_unknown(page, fields, "age_minutes", MAX_AGE_MINUTES, default=0.0)
    counted = number_or_unknown(page, fields, "days_since_count", MAX_AGE_DAYS)
    return StockLevel(
        *key,
        counts["on_hand"] if "on_hand" in fields else counts["available"] + kept,
        counts["unavailable"],
        counts["held"],
        counts["allocated"],
        as_of_time=None if age is None else now - timedelta(minutes=age),
        counted_time=None if counted is None else now - timedelta(days=counted),
        count_confidence=number_or_unknown(page, fields, "count_confidence", 1),
        source=optional(fields, "source", page.text),
        tracked=optional(fields, "tracked", page.flag) is not False,
    )


def number_or_unknown(
    page: RuleFile, fields: Mapping[str, Node], key: str, high: float, *, default: float | None = None
) -> float | None:
    """A number from 0 to `high`, or None for the word 'unknown'; the default where the key is left out."""
    if key not in fields:
        return default
    node = fields[key]
    if isinstance(node, ScalarNode) and node.text == "unknown":
        return None
    return page.number(node, f"'{key}'", 0, high)


def country(page: RuleFile, node: Node, what: str) -> str | None:
    """A country's ISO code of two capital letters."""
    code = page.text(node, what)
    if code is not None and not _COUNTRY.fullmatch(code):
        page.note(node, "unknown-value", f"{what} cannot be {quoted(code)}", "write an ISO code such as NO or US.")
        return None
    return code


def countries(page: RuleFile, node: Node, what: str) -> frozenset[str] | None:
    """A list of countries; an empty one means nowhere."""
    if isinstance(node, SequenceNode):
        return frozenset(found for item in node.items if (found := country(page, item, what)) is not None)
    page.note(node, "wrong-type", f"{what} is a list, not {described(node)}", "write: ships_to: [US, CA]")
    return None


def coordinates(page: RuleFile, node: Node, what: str) -> Coordinates | None:
    """Latitude and longitude, in degrees."""
    if not isinstance(node, SequenceNode) or len(node.items) != 2:
        help = "write latitude and longitude: [35.04, -89.98]."
        page.note(node, "wrong-type", f"{what} are two numbers, not {described(node)}", help)
        return None
    latitude = page.number(node.items[0], "the latitude", -90, 90)
    longitude = page.number(node.items[1], "the longitude", -180, 180)
    return None if latitude is None or longitude is None else Coordinates(latitude, longitude)


def clock(page: RuleFile, node: Node, what: str) -> time | None:
    """A time of the day, from 00:00 to 23:59."""
    text = node.text if isinstance(node, ScalarNode) else ""
    if not _CLOCK.fullmatch(text):
        page.note(node, "wrong-type", f"{what} is a time of the day, not {described(node)}", "write 09:00 or 17:30.")
        return None
    return time.fromisoformat(text)


def day(page: RuleFile, node: Node, what: str) -> date | None:
    """A day of the calendar."""
    try:
        return date.fromisoformat(
            node.text if isinstance(node, ScalarNode) and len(node.text) == len("2026-12-01") else ""
        )
    except ValueError:
        page.note(node, "wrong-type", f"{what} is a day, not {described(node)}", "write year, month, day: 2026-12-01.")
        return None


def days(page: RuleFile, node: Node, what: str) -> frozenset[date] | None:
    """A list of days of the calendar."""
    listed = page.items(node, what, "[2026-12-25]", at_most=MAX_ENTRIES)
    found = [day(page, item, f"a day of {what}") for item in listed]
    return frozenset(one for one in found if one is not None)
