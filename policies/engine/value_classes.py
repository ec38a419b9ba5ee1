"""From raw values to classes. Rules compare facts only with constants, so a value matters only through its class.

A class is a set of values that no rule can tell apart: an interval between constants, all SKUs that the same rules
list, unknown. The classes of all facts that some rules use are the signature of a context.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from math import inf, isfinite, nextafter
from typing import Any

from policies.domain.model import Context
from policies.engine.classified_facts import (
    CACHED_OBJECTS,
    ClassifiedFacts,
    ClassifiedFactsCache,
    Classifier,
    deciding_object,
)
from policies.engine.conditions import Comparison, Condition, Operator, comparisons
from policies.facts.fact_table import FACTS, FactType, Value
from policies.facts.measures import AGE_FACTS

Entry = Hashable
"""What a signature holds for one fact: a class; of tags the mentioned ones that are there, or None for unknown."""

Signature = tuple[ClassifiedFacts, ClassifiedFacts, ClassifiedFacts, Entry]
"""All that rules can see of a context: the parts of its channel, location and product, and the question's own facts."""

Read = Callable[[Context], Value | None]

Mask = int
"""A set of classes, one bit each."""

UNKNOWN = 0
"""The class of what is not known, in every column."""

_LONGEST = 1 << 59
# In microseconds: longer than from the year 1 to the year 9999.


@dataclass(frozen=True, slots=True)
class FactClasses:
    """The classes of one fact, or of one question about a list of tags; numbered from 0, which is unknown."""

    class_count: int
    class_of: Callable[[Entry], int]

    @property
    def everything(self) -> Mask:
        """All classes."""
        return (1 << self.class_count) - 1

    @property
    def known(self) -> Mask:
        """All classes but unknown."""
        return self.everything - 1


class ValueClasses:
    """How contexts are classified for a set of conditions."""

    __slots__ = ("_known", "_parts", "_rest", "_sorts", "_starts", "columns", "facts")

    def __init__(self, conditions: Iterable[Condition]) -> None:
        used: dict[str, list[Comparison]] = {}
        for condition in conditions:
            for comparison in comparisons(condition):
                used.setdefault(comparison.fact, []).append(comparison)
        self.facts = tuple(used)
        sorts = {name: _CLASSES_BY_TYPE[FACTS[name].type](name, found) for name, found in used.items()}
        names = {kind: [name for name in sorts if deciding_object(name) == kind] for kind in (*CACHED_OBJECTS, None)}
        # What a signature says in this order: the facts of each kind of object, then those of the question itself.
        self._sorts = {name: sorts[name] for kind in names for name in names[kind]}
        steps = {kind: [sorts[name].step(FACTS[name].read) for name in names[kind]] for kind in names}
        self._parts = tuple(ClassifiedFactsCache(kind, steps[kind]) for kind in CACHED_OBJECTS)
        self._known = tuple(parts.known for parts in self._parts)
        self._rest = _combined(steps[None])
        self.columns: list[FactClasses] = []
        self._starts: dict[str, int] = {}
        for name, sort in self._sorts.items():
            self._starts[name] = len(self.columns)
            self.columns += sort.columns

    def of(self, context: Context) -> Signature:
        """What the rules can see of a context. Raises ValueError for a number without a size."""
        channels, locations, products = self._known
        try:
            return (
                channels[id(context.channel)],
                locations[id(context.location)],
                products[id(context.product)],
                self._rest(context),
            )
        except KeyError:
            channel, location, product = (parts.of(context) for parts in self._parts)
            return channel, location, product, self._rest(context)

    def classes(self, signature: Signature) -> list[int]:
        """The class in each of `columns`."""
        channel, location, product, rest = signature
        said = [*channel.entries, *location.entries, *product.entries]
        # One entry stands for itself; no entry is a tuple.
        said += rest if isinstance(rest, tuple) else [rest]
        entries = (
            entry for sort, entry in zip(self._sorts.values(), said, strict=True) for _ in range(len(sort.columns))
        )
        return [column.class_of(entry) for column, entry in zip(self.columns, entries, strict=True)]

    def meaning(self, comparison: Comparison) -> tuple[int, Mask]:
        """The column that a comparison asks about, and the classes for which it is true."""
        sort = self._sorts[comparison.fact]
        offset, mask = sort.meaning(comparison)
        column = self._starts[comparison.fact] + offset
        if comparison.operator is Operator.KNOWN:
            known = self.columns[column].known
            return column, known if comparison.operands[0] else 1
        if comparison.operator in (Operator.IS_NOT, Operator.NOT_IN):
            return column, self.columns[column].known & ~mask
        return column, mask


class _WordClasses:
    """Classes of a text or a flag: 1 for values that no rule lists, then one for each set of lists they stand in."""

    __slots__ = ("_class_of", "_masks", "columns")

    def __init__(self, fact: str, found: Sequence[Comparison]) -> None:
        lists = dict.fromkeys(frozenset(c.operands) for c in found if c.operator is not Operator.KNOWN)
        listed_in: dict[Value, list[int]] = {}
        for number, words in enumerate(lists):
            for word in words:
                listed_in.setdefault(word, []).append(number)
        # Classes in the order of their lists put the classes of one list side by side, which needs fewer tests.
        keys = sorted({tuple(numbers) for numbers in listed_in.values()})
        class_of_key = {key: 2 + index for index, key in enumerate(keys)}
        class_of = _ClassOfWord({None: UNKNOWN})
        class_of.update((word, class_of_key[tuple(numbers)]) for word, numbers in listed_in.items())
        self._class_of = class_of
        self._masks = {words: _mask(class_of[word] for word in words) for words in lists}
        self.columns = [FactClasses(2 + len(keys), _class_itself)]

    def step(self, read: Callable[[Context], Any]) -> Classifier:
        class_of = self._class_of
        return lambda context: class_of[read(context)]

    def meaning(self, comparison: Comparison) -> tuple[int, Mask]:
        return 0, self._masks.get(frozenset(comparison.operands), 0)


