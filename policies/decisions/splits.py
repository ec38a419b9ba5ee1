"""Whether an order may be split: the `split_only_if` of a routing policy, asked of the plan that would split it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date

from policies.decisions.delivery import (
    COST_FACTS,
    DAYS_UNTIL_DELIVERY,
    UnitsByLocation,
    days_until_delivery,
    plan_cost,
    shipping_dates_of,
)
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.plans import Plan
from policies.domain.model import PlanFacts
from policies.explanation import FiredRule, RuleEvidence
from policies.policy_set import PolicySet, RoutingPolicy

DAYS_SAVED = "plan.days_saved"

HandlingDays = Callable[[Mapping[str, int]], Mapping[str, date | None]]
"""The days for which locations have room for so many units, by location id; None where nothing limits them."""


@dataclass(frozen=True, slots=True)
class SplitRuling:
    """Whether a split is allowed, with the condition and the facts that it compared."""

    is_allowed: bool
    fired: FiredRule


def rule_on_split(
    policy: RoutingPolicy,
    view: PolicyView,
    question: RoutingQuestion,
    split: Plan,
    single: Plan,
    *,
    handling_days: HandlingDays = dict.fromkeys,
) -> SplitRuling | None:
    """What `split_only_if` of the policy says of a split; None if the policy has none.

    `single` is the plan that the order gets if the split is not allowed.
    """
    rule, matcher = policy.split_only_if, policy.split_matcher
    if rule is None or matcher is None:
        return None
    units = units_by_location(split)
    unit_counts, single_counts = unit_counts_of(units), unit_counts_of(units_by_location(single))
    handled_on = handling_days(unit_counts)
    days_saved = None
    # One location that has not all units of the split is no other way to ship them.
    if DAYS_SAVED in matcher.facts and sum(single_counts.values()) == sum(unit_counts.values()):
        soon = _arrival(view.policy_set, question, handled_on)
        late = _arrival(view.policy_set, question, handling_days(single_counts))
        days_saved = None if soon is None or late is None else (late - soon).days
    facts = plan_facts(view, question, units, matcher.facts, handled_on=handled_on, days_saved=days_saved)
    context = question.context(plan=facts)
    is_allowed = bool(matcher.fired(context))
    shipments = f"{len(unit_counts)} shipments"
    effect = f"allowed a split into {shipments}" if is_allowed else f"did not allow a split into {shipments}"
    return SplitRuling(
        is_allowed, FiredRule(rule.name, rule.source, None, None, effect, RuleEvidence(rule.when, context))
    )


def plan_facts(
    view: PolicyView,
    question: RoutingQuestion,
    units: UnitsByLocation,
    compared: Collection[str],
    *,
    handled_on: Mapping[str, date | None],
    days_saved: int | None = None,
) -> PlanFacts:
    """What rules see of a plan of these units; `compared` are the facts that rules compare."""
    distances = [view.distances[view.memory.numbers[location_id]] for location_id in units]
    known = [distance for distance in distances if distance is not None]
    # Shipments are quoted, and dated, only if a rule tests it.
    needs_cost, needs_days = not COST_FACTS.isdisjoint(compared), DAYS_UNTIL_DELIVERY in compared
    return PlanFacts(
        len(units),
        sum(known) if len(known) == len(distances) else None,
        plan_cost(view.policy_set, question, units) if needs_cost else None,
        days_until_delivery(view.policy_set, question, handled_on) if needs_days else None,
        days_saved,
    )


def units_by_location(plan: Plan) -> dict[str, dict[str, int]]:
    """Units by location id and SKU."""
    placed: dict[str, dict[str, int]] = {}
    for load in plan.loads:
        units = placed.setdefault(load.location_id, {})
        for sku, count in load.units.items():
            units[sku] = units.get(sku, 0) + count
    return placed


def unit_counts_of(units: UnitsByLocation) -> dict[str, int]:
    """The units of each location, by location id."""
    return {location_id: sum(shipped.values()) for location_id, shipped in units.items()}


def _arrival(policy_set: PolicySet, question: RoutingQuestion, handled_on: Mapping[str, date | None]) -> date | None:
    """The day on which the last parcel from these locations arrives; None if one day is unknown."""
    locations = question.world.locations
    contexts = [(question.context(locations[location_id]), day) for location_id, day in handled_on.items()]
    days = [shipping_dates_of(policy_set, context, day).arrives_on for context, day in contexts]
    known = [day for day in days if day is not None]
    return max(known) if known and len(known) == len(days) else None
