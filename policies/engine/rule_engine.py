"""The rule engine: the only module that imports durable-rules. It calls the C module of durable-rules directly.

Rules and facts are small integers here: a rule is a list of conjunctions, a conjunction a list of tests that compare
one property with a constant. What the integers mean is in `value_classes`. No host, no threads, no state between calls.
"""

from __future__ import annotations

import json
import sys
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

REMOVED_FUNCTION = "PyEval_CallObject"
"""A function of Python up to 3.12 that durable-rules calls. PyObject_CallObject does the same."""

try:
    import durable_rules_engine as durable
except ImportError as error:
    if REMOVED_FUNCTION not in str(error):
        raise
    # pyproject.toml gives uv the compiler flag, and cannot give it to pip.
    raise ImportError(
        f"The rule engine, durable-rules, does not load: its C code calls {REMOVED_FUNCTION}, which Python 3.13 lacks. "
        f"Build it with the function's new name:\n"
        f"  CPPFLAGS=-D{REMOVED_FUNCTION}=PyObject_CallObject {sys.executable} -m pip install --force-reinstall \\\n"
        "    --no-deps --no-cache-dir --no-binary durable-rules durable-rules==2.0.28\n"
        "In a clone, `make setup` does all of that.",
        name="durable_rules_engine",
    ) from error

MAX_TESTS_AT_A_NODE = 480
"""The engine stores the tests that follow one test in a table of 512 entries. A look-up in a full table never ends."""

MAX_MATCHES_AT_ONCE = 60
"""The engine's stack holds 64 matched tests. With one more, the evaluation fails."""

MAX_PROPERTIES = 240
"""The engine's objects hold 255 properties, and the engine uses some of them itself."""

MAX_CONJUNCTIONS = 1_000
"""The engine accepts 4,095 rules, but every evaluation allocates memory for each of them."""

_SESSION = "s"
# The same session id every time: the engine keeps at most 1,024, and this one is deleted after every evaluation.

_PRIMER = "p"
# The name of a rule and of a property that every ruleset has and no evaluation uses; see `_Ruleset._prime`.

_HANDLED, _NOT_HANDLED = 0, 1


class EngineFailed(Exception):
    """The rule engine failed on rules or facts within its known bounds. This is a bug in Truestock."""


class EngineOperator(StrEnum):
    """How a property is tested; the values are the engine's operators."""

    EQUAL = "="
    AT_LEAST = "$gte"
    AT_MOST = "$lte"


@dataclass(frozen=True, slots=True, order=True)
class Test:
    """One property compared with one constant."""

    __test__ = False  # Tells pytest that this is not a test class.

    property: int
    operator: EngineOperator
    constant: int


EngineConjunction = tuple[Test, ...]
"""Tests that must all be true; sorted, and never empty."""


class Engine:
    """Compiled rules. The engine's rulesets are deleted with the instance. For one thread at a time."""

    __slots__ = ("__weakref__", "_rulesets")

    def __init__(self, rules: Sequence[Iterable[EngineConjunction]]) -> None:
        """Takes each rule as its alternatives. Raises ValueError for one of more than MAX_PROPERTIES tests."""
        rule_numbers: dict[EngineConjunction, list[int]] = {}
        for number, alternatives in enumerate(rules):
            for conjunction in alternatives:
                if len(conjunction) > MAX_PROPERTIES:
                    raise ValueError(f"rule {number} has {len(conjunction)} tests; the engine holds {MAX_PROPERTIES}")
                rule_numbers.setdefault(conjunction, []).append(number)
        # A look-up in a ruleset with 512 tests behind one test never ends, and the 65th match at once is an error.
        # Smaller rulesets stay below both. Sorting keeps conjunctions with the same first tests in one ruleset, where
        # the engine shares those tests.
        self._rulesets = [_Ruleset(shard, rule_numbers) for shard in _shards(sorted(rule_numbers))]

    def fired(self, values: Sequence[int]) -> frozenset[int]:
        """The numbers of the rules that have a true alternative for these values, which are indexed by property."""
        return frozenset(number for ruleset in self._rulesets for number in ruleset.fired(values))

    @property
    def ruleset_count(self) -> int:
        """How many rulesets of the engine hold the rules."""
        return len(self._rulesets)


