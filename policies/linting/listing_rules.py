"""Finds listing requirements that repeat others, and rules that ask for readiness where nothing is required."""

from __future__ import annotations

from collections.abc import Iterator

from policies.engine.conditions import comparisons
from policies.engine.satisfiability import StepBudget
from policies.facts.measures import READY_FOR_CHANNEL
from policies.linting.findings import Finding
from policies.policy_set import ListingRequirement, PolicySet


def readiness_without_requirements(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Exposure rules that ask whether products are ready, in a folder without listing requirements."""
    if policy_set.listing_requirements:
        return
    for rule in policy_set.exposure:
        if any(comparison.fact == READY_FOR_CHANNEL for comparison in comparisons(rule.when)):
            message = f"rule '{rule.name}' asks for {READY_FOR_CHANNEL}, but no file says what listings require"
            help = "add a file with 'kind: listing_requirements' for the channel's platform."
            yield Finding(rule.source, "when", "no-listing-requirements", message, help)


def repeated_requirements(policy_set: PolicySet, budget: StepBudget) -> Iterator[Finding]:
    """Requirements that demand the same of the same products as an earlier one."""
    first: dict[object, ListingRequirement] = {}
    for rule in policy_set.listing_requirements:
        key = (rule.platform, rule.attribute, rule.when, rule.demand, rule.is_required)
        earlier = first.setdefault(key, rule)
        if earlier is not rule:
            message = f"rule '{rule.name}' demands the same as '{earlier.name}' ({earlier.source})"
            yield Finding(rule.source, "attribute", "shadowed-rule", message, "remove one of them.")
