"""Which rules fire in a context: the rule engine, with an exact cache of its answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from policies.domain.model import Context
from policies.engine.conditions import Always, Condition, holds
from policies.engine.conjunctions import BoundsExceeded, EngineProperties, alternatives
from policies.engine.rule_engine import Engine, EngineConjunction
from policies.engine.value_classes import Signature, ValueClasses
from policies.facts.fact_table import FACTS

T = TypeVar("T")

MAX_SIGNATURES = 65_536
"""Answers that one matcher remembers; when there are more, it forgets the oldest."""


class ConditionTooLarge(Exception):
    """The condition at `index` exceeds the engine's bounds; the message tells planners which bound."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


class Matcher(Generic[T]):
    """Items, such as rules, with their conditions.

    Answers are remembered by signature. A signature holds everything that the conditions can distinguish, so a
    remembered answer is exact. For one thread at a time. `misses` counts the answers that
    were not remembered.
    """

    __slots__ = (
        "_answers",
        "_constant",
        "_engine",
        "_inverted",
        "_pairs",
        "_properties",
        "_value_classes",
        "fired",
        "misses",
    )

    fired: Callable[[Context], tuple[T, ...]]
    """The items whose conditions hold, in the given order. Raises ValueError for a number that is not finite."""

    def __init__(self, pairs: Sequence[tuple[T, Condition]]) -> None:
        """Raises ConditionTooLarge."""
        self._pairs = tuple(pairs)
        conditions = [condition for _, condition in pairs]
        self._value_classes = ValueClasses(conditions)
        self._properties = EngineProperties(self._value_classes)
        compiled = [self._compile(index, condition) for index, condition in enumerate(conditions)]
        self._inverted = [inverted for inverted, _ in compiled]
        self._engine = Engine([conjunctions for _, conjunctions in compiled])
        self._answers: OrderedDict[Signature, tuple[T, ...]] = OrderedDict()
        self.misses = 0
        always = all(isinstance(condition, Always) for condition in conditions)
        self._constant = tuple(item for item, _ in pairs) if always else None
        self.fired = self._remembered_answers() if self._constant is None else self._constant_answer

    @classmethod
    def of(cls, pairs: Sequence[tuple[T, Condition]]) -> Matcher[T]:
        """A matcher of these items, in this order. Raises ConditionTooLarge."""
        return cls(pairs)

    def fired_by_oracle(self, context: Context) -> tuple[T, ...]:
        """The same by evaluating the conditions on raw values, without the engine and the memory. Slow; for tests."""
        values = {name: FACTS[name].read(context) for name in self.facts}
        return tuple(item for item, condition in self._pairs if holds(condition, values))

    def fired_by_engine(self, context: Context) -> tuple[T, ...]:
        """The same from the engine, without the memory."""
        return self._evaluate(self._value_classes.signature(context))

    @property
    def facts(self) -> tuple[str, ...]:
        """The names of the facts that the conditions use."""
        return self._value_classes.facts

    @property
    def answer_count(self) -> int:
        """How many answers are remembered."""
        return len(self._answers)

    def _compile(self, index: int, condition: Condition) -> tuple[bool, list[EngineConjunction]]:
        """Whether the item fires where the engine does *not* match, and the engine's rule."""
        try:
            inverted, conjunctions = alternatives(condition, self._value_classes)
        except BoundsExceeded as problem:
            raise ConditionTooLarge(index, str(problem)) from problem
        if {} in conjunctions:
            # The engine needs no rule for a condition that is always true: an inverted rule without conjunctions.
            return not inverted, []
        return inverted, [self._properties.tests(conjunction) for conjunction in conjunctions]

    def _constant_answer(self, context: Context) -> tuple[T, ...]:
        return self._constant or ()

    def _remembered_answers(self) -> Callable[[Context], tuple[T, ...]]:
        """One function without any other call: it runs for every level of an order, and has little more to do."""
        channels, locations, products, others = self._value_classes.lookups()
        signature, answers = self._value_classes.signature, self._answers

        def fired(context: Context) -> tuple[T, ...]:
            try:
                channel, location = channels[id(context.channel)], locations[id(context.location)]
                return answers[channel, location, products[id(context.product)], others(context)]
            except KeyError:
                return self._answer(signature(context))

        return fired

    def _answer(self, signature: Signature) -> tuple[T, ...]:
        fired = self._answers.get(signature)
        return self._ask_engine(signature) if fired is None else fired

    def _ask_engine(self, signature: Signature) -> tuple[T, ...]:
        self.misses += 1
        fired = self._evaluate(signature)
        if len(self._answers) >= MAX_SIGNATURES:
            self._answers.popitem(last=False)
        self._answers[signature] = fired
        return fired

    def _evaluate(self, signature: Signature) -> tuple[T, ...]:
        classes = self._value_classes.classes(signature)
        matched = self._engine.fired(self._properties.values(classes))
        return tuple(
            item for index, (item, _) in enumerate(self._pairs) if (index in matched) is not self._inverted[index]
        )
