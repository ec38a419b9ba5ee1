"""The reasons for an answer: rules that fired and locations that were dropped. Immutable, as `domain.model` says."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from policies.domain.model import Context
from policies.engine.conditions import Condition, comparisons
from policies.facts.fact_table import FACTS, Value
from policies.source.problems import Source


@dataclass(slots=True, unsafe_hash=True)
class RuleEvidence:
    """The condition of a rule and the context in which it fired. Facts are read only on request."""

    when: Final[Condition]
    context: Final[Context]

    def facts(self) -> tuple[tuple[str, str], ...]:
        """The facts that the condition names, in the order written, each with its value as text."""
        names = dict.fromkeys(comparison.fact for comparison in comparisons(self.when))
        return tuple((name, _value_text(FACTS[name].read(self.context))) for name in names)


@dataclass(slots=True, unsafe_hash=True)
class FiredRule:
    """A rule that affected an answer. `effect` says what it did; None means all locations or all products."""

    name: Final[str]
    source: Final[Source]
    location_id: Final[str | None]
    sku: Final[str | None]
    effect: Final[str]
    evidence: Final[RuleEvidence | None] = field(default=None, compare=False, repr=False)


class DropReason(StrEnum):
    """Why a candidate location supplies nothing."""

    CLOSED = "closed"
    REJECTED = "rejected"
    NOT_CHOSEN = "not-chosen"
    OUTSIDE_OUTLET = "outside-outlet"
    NOT_ELIGIBLE = "not-eligible"
    EXCLUDED = "excluded"
    NO_STOCK = "no-stock"
    BLOCKED = "blocked"
    RESTRICTED = "restricted"
    HELD_BACK = "held-back"
    UNTRACKED = "untracked"
    LINE_RESTRICTED = "line-restricted"
    NOT_WHOLE = "not-whole"
    TOO_LATE = "too-late"
    CAPACITY = "capacity"


@dataclass(slots=True, unsafe_hash=True)
class DroppedLocation:
    """A location that an answer does not use for a SKU (None: for any SKU), and the rule that excludes it.

    `line_id` is set if it is not used for one line of an order: the line may not use it, or it lacks units to ship the
    line whole with those that must ship with it.
    """

    location_id: Final[str]
    sku: Final[str | None]
    reason: Final[DropReason]
    rule: Final[str | None] = None
    source: Final[Source | None] = None
    evidence: Final[RuleEvidence | None] = field(default=None, compare=False, repr=False)
    line_id: Final[str | None] = None


def unit_count_text(count: int) -> str:
    """The count with its noun: "1 unit", "2 units"."""
    return f"{count} unit" if count == 1 else f"{count} units"


def _value_text(value: Value | None) -> str:
    match value:
        case None:
            return "unknown"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.10g}"
        case frozenset():
            return ", ".join(sorted(value)) or "none"
        case _:
            return str(value)
