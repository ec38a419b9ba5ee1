"""Turns conditions into conjunctions of value classes, and conjunctions into tests that the rule engine can evaluate.

A condition becomes a list of alternative conjunctions (its disjunctive normal form). Where that list is too long, the
negation of the condition is used instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from policies.engine.conditions import All, Always, Any, Comparison, Condition, NoneOf
from policies.engine.rule_engine import MAX_PROPERTIES, EngineConjunction, EngineOperator, Test
from policies.engine.value_classes import Mask, ValueClasses

MAX_ALTERNATIVES = 256
"""Conjunctions that one rule may expand to, as written or negated. A rule with 256 alternatives is really a table."""

MAX_COLUMNS = MAX_PROPERTIES // 2
"""Columns that one conjunction may test; each takes two tests at most."""

Conjunction = Mapping[int, Mask]
"""The classes allowed in each column. True if every column has one of its classes, and so always true if empty."""


class BoundsExceeded(Exception):
    """Neither the condition nor its negation is within the bounds; the message names the bound."""


def alternatives(condition: Condition, value_classes: ValueClasses) -> tuple[bool, list[Conjunction]]:
    """Whether the conjunctions state the condition's negation, and the conjunctions. Raises BoundsExceeded."""
    try:
        return False, _checked_columns(_alternatives(condition, value_classes, negated=False))
    except BoundsExceeded:
        return True, _checked_columns(_alternatives(condition, value_classes, negated=True))


class EngineProperties:
    """The integers that the engine evaluates: the class of a column, or whether it is in a set of classes with gaps."""

    __slots__ = ("_numbers", "_value_classes")

    def __init__(self, value_classes: ValueClasses) -> None:
        self._value_classes = value_classes
        self._numbers: dict[tuple[int, Mask | None], int] = {}

    def tests(self, conjunction: Conjunction) -> EngineConjunction:
        """The engine's tests for a conjunction that is not empty."""
        return tuple(sorted(test for column, mask in conjunction.items() for test in self._column_tests(column, mask)))

    def values(self, classes: Sequence[int]) -> list[int]:
        """The value of each property for these classes of the columns."""
        return [classes[column] if mask is None else mask >> classes[column] & 1 for column, mask in self._numbers]

    def _column_tests(self, column: int, mask: Mask) -> Iterator[Test]:
        low, high = (mask & -mask).bit_length() - 1, mask.bit_length() - 1
        if mask != (2 << high) - (1 << low):
            # A set with gaps becomes a property of its own, because a range test cannot state it.
            yield Test(self._number(column, mask), EngineOperator.EQUAL, 1)
            return
        number = self._number(column, None)
        if low == high:
            yield Test(number, EngineOperator.EQUAL, low)
            return
        if low > 0:
            yield Test(number, EngineOperator.AT_LEAST, low)
        if high < self._value_classes.columns[column].class_count - 1:
            yield Test(number, EngineOperator.AT_MOST, high)

    def _number(self, column: int, mask: Mask | None) -> int:
        return self._numbers.setdefault((column, mask), len(self._numbers))


def _alternatives(condition: Condition, value_classes: ValueClasses, *, negated: bool) -> list[Conjunction]:
    match condition:
        case Always():
            return [] if negated else [{}]
        case Comparison():
            column, mask = value_classes.column_and_mask(condition)
            all_classes = value_classes.columns[column].all_classes
            return _on_column(column, all_classes & ~mask if negated else mask, all_classes)
        case All(parts):
            lists = [_alternatives(part, value_classes, negated=negated) for part in parts]
            return _any_of(lists, value_classes) if negated else _all_of(lists)
        case Any(parts) | NoneOf(parts):
            negates = negated is not isinstance(condition, NoneOf)
            lists = [_alternatives(part, value_classes, negated=negates) for part in parts]
            return _all_of(lists) if negates else _any_of(lists, value_classes)


def _on_column(column: int, mask: Mask, all_classes: Mask) -> list[Conjunction]:
    if not mask:
        return []
    return [{}] if mask == all_classes else [{column: mask}]


def _any_of(lists: Iterable[list[Conjunction]], value_classes: ValueClasses) -> list[Conjunction]:
    """The conjunctions of all lists together. Conjunctions that test only one and the same column are merged."""
    masks: dict[int, Mask] = {}
    several_columns: dict[frozenset[tuple[int, Mask]], Conjunction] = {}
    for conjunction in (conjunction for conjunctions in lists for conjunction in conjunctions):
        if not conjunction:
            return [{}]
        if len(conjunction) == 1:
            ((column, mask),) = conjunction.items()
            masks[column] = masks.get(column, 0) | mask
        else:
            several_columns[frozenset(conjunction.items())] = conjunction
    merged = [_on_column(column, mask, value_classes.columns[column].all_classes) for column, mask in masks.items()]
    if [{}] in merged:
        return [{}]
    return _checked_count([*chain.from_iterable(merged), *several_columns.values()])


def _all_of(lists: Iterable[list[Conjunction]]) -> list[Conjunction]:
    """Every combination of one conjunction from each list, where that can be true."""
    product: list[Conjunction] = [{}]
    # The shortest list first: an empty one ends the work at once.
    for conjunctions in sorted(lists, key=len):
        combined = (_intersection(left, right) for left in product for right in conjunctions)
        distinct = {frozenset(conjunction.items()): conjunction for conjunction in combined if conjunction is not None}
        product = _checked_count(distinct.values())
    return product


def _intersection(left: Conjunction, right: Conjunction) -> Conjunction | None:
    """Both conjunctions as one; None where they cannot both be true."""
    combined = dict(left)
    for column, mask in right.items():
        combined[column] = combined.get(column, mask) & mask
        if not combined[column]:
            return None
    return combined


def _checked_count(conjunctions: Iterable[Conjunction]) -> list[Conjunction]:
    conjunctions = list(conjunctions)
    if len(conjunctions) > MAX_ALTERNATIVES:
        raise BoundsExceeded(f"it expands to more than {MAX_ALTERNATIVES} alternatives")
    return conjunctions


def _checked_columns(conjunctions: list[Conjunction]) -> list[Conjunction]:
    if any(len(conjunction) > MAX_COLUMNS for conjunction in conjunctions):
        raise BoundsExceeded(f"it combines more than {MAX_COLUMNS} comparisons")
    return conjunctions
