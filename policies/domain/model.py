"""The values that decisions work with: locations, products, channels, stock levels, orders.

Each value validates itself when it is created. Nothing here reads or changes a database or a clock.

Values are immutable. Those that planning creates for every product and location of an order have `Final` fields, which
the type checker enforces: a frozen dataclass takes five times as long to create.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from math import isfinite
from typing import Final

from policies.domain.capacity import NO_FIGURES, Capacity, CapacityFigures
from policies.domain.day_hours import DayHours
from policies.domain.kits import KitPart
from policies.domain.listings import OrderedItem
from policies.domain.outlets import Outlet
from policies.domain.placement import ANYWHERE, Placement
from policies.domain.product_details import ListingReadiness

LOCATION_TYPES = ("store", "warehouse", "supplier", "pop-up")
LOCATION_STATUSES = ("open", "paused", "stocktake", "closed")
CHANNEL_KINDS = ("pos", "web", "social", "marketplace", "b2b")
PRODUCT_STATUSES = ("active", "draft", "discontinued")
LOCATED_BY = ("postal_code", "area", "region", "country")
"""What coordinates that no order stated can be the middle of, the most precise first."""
SHIP, PICKUP, TRANSFER = "ship", "pickup", "transfer"
METHODS = (SHIP, PICKUP)
RULE_METHODS = (*METHODS, TRANSFER)
"""Methods that rules may test: what a store lacks of a pickup order may be transferred to it."""
WITHHELD_KINDS = ("held_by_buffer", "blocked_by_rule")
"""Kinds of shortages of units that permitted locations have, but that a buffer or a block keeps from the order."""
EXCEPTION_KINDS = (
    *("oversell", "unfillable", *WITHHELD_KINDS, "rejected", "unmapped_product"),
    *("unmapped_location", "mismatch", "stale_feed", "late_shipment", "location_unavailable", "review", "stuck_order"),
    *("sync_failed", "cancelled_after_shipping", "paid_after_cancellation", "hold_overdue", "cancel_requested"),
)
EXCEPTION_ACTIONS = ("backorder", "reroute", "transfer", "cancel", "hold", "review")

ACCEPT, DECLINE = "accept", "decline"
CANCELLATION_ANSWERS = (ACCEPT, DECLINE)
"""Answers to a shopper's request to cancel."""
CANCELLATION_FAULTS = ("buyer", "seller", "carrier", "fraud")
"""Who can have caused a cancellation."""

EVERY_DAY = frozenset(range(7))
"""Days of the week as `date.weekday` counts them: Monday is 0."""

MAX_WEIGHT_GRAMS = 1_000_000_000
"""Largest weight of one packed unit."""

MAX_UNITS = 1_000_000_000
"""Largest number of units of one product at one location; sums of two fit into PostgreSQL integers."""

LEAST_VELOCITY = 0.000001
"""Units that a product sells a day at least, if it sells: one in 2,700 years. Below it, it counts as not selling."""


class Commitment(StrEnum):
    """What the caller commits to: HOLD is not paid yet and expires, SOLD was captured by the channel."""

    HOLD = "hold"
    SOLD = "sold"


class Outcome(StrEnum):
    """Outcome of the decision for an order or for one of its lines."""

    ALLOCATED = "allocated"
    PARTLY_ALLOCATED = "partly_allocated"
    BACKORDERED = "backordered"
    NEEDS_REVIEW = "needs_review"
    UNFILLABLE = "unfillable"
    ENDED = "ended"
    """The order promises nothing any more: it was released or cancelled, or its hold has expired."""


PLANNED_OUTCOMES = tuple(outcome for outcome in Outcome if outcome is not Outcome.ENDED)
"""The outcomes that a routing decision can have."""


@dataclass(frozen=True, slots=True)
class Coordinates:
    """A point on the globe, in degrees (WGS 84)."""

    latitude: float
    longitude: float

    def __post_init__(self) -> None:
        if not (-90 <= self.latitude <= 90 and -180 <= self.longitude <= 180):
            raise ValueError(f"({self.latitude}, {self.longitude}) is not a point on the globe")


