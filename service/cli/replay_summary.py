"""What rules would have changed in stored decisions, counted by channel, location and outcome."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from service.cli.console import enum_word, json_value
from truestock.v1.order_pb2 import Outcome
from truestock.v1.policy_service_pb2 import DecisionComparison, DecisionPlan

BY_ITSELF = "Each decision is taken by itself: units that would have gone elsewhere change no later decision."
NOT_PROMISED = "no location"
"""Where units come from or go to that one of the two results leaves short."""
_RESULTS = {
    DecisionComparison.RESULT_SAME: "same",
    DecisionComparison.RESULT_DIFFERENT: "different",
    DecisionComparison.RESULT_NOT_DECIDABLE: "not_decidable",
}
RESULTS = tuple(_RESULTS.values())


@dataclass(slots=True)
class Change:
    """A figure under the rules of then and under the rules that are tried."""

    original: int = 0
    replayed: int = 0


@dataclass(slots=True)
class ReplaySummary:
    """Counts over compared decisions; units and reviews only of those that could be decided."""

    policy_revision: str = ""
    results: Counter[str] = field(default_factory=Counter)
    channels: dict[str, Counter[str]] = field(default_factory=dict)
    locations: dict[str, Change] = field(default_factory=dict)
    """Promised units by location."""
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Units by where they were promised and where they would have been."""
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Decisions by their two outcomes, where these differ."""
    shortages: dict[str, Change] = field(default_factory=dict)
    """Short units by kind."""
    reviews: Change = field(default_factory=Change)
    """Decisions that needed a review."""
    causes: Counter[str] = field(default_factory=Counter)
    """Decisions that could not be decided, by the reason."""
    listed: list[DecisionComparison] = field(default_factory=list)
    """The decisions that differ or could not be decided."""

    @property
    def count(self) -> int:
        """How many decisions were compared."""
        return self.results.total()

    def add(self, comparison: DecisionComparison) -> None:
        """Counts one decision."""
        result = _RESULTS[comparison.result]
        self.results[result] += 1
        self.channels.setdefault(comparison.channel_id, Counter())[result] += 1
        if comparison.result != DecisionComparison.RESULT_SAME:
            self.listed.append(comparison)
        if comparison.result == DecisionComparison.RESULT_NOT_DECIDABLE:
            self.causes[comparison.cause] += 1
            return
        original, replayed = comparison.original, comparison.replayed
        self._add_plan(original, "original")
        self._add_plan(replayed, "replayed")
        self.moves.update(moved_units(comparison))
        if original.outcome != replayed.outcome:
            self.outcomes[outcome_word(original), outcome_word(replayed)] += 1

    def _add_plan(self, plan: DecisionPlan, side: str) -> None:
        for units in plan.units:
            _increase(self.locations.setdefault(units.location_id, Change()), side, units.unit_count)
        for short in plan.shortages:
            _increase(self.shortages.setdefault(short.kind.replace("_", " "), Change()), side, short.unit_count)
        _increase(self.reviews, side, int(bool(plan.review_rules)))

    def as_dict(self) -> dict[str, Any]:
        """All figures for `--json`, and the decisions that differ or could not be decided."""
        return {
            "policy_revision": self.policy_revision,
            "note": BY_ITSELF,
            "decision_count": self.count,
            **{f"{result}_count": self.results[result] for result in RESULTS},
            "channels": [
                {"channel_id": channel_id, **{f"{result}_count": counts[result] for result in RESULTS}}
                for channel_id, counts in sorted(self.channels.items())
            ],
            "locations": _changes("location_id", self.locations),
            "moves": [{"from": old, "to": new, "unit_count": units} for (old, new), units in self.moves.most_common()],
            "outcomes": [
                {"original": old, "replayed": new, "decision_count": number}
                for (old, new), number in self.outcomes.most_common()
            ],
            "shortages": _changes("kind", self.shortages),
            "reviews": {"original_count": self.reviews.original, "replayed_count": self.reviews.replayed},
            "causes": [{"cause": cause, "decision_count": number} for cause, number in self.causes.most_common()],
            "decisions": json_value(self.listed),
        }


def outcome_word(plan: DecisionPlan) -> str:
    """The outcome of a plan, such as `partly allocated`."""
    return enum_word(Outcome, plan.outcome, "OUTCOME_")


def units_by_place(plan: DecisionPlan) -> Counter[tuple[str, str]]:
    """The units of a plan by SKU and location; those that are short by SKU and `no location`."""
    units: Counter[tuple[str, str]] = Counter()
    for promised in plan.units:
        units[promised.sku, promised.location_id] += promised.unit_count
    for short in plan.shortages:
        units[short.sku, NOT_PROMISED] += short.unit_count
    return units


def moved_units(comparison: DecisionComparison) -> Counter[tuple[str, str]]:
    """Units of one decision by where they were promised and where they would have been."""
    moved: Counter[tuple[str, str]] = Counter()
    for _, origin, target, units in moves_of(comparison):
        moved[origin, target] += units
    return moved


def moves_of(comparison: DecisionComparison) -> Iterator[tuple[str, str, str, int]]:
    """The moves of one decision: SKU, where the units were, where they would have been, and how many."""
    before, after = units_by_place(comparison.original), units_by_place(comparison.replayed)
    losses, gains = before - after, after - before
    for sku, origin in sorted(losses):
        for other, target in sorted(gains):
            units = min(losses[sku, origin], gains[other, target])
            if other == sku and units:
                losses[sku, origin] -= units
                gains[other, target] -= units
                yield sku, origin, target, units


def _increase(change: Change, side: str, units: int) -> None:
    setattr(change, side, getattr(change, side) + units)


def _changes(name: str, changes: Mapping[str, Change]) -> list[dict[str, Any]]:
    return [
        {name: key, "original_unit_count": change.original, "replayed_unit_count": change.replayed}
        for key, change in sorted(changes.items())
    ]
