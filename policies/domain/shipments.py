"""The states of a shipment, which actions each state allows, and the state after units were shipped or removed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class ShipmentState(StrEnum):
    """State of a shipment."""

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
    UNDO_SHIP = "undo_ship"


class ActionCheck(StrEnum):
    """Whether an action is allowed. LATE: a later event already covers it, so it succeeds without effect."""

    ALLOWED = "allowed"
    LATE = "late"
    REFUSED = "refused"


_S = ShipmentState
OPEN = frozenset({_S.ASSIGNED, _S.ACCEPTED, _S.READY_FOR_PICKUP})
"""States in which units may still be shipped."""

ENDED_BECAUSE: Mapping[ShipmentState, str] = {
    _S.SHIPPED: "all its units have shipped",
    _S.DELIVERED: "it was delivered",
    _S.COLLECTED: "the shopper has collected it",
    _S.REJECTED: "the location rejected it",
    _S.UNCOLLECTED: "the shopper did not collect it, and its units are in stock again",
    _S.CANCELLED: "its units were cancelled or moved to another shipment",
}
"""Why a shipment has no units that may still ship, by its state."""

_SHIPPED = frozenset({_S.SHIPPED, _S.DELIVERED})
_ALLOWED: Mapping[ShipmentAction, frozenset[ShipmentState]] = {
    ShipmentAction.ACCEPT: frozenset({_S.ASSIGNED}),
    ShipmentAction.MARK_READY: frozenset({_S.ASSIGNED, _S.ACCEPTED}),
    ShipmentAction.SHIP: frozenset({_S.ASSIGNED, _S.ACCEPTED}),
    ShipmentAction.DELIVER: frozenset({_S.ASSIGNED, _S.ACCEPTED, _S.SHIPPED}),
    ShipmentAction.COLLECT: OPEN,
    ShipmentAction.REJECT: OPEN,
    ShipmentAction.RETURN_UNCOLLECTED: OPEN,
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
}
METHOD_OF: Mapping[ShipmentAction, str] = {
    ShipmentAction.SHIP: "ship",
    ShipmentAction.DELIVER: "ship",
    ShipmentAction.MARK_READY: "pickup",
    ShipmentAction.COLLECT: "pickup",
    ShipmentAction.RETURN_UNCOLLECTED: "pickup",
}
"""The order method that an action requires; actions not listed apply to both."""


def check_action(action: ShipmentAction, state: ShipmentState) -> ActionCheck:
    """Whether a shipment in this state allows an action; REASSIGN and UNDO_SHIP have checks of their own."""
    if state in _ALLOWED[action]:
        return ActionCheck.ALLOWED
    return ActionCheck.LATE if state in _LATE[action] else ActionCheck.REFUSED


def state_after(state: ShipmentState, *, remaining: int, shipped: int, end_state: ShipmentState) -> ShipmentState:
    """The state of an open shipment after units were shipped or removed.

    With `remaining` units it stays open, and counts as accepted once some were shipped. Without any it is shipped if
    some were shipped, otherwise `end_state`.
    """
    if state not in OPEN:
        return state
    if remaining:
        return _S.ACCEPTED if shipped and state is _S.ASSIGNED else state
    return _S.SHIPPED if shipped else end_state