@dataclass(frozen=True, slots=True)
class ErasedPoint:
    """A point that was erased: only its distances from some points, in kilometers, are still known."""

    distances_km: tuple[tuple[Coordinates, float], ...]

    def km_from(self, start: Coordinates) -> float:
        """The distance from one of those points. Raises KeyError for any other."""
        return dict(self.distances_km)[start]


@dataclass(frozen=True, slots=True)
class Location:
    """A store, warehouse, supplier or pop-up that holds stock.

    `priority`: lower is preferred, None comes last. `ships_to`: ISO country codes; None is everywhere, empty nowhere.
    `handling_minutes`: from order to hand-over, None if nobody stated it.
    `cut_off`, `opens` and `closes` are local times. An order at the cut-off minute is still handled that day; without a
    cut-off every order is. A location that closes at 0:00 closes at the end of its day. `opening_days` are days of the
    week; Monday is 0. `weekday_hours` are what differs on some of them, each with its day, in their order.
    """

    id: str
    type: str
    status: str = "open"
    name: str = ""
    tags: frozenset[str] = frozenset()
    country: str | None = None
    region: str | None = None
    coordinates: Coordinates | None = None
    time_zone: str = "UTC"
    offers_pickup: bool = False
    handling_minutes: int | None = None
    priority: int | None = None
    ships_to: frozenset[str] | None = None
    cut_off: time | None = None
    opening_days: frozenset[int] = EVERY_DAY
    opens: time | None = None
    closes: time | None = None
    holidays: frozenset[date] = frozenset()
    weekday_hours: tuple[tuple[int, DayHours], ...] = ()
    capacity: Capacity | None = None
    """How much it can handle in a day or an hour; None is no limit."""

    def __post_init__(self) -> None:
        _require_one_of("type", self.type, LOCATION_TYPES)
        _require_one_of("status", self.status, LOCATION_STATUSES)
        for hours in (self.usual_hours, *(hours for _, hours in self.weekday_hours)):
            if not hours.are_in_order:
                raise ValueError(f"{self.id} closes at {hours.closes}, which is not after it opens at {hours.opens}")
        if not self.opening_days <= EVERY_DAY:
            raise ValueError(f"the opening days {sorted(self.opening_days)} are not all from 0, Monday, to 6, Sunday")

    def opens_on(self, day: date) -> bool:
        """Whether the location is open on a day of its local calendar."""
        return day.weekday() in self.opening_days and day not in self.holidays

    @property
    def usual_hours(self) -> DayHours:
        """The hours and the cut-off of days for which nothing else is stated."""
        return DayHours(self.opens, self.closes, self.cut_off)

    def hours_on(self, day: date) -> DayHours:
        """The hours and the cut-off of an opening day: those of its weekday win over the usual ones."""
        usual, weekday = self.usual_hours, day.weekday()
        for stated_day, hours in self.weekday_hours:
            if stated_day == weekday:
                return hours.or_else(usual)
        return usual

    def states_cut_off(self) -> bool:
        """Whether any day has a cut-off."""
        return self.cut_off is not None or any(hours.cut_off is not None for _, hours in self.weekday_hours)

    def states_hours(self) -> bool:
        """Whether any day has opening hours."""
        return self.closes is not None or any(hours.closes is not None for _, hours in self.weekday_hours)


@dataclass(frozen=True, slots=True)
class Product:
    """One SKU. `velocity_per_day` is in units, None if not known yet; `price` is in the merchant's currency.

    `weight_grams` is the weight of one packed unit; None if nobody has stated it.
    """

    sku: str
    name: str = ""
    status: str = "active"
    tags: frozenset[str] = frozenset()
    category: str | None = None
    brand: str | None = None
    price: Decimal | None = None
    velocity_per_day: float | None = None
    has_dimensions: bool = False
    has_barcode: bool = False
    has_image: bool = False
    weight_grams: int | None = None
    readiness: ListingReadiness | None = None
    """Where it can be listed; None if that was not worked out, because no rule asks for it."""

    def __post_init__(self) -> None:
        _require_one_of("status", self.status, PRODUCT_STATUSES)
        if self.weight_grams is not None and not 1 <= self.weight_grams <= MAX_WEIGHT_GRAMS:
            raise ValueError(f"weight_grams is {self.weight_grams}; it must be from 1 to {MAX_WEIGHT_GRAMS}")
        if self.velocity_per_day is not None and not (isfinite(self.velocity_per_day) and self.velocity_per_day >= 0):
            raise ValueError(f"velocity_per_day is {self.velocity_per_day}; it must be 0 or more units per day")


