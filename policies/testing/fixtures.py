"""The locations, products and channels that a test suite states, read into values.

What a fixture leaves out is ordinary: an open location, a product that is ready to be sold.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import time
from functools import partial
from typing import TypeVar

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
from policies.reading.delivery_rules import weekdays
from policies.reading.merchant import read_time_zone
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile, suggestion
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode
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
    words,
)

KNOWN_CHANNELS: Mapping[str, str] = {"tiktok_shop": "social", "shopify": "web", "pos": "pos", "amazon": "marketplace"}
"""Channels that a test may name without a fixture, and their kinds."""

MAX_PRIORITY = 1_000_000
MAX_HANDLING_MINUTES = 100_000

Value = TypeVar("Value")

_LOCATION_KEYS = (
    *("type", "status", "tags", "country", "region", "coordinates", "offers_pickup", "priority", "ships_to"),
    *("handling_minutes", "time_zone", "cut_off", "opening_days", "opens", "closes", "holidays"),
)
_CHANNEL_KEYS = ("kind", "locations", "cancellation_headroom")
_PRODUCT_KEYS = (
    *("tags", "category", "brand", "price", "velocity_per_day", "has_dimensions", "has_barcode", "has_image"),
    "status",
)


@dataclass(slots=True)
class Fixtures:
    """The fixtures of one suite. `named` has where each stands, also of those that could not be read."""

    page: RuleFile
    locations: dict[str, Location] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    named: dict[str, dict[str, ScalarNode]] = field(
        default_factory=lambda: {"location": {}, "product": {}, "channel": {}}
    )
    used: set[tuple[str, str]] = field(default_factory=set)
    shared: Fixtures | None = None

    @classmethod
    def read(cls, page: RuleFile, fields: Mapping[str, Node], shared: Fixtures | None = None) -> Fixtures:
        """The fixtures under `locations`, `products` and `channels`, and those that are shared and not stated anew."""
        made = cls(page, shared=shared)
        if shared is not None:
            made.locations |= shared.locations
            made.products |= shared.products
            made.channels |= shared.channels
        for key, value in made._entries_of(fields, "location"):
            made._keep(made.locations, key.text, _location(page, key.text, value))
        for key, value in made._entries_of(fields, "product"):
            made._keep(made.products, key.text, _product(page, key.text, value))
        for key, value in made._entries_of(fields, "channel"):
            made._keep(made.channels, key.text, made._channel(key.text, value))
        for name, kind in KNOWN_CHANNELS.items():
            if not made._states("channel", name):
                made.channels[name] = Channel(name, kind)
        return made

    def known(self, kind: str, node: Node, what: str) -> str | None:
        """The name of a fixture of this kind; a name that no fixture has is a problem."""
        name = self.page.text(node, what)
        if name is None:
            return None
        borrowed = self.shared.named[kind] if self.shared is not None else {}
        known = [*self.named[kind], *borrowed, *(KNOWN_CHANNELS if kind == "channel" else ())]
        if name not in known:
            help = f"{suggestion(name, known)}Add it under '{kind}s:', beside: {', '.join(known[:20]) or 'none yet'}."
            self.page.note(node, "unknown-fixture", f"this suite has no {kind} {quoted(name)}", help)
            return None
        self.used.add((kind, name))
        if self.shared is not None and name not in self.named[kind]:
            self.shared.used.add((kind, name))
        return name

    def entries(self, kind: str, node: Node, what: str) -> Iterator[tuple[str, Node]]:
        """The entries of a mapping whose keys are fixtures of this kind."""
        for key, value in entries(self.page, node, what):
            name = self.known(kind, key, f"a {kind} in {what}")
            if name is not None:
                yield name, value

    def note_unused(self, tests: str = "test of this suite") -> None:
        """A problem for every fixture that none of the tests names."""
        for kind, nodes in self.named.items():
            for name, node in nodes.items():
                if (kind, name) not in self.used:
                    message = f"no {tests} names the {kind} {quoted(name)}"
                    self.page.note(node, "unused-fixture", message, "name it in a test, or take it out.")

    def _states(self, kind: str, name: str) -> bool:
        return name in self.named[kind] or (self.shared is not None and name in self.shared.named[kind])

    def _entries_of(self, fields: Mapping[str, Node], kind: str) -> Iterator[tuple[ScalarNode, Node]]:
        if f"{kind}s" in fields:
            for key, value in entries(self.page, fields[f"{kind}s"], f"'{kind}s'"):
                self.named[kind][key.text] = key
                yield key, value

    def _keep(self, kept: dict[str, Value], name: str, found: Value | None) -> None:
        if found is not None:
            kept[name] = found

    def _channel(self, id: str, node: Node) -> Channel | None:
        required = () if id in KNOWN_CHANNELS else ("kind",)
        fields = _fields(self.page, node, f"channel {quoted(id)}", _CHANNEL_KEYS, required)
        if fields is None:
            return None
        kind = optional(fields, "kind", lambda value, what: self.page.choice(value, what, CHANNEL_KINDS))
        places = optional(fields, "locations", self._locations) or []
        headroom = number_or_unknown(self.page, fields, "cancellation_headroom", 1)
        kind = kind or KNOWN_CHANNELS.get(id)
        if kind is None:
            return None
        return Channel(id, kind, location_ids=frozenset(places), cancellation_headroom=headroom)

    def _locations(self, node: Node, what: str) -> list[str]:
        places = self.page.items(node, what, "locations: [high-street, dc-north]", at_most=MAX_ENTRIES)
        found = [self.known("location", place, "a location") for place in places]
        return [place for place in found if place is not None]


def _location(page: RuleFile, id: str, node: Node) -> Location | None:
    fields = _fields(page, node, f"location {quoted(id)}", _LOCATION_KEYS, ("type",))
    if fields is None:
        return None
    opens, closes = _hours(page, fields)
    return Location(
        id,
        # A suite with a problem is never run, so that any type will do to find its other problems.
        optional(fields, "type", lambda value, what: page.choice(value, what, LOCATION_TYPES)) or LOCATION_TYPES[0],
        optional(fields, "status", lambda value, what: page.choice(value, what, LOCATION_STATUSES)) or "open",
        tags=optional(fields, "tags", partial(words, page)) or frozenset(),
        country=optional(fields, "country", partial(country, page)),
        region=optional(fields, "region", page.text),
        coordinates=optional(fields, "coordinates", partial(coordinates, page)),
        offers_pickup=optional(fields, "offers_pickup", page.flag) or False,
        handling_minutes=optional(
            fields, "handling_minutes", lambda value, what: page.integer(value, what, 0, MAX_HANDLING_MINUTES)
        )
        or 0,
        priority=optional(fields, "priority", lambda value, what: page.integer(value, what, 0, MAX_PRIORITY)),
        ships_to=optional(fields, "ships_to", partial(countries, page)),
        time_zone=optional(fields, "time_zone", partial(read_time_zone, page)) or "UTC",
        cut_off=optional(fields, "cut_off", partial(clock, page)),
        opening_days=optional(fields, "opening_days", partial(weekdays, page)) or EVERY_DAY,
        opens=opens,
        closes=closes,
        holidays=optional(fields, "holidays", partial(days, page)) or frozenset(),
    )


def _hours(page: RuleFile, fields: Mapping[str, Node]) -> tuple[time | None, time | None]:
    """When a location opens and closes; of hours that no day has, none."""
    opens = optional(fields, "opens", partial(clock, page))
    closes = optional(fields, "closes", partial(clock, page))
    if opens is None or closes is None or opens < closes:
        return opens, closes
    page.note(fields["closes"], "out-of-range", "'closes' is not after 'opens'", "write hours within one day.")
    return None, None


def _product(page: RuleFile, sku: str, node: Node) -> Product | None:
    fields = _fields(page, node, f"product {quoted(sku)}", _PRODUCT_KEYS)
    if fields is None:
        return None
    return Product(
        sku,
        status=optional(fields, "status", lambda value, what: page.choice(value, what, PRODUCT_STATUSES)) or "active",
        tags=optional(fields, "tags", partial(words, page)) or frozenset(),
        category=optional(fields, "category", page.text),
        brand=optional(fields, "brand", page.text),
        price=optional(fields, "price", partial(price, page)),
        velocity_per_day=number_or_unknown(page, fields, "velocity_per_day", MAX_UNITS),
        has_dimensions=optional(fields, "has_dimensions", page.flag) is not False,
        has_barcode=optional(fields, "has_barcode", page.flag) is not False,
        has_image=optional(fields, "has_image", page.flag) is not False,
    )


def _fields(
    page: RuleFile, node: Node, what: str, keys: tuple[str, ...], required: tuple[str, ...] = ()
) -> dict[str, Node] | None:
    """A fixture's keys; one with nothing after its name says nothing out of the ordinary."""
    if isinstance(node, ScalarNode) and node.is_empty:
        node = MappingNode({}, node.line, node.column)
    return page.fields(node, what, keys, required)
