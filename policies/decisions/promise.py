"""One promise per order: what a request does to what the order already has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from policies.decisions.routing import Decision
from policies.domain.model import Commitment, Order


class PromiseState(StrEnum):
    """Where an order's promise stands. A hold whose time is over is EXPIRED, whether or not anything swept it."""

    NONE = "none"
    HELD = "held"
    CONFIRMED = "confirmed"
    RELEASED = "released"
    EXPIRED = "expired"


class PromiseTransition(StrEnum):
    """What a request for an order calls for, given what the order has.

    CONVERT confirms the same units where they are. KEEP answers with the promise as it stands.
    """

    PLAN_ANEW = "plan_anew"
    CONVERT = "convert"
    KEEP = "keep"


class MoreThanRemaining(ValueError):
    """More units of a line were to be cancelled than it has; `left` is how many it has."""

    def __init__(self, unit_count: int, left: int) -> None:
        super().__init__(
            f"{unit_count} units are more than the {left} that are left of the line; ask for at most {left}"
        )
        self.unit_count, self.left = unit_count, left


@dataclass(frozen=True, slots=True)
class Promise:
    """What is stored of an order: its contents as last stated, and what it has of them.

    `units` are promised, by (sku, location id); `short` are the units of each line that are not, by line id.
    """

    state: PromiseState = PromiseState.NONE
    order: Order | None = None
    units: Mapping[tuple[str, str], int] = field(default_factory=dict)
    short: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_live(self) -> bool:
        """Whether the promise keeps stock from others."""
        return self.state in (PromiseState.HELD, PromiseState.CONFIRMED)

    @property
    def own(self) -> Mapping[tuple[str, str], int]:
        """The units that count as free when the same order is planned anew; a promise that lapsed has none."""
        return self.units if self.is_live else {}


def promise_transition(promise: Promise, request: Order) -> PromiseTransition:
    """What the request does. A HOLD never changes an order that is sold; equal contents never plan twice."""
    if not promise.is_live or promise.order is None:
        return PromiseTransition.PLAN_ANEW
    same = same_contents(promise.order, request)
    if promise.state is PromiseState.CONFIRMED:
        return PromiseTransition.KEEP if same or request.commitment is Commitment.HOLD else PromiseTransition.PLAN_ANEW
    if request.commitment is Commitment.HOLD:
        return PromiseTransition.KEEP if same else PromiseTransition.PLAN_ANEW
    return PromiseTransition.CONVERT if same and not any(promise.short.values()) else PromiseTransition.PLAN_ANEW


def same_contents(one: Order, other: Order) -> bool:
    """Whether two requests ask for the same: lines in any order, the way to the shopper and the place, not prices."""
    return _contents(one) == _contents(other)


def keeps_current_hold(promise: Promise, request: Order, decision: Decision) -> bool:
    """Whether a live HOLD stays, because its new contents cannot be promised whole."""
    is_change = promise.state is PromiseState.HELD and request.commitment is Commitment.HOLD
    return is_change and bool(decision.shortages)


@dataclass(frozen=True, slots=True)
class ShipmentShare:
    """Units of one line in one shipment that are neither shipped nor cancelled."""

    shipment_id: str
    unit_count: int


@dataclass(frozen=True, slots=True)
class PartialCancellation:
    """What a partial cancellation takes: units that were short, and units of shipments."""

    short: int
    shares: tuple[ShipmentShare, ...]


def cancel_units(
    shares: Sequence[ShipmentShare], short: int, unit_count: int, *, named: str | None = None
) -> PartialCancellation:
    """Takes units of one line: short ones first, then from the named shipment, then from the worst-ranked.

    `shares` are in fill order, best-ranked first. Raises MoreThanIsLeft, and ValueError for fewer than one unit or a
    named shipment that has none of the line.
    """
    left = short + sum(share.unit_count for share in shares)
    if unit_count < 1:
        raise ValueError(f"{unit_count} units cannot be cancelled; ask for 1 to {left}")
    if unit_count > left:
        raise MoreThanRemaining(unit_count, left)
    if named is not None and all(share.shipment_id != named for share in shares):
        raise ValueError(f"shipment {named} has no units of this line; leave it out, or name one that has")
    from_short = min(short, unit_count)
    return PartialCancellation(from_short, tuple(_cancel_shares(shares, unit_count - from_short, named)))


def _cancel_shares(shares: Sequence[ShipmentShare], unit_count: int, named: str | None) -> list[ShipmentShare]:
    cut = []
    worst_first = shares[::-1]
    for share in sorted(worst_first, key=lambda share: share.shipment_id != named):
        count = min(share.unit_count, unit_count)
        if count:
            cut.append(ShipmentShare(share.shipment_id, count))
            unit_count -= count
    return cut


def _contents(order: Order) -> tuple[object, ...]:
    lines = sorted((line.line_id, line.sku, line.unit_count) for line in order.lines)
    return lines, order.method, order.destination, order.pickup_location_id
