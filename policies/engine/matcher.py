"""Which of some items hold in a context: the rule engine behind an exact memory of what it has answered."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Generic, TypeVar

from policies.domain.model import Context
from policies.engine.conditions import Always, Condition, holds
from policies.engine.conjunctions import BoundsExceeded, EngineProperties, alternatives
from policies.engine.rule_engine import Engine, EngineConjunction
from policies.engine.value_classes import Signature, ValueClasses
from policies.facts.fact_table import FACTS

T = TypeVar("T")

MAX_SIGNATURES = 65_536
"""Answers that one matcher remembers; beyond it the oldest is forgotten and asked again."""


class ConditionTooLarge(Exception):
    """The condition at `index` does not fit the engine's bounds; the message says which bound, for planners."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class Matcher(Generic[T]):
    """Items with conditions. Answers are remembered per signature, which says all that rules can see: they are exact.

    For one thread at a time. `hits` and `misses` count questions answered from memory and by the engine.
    """

    __slots__ = (
        "_constant",
        "_engine",
        "_inverted",
        "_memory",
        "_pairs",
        "_properties",
        "_signatures",
        "hits",
        "misses",
    )

    def __init__(self, pairs: Sequence[tuple[T, Condition]]) -> None:
        """Raises RulesTooLarge."""
        self._pairs = tuple(pairs)
        conditions = [condition for _, condition in pairs]
        self._signatures = ValueClasses(conditions)
        self._properties = EngineProperties(self._signatures)
        compiled = [self._compiled(index, condition) for index, condition in enumerate(conditions)]
        self._inverted = [inverted for inverted, _ in compiled]
        self._engine = Engine([conjunctions for _, conjunctions in compiled])
        self._memory: OrderedDict[Signature, tuple[T, ...]] = OrderedDict()
        self.hits = self.misses = 0
        always = all(isinstance(condition, Always) for condition in conditions)
        self._constant = tuple(item for item, _ in pairs) if always else None

    @classmethod
    def of(cls, pairs: Sequence[tuple[T, Condition]]) -> Matcher[T]:
        """A matcher of these items, in this order. Raises RulesTooLarge."""
        return cls(pairs)

    def fired(self, context: Context) -> tuple[T, ...]:
        """The items whose conditions hold, in the order given. Raises ValueError for a number that is not finite."""
        if self._constant is not None:
            return self._constant
        signature = self._signatures.of(context)
        found = self._memory.get(signature)
        if found is None:
            return self._asked(signature)
        self.hits += 1
        return found

    def fired_by_oracle(self, context: Context) -> tuple[T, ...]:
        """The same without the engine and without memory, from the raw values. Slow; for tests."""
        values = {name: FACTS[name].read(context) for name in self.facts}
        return tuple(item for item, condition in self._pairs if holds(condition, values))

    def fired_by_engine(self, context: Context) -> tuple[T, ...]:
        """The same without memory."""
        return self._evaluated(self._signatures.of(context))

    @property
    def facts(self) -> tuple[str, ...]:
        """The names of the facts that the conditions use."""
        return self._signatures.facts

    @property
    def signatures(self) -> int:
        """How many answers are remembered."""
        return len(self._memory)

    def _compiled(self, index: int, condition: Condition) -> tuple[bool, list[EngineConjunction]]:
        """Whether the item fires where the engine does *not* match, and what the engine is given."""
        try:
            inverted, found = alternatives(condition, self._signatures)
        except BoundsExceeded as problem:
            raise ConditionTooLarge(index, str(problem)) from problem
        if {} in found:
            # What is always true is the negation of nothing; the engine needs no rule for it.
            return not inverted, []
        return inverted, [self._properties.conjunction(box) for box in found]

    def _asked(self, signature: Signature) -> tuple[T, ...]:
        self.misses += 1
        found = self._evaluated(signature)
        if len(self._memory) >= MAX_SIGNATURES:
            self._memory.popitem(last=False)
        self._memory[signature] = found
        return found

    def _evaluated(self, signature: Signature) -> tuple[T, ...]:
        classes = self._signatures.classes(signature)
        matched = self._engine.fired(self._properties.values(classes))
        return tuple(
            item for index, (item, _) in enumerate(self._pairs) if (index in matched) is not self._inverted[index]
        )
