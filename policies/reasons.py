"""Why an answer is what it is: the rules that fired, and the candidates that were dropped."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from policies.problems import Source


@dataclass(frozen=True, slots=True)
class FiredRule:
    """A rule that bore on an answer. `effect` says in words what it did; None means everywhere or every product."""

    name: str
    source: Source
    location_id: str | None
    sku: str | None
    effect: str


class DropReason(StrEnum):
    """Why a candidate location gives nothing."""

    CLOSED = "closed"
    NOT_CHOSEN = "not-chosen"
    ONLY = "only"
    EXCLUDED = "excluded"
    NO_STOCK = "no-stock"
    BLOCKED = "blocked"
    HELD_BACK = "held-back"


@dataclass(frozen=True, slots=True)
class Dropped:
    """A location that an answer does not use, or not for one SKU (None: for none), and the rule that says so."""

    location_id: str
    sku: str | None
    reason: DropReason
    rule: str | None = None
    source: Source | None = None


def units(count: int) -> str:
    """The count with its noun: '1 unit', '2 units'."""
    return f"{count} unit" if count == 1 else f"{count} units"
