"""Which locations fulfill an order: the decision and the reasons for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial

from policies.decisions.capacity import planned_handling, within_capacity
from policies.decisions.delivery import DELIVERY_FACTS, fired_delivery_rules, shipping_estimates
from policies.decisions.eligibility import NO_PROMISED_UNITS, RoutingQuestion, WholeOrder, may_split, policies_for
from policies.decisions.kits.kit_limits import KitLimit, kit_limits
from policies.decisions.order_limits import UsableUnits, units_saved_by_buffers, usable_units
from policies.decisions.parts.dropped_lines import dropped_lines
from policies.decisions.parts.part_plans import PartDemand
from policies.decisions.parts.part_shortages import part_shortages
from policies.decisions.parts.split_kits import best_split_plan
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.plans import NO_ESTIMATES, Load, Plan, best_plan
from policies.decisions.planning.ranking import RankingContext, Ranks, rank_locations
from policies.decisions.rest_of_pickup import merged_shortages, rest_methods, rest_of_pickup
from policies.decisions.shortages import Shortage, shortages_by_sku
from policies.decisions.splits import DAYS_SAVED, SplitRuling, plan_facts, rule_on_split
from policies.domain.demand import DemandPart, demand_parts, is_placed_freely
from policies.domain.handling_times import HandlingTime
from policies.domain.model import TRANSFER, Channel, Commitment, Order, Outcome, World
from policies.engine.conditions import comparisons
from policies.explanation import DroppedLocation, DropReason, FiredRule, RuleEvidence
from policies.policy_set import DELIVERY_STEPS, PolicySet, RoutingPolicy


@dataclass(frozen=True, slots=True)
class ShipmentLine:
    """Units of one order line in one shipment."""

    line_id: str
    sku: str
    unit_count: int


@dataclass(frozen=True, slots=True)
class PlannedShipment:
    """Units shipped from one location, or picked up there. `distance_km` is None if unknown.

    `method` is set where it is not the order's: `transfer` to the store of a pickup order, or `ship` to its shopper.
    """

    location_id: str
    lines: tuple[ShipmentLine, ...]
    distance_km: float | None = None
    method: str | None = None
    handling: HandlingTime | None = None
    """The day, and perhaps the hour, of whose capacity it takes; None at a location without a limit."""

    @property
    def unit_count(self) -> int:
        """All its units."""
        return sum([line.unit_count for line in self.lines])


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision for one order. `plan` is in fill order, best-ranked location first.

    `tried` names earlier policies that passed the order on with `otherwise: next`. `reviews` are the review rules that
    fired; the plan's units stay promised. If the search was not exhaustive, no plan of as many units has fewer than
    `fewest_shipments`. `buffer_saved` has the units of each SKU that only the buffer could supply.
    """

    policy: RoutingPolicy
    outcome: Outcome
    plan: tuple[PlannedShipment, ...]
    shortages: tuple[Shortage, ...]
    dropped: tuple[DroppedLocation, ...]
    fired: tuple[FiredRule, ...]
    reviews: tuple[FiredRule, ...] = ()
    tried: tuple[str, ...] = ()
    searched_exhaustively: bool = True
    fewest_shipments: int = 0
    buffer_saved: Mapping[str, int] = field(default_factory=dict)

    @property
    def needs_review(self) -> bool:
        """Whether a person must approve the plan before it is shipped."""
        return bool(self.reviews)

    @property
    def shipments_above_bound(self) -> int:
        """By how many shipments the plan exceeds `fewest_shipments`; 0 if the search was exhaustive."""
        return len(self.plan) - self.fewest_shipments if self.fewest_shipments else 0

    @property
    def units(self) -> dict[tuple[str, str], int]:
        """Promised units by (sku, location id)."""
        promised: dict[tuple[str, str], int] = {}
        for shipment in self.plan:
            for line in shipment.lines:
                key = (line.sku, shipment.location_id)
                promised[key] = promised.get(key, 0) + line.unit_count
        return promised


def route(
    policy_set: PolicySet,
    world: World,
    channel: Channel,
    order: Order,
    own_units: Mapping[tuple[str, str], int] = NO_PROMISED_UNITS,
    *,
    rejected_by: frozenset[tuple[str, str]] = frozenset(),
    whole: WholeOrder | None = None,
) -> Decision:
    """Decides by the first policy that applies; one with `otherwise: next` passes on an order that it cannot fill.

    If no policy fills the order in full, the decision of the last one tried applies. `own_units`, by (sku, location
    id), are already promised to this order and usable for it despite buffers and blocks. Each (sku, location id) of
    `rejected_by` could not supply the order before and supplies only its own units. `whole` is the order that these
    units are part of, if the others stay as they are: it may use no more than if it were planned at once.
    """
    return routed_order(policy_set, world, channel, order, own_units, rejected_by=rejected_by, whole=whole).decision()


