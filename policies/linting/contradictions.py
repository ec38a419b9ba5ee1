"""Finds conditions that are never true, entries of `any` and `none` that never are, and conditions that always are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

from policies.engine.conditions import All, Always, Any, Comparison, Condition, NoneOf, Operator
from policies.engine.satisfiability import Satisfiability, StepBudget
from policies.facts.fact_table import FACTS, known_facts
from policies.linting.findings import Finding, condition_text, conjuncts, joined_names
from policies.linting.placed_conditions import PlacedCondition, placed_conditions
from policies.policy_set import PolicySet
from policies.source.problems import quoted
from policies.source.rule_file import number_text

_CONTRADICTION_HELP = (
    "remove one of them; or, if one is enough, put them under 'any', or write several words of one fact as a list."
)


def contradictions(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Every condition of the set that is never true, or has no effect."""
    for checked in placed_conditions(policy_set):
        if not isinstance(checked.when, Always):
            yield from _findings(checked, budget)


def _findings(checked: PlacedCondition, budget: StepBudget) -> Iterator[Finding]:
    checker = Satisfiability([checked.precondition, checked.when], budget, known_facts(checked.place))
    given, own = conjuncts(checked.precondition), conjuncts(checked.when)
    disjunctions = [checker.disjunction(part) for part in (*given, *own)]
    conflict = checker.conflict(disjunctions)
    if conflict:
        # A conflict within `applies_to` is reported only once, for the policy itself.
        if conflict[-1] >= len(given):
            yield _conflict_finding(checked, [(*given, *own)[number] for number in conflict], checked.consequence)
        return
    useless = list(_useless_entries(checked, checked.when, checker))
    yield from useless
    if not useless and not checker.can_hold([checker.disjunction(checked.when).opposite]):
        message = f"the condition of {checked.title} is always true"
        help = (
            "remove the key if the rule should always apply; if not, check its 'any' and 'none': one covers too much."
        )
        yield Finding(checked.source, checked.key, "always-true", message, help)


def _useless_entries(checked: PlacedCondition, condition: Condition, checker: Satisfiability) -> Iterator[Finding]:
    """Entries of `any` and `none` that are never true."""
    if isinstance(condition, (Any, NoneOf)):
        group = "any" if isinstance(condition, Any) else "none"
        for entry in condition.parts:
            entry_parts = conjuncts(entry)
            if conflict := checker.conflict([checker.disjunction(part) for part in entry_parts]):
                consequence = f"an entry of '{group}' in {checked.title} has no effect"
                yield _conflict_finding(checked, [entry_parts[number] for number in conflict], consequence)
    if isinstance(condition, (All, Any, NoneOf)):
        for part in condition.parts:
            yield from _useless_entries(checked, part, checker)


def _conflict_finding(checked: PlacedCondition, conflict: Sequence[Condition], consequence: str) -> Finding:
    texts = [quoted(condition_text(part)) for part in conflict]
    if len(conflict) > 1:
        message = f"{joined_names(texts)} cannot be true together, so {consequence}"
        return Finding(checked.source, checked.key, "contradiction", message, _CONTRADICTION_HELP)
    help = (
        _possible_values(conflict[0])
        if isinstance(conflict[0], Comparison)
        else "check what its entries mean together."
    )
    return Finding(checked.source, checked.key, "never-fires", f"{texts[0]} is never true, so {consequence}", help)


def _possible_values(comparison: Comparison) -> str:
    name, fact = comparison.fact, FACTS[comparison.fact]
    if comparison.operator is Operator.KNOWN:
        return f"'{name}' is always known here."
    if fact.allowed:
        return f"'{name}' is one of: {', '.join(fact.allowed)}."
    lowest, highest = fact.value_range
    if isfinite(highest):
        return f"'{name}' is a number from {number_text(lowest)} to {number_text(highest)}."
    return f"'{name}' is a number of {number_text(lowest)} or more."
