"""Finds rules that never have an effect because other rules come first, and routing policies that leave no location.

Every finding is certain: a rule is reported only if it makes no difference in any context.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from policies.engine.conditions import Always, Comparison, Condition, Operator
from policies.engine.satisfiability import Disjunction, Satisfiability, StepBudget
from policies.facts.fact_table import RulePlace, known_facts
from policies.linting.findings import Finding, joined_names
from policies.policy_set import ExposureRule, PolicySet, RoutingPolicy
from policies.source.problems import Source

_CLOSED = Comparison("location.status", Operator.IS, ("closed",))
# Routing drops closed locations before it evaluates any rule.

_CLOSED_STATUS, _ONLY = "the status 'closed'", "'only'"


NamedDisjunction = tuple[str, Disjunction]
"""The name of a condition in messages, and where it is true."""


def shadowed_policies(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Policies that no order reaches, because policies at lower positions take all their orders.

    The last policy is not checked: every folder must have a default policy, even if no order reaches it.
    """
    checker = Satisfiability([policy.applies_to for policy in policy_set.routing], budget)
    # An order that is passed on to the next policy can still reach later policies.
    takes = [policy.otherwise != "next" for policy in policy_set.routing]
    applies = [checker.disjunction(policy.applies_to) for policy in policy_set.routing]
    names = [f"'{policy.name}'" for policy in policy_set.routing]
    for number, policy in enumerate(policy_set.routing[:-1]):
        before = [(names[lower], applies[lower]) for lower in range(number) if takes[lower]]
        blockers = _blockers(checker, [applies[number]], before)
        if blockers:
            first = _subject_and_verb(("policy", "policies"), blockers, ("takes", "take"))
            message = f"no order reaches policy '{policy.name}': {first} all its orders first"
            yield _shadowed_finding(policy.name, policy.source, message)