def routed_order(
    policy_set: PolicySet,
    world: World,
    channel: Channel,
    order: Order,
    own_units: Mapping[tuple[str, str], int] = NO_PROMISED_UNITS,
    *,
    rejected_by: frozenset[tuple[str, str]] = frozenset(),
    whole: WholeOrder | None = None,
) -> RoutedOrder:
    """As `route`, with what led to the decision."""
    question = RoutingQuestion.of(world, channel, order, own_units, rejected_by=rejected_by, whole=whole)
    parts = () if is_placed_freely(order) else demand_parts(order)
    tried: list[str] = []
    refused: list[FiredRule] = []
    for policy in policies_for(policy_set, question):
        view = PolicyView(policy_set, question, policy)
        kits = kit_limits(view, order) if parts else {}
        run = RoutingRun(policy_set, question, order, policy, view, whole, parts, kits)
        usable = within_capacity(view, order, usable_units(view, order))
        plan, planned_run, ruling = _ruled_plan(run, usable)
        routed = RoutedOrder(planned_run, usable, plan, ruling=ruling)
        if rest_methods(policy, order):
            routed = _with_rest(routed)
        if policy.otherwise != "next" or _fills_whole_order(routed):
            break
        tried.append(policy.name)
        refused += [] if ruling is None else [ruling.fired]
    return replace(routed, tried=tuple(tried), refused_before=tuple(refused))


@dataclass(frozen=True, slots=True)
class RoutedOrder:
    """An order with its plan under the policy that decides. `tried` are the policies that passed it on.

    `ruling` is what `split_only_if` of the policy said; None if it was not asked. `refused_before` are the
    `split_only_if` of policies that passed it on. `rests` are what the chosen store of a pickup order lacks, each
    routed to other locations by the method it names.
    """

    run: RoutingRun
    usable: UsableUnits
    plan: Plan
    tried: tuple[str, ...] = ()
    ruling: SplitRuling | None = None
    refused_before: tuple[FiredRule, ...] = ()
    rests: tuple[tuple[str, RoutedOrder], ...] = ()

    def decision(self) -> Decision:
        """The decision with the reasons for it."""
        decision = _decision(self)
        return _joined(self, decision) if self.rests else decision

    def ranks(self) -> dict[str, Ranks]:
        """The ranks of the locations with stock that the order may use, as they were compared."""
        usable = self.usable.units
        if not self.run.parts:
            return _ranked_locations(self.run, usable)
        demand = _part_demand(self.run, self.usable, self.run.parts)
        return _ranked_locations(self.run, usable, demand.full_stock())

    def suppliable_units(self) -> dict[str, int]:
        """Units of the order that each location could ship by itself, by location id; none of them 0."""
        demand, stock = self.run.order.units_by_sku(), self.usable.units
        if self.run.parts:
            by_part = _part_demand(self.run, self.usable, self.run.parts)
            demand, stock = dict(by_part.units), by_part.part_stock
        counts: dict[str, int] = {}
        for key, units in stock.items():
            for location_id, count in units.items():
                counts[location_id] = counts.get(location_id, 0) + min(count, demand.get(key, 0))
        return {location_id: count for location_id, count in counts.items() if count}

    def without(self, location_ids: frozenset[str]) -> Plan:
        """The best plan without these locations; in one shipment if the policy did not allow to split the order.

        Another split might be allowed, and beat the plan: what the policy rules on is only the best one.
        """
        return _planned(replace(self.run, left_out=location_ids), self.usable)

    def without_split_limits(self) -> Plan:
        """The best plan if the policy neither limited shipments nor wanted the order whole."""
        policy = replace(
            self.run.policy, max_shipments=None, min_split_value=None, split_only_if=None, ship_complete=False
        )
        # The view stays: what it remembers of a policy is by the policy's identity.
        return _planned(replace(self.run, policy=policy, is_one_shipment=False), self.usable)


@dataclass(frozen=True, slots=True)
class RoutingRun:
    """One order under one policy; `parts` are those of its lines, empty if none has a restriction or a group."""

    policy_set: PolicySet
    question: RoutingQuestion
    order: Order
    policy: RoutingPolicy
    view: PolicyView
    whole: WholeOrder | None = None
    parts: tuple[DemandPart, ...] = ()
    kits: Mapping[str, KitLimit] = field(default_factory=dict)
    """What rules of the kits' own allow, by the SKUs of the order's kits."""
    is_part: bool = False
    """Other locations may supply what this plan leaves short, so that `ship_complete` is decided after them."""
    left_out: frozenset[str] = frozenset()
    """Locations that no plan may use: only while plans are compared to explain a decision."""
    is_one_shipment: bool = False
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