@dataclass(frozen=True, slots=True)
class Channel:
    """A sales channel. `location_ids` are the locations that it may sell from; empty means all.

    `cancellation_headroom` is the unused share, 0 to 1, of the cancellations that the channel allows. `figure_lag` is
    how long it takes until it shows a figure that was published to it.
    `unpaid_order_duration` is how long it lets an order wait for payment; None if not stated. `cancellation_default` is
    how it settles a request to cancel that nobody has answered by its deadline; None is what its platform does.
    `markets` are countries and regions such as `US` and `US-HI` where its shoppers are; empty is unknown.
    """

    id: str
    kind: str
    name: str = ""
    location_ids: frozenset[str] = frozenset()
    cancellation_headroom: float | None = None
    platform: str | None = None
    figure_lag: timedelta = timedelta()
    unpaid_order_duration: timedelta | None = None
    cancellation_default: str | None = None
    markets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_one_of("kind", self.kind, CHANNEL_KINDS)
        if self.cancellation_default is not None:
            _require_one_of("cancellation_default", self.cancellation_default, CANCELLATION_ANSWERS)
        if self.figure_lag < timedelta():
            raise ValueError(f"figure_lag is {self.figure_lag}; it cannot be below 0")
        if self.cancellation_headroom is not None and not 0 <= self.cancellation_headroom <= 1:
            raise ValueError(f"cancellation_headroom is {self.cancellation_headroom}; it must be a share from 0 to 1")

    def may_sell_from(self, location_id: str) -> bool:
        """Whether the channel may sell from the location."""
        return not self.location_ids or location_id in self.location_ids


@dataclass(slots=True, unsafe_hash=True)
class StockLevel:
    """Stock of one product at one location, in units.

    `as_of_time` is when the on-hand figure was last true at its source, `counted_time` when it was last counted, and
    `physical_count_time` when a person last counted it. `held` excludes expired holds. A level that is not `tracked` is
    no longer reported by its feed, and nothing more may be sold from it.
    """

    sku: Final[str]
    location_id: Final[str]
    on_hand: Final[int]
    unavailable: Final[int] = 0
    held: Final[int] = 0
    allocated: Final[int] = 0
    as_of_time: Final[datetime | None] = None
    counted_time: Final[datetime | None] = None
    count_confidence: Final[float | None] = None
    source: Final[str | None] = None
    tracked: Final[bool] = True
    physical_count_time: Final[datetime | None] = None
    oldest_receipt_time: Final[datetime | None] = None
    """When the oldest of the units on hand came in, if first in is first out; None if unknown, or no rule asks."""

    @property
    def available(self) -> int:
        """Units on hand that are sellable and not promised; below 0 if fewer were counted than are promised."""
        return self.on_hand - self.unavailable - self.held - self.allocated

    def changed_by(self, on_hand: int, unavailable: int, held: int, allocated: int) -> StockLevel:
        """The level after its figures have changed by these units."""
        # Every order makes such a level for each of its lines: `replace` takes five times as long.
        return StockLevel(
            self.sku,
            self.location_id,
            self.on_hand + on_hand,
            self.unavailable + unavailable,
            self.held + held,
            self.allocated + allocated,
            self.as_of_time,
            self.counted_time,
            self.count_confidence,
            self.source,
            self.tracked,
            self.physical_count_time,
            self.oldest_receipt_time,
        )


@dataclass(slots=True, unsafe_hash=True)
class Destination:
    """Where an order is delivered to.

    `coordinates` are erased only in the inputs of a stored decision. `located_by` says what they are the middle of;
    None if the order stated them, or there are none.
    """

    country: Final[str | None] = None
    region: Final[str | None] = None
    postal_code: Final[str | None] = None
    coordinates: Final[Coordinates | ErasedPoint | None] = None
    located_by: Final[str | None] = None

    def __post_init__(self) -> None:
        if self.located_by is not None:
            _require_one_of("located_by", self.located_by, LOCATED_BY)

    def as_stated(self) -> Destination:
        """The destination with the coordinates that its order stated, if any."""
        return self if self.located_by is None else Destination(self.country, self.region, self.postal_code)


