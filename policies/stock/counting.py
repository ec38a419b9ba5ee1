"""How counts and movements change stock: on hand = last accepted count + movements effective after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MOVEMENT_SIGNS = {"received": 1, "returned": 1, "found": 1, "sold": -1, "damaged": -1, "lost": -1, "adjusted": 1}
"""Sign with which each kind of movement changes on hand; only `adjusted` may have a negative number of units."""

TRANSFERRED_OUT, TRANSFERRED_IN, TRANSFER_CANCELLED = "transferred_out", "transferred_in", "transfer_cancelled"
"""Kinds of movements of transfers: units leave the origin, reach the destination, or are at the origin again."""

SHIP_UNDONE = "ship_undone"
"""The kind of a movement that takes back the shipping of units that have not left."""

OWN_MOVEMENT_SIGNS = {
    "shipped": -1,
    SHIP_UNDONE: 1,
    "collected": -1,
    TRANSFERRED_OUT: -1,
    TRANSFERRED_IN: 1,
    TRANSFER_CANCELLED: 1,
}
"""Sign with which each kind of movement of orders and transfers that no source reports changes on hand."""

ON_HAND_SIGNS = MOVEMENT_SIGNS | OWN_MOVEMENT_SIGNS
"""Sign with which each kind of movement changes on hand."""

SETTING_ASIDE_SIGNS = {"set_aside": 1, "put_back": -1}
"""Sign with which setting units aside, or putting them back, changes unavailable units."""

MOVEMENT_KINDS = (
    *("counted", "incoming", "untracked", *MOVEMENT_SIGNS, *SETTING_ASIDE_SIGNS),
    *("held", "allocated", "confirmed", "released", "expired", *OWN_MOVEMENT_SIGNS),
)
"""All kinds of movements: those that sources report, then those of orders and transfers."""


class ChangeResult(StrEnum):
    """How a reported stock change was processed."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    STALE = "stale"
    ABSORBED = "absorbed"
    QUARANTINED = "quarantined"
    OBSERVED = "observed"
    REFUSED = "refused"
    """It should be quarantined, but there is no room for its source."""


class QuarantineCause(StrEnum):
    """Why a change is in quarantine, which decides when it is retried."""

    UNMAPPED = "unmapped"
    """Its SKU or location is not in the catalog."""
    AHEAD = "ahead"
    """Its time is in the future."""
    RECOUNT = "recount"
    """A different number was counted at the same time."""
    NOT_ASIDE = "not_aside"
    """It puts back more units than were set aside."""
    TOO_MANY = "too_many"
    """The resulting figure would be too large."""
    MEANING = "meaning"
    """It reports what this kind of feed cannot know."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """A count of a product at a location: when it was true at its source, and the units on hand.

    `sequence` is the source's version number of the figure, None if it has none.
    """

    time: datetime
    units: int
    source: str = ""
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """How a change is processed, why, and by how many units it changes the figures.

    `anchor`, if set, replaces the last accepted count; `cause` is set if the change goes into quarantine.
    """

    result: ChangeResult
    reason: str = ""
    on_hand_delta: int = 0
    unavailable_delta: int = 0
    anchor: Anchor | None = None
    cause: QuarantineCause | None = None


def on_hand_effect(kind: str, units: int) -> int:
    """Change in on-hand units from an accepted movement."""
    return units * ON_HAND_SIGNS.get(kind, 0)


def unavailable_effect(kind: str, units: int) -> int:
    """Change in unavailable units from an accepted movement."""
    return units * SETTING_ASIDE_SIGNS.get(kind, 0)


def assess_count(anchor: Anchor | None, counted: Anchor, *, on_hand: int, moved_since: int) -> Assessment:
    """Assesses a count while `on_hand` units are recorded and `moved_since` units moved after the count's time.

    A count older than the anchor is stale. A different number for the time of the anchor is quarantined, because only
    a recount can show which of the two is right.
    """
    age = 1 if anchor is None else _recency(counted, anchor)
    if anchor is not None and age < 0:
        return Assessment(ChangeResult.STALE, f"superseded by a later count of {anchor.time.isoformat()}")
    if anchor is not None and age == 0 and counted.units != anchor.units:
        reason = f"counted {counted.units} at the same time as an earlier count of {anchor.units}; count again"
        return Assessment(ChangeResult.QUARANTINED, reason, cause=QuarantineCause.RECOUNT)
    # A count is true for a moment in the past. Movements after that moment are added to it, so the figure is the
    # same in whatever order counts and movements arrive.
    return Assessment(ChangeResult.ACCEPTED, "", counted.units + moved_since - on_hand, anchor=counted)


def assess_movement(anchor: Anchor | None, effective_time: datetime, on_hand_delta: int) -> Assessment:
    """Assesses a movement. It changes nothing if the last count was at or after it and therefore includes it."""
    if anchor is not None and effective_time <= anchor.time:
        return Assessment(ChangeResult.ABSORBED, f"already included in the count of {anchor.time.isoformat()}")
    return Assessment(ChangeResult.ACCEPTED, "", on_hand_delta)


def counted_already(units: int, *, moved: int, changed: int) -> int:
    """How many of `units`, which should have left a location, counts have found there since they left.

    Since then, on hand has changed by `changed` units and movements account for `moved` of them, those that a count
    already includes as well. The difference is what counts found beyond all recorded movements.
    """
    return max(0, min(units, changed - moved))


def assess_setting_aside(
    stated_time: datetime | None, effective_time: datetime, unavailable_delta: int, units_aside: int
) -> Assessment:
    """Assesses setting units aside or putting them back, while `units_aside` are set aside for the same reason.

    `stated_time` is the time of the last accepted count that reported unavailable units; it includes all units set
    aside before. Units that were never set aside cannot be put back.
    """
    if stated_time is not None and effective_time <= stated_time:
        return Assessment(ChangeResult.ABSORBED, f"already included in the count of {stated_time.isoformat()}")
    if units_aside + unavailable_delta < 0:
        reason = f"puts back {-unavailable_delta} of {units_aside} units set aside for that reason"
        return Assessment(ChangeResult.QUARANTINED, reason, cause=QuarantineCause.NOT_ASIDE)
    return Assessment(ChangeResult.ACCEPTED, unavailable_delta=unavailable_delta)


def assess_untracked(anchor: Anchor | None, report: Anchor) -> Assessment:
    """Assesses a report that its source no longer tracks the figure. A count at or after the report supersedes it."""
    if anchor is not None and _recency(report, anchor) <= 0:
        return Assessment(ChangeResult.STALE, f"superseded by a later count of {anchor.time.isoformat()}")
    return Assessment(ChangeResult.ACCEPTED)


def _recency(first: Anchor, second: Anchor) -> int:
    """Above 0 if `first` is newer, below 0 if it is older, 0 if both have the same time.

    Between two counts of one source that both have a sequence, only the sequence decides.
    """
    if first.source == second.source and first.sequence is not None and second.sequence is not None:
        return (first.sequence > second.sequence) - (first.sequence < second.sequence)
    return (first.time > second.time) - (first.time < second.time)
