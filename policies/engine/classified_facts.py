"""The classes of facts that depend only on a channel, location or product, computed once for each such object.

These facts make up most of a signature, and the objects live longer than one question. All other facts, such as stock
levels and ages, are classified again for each question.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields

from policies.domain.model import Channel, Context, Location, Product

MAX_OBJECTS = 2_048
"""Objects of one kind whose classes are cached. When the cache is full, it is emptied and filled again."""

MAX_CLASSIFICATIONS = 65_536
"""Distinct `ClassifiedFacts` of one kind. When there are more, all are replaced; answers for the old ones are lost."""

CACHED_OBJECTS: dict[str, type[Channel] | type[Location] | type[Product]] = {
    "channel": Channel,
    "location": Location,
    "product": Product,
}
"""The kinds of object that live longer than one question, by the group of facts about them."""

_OWN_FACTS = frozenset(f"{kind}.{field.name}" for kind, cls in CACHED_OBJECTS.items() for field in fields(cls))

Classifier = Callable[[Context], Hashable]
"""Returns the class of one fact in a context."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassifiedFacts:
    """The classes of one object's facts. Equal ones are the same instance, so they are compared by identity."""

    entries: tuple[Hashable, ...]


def deciding_object(fact: str) -> str | None:
    """The kind of object whose field of the same name is the fact; None where the fact depends on more."""
    return fact.partition(".")[0] if fact in _OWN_FACTS else None


class ClassifiedFactsCache:
    """The classified facts of objects of one kind. `by_object_id` has them by the object's `id()`."""

    __slots__ = ("_classifiers", "_instances", "_kind", "_objects", "by_object_id")

    def __init__(self, kind: str, classifiers: Sequence[Classifier]) -> None:
        self._kind = kind
        self._classifiers = tuple(classifiers)
        self._instances: dict[tuple[Hashable, ...], ClassifiedFacts] = {}
        # Keeps every cached object alive. The cache looks objects up by id(), and Python gives the id of a freed
        # object to the next one.
        self._objects: list[object] = []
        self.by_object_id: dict[int, ClassifiedFacts] = {}

    def of(self, context: Context) -> ClassifiedFacts:
        """The classified facts of the context's object. Where it has none, all its facts are unknown."""
        item = getattr(context, self._kind)
        try:
            return self.by_object_id[id(item)]
        except KeyError:
            return self._classify(item, context)

    def _classify(self, item: object, context: Context) -> ClassifiedFacts:
        entries = tuple([classifier(context) for classifier in self._classifiers])
        if len(self._objects) >= MAX_OBJECTS:
            self.by_object_id.clear()
            self._objects.clear()
        if len(self._instances) >= MAX_CLASSIFICATIONS:
            self._instances.clear()
        self._objects.append(item)
        instance = self._instances.setdefault(entries, ClassifiedFacts(entries))
        self.by_object_id[id(item)] = instance
        return instance
