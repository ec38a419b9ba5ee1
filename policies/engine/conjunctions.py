"""From conditions to what the engine can hold: boxes of classes, and the tests of each box.

A box allows some classes in each of some columns; it is a plain conjunction. A condition is a list of alternative
boxes, or the negation of one: whichever is short enough.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from policies.engine.conditions import All, Always, Any, Comparison, Condition, NoneOf
from policies.engine.rule_engine import MAX_PROPERTIES, Conjunction, EngineOperator, Test
from policies.engine.value_classes import Mask, ValueClasses

MAX_ALTERNATIVES = 256
"""Boxes that one rule may come to, as written or negated; a rule of 256 alternatives is a table, not a rule."""

MAX_COLUMNS = MAX_PROPERTIES // 2
"""Columns that one box may ask about; each takes two tests at most."""

Box = Mapping[int, Mask]
"""The classes allowed in each column; true where every column is in one of its classes. Empty is always true."""


class TooLarge(Exception):
    """Neither the condition nor its negation fits the bounds; the message says which bound."""


def boxes(condition: Condition, signatures: ValueClasses) -> tuple[bool, list[Box]]:
    """Whether the boxes stand for the condition's negation, and the boxes. Raises TooLarge."""
    try:
        return False, _fitting(_boxes(condition, signatures, negated=False))
    except TooLarge:
        return True, _fitting(_boxes(condition, signatures, negated=True))


class Properties:
    """The integers that the engine sees: classes of columns, and whether a class is in a scattered set of them."""

    __slots__ = ("_numbers", "_signatures")

    def __init__(self, signatures: ValueClasses) -> None:
        self._signatures = signatures
        self._numbers: dict[tuple[int, Mask | None], int] = {}

    def conjunction(self, box: Box) -> Conjunction:
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


def _boxes(condition: Condition, signatures: ValueClasses, *, negated: bool) -> list[Box]:
    match condition:
        case Always():
            return [] if negated else [{}]
        case Comparison():
            column, mask = signatures.meaning(condition)
            everything = signatures.columns[column].everything
            return _single(column, everything & ~mask if negated else mask, everything)
        case All(parts):
            each = [_boxes(part, signatures, negated=negated) for part in parts]
            return _either(each, signatures) if negated else _both(each)
        case Any(parts) | NoneOf(parts):
            negates = negated is not isinstance(condition, NoneOf)
            each = [_boxes(part, signatures, negated=negates) for part in parts]
            return _both(each) if negates else _either(each, signatures)


def _single(column: int, mask: Mask, everything: Mask) -> list[Box]:
    if not mask:
        return []
    return [{}] if mask == everything else [{column: mask}]


def _either(each: Iterable[list[Box]], signatures: ValueClasses) -> list[Box]:
    """Boxes of which one is true where a box of one of the lists is; those on one and the same column become one."""
    singles: dict[int, Mask] = {}
    others: dict[frozenset[tuple[int, Mask]], Box] = {}
    for box in (box for part in each for box in part):
        if not box:
            return [{}]
        if len(box) == 1:
            ((column, mask),) = box.items()
            singles[column] = singles.get(column, 0) | mask
        else:
            others[frozenset(box.items())] = box
    merged = [_single(column, mask, signatures.columns[column].everything) for column, mask in singles.items()]
    if [{}] in merged:
        return [{}]
    return _bounded([box for part in merged for box in part] + list(others.values()))


def _both(each: Iterable[list[Box]]) -> list[Box]:
    """Boxes of which one is true where a box of each list is."""
    product: list[Box] = [{}]
    # Short lists first: a list without boxes ends it at once.
    for part in sorted(each, key=len):
        crossed = (_crossed(box, other) for box in product for other in part)
        product = _bounded({frozenset(box.items()): box for box in crossed if box is not None}.values())
    return product


def _crossed(box: Box, other: Box) -> Box | None:
    crossed = dict(box)
    for column, mask in other.items():
        crossed[column] = crossed.get(column, mask) & mask
        if not crossed[column]:
            return None
    return crossed


def _bounded(found: Iterable[Box]) -> list[Box]:
    found = list(found)
    if len(found) > MAX_ALTERNATIVES:
        raise TooLarge(f"it comes to more than {MAX_ALTERNATIVES} alternatives")
    return found


def _fitting(found: list[Box]) -> list[Box]:
    if any(len(box) > MAX_COLUMNS for box in found):
        raise TooLarge(f"it compares more than {MAX_COLUMNS} things at once")
    return found