class _Ruleset:
    """One ruleset of the engine, within the engine's bounds."""

    __slots__ = ("__weakref__", "_handle", "_properties", "_rule_numbers")

    def __init__(
        self, conjunctions: Sequence[EngineConjunction], rule_numbers: dict[EngineConjunction, list[int]]
    ) -> None:
        self._rule_numbers = {f"r{index}": rule_numbers[conjunction] for index, conjunction in enumerate(conjunctions)}
        self._properties = sorted({test.property for conjunction in conjunctions for test in conjunction})
        definition = {f"r{index}": _definition(conjunction) for index, conjunction in enumerate(conjunctions)}
        definition[_PRIMER] = {"all": [{"m": {_PRIMER: 1}}]}
        self._handle: int = durable.create_ruleset("rules", json.dumps(definition))
        weakref.finalize(self, durable.delete_ruleset, self._handle)
        self._prime()

    def fired(self, values: Sequence[int]) -> list[int]:
        """The numbers of the rules with a true conjunction; a rule with several appears several times."""
        # The engine gets class numbers, never raw values. With raw values, 1e-7 and infinity are errors, NaN matches
        # nothing, "5" equals 5 and true equals 1.
        fact = {"sid": _SESSION, **{f"f{index}": values[index] for index in self._properties}}
        try:
            return [number for name in self._matches(json.dumps(fact)) for number in self._rule_numbers[name]]
        except durable.error as failure:
            raise EngineFailed(f"the rule engine failed on {fact}: {failure}") from failure
        finally:
            # Deleting the session's state deletes its facts too, so none can collide with a later evaluation.
            # After a failure there may be no state to delete.
            with suppress(durable.error):
                durable.delete_state(self._handle, _SESSION)

    def _prime(self) -> None:
        """Fires one rule, so that deleting a state is safe from then on.

        When the engine deletes a state, it frees two pointers that it sets only when a rule first fires; until then
        they are uninitialized. All our states use the same memory in turn, so after one firing the pointers are valid.
        """
        if list(self._matches(json.dumps({"sid": _SESSION, _PRIMER: 1}))) != [_PRIMER]:
            raise EngineFailed("the rule engine did not fire its first rule")
        durable.delete_state(self._handle, _SESSION)

    def _matches(self, fact: str) -> Iterator[str]:
        # A fact, not an event: with an event the engine stops at the first rule that is true.
        result, state = durable.assert_fact(self._handle, fact)
        if result == _NOT_HANDLED:
            return
        if result != _HANDLED:
            raise EngineFailed(f"the rule engine answered {result} to {fact}")
        started = durable.start_action_for_state(self._handle, state)
        message = started and started[1]
        while message:
            yield from json.loads(message)
            message = durable.complete_and_start_action(self._handle, state)


def _definition(conjunction: EngineConjunction) -> dict[str, object]:
    tests = [
        {f"f{test.property}": test.constant}
        if test.operator is EngineOperator.EQUAL
        else {test.operator.value: {f"f{test.property}": test.constant}}
        for test in conjunction
    ]
    return {"all": [{"m": {"$and": tests}}]}


def _shards(conjunctions: Iterable[EngineConjunction]) -> Iterator[list[EngineConjunction]]:
    """The conjunctions, split into lists that are each within the engine's bounds."""
    shard: list[EngineConjunction] = []
    network = _Network()
    for conjunction in conjunctions:
        if not network.has_room_for(conjunction):
            yield shard
            shard, network = [], _Network()
        network.add(conjunction)
        shard.append(conjunction)
    if shard:
        yield shard


class _Network:
    """The tree of tests that the engine builds from a shard. Conjunctions share their first tests."""

    __slots__ = ("_conjunction_count", "_properties", "_root")

    def __init__(self) -> None:
        self._root = _Node()
        self._properties: set[int] = set()
        self._conjunction_count = 0

    def has_room_for(self, conjunction: EngineConjunction) -> bool:
        # A conjunction adds at most one test to one node, and at most one to the tests that can match at once.
        return (
            self._conjunction_count < MAX_CONJUNCTIONS
            and self._root.width < MAX_MATCHES_AT_ONCE
            and len(self._properties | {test.property for test in conjunction}) <= MAX_PROPERTIES
            and self._root.has_room_for(conjunction)
        )

    def add(self, conjunction: EngineConjunction) -> None:
        self._root.add(conjunction)
        self._properties |= {test.property for test in conjunction}
        self._conjunction_count += 1


@dataclass(slots=True)
class _Node:
    """A test in the engine's network and the tests that follow it.

    `width` is how many branches below the test can be true together: of the equalities on one property only one, of
    the ranges all.
    """

    children: dict[Test, _Node] = field(default_factory=dict)
    ranges_width: int = 0
    equalities_width: dict[int, int] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return max(1, self.ranges_width + sum(self.equalities_width.values()))

    def has_room_for(self, conjunction: EngineConjunction) -> bool:
        node = self
        for test in conjunction:
            if test not in node.children:
                return len(node.children) < MAX_TESTS_AT_A_NODE
            node = node.children[test]
        return True

    def add(self, conjunction: EngineConjunction) -> None:
        if not conjunction:
            return
        first, following = conjunction[0], conjunction[1:]
        width_before = self.children[first].width if first in self.children else 0
        child = self.children.setdefault(first, _Node())
        child.add(following)
        if first.operator is EngineOperator.EQUAL:
            widest = self.equalities_width.get(first.property, 0)
            self.equalities_width[first.property] = max(widest, child.width)
        else:
            self.ranges_width += child.width - width_before
