"""What is worked out once for each channel, location and product: how the facts that it alone decides are classified.

They make up most of a signature, and such objects outlive a question. Ages and figures of stock do not: they are
classified with each question.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields

from policies.domain.model import Channel, Context, Location, Product

MAX_OBJECTS = 2_048
"""Objects of one kind whose parts are remembered; beyond it all are forgotten and worked out as they come."""
MAX_CLASSIFICATIONS = 65_536
"""Parts of one kind that are told apart; beyond it they are made anew, and what is remembered of them is not found."""

CACHED_OBJECTS: dict[str, type[Channel] | type[Location] | type[Product]] = {
    "channel": Channel,
    "location": Location,
    "product": Product,
}
"""The objects that outlive questions, as the groups of facts name them."""

_OWN_FACTS = frozenset(f"{kind}.{field.name}" for kind, made_of in CACHED_OBJECTS.items() for field in fields(made_of))

Classifier = Callable[[Context], Hashable]
"""How one fact of a context is classified."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassifiedFacts:
    """The entries of the facts of one object. Equal parts are one and the same, so comparing them takes no time."""

    entries: tuple[Hashable, ...]


def deciding_object(fact: str) -> str | None:
    """The kind of object that alone decides the fact, which is then named like one of its fields; None without one."""
    return fact.partition(".")[0] if fact in _OWN_FACTS else None


class ClassifiedFactsCache:
    """The parts of objects of one kind. `known` has them by the object's id, which stays its own: objects are kept."""

    __slots__ = ("_kept", "_kind", "_made", "_steps", "known")

    def __init__(self, kind: str, steps: Sequence[Classifier]) -> None:
        self._kind = kind
        self._steps = tuple(steps)
        self._made: dict[tuple[Hashable, ...], ClassifiedFacts] = {}
        self._kept: list[object] = []
        self.known: dict[int, ClassifiedFacts] = {}

    def of(self, context: Context) -> ClassifiedFacts:
        """The part of the context's object; None is an object, too: its facts are unknown."""
        item = getattr(context, self._kind)
        try:
            return self.known[id(item)]
        except KeyError:
            return self._learnt(item, context)

    def _learnt(self, item: object, context: Context) -> ClassifiedFacts:
        entries = tuple([step(context) for step in self._steps])
        if len(self._kept) >= MAX_OBJECTS:
            self.known.clear()
            self._kept.clear()
        if len(self._made) >= MAX_CLASSIFICATIONS:
            self._made.clear()
        self._kept.append(item)
        part = self.known[id(item)] = self._made.setdefault(entries, ClassifiedFacts(entries))
        return part