def shadowed_rules(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Delivery and exception rules that never decide. The last exception rule is a default too, and is not checked."""
    for rules in (policy_set.delivery, policy_set.exceptions[:-1]):
        checker = Satisfiability([rule.when for rule in rules], budget)
        before: list[NamedDisjunction] = []
        for rule in rules:
            own = checker.disjunction(rule.when)
            blockers = _blockers(checker, [own], before)
            if blockers:
                first = _subject_and_verb(("rule", "rules"), blockers, ("decides", "decide"))
                message = f"rule '{rule.name}' never decides: {first} all its cases first"
                yield _shadowed_finding(rule.name, rule.source, message)
            before.append((f"'{rule.name}'", own))


def shadowed_excludes(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Exclude rules that drop no location, because earlier filters already drop all of theirs."""
    for policy in policy_set.routing:
        checker, applies, filters = _location_filters(policy, budget)
        first = len(filters) - len(policy.exclude)
        before, own = filters[:first], filters[first:]
        if not _leaves_a_location(checker, applies, before):
            # Then `only` is the problem, not the exclude rules.
            continue
        for rule, exclude in zip(policy.exclude, own, strict=True):
            blockers = _blockers(checker, [applies, exclude[1]], before)
            if not blockers:
                before.append(exclude)
                continue
            drop = _subject_and_verb(("", ""), blockers, ("drops", "drop"))
            message = f"exclude rule '{rule.name}' never fires: {drop} all its locations first"
            help = "remove it, or check its condition; no test could make it fire."
            yield Finding(rule.source, "name", "shadowed-rule", message, help)


def shadowed_exposure(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Exposure rules that block only what one other rule of their file blocks too.

    Compares every pair of rules until the budget is spent, which is after about 300 rules.
    """
    by_source = sorted(policy_set.exposure, key=lambda rule: rule.source)
    for _, group in groupby(by_source, key=lambda rule: rule.source.file):
        rules = list(group)
        checker = Satisfiability([rule.when for rule in rules], budget)
        disjunctions = [checker.disjunction(rule.when) for rule in rules]
        for number, rule in enumerate(rules):
            covering = _covering_rule(checker, rules, disjunctions, number) if budget.remaining > 0 else None
            if covering is not None:
                message = f"rule '{rule.name}' has no effect: rule '{covering.name}' blocks everything that it blocks"
                help = f"remove it, or narrow '{covering.name}'."
                yield Finding(rule.source, "name", "shadowed-rule", message, help)


def unusable_policies(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Policies whose `only` and `exclude` leave no location. An exclude rule without `when` does so on purpose."""
    for policy in policy_set.routing:
        if any(isinstance(rule.when, Always) for rule in policy.exclude):
            continue
        checker, applies, filters = _location_filters(policy, budget)
        # An `only` that is never true is reported as a contradiction.
        is_only_unmet = policy.only is not None and not _leaves_a_location(checker, applies, [filters[1]])
        blockers = [] if is_only_unmet else _blockers(checker, [applies], filters)
        if blockers:
            drop = _subject_and_verb(("", ""), blockers, ("drops", "drop"))
            message = f"policy '{policy.name}' can use no location: {drop} them all"
            help = "make 'only' and 'exclude' leave some; to use none on purpose, write an exclude rule without 'when'."
            yield Finding(policy.source, "only" if policy.only else "exclude", "no-usable-location", message, help)


def _location_filters(
    policy: RoutingPolicy, budget: StepBudget
) -> tuple[Satisfiability, Disjunction, list[NamedDisjunction]]:
    """The policy's checker, where it applies, and the filters that drop locations, in the order of routing."""
    only: list[Condition] = [policy.only.when] if policy.only else []
    conditions = [policy.applies_to, _CLOSED, *only, *(rule.when for rule in policy.exclude)]
    checker = Satisfiability(conditions, budget, known_facts(RulePlace.CANDIDATE))
    filters = [(_CLOSED_STATUS, checker.disjunction(_CLOSED))]
    filters += [(_ONLY, checker.disjunction(condition).opposite) for condition in only]
    filters += [(f"exclude rule '{rule.name}'", checker.disjunction(rule.when)) for rule in policy.exclude]
    return checker, checker.disjunction(policy.applies_to), filters


def _leaves_a_location(checker: Satisfiability, applies: Disjunction, filters: Sequence[NamedDisjunction]) -> bool:
    return checker.can_hold([applies, *(disjunction.opposite for _, disjunction in filters)])


def _blockers(checker: Satisfiability, own: Sequence[Disjunction], before: Sequence[NamedDisjunction]) -> list[str]:
    """The names of those in `before` that cover all cases of `own`; empty if a case remains or there never was one."""
    conflict = checker.conflict([*own, *(disjunction.opposite for _, disjunction in before)])
    if not conflict or not checker.can_hold(own):
        return []
    return [before[number - len(own)][0] for number in conflict if number >= len(own)]


def _covering_rule(
    checker: Satisfiability, rules: Sequence[ExposureRule], disjunctions: Sequence[Disjunction], number: int
) -> ExposureRule | None:
    """Another rule that blocks everything that this rule blocks. If both block the same, only the later is covered."""
    own = disjunctions[number]
    for index, disjunction in enumerate(disjunctions):
        if index == number or checker.can_hold([own, disjunction.opposite]):
            continue
        if rules[number].is_restriction and not rules[index].is_restriction:
            # It binds orders too for which a block is lifted.
            continue
        if checker.can_hold([own]) and (index < number or checker.can_hold([disjunction, own.opposite])):
            return rules[index]
    return None


def _subject_and_verb(nouns: tuple[str, str], names: Sequence[str], verbs: tuple[str, str]) -> str:
    """Such as "policy 'a' takes" or "policies 'a' and 'b' take", from the singular and plural of noun and verb."""
    number = 0 if len(names) == 1 else 1
    return f"{nouns[number]} {joined_names(names)} {verbs[number]}".lstrip()


def _shadowed_finding(name: str, source: Source, message: str) -> Finding:
    help = f"give '{name}' a lower position, narrow those before it, or remove it."
    return Finding(source, "name", "shadowed-rule", message, help)
