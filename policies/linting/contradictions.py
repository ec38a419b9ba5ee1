"""Finds conditions that are never true, entries of `any` and `none` that never are, and conditions that always are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import isfinite

from policies.engine.conditions import All, Always, Any, Comparison, Condition, NoneOf, Operator
from policies.engine.satisfiability import Satisfiability, StepBudget
from policies.facts.fact_table import FACTS, RulePlace, known_facts
from policies.linting.findings import Finding, condition_text, conjuncts, joined_names
from policies.policy_set import BufferRule, DeliveryRule, ExceptionRule, ExposureRule, PolicySet, RoutingPolicy, Scope
from policies.source.problems import Source, quoted
from policies.source.rule_file import number_text

_BUFFER_PLACES = {Scope.LOCATION: RulePlace.LOCATION_BUFFER, Scope.CHANNEL: RulePlace.CHANNEL_BUFFER}
_CONTRADICTION_HELP = (
    "remove one of them; or, if one is enough, put them under 'any', or write several words of one fact as a list."
)


@dataclass(frozen=True, slots=True)
class _CheckedCondition:
    """A condition under a key of the rule at `source`, which stands in `place`.

    It is evaluated only where `precondition` is true. `consequence` says what happens if it is never true.
    """

    title: str
    when: Condition
    source: Source
    key: str
    place: RulePlace
    consequence: str
    precondition: Condition


def contradictions(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Every condition of the set that is never true, or has no effect."""
    for checked in _checked_conditions(policy_set):
        if not isinstance(checked.when, Always):
            yield from _findings(checked, budget)


def _checked_conditions(policy_set: PolicySet) -> Iterator[_CheckedCondition]:
    rules: list[tuple[ExposureRule | BufferRule | DeliveryRule | ExceptionRule, RulePlace]] = [
        *((rule, RulePlace.EXPOSURE) for rule in policy_set.exposure),
        *((rule, RulePlace.DELIVERY) for rule in policy_set.delivery),
        *((rule, RulePlace.EXCEPTION) for rule in policy_set.exceptions),
        *((rule, _BUFFER_PLACES[file.scope]) for file in policy_set.buffers for rule in file.rules),
    ]
    for rule, place in rules:
        title = f"rule '{rule.name}'"
        yield _CheckedCondition(title, rule.when, rule.source, "when", place, f"{title} can never fire", Always())
    for policy in policy_set.routing:
        yield from _policy_conditions(policy)


def _policy_conditions(policy: RoutingPolicy) -> Iterator[_CheckedCondition]:
    """The policy's own condition, and the conditions in it, which are evaluated only where the policy applies."""
    title, applies = f"policy '{policy.name}'", policy.applies_to
    never = f"{title} can never apply"
    yield _CheckedCondition(title, applies, policy.source, "applies_to", RulePlace.APPLIES_TO, never, Always())
    if policy.only is not None:
        never = f"'only' in {title} drops every location"
        only_title, when = f"'only' in {title}", policy.only.when
        yield _CheckedCondition(only_title, when, policy.source, "only", RulePlace.CANDIDATE, never, applies)
    for kind, rules, place in (
        ("exclude", policy.exclude, RulePlace.CANDIDATE),
        ("review", policy.review, RulePlace.REVIEW),
    ):
        for rule in rules:
            rule_title = f"{kind} rule '{rule.name}' in {title}"
            never = f"{rule_title} can never fire"
            yield _CheckedCondition(rule_title, rule.when, rule.source, "when", place, never, applies)
    for step in policy.rank:
        if step.when is not None:
            never = f"'prefer' in {title} never prefers a location"
            step_title = f"'prefer' in {title}"
            yield _CheckedCondition(step_title, step.when, step.source, "prefer", RulePlace.CANDIDATE, never, applies)


def _findings(checked: _CheckedCondition, budget: StepBudget) -> Iterator[Finding]:
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


def _useless_entries(checked: _CheckedCondition, condition: Condition, checker: Satisfiability) -> Iterator[Finding]:
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


def _conflict_finding(checked: _CheckedCondition, conflict: Sequence[Condition], consequence: str) -> Finding:
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
