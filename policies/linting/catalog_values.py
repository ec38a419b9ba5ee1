"""Holds rules against the live catalog: warns of ids, tags, categories and other values that it does not have.

A warning is never a refusal, because a location, a channel or a product may be added after its rules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from policies.engine.conditions import Operator, comparisons
from policies.facts.fact_table import FACTS
from policies.linting.placed_conditions import placed_conditions
from policies.linting.rule_mappings import RuleMappings
from policies.policy_set import PolicySet
from policies.source.near_words import nearest
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
    """Values of one fact that the catalog has: those `existing` among the named ones, and `similar` ones.

    `similar` has what may have been meant by the others. If it `is_complete`, it has all values of the fact.
    """

    existing: frozenset[str]
    similar: frozenset[str]
    is_complete: bool = False

    @classmethod
    def of(cls, named: Iterable[str], known: Collection[str], *, is_complete: bool = True) -> KnownValues:
        """The known values that concern the named ones.

        `known` are all values of the fact; if they are not complete, all that are named and exist, and some others.
        """
        named = sorted(set(named))
        existing = frozenset(value for value in named if value in known)
        if is_complete and len(known) <= MAX_LISTED:
            return cls(existing, frozenset(known), is_complete=True)
        candidates = sorted(known)
        unknown = [value for value in named if value not in existing]
        near = (nearest(value, candidates) for value in unknown[:MAX_SUGGESTED])
        return cls(existing, frozenset(value for value in near if value is not None))


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
    help_texts: dict[tuple[str, str], str] = {}
    for name in unknown:
        if (name.fact, name.value) not in help_texts:
            help_texts[name.fact, name.value] = _suggestion(name.value, known[name.fact])
    mappings = RuleMappings(files)
    return tuple(sorted({_warning(name, help_texts[name.fact, name.value], mappings) for name in unknown}))


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


def _warning(name: NamedValue, help: str, mappings: RuleMappings) -> Problem:
    node = _node(name, mappings.at(name.source))
    message = f"{name.title} names {quoted(name.value)} as {name.fact}, but {FACTS[name.fact].absent}"
    effect = "excludes nothing" if name.negated else "matches nothing"
    help = f"{help}Until then the comparison {effect}."
    return Problem(name.source.file, node.line, node.column, "not-in-catalog", message, help, node.length)


def _suggestion(value: str, known: KnownValues) -> str:
    similar = sorted(known.similar)
    near = nearest(value, similar)
    help = f"did you mean '{near}'? " if near else ""
    if known.is_complete and similar:
        help += f"Known: {', '.join(similar)}. "
    return help or "correct it, or add it to the catalog. "


def _node(name: NamedValue, rule: MappingNode) -> Node:
    """Where the value stands in the condition; the rule itself if it is not found."""
    condition = rule.entries[name.key][1] if name.key in rule.entries else rule
    return next(_words(condition, name.fact, name.value, compared=False), rule)


def _words(node: Node, fact: str, word: str, *, compared: bool) -> Iterator[ScalarNode]:
    """The nodes with this word in comparisons of the fact; `compared` within such a comparison."""
    match node:
        case ScalarNode(text) if compared and text == word:
            yield node
        case SequenceNode(items):
            for item in items:
                yield from _words(item, fact, word, compared=compared)
        case MappingNode(entries):
            for key, (_, value) in entries.items():
                yield from _words(value, fact, word, compared=compared or key == fact)
