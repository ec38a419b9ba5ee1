"""What a test must do to make a rule fire: the condition that must hold where no rule before it decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from policies.engine.conditions import All, Always, Comparison, Condition, NoneOf, Operator
from policies.policy_set import (
    BufferRule,
    DeliveryRule,
    ExceptionRule,
    ExposureRule,
    ListingRequirement,
    NamedCondition,
    PolicySet,
    RoutingPolicy,
)
from policies.source.problems import Source
from policies.testing.draft_cases import CaseKind
from policies.testing.suites import TestableRule, testable_rules

PlacedCondition = tuple[Source, Condition, Condition]
"""Where a rule stands, its own condition, and the one under which it fires."""


@dataclass(frozen=True, slots=True)
class Target:
    """A rule with its own condition, the one under which a test makes it fire, and the questions that may do so."""

    rule: TestableRule
    own: Condition
    condition: Condition
    kinds: tuple[CaseKind, ...]
    requirement: ListingRequirement | None = None
    """The rule itself, if it is a listing requirement."""
    companion: Condition | None = None
    """What a second location must be for the rule's policy to decide, where it passes on orders that it cannot fill."""


def targets(policy_set: PolicySet) -> Iterator[Target]:
    """A target for each testable rule of the set, in its order."""
    found: dict[Source, tuple[Condition, Condition, tuple[CaseKind, ...]]] = {}
    buffers = [rule for file in policy_set.buffers for rule in file.rules]
    of_stock: list[ExposureRule | BufferRule] = [*policy_set.exposure, *buffers]
    for rule in of_stock:
        found[rule.source] = (rule.when, rule.when, (CaseKind.SALE, CaseKind.ORDER))
    for source, own, condition in _in_order(policy_set.delivery):
        found[source] = (own, condition, (CaseKind.DELIVERY,))
    for source, own, condition in _in_order(policy_set.exceptions):
        found[source] = (own, condition, (CaseKind.EXCEPTION,))
    for source, own, condition in _of_policies(policy_set.routing):
        found[source] = (own, condition, (CaseKind.ORDER,))
    for requirement in policy_set.listing_requirements:
        found[requirement.source] = (requirement.when, requirement.when, (CaseKind.LISTING,))
    required = {requirement.source: requirement for requirement in policy_set.listing_requirements}
    companions = _companions(policy_set.routing)
    for testable in testable_rules(policy_set):
        source = testable.source
        yield Target(testable, *found[source], required.get(source), companions.get(source))


def _in_order(rules: Sequence[DeliveryRule | ExceptionRule]) -> Iterator[PlacedCondition]:
    """The rules' conditions where no rule before them applies; of those that apply, the first decides."""
    for number, rule in enumerate(rules):
        yield rule.source, rule.when, _without([rule.when], [other.when for other in rules[:number]])


def _of_policies(policies: Sequence[RoutingPolicy]) -> Iterator[PlacedCondition]:
    for number, policy in enumerate(policies):
        # A policy that passes an order on lets the next one decide too.
        before = [other.applies_to for other in policies[:number] if other.otherwise != "next"]
        reached = _without([policy.applies_to], before)
        yield policy.source, policy.applies_to, reached
        only = [policy.only] if policy.only is not None else []
        for rule in only:
            # It counts as tested where it excludes a location.
            yield rule.source, NoneOf((rule.when,)), _without([reached], [rule.when])
        usable = _conditions(only)
        for position, rule in enumerate(policy.exclude):
            before_it = _conditions(policy.exclude[:position])
            yield rule.source, rule.when, _without([reached, *usable, rule.when], before_it)
        if policy.split_only_if is not None:
            # It is asked, and so fires, where the best plan has several shipments.
            is_split = Comparison("plan.shipment_count", Operator.IS, (2.0,))
            condition = _without([reached, *usable, is_split], _conditions(policy.exclude))
            yield policy.split_only_if.source, policy.split_only_if.when, condition
        for rule in policy.review:
            yield rule.source, rule.when, _without([reached, *usable, rule.when], _conditions(policy.exclude))


def _companions(policies: Sequence[RoutingPolicy]) -> dict[Source, Condition]:
    """For each filter of a policy that passes orders on: a location that the policy can use beside the dropped one."""
    found: dict[Source, Condition] = {}
    for policy in policies:
        if policy.otherwise == "next":
            only = [policy.only] if policy.only is not None else []
            usable = _without(_conditions(only), _conditions(policy.exclude))
            found |= {rule.source: usable for rule in (*only, *policy.exclude)}
    return found


def _conditions(rules: Sequence[NamedCondition]) -> list[Condition]:
    return [rule.when for rule in rules]


def _without(conditions: Sequence[Condition], others: Sequence[Condition]) -> Condition:
    """All of these conditions, and none of the others."""
    parts = [condition for condition in conditions if not isinstance(condition, Always)]
    return All((*parts, *([NoneOf(tuple(others))] if others else [])))