@dataclass(slots=True, unsafe_hash=True)
class OrderLine:
    """A number of ordered units of one product; `line_id` is unique within its order.

    `placement` says where its units may come from. `item` is what the channel ordered if that was an item of its own;
    `unit_price` is then the price of an item. `kit` says of which ordered kit the units are a component; `unit_price`
    is then that of the kit, or of the item.
    """

    line_id: Final[str]
    sku: Final[str]
    unit_count: Final[int]
    unit_price: Final[Decimal | None] = None
    placement: Final[Placement] = ANYWHERE
    item: Final[OrderedItem | None] = None
    kit: Final[KitPart | None] = None

    def __post_init__(self) -> None:
        if not 1 <= self.unit_count <= MAX_UNITS:
            raise ValueError(f"line {self.line_id} has {self.unit_count} units; order 1 to {MAX_UNITS}")

    @property
    def price(self) -> Decimal | None:
        """The price of all its units; None if it has none."""
        if self.unit_price is None:
            return None
        price = self.unit_price * self.unit_count
        if self.item is not None:
            return price / (self.item.units_each or 1)
        return price if self.kit is None else price / self.kit.unit_count


@dataclass(slots=True, unsafe_hash=True)
class Order:
    """One order of one channel: all its lines and how it is to be fulfilled. `priority` is None if none was stated.

    `outlet` is the one that its channel chose: only its locations may supply the order. None is no choice.
    """

    channel_id: Final[str]
    order_id: Final[str]
    lines: Final[tuple[OrderLine, ...]]
    commitment: Final[Commitment] = Commitment.HOLD
    method: Final[str] = "ship"
    destination: Final[Destination | None] = None
    pickup_location_id: Final[str | None] = None
    stated_value: Final[Decimal | None] = None
    priority: Final[int | None] = None
    tags: Final[frozenset[str]] = frozenset()
    outlet: Final[Outlet | None] = None
    ship_by_time: Final[datetime | None] = None
    """When its channel wants it to have shipped."""
    deliver_by: Final[date | None] = None
    """The last day on which it should be delivered, by the calendar of the location that ships it."""
    currency: Final[str] = ""
    """The ISO 4217 code of its value and prices, which no decision depends on; empty if it states none."""

    def __post_init__(self) -> None:
        _require_one_of("method", self.method, METHODS)
        if not self.lines:
            raise ValueError("an order must have at least one line")

    @property
    def value(self) -> Decimal | None:
        """The stated value, otherwise the sum of the lines' prices; None if a line has no price."""
        if self.stated_value is not None:
            return self.stated_value
        prices = [price for line in self.lines if (price := line.price) is not None]
        return sum(prices, Decimal(0)) if len(prices) == len(self.lines) else None

    @property
    def line_count(self) -> int:
        """Its lines as they were ordered: a kit is one."""
        kits = [line.kit.line_id for line in self.lines if line.kit is not None]
        return len(self.lines) - len(kits) + len({*kits})

    def skus(self) -> set[str]:
        """The SKUs of its lines, and those of the kits that they are components of."""
        kits = [line.kit.sku for line in self.lines if line.kit is not None]
        skus = {line.sku for line in self.lines}
        return skus.union(kits) if kits else skus

    def units_by_sku(self) -> dict[str, int]:
        """Ordered units of each SKU, in the order of the lines; lines of one SKU share their units."""
        units: dict[str, int] = {}
        for line in self.lines:
            units[line.sku] = units.get(line.sku, 0) + line.unit_count
        return units