def _planned(run: RoutingRun, usable: UsableUnits) -> Plan:
    return _ruled_plan(run, usable)[0]


def _ruled_plan(run: RoutingRun, usable: UsableUnits) -> tuple[Plan, RoutingRun, SplitRuling | None]:
    """The best plan, split only if the policy allows this split; how it was planned, and what the policy said of it."""
    plan = _plan_in_shipments(run, usable)
    kept = run.kept_locations
    if run.policy.split_only_if is None or len(kept.union(load.location_id for load in plan.loads)) <= max(
        1, len(kept)
    ):
        return plan, run, None
    unsplit = replace(run, is_one_shipment=True)
    single = _plan_in_shipments(unsplit, usable)
    ruling = rule_on_split(
        run.policy, run.view, run.question, plan, single, handling_days=partial(_days_with_room, run)
    )
    return (plan, run, ruling) if ruling is None or ruling.is_allowed else (single, unsplit, ruling)


def _plan_in_shipments(run: RoutingRun, usable: UsableUnits) -> Plan:
    """The best plan within the shipments of the run."""
    policy, demand = run.policy, run.order.units_by_sku()
    if any(part.split_kit is not None for part in run.parts):
        plan = best_split_plan(run.parts, run.kits, partial(_plan_of_parts, run, usable))
    elif run.parts:
        plan = _plan_of_parts(run, usable, run.parts)
    else:
        within_limits = {sku: min(count, usable.limits.get(sku, count)) for sku, count in demand.items()}
        ranked = _ranked_locations(run, usable.units)
        plan = _best_plan(run, ranked, within_limits, partial(best_plan, stock=usable.units))
    if policy.ship_complete and not run.is_part and _leaves_units_short(run, plan, demand):
        return Plan((), plan.searched_exhaustively)
    return plan


def _with_rest(routed: RoutedOrder) -> RoutedOrder:
    """The order with what its store lacks routed to other locations, as its policy allows."""
    run = replace(routed.run, is_part=True)
    plan = _plan_in_shipments(run, routed.usable)
    shipments = list(_shipments(run, plan.loads))
    rests: list[tuple[str, RoutedOrder]] = []
    for method in rest_methods(run.policy, run.order):
        if method == TRANSFER and not _may_hand_over(run):
            continue
        placed, short = _placed(shipments), _short_units(run.order, shipments)
        rest = rest_of_pickup(run.question, run.order, placed, short, method)
        if rest is None:
            break
        part = routed_order(
            run.policy_set,
            rest.world,
            run.question.channel,
            rest.order,
            rest.own_units,
            rejected_by=rest.rejected_by,
            whole=rest.whole,
        )
        rests.append((method, part))
        shipments += _shipments(part.run, part.plan.loads)
    is_short = bool(_short_units(run.order, shipments)) or (run.whole is not None and run.whole.has_other_shortages)
    if run.policy.ship_complete and is_short:
        return routed
    return replace(routed, run=run, plan=plan, rests=tuple(rests))


def _may_hand_over(run: RoutingRun) -> bool:
    """Whether the policy lets the chosen store take part in the order at all."""
    number = run.view.memory.numbers.get(run.order.pickup_location_id or "")
    return number is not None and run.view.eligibility.drops[number] is None


def _placed(shipments: Sequence[PlannedShipment]) -> dict[tuple[str, str], int]:
    placed: dict[tuple[str, str], int] = {}
    for shipment in shipments:
        for line in shipment.lines:
            key = (line.sku, shipment.location_id)
            placed[key] = placed.get(key, 0) + line.unit_count
    return placed


def _short_units(order: Order, shipments: Sequence[PlannedShipment]) -> dict[str, int]:
    """Units by line id that none of the shipments has."""
    short = {line.line_id: line.unit_count for line in order.lines}
    for shipment in shipments:
        for line in shipment.lines:
            short[line.line_id] -= line.unit_count
    return {line_id: count for line_id, count in short.items() if count}


