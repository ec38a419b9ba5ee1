"""The status of an order, the same for all channels: always derived from its promise and shipments, never set."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class OrderStatus(StrEnum):
    """Status of an order: the names of the API in lower case."""

    PLACED = "placed"
    IN_REVIEW = "in_review"
    READY_TO_FULFILL = "ready_to_fulfill"
    IN_PROGRESS = "in_progress"
    PARTLY_SHIPPED = "partly_shipped"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"
    EXCEPTION = "exception"
    BACKORDERED = "backordered"
    RETURNED = "returned"
    NOT_PROMISED = "not_promised"
    ON_HOLD = "on_hold"


@dataclass(slots=True, unsafe_hash=True)
class LineFigures:
    """One line of an order, in units. `shipped` includes collected units; `returned` are some of the shipped ones."""

    unit_count: Final[int]
    promised: Final[int] = 0
    shipped: Final[int] = 0
    returned: Final[int] = 0
    short: Final[int] = 0
    backordered: Final[int] = 0
    cancelled: Final[int] = 0


@dataclass(slots=True, unsafe_hash=True)
class OrderFigures:
    """The state of an order. `state` is that of its promise: held, confirmed, refused, released, expired or cancelled.

    `deliveries` has for each shipment with shipped units whether it was delivered or collected. `is_started`: a
    location has accepted a shipment or has it ready for pickup. `in_review`: a person must review the plan. `on_hold`:
    no location may work on it.
    """

    state: Final[str]
    lines: Final[tuple[LineFigures, ...]]
    deliveries: Final[tuple[bool, ...]] = ()
    is_started: Final[bool] = False
    in_review: Final[bool] = False
    on_hold: Final[bool] = False

    def total(self, name: str) -> int:
        """Sum over all lines of one field of LineFigures."""
        return sum(getattr(line, name) for line in self.lines)


def status_of(order: OrderFigures) -> OrderStatus:
    """The status of an order. Problems that a person must solve come before the progress of the remaining units."""
    if order.lines and order.total("cancelled") == order.total("unit_count"):
        return OrderStatus.CANCELLED
    if order.state == "held":
        return OrderStatus.PLACED
    if order.state == "cancelled":
        return OrderStatus.CANCELLED
    if order.state != "confirmed":
        return OrderStatus.NOT_PROMISED
    return _confirmed_status(order)


def _confirmed_status(order: OrderFigures) -> OrderStatus:
    shipped = order.total("shipped")
    # Before everything else, because it is why nothing moves; shortages and reviews show in the outcome and exceptions.
    if order.on_hold and any(order.total(name) for name in ("promised", "short", "backordered")):
        return OrderStatus.ON_HOLD
    if order.in_review and order.total("promised") and not shipped:
        return OrderStatus.IN_REVIEW
    if order.total("short"):
        return OrderStatus.EXCEPTION
    if shipped:
        return _shipped_status(order, shipped)
    if order.total("backordered"):
        return OrderStatus.BACKORDERED
    return OrderStatus.IN_PROGRESS if order.is_started else OrderStatus.READY_TO_FULFILL


def _shipped_status(order: OrderFigures, shipped: int) -> OrderStatus:
    if order.total("promised") or order.total("backordered"):
        return OrderStatus.PARTLY_SHIPPED
    if order.total("returned") == shipped:
        return OrderStatus.RETURNED
    return OrderStatus.DELIVERED if order.deliveries and all(order.deliveries) else OrderStatus.SHIPPED