class _ClassOfWord(dict[Value | None, int]):
    """The classes of listed words, and 1 for all others."""

    def __missing__(self, word: Value | None) -> int:
        return 1


class _NumberClasses:
    """Classes of a number: the intervals between the places where some comparison turns."""

    __slots__ = ("_fact", "_turns", "columns")

    def __init__(self, fact: str, found: Sequence[Comparison]) -> None:
        self._fact = fact
        self._turns = [-inf, *sorted({turn for comparison in found for turn in _thresholds_of(comparison)})]
        self.columns = [FactClasses(len(self._turns) + 1, _class_itself)]

    def step(self, read: Callable[[Context], Any]) -> Classifier:
        if self._fact in AGE_FACTS:
            elapsed, unit = AGE_FACTS[self._fact]
            return _duration_classifier([_shortest_duration(turn, unit) for turn in self._turns], elapsed)
        turns, fact = self._turns, self._fact

        def classify(context: Context) -> int:
            value = read(context)
            if value is None:
                return UNKNOWN
            if not isfinite(value):
                raise ValueError(f"{fact} is {value}, which is no finite number")
            return bisect_right(turns, value)

        return classify

    def meaning(self, comparison: Comparison) -> tuple[int, Mask]:
        if comparison.operator is Operator.KNOWN:
            return 0, 0
        classes = [bisect_right(self._turns, float(operand)) for operand in comparison.operands]
        above = (1 << self.columns[0].class_count) - (2 << classes[0])
        below = (1 << classes[0]) - 2
        match comparison.operator:
            case Operator.AT_LEAST:
                return 0, above | 1 << classes[0]
            case Operator.MORE_THAN:
                return 0, above
            case Operator.AT_MOST:
                return 0, below | 1 << classes[0]
            case Operator.LESS_THAN:
                return 0, below
            case _:
                return 0, _mask(classes)


class _TagClasses:
    """Classes of a list of tags: for each set of tags that rules ask for, 1 is none of them there, 2 is some."""

    __slots__ = ("_mentioned", "_wanted", "columns")

    def __init__(self, fact: str, found: Sequence[Comparison]) -> None:
        wanted = dict.fromkeys(_tags_in(comparison) for comparison in found)
        self._wanted = {tags: index for index, tags in enumerate(wanted)}
        self._mentioned = frozenset(tag for tags in wanted for tag in tags)
        self.columns = [FactClasses(3, _presence_classifier(tags)) for tags in wanted]

    def step(self, read: Callable[[Context], Any]) -> Classifier:
        mentioned = self._mentioned
        return lambda context: None if (tags := read(context)) is None else mentioned & tags

    def meaning(self, comparison: Comparison) -> tuple[int, Mask]:
        return self._wanted[_tags_in(comparison)], 1 << 2


_CLASSES_BY_TYPE: dict[FactType, type[_WordClasses] | type[_NumberClasses] | type[_TagClasses]] = {
    FactType.TEXT: _WordClasses,
    FactType.FLAG: _WordClasses,
    FactType.NUMBER: _NumberClasses,
    FactType.TEXTS: _TagClasses,
}


def _combined(steps: Sequence[Classifier]) -> Classifier:
    """Several steps as one, which makes a tuple; one step as it is, because most rules ask only for the stock's age."""
    return steps[0] if len(steps) == 1 else lambda context: tuple([step(context) for step in steps])


def _duration_classifier(turns: Sequence[timedelta], elapsed: Callable[[Context], timedelta | None]) -> Classifier:
    """Classifies a time as it is, which spares making a number of it."""

    def classify(context: Context) -> int:
        span = elapsed(context)
        return UNKNOWN if span is None else bisect_right(turns, span)

    return classify


@lru_cache(maxsize=4_096)
def _shortest_duration(turn: float, unit: timedelta) -> timedelta:
    """The shortest time that is at least so many units; any time for none, because nothing is younger than new."""
    count = bisect_left(range(_LONGEST), turn, key=lambda microseconds: timedelta(microseconds=microseconds) / unit)
    return timedelta(microseconds=count) if count else timedelta.min


def _thresholds_of(comparison: Comparison) -> list[float]:
    """The least numbers for which the comparison is not as it is for smaller ones."""
    at = [float(operand) for operand in comparison.operands]
    # What is above a number begins with the next number that a float can be.
    above = [nextafter(number, inf) for number in at]
    match comparison.operator:
        case Operator.KNOWN:
            return []
        case Operator.AT_LEAST | Operator.LESS_THAN:
            return at
        case Operator.MORE_THAN | Operator.AT_MOST:
            return above
        case _:
            return at + above


def _mask(classes: Iterable[int]) -> Mask:
    mask = 0
    for number in classes:
        mask |= 1 << number
    return mask


def _tags_in(comparison: Comparison) -> frozenset[Value]:
    return frozenset() if comparison.operator is Operator.KNOWN else frozenset(comparison.operands)


def _presence_classifier(tags: frozenset[Value]) -> Callable[[Entry], int]:
    def class_of(entry: Entry) -> int:
        if not isinstance(entry, frozenset):
            return UNKNOWN
        return 1 if tags.isdisjoint(entry) else 2

    return class_of


def _class_itself(entry: Entry) -> int:
    return entry if isinstance(entry, int) else UNKNOWN
