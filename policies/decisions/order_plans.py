"""The best plan of one order under one routing policy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from typing import Final

from policies.decisions.capacity import planned_handling
from policies.decisions.decision import handling_days
from policies.decisions.delivery import NO_LIMITS, shipping_estimates, unit_weights
from policies.decisions.eligibility import RoutingQuestion, WholeOrder, may_split
from policies.decisions.kits.kit_limits import KitLimit
from policies.decisions.order_limits import UsableUnits
from policies.decisions.parts.part_plans import PartDemand
from policies.decisions.parts.split_kits import best_split_plan
from policies.decisions.planning.plan_steps import ShippingEstimate
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.plans import NO_ESTIMATES, Plan, best_plan
from policies.decisions.planning.ranking import RankingContext, Ranks, rank_locations
from policies.decisions.planning.sets.candidate_stock import NO_WEIGHTS
from policies.decisions.splits import SplitRuling, rule_on_split
from policies.domain.demand import DemandPart
from policies.domain.model import Order
from policies.policy_set import DELIVERY_STEPS, EARLIEST_PROMISE, PolicySet, RoutingPolicy


@dataclass(slots=True, unsafe_hash=True)
class RoutingRun:
    """One order under one policy; `parts` are those of its lines, empty if none has a restriction or a group."""

    policy_set: Final[PolicySet]
    question: Final[RoutingQuestion]
    order: Final[Order]
    policy: Final[RoutingPolicy]
    view: Final[PolicyView]
    whole: Final[WholeOrder | None] = None
    parts: Final[tuple[DemandPart, ...]] = ()
    kits: Final[Mapping[str, KitLimit]] = field(default_factory=dict)
    """What rules of the kits' own allow, by the SKUs of the order's kits."""
    is_part: Final[bool] = False
    """Other locations may supply what this plan leaves short, so that `ship_complete` is decided after them."""
    left_out: Final[frozenset[str]] = frozenset()
    """Locations that no plan may use: only while plans are compared to explain a decision."""
    is_one_shipment: Final[bool] = False
    """Whether `split_only_if` of the policy does not allow to split the order."""

    @property
    def max_shipments(self) -> int | None:
        """The most shipments of the order; 1 if it may not be split."""
        if self.is_one_shipment or not may_split(self.policy, self.question.order.value):
            return 1
        return self.policy.max_shipments

    @property
    def kept_locations(self) -> set[str]:
        """The locations that ship the order anyway, because units stay promised there."""
        return {location_id for (_, location_id), count in self.question.kept_units.items() if count}


def ruled_plan(run: RoutingRun, usable: UsableUnits) -> tuple[Plan, RoutingRun, SplitRuling | None]:
    """The best plan, split only if the policy allows this split; how it was planned, and what the policy said of it."""
    plan = plan_in_shipments(run, usable)
    kept = run.kept_locations
    if run.policy.split_only_if is None or len(kept.union(load.location_id for load in plan.loads)) <= max(
        1, len(kept)
    ):
        return plan, run, None
    unsplit = replace(run, is_one_shipment=True)
    single = plan_in_shipments(unsplit, usable)
    ruling = rule_on_split(
        run.policy, run.view, run.question, plan, single, handling_days=partial(_days_with_room, run)
    )
    return (plan, run, ruling) if ruling is None or ruling.is_allowed else (single, unsplit, ruling)


def plan_in_shipments(run: RoutingRun, usable: UsableUnits) -> Plan:
    """The best plan within the shipments of the run."""
    policy, demand = run.policy, run.order.units_by_sku()
    if any(part.split_kit is not None for part in run.parts):
        plan = best_split_plan(run.parts, run.kits, partial(_plan_of_parts, run, usable))
    elif run.parts:
        plan = _plan_of_parts(run, usable, run.parts)
    else:
        within_limits = {sku: min(count, usable.limits.get(sku, count)) for sku, count in demand.items()}
        ranked = ranked_locations(run, usable.units)
        plan = _best_plan(run, usable, ranked, within_limits, partial(best_plan, stock=usable.units))
    if policy.ship_complete and not run.is_part and _leaves_units_short(run, plan, demand):
        return Plan((), plan.searched_exhaustively)
    return plan


def _plan_of_parts(run: RoutingRun, usable: UsableUnits, parts: Sequence[DemandPart]) -> Plan:
    """The best plan of these parts by line, within what the rules of components and of kits allow."""
    demand = part_demand(run, usable, parts)
    ranked = ranked_locations(run, usable.units, demand.full_stock())
    return demand.by_line(_best_plan(run, usable, ranked, demand.units, demand.plan), run.order)


def part_demand(run: RoutingRun, usable: UsableUnits, parts: Sequence[DemandPart]) -> PartDemand:
    """The demand of these parts, with the stock and the limits of components and of kits."""
    stock = {**usable.units, **{sku: limit.units for sku, limit in run.kits.items()}}
    totals = {sku: limit.total for sku, limit in run.kits.items() if limit.total is not None}
    return PartDemand.of(parts, stock, {**usable.limits, **totals})


def delivery_estimates(
    run: RoutingRun, usable: UsableUnits, location_ids: Collection[str]
) -> dict[str, ShippingEstimate]:
    """What delivery from these locations costs, and when all that the order could get there arrives."""
    limited = run.view.memory.limited_ids.intersection(location_ids)
    handled_on = NO_LIMITS
    if limited and any(step.kind == EARLIEST_PROMISE for step in run.policy.rank):
        demand = run.order.units_by_sku()
        units = {
            key: sum(min(demand[sku], there.get(key, 0)) for sku, there in usable.units.items() if sku in demand)
            for key in limited
        }
        handled_on = _days_with_room(run, units)
    return shipping_estimates(run.policy_set, run.question, location_ids, handled_on)


def _best_plan(
    run: RoutingRun,
    usable: UsableUnits,
    ranked: Mapping[str, Ranks],
    demand: Mapping[str, int],
    plan_demand: Callable[..., Plan],
) -> Plan:
    """The best plan within the shipments that the policy allows, those of units that the order keeps included.

    `demand` is by SKU or by part, as `plan_demand` takes it.
    """
    policy = run.policy
    compares_delivery = any(step.kind in DELIVERY_STEPS for step in policy.rank)
    skus = [line.sku for line in run.order.lines] if compares_delivery else ()
    weights = unit_weights(run.policy_set, run.question, skus) if compares_delivery else NO_WEIGHTS
    plan_of = partial(
        plan_demand,
        steps=[step.kind for step in policy.rank],
        estimates=delivery_estimates(run, usable, ranked) if compares_delivery else NO_ESTIMATES,
        weights=weights,
        pause=run.question.world.pause,
    )
    max_shipments, kept = run.max_shipments, run.kept_locations
    if max_shipments is None or not kept:
        return plan_of(demand, ranks=ranked, max_shipments=max_shipments)
    # The locations that ship the order anyway add no shipment, so they come first.
    joined = plan_of(demand, ranks={key: ranks for key, ranks in ranked.items() if key in kept})
    shipments_left = max_shipments - len(kept)
    if shipments_left < 1:
        return joined
    remaining = {key: rest for key, count in demand.items() if (rest := count - joined.placed(key))}
    others = {key: ranks for key, ranks in ranked.items() if key not in kept}
    added = plan_of(remaining, ranks=others, max_shipments=shipments_left)
    return joined.joined_by(added)


def _leaves_units_short(run: RoutingRun, plan: Plan, demand: Mapping[str, int]) -> bool:
    is_short_elsewhere = run.whole is not None and run.whole.has_other_shortages
    return is_short_elsewhere or any(plan.placed(sku) < count for sku, count in demand.items())


def ranked_locations(
    run: RoutingRun,
    stock: Mapping[str, Mapping[str, int]],
    full_stock: Mapping[str, Mapping[str, int]] | None = None,
) -> dict[str, Ranks]:
    """The ranks of the locations with stock; `full_stock` is that of locations that may ship all lines of a SKU."""
    order = run.order
    coverable = stock if full_stock is None else full_stock
    context = RankingContext(run.view, tuple(stock), order.pickup_location_id, order.units_by_sku(), coverable)
    location_ids: dict[str, None] = {}
    for units in stock.values():
        run.question.world.pause()
        location_ids.update(dict.fromkeys(units))
    for location_id in run.left_out:
        location_ids.pop(location_id, None)
    return rank_locations(context, location_ids)


def _days_with_room(run: RoutingRun, unit_counts: Mapping[str, int]) -> dict[str, date | None]:
    """The days on which locations would handle so many units, before shipments are planned."""
    limited_ids = run.view.memory.limited_ids
    return handling_days(
        (key, planned_handling(run.view, run.order, key, count) if key in limited_ids else None)
        for key, count in unit_counts.items()
    )
