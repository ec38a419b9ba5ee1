"""Which orders keep their units when stock falls below what was promised, and in which order backorders are filled."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """Units of one order line promised at one location and not shipped. `is_started`: the location works on them."""

    allocation_id: str
    shipment_id: str
    line_id: str
    unit_count: int
    create_time: datetime
    is_started: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """Units that a claim must give up."""

    claim: Claim
    unit_count: int


def losses(claims: Iterable[Claim], excess: int) -> tuple[Loss, ...]:
    """The claims that lose units when `excess` more units are promised than are on hand, newest order first.

    Shipments that a location has started lose units last, however new: their units are being picked, so they are known
    to be there.
    """
    lost: list[Loss] = []
    for claim in sorted(claims, key=_precedence, reverse=True):
        units = min(excess, claim.unit_count)
        if units > 0:
            lost.append(Loss(claim, units))
            excess -= units
    return tuple(lost)


@dataclass(frozen=True, slots=True)
class WaitingOrder:
    """An order with units on backorder."""

    allocation_id: str
    priority: int | None
    create_time: datetime


def in_fill_order(waiting: Iterable[WaitingOrder]) -> Sequence[WaitingOrder]:
    """Backorders in the order in which they are filled: higher priority first, then older orders first.

    An order without a priority counts as one of priority 0.
    """
    return sorted(waiting, key=lambda order: (-(order.priority or 0), order.create_time, order.allocation_id))


def _precedence(claim: Claim) -> tuple[bool, datetime, str, str, str]:
    return (not claim.is_started, claim.create_time, claim.allocation_id, claim.line_id, claim.shipment_id)
