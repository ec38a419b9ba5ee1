"""Rules that others always come before: routing policies, exclude rules and exposure rules without an effect.

Also routing policies that leave no location. Exact: each is reported only where no context makes a difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from policies.engine.conditions import Always, Comparison, Condition, Operator
from policies.engine.satisfiability import Disjunction, Satisfiability, StepBudget
from policies.linting.findings import Finding, joined_names
from policies.policy_set import ExposureRule, NamedCondition, PolicySet, RoutingPolicy
from policies.source.problems import Source

_CLOSED = Comparison("location.status", Operator.IS, ("closed",))
# Routing drops closed locations before any rule is asked.

_CLOSED_STATUS, _ONLY = "being closed", "'only'"

_PLURALS = {"policy": "policies", "rule": "rules"}

NamedDisjunction = tuple[str, Disjunction]
"""What messages call a condition, and where it holds."""


def shadowed_policies(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Policies that no order reaches, because policies at lower positions take all that they apply to.

    The last one is left out: it is the net that every folder must have, whether or not anything falls into it.
    """
    checker = Satisfiability([policy.applies_to for policy in policy_set.routing], budget)
    # What is passed on to the next policy can reach those behind.
    takes = [policy.otherwise != "next" for policy in policy_set.routing]
    applies = [checker.disjunction(policy.applies_to) for policy in policy_set.routing]
    names = [f"'{policy.name}'" for policy in policy_set.routing]
    for number, policy in enumerate(policy_set.routing[:-1]):
        before = [(names[other], applies[other]) for other in range(number) if takes[other]]
        blockers = _blockers(checker, [applies[number]], before)
        if blockers:
            yield _shadowed_finding(
                policy.name, policy.source, f"no order reaches policy '{policy.name}'", "policy", blockers
            )


def shadowed_rules(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Delivery and exception rules that never decide. The last exception rule is such a net, too."""
    for rules in (policy_set.delivery, policy_set.exceptions[:-1]):
        checker = Satisfiability([rule.when for rule in rules], budget)
        before: list[NamedDisjunction] = []
        for rule in rules:
            own = checker.disjunction(rule.when)
            blockers = _blockers(checker, [own], before)
            if blockers:
                yield _shadowed_finding(rule.name, rule.source, f"rule '{rule.name}' never decides", "rule", blockers)
            before.append((f"'{rule.name}'", own))


def shadowed_excludes(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Exclude rules that keep out nothing, because what drops a location before them already does."""
    for policy in policy_set.routing:
        checker, applies, droppers = _location_filters(policy, budget)
        first = len(droppers) - len(policy.exclude)
        before, own = droppers[:first], droppers[first:]
        if not _leaves_a_location(checker, applies, before):
            # Then what is wrong is `only`.
            continue
        for rule, named in zip(policy.exclude, own, strict=True):
            blockers = _blockers(checker, [applies, named[1]], before)
            if not blockers:
                before.append(named)
                continue
            message = f"exclude rule '{rule.name}' keeps out nothing that {joined_names(blockers)} did not before it"
            help = "take it out, or see what it was meant to say; no test could make it fire."
            yield Finding(rule.source, "name", "shadowed-rule", message, help)


def shadowed_exposure(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Exposure rules that block nothing but what one other rule of their file blocks.

    Each is compared with each until the budget is done, which is so after some 300 rules.
    """
    by_place = sorted(policy_set.exposure, key=lambda rule: rule.source)
    for _, group in groupby(by_place, key=lambda rule: rule.source.file):
        rules = list(group)
        checker = Satisfiability([rule.when for rule in rules], budget)
        disjunctions = [checker.disjunction(rule.when) for rule in rules]
        for number, rule in enumerate(rules):
            other = _covering_rule(checker, rules, disjunctions, number) if budget.remaining > 0 else None
            if other is not None:
                message = f"rule '{rule.name}' blocks nothing that rule '{other.name}' does not block"
                help = f"take it out, or narrow '{other.name}'."
                yield Finding(rule.source, "name", "shadowed-rule", message, help)


def unusable_policies(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Policies whose `only` and `exclude` leave no location. An exclude rule without `when` says so on purpose."""
    for policy in policy_set.routing:
        if any(isinstance(rule.when, Always) for rule in policy.exclude):
            continue
        checker, applies, droppers = _location_filters(policy, budget)
        # Of an `only` that nothing can meet, that is what is said.
        unmet = policy.only is not None and not _leaves_a_location(checker, applies, [droppers[1]])
        blockers = [] if unmet else _blockers(checker, [applies], droppers)
        if blockers:
            message = f"policy '{policy.name}' can use no location: every one is kept out by {joined_names(blockers)}"
            help = "let 'only' and 'exclude' leave some; to use none on purpose, write an exclude rule without 'when'."
            yield Finding(policy.source, "only" if policy.only else "exclude", "no-usable-location", message, help)


def _location_filters(
    policy: RoutingPolicy, budget: StepBudget
) -> tuple[Satisfiability, Disjunction, list[NamedDisjunction]]:
    """The policy's checker, where it applies, and what drops a location, in the order in which routing asks."""
    named: Sequence[NamedCondition] = policy.exclude
    only: list[Condition] = [policy.only.when] if policy.only else []
    checker = Satisfiability([policy.applies_to, _CLOSED, *only, *(rule.when for rule in named)], budget)
    found = [(_CLOSED_STATUS, checker.disjunction(_CLOSED))]
    found += [(_ONLY, checker.disjunction(condition).opposite) for condition in only]
    found += [(f"exclude rule '{rule.name}'", checker.disjunction(rule.when)) for rule in named]
    return checker, checker.disjunction(policy.applies_to), found


def _leaves_a_location(checker: Satisfiability, applies: Disjunction, droppers: Sequence[NamedDisjunction]) -> bool:
    return checker.can_hold([applies, *(disjunction.opposite for _, disjunction in droppers)])


def _blockers(checker: Satisfiability, wanted: Sequence[Disjunction], before: Sequence[NamedDisjunction]) -> list[str]:
    """The names of those that leave nothing of what is wanted; empty where something is left or never was."""
    conflict = checker.conflict([*wanted, *(disjunction.opposite for _, disjunction in before)])
    if not conflict or not checker.can_hold(wanted):
        return []
    return [before[number - len(wanted)][0] for number in conflict if number >= len(wanted)]


def _covering_rule(
    checker: Satisfiability, rules: Sequence[ExposureRule], disjunctions: Sequence[Disjunction], number: int
) -> ExposureRule | None:
    """Another rule that blocks all that a rule blocks; of two that block the same, the later one is covered."""
    own = disjunctions[number]
    for other, disjunction in enumerate(disjunctions):
        if other == number or checker.can_hold([own, disjunction.opposite]):
            continue
        if checker.can_hold([own]) and (other < number or checker.can_hold([disjunction, own.opposite])):
            return rules[other]
    return None


def _shadowed_finding(name: str, source: Source, what: str, kind: str, blockers: Sequence[str]) -> Finding:
    takes = f"{kind} {blockers[0]} takes" if len(blockers) == 1 else f"{_PLURALS[kind]} {joined_names(blockers)} take"
    help = f"give '{name}' a lower position, narrow what comes before it, or take it out."
    return Finding(source, "name", "shadowed-rule", f"{what}: {takes} every one before it", help)
