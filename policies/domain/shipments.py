"""The life of a shipment: which moves are allowed, and what it is once units have left it or were taken from it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ShipmentState(StrEnum):
    """Where a shipment is in its life."""

    ASSIGNED = "assigned"
    ACCEPTED = "accepted"
    READY_FOR_PICKUP = "ready_for_pickup"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    COLLECTED = "collected"
    REJECTED = "rejected"
    UNCOLLECTED = "uncollected"
    CANCELLED = "cancelled"


class Move(StrEnum):
    """What a location, a carrier or a shopper does with a shipment."""

    ACCEPT = "accept"
    MARK_READY = "mark_ready"
    SHIP = "ship"
    DELIVER = "deliver"
    COLLECT = "collect"
    REJECT = "reject"
    RETURN_UNCOLLECTED = "return_uncollected"
    REASSIGN = "reassign"


class Ruling(StrEnum):
    """Whether a move may be made. LATE is one that a later event has in already: it succeeds and does nothing."""

    ALLOWED = "allowed"
    LATE = "late"
    REFUSED = "refused"


_S = ShipmentState
OPEN = frozenset({_S.ASSIGNED, _S.ACCEPTED, _S.READY_FOR_PICKUP})
"""States in which units may still leave."""

_LEFT = frozenset({_S.SHIPPED, _S.DELIVERED})
_ALLOWED: Mapping[Move, frozenset[ShipmentState]] = {
    Move.ACCEPT: frozenset({_S.ASSIGNED}),
    Move.MARK_READY: frozenset({_S.ASSIGNED, _S.ACCEPTED}),
    Move.SHIP: frozenset({_S.ASSIGNED, _S.ACCEPTED}),
    Move.DELIVER: frozenset({_S.ASSIGNED, _S.ACCEPTED, _S.SHIPPED}),
    Move.COLLECT: OPEN,
    Move.REJECT: OPEN,
    Move.RETURN_UNCOLLECTED: OPEN,
    Move.REASSIGN: OPEN,
}
_LATE: Mapping[Move, frozenset[ShipmentState]] = {
    Move.ACCEPT: frozenset({_S.ACCEPTED, _S.READY_FOR_PICKUP, _S.SHIPPED, _S.DELIVERED, _S.COLLECTED, _S.UNCOLLECTED}),
    Move.MARK_READY: frozenset({_S.READY_FOR_PICKUP, _S.COLLECTED, _S.UNCOLLECTED}),
    Move.SHIP: _LEFT,
    Move.DELIVER: frozenset({_S.DELIVERED}),
    Move.COLLECT: frozenset({_S.COLLECTED}),
    Move.REJECT: frozenset({_S.REJECTED}),
    Move.RETURN_UNCOLLECTED: frozenset({_S.UNCOLLECTED}),
    Move.REASSIGN: frozenset(),
}
ONLY_FOR: Mapping[Move, str] = {
    Move.SHIP: "ship",
    Move.DELIVER: "ship",
    Move.MARK_READY: "pickup",
    Move.COLLECT: "pickup",
    Move.RETURN_UNCOLLECTED: "pickup",
}
"""The method of the orders that a move is for; moves that are not named are for all."""


def ruling(move: Move, state: ShipmentState) -> Ruling:
    """Whether a shipment in this state may make the move. The one table of allowed moves."""
    if state in _ALLOWED[move]:
        return Ruling.ALLOWED
    return Ruling.LATE if state in _LATE[move] else Ruling.REFUSED


def state_left(state: ShipmentState, *, left: int, shipped: int, ended: ShipmentState) -> ShipmentState:
    """What an open shipment is once units have left it or were taken from it.

    With units `left` it goes on, and is accepted once some have left; without any it is shipped if any have left, else
    what ended it.
    """
    if state not in OPEN:
        return state
    if left:
        return _S.ACCEPTED if shipped and state is _S.ASSIGNED else state
    return _S.SHIPPED if shipped else ended
