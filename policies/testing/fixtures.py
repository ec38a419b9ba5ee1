"""Reads the locations, products and channels of a test suite.

Omitted keys have ordinary values: an open location, a product that is ready for sale.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import time
from functools import partial
from typing import TypeVar

from policies.domain.capacity import MAX_CAPACITY, MAX_DAYS_AHEAD, Capacity
from policies.domain.channel_statuses import PLATFORMS
from policies.domain.day_hours import DayHours, opens_before
from policies.domain.model import (
    CHANNEL_KINDS,
    EVERY_DAY,
    LOCATION_STATUSES,
    LOCATION_TYPES,
    MAX_UNITS,
    PRODUCT_STATUSES,
    Channel,
    Location,
    Product,
)
from policies.domain.product_details import ProductDetails
from policies.facts.periods import DAYS
from policies.reading.delivery_rules import weekdays
from policies.reading.merchant import read_time_zone
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile, suggestion
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode
from policies.testing.listed_products import DETAIL_KEYS, READY_KEY, details, readiness
from policies.testing.stated_values import (
    MAX_ENTRIES,
    clock,
    coordinates,
    countries,
    country,
    days,
    entries,
    number_or_unknown,
    optional,
    price,
    weight,
    words,
)

KNOWN_CHANNELS: Mapping[str, str] = {"tiktok_shop": "social", "shopify": "web", "pos": "pos", "amazon": "marketplace"}
"""Channels that a test may name without a fixture, and their kinds; those with the id of a platform are of it."""

MAX_PRIORITY = 1_000_000
MAX_HANDLING_MINUTES = 100_000

Value = TypeVar("Value")

_LOCATION_KEYS = (
    *("type", "status", "tags", "country", "region", "coordinates", "offers_pickup", "priority", "ships_to"),
    *("handling_minutes", "time_zone", "cut_off", "opening_days", "opens", "closes", "holidays"),
    *("weekday_hours", "capacity"),
)
_CAPACITY_LIMITS = ("orders_per_day", "units_per_day", "orders_per_hour", "units_per_hour")
_HOURS_KEYS = ("cut_off", "opens", "closes")
_CHANNEL_KEYS = ("kind", "locations", "cancellation_headroom", "platform")
_PRODUCT_KEYS = (
    *("tags", "category", "brand", "price", "velocity_per_day", "has_dimensions", "has_barcode", "has_image"),
    *("status", "weight_grams", READY_KEY, *DETAIL_KEYS),
)


@dataclass(slots=True)
class Fixtures:
    """The fixtures of one suite. `named` has the key of each in the file, including those that could not be read."""

    file: RuleFile
    locations: dict[str, Location] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    details: dict[str, ProductDetails] = field(default_factory=dict)
    """What products state for listings, by SKU."""
    channels: dict[str, Channel] = field(default_factory=dict)
    named: dict[str, dict[str, ScalarNode]] = field(
        default_factory=lambda: {"location": {}, "product": {}, "channel": {}}
    )
    used: set[tuple[str, str]] = field(default_factory=set)
    shared: Fixtures | None = None

    @classmethod
    def read(cls, file: RuleFile, fields: Mapping[str, Node], shared: Fixtures | None = None) -> Fixtures:
        """The fixtures under `locations`, `products` and `channels`, and the shared ones not overridden by them."""
        fixtures = cls(file, shared=shared)
        if shared is not None:
            fixtures.locations |= shared.locations
            fixtures.products |= shared.products
            fixtures.details |= shared.details
            fixtures.channels |= shared.channels
        for key, value in fixtures._entries_of(fields, "location"):
            fixtures._add(fixtures.locations, key.text, _location(file, key.text, value))
        for key, value in fixtures._entries_of(fields, "product"):
            fixtures._add_product(key.text, value)
        for key, value in fixtures._entries_of(fields, "channel"):
            fixtures._add(fixtures.channels, key.text, fixtures._channel(key.text, value))
        for name, kind in KNOWN_CHANNELS.items():
            if not fixtures._has_fixture("channel", name):
                fixtures.channels[name] = Channel(name, kind, platform=name if name in PLATFORMS else None)
        return fixtures

    def fixture_name(self, kind: str, node: Node, what: str) -> str | None:
        """The name of a fixture of this kind; an unknown name is noted as a problem."""
        name = self.file.text(node, what)
        if name is None:
            return None
        shared_names = self.shared.named[kind] if self.shared is not None else {}
        names = [*self.named[kind], *shared_names, *(KNOWN_CHANNELS if kind == "channel" else ())]
        if name not in names:
            names_text = ", ".join(names[:20]) or "nothing yet"
            help = f"{suggestion(name, names)}Add it under '{kind}s:', which has: {names_text}."
            self.file.note(node, "unknown-fixture", f"this suite has no {kind} {quoted(name)}", help)
            return None
        self.used.add((kind, name))
        if self.shared is not None and name not in self.named[kind]:
            self.shared.used.add((kind, name))
        return name

    def entries(self, kind: str, node: Node, what: str) -> Iterator[tuple[str, Node]]:
        """The entries of a mapping whose keys are fixtures of this kind."""
        for key, value in entries(self.file, node, what):
            name = self.fixture_name(kind, key, f"a {kind} in {what}")
            if name is not None:
                yield name, value

    def note_unused(self, tests: str = "test of this suite") -> None:
        """Notes a problem for every fixture that no test uses."""
        for kind, nodes in self.named.items():
            for name, node in nodes.items():
                if (kind, name) not in self.used:
                    message = f"no {tests} uses the {kind} {quoted(name)}"
                    self.file.note(node, "unused-fixture", message, "use it in a test, or remove it.")

    def _has_fixture(self, kind: str, name: str) -> bool:
        return name in self.named[kind] or (self.shared is not None and name in self.shared.named[kind])

    def _entries_of(self, fields: Mapping[str, Node], kind: str) -> Iterator[tuple[ScalarNode, Node]]:
        if f"{kind}s" in fields:
            for key, value in entries(self.file, fields[f"{kind}s"], f"'{kind}s'"):
                self.named[kind][key.text] = key
                yield key, value

    def _add(self, fixtures_by_name: dict[str, Value], name: str, fixture: Value | None) -> None:
        if fixture is not None:
            fixtures_by_name[name] = fixture

    def _add_product(self, sku: str, node: Node) -> None:
        fields = _fields(self.file, node, f"product {quoted(sku)}", _PRODUCT_KEYS)
        if fields is not None:
            self.products[sku] = _product(self.file, sku, fields)
            self.details[sku] = details(self.file, fields)

    def _channel(self, id: str, node: Node) -> Channel | None:
        required = () if id in KNOWN_CHANNELS else ("kind",)
        fields = _fields(self.file, node, f"channel {quoted(id)}", _CHANNEL_KEYS, required)
        if fields is None:
            return None
        kind = optional(fields, "kind", lambda value, what: self.file.choice(value, what, CHANNEL_KINDS))
        location_ids = optional(fields, "locations", self._locations) or []
        headroom = number_or_unknown(self.file, fields, "cancellation_headroom", 1)
        kind = kind or KNOWN_CHANNELS.get(id)
        if kind is None:
            return None
        platform = optional(fields, "platform", lambda value, what: self.file.choice(value, what, PLATFORMS))
        if "platform" not in fields and id in KNOWN_CHANNELS and id in PLATFORMS:
            platform = id
        return Channel(
            id, kind, location_ids=frozenset(location_ids), cancellation_headroom=headroom, platform=platform
        )

    def _locations(self, node: Node, what: str) -> list[str]:
        nodes = self.file.items(node, what, "locations: [high-street, dc-north]", at_most=MAX_ENTRIES)
        names = [self.fixture_name("location", item, "a location") for item in nodes]
        return [name for name in names if name is not None]


def _location(file: RuleFile, id: str, node: Node) -> Location | None:
    fields = _fields(file, node, f"location {quoted(id)}", _LOCATION_KEYS, ("type",))
    if fields is None:
        return None
    opens, closes = _hours(file, fields)
    return Location(
        id,
        # A suite with a problem is never run, so any type will do while its other problems are searched.
        optional(fields, "type", lambda value, what: file.choice(value, what, LOCATION_TYPES)) or LOCATION_TYPES[0],
        optional(fields, "status", lambda value, what: file.choice(value, what, LOCATION_STATUSES)) or "open",
        tags=optional(fields, "tags", partial(words, file)) or frozenset(),
        country=optional(fields, "country", partial(country, file)),
        region=optional(fields, "region", file.text),
        coordinates=optional(fields, "coordinates", partial(coordinates, file)),
        offers_pickup=optional(fields, "offers_pickup", file.flag) or False,
        handling_minutes=optional(
            fields, "handling_minutes", lambda value, what: file.integer(value, what, 0, MAX_HANDLING_MINUTES)
        ),
        priority=optional(fields, "priority", lambda value, what: file.integer(value, what, 0, MAX_PRIORITY)),
        ships_to=optional(fields, "ships_to", partial(countries, file)),
        time_zone=optional(fields, "time_zone", partial(read_time_zone, file)) or "UTC",
        cut_off=optional(fields, "cut_off", partial(clock, file)),
        opening_days=optional(fields, "opening_days", partial(weekdays, file)) or EVERY_DAY,
        opens=opens,
        closes=closes,
        holidays=optional(fields, "holidays", partial(days, file)) or frozenset(),
        weekday_hours=optional(fields, "weekday_hours", partial(_weekday_hours, file)) or (),
        capacity=optional(fields, "capacity", partial(_capacity, file)),
    )


def _capacity(file: RuleFile, node: Node, what: str) -> Capacity | None:
    """The most that a location handles: `{orders_per_day: 40, units_per_hour: 30, days_ahead: 2}`."""
    fields = _fields(file, node, what, (*_CAPACITY_LIMITS, "days_ahead"))
    if fields is None:
        return None
    if not any(name in fields for name in _CAPACITY_LIMITS):
        file.note(node, "missing-key", f"{what} has no limit", f"add one of: {', '.join(_CAPACITY_LIMITS)}.")
        return None
    most = {**dict.fromkeys(_CAPACITY_LIMITS, MAX_CAPACITY), "days_ahead": MAX_DAYS_AHEAD}
    numbers = {name: file.integer(value, quoted(name), 0, most[name]) for name, value in fields.items()}
    return None if None in numbers.values() else Capacity(**{name: x for name, x in numbers.items() if x is not None})


def _weekday_hours(file: RuleFile, node: Node, what: str) -> tuple[tuple[int, DayHours], ...]:
    """What differs on some weekdays: `{sat: {opens: 10:00, closes: 16:00}, fri: {cut_off: 12:00}}`."""
    by_day: dict[int, DayHours] = {}
    for key, value in entries(file, node, what):
        day = file.choice(key, f"a day of {what}", DAYS)
        fields = _fields(file, value, f"{quoted(key.text)} in {what}", _HOURS_KEYS)
        if day is not None and fields is not None:
            opens, closes = _hours(file, fields)
            if ("opens" in fields) != ("closes" in fields):
                file.note(
                    value, "missing-key", f"{quoted(key.text)} in {what} needs both 'opens' and 'closes'", "add it."
                )
            by_day[DAYS.index(day)] = DayHours(opens, closes, optional(fields, "cut_off", partial(clock, file)))
    return tuple(sorted(by_day.items()))


def _hours(file: RuleFile, fields: Mapping[str, Node]) -> tuple[time | None, time | None]:
    """When a location opens and closes; None for both if it closes before it opens."""
    opens = optional(fields, "opens", partial(clock, file))
    closes = optional(fields, "closes", partial(clock, file))
    if opens is None or closes is None or opens_before(opens, closes):
        return opens, closes
    file.note(
        fields["closes"],
        "out-of-range",
        "'closes' is not after 'opens'",
        "write hours within one day; 00:00 is its end.",
    )
    return None, None


def _product(file: RuleFile, sku: str, fields: Mapping[str, Node]) -> Product:
    return Product(
        sku,
        name=optional(fields, "display_name", file.text) or "",
        status=optional(fields, "status", lambda value, what: file.choice(value, what, PRODUCT_STATUSES)) or "active",
        tags=optional(fields, "tags", partial(words, file)) or frozenset(),
        category=optional(fields, "category", file.text),
        brand=optional(fields, "brand", file.text),
        price=optional(fields, "price", partial(price, file)),
        velocity_per_day=number_or_unknown(file, fields, "velocity_per_day", MAX_UNITS),
        has_dimensions=optional(fields, "has_dimensions", file.flag) is not False,
        has_barcode=optional(fields, "has_barcode", file.flag) is not False,
        has_image=optional(fields, "has_image", file.flag) is not False,
        weight_grams=optional(fields, "weight_grams", partial(weight, file)),
        readiness=readiness(file, fields),
    )


def _fields(
    file: RuleFile, node: Node, what: str, keys: tuple[str, ...], required: tuple[str, ...] = ()
) -> dict[str, Node] | None:
    """The keys of a fixture, which may be empty."""
    if isinstance(node, ScalarNode) and node.is_empty:
        node = MappingNode({}, node.line, node.column, node.end_line, node.end_column)
    return file.fields(node, what, keys, required)
