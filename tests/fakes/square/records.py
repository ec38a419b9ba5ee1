"""What a Square merchant has on its books."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.fakes.shoppers import Shopper

IN_STOCK, SOLD, WASTE = "IN_STOCK", "SOLD", "WASTE"


@dataclass(slots=True)
class Location:
    """A shop with tills."""

    id: str
    name: str
    status: str = "ACTIVE"


@dataclass(slots=True)
class Variation:
    """An item variation: what is sold and counted."""

    id: str
    item_id: str
    sku: str
    version: int = 1


@dataclass(frozen=True, slots=True)
class StockChange:
    """A count, or units that go from one state to another. `occurred` decides, not when Square heard of it."""

    id: str
    variation: Variation
    location: Location
    occurred: float
    created: float
    units: int
    counted: bool = False
    from_state: str = ""
    to_state: str = ""
    reference_id: str = ""
    refund_id: str = ""


@dataclass(slots=True)
class Line:
    """A line of an order."""

    uid: str
    variation: Variation
    units: int
    source_uid: str = ""
    """Of units that came back: the line on which they were sold."""


@dataclass(slots=True)
class Order:
    """A sale at a till, an order with a fulfillment, or what came back of another order (`returned_from`)."""

    id: str
    location: Location
    lines: list[Line]
    created: float
    updated: float
    state: str = "OPEN"
    version: int = 1
    fulfillment_type: str = ""
    fulfillment_state: str = ""
    source: str = "Point of Sale"
    shopper: Shopper | None = None
    paid: bool = True
    returned_from: str = ""
    refund_id: str = ""
    """Of an order of what came back."""


@dataclass(slots=True)
class Refund:
    """Money that was given back; `order` is that of the return."""

    id: str
    order: Order
    created: float
    updated: float
    status: str = "COMPLETED"


@dataclass(slots=True)
class Subscription:
    """Events that are sent to a URL, signed with a key of their own."""

    id: str
    name: str
    event_types: list[str]
    notification_url: str
    signature_key: str
    enabled: bool = True
    leads_to: str = ""
    """Where a proxy at the URL sends what arrives; nothing stands there if it is empty."""


@dataclass(slots=True)
class Event:
    """Something that happened; kept, so that who missed its webhook can ask."""

    id: str
    type: str
    created: float
    data: dict[str, object] = field(default_factory=dict)
