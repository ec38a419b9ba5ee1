"""Unavailable units by reason: the reasons, and how a new total is distributed over them."""

from __future__ import annotations

from collections.abc import Mapping

OTHER = "other"
REASONS = ("damaged", "quality_control", "display", "inspection", OTHER)
"""Why units are not sellable. A lower total reduces the last of these first."""


def reason_of(word: str | None) -> str:
    """The reason recorded for a movement: its own if it is one of REASONS, otherwise `other`."""
    return word if word in REASONS else OTHER


def changes_to_reasons(units: Mapping[str, int], stated: Mapping[str, int]) -> dict[str, int]:
    """Changes by reason where `stated` lists the units of every reason; unchanged reasons are omitted."""
    changes = {reason: stated.get(reason, 0) - units.get(reason, 0) for reason in REASONS}
    return {reason: change for reason, change in changes.items() if change}


def changes_to_total(units: Mapping[str, int], total: int) -> dict[str, int]:
    """Changes by reason where only the new total, 0 or more, is known.

    Additional units are `other`. A decrease reduces `other` first, then the reasons in reverse order of REASONS, so
    that the most specific reasons keep their units longest.
    """
    change = total - sum(units.values())
    if change >= 0:
        return {OTHER: change} if change else {}
    changes: dict[str, int] = {}
    for reason in reversed(REASONS):
        removed = min(-change, units.get(reason, 0))
        if removed > 0:
            changes[reason] = -removed
            change += removed
    return changes
