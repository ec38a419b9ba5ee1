"""Whether conditions can be true together in any context, decided exactly over the classes of facts in bounded work.

Facts are treated as independent of each other, and every fact may be unknown, unless it is stated to be known.
"Impossible" is therefore always right;
"possible" may include cases that never occur, such as more units available than on hand.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import isfinite

from policies.engine.conditions import Comparison, Condition, Operator, comparisons
from policies.engine.conjunctions import BoundsExceeded, Conjunction, alternatives
from policies.engine.value_classes import UNKNOWN, Mask, ValueClasses
from policies.facts.fact_table import FACTS, FactType

MAX_COMPARISONS = 200_000
"""Pairs of conjunctions that one `StepBudget` allows to compare; after that everything counts as possible."""

Narrowing = Callable[[Conjunction], Iterator[Conjunction]]
"""Returns the part of a conjunction where one more requirement is met, as conjunctions."""

_ABSENT, _PRESENT = 1 << 1, 1 << 2
# The classes of a column about a list of tags: none of the tags is present, or at least one is.


@dataclass(frozen=True, slots=True)
class Disjunction:
    """Where a condition is true: in any of the conjunctions or, if `inverted`, in none of them.

    `conjunctions` is None where the condition exceeds the bounds.
    """

    inverted: bool
    conjunctions: Sequence[Conjunction] | None

    @property
    def opposite(self) -> Disjunction:
        """Where the condition is not true."""
        return Disjunction(not self.inverted, self.conjunctions)


@dataclass(slots=True)
class StepBudget:
    """How many pairs of conjunctions may still be compared. Several `Satisfiability` can share one budget."""

    remaining: int = MAX_COMPARISONS


class Satisfiability:
    """Answers whether some of these conditions, or their parts, can be true together."""

    __slots__ = ("_budget", "_possible", "_tag_columns", "_value_classes")

    def __init__(
        self, conditions: Iterable[Condition], budget: StepBudget, known: Container[str] = frozenset[str]()
    ) -> None:
        """`known` are the facts that are always known where the conditions stand."""
        conditions = tuple(conditions)
        used = [comparison for condition in conditions for comparison in comparisons(condition)]
        fact_names = dict.fromkeys(comparison.fact for comparison in used)
        limits = [limit for name in fact_names for limit in _possible_values(name)]
        certain = [Comparison(name, Operator.KNOWN, (True,)) for name in fact_names if name in known]
        self._value_classes = ValueClasses([*conditions, *limits, *certain])
        self._possible: dict[int, Mask] = {}
        for limit in limits:
            column, mask = self._value_classes.column_and_mask(limit)
            self._possible[column] = self._possible.get(column, self._all_classes(column)) & (mask | 1 << UNKNOWN)
        for known_fact in certain:
            column, mask = self._value_classes.column_and_mask(known_fact)
            self._possible[column] = self._possible.get(column, self._all_classes(column)) & mask
        self._tag_columns: dict[str, dict[int, frozenset[object]]] = {}
        for comparison in (*used, *certain):
            if comparison.fact in FACTS and FACTS[comparison.fact].type is FactType.TEXTS:
                column, _ = self._value_classes.column_and_mask(comparison)
                tags = () if comparison.operator is Operator.KNOWN else comparison.operands
                self._tag_columns.setdefault(comparison.fact, {})[column] = frozenset(tags)
        self._budget = budget

    def disjunction(self, condition: Condition) -> Disjunction:
        """Where one of the conditions, or a part of one, is true."""
        try:
            return Disjunction(*alternatives(condition, self._value_classes))
        except BoundsExceeded:
            return Disjunction(False, None)

    def can_hold(self, disjunctions: Iterable[Disjunction]) -> bool:
        """Whether all of these can be true in one context. Also True if the budget runs out before that is decided."""
        disjunctions = tuple(disjunctions)
        if any(disjunction.conjunctions is None for disjunction in disjunctions):
            return True
        steps = [step for disjunction in disjunctions for step in self._steps(disjunction)]
        # Depth first: most rules are possible, and the first path through the steps then usually succeeds.
        pending: list[tuple[int, Conjunction]] = [(0, self._possible)]
        while pending:
            number, conjunction = pending.pop()
            if number == len(steps) or self._budget.remaining <= 0:
                return True
            comparison_count, narrow = steps[number]
            self._budget.remaining -= comparison_count
            pending += [(number + 1, narrowed) for narrowed in narrow(conjunction) if self._has_tag_lists(narrowed)]
        return False

    def conflict(self, disjunctions: Sequence[Disjunction]) -> list[int]:
        """The numbers of those that cannot be true together; empty if all can be.

        Without any one of them the conflict would be gone. Later ones are preferred to earlier ones.
        """
        if self.can_hold(disjunctions):
            return []
        conflicting = list(range(len(disjunctions)))
        for number in range(len(disjunctions)):
            without = [member for member in conflicting if member != number]
            if not self.can_hold(disjunctions[member] for member in without):
                conflicting = without
        return conflicting

    def _steps(self, disjunction: Disjunction) -> list[tuple[int, Narrowing]]:
        """The narrowing steps, each with its number of comparisons.

        To meet any of the conjunctions takes one step, to meet none of them one step for each.
        """
        conjunctions = disjunction.conjunctions or ()
        if not disjunction.inverted:
            return [(len(conjunctions), partial(_intersections, conjunctions))]
        return [(1, partial(self._difference, excluded=excluded)) for excluded in conjunctions]

    def _difference(self, conjunction: Conjunction, excluded: Conjunction) -> Iterator[Conjunction]:
        """The first conjunction without the second, as conjunctions that do not overlap."""
        if not any(True for _ in _intersections([excluded], conjunction)):
            yield conjunction
            return
        remaining = dict(conjunction)
        for column, mask in excluded.items():
            allowed = remaining.get(column, self._all_classes(column))
            if allowed & ~mask:
                yield {**remaining, column: allowed & ~mask}
            remaining[column] = allowed & mask

    def _has_tag_lists(self, conjunction: Conjunction) -> bool:
        """Whether each fact about tags can have a list that meets the conjunction."""
        return all(_has_tag_list(conjunction, columns) for columns in self._tag_columns.values())

    def _all_classes(self, column: int) -> Mask:
        return self._value_classes.columns[column].all_classes


def _possible_values(name: str) -> Iterator[Comparison]:
    """Comparisons that are true of the fact wherever it is known."""
    fact = FACTS.get(name)
    # Facts that are not in the table are bounds in time, which are true or false.
    if fact is None or fact.type is FactType.FLAG:
        yield Comparison(name, Operator.IN, (False, True))
    elif fact.allowed:
        yield Comparison(name, Operator.IN, fact.allowed)
    else:
        lowest, highest = fact.value_range
        if isfinite(lowest):
            yield Comparison(name, Operator.AT_LEAST, (lowest,))
        if isfinite(highest):
            yield Comparison(name, Operator.AT_MOST, (highest,))


def _intersections(alternatives: Sequence[Conjunction], conjunction: Conjunction) -> Iterator[Conjunction]:
    """The conjunction combined with each alternative, where both can be true."""
    for alternative in alternatives:
        combined = dict(conjunction)
        for column, mask in alternative.items():
            combined[column] = combined.get(column, mask) & mask
            if not combined[column]:
                break
        else:
            yield combined


def _has_tag_list(conjunction: Conjunction, tags_of: Mapping[int, frozenset[object]]) -> bool:
    """Whether one list of tags can meet the conjunction. `tags_of` has the tags that each column asks for."""
    masks = {column: conjunction[column] for column in tags_of if column in conjunction}
    if all(mask & 1 << UNKNOWN for mask in masks.values()):
        return True
    absent: set[object] = set()
    for column, mask in masks.items():
        if not mask & (_ABSENT | _PRESENT):
            return False
        absent |= tags_of[column] if not mask & _PRESENT else frozenset()
    # A list of every tag except the absent ones: if it does not meet the conjunction, no list does.
    return all(mask & _ABSENT or tags_of[column] - absent for column, mask in masks.items())
