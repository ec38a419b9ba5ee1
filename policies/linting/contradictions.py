"""Conditions that can never hold, alternatives in them that never can, and conditions that always hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.engine.conditions import All, Always, Any, Comparison, Condition, NoneOf
from policies.engine.satisfiability import Satisfiability, StepBudget
from policies.facts.fact_table import FACTS
from policies.linting.findings import Finding, condition_text, conjuncts, joined_names
from policies.policy_set import BufferRule, DeliveryRule, ExceptionRule, ExposureRule, PolicySet, RoutingPolicy
from policies.source.problems import Source, quoted
from policies.source.rule_file import number_text

_CONTRADICTION_HELP = (
    "take one of them out, or, where either is enough, put them under 'any'; words of one fact can be a list."
)


@dataclass(frozen=True, slots=True)
class _CheckedCondition:
    """A condition under a key of the rule at `source`, where `given` holds already; `never` is what follows if not."""

    title: str
    when: Condition
    source: Source
    key: str
    never: str
    given: Condition


def contradictions(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Every condition of the set that can never hold, or says nothing."""
    for clause in _checked_conditions(policy_set):
        if not isinstance(clause.when, Always):
            yield from _findings(clause, budget)


def _checked_conditions(policy_set: PolicySet) -> Iterator[_CheckedCondition]:
    rules: list[ExposureRule | BufferRule | DeliveryRule | ExceptionRule] = [*policy_set.exposure]
    rules += [*policy_set.delivery, *policy_set.exceptions]
    rules += [rule for file in policy_set.buffers for rule in file.rules]
    for rule in rules:
        title = f"rule '{rule.name}'"
        yield _CheckedCondition(title, rule.when, rule.source, "when", f"{title} can never fire", Always())
    for policy in policy_set.routing:
        yield from _policy_conditions(policy)


def _policy_conditions(policy: RoutingPolicy) -> Iterator[_CheckedCondition]:
    """The policy's own condition, and those within it, which are asked only where the policy applies."""
    title, applies = f"policy '{policy.name}'", policy.applies_to
    yield _CheckedCondition(title, applies, policy.source, "applies_to", f"{title} can never apply", Always())
    if policy.only is not None:
        never = f"'only' in {title} keeps out every location"
        yield _CheckedCondition(f"'only' in {title}", policy.only.when, policy.source, "only", never, applies)
    for kind, named in (("exclude", policy.exclude), ("review", policy.review)):
        for rule in named:
            of = f"{kind} rule '{rule.name}' in {title}"
            yield _CheckedCondition(of, rule.when, rule.source, "when", f"{of} can never fire", applies)
    for step in policy.rank:
        if step.when is not None:
            never = f"'prefer' in {title} never prefers a location"
            yield _CheckedCondition(f"'prefer' in {title}", step.when, step.source, "prefer", never, applies)


def _findings(clause: _CheckedCondition, budget: StepBudget) -> Iterator[Finding]:
    checker = Satisfiability([clause.given, clause.when], budget)
    given, own = conjuncts(clause.given), conjuncts(clause.when)
    disjunctions = [checker.disjunction(part) for part in (*given, *own)]
    conflict = checker.conflict(disjunctions)
    if conflict:
        # What is wrong with `applies_to` is said once, of the policy.
        if conflict[-1] >= len(given):
            yield _conflict_finding(clause, [(*given, *own)[number] for number in conflict], clause.never)
        return
    dead = list(_useless_entries(clause, clause.when, checker))
    yield from dead
    if not dead and not checker.can_hold([checker.disjunction(clause.when).opposite]):
        message = f"the condition of {clause.title} always holds"
        help = "leave the key out to mean always; else see whether an 'any' or a 'none' covers more than it should."
        yield Finding(clause.source, clause.key, "always-true", message, help)


def _useless_entries(clause: _CheckedCondition, condition: Condition, checker: Satisfiability) -> Iterator[Finding]:
    """Entries of `any` and `none` that can never hold by themselves."""
    if isinstance(condition, (Any, NoneOf)):
        group = "any" if isinstance(condition, Any) else "none"
        for entry in condition.parts:
            each = conjuncts(entry)
            if conflict := checker.conflict([checker.disjunction(part) for part in each]):
                never = f"an entry of '{group}' in {clause.title} says nothing"
                yield _conflict_finding(clause, [each[number] for number in conflict], never)
    if isinstance(condition, (All, Any, NoneOf)):
        for part in condition.parts:
            yield from _useless_entries(clause, part, checker)


def _conflict_finding(clause: _CheckedCondition, conflict: Sequence[Condition], never: str) -> Finding:
    texts = [quoted(condition_text(part)) for part in conflict]
    if len(conflict) > 1:
        message = f"{joined_names(texts)} cannot hold together, so {never}"
        return Finding(clause.source, clause.key, "contradiction", message, _CONTRADICTION_HELP)
    help = (
        _allowed_values(conflict[0].fact)
        if isinstance(conflict[0], Comparison)
        else "see what its entries come to together."
    )
    return Finding(clause.source, clause.key, "never-fires", f"{texts[0]} never holds, so {never}", help)


def _allowed_values(name: str) -> str:
    fact = FACTS[name]
    if fact.allowed:
        return f"'{name}' is one of: {', '.join(fact.allowed)}."
    low, high = map(number_text, fact.bounds)
    return f"'{name}' is a number from {low} to {high}."
