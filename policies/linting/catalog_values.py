"""Holds rules against the live catalog: warns of ids, tags, categories and other values that it does not have.

A warning is never a refusal, because a location, a channel or a product may be added after its rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from policies.domain.near_names import NearNames
from policies.engine.conditions import Operator, comparisons
from policies.facts.fact_table import FACTS
from policies.linting.placed_conditions import placed_conditions
from policies.linting.rule_mappings import RuleMappings
from policies.policy_set import PolicySet
from policies.source.problems import Problem, Source, quoted
from policies.source.yaml_nodes import MappingNode, Node, ScalarNode, SequenceNode

CODES: Mapping[str, str] = {
    "not-in-catalog": "A warning: the rule names an id, tag, category or other value that the live catalog does not "
    "have. The rules are in force all the same, because the catalog may get it later.",
}
"""Codes of warnings, in addition to those of problems in `problems`."""

MAX_SUGGESTED = 100
"""Unknown values of one fact for which the nearest known one is searched."""

MAX_LISTED = 8
"""If a fact has at most this many values in the catalog, a warning lists them."""

_NEGATIONS = (Operator.IS_NOT, Operator.NOT_IN)


@dataclass(frozen=True, slots=True)
class NamedValue:
    """A value that a condition compares a fact with. `title` and `source` are its rule's, `key` has the condition.

    `alternatives` are the other values of a comparison that is in order if the catalog has one of them.
    """

    fact: str
    value: str
    title: str
    source: Source
    key: str
    negated: bool
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KnownValues:
    """What the catalog knows of the values of one fact.

    `existing` are those of the named values that it has, `similar` has the nearest known value of others, and `every`
    all values of the fact if they are few.
    """

    existing: frozenset[str]
    similar: Mapping[str, str] = field(default_factory=dict)
    every: tuple[str, ...] = ()

    @classmethod
    def of(cls, named: Iterable[str], known: Collection[str], *, is_complete: bool = True) -> KnownValues:
        """What is known of the named values.

        `known` are all values of the fact; if they are not complete, all that are named and exist, and some others.
        """
        named = sorted(set(named))
        existing = frozenset(value for value in named if value in known)
        near_names = NearNames(sorted(known))
        unknown = [value for value in named if value not in existing][:MAX_SUGGESTED]
        similar = {value: near for value in unknown if (near := near_names.nearest(value)) is not None}
        every = tuple(sorted(known)) if is_complete and len(known) <= MAX_LISTED else ()
        return cls(existing, similar, every)


def named_values(policy_set: PolicySet) -> tuple[NamedValue, ...]:
    """Every value that the rules name of a fact whose values come from the catalog, once for each condition."""
    return tuple(dict.fromkeys(_named_values(policy_set)))


def by_fact(named: Iterable[NamedValue]) -> dict[str, set[str]]:
    """The named values of each fact: what has to be looked up in the catalog."""
    values: dict[str, set[str]] = {}
    for name in named:
        values.setdefault(name.fact, set()).add(name.value)
    return values


def catalog_warnings(
    named: Iterable[NamedValue], files: Mapping[str, bytes], known: Mapping[str, KnownValues]
) -> tuple[Problem, ...]:
    """A warning, with its position, for each named value that the catalog does not have; sorted.

    `files` are those that the rules were read from. `known` is by fact; a fact that is missing in it is not checked.
    """
    unknown = [name for name in named if name.fact in known and _is_unknown(name, known[name.fact].existing)]
    positions = _Positions(RuleMappings(files))
    return tuple(sorted({_warning(name, known[name.fact], positions.of(name)) for name in unknown}))


def _named_values(policy_set: PolicySet) -> Iterator[NamedValue]:
    for placed in placed_conditions(policy_set):
        for comparison in comparisons(placed.when):
            fact = FACTS[comparison.fact]
            negated = comparison.operator in _NEGATIONS
            if not fact.absent or comparison.operator is Operator.KNOWN or (negated and fact.allowed):
                continue
            values = tuple(map(str, comparison.operands))
            # A word of a closed list, such as a kind of channel, is never misspelled: with others it looks ahead.
            alternatives = values if fact.allowed else ()
            for value in values:
                yield NamedValue(fact.name, value, placed.title, placed.source, placed.key, negated, alternatives)


def _is_unknown(name: NamedValue, existing: Collection[str]) -> bool:
    return name.value not in existing and not any(value in existing for value in name.alternatives)


def _warning(name: NamedValue, known: KnownValues, node: Node) -> Problem:
    message = f"{name.title} names {quoted(name.value)} as {name.fact}, but {FACTS[name.fact].absent}"
    effect = "excludes nothing" if name.negated else "matches nothing"
    help = f"{_suggestion(name.value, known)}Until then the comparison {effect}."
    return Problem.at(name.source.file, node, "not-in-catalog", message, help)


def _suggestion(value: str, known: KnownValues) -> str:
    help = f"did you mean '{known.similar[value]}'? " if value in known.similar else ""
    if known.every:
        help += f"Known: {', '.join(known.every)}. "
    return help or "correct it, or add it to the catalog. "


@dataclass(slots=True)
class _Positions:
    """Where values stand in the conditions of rules, each condition searched once: a list may have thousands."""

    mappings: RuleMappings
    searched: dict[tuple[Source, str], dict[tuple[str, str], ScalarNode]] = field(default_factory=dict)

    def of(self, name: NamedValue) -> Node:
        """The value's node, or the rule itself if it is not found."""
        rule = self.mappings.at(name.source)
        key = (name.source, name.key)
        if key not in self.searched:
            words: dict[tuple[str, str], ScalarNode] = {}
            for fact, node in _words(rule.entries[name.key][1] if name.key in rule.entries else rule, ""):
                words.setdefault((fact, node.text), node)
            self.searched[key] = words
        return self.searched[key].get((name.fact, name.value), rule)


def _words(node: Node, fact: str) -> Iterator[tuple[str, ScalarNode]]:
    """The words of a condition, each with the fact that it is compared with."""
    match node:
        case ScalarNode():
            yield fact, node
        case SequenceNode(items):
            for item in items:
                yield from _words(item, fact)
        case MappingNode(entries):
            for key, (_, value) in entries.items():
                yield from _words(value, key if key in FACTS else fact)
