"""Reads `given` of a test: the question about availability, an order, a delivery or an exception, and the stock."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from policies.domain.capacity import MAX_CAPACITY, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.handling_times import first_handling_time
from policies.domain.model import (
    CANCELLATION_FAULTS,
    EXCEPTION_KINDS,
    MAX_UNITS,
    METHODS,
    CancellationFacts,
    Channel,
    Commitment,
    Context,
    Destination,
    Location,
    Order,
    OrderFacts,
    OrderLine,
    Product,
    StockLevel,
)
from policies.domain.placement import ANYWHERE
from policies.domain.rate_table import UNKNOWN_WEIGHT, ShipmentSize
from policies.source.problems import quoted
from policies.source.rule_file import RuleFile
from policies.source.yaml_nodes import MappingNode, Node
from policies.testing.fixtures import Fixtures
from policies.testing.placements import chosen_outlet, line_placements
from policies.testing.stated_values import (
    FIGURES,
    day,
    destination,
    moment,
    optional,
    price,
    stated_level,
    stock_level,
    weight,
    words,
)

MAX_PRIORITY = 1_000_000

AVAILABILITY_KEYS = ("channel", "product", "location", "stock", "method", "destination", *FIGURES)
ORDER_KEYS = (
    *("channel", "lines", "stock", "commitment", "method", "pickup_location", "destination", "value", "priority"),
    *("tags", "ship_by", "deliver_by", "capacity_used", "outlet", "placements"),
)
DELIVERY_KEYS = (
    *("channel", "ships_from", "unit_count", "method", "destination", "value", "priority", "tags"),
    *("weight_grams", "product_tags"),
)

EXCEPTION_KEYS = (
    *("exception", "channel", "location", "product", "lines", "method", "destination", "value", "priority", "tags"),
    *("fault", "work_started"),
)

LISTING_KEYS = ("listing_of", "channel")

NO_CHANNEL = Channel("no channel", "web")
"""Channel of an exception without one, such as a stale feed."""

Levels = Mapping[tuple[str, str], StockLevel]
"""Stock by (sku, location id)."""


@dataclass(frozen=True, slots=True)
class AvailabilityGiven:
    """The question how many units of a product a channel may sell."""

    sku: str
    method: str | None = None
    destination: Destination | None = None


@dataclass(frozen=True, slots=True)
class DeliveryGiven:
    """The question how an order shipped from one location is delivered."""

    location_id: str
    unit_count: int
    order: OrderFacts
    destination: Destination | None = None

    @property
    def size(self) -> ShipmentSize:
        """The size of the shipment, which is the whole order."""
        grams = self.order.weight_grams
        return ShipmentSize(self.unit_count, UNKNOWN_WEIGHT if grams is None else grams)


@dataclass(frozen=True, slots=True)
class ExceptionGiven:
    """The question who resolves an exception; the context has its kind and its known facts."""

    context: Context


@dataclass(frozen=True, slots=True)
class ListingGiven:
    """The question whether a channel's platform can list a product."""

    sku: str


Question = AvailabilityGiven | Order | DeliveryGiven | ExceptionGiven | ListingGiven


@dataclass(frozen=True, slots=True)
class CaseGiven:
    """The question of a test, with its channel and stock."""

    channel: Channel
    question: Question
    levels: Levels
    capacity: CapacityFigures | None = None


