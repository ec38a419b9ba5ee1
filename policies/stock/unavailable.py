"""Units that are there and not sellable, by reason: how a new total is spread, and which reasons there are."""

from __future__ import annotations

from collections.abc import Mapping

OTHER = "other"
REASONS = ("damaged", "quality_control", "display", "inspection", OTHER)
"""Why units are not sellable. What is taken off a total is taken from the last of these first."""


def reason_of(word: str | None) -> str:
    """The reason that a movement's units are booked under: its own where it is one of REASONS, else `other`."""
    return word if word in REASONS else OTHER


def changes_to_reasons(units: Mapping[str, int], stated: Mapping[str, int]) -> dict[str, int]:
    """What changes by reason where `stated` says all of them; reasons that stay as they are are left out."""
    changes = {reason: stated.get(reason, 0) - units.get(reason, 0) for reason in REASONS}
    return {reason: change for reason, change in changes.items() if change}


def changes_to_total(units: Mapping[str, int], total: int) -> dict[str, int]:
    """What changes by reason where only the new total, 0 or more, is known.

    More than before are `other`; less is taken from `other` first, then from the reasons in the opposite order of
    REASONS: what somebody has named for certain stays named for as long as it can.
    """
    change = total - sum(units.values())
    if change >= 0:
        return {OTHER: change} if change else {}
    changes: dict[str, int] = {}
    for reason in reversed(REASONS):
        taken = min(-change, units.get(reason, 0))
        if taken > 0:
            changes[reason] = -taken
            change += taken
    return changes
