"""Who keeps the stock when there is less than was promised, and who gets it when it comes: the claims on one level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """Units of one order line promised at one location that have not left it. `taken_up` once the location began."""

    allocation_id: str
    shipment_id: str
    line_id: str
    unit_count: int
    create_time: datetime
    taken_up: bool = False


@dataclass(frozen=True, slots=True)
class Loss:
    """Units that a claim loses."""

    claim: Claim
    unit_count: int


def losses(claims: Iterable[Claim], excess: int) -> tuple[Loss, ...]:
    """Which promises no longer fit where `excess` more units are promised than are there: the youngest orders' first.

    What a location has begun to work on goes last, however young: it is in somebody's hands, so it is there.
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
    """An order with units that wait for stock."""

    allocation_id: str
    priority: int
    create_time: datetime


def in_fill_order(waiting: Iterable[WaitingOrder]) -> Sequence[WaitingOrder]:
    """The order in which backorders are filled: the higher priority first, then who came first."""
    return sorted(waiting, key=lambda one: (-one.priority, one.create_time, one.allocation_id))


def _precedence(claim: Claim) -> tuple[bool, datetime, str, str, str]:
    return (not claim.taken_up, claim.create_time, claim.allocation_id, claim.line_id, claim.shipment_id)
