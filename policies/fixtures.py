"""What a test suite states of the world: its locations, products, channels, stock and destinations, read into values.

What a fixture leaves out is ordinary: an open location, a product that is ready to be sold, a figure of this minute.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from policies.model import (
    CHANNEL_KINDS,
    LOCATION_STATUSES,
    LOCATION_TYPES,
    MAX_UNITS,
    PRODUCT_STATUSES,
    Channel,
    Coordinates,
    Destination,
    Location,
    Product,
    StockLevel,
)
from policies.nodes import Fields, Items, Node, Scalar
from policies.pages import Page, described, suggestion
from policies.problems import quoted

MAX_FIXTURES = 1_000
"""Locations, products, channels or figures that one mapping of a suite names."""

MAX_TAGS = 100
MAX_AGE_MINUTES = 10 * 365 * 1_440
MAX_AGE_DAYS = 10 * 365

KNOWN_CHANNELS: Mapping[str, str] = {"tiktok_shop": "social", "shopify": "web", "pos": "pos", "amazon": "marketplace"}
"""Channels that a test may name without a fixture, and their kinds."""

FIGURES = (
    *("available", "on_hand", "unavailable", "held", "allocated"),
    *("age_minutes", "counted_days_ago", "count_confidence", "source"),
)
"""What a test can say of one product at one location."""

Value = TypeVar("Value")

_COUNTRY = re.compile("[A-Z]{2}")
_UNKNOWN = "unknown"

_LOCATION_KEYS = (
    *("type", "status", "tags", "country", "region", "coordinates", "offers_pickup", "priority", "ships_to"),
    "handling_minutes",
)
_PRODUCT_KEYS = (
    *("tags", "category", "brand", "price", "velocity_per_day", "has_dimensions", "has_barcode", "has_image"),
    "status",
)


@dataclass(slots=True)
class Fixtures:
    """The fixtures of one suite. `named` has where each stands, also of those that could not be read."""

    page: Page
    locations: dict[str, Location] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    named: dict[str, dict[str, Scalar]] = field(default_factory=lambda: {"location": {}, "product": {}, "channel": {}})
    used: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def read(cls, page: Page, fields: Mapping[str, Node]) -> Fixtures:
        """The fixtures under `locations`, `products` and `channels`."""
        made = cls(page)
        for key, value in made._entries_of(fields, "location"):
            made._keep(made.locations, key.text, _location(page, key.text, value))
        for key, value in made._entries_of(fields, "product"):
            made._keep(made.products, key.text, _product(page, key.text, value))
        for key, value in made._entries_of(fields, "channel"):
            made._keep(made.channels, key.text, made._channel(key.text, value))
        for name, kind in KNOWN_CHANNELS.items():
            if name not in made.named["channel"]:
                made.channels[name] = Channel(name, kind)
        return made

    def known(self, kind: str, node: Node, what: str) -> str | None:
        """The name of a fixture of this kind; a name that no fixture has is a problem."""
        name = self.page.text(node, what)
        if name is None:
            return None
        known = [*self.named[kind], *(KNOWN_CHANNELS if kind == "channel" else ())]
        if name not in known:
            help = f"{suggestion(name, known)}Add it under '{kind}s:', beside: {', '.join(known[:20]) or 'none yet'}."
            self.page.note(node, "unknown-fixture", f"this suite has no {kind} {quoted(name)}", help)
            return None
        self.used.add((kind, name))
        return name

    def note_unused(self) -> None:
        """A problem for every fixture that no test names."""
        for kind, nodes in self.named.items():
            for name, node in nodes.items():
                if (kind, name) not in self.used:
                    message = f"no test of this suite names the {kind} {quoted(name)}"
                    self.page.note(node, "unused-fixture", message, "name it in a test, or take it out.")

    def _entries_of(self, fields: Mapping[str, Node], kind: str) -> Iterator[tuple[Scalar, Node]]:
        if f"{kind}s" in fields:
            for key, value in entries(self.page, fields[f"{kind}s"], f"'{kind}s'"):
                self.named[kind][key.text] = key
                yield key, value

    def _keep(self, kept: dict[str, Value], name: str, found: Value | None) -> None:
        if found is not None:
            kept[name] = found

    def _channel(self, id: str, node: Node) -> Channel | None:
        required = () if id in KNOWN_CHANNELS else ("kind",)
        fields = _fields(self.page, node, f"channel {quoted(id)}", ("kind", "locations"), required)
        if fields is None:
            return None
        kind = optional(fields, "kind", lambda value, what: self.page.choice(value, what, CHANNEL_KINDS))
        places = optional(fields, "locations", self._locations) or []
        kind = kind or KNOWN_CHANNELS.get(id)
        return None if kind is None else Channel(id, kind, location_ids=frozenset(places))

    def _locations(self, node: Node, what: str) -> list[str]:
        places = self.page.items(node, what, "locations: [high-street, dc-north]", at_most=MAX_FIXTURES)
        found = [self.known("location", place, "a location") for place in places]
        return [place for place in found if place is not None]


def entries(page: Page, node: Node, what: str) -> Iterator[tuple[Scalar, Node]]:
    """The keys and values of a mapping whose keys are names; notes a problem where it is none."""
    if not isinstance(node, Fields):
        page.note(node, "wrong-type", f"{what} is a mapping, not {described(node)}", "write a name, a colon, and more.")
    elif len(node.entries) > MAX_FIXTURES:
        message = f"{what} has {len(node.entries):,} entries; at most {MAX_FIXTURES:,} are allowed"
        page.note(node, "too-large", message, "make several suites.")
    else:
        for key, value in node.entries.values():
            if page.text(key, f"a name in {what}") is not None:
                yield key, value


def optional(fields: Mapping[str, Node], key: str, read: Callable[[Node, str], Value | None]) -> Value | None:
    """What stands under a key, or None; `read` gets the node and what messages call it."""
    return read(fields[key], f"'{key}'") if key in fields else None


def unit_count(page: Page, node: Node, what: str) -> int | None:
    """A number of units, 0 or more."""
    return page.integer(node, what, 0, MAX_UNITS)


def words(page: Page, node: Node, what: str) -> frozenset[str] | None:
    """A list of words, which may be empty."""
    if isinstance(node, Items) and not node.items:
        return frozenset()
    found = [page.text(item, f"an entry of {what}") for item in page.items(node, what, "[one, two]", at_most=MAX_TAGS)]
    return frozenset(word for word in found if word is not None)


def destination(page: Page, node: Node, what: str) -> Destination | None:
    """Where an order goes."""
    fields = page.fields(node, what, ("country", "region", "postal_code", "coordinates"))
    if fields is None:
        return None
    return Destination(
        country=optional(fields, "country", lambda value, name: _country(page, value, name)),
        region=optional(fields, "region", page.text),
        postal_code=optional(fields, "postal_code", page.text),
        coordinates=optional(fields, "coordinates", lambda value, name: _coordinates(page, value, name)),
    )


def price(page: Page, node: Node, what: str) -> Decimal | None:
    """An amount of money, exactly as written."""
    number = page.number(node, what, 0)
    return None if number is None or not isinstance(node, Scalar) else Decimal(node.text)


def stock_level(page: Page, node: Node, now: datetime, sku: str, location_id: str) -> StockLevel | None:
    """A level written as the units available, or as a mapping of figures."""
    what = f"the stock of {quoted(sku)} at {quoted(location_id)}"
    if isinstance(node, Scalar) and not node.is_empty:
        available = unit_count(page, node, what)
        return None if available is None else StockLevel(sku, location_id, available, figure_time=now)
    fields = page.fields(node, what, FIGURES)
    return None if fields is None else stated_level(page, node, fields, now, (sku, location_id))


def stated_level(
    page: Page, node: Node, fields: Mapping[str, Node], now: datetime, key: tuple[str, str]
) -> StockLevel | None:
    """A level from its figures, for the (sku, location id) of `key`. Without an age its figure is of this minute."""
    if ("available" in fields) is ("on_hand" in fields):
        message, code = "say how much is there: either 'available' or 'on_hand'", "missing-key"
        if "available" in fields:
            message, code = "'available' and 'on_hand' are both stated; only one can count", "conflicting-keys"
        page.note(fields.get("on_hand", node), code, message, "available = on_hand - unavailable - held - allocated.")
        return None
    counts = {name: optional(fields, name, lambda *it: unit_count(page, *it)) or 0 for name in FIGURES[:5]}
    kept = counts["unavailable"] + counts["held"] + counts["allocated"]
    age = _known(page, fields, "age_minutes", MAX_AGE_MINUTES, default=0.0)
    counted = _known(page, fields, "counted_days_ago", MAX_AGE_DAYS)
    return StockLevel(
        *key,
        counts["on_hand"] if "on_hand" in fields else counts["available"] + kept,
        counts["unavailable"],
        counts["held"],
        counts["allocated"],
        figure_time=None if age is None else now - timedelta(minutes=age),
        counted_time=None if counted is None else now - timedelta(days=counted),
        count_confidence=_known(page, fields, "count_confidence", 1),
        source=optional(fields, "source", page.text),
    )


def _known(
    page: Page, fields: Mapping[str, Node], key: str, high: float, *, default: float | None = None
) -> float | None:
    """A number from 0 to `high`, or None for the word 'unknown'; the default where the key is left out."""
    if key not in fields:
        return default
    node = fields[key]
    if isinstance(node, Scalar) and node.text == _UNKNOWN:
        return None
    return page.number(node, f"'{key}'", 0, high)


def _location(page: Page, id: str, node: Node) -> Location | None:
    fields = _fields(page, node, f"location {quoted(id)}", _LOCATION_KEYS, ("type",))
    if fields is None:
        return None
    type = optional(fields, "type", lambda value, what: page.choice(value, what, LOCATION_TYPES))
    if type is None:
        return None
    return Location(
        id,
        type,
        optional(fields, "status", lambda value, what: page.choice(value, what, LOCATION_STATUSES)) or "open",
        tags=optional(fields, "tags", lambda *it: words(page, *it)) or frozenset(),
        country=optional(fields, "country", lambda *it: _country(page, *it)),
        region=optional(fields, "region", page.text),
        coordinates=optional(fields, "coordinates", lambda *it: _coordinates(page, *it)),
        offers_pickup=optional(fields, "offers_pickup", page.flag) or False,
        handling_minutes=optional(fields, "handling_minutes", lambda *it: page.integer(*it, 0, 1_000_000)) or 0,
        priority=optional(fields, "priority", lambda *it: page.integer(*it, 0, 1_000_000)),
        ships_to=optional(fields, "ships_to", lambda *it: _countries(page, *it)),
    )


def _product(page: Page, sku: str, node: Node) -> Product | None:
    fields = _fields(page, node, f"product {quoted(sku)}", _PRODUCT_KEYS)
    if fields is None:
        return None
    flags = {key: optional(fields, key, page.flag) for key in ("has_dimensions", "has_barcode", "has_image")}
    return Product(
        sku,
        status=optional(fields, "status", lambda *it: page.choice(*it, PRODUCT_STATUSES)) or "active",
        tags=optional(fields, "tags", lambda *it: words(page, *it)) or frozenset(),
        category=optional(fields, "category", page.text),
        brand=optional(fields, "brand", page.text),
        price=optional(fields, "price", lambda *it: price(page, *it)),
        velocity_per_day=_known(page, fields, "velocity_per_day", MAX_UNITS),
        **{key: flag is not False for key, flag in flags.items()},
    )


def _fields(
    page: Page, node: Node, what: str, keys: tuple[str, ...], required: tuple[str, ...] = ()
) -> dict[str, Node] | None:
    """A fixture's keys; one with nothing after its name says nothing out of the ordinary."""
    if isinstance(node, Scalar) and node.is_empty:
        node = Fields({}, node.line, node.column)
    return page.fields(node, what, keys, required)


def _country(page: Page, node: Node, what: str) -> str | None:
    country = page.text(node, what)
    if country is not None and not _COUNTRY.fullmatch(country):
        page.note(node, "unknown-value", f"{what} cannot be {quoted(country)}", "write an ISO code such as NO or US.")
        return None
    return country


def _countries(page: Page, node: Node, what: str) -> frozenset[str] | None:
    if isinstance(node, Items):
        return frozenset(found for item in node.items if (found := _country(page, item, what)) is not None)
    page.note(node, "wrong-type", f"{what} is a list, not {described(node)}", "write: ships_to: [US, CA]")
    return None


def _coordinates(page: Page, node: Node, what: str) -> Coordinates | None:
    if not isinstance(node, Items) or len(node.items) != 2:
        help = "write latitude and longitude: [35.04, -89.98]."
        page.note(node, "wrong-type", f"{what} are two numbers, not {described(node)}", help)
        return None
    latitude = page.number(node.items[0], "the latitude", -90, 90)
    longitude = page.number(node.items[1], "the longitude", -180, 180)
    return None if latitude is None or longitude is None else Coordinates(latitude, longitude)
