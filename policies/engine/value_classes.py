"""Maps raw values to classes. A class is a set of values that no rule can distinguish.

Rules compare facts only with constants, so the class of a value is all that matters: an interval between two
constants, all SKUs that the same rules list, or unknown. The classes of all facts that some rules use form the
signature of a context.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
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
"""The part of a signature for one fact: its class. For tags: those present that some rule mentions; None if unknown."""

Signature = tuple[ClassifiedFacts, ClassifiedFacts, ClassifiedFacts, Entry]
"""All that rules can distinguish: the classified facts of channel, location and product, and the other entries."""

ByObjectId = Mapping[int, ClassifiedFacts]
"""Classified facts by the `id()` of their object."""

Mask = int
"""A set of classes, one bit each."""

UNKNOWN = 0
"""The class of an unknown value, in every column."""

_MAX_MICROSECONDS = 1 << 59
# More than between the years 1 and 9999.


@dataclass(frozen=True, slots=True)
class FactClasses:
    """One column: the classes of one fact, or of one set of tags that rules ask for. Class 0 is unknown."""

    class_count: int
    class_of: Callable[[Entry], int]

    @property
    def all_classes(self) -> Mask:
        """All classes."""
        return (1 << self.class_count) - 1

    @property
    def known(self) -> Mask:
        """All classes except unknown."""
        return self.all_classes - 1


class ValueClasses:
    """The classes of every fact that some conditions use."""

    __slots__ = ("_caches", "_classes", "_classify_others", "_first_columns", "columns", "facts")

    def __init__(self, conditions: Iterable[Condition]) -> None:
        used: dict[str, list[Comparison]] = {}
        for condition in conditions:
            for comparison in comparisons(condition):
                used.setdefault(comparison.fact, []).append(comparison)
        self.facts = tuple(used)
        classes = {name: _CLASSES_BY_TYPE[FACTS[name].type](name, uses) for name, uses in used.items()}
        names = {kind: [name for name in classes if deciding_object(name) == kind] for kind in (*CACHED_OBJECTS, None)}
        # The order of a signature: the facts of each kind of object, then all others.
        self._classes = {name: classes[name] for kind in names for name in names[kind]}
        classifiers = {kind: [classes[name].classifier(FACTS[name].read) for name in names[kind]] for kind in names}
        self._caches = tuple(ClassifiedFactsCache(kind, classifiers[kind]) for kind in CACHED_OBJECTS)
        self._classify_others = _combined(classifiers[None])
        self.columns: list[FactClasses] = []
        self._first_columns: dict[str, int] = {}
        for name, fact_classes in self._classes.items():
            self._first_columns[name] = len(self.columns)
            self.columns += fact_classes.columns

    def signature(self, context: Context) -> Signature:
        """Everything that the rules can distinguish in a context. Raises ValueError for a number that is not finite."""
        channel, location, product = self._caches
        return channel.of(context), location.of(context), product.of(context), self._classify_others(context)

    def lookups(self) -> tuple[ByObjectId, ByObjectId, ByObjectId, Classifier]:
        """What `signature` is made of: the classified facts of known channels, locations and products; the others."""
        channel, location, product = self._caches
        return channel.by_object_id, location.by_object_id, product.by_object_id, self._classify_others

    def classes(self, signature: Signature) -> list[int]:
        """The class in each of `columns`."""
        channel, location, product, others = signature
        entries = [*channel.entries, *location.entries, *product.entries]
        # A single entry is not wrapped in a tuple, and no entry is a tuple itself.
        entries += others if isinstance(others, tuple) else [others]
        repeated = (
            entry
            for fact_classes, entry in zip(self._classes.values(), entries, strict=True)
            for _ in range(len(fact_classes.columns))
        )
        return [column.class_of(entry) for column, entry in zip(self.columns, repeated, strict=True)]

    def column_and_mask(self, comparison: Comparison) -> tuple[int, Mask]:
        """The column that a comparison tests, and the classes for which it is true."""
        offset, mask = self._classes[comparison.fact].column_and_mask(comparison)
        column = self._first_columns[comparison.fact] + offset
        if comparison.operator is Operator.KNOWN:
            known = self.columns[column].known
            return column, known if comparison.operands[0] else 1
        # Every comparison with an unknown value is false, `is_not` and `not_in` included: that a value is unknown does
        # not show that it differs. The negation therefore leaves out the class of unknown.
        if comparison.operator in (Operator.IS_NOT, Operator.NOT_IN):
            return column, self.columns[column].known & ~mask
        return column, mask


class _WordClasses:
    """Classes of a text or a flag: 1 for values that no rule lists, then one for all values in the same lists."""

    __slots__ = ("_class_of", "_masks", "columns")

    def __init__(self, fact: str, uses: Sequence[Comparison]) -> None:
        lists = dict.fromkeys(frozenset(use.operands) for use in uses if use.operator is not Operator.KNOWN)
        listed_in: dict[Value, list[int]] = {}
        for number, words in enumerate(lists):
            for word in words:
                listed_in.setdefault(word, []).append(number)
        # Sorting puts the classes of one list side by side, so that fewer tests are needed.
        keys = sorted({tuple(numbers) for numbers in listed_in.values()})
        class_of_key = {key: 2 + index for index, key in enumerate(keys)}
        class_of = _ClassOfWord({None: UNKNOWN})
        class_of.update((word, class_of_key[tuple(numbers)]) for word, numbers in listed_in.items())
        self._class_of = class_of
        self._masks = {words: _mask(class_of[word] for word in words) for words in lists}
        self.columns = [FactClasses(2 + len(keys), _class_itself)]

    def classifier(self, read: Callable[[Context], Any]) -> Classifier:
        class_of = self._class_of
        return lambda context: class_of[read(context)]

    def column_and_mask(self, comparison: Comparison) -> tuple[int, Mask]:
        return 0, self._masks.get(frozenset(comparison.operands), 0)


class _ClassOfWord(dict[Value | None, int]):
    """The class of each listed word, and 1 for every other word."""

    def __missing__(self, word: Value | None) -> int:
        return 1


class _NumberClasses:
    """Classes of a number: the intervals between the thresholds at which the result of some comparison changes."""

    __slots__ = ("_fact", "_thresholds", "columns")

    def __init__(self, fact: str, uses: Sequence[Comparison]) -> None:
        self._fact = fact
        self._thresholds = [-inf, *sorted({threshold for use in uses for threshold in _thresholds_of(use)})]
        self.columns = [FactClasses(len(self._thresholds) + 1, _class_itself)]

    def classifier(self, read: Callable[[Context], Any]) -> Classifier:
        if self._fact in AGE_FACTS:
            read_age, unit = AGE_FACTS[self._fact]
            return _duration_classifier([_shortest_duration(number, unit) for number in self._thresholds], read_age)
        thresholds, fact = self._thresholds, self._fact

        def classify(context: Context) -> int:
            value = read(context)
            if value is None:
                return UNKNOWN
            if not isfinite(value):
                raise ValueError(f"{fact} is {value}, which is not a finite number")
            return bisect_right(thresholds, value)

        return classify

    def column_and_mask(self, comparison: Comparison) -> tuple[int, Mask]:
        if comparison.operator is Operator.KNOWN:
            return 0, 0
        classes = [bisect_right(self._thresholds, float(operand)) for operand in comparison.operands]
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
    """Classes of a list of tags, with one column for each set of tags that rules ask for.

    Class 1: none of the set is present. Class 2: at least one is.
    """

    __slots__ = ("_column_of", "_mentioned", "columns")

    def __init__(self, fact: str, uses: Sequence[Comparison]) -> None:
        tag_sets = dict.fromkeys(_tags_in(use) for use in uses)
        self._column_of = {tags: index for index, tags in enumerate(tag_sets)}
        self._mentioned = frozenset(tag for tags in tag_sets for tag in tags)
        self.columns = [FactClasses(3, _presence_classifier(tags)) for tags in tag_sets]

    def classifier(self, read: Callable[[Context], Any]) -> Classifier:
        mentioned = self._mentioned
        return lambda context: None if (tags := read(context)) is None else mentioned & tags

    def column_and_mask(self, comparison: Comparison) -> tuple[int, Mask]:
        return self._column_of[_tags_in(comparison)], 1 << 2


_CLASSES_BY_TYPE: dict[FactType, type[_WordClasses] | type[_NumberClasses] | type[_TagClasses]] = {
    FactType.TEXT: _WordClasses,
    FactType.FLAG: _WordClasses,
    FactType.NUMBER: _NumberClasses,
    FactType.TEXTS: _TagClasses,
}


def _combined(classifiers: Sequence[Classifier]) -> Classifier:
    """Several classifiers as one that returns a tuple. A single one is returned as it is."""
    if not classifiers:
        return lambda context: ()
    if len(classifiers) == 1:
        return classifiers[0]
    if len(classifiers) == 2:
        first, second = classifiers
        # Most files compare two facts that change with every question, and a list takes half as long again.
        return lambda context: (first(context), second(context))
    if len(classifiers) == 3:
        one, two, three = classifiers
        return lambda context: (one(context), two(context), three(context))
    return lambda context: tuple([classifier(context) for classifier in classifiers])


def _duration_classifier(
    thresholds: Sequence[timedelta], read_age: Callable[[Context], timedelta | None]
) -> Classifier:
    """Classifies an age as a duration, without converting it into a number."""

    def classify(context: Context) -> int:
        age = read_age(context)
        return UNKNOWN if age is None else bisect_right(thresholds, age)

    return classify


@lru_cache(maxsize=4_096)
def _shortest_duration(threshold: float, unit: timedelta) -> timedelta:
    """The shortest duration of at least `threshold` units. Every duration reaches 0 units: negative ages count as 0."""
    count = bisect_left(
        range(_MAX_MICROSECONDS), threshold, key=lambda microseconds: timedelta(microseconds=microseconds) / unit
    )
    return timedelta(microseconds=count) if count else timedelta.min


def _thresholds_of(comparison: Comparison) -> list[float]:
    """The smallest numbers from which the comparison gives another result than just below."""
    operands = [float(operand) for operand in comparison.operands]
    # The numbers above an operand begin with the next float.
    above = [nextafter(number, inf) for number in operands]
    match comparison.operator:
        case Operator.KNOWN:
            return []
        case Operator.AT_LEAST | Operator.LESS_THAN:
            return operands
        case Operator.MORE_THAN | Operator.AT_MOST:
            return above
        case _:
            return operands + above


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
