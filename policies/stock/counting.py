"""What a count or a movement does to a stock figure: quantity = last accepted count + movements effective after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MOVEMENT_SIGNS = {"received": 1, "returned": 1, "found": 1, "sold": -1, "damaged": -1, "lost": -1, "adjusted": 1}
"""How the units of each kind of movement count on hand; only `adjusted` may state a negative number."""

SETTING_ASIDE_SIGNS = {"set_aside": 1, "put_back": -1}
"""How units that stay where they are count as unavailable."""


class ChangeResult(StrEnum):
    """What becomes of a change that a source states."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    STALE = "stale"
    ABSORBED = "absorbed"
    QUARANTINED = "quarantined"
    OBSERVED = "observed"


class QuarantineCause(StrEnum):
    """Why a change is kept aside, which says when it is worth another try."""

    UNMAPPED = "unmapped"
    """Its SKU or its location is not in the catalogue."""
    AHEAD = "ahead"
    """It is of a time that is still to come."""
    RECOUNT = "recount"
    """Another number was counted at the very same moment."""
    NOT_ASIDE = "not_aside"
    """It puts back more than was set aside."""
    TOO_MANY = "too_many"
    """No figure is that large."""
    MEANING = "meaning"
    """It says what a feed like its own cannot know."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last accepted count of a product at a location: when it was true at its source, and the units on hand.

    `sequence` is the source's own version of the figure, None where it has none.
    """

    time: datetime
    units: int
    source: str = ""
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Assessment:
    """A change's result, why, and by how many units it moves the figures.

    `anchor` replaces the last count if set; `cause` is set where the change is kept aside.
    """

    result: ChangeResult
    reason: str = ""
    on_hand_delta: int = 0
    unavailable_delta: int = 0
    anchor: Anchor | None = None
    cause: QuarantineCause | None = None


def on_hand_effect(kind: str, units: int) -> int:
    """What a movement of so many units does to what is on hand, if it counts."""
    return units * MOVEMENT_SIGNS.get(kind, 0)


def unavailable_effect(kind: str, units: int) -> int:
    """What a movement of so many units does to what is unavailable, if it counts."""
    return units * SETTING_ASIDE_SIGNS.get(kind, 0)


def assess_count(anchor: Anchor | None, counted: Anchor, *, on_hand: int, moved_since: int) -> Assessment:
    """What a count does where `on_hand` units are on the books and `moved_since` moved after the count's time.

    A count older than the anchor is stale. Another number for the very moment of the anchor is quarantined, because
    nobody can tell which of the two is right; a recount can.
    """
    age = 1 if anchor is None else _recency(counted, anchor)
    if anchor is not None and age < 0:
        return Assessment(ChangeResult.STALE, f"a later count, of {anchor.time.isoformat()}, is known")
    if anchor is not None and age == 0 and counted.units != anchor.units:
        reason = f"counted {counted.units} at the moment at which {anchor.units} were counted; count again"
        return Assessment(ChangeResult.QUARANTINED, reason, cause=QuarantineCause.RECOUNT)
    return Assessment(ChangeResult.ACCEPTED, "", counted.units + moved_since - on_hand, anchor=counted)


def assess_movement(anchor: Anchor | None, effective_time: datetime, on_hand_delta: int) -> Assessment:
    """What a movement does: nothing where the last count was made at or after it, and so has it in already."""
    if anchor is not None and effective_time <= anchor.time:
        return Assessment(ChangeResult.ABSORBED, f"the count of {anchor.time.isoformat()} has it in already")
    return Assessment(ChangeResult.ACCEPTED, "", on_hand_delta)


def assess_setting_aside(
    stated_time: datetime | None, effective_time: datetime, unavailable_delta: int, units_aside: int
) -> Assessment:
    """What setting units aside or putting them back does, where `units_aside` are aside for the same reason.

    `stated_time` is of the last accepted count that said how many units are unavailable; what was set aside before is
    in it. Units that were never set aside cannot be put back.
    """
    if stated_time is not None and effective_time <= stated_time:
        return Assessment(ChangeResult.ABSORBED, f"the count of {stated_time.isoformat()} has it in already")
    if units_aside + unavailable_delta < 0:
        reason = f"puts back {-unavailable_delta} units, and {units_aside} are set aside for that reason"
        return Assessment(ChangeResult.QUARANTINED, reason, cause=QuarantineCause.NOT_ASIDE)
    return Assessment(ChangeResult.ACCEPTED, unavailable_delta=unavailable_delta)


def assess_untracked(anchor: Anchor | None, said: Anchor) -> Assessment:
    """What it does that a source no longer tracks the figure: nothing where a count was made at or after that."""
    if anchor is not None and _recency(said, anchor) <= 0:
        return Assessment(ChangeResult.STALE, f"a later count, of {anchor.time.isoformat()}, is known")
    return Assessment(ChangeResult.ACCEPTED)


def _recency(one: Anchor, other: Anchor) -> int:
    """Above 0 where `one` is the newer figure, below where it is the older, 0 where they are of one moment.

    Between two counts of one source that both have a sequence, the sequence alone decides.
    """
    if one.source == other.source and one.sequence is not None and other.sequence is not None:
        return (one.sequence > other.sequence) - (one.sequence < other.sequence)
    return (one.time > other.time) - (one.time < other.time)
