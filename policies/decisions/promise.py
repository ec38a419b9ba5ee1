"""The one promise of each order: what a new request changes, and which units a cancellation removes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from policies.decisions.decision import Decision
from policies.domain.model import Commitment, Order
from policies.explanation import unit_count_text


class PromiseState(StrEnum):
    """State of an order's promise. A hold past its expire time is EXPIRED, whether or not it was swept."""

    NONE = "none"
    HELD = "held"
    CONFIRMED = "confirmed"
    RELEASED = "released"
    EXPIRED = "expired"


class PromiseTransition(StrEnum):
    """What a request does to the current promise of an order.

    REPLAN decides again. CONVERT confirms the held units where they are. KEEP returns the current promise.
    """

    REPLAN = "replan"
    CONVERT = "convert"
    KEEP = "keep"


class MoreThanRemaining(ValueError):
    """A cancellation of more units of a line than its `remaining` ones."""

    def __init__(self, unit_count: int, remaining: int) -> None:
        super().__init__(f"{unit_count_text(unit_count)} cannot be cancelled; cancel at most {remaining} of this line")
        self.unit_count, self.remaining = unit_count, remaining


@dataclass(slots=True, unsafe_hash=True)
class Promise:
    """The stored promise of an order, with its contents as last stated.

    `units` are promised, by (sku, location id); `short` are units not promised, by line id.
    """

    state: Final[PromiseState] = PromiseState.NONE
    order: Final[Order | None] = None
    units: Final[Mapping[tuple[str, str], int]] = field(default_factory=dict)
    short: Final[Mapping[str, int]] = field(default_factory=dict)

    @property
    def is_live(self) -> bool:
        """Whether the promise reserves stock."""
        return self.state in (PromiseState.HELD, PromiseState.CONFIRMED)

    @property
    def own_units(self) -> Mapping[tuple[str, str], int]:
        """Units available to the same order when it is replanned; none if the promise expired or was released."""
        return self.units if self.is_live else {}


def promise_transition(promise: Promise, request: Order) -> PromiseTransition:
    """What the request does. A HOLD never changes a SOLD order, and equal contents are not planned twice."""
    if not promise.is_live or promise.order is None:
        return PromiseTransition.REPLAN
    same = same_contents(promise.order, request)
    if promise.state is PromiseState.CONFIRMED:
        return PromiseTransition.KEEP if same or request.commitment is Commitment.HOLD else PromiseTransition.REPLAN
    if request.commitment is Commitment.HOLD:
        return PromiseTransition.KEEP if same else PromiseTransition.REPLAN
    return PromiseTransition.CONVERT if same and not any(promise.short.values()) else PromiseTransition.REPLAN


def same_contents(first: Order, second: Order) -> bool:
    """Whether two requests have the same lines in any order, method, destination, pickup location and outlet.

    The same lines may ship from the same locations and with the same lines. Prices do not count, nor which locations
    the outlet has.
    """
    return _contents(first) == _contents(second)


def keeps_current_hold(promise: Promise, request: Order, decision: Decision) -> bool:
    """Whether a live HOLD stays unchanged because its new contents cannot be promised in full."""
    is_change = promise.state is PromiseState.HELD and request.commitment is Commitment.HOLD
    return is_change and bool(decision.shortages)


@dataclass(frozen=True, slots=True)
class ShipmentShare:
    """Units of one line in one shipment that are neither shipped nor cancelled."""

    shipment_id: str
    unit_count: int


@dataclass(frozen=True, slots=True)
class PartialCancellation:
    """What a partial cancellation cancels: short units, and units of shipments."""

    short: int
    shares: tuple[ShipmentShare, ...]


def cancel_units(
    shares: Sequence[ShipmentShare], short: int, unit_count: int, *, shipment_id: str | None = None
) -> PartialCancellation:
    """Cancels units of one line: short units first, then those of the given shipment, then of the worst-ranked ones.

    `shares` are in fill order, best-ranked first. Raises MoreThanRemaining, and ValueError for less than one unit or a
    shipment that has no units of the line.
    """
    remaining = short + sum(share.unit_count for share in shares)
    if unit_count < 1:
        raise ValueError(f"{unit_count_text(unit_count)} cannot be cancelled; cancel 1 to {remaining}")
    if unit_count > remaining:
        raise MoreThanRemaining(unit_count, remaining)
    if shipment_id is not None and all(share.shipment_id != shipment_id for share in shares):
        raise ValueError(f"shipment {shipment_id} has no units of this line; omit the shipment or name one that has")
    from_short = min(short, unit_count)
    return PartialCancellation(from_short, tuple(_cancel_shares(shares, unit_count - from_short, shipment_id)))


def _cancel_shares(shares: Sequence[ShipmentShare], unit_count: int, shipment_id: str | None) -> list[ShipmentShare]:
    cancelled = []
    worst_first = shares[::-1]
    for share in sorted(worst_first, key=lambda share: share.shipment_id != shipment_id):
        count = min(share.unit_count, unit_count)
        if count:
            cancelled.append(ShipmentShare(share.shipment_id, count))
            unit_count -= count
    return cancelled


def _contents(order: Order) -> tuple[object, ...]:
    lines = {line.line_id: (line.sku, line.unit_count, line.placement) for line in order.lines}
    # Coordinates that were looked up may differ by the data that was installed then.
    destination = order.destination and order.destination.as_stated()
    return lines, order.method, destination, order.pickup_location_id, order.outlet and order.outlet.id
