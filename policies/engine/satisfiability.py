"""Whether conditions can hold together in any context at all: exact over the classes of facts, in bounded work.

Facts count as independent of each other, so that what is called impossible is; what is called possible may still never
happen, such as more available than on hand. Every fact may be unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from policies.engine.conditions import Comparison, Condition, Operator, comparisons
from policies.engine.conjunctions import BoundsExceeded, Conjunction, alternatives
from policies.engine.value_classes import UNKNOWN, Mask, ValueClasses
from policies.facts.fact_table import FACTS, MAX_CONSTANT, FactType

MAX_COMPARISONS = 200_000
"""Pairs of boxes that are compared for one `StepBudget`; beyond it everything counts as possible."""

Narrowing = Callable[[Conjunction], Iterator[Conjunction]]
"""What of a box is left when one more thing must hold: boxes that make it up."""

_ABSENT, _PRESENT = 1 << 1, 1 << 2
# The classes of a question about a list of tags: none of them is there, or some are.


@dataclass(frozen=True, slots=True)
class Disjunction:
    """Where a condition holds: in any of the boxes, or where `inverted` in none. Without boxes it is too large."""

    inverted: bool
    boxes: Sequence[Conjunction] | None

    @property
    def opposite(self) -> Disjunction:
        """Where the condition does not hold."""
        return Disjunction(not self.inverted, self.boxes)


@dataclass(slots=True)
class StepBudget:
    """How many pairs of boxes may still be compared; spaces can share one."""

    left: int = MAX_COMPARISONS


class Satisfiability:
    """All contexts that some conditions can tell apart."""

    __slots__ = ("_signatures", "_start", "_tags", "_work")

    def __init__(self, conditions: Iterable[Condition], work: StepBudget) -> None:
        conditions = tuple(conditions)
        asked = [comparison for condition in conditions for comparison in comparisons(condition)]
        limits = [limit for name in dict.fromkeys(one.fact for one in asked) for limit in _possible_values(name)]
        self._signatures = ValueClasses([*conditions, *limits])
        self._start: dict[int, Mask] = {}
        for limit in limits:
            column, mask = self._signatures.meaning(limit)
            self._start[column] = self._start.get(column, self._everything(column)) & (mask | 1 << UNKNOWN)
        self._tags: dict[str, dict[int, frozenset[object]]] = {}
        for comparison in asked:
            if comparison.fact in FACTS and FACTS[comparison.fact].type is FactType.TEXTS:
                column, _ = self._signatures.meaning(comparison)
                words = () if comparison.operator is Operator.KNOWN else comparison.operands
                self._tags.setdefault(comparison.fact, {})[column] = frozenset(words)
        self._work = work

    def region(self, condition: Condition) -> Disjunction:
        """Where one of the space's conditions, or a part of one, holds."""
        try:
            return Disjunction(*alternatives(condition, self._signatures))
        except BoundsExceeded:
            return Disjunction(False, None)

    def can_hold(self, wanted: Iterable[Disjunction]) -> bool:
        """Whether all of these can hold in one context; True also where it takes too long to say."""
        wanted = tuple(wanted)
        if any(region.boxes is None for region in wanted):
            return True
        steps = [step for region in wanted for step in self._steps(region)]
        # Depth first: where something is possible, as it is for most rules, the first way through is found at once.
        waiting: list[tuple[int, Conjunction]] = [(0, self._start)]
        while waiting:
            number, box = waiting.pop()
            if number == len(steps) or self._work.left <= 0:
                return True
            work, step = steps[number]
            self._work.left -= work
            waiting += [(number + 1, piece) for piece in step(box) if self._has_tags(piece)]
        return False

    def conflict(self, wanted: Sequence[Disjunction]) -> list[int]:
        """The numbers of some that cannot hold together, none of which can be spared; empty where all can.

        Later ones are kept rather than earlier ones.
        """
        if self.can_hold(wanted):
            return []
        kept = list(range(len(wanted)))
        for number in range(len(wanted)):
            others = [other for other in kept if other != number]
            if not self.can_hold(wanted[other] for other in others):
                kept = others
        return kept

    def _steps(self, region: Disjunction) -> list[tuple[int, Narrowing]]:
        """Steps with the work of each: to be outside all boxes takes one for each box, to be in one of them one."""
        found = region.boxes or ()
        if not region.inverted:
            return [(len(found), partial(_intersections, found))]
        return [(1, partial(self._outside, cut=box)) for box in found]

    def _outside(self, box: Conjunction, cut: Conjunction) -> Iterator[Conjunction]:
        """What is left of a box without another, as boxes that do not overlap."""
        if not any(True for _ in _intersections([cut], box)):
            yield box
            return
        left = dict(box)
        for column, mask in cut.items():
            allowed = left.get(column, self._everything(column))
            if allowed & ~mask:
                yield {**left, column: allowed & ~mask}
            left[column] = allowed & mask

    def _has_tags(self, box: Conjunction) -> bool:
        """Whether for every list of tags there is one that fits all that the box says of it."""
        return all(_has_tag_list(box, asked) for asked in self._tags.values())

    def _everything(self, column: int) -> Mask:
        return self._signatures.columns[column].everything


def _possible_values(name: str) -> Iterator[Comparison]:
    """What holds of the fact wherever it is known."""
    fact = FACTS.get(name)
    # Facts that are in no table are bounds in time, which are true or false.
    if fact is None or fact.type is FactType.FLAG:
        yield Comparison(name, Operator.IN, (False, True))
    elif fact.allowed:
        yield Comparison(name, Operator.IN, fact.allowed)
    elif fact.bounds != (-MAX_CONSTANT, MAX_CONSTANT):
        # Only bounds of its own are the fact's nature; the others bound what planners may write.
        yield Comparison(name, Operator.AT_LEAST, (fact.bounds[0],))
        yield Comparison(name, Operator.AT_MOST, (fact.bounds[1],))


def _intersections(found: Sequence[Conjunction], box: Conjunction) -> Iterator[Conjunction]:
    """The parts of a box that are in one of the others."""
    for other in found:
        crossed = dict(box)
        for column, mask in other.items():
            crossed[column] = crossed.get(column, mask) & mask
            if not crossed[column]:
                break
        else:
            yield crossed


def _has_tag_list(box: Conjunction, asked: Mapping[int, frozenset[object]]) -> bool:
    masks = {column: box[column] for column in asked if column in box}
    if all(mask & 1 << UNKNOWN for mask in masks.values()):
        return True
    absent: set[object] = set()
    for column, mask in masks.items():
        if not mask & (_ABSENT | _PRESENT):
            return False
        absent |= asked[column] if not mask & _PRESENT else frozenset()
    # The list that has every word but those: no list says more.
    return all(mask & _ABSENT or asked[column] - absent for column, mask in masks.items())
