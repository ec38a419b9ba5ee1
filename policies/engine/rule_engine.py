"""The rule engine: the only module that imports durable-rules, which it drives through its C module.

It sees small integers and nothing else: each rule is a list of conjunctions, each conjunction a list of tests of one
property against constants. What the integers mean is in `value_classes`. No host, no threads, no state between calls.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum

import durable_rules_engine as durable

MAX_TESTS_AT_A_NODE = 480
"""The engine keeps the tests that follow one test in a table of 512; a full table never returns from a look-up."""

MAX_MATCHES_AT_ONCE = 60
"""The engine's stack of matched tests holds 64; one more is an error in the middle of an evaluation."""

MAX_PROPERTIES = 240
"""The engine's objects hold 255 properties, some of which are its own."""

MAX_CONJUNCTIONS = 1_000
"""The engine takes 4,095 rules, but every evaluation allocates for each of them."""

_SESSION = "s"
# One session id for ever: the engine keeps at most 1,024, and this one is deleted after every evaluation.

_PRIMER = "p"
# A rule and a property of every ruleset that no evaluation uses; see `_Ruleset._prime`.

_HANDLED, _NOT_HANDLED = 0, 1


class EngineFailed(Exception):
    """The rule engine refused rules or facts that fit its known bounds. This is a defect of Truestock."""


class EngineOperator(StrEnum):
    """How a property is tested; the values are the engine's words."""

    EQUAL = "="
    AT_LEAST = "$gte"
    AT_MOST = "$lte"


@dataclass(frozen=True, slots=True, order=True)
class Test:
    """One property compared with one constant."""

    __test__ = False  # Keeps pytest from taking it for a test class.

    property: int
    operator: EngineOperator
    constant: int


EngineConjunction = tuple[Test, ...]
"""Tests that must all be true; sorted and at least one."""


class Engine:
    """Compiled rules. `fired` says which hold. Rulesets are deleted when it is dropped. For one thread at a time."""

    __slots__ = ("__weakref__", "_rulesets")

    def __init__(self, rules: Sequence[Iterable[EngineConjunction]]) -> None:
        """Each rule is its alternatives. Raises ValueError for one of more than MAX_PROPERTIES tests."""
        users: dict[EngineConjunction, list[int]] = {}
        for number, alternatives in enumerate(rules):
            for conjunction in alternatives:
                if len(conjunction) > MAX_PROPERTIES:
                    raise ValueError(f"rule {number} has {len(conjunction)} tests; the engine holds {MAX_PROPERTIES}")
                users.setdefault(conjunction, []).append(number)
        self._rulesets = [_Ruleset(shard, users) for shard in _shards(sorted(users))]

    def fired(self, values: Sequence[int]) -> frozenset[int]:
        """The numbers of the rules with an alternative that is true of these values, indexed by property."""
        return frozenset(number for ruleset in self._rulesets for number in ruleset.fired(values))

    @property
    def ruleset_count(self) -> int:
        """How many rulesets the rules needed."""
        return len(self._rulesets)


class _Ruleset:
    """One ruleset of the engine, small enough for its bounds."""

    __slots__ = ("__weakref__", "_handle", "_properties", "_users")

    def __init__(self, conjunctions: Sequence[EngineConjunction], users: dict[EngineConjunction, list[int]]) -> None:
        self._users = {f"r{index}": users[conjunction] for index, conjunction in enumerate(conjunctions)}
        self._properties = sorted({test.property for conjunction in conjunctions for test in conjunction})
        definition = {f"r{index}": _definition(conjunction) for index, conjunction in enumerate(conjunctions)}
        definition[_PRIMER] = {"all": [{"m": {_PRIMER: 1}}]}
        self._handle: int = durable.create_ruleset("rules", json.dumps(definition))
        weakref.finalize(self, durable.delete_ruleset, self._handle)
        self._prime()

    def fired(self, values: Sequence[int]) -> list[int]:
        """Numbers of the rules with a conjunction that is true, each as often as it has one."""
        fact = {"sid": _SESSION, **{f"f{index}": values[index] for index in self._properties}}
        try:
            return [number for name in self._matches(json.dumps(fact)) for number in self._users[name]]
        except durable.error as failure:
            raise EngineFailed(f"the rule engine failed on {fact}: {failure}") from failure
        finally:
            # Deleting the session's state drops its facts too: nothing is retained that could collide later.
            # After a failure there may be no state, which is what is wanted.
            with suppress(durable.error):
                durable.delete_state(self._handle, _SESSION)

    def _prime(self) -> None:
        """Makes deleting states safe, once and for all.

        With a state the engine frees two pointers that it sets only when a rule first fires; before, they are whatever
        was in memory. All our states take the same place in turn, so after one firing the pointers are always valid.
        """
        if list(self._matches(json.dumps({"sid": _SESSION, _PRIMER: 1}))) != [_PRIMER]:
            raise EngineFailed("the rule engine did not fire its first rule")
        durable.delete_state(self._handle, _SESSION)

    def _matches(self, fact: str) -> Iterator[str]:
        # A fact, not an event: an event stops at the first rule that it makes true.
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
    """The conjunctions in as many lists as the engine's bounds need. Raises ConjunctionTooLarge."""
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
    """What the engine will build of a shard: a tree of tests, in which conjunctions share their first tests."""

    __slots__ = ("_conjunction_count", "_properties", "_root")

    def __init__(self) -> None:
        self._root = _Node()
        self._properties: set[int] = set()
        self._conjunction_count = 0

    def has_room_for(self, conjunction: EngineConjunction) -> bool:
        # A conjunction adds one test to one node at most, and one to what can match at once.
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

    `width` is how many branches below it can be true together: of equalities on one property one can, of ranges all.
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
        first, rest = conjunction[0], conjunction[1:]
        width_before = self.children[first].width if first in self.children else 0
        child = self.children.setdefault(first, _Node())
        child.add(rest)
        if first.operator is EngineOperator.EQUAL:
            widest = self.equalities_width.get(first.property, 0)
            self.equalities_width[first.property] = max(widest, child.width)
        else:
            self.ranges_width += child.width - width_before