@dataclass(slots=True, unsafe_hash=True)
class OrderFacts:
    """Order facts that rules may test; None if unknown.

    `weight_grams` is the weight of all units, `product_tags` are those of all products; kits are their components.
    """

    method: Final[str | None] = None
    value: Final[Decimal | None] = None
    unit_count: Final[int | None] = None
    line_count: Final[int | None] = None
    priority: Final[int | None] = None
    tags: Final[frozenset[str] | None] = None
    ship_by_time: Final[datetime | None] = None
    deliver_by: Final[date | None] = None
    weight_grams: Final[int | None] = None
    product_tags: Final[frozenset[str] | None] = None

    @classmethod
    def of(cls, order: Order, products: Mapping[str, Product] | None = None) -> OrderFacts:
        """The facts of a complete order; those of its contents are unknown without the catalog's `products`."""
        units = order.units_by_sku()
        return cls(
            method=order.method,
            value=order.value,
            unit_count=sum(units.values()),
            line_count=order.line_count,
            priority=order.priority,
            tags=order.tags,
            ship_by_time=order.ship_by_time,
            deliver_by=order.deliver_by,
            weight_grams=None if products is None else weight_of(units, products),
            product_tags=None if products is None else tags_of(units, products),
        )


def weight_of(units: Mapping[str, int], products: Mapping[str, Product]) -> int | None:
    """The weight in grams of so many units of each SKU; None if that of one is unknown."""
    grams = 0
    for sku, count in units.items():
        product = products.get(sku)
        if product is None or product.weight_grams is None:
            return None
        grams += product.weight_grams * count
    return grams


def tags_of(skus: Iterable[str], products: Mapping[str, Product]) -> frozenset[str]:
    """All tags of these products together."""
    tags = [products[sku].tags for sku in skus if sku in products]
    return tags[0] if len(tags) == 1 else frozenset().union(*tags)


@dataclass(frozen=True, slots=True)
class PlanFacts:
    """Facts of a finished plan that rules may test. `cost` is the shipping cost of all its shipments.

    `days_until_delivery` are those until the last one arrives, by the calendar of its location. `days_saved` are those
    by which a split reaches the shopper before the one location that would ship instead.
    """

    shipment_count: int
    distance_km: float | None = None
    cost: Decimal | None = None
    days_until_delivery: int | None = None
    days_saved: int | None = None


@dataclass(frozen=True, slots=True)
class CancellationFacts:
    """Facts of a request to cancel. `work_started`: a location has accepted or shipped any of the requested units."""

    fault: str | None = None
    work_started: bool | None = None


@dataclass(slots=True, unsafe_hash=True)
class Context:
    """Everything from which the facts of one question are read. Facts of a field that is None are unknown.

    `stock` is one level, or, for `scope: channel` rules, the sum over the channel's locations, without `location`.
    """

    now: Final[datetime]
    channel: Final[Channel | None] = None
    order: Final[OrderFacts | None] = None
    destination: Final[Destination | None] = None
    location: Final[Location | None] = None
    product: Final[Product | None] = None
    stock: Final[StockLevel | None] = None
    plan: Final[PlanFacts | None] = None
    exception_kind: Final[str | None] = None
    cancellation: Final[CancellationFacts | None] = None
    capacity: Final[CapacityFigures | None] = None
    """What was taken of the locations' capacity; None if that was not read."""

    def __post_init__(self) -> None:
        if self.now.tzinfo is None:
            raise ValueError("now has no time zone")


def go_on() -> None:
    """Pauses nothing."""


@dataclass(slots=True, unsafe_hash=True)
class World:
    """A snapshot of the catalog and stock from which one question is answered.

    `levels` is keyed by (sku, location id); a product was never stocked at a location without a level. `pause` is
    called again and again while a decision about many levels is worked out, so that others may run in between.
    `capacity` is what others than the order in question have taken of the locations' capacity; None if that was not
    read, and no location that states a limit has then taken anything.
    """

    now: Final[datetime]
    locations: Final[Mapping[str, Location]]
    products: Final[Mapping[str, Product]]
    levels: Final[Mapping[tuple[str, str], StockLevel]] = field(default_factory=dict)
    pause: Final[Callable[[], None]] = field(default=go_on, compare=False, repr=False)
    capacity: Final[CapacityFigures | None] = None

    @property
    def capacity_figures(self) -> CapacityFigures:
        """What was taken of the locations' capacity; nothing if that was not read."""
        return NO_FIGURES if self.capacity is None else self.capacity


def _require_one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is '{value}'; use one of: {', '.join(allowed)}")
