"""What a Shopify shop has on its books. Ids are the integers of its REST API; `gid` makes those of GraphQL of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.shoppers import Shopper

UNAVAILABLE = ("reserved", "safety_stock", "damaged", "quality_control")
"""States that are on hand and not for sale."""


def gid(kind: str, number: int) -> str:
    """The global id of a record."""
    return f"gid://shopify/{kind}/{number}"


def number(global_id: str) -> int:
    """The number in a global id; 0 for a text that is none."""
    tail = global_id.rpartition("/")[2].partition("?")[0]
    return int(tail) if tail.isdigit() else 0


@dataclass(slots=True)
class Location:
    """A place that has stock."""

    id: int
    name: str
    updated: float
    is_active: bool = True


@dataclass(slots=True)
class Item:
    """What is sold: a variant and its inventory item, which have different ids."""

    id: int
    variant_id: int
    sku: str
    tracked: bool = True


@dataclass(slots=True)
class Level:
    """Stock of an item at a location, by state."""

    item: Item
    location: Location
    updated: float
    quantities: dict[str, int] = field(default_factory=dict)
    is_active: bool = True

    def quantity(self, name: str) -> int:
        """Units in a state; `on_hand` is the sum of all but `incoming`."""
        if name == "on_hand":
            return sum(units for state, units in self.quantities.items() if state != "incoming")
        return self.quantities.get(name, 0)


@dataclass(slots=True)
class Line:
    """A line of an order. `current` leaves out what was removed or refunded before it shipped."""

    id: int
    item: Item
    quantity: int
    current: int
    unfulfilled: int
    requires_shipping: bool = True


@dataclass(slots=True)
class FulfillmentOrder:
    """Units of an order that one location is to ship, by line id."""

    id: int
    location: Location
    units: dict[int, int]
    status: str = "OPEN"
    holds: list[str] = field(default_factory=list)
    updated: float = 0.0


@dataclass(slots=True)
class RefundLine:
    """Units of a line that were refunded, and where they were put back."""

    line: Line
    units: int
    restock_type: str
    location: Location | None


@dataclass(slots=True)
class Refund:
    """A refund."""

    id: int
    order: Order
    lines: list[RefundLine]
    created: float


@dataclass(slots=True)
class Fulfillment:
    """A parcel that left, by line id."""

    id: int
    location: Location
    units: dict[int, int]
    created: float


@dataclass(slots=True)
class Order:
    """An order: of the shop's own checkout, of a till, or a copy that a connector of another channel has made."""

    id: int
    name: str
    shopper: Shopper
    lines: list[Line]
    created: float
    updated: float
    source_name: str = "web"
    source_identifier: str = ""
    note: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    financial_status: str = "PAID"
    is_test: bool = False
    cancelled: float = 0.0
    cancel_reason: str = ""
    closed: bool = False
    edited: bool = False
    retail_location: Location | None = None
    fulfillment_orders: list[FulfillmentOrder] = field(default_factory=list)
    refunds: list[Refund] = field(default_factory=list)
    fulfillments: list[Fulfillment] = field(default_factory=list)

    def line(self, line_id: int) -> Line:
        """A line by its id."""
        return next(line for line in self.lines if line.id == line_id)


@dataclass(slots=True)
class Subscription:
    """A webhook that the app asked for."""

    id: int
    topic: str
    uri: str
    include_fields: list[str]
    created: float
    failures: int = 0