def _joined(routed: RoutedOrder, here: Decision) -> Decision:
    """The decision of the store, with what other locations send to it or to the shopper."""
    run, store_id = routed.run, routed.run.order.pickup_location_id
    plan, fired, saved = list(here.plan), list(here.fired), dict(here.buffer_saved)
    shortages, dropped, bound = here.shortages, list(here.dropped), here.fewest_shipments or len(here.plan)
    is_exhaustive = here.searched_exhaustively
    for method, part in routed.rests:
        there = part.decision()
        plan += [replace(shipment, method=method) for shipment in there.plan]
        fired += [rule for rule in there.fired if rule not in there.reviews]
        for sku, count in there.buffer_saved.items():
            saved[sku] = saved.get(sku, 0) + count
        # Locations that were not chosen have another reason now, or none.
        dropped = [item for item in dropped if item.reason is not DropReason.NOT_CHOSEN]
        dropped += [item for item in there.dropped if item.location_id != store_id and item not in dropped]
        shortages = merged_shortages(run.order, shortages, there.shortages, _short_units(run.order, plan))
        is_exhaustive = is_exhaustive and there.searched_exhaustively
        bound += there.fewest_shipments or len(there.plan)
    reviews = _reviews(run, plan)
    fired = [rule for rule in fired if rule not in here.reviews] + list(reviews)
    return replace(
        here,
        outcome=_outcome(run.order, plan, shortages, reviews),
        plan=tuple(plan),
        shortages=shortages,
        dropped=tuple(dropped),
        fired=tuple(fired),
        reviews=reviews,
        searched_exhaustively=is_exhaustive,
        fewest_shipments=0 if is_exhaustive else bound,
        buffer_saved=saved,
    )


def _plan_of_parts(run: RoutingRun, usable: UsableUnits, parts: Sequence[DemandPart]) -> Plan:
    """The best plan of these parts by line, within what the rules of components and of kits allow."""
    demand = _part_demand(run, usable, parts)
    ranked = _ranked_locations(run, usable.units, demand.full_stock())
    return demand.by_line(_best_plan(run, ranked, demand.units, demand.plan), run.order)


def _part_demand(run: RoutingRun, usable: UsableUnits, parts: Sequence[DemandPart]) -> PartDemand:
    stock = {**usable.units, **{sku: limit.units for sku, limit in run.kits.items()}}
    totals = {sku: limit.total for sku, limit in run.kits.items() if limit.total is not None}
    return PartDemand.of(parts, stock, {**usable.limits, **totals})


def _fills_whole_order(routed: RoutedOrder) -> bool:
    """Whether the plan leaves nothing short and the policy could also supply what the order keeps elsewhere."""
    if routed.rests:
        return not routed.decision().shortages
    run, usable, plan = routed.run, routed.usable, routed.plan
    for sku, demand in run.order.units_by_sku().items():
        kept_elsewhere = sum(count for (key, _), count in run.question.kept_units.items() if key == sku)
        kept_elsewhere -= usable.kept_units.get(sku, 0)
        if plan.placed(sku) < demand or usable.total(sku) < demand + kept_elsewhere:
            return False
    return True


