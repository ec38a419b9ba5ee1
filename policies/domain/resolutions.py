"""The ways to resolve an exception, which of them each kind of exception allows, and how units move with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

REROUTED = "rerouted"
BACKORDERED = "backordered"
CANCELLED = "cancelled"
APPROVED = "approved"
STOCK_CORRECTED = "stock_corrected"
TRANSFERRED = "transferred"
MAPPED = "mapped"
COMPLETED = "completed"
NO_ACTION = "no_action"
OTHER = "other"
DECLINED = "declined"

RESOLUTIONS = (
    *(REROUTED, BACKORDERED, CANCELLED, APPROVED, STOCK_CORRECTED, TRANSFERRED, MAPPED, COMPLETED, NO_ACTION, OTHER),
    DECLINED,
)

DESCRIPTIONS: Mapping[str, str] = {
    REROUTED: "Allocates its units to other locations, by the rules in force: all of them, or none.",
    BACKORDERED: "Backorders its short units: they wait for stock, and are filled before new orders.",
    CANCELLED: "Cancels its units that have not shipped.",
    APPROVED: "Releases the plan to its locations, once every review of the order is approved.",
    STOCK_CORRECTED: "Records that the stock figure was corrected; changes neither stock nor the order.",
    TRANSFERRED: "Records that stock was transferred to where it was needed; changes neither stock nor the order.",
    MAPPED: "Records that the catalog has the product, location or feed now; changes neither stock nor the order.",
    COMPLETED: "Records that what was late, stuck or on hold has gone on; changes neither stock nor the order.",
    NO_ACTION: "Records that nothing needs to be done; changes neither stock nor the order.",
    DECLINED: "Declines the shopper's request to cancel: the channel is told so, and the order goes on.",
    OTHER: "Records how it was resolved outside of Truestock; changes neither stock nor the order.",
}
"""What each resolution does, as a sentence for the person who chooses."""

_FOR_SHORTAGES = (REROUTED, BACKORDERED, CANCELLED, TRANSFERRED, STOCK_CORRECTED, OTHER)
_FOR_UNMAPPED = (MAPPED, NO_ACTION, OTHER)

ALLOWED: Mapping[str, tuple[str, ...]] = {
    "oversell": _FOR_SHORTAGES,
    "unfillable": _FOR_SHORTAGES,
    "held_by_buffer": _FOR_SHORTAGES,
    "blocked_by_rule": _FOR_SHORTAGES,
    "rejected": (REROUTED, BACKORDERED, CANCELLED, TRANSFERRED, STOCK_CORRECTED, NO_ACTION, OTHER),
    "review": (APPROVED, CANCELLED, OTHER),
    "unmapped_product": _FOR_UNMAPPED,
    "unmapped_location": _FOR_UNMAPPED,
    "mismatch": (STOCK_CORRECTED, NO_ACTION, OTHER),
    "stale_feed": (COMPLETED, MAPPED, NO_ACTION, OTHER),
    "late_shipment": (COMPLETED, REROUTED, CANCELLED, NO_ACTION, OTHER),
    "location_unavailable": (REROUTED, CANCELLED, COMPLETED, NO_ACTION, OTHER),
    "stuck_order": (COMPLETED, REROUTED, BACKORDERED, CANCELLED, APPROVED, NO_ACTION, OTHER),
    "sync_failed": (COMPLETED, MAPPED, NO_ACTION, OTHER),
    "cancelled_after_shipping": (COMPLETED, NO_ACTION, OTHER),
    "paid_after_cancellation": (COMPLETED, NO_ACTION, OTHER),
    "hold_overdue": (COMPLETED, CANCELLED, NO_ACTION, OTHER),
    # The channel waits for one of two answers, so nothing else ends it.
    "cancel_requested": (CANCELLED, DECLINED),
}
"""The resolutions that each kind of exception allows, in the order in which they are offered to a person."""


def is_allowed(kind: str, resolution: str) -> bool:
    """Whether an exception of this kind may be resolved this way."""
    return resolution in ALLOWED[kind]


class UnitPlace(StrEnum):
    """Where units of an order line are that have not shipped."""

    ALLOCATED = "allocated"
    SHORT = "short"
    BACKORDERED = "backordered"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """The place of units of an order line; `location_id` is set for allocated ones."""

    line_id: str
    place: UnitPlace
    location_id: str = ""


@dataclass(frozen=True, slots=True)
class UnitMove:
    """Units of an order line that change their place."""

    unit_count: int
    start: Place
    end: Place


def moves_between(before: Mapping[Place, int], after: Mapping[Place, int]) -> list[UnitMove]:
    """The fewest moves of units that turn one set of counts by place into another, line by line.

    Each line has as many units before as after. Units that leave a place are matched with those that enter others in
    the order of the places.
    """
    moves: list[UnitMove] = []
    for line_id in sorted({place.line_id for place in (*before, *after)}):
        changes = {
            place: after.get(place, 0) - before.get(place, 0)
            for place in sorted({*before, *after})
            if place.line_id == line_id
        }
        moves += _matched(
            [(place, -change) for place, change in changes.items() if change < 0],
            [(place, change) for place, change in changes.items() if change > 0],
        )
    return moves


def _matched(leaving: Iterable[tuple[Place, int]], entering: Iterable[tuple[Place, int]]) -> Iterable[UnitMove]:
    ends = list(entering)
    for start, count in leaving:
        remaining = count
        while remaining and ends:
            end, wanted = ends[0]
            moved = min(remaining, wanted)
            yield UnitMove(moved, start, end)
            remaining -= moved
            ends[:1] = [(end, wanted - moved)] if wanted > moved else []