@dataclass(frozen=True, slots=True)
class GivenReader:
    """Reads `given`. `now` is the suite's clock."""

    file: RuleFile
    now: datetime
    fixtures: Fixtures

    def availability(self, node: Node, what: str) -> CaseGiven | None:
        """The question how many units of `product` the channel may sell."""
        fields = self.file.fields(node, what, AVAILABILITY_KEYS, ("channel",))
        if fields is None:
            return None
        if "product" not in fields:
            help = "add 'product:' to test what can be sold, or 'lines:' to test where an order is routed."
            self.file.note(node, "missing-key", "'given' has no 'product' or 'lines'", help)
        channel = optional(fields, "channel", self._channel)
        sku = optional(fields, "product", self._sku)
        method = self._choice(fields, "method", METHODS)
        order_destination = optional(fields, "destination", partial(destination, self.file))
        levels = self._availability_levels(node, fields, sku) if sku is not None else {}
        if channel is None or sku is None:
            return None
        return CaseGiven(channel, AvailabilityGiven(sku, method, order_destination), levels)

    def _availability_levels(self, node: Node, fields: dict[str, Node], sku: str) -> Levels:
        """The stock of one product: at one `location`, or at each location under `stock`."""
        if "stock" in fields:
            for key in ("location", *FIGURES):
                if key in fields:
                    message = f"'{key}' and 'stock' exclude each other"
                    self.file.note(fields[key], "conflicting-keys", message, "move it to its location under 'stock'.")
            levels = [
                stock_level(self.file, value, self.now, sku, location_id)
                for location_id, value in self.fixtures.entries("location", fields["stock"], "'stock'")
            ]
            return _by_key(levels)
        if "location" not in fields:
            help = "add 'location:' and 'available:', or 'stock:' with a figure for each location."
            self.file.note(node, "missing-key", "'given' has no 'location' or 'stock'", help)
            return {}
        location_id = self.fixtures.fixture_name("location", fields["location"], "'location'")
        level = stated_level(self.file, node, fields, self.now, (sku, location_id or ""))
        return _by_key([level] if location_id is not None else [])

    def order(self, node: Node, what: str) -> CaseGiven | None:
        """The question where an order of `lines` is routed."""
        fields = self.file.fields(node, what, ORDER_KEYS, ("channel", "stock"))
        if fields is None:
            return None
        channel = optional(fields, "channel", self._channel)
        lines = self._placed_lines(fields)
        commitment = self._choice(fields, "commitment", tuple(Commitment))
        levels = _by_key(self._order_levels(fields["stock"])) if "stock" in fields else {}
        order = Order(
            channel_id=channel.id if channel else "",
            order_id="test",
            # A test with problems is never run, but an order must have at least one line.
            lines=lines or (OrderLine("1", "", 1),),
            commitment=Commitment(commitment or Commitment.HOLD),
            method=self._choice(fields, "method", METHODS) or "ship",
            destination=optional(fields, "destination", partial(destination, self.file)),
            pickup_location_id=optional(fields, "pickup_location", partial(self.fixtures.fixture_name, "location")),
            stated_value=optional(fields, "value", partial(price, self.file)),
            priority=optional(fields, "priority", self._priority),
            tags=optional(fields, "tags", partial(words, self.file)) or frozenset(),
            ship_by_time=optional(fields, "ship_by", partial(moment, self.file)),
            deliver_by=optional(fields, "deliver_by", partial(day, self.file)),
            outlet=optional(fields, "outlet", partial(chosen_outlet, self.file, self.fixtures)),
        )
        capacity = optional(fields, "capacity_used", self._capacity_used) or CapacityFigures()
        return None if channel is None or not lines else CaseGiven(channel, order, levels, capacity)

    def _capacity_used(self, node: Node, what: str) -> CapacityFigures:
        """What each location has taken of the day on which it would handle the order: `{oslo: {orders: 5}}`."""
        used: dict[CapacityPeriod, CapacityUse] = {}
        for location_id, value in self.fixtures.entries("location", node, what):
            title = f"{what} of {quoted(location_id)}"
            fields = self.file.fields(value, title, ("orders", "units"))
            location = self.fixtures.locations.get(location_id)
            if fields is None or location is None:
                continue
            counts = {key: self.file.integer(x, quoted(key), 0, MAX_CAPACITY) or 0 for key, x in fields.items()}
            first = first_handling_time(location, self.now)
            if first is not None:
                use = CapacityUse(counts.get("orders", 0), counts.get("units", 0))
                used[CapacityPeriod(location_id, first.day)] = use
        return CapacityFigures(used)

    def delivery(self, node: Node, what: str) -> CaseGiven | None:
        """The question how a shipment from `ships_from` is delivered."""
        fields = self.file.fields(node, what, DELIVERY_KEYS, ("channel",))
        if fields is None:
            return None
        channel = optional(fields, "channel", self._channel)
        location_id = optional(fields, "ships_from", partial(self.fixtures.fixture_name, "location"))
        unit_count = optional(fields, "unit_count", self._unit_count) or 1
        order = OrderFacts(
            method=self._choice(fields, "method", METHODS) or "ship",
            value=optional(fields, "value", partial(price, self.file)),
            unit_count=unit_count,
            priority=optional(fields, "priority", self._priority),
            tags=optional(fields, "tags", partial(words, self.file)) or frozenset(),
            weight_grams=optional(fields, "weight_grams", partial(weight, self.file)),
            product_tags=optional(fields, "product_tags", partial(words, self.file)) or frozenset(),
        )
        order_destination = optional(fields, "destination", partial(destination, self.file))
        if channel is None or location_id is None:
            return None
        return CaseGiven(channel, DeliveryGiven(location_id, unit_count, order, order_destination), {})

    def exception(self, node: Node, what: str) -> CaseGiven | None:
        """The question who resolves an exception. Omitted facts are unknown."""
        fields = self.file.fields(node, what, EXCEPTION_KEYS, ("exception",))
        if fields is None:
            return None
        sku = optional(fields, "product", self._sku)
        context = Context(
            self.now,
            channel=optional(fields, "channel", self._channel),
            order=self._order_facts(fields),
            destination=optional(fields, "destination", partial(destination, self.file)),
            location=optional(fields, "location", self._location),
            product=self.fixtures.products.get(sku) if sku is not None else None,
            exception_kind=self._choice(fields, "exception", EXCEPTION_KINDS),
            cancellation=CancellationFacts(
                fault=self._choice(fields, "fault", CANCELLATION_FAULTS),
                work_started=optional(fields, "work_started", self.file.flag),
            ),
        )
        if context.exception_kind is None:
            return None
        return CaseGiven(context.channel or NO_CHANNEL, ExceptionGiven(context), {})

    def listing(self, node: Node, what: str) -> CaseGiven | None:
        """The question whether the platform of the channel can list a product."""
        fields = self.file.fields(node, what, LISTING_KEYS, ("channel",))
        if fields is None:
            return None
        channel, sku = optional(fields, "channel", self._channel), optional(fields, "listing_of", self._sku)
        if channel is not None and channel.platform is None:
            help = "name a channel of a platform, or add 'platform:' to its fixture."
            self.file.note(
                fields["channel"], "unknown-value", f"the channel {quoted(channel.id)} has no platform", help
            )
        return None if channel is None or sku is None else CaseGiven(channel, ListingGiven(sku), {})

    def _order_facts(self, fields: dict[str, Node]) -> OrderFacts:
        """The stated facts of an exception's order."""
        lines = self._lines(fields["lines"]) if "lines" in fields else ()
        method = self._choice(fields, "method", METHODS)
        value = optional(fields, "value", partial(price, self.file))
        priority = optional(fields, "priority", self._priority)
        tags = optional(fields, "tags", partial(words, self.file))
        if not lines:
            return OrderFacts(method=method, value=value, priority=priority, tags=tags)
        order = Order("", "test", lines, method=method or "ship", stated_value=value, priority=priority)
        return OrderFacts.of(replace(order, tags=tags or frozenset()), self.fixtures.products)

    def _placed_lines(self, fields: dict[str, Node]) -> tuple[OrderLine, ...]:
        """The lines, each with its placement."""
        lines = self._lines(fields["lines"])
        placements = optional(fields, "placements", partial(line_placements, self.file, self.fixtures)) or {}
        if (unknown := placements.keys() - {line.sku for line in lines}) and lines:
            message = f"'placements' has {quoted(min(unknown))}, which is not in 'lines'"
            self.file.note(fields["placements"], "unknown-key", message, "write only SKUs that the order has.")
        return tuple(replace(line, placement=placements.get(line.sku, ANYWHERE)) for line in lines)

    def _lines(self, node: Node) -> tuple[OrderLine, ...]:
        if isinstance(node, MappingNode) and not node.entries:
            self.file.note(node, "empty-list", "'lines' is empty", "write a SKU and its units: {MUG: 2}.")
        lines = []
        for sku, value in self.fixtures.entries("product", node, "'lines'"):
            count = self.file.integer(value, f"the units of {quoted(sku)}", 1, MAX_UNITS)
            product = self.fixtures.products.get(sku, Product(sku))
            if count is not None:
                lines.append(OrderLine(sku, sku, count, product.price))
        return tuple(lines)

    def _order_levels(self, node: Node) -> Iterator[StockLevel | None]:
        for location_id, skus in self.fixtures.entries("location", node, "'stock'"):
            for sku, value in self.fixtures.entries("product", skus, f"the stock of {quoted(location_id)}"):
                yield stock_level(self.file, value, self.now, sku, location_id)

    def _channel(self, node: Node, what: str) -> Channel | None:
        name = self.fixtures.fixture_name("channel", node, what)
        return None if name is None else self.fixtures.channels.get(name)

    def _location(self, node: Node, what: str) -> Location | None:
        name = self.fixtures.fixture_name("location", node, what)
        return None if name is None else self.fixtures.locations.get(name)

    def _sku(self, node: Node, what: str) -> str | None:
        return self.fixtures.fixture_name("product", node, what)

    def _unit_count(self, node: Node, what: str) -> int | None:
        return self.file.integer(node, what, 1, MAX_UNITS)

    def _priority(self, node: Node, what: str) -> int | None:
        return self.file.integer(node, what, -MAX_PRIORITY, MAX_PRIORITY)

    def _choice(self, fields: Mapping[str, Node], key: str, choices: tuple[str, ...]) -> str | None:
        return optional(fields, key, lambda value, what: self.file.choice(value, what, choices))


def _by_key(levels: Iterable[StockLevel | None]) -> Levels:
    return {(level.sku, level.location_id): level for level in levels if level is not None}
