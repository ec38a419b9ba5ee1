"""From conditions to what the engine can hold: boxes of classes, and the tests of each box.

A box allows some classes in each of some columns; it is a plain conjunction. A condition is a list of alternative
boxes, or the negation of one: whichever is short enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from policies.engine.conditions import All, Always, Any, Comparison, Condition, NoneOf
from policies.engine.rule_engine import MAX_PROPERTIES, EngineConjunction, EngineOperator, Test
from policies.engine.value_classes import Mask, ValueClasses

MAX_ALTERNATIVES = 256
"""Boxes that one rule may come to, as written or negated; a rule of 256 alternatives is a table, not a rule."""

MAX_COLUMNS = MAX_PROPERTIES // 2
"""Columns that one box may ask about; each takes two tests at most."""

Conjunction = Mapping[int, Mask]
"""The classes allowed in each column; true where every column is in one of its classes. Empty is always true."""


class BoundsExceeded(Exception):
    """Neither the condition nor its negation fits the bounds; the message says which bound."""


def alternatives(condition: Condition, signatures: ValueClasses) -> tuple[bool, list[Conjunction]]:
    """Whether the boxes stand for the condition's negation, and the boxes. Raises TooLarge."""
    try:
        return False, _checked_columns(_alternatives(condition, signatures, negated=False))
    except BoundsExceeded:
        return True, _checked_columns(_alternatives(condition, signatures, negated=True))


class EngineProperties:
    """The integers that the engine sees: classes of columns, and whether a class is in a scattered set of them."""

    __slots__ = ("_numbers", "_signatures")

    def __init__(self, signatures: ValueClasses) -> None:
        self._signatures = signatures
        self._numbers: dict[tuple[int, Mask | None], int] = {}

    def conjunction(self, box: Conjunction) -> EngineConjunction:
        """The tests of a box that is not empty."""
        return tuple(sorted(test for column, mask in box.items() for test in self._tests(column, mask)))

    def values(self, classes: Sequence[int]) -> list[int]:
        """The value of each property where the columns have these classes."""
        return [classes[column] if mask is None else mask >> classes[column] & 1 for column, mask in self._numbers]

    def _tests(self, column: int, mask: Mask) -> Iterator[Test]:
        low, high = (mask & -mask).bit_length() - 1, mask.bit_length() - 1
        if mask != (2 << high) - (1 << low):
            # A set with gaps becomes a property of its own, so that every rule stays a plain conjunction.
            yield Test(self._number(column, mask), EngineOperator.EQUAL, 1)
            return
        number = self._number(column, None)
        if low == high:
            yield Test(number, EngineOperator.EQUAL, low)
            return
        if low > 0:
            yield Test(number, EngineOperator.AT_LEAST, low)
        if high < self._signatures.columns[column].class_count - 1:
            yield Test(number, EngineOperator.AT_MOST, high)

    def _number(self, column: int, mask: Mask | None) -> int:
        return self._numbers.setdefault((column, mask), len(self._numbers))


def _alternatives(condition: Condition, signatures: ValueClasses, *, negated: bool) -> list[Conjunction]:
    match condition:
        case Always():
            return [] if negated else [{}]
        case Comparison():
            column, mask = signatures.meaning(condition)
            everything = signatures.columns[column].everything
            return _on_column(column, everything & ~mask if negated else mask, everything)
        case All(parts):
            each = [_alternatives(part, signatures, negated=negated) for part in parts]
            return _any_of(each, signatures) if negated else _all_of(each)
        case Any(parts) | NoneOf(parts):
            negates = negated is not isinstance(condition, NoneOf)
            each = [_alternatives(part, signatures, negated=negates) for part in parts]
            return _all_of(each) if negates else _any_of(each, signatures)


def _on_column(column: int, mask: Mask, everything: Mask) -> list[Conjunction]:
    if not mask:
        return []
    return [{}] if mask == everything else [{column: mask}]


def _any_of(each: Iterable[list[Conjunction]], signatures: ValueClasses) -> list[Conjunction]:
    """Boxes of which one is true where a box of one of the lists is; those on one and the same column become one."""
    singles: dict[int, Mask] = {}
    others: dict[frozenset[tuple[int, Mask]], Conjunction] = {}
    for box in (box for part in each for box in part):
        if not box:
            return [{}]
        if len(box) == 1:
            ((column, mask),) = box.items()
            singles[column] = singles.get(column, 0) | mask
        else:
            others[frozenset(box.items())] = box
    merged = [_on_column(column, mask, signatures.columns[column].everything) for column, mask in singles.items()]
    if [{}] in merged:
        return [{}]
    return _checked_count([box for part in merged for box in part] + list(others.values()))


def _all_of(each: Iterable[list[Conjunction]]) -> list[Conjunction]:
    """Boxes of which one is true where a box of each list is."""
    product: list[Conjunction] = [{}]
    # Short lists first: a list without boxes ends it at once.
    for part in sorted(each, key=len):
        crossed = (_intersection(box, other) for box in product for other in part)
        product = _checked_count({frozenset(box.items()): box for box in crossed if box is not None}.values())
    return product


def _intersection(box: Conjunction, other: Conjunction) -> Conjunction | None:
    crossed = dict(box)
    for column, mask in other.items():
        crossed[column] = crossed.get(column, mask) & mask
        if not crossed[column]:
            return None
    return crossed


def _checked_count(found: Iterable[Conjunction]) -> list[Conjunction]:
    found = list(found)
    if len(found) > MAX_ALTERNATIVES:
        raise BoundsExceeded(f"it comes to more than {MAX_ALTERNATIVES} alternatives")
    return found


def _checked_columns(found: list[Conjunction]) -> list[Conjunction]:
    if any(len(box) > MAX_COLUMNS for box in found):
        raise BoundsExceeded(f"it compares more than {MAX_COLUMNS} things at once")
    return found