def _best_plan(
    run: RoutingRun, ranked: Mapping[str, Ranks], demand: Mapping[str, int], plan_demand: Callable[..., Plan]
) -> Plan:
    """The best plan within the shipments that the policy allows, those of units that the order keeps included.

    `demand` is by SKU or by part, as `plan_demand` takes it.
    """
    policy = run.policy
    compares_delivery = any(step.kind in DELIVERY_STEPS for step in policy.rank)
    plan_of = partial(
        plan_demand,
        steps=[step.kind for step in policy.rank],
        estimates=shipping_estimates(run.policy_set, run.question, ranked) if compares_delivery else NO_ESTIMATES,
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


def _ranked_locations(
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


def _decision(routed: RoutedOrder) -> Decision:
    run, usable, plan, ruling = routed.run, routed.usable, routed.plan, routed.ruling
    shortages = (
        part_shortages(run.parts, run.question, run.order, usable, plan, kits=run.kits)
        if run.parts
        else shortages_by_sku(run.question, run.order, usable, plan)
    )
    shipments = _shipments(run, plan.loads)
    reviews = _reviews(run, shipments)
    asked = reviews if ruling is None else (ruling.fired, *reviews)
    placed = {(sku, load.location_id): count for load in plan.loads for sku, count in load.units.items()}
    return Decision(
        policy=run.policy,
        outcome=_outcome(run.order, shipments, shortages, reviews),
        plan=shipments,
        shortages=shortages,
        dropped=usable.dropped + dropped_lines(run.parts, usable) if run.parts else usable.dropped,
        fired=usable.fired + _kit_rules(run) + _delivery_rules(run, shipments, asked) + routed.refused_before + asked,
        reviews=reviews,
        tried=routed.tried,
        searched_exhaustively=plan.searched_exhaustively,
        fewest_shipments=plan.fewest_shipments,
        buffer_saved=units_saved_by_buffers(run.view, run.order, placed),
    )


def _kit_rules(run: RoutingRun) -> tuple[FiredRule, ...]:
    return tuple(rule for limit in run.kits.values() for rule in limit.fired)


def _shipments(run: RoutingRun, loads: Sequence[Load]) -> tuple[PlannedShipment, ...]:
    """Splits each load over the order's lines; lines of one SKU share its units, in line order."""
    open_units = {line.line_id: line.unit_count for line in run.order.lines}
    shipments = []
    for load in loads:
        distance = run.view.distances[run.view.memory.numbers[load.location_id]]
        if load.lines:
            placed = [
                ShipmentLine(x.line_id, x.sku, load.lines[x.line_id])
                for x in run.order.lines
                if x.line_id in load.lines
            ]
            shipments.append(PlannedShipment(load.location_id, tuple(placed), distance))
            continue
        remaining, lines = dict(load.units), []
        for line in run.order.lines:
            count = min(open_units[line.line_id], remaining.get(line.sku, 0))
            if count:
                open_units[line.line_id] -= count
                remaining[line.sku] -= count
                lines.append(ShipmentLine(line.line_id, line.sku, count))
        shipments.append(PlannedShipment(load.location_id, tuple(lines), distance))
    limited_ids = run.view.memory.limited_ids
    if limited_ids:
        shipments = [_with_handling(run, x) if x.location_id in limited_ids else x for x in shipments]
    return tuple(shipments)


def _with_handling(run: RoutingRun, shipment: PlannedShipment) -> PlannedShipment:
    return replace(shipment, handling=planned_handling(run.view, run.order, shipment.location_id, shipment.unit_count))


def _reviews(run: RoutingRun, shipments: Sequence[PlannedShipment]) -> tuple[FiredRule, ...]:
    """The review rules that fire for the finished plan."""
    matcher = run.policy.review_matcher
    if matcher is None or not shipments:
        return ()
    facts = plan_facts(
        run.view, run.question, _unit_counts(shipments), matcher.facts, handled_on=_handling_days(shipments)
    )
    context = run.question.context(plan=facts)
    return tuple(
        [
            FiredRule(rule.name, rule.source, None, None, "needs review", RuleEvidence(rule.when, context))
            for rule in matcher.fired(context)
        ]
    )


def _days_with_room(run: RoutingRun, unit_counts: Mapping[str, int]) -> dict[str, date | None]:
    """As `_handling_days`, before shipments are planned."""
    limited_ids = run.view.memory.limited_ids
    handled = {
        key: planned_handling(run.view, run.order, key, count) if key in limited_ids else None
        for key, count in unit_counts.items()
    }
    return {key: None if handling is None else handling.day for key, handling in handled.items()}


def _handling_days(shipments: Sequence[PlannedShipment]) -> dict[str, date | None]:
    return {x.location_id: None if x.handling is None else x.handling.day for x in shipments}


def _delivery_rules(
    run: RoutingRun, shipments: Sequence[PlannedShipment], asked: Sequence[FiredRule]
) -> tuple[FiredRule, ...]:
    """The delivery rules of the plan's shipments, if they affected the plan, or what rules said of it."""
    facts = {comparison.fact for rule in asked if rule.evidence for comparison in comparisons(rule.evidence.when)}
    decides = run.view.late is not None or any(step.kind in DELIVERY_STEPS for step in run.policy.rank)
    if facts.isdisjoint({*DELIVERY_FACTS, DAYS_SAVED}) and not decides:
        return ()
    return fired_delivery_rules(run.policy_set, run.question, _unit_counts(shipments))


def _unit_counts(shipments: Sequence[PlannedShipment]) -> dict[str, int]:
    return {shipment.location_id: sum(line.unit_count for line in shipment.lines) for shipment in shipments}


def _outcome(
    order: Order, shipments: Sequence[PlannedShipment], shortages: Sequence[Shortage], reviews: Sequence[FiredRule]
) -> Outcome:
    if reviews:
        return Outcome.NEEDS_REVIEW
    if not shortages:
        return Outcome.ALLOCATED
    if shipments:
        return Outcome.PARTLY_ALLOCATED
    # A SOLD order with nothing promised needs a person, unless an exception rule resolves it.
    return Outcome.NEEDS_REVIEW if order.commitment is Commitment.SOLD else Outcome.UNFILLABLE
