"""Where an order stands, in one model for all channels: derived from its promise and its shipments, never stated."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class OrderStatus(StrEnum):
    """Where an order stands. The words of the API, in lower case."""

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


@dataclass(frozen=True, slots=True)
class LineFigures:
    """One line of an order, in units. `shipped` have left or were collected; `returned` of them came back."""

    unit_count: int
    promised: int = 0
    shipped: int = 0
    returned: int = 0
    short: int = 0
    backordered: int = 0
    cancelled: int = 0


@dataclass(frozen=True, slots=True)
class OrderFigures:
    """What is known of an order. `state` is its promise's: held, confirmed, refused, released, expired or cancelled.

    `arrived` tells for each shipment that units have left of, whether they have arrived or were collected; `begun`
    whether a location has accepted a shipment, or has it ready at the counter; `in_review` whether a person has to look
    at the plan.
    """

    state: str
    lines: tuple[LineFigures, ...]
    arrived: tuple[bool, ...] = ()
    begun: bool = False
    in_review: bool = False

    def total(self, name: str) -> int:
        """Units of all lines: one of the figures of LineFigures."""
        return sum(getattr(line, name) for line in self.lines)


def status_of(order: OrderFigures) -> OrderStatus:
    """Where an order stands. What somebody has to act on comes before how far the rest of the order is."""
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
    if order.in_review and order.total("promised") and not shipped:
        return OrderStatus.IN_REVIEW
    if order.total("short"):
        return OrderStatus.EXCEPTION
    if shipped:
        return _shipped_status(order, shipped)
    if order.total("backordered"):
        return OrderStatus.BACKORDERED
    return OrderStatus.IN_PROGRESS if order.begun else OrderStatus.READY_TO_FULFILL


def _shipped_status(order: OrderFigures, shipped: int) -> OrderStatus:
    if order.total("promised") or order.total("backordered"):
        return OrderStatus.PARTLY_SHIPPED
    if order.total("returned") == shipped:
        return OrderStatus.RETURNED
    return OrderStatus.DELIVERED if order.arrived and all(order.arrived) else OrderStatus.SHIPPED
