"""What a TikTok shop has on its books."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.shoppers import Shopper

CLOSED = ("CANCELLED", "COMPLETED")
PENDING = "CANCELLATION_REQUEST_PENDING"


@dataclass(slots=True)
class Warehouse:
    """Where TikTok ships from, as the seller has set it up."""

    id: str
    name: str
    is_default: bool = False
    effect_status: str = "ENABLED"


@dataclass(slots=True)
class Stock:
    """Of one SKU in one warehouse. `available` is what shoppers still may buy."""

    available: int
    committed: int = 0


@dataclass(slots=True)
class Sku:
    """A sellable item; `frozen` ones take no new figures."""

    id: str
    product_id: str
    seller_sku: str
    stock: dict[str, Stock]
    frozen: bool = False
    versions: list[tuple[float, dict[str, tuple[int, int]]]] = field(default_factory=list)

    def figures(self, at: float) -> dict[str, tuple[int, int]]:
        """Available and committed of each warehouse as they were at a time in Unix seconds."""
        return next((figures for time, figures in reversed(self.versions) if time <= at), self.versions[0][1])


@dataclass(slots=True)
class Line:
    """One unit of an order: TikTok has no quantities."""

    id: str
    sku: Sku
    status: str
    cancel_reason: str = ""
    package_id: str = ""
    tracking_number: str = ""


@dataclass(slots=True)
class Order:
    """An order of one shopper, from one warehouse."""

    id: str
    shopper: Shopper
    lines: list[Line]
    warehouse_id: str
    status: str
    created: int
    updated: int
    is_sample: bool = False
    fulfilled_by_tiktok: bool = False
    paid: int = 0
    cancel_reason: str = ""
    cancelled_by: str = ""
    requested_cancel: int = 0
    external_ids: dict[str, str] = field(default_factory=dict)
    versions: list[tuple[float, dict[str, Any]]] = field(default_factory=list)

    def open_lines(self) -> list[Line]:
        """Units that are not cancelled."""
        return [line for line in self.lines if line.status != "CANCELLED"]


@dataclass(slots=True)
class Cancellation:
    """A cancellation, by whom, and of which units."""

    id: str
    order: Order
    lines: list[Line]
    role: str
    status: str
    reason: str
    created: int
    updated: int
    should_replenish_stock: bool = True


@dataclass(slots=True)
class Return:
    """A return or a refund, and of which units."""

    id: str
    order: Order
    lines: list[Line]
    type: str
    status: str
    created: int
    updated: int


def units_by_sku(lines: Iterable[Line]) -> dict[str, int]:
    """Units of each SKU, by the seller's name of it."""
    units: dict[str, int] = {}
    for line in lines:
        units[line.sku.seller_sku] = units.get(line.sku.seller_sku, 0) + 1
    return units
