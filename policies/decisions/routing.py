"""Which locations fulfill an order: the decision and the reasons for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from policies.decisions.capacity import planned_handling, within_capacity
from policies.decisions.decision import Decision, PlannedShipment, ShipmentLine, handling_days, units_of
from policies.decisions.delivery import DELIVERY_FACTS, fired_delivery_rules, shipment_size
from policies.decisions.eligibility import NO_PROMISED_UNITS, RoutingQuestion, WholeOrder, policies_for
from policies.decisions.kits.kit_limits import kit_limits
from policies.decisions.order_limits import UsableUnits, units_saved_by_buffers, usable_units
from policies.decisions.order_plans import RoutingRun, part_demand, plan_in_shipments, ranked_locations, ruled_plan
from policies.decisions.parts.dropped_lines import dropped_lines
from policies.decisions.parts.part_shortages import part_shortages
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.plans import Load, Plan
from policies.decisions.planning.ranking import Ranks
from policies.decisions.rest_of_pickup import kept_within, merged_shortages, rest_methods, rest_of_pickup
from policies.decisions.shortages import Shortage, shortages_by_sku
from policies.decisions.splits import DAYS_SAVED, SplitRuling, plan_facts
from policies.domain.capacity import NO_FIGURES, CapacityFigures
from policies.domain.demand import demand_parts, is_placed_freely
from policies.domain.model import TRANSFER, Channel, Commitment, Order, Outcome, World
from policies.engine.conditions import comparisons
from policies.explanation import DropReason, FiredRule, RuleEvidence
from policies.policy_set import DELIVERY_STEPS, PolicySet


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
        usable = within_capacity(view, order, usable_units(view, order), parts, kits)
        plan, planned_run, ruling = ruled_plan(run, usable)
        routed = RoutedOrder(planned_run, usable, plan, tuple(tried), ruling, tuple(refused))
        if rest_methods(policy, order):
            routed = _with_rest(routed)
        if policy.otherwise != "next" or _fills_whole_order(routed):
            break
        tried.append(policy.name)
        refused += [] if ruling is None else [ruling.fired]
    return routed


_FACTS_OF_DELIVERY = DELIVERY_FACTS | {DAYS_SAVED}


@dataclass(slots=True, unsafe_hash=True)
class RoutedOrder:
    """An order with its plan under the policy that decides. `tried` are the policies that passed it on.

    `ruling` is what `split_only_if` of the policy said; None if it was not asked. `refused_before` are the
    `split_only_if` of policies that passed it on. `rests` are what the chosen store of a pickup order lacks, each
    routed to other locations by the method it names.
    """

    run: Final[RoutingRun]
    usable: Final[UsableUnits]
    plan: Final[Plan]
    tried: Final[tuple[str, ...]] = ()
    ruling: Final[SplitRuling | None] = None
    refused_before: Final[tuple[FiredRule, ...]] = ()
    rests: Final[tuple[tuple[str, RoutedOrder], ...]] = ()

    def decision(self) -> Decision:
        """The decision with the reasons for it."""
        decision = _decision(self)
        return _joined(self, decision) if self.rests else decision

    def ranks(self) -> dict[str, Ranks]:
        """The ranks of the locations with stock that the order may use, as they were compared."""
        usable = self.usable.units
        if not self.run.parts:
            return ranked_locations(self.run, usable)
        demand = part_demand(self.run, self.usable, self.run.parts)
        return ranked_locations(self.run, usable, demand.full_stock())

    def suppliable_units(self) -> dict[str, int]:
        """Units of the order that each location could ship by itself, by location id; none of them 0."""
        demand, stock = self.run.order.units_by_sku(), self.usable.units
        if self.run.parts:
            by_part = part_demand(self.run, self.usable, self.run.parts)
            demand, stock = dict(by_part.units), by_part.part_stock
        counts: dict[str, int] = {}
        for key, units in stock.items():
            for location_id, count in units.items():
                counts[location_id] = counts.get(location_id, 0) + min(count, demand[key])
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


def _planned(run: RoutingRun, usable: UsableUnits) -> Plan:
    return ruled_plan(run, usable)[0]


def _with_rest(routed: RoutedOrder) -> RoutedOrder:
    """The order with what its store lacks routed to other locations, as its policy allows."""
    run = replace(routed.run, is_part=True)
    plan = plan_in_shipments(run, routed.usable)
    shipments = list(_shipments(run, plan.loads))
    rests: list[tuple[str, RoutedOrder]] = []
    for method in rest_methods(run.policy, run.order):
        if method == TRANSFER and not _may_hand_over(run):
            continue
        placed, short = units_of(shipments), _short_units(run.order, shipments)
        capacity = _capacity_after(run, shipments)
        rest = rest_of_pickup(run.question, run.order, placed, short, method, capacity=capacity)
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


def _capacity_after(run: RoutingRun, shipments: Sequence[PlannedShipment]) -> CapacityFigures | None:
    """What is taken of capacity with these shipments: a location that sends to a store may ship to the shopper too."""
    figures = run.question.world.capacity
    for shipment in shipments:
        if shipment.handling is not None:
            figures = (figures or NO_FIGURES).taking(shipment.location_id, *shipment.handling, shipment.unit_count)
    return figures


def _may_hand_over(run: RoutingRun) -> bool:
    """Whether the policy lets the chosen store take part in the order at all."""
    number = run.view.memory.numbers.get(run.order.pickup_location_id or "")
    return number is not None and run.view.eligibility.drops[number] is None


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
    plan, fired, saved = list(here.plan), list(here.fired), Counter(here.buffer_saved)
    shortages, dropped, searched = here.shortages, list(here.dropped), routed.plan
    for method, part in routed.rests:
        there = part.decision()
        plan += [replace(shipment, method=method) for shipment in there.plan]
        # The buffer of the store keeps its units there from what others send, too.
        fired += [rule for rule in there.fired if rule not in there.reviews and rule not in fired]
        saved.update(there.buffer_saved)
        # Locations that were not chosen have another reason now, or none.
        dropped = [item for item in dropped if item.reason is not DropReason.NOT_CHOSEN]
        dropped += [item for item in there.dropped if item.location_id != store_id and item not in dropped]
        shortages = merged_shortages(run.order, shortages, there.shortages, _short_units(run.order, plan))
        searched = searched.joined_by(part.plan)
    if len(routed.rests) > 1:
        shortages = kept_within(run.order, shortages, _units_there(routed, plan))
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
        searched_exhaustively=searched.searched_exhaustively,
        fewest_shipments=searched.fewest_shipments,
        buffer_saved=saved,
    )


def _units_there(routed: RoutedOrder, plan: Sequence[PlannedShipment]) -> dict[str, int]:
    """Units of each product that the plan does not use, at the store and at locations that might send or ship them."""
    rests = [part for _, part in routed.rests]
    left: dict[tuple[str, str], int] = {}
    for attempt in (routed, *rests):
        question = attempt.run.question
        figures = [figure for sku in routed.run.order.units_by_sku() for figure in attempt.usable.figures(sku)]
        for figure in figures:
            key = (figure.sku, figure.location_id)
            if figure.not_used_by is None and key not in question.rejected_by:
                # What was placed before is kept by a later attempt.
                left.setdefault(key, figure.available - min(question.kept_units.get(key, 0), figure.available))
    there: Counter[str] = Counter()
    placed = units_of(plan)
    for key, count in left.items():
        there[key[0]] += max(0, count - placed.get(key, 0))
    for sku in routed.run.order.units_by_sku():
        elsewhere = [_units_out_of_reach(part, sku) for part in rests]
        there[sku] += _units_out_of_reach(routed, sku) + max(elsewhere)
    return there


def _units_out_of_reach(attempt: RoutedOrder, sku: str) -> int:
    """Units of the product at locations outside the outlet, or that cannot keep the dates of the order."""
    return attempt.usable.outside_outlet.get(sku, 0) + attempt.usable.too_late.get(sku, 0)


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
        dropped=usable.dropped + dropped_lines(run.parts, usable),
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
        counts = load.lines or _units_by_line(run.order, load, open_units)
        shipped = [ShipmentLine(x.line_id, x.sku, counts[x.line_id]) for x in run.order.lines if x.line_id in counts]
        distance = run.view.distances[run.view.memory.numbers[load.location_id]]
        shipments.append(_planned_shipment(run, load.location_id, tuple(shipped), distance))
    return tuple(shipments)


def _units_by_line(order: Order, load: Load, open_units: dict[str, int]) -> dict[str, int]:
    """Units of the load by line id. They are taken from `open_units`, those of each line that no load has yet."""
    remaining, counts = dict(load.units), {}
    for line in order.lines:
        count = min(open_units[line.line_id], remaining.get(line.sku, 0))
        if count:
            open_units[line.line_id] -= count
            remaining[line.sku] -= count
            counts[line.line_id] = count
    return counts


def _planned_shipment(
    run: RoutingRun, location_id: str, lines: tuple[ShipmentLine, ...], distance: float | None
) -> PlannedShipment:
    """The shipment with the time at which its location handles it, if that states a capacity."""
    if location_id not in run.view.memory.limited_ids:
        return PlannedShipment(location_id, lines, distance)
    handling = planned_handling(run.view, run.order, location_id, sum([line.unit_count for line in lines]))
    return PlannedShipment(location_id, lines, distance, handling=handling)


def _reviews(run: RoutingRun, shipments: Sequence[PlannedShipment]) -> tuple[FiredRule, ...]:
    """The review rules that fire for the finished plan."""
    matcher = run.policy.review_matcher
    if matcher is None or not shipments:
        return ()
    facts = plan_facts(
        run.view,
        run.question,
        _units(shipments),
        matcher.facts,
        handled_on=handling_days([(x.location_id, x.handling) for x in shipments]),
    )
    context = run.question.context(plan=facts)
    return tuple(
        [
            FiredRule(rule.name, rule.source, None, None, "needs review", RuleEvidence(rule.when, context))
            for rule in matcher.fired(context)
        ]
    )


def _delivery_rules(
    run: RoutingRun, shipments: Sequence[PlannedShipment], asked: Sequence[FiredRule]
) -> tuple[FiredRule, ...]:
    """The delivery rules of the plan's shipments, if they affected the plan, or what rules said of it."""
    decides = run.view.late is not None or any(step.kind in DELIVERY_STEPS for step in run.policy.rank)
    if not decides:
        facts = {comparison.fact for rule in asked if rule.evidence for comparison in comparisons(rule.evidence.when)}
        if facts.isdisjoint(_FACTS_OF_DELIVERY):
            return ()
    sizes = {location_id: shipment_size(run.question, shipped) for location_id, shipped in _units(shipments).items()}
    return fired_delivery_rules(run.policy_set, run.question, sizes)


def _units(shipments: Sequence[PlannedShipment]) -> dict[str, dict[str, int]]:
    """Units by location id and SKU."""
    units: dict[str, dict[str, int]] = {}
    for shipment in shipments:
        shipped = units[shipment.location_id] = {}
        for line in shipment.lines:
            shipped[line.sku] = shipped.get(line.sku, 0) + line.unit_count
    return units


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
