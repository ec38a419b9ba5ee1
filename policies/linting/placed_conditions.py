"""Every condition of a policy set, with the rule and the key under which it stands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from policies.engine.conditions import Always, Condition
from policies.facts.fact_table import RulePlace
from policies.policy_set import (
    BufferRule,
    DeliveryRule,
    ExceptionRule,
    ExposureRule,
    ListingRequirement,
    PolicySet,
    RoutingPolicy,
    Scope,
)
from policies.source.problems import Source

_BUFFER_PLACES = {Scope.LOCATION: RulePlace.LOCATION_BUFFER, Scope.CHANNEL: RulePlace.CHANNEL_BUFFER}


@dataclass(frozen=True, slots=True)
class PlacedCondition:
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


def placed_conditions(policy_set: PolicySet) -> Iterator[PlacedCondition]:
    """The conditions of all rules, with those that are always true."""
    rules: list[tuple[ExposureRule | BufferRule | DeliveryRule | ExceptionRule | ListingRequirement, RulePlace]] = [
        *((rule, RulePlace.EXPOSURE) for rule in policy_set.exposure),
        *((rule, RulePlace.DELIVERY) for rule in policy_set.delivery),
        *((rule, RulePlace.EXCEPTION) for rule in policy_set.exceptions),
        *((rule, RulePlace.LISTING) for rule in policy_set.listing_requirements),
        *((rule, _BUFFER_PLACES[file.scope]) for file in policy_set.buffers for rule in file.rules),
    ]
    for rule, place in rules:
        title = f"rule '{rule.name}'"
        yield PlacedCondition(title, rule.when, rule.source, "when", place, f"{title} can never fire", Always())
    for policy in policy_set.routing:
        yield from _policy_conditions(policy)


def _policy_conditions(policy: RoutingPolicy) -> Iterator[PlacedCondition]:
    """The policy's own condition, and the conditions in it, which are evaluated only where the policy applies."""
    title, applies = f"policy '{policy.name}'", policy.applies_to
    never = f"{title} can never apply"
    yield PlacedCondition(title, applies, policy.source, "applies_to", RulePlace.APPLIES_TO, never, Always())
    if policy.only is not None:
        never = f"'only' in {title} drops every location"
        only_title, when = f"'only' in {title}", policy.only.when
        yield PlacedCondition(only_title, when, policy.source, "only", RulePlace.CANDIDATE, never, applies)
    if policy.split_only_if is not None:
        split_title, when = f"'split_only_if' in {title}", policy.split_only_if.when
        never = f"{split_title} never allows a split; write 'max_shipments: 1'"
        yield PlacedCondition(split_title, when, policy.source, "split_only_if", RulePlace.SPLIT, never, applies)
    for kind, rules, place in (
        ("exclude", policy.exclude, RulePlace.CANDIDATE),
        ("review", policy.review, RulePlace.REVIEW),
    ):
        for rule in rules:
            rule_title = f"{kind} rule '{rule.name}' in {title}"
            never = f"{rule_title} can never fire"
            yield PlacedCondition(rule_title, rule.when, rule.source, "when", place, never, applies)
    for step in policy.rank:
        if step.when is not None:
            never = f"'prefer' in {title} never prefers a location"
            step_title = f"'prefer' in {title}"
            yield PlacedCondition(step_title, step.when, step.source, "prefer", RulePlace.CANDIDATE, never, applies)
