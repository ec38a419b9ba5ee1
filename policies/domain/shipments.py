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


class ShipmentAction(StrEnum):
    """What a location, a carrier or a shopper does with a shipment."""

    ACCEPT = "accept"
    MARK_READY = "mark_ready"
    SHIP = "ship"
    DELIVER = "deliver"
    COLLECT = "collect"
    REJECT = "reject"
    RETURN_UNCOLLECTED = "return_uncollected"
    REASSIGN = "reassign"


class ActionCheck(StrEnum):
    """Whether a move may be made. LATE is one that a later event has in already: it succeeds and does nothing."""

    ALLOWED = "allowed"
    LATE = "late"
    REFUSED = "refused"


_S = ShipmentState
OPEN = frozenset({_S.ASSIGNED, _S.ACCEPTED, _S.READY_FOR_PICKUP})
"""States in which units may still leave."""

_SHIPPED = frozenset({_S.SHIPPED, _S.DELIVERED})
_ALLOWED: Mapping[ShipmentAction, frozenset[ShipmentState]] = {
    ShipmentAction.ACCEPT: frozenset({_S.ASSIGNED}),
    ShipmentAction.MARK_READY: frozenset({_S.ASSIGNED, _S.ACCEPTED}),
    ShipmentAction.SHIP: frozenset({_S.ASSIGNED, _S.ACCEPTED}),
    ShipmentAction.DELIVER: frozenset({_S.ASSIGNED, _S.ACCEPTED, _S.SHIPPED}),
    ShipmentAction.COLLECT: OPEN,
    ShipmentAction.REJECT: OPEN,
    ShipmentAction.RETURN_UNCOLLECTED: OPEN,
    ShipmentAction.REASSIGN: OPEN,
}
_LATE: Mapping[ShipmentAction, frozenset[ShipmentState]] = {
    ShipmentAction.ACCEPT: frozenset(
        {_S.ACCEPTED, _S.READY_FOR_PICKUP, _S.SHIPPED, _S.DELIVERED, _S.COLLECTED, _S.UNCOLLECTED}
    ),
    ShipmentAction.MARK_READY: frozenset({_S.READY_FOR_PICKUP, _S.COLLECTED, _S.UNCOLLECTED}),
    ShipmentAction.SHIP: _SHIPPED,
    ShipmentAction.DELIVER: frozenset({_S.DELIVERED}),
    ShipmentAction.COLLECT: frozenset({_S.COLLECTED}),
    ShipmentAction.REJECT: frozenset({_S.REJECTED}),
    ShipmentAction.RETURN_UNCOLLECTED: frozenset({_S.UNCOLLECTED}),
    ShipmentAction.REASSIGN: frozenset(),
}
METHOD_OF: Mapping[ShipmentAction, str] = {
    ShipmentAction.SHIP: "ship",
    ShipmentAction.DELIVER: "ship",
    ShipmentAction.MARK_READY: "pickup",
    ShipmentAction.COLLECT: "pickup",
    ShipmentAction.RETURN_UNCOLLECTED: "pickup",
}
"""The method of the orders that a move is for; moves that are not named are for all."""


def check_action(move: ShipmentAction, state: ShipmentState) -> ActionCheck:
    """Whether a shipment in this state may make the move. The one table of allowed moves."""
    if state in _ALLOWED[move]:
        return ActionCheck.ALLOWED
    return ActionCheck.LATE if state in _LATE[move] else ActionCheck.REFUSED


def state_after(state: ShipmentState, *, left: int, shipped: int, ended: ShipmentState) -> ShipmentState:
    """What an open shipment is once units have left it or were taken from it.

    With units `left` it goes on, and is accepted once some have left; without any it is shipped if any have left, else
    what ended it.
    """
    if state not in OPEN:
        return state
    if left:
        return _S.ACCEPTED if shipped and state is _S.ASSIGNED else state
    return _S.SHIPPED if shipped else ended
