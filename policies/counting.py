"""What a count or a movement does to a stock figure: quantity = last accepted count + movements effective after it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

MOVEMENT_SIGNS = {"received": 1, "returned": 1, "found": 1, "sold": -1, "damaged": -1, "lost": -1, "adjusted": 1}
"""How the units of each kind of movement count on hand; only `adjusted` may state a negative number."""


class Fate(StrEnum):
    """What becomes of a change that a source states."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    STALE = "stale"
    ABSORBED = "absorbed"
    QUARANTINED = "quarantined"


@dataclass(frozen=True, slots=True)
class Anchor:
    """The last accepted count of a product at a location: when it was true at its source, and its number."""

    time: datetime
    units: int


@dataclass(frozen=True, slots=True)
class Assessment:
    """A change's fate, why, and by how many units it moves the figures. `anchor` replaces the last count if set."""

    fate: Fate
    reason: str = ""
    on_hand_delta: int = 0
    unavailable_delta: int = 0
    anchor: Anchor | None = None


def assess_count(
    anchor: Anchor | None, counted: Anchor, *, on_hand: int, moved_since: int, unavailable_delta: int = 0
) -> Assessment:
    """What a count does where `on_hand` units are on the books and `moved_since` moved after the count's time.

    A count older than the anchor is stale. Another number for the very moment of the anchor is quarantined, because
    nobody can tell which of the two is right; a recount can.
    """
    if anchor is not None and counted.time < anchor.time:
        return Assessment(Fate.STALE, f"a later count, of {anchor.time.isoformat()}, is known")
    if anchor is not None and counted.time == anchor.time and counted.units != anchor.units:
        reason = f"counted {counted.units} at the moment at which {anchor.units} were counted; count again"
        return Assessment(Fate.QUARANTINED, reason)
    delta = counted.units + moved_since - on_hand
    return Assessment(Fate.ACCEPTED, "", delta, unavailable_delta, counted)


def assess_movement(anchor: Anchor | None, effective_time: datetime, on_hand_delta: int) -> Assessment:
    """What a movement does: nothing where the last count was made at or after it, and so has it in already."""
    if anchor is not None and effective_time <= anchor.time:
        return Assessment(Fate.ABSORBED, f"the count of {anchor.time.isoformat()} has it in already")
    return Assessment(Fate.ACCEPTED, "", on_hand_delta)
