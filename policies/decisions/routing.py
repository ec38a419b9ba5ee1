"""Which locations fulfill an order: the decision and the reasons for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

from policies.decisions.delivery import DELIVERY_FACTS, fired_delivery_rules, plan_cost, shipping_estimates
from policies.decisions.eligibility import NO_PROMISED_UNITS, RoutingQuestion, WholeOrder, may_split, policies_for
from policies.decisions.order_limits import UsableUnits, units_saved_by_buffers, usable_units
from policies.decisions.planning_memory import PolicyView
from policies.decisions.plans import NO_ESTIMATES, Load, Plan, best_plan
from policies.decisions.ranking import RankingContext, Ranks, rank_locations
from policies.decisions.withheld import withheld_units
from policies.domain.model import Channel, Commitment, Order, Outcome, PlanFacts, World
from policies.engine.conditions import comparisons
from policies.explanation import DroppedLocation, FiredRule, RuleEvidence
from policies.policy_set import DELIVERY_STEPS, PolicySet, RoutingPolicy


class ShortageKind(StrEnum):
    """Why units are short.

    UNFILLABLE: limits on splitting exclude them. HELD_BY_BUFFER, BLOCKED_BY_RULE: permitted locations have them, but a
    buffer or an exposure rule keeps them from the order. OVERSELL: no permitted location has them.
    """

    OVERSELL = "oversell"
    UNFILLABLE = "unfillable"
    HELD_BY_BUFFER = "held_by_buffer"
    BLOCKED_BY_RULE = "blocked_by_rule"


@dataclass(frozen=True, slots=True)
class ShipmentLine:
    """Units of one order line in one shipment."""

    line_id: str
    sku: str
    unit_count: int


@dataclass(frozen=True, slots=True)
class PlannedShipment:
    """Units shipped from one location, or picked up there. `distance_km` is None if unknown."""

    location_id: str
    lines: tuple[ShipmentLine, ...]
    distance_km: float | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """Units of one order line that are not promised; `rules` are the names of the rules that keep them."""

    line_id: str
    sku: str
    unit_count: int
    kind: ShortageKind
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision for one order. `plan` is in fill order, best-ranked location first.

    `tried` names earlier policies that passed the order on with `otherwise: next`. `reviews` are the review rules that
    fired; the plan's units stay promised. `buffer_saved` has the units of each SKU that only the buffer could supply.
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
    buffer_saved: Mapping[str, int] = field(default_factory=dict)

    @property
    def needs_review(self) -> bool:
        """Whether a person must approve the plan before it is shipped."""
        return bool(self.reviews)

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
    question = RoutingQuestion.of(world, channel, order, own_units, rejected_by=rejected_by, whole=whole)
    tried: list[str] = []
    for policy in policies_for(policy_set, question):
        run = _RoutingRun(policy_set, question, order, policy, PolicyView(policy_set, question, policy), whole)
        usable = usable_units(run.view, order)
        plan = _planned(run, usable)
        if policy.otherwise != "next" or _fills_whole_order(run, usable, plan):
            break
        tried.append(policy.name)
    return _decision(run, usable, plan, _shortages(run, usable, plan), tuple(tried))


@dataclass(frozen=True, slots=True)
class _RoutingRun:
    """One order under one policy."""

    policy_set: PolicySet
    question: RoutingQuestion
    order: Order
    policy: RoutingPolicy
    view: PolicyView
    whole: WholeOrder | None = None


def _planned(run: _RoutingRun, usable: UsableUnits) -> Plan:
    policy, demand = run.policy, run.order.units_by_sku()
    within_limits = {sku: min(count, usable.limits.get(sku, count)) for sku, count in demand.items()}
    plan = _best_plan(run, within_limits, usable.units)
    if policy.ship_complete and _leaves_units_short(run, plan, demand):
        return Plan((), plan.searched_exhaustively)
    return plan


def _fills_whole_order(run: _RoutingRun, usable: UsableUnits, plan: Plan) -> bool:
    """Whether the plan leaves nothing short and the policy could also supply what the order keeps elsewhere."""
    for sku, demand in run.order.units_by_sku().items():
        kept_elsewhere = sum(count for (key, _), count in run.question.kept_units.items() if key == sku)
        kept_elsewhere -= usable.kept_units.get(sku, 0)
        if plan.placed(sku) < demand or usable.total(sku) < demand + kept_elsewhere:
            return False
    return True


def _best_plan(run: _RoutingRun, demand: Mapping[str, int], stock: Mapping[str, Mapping[str, int]]) -> Plan:
    """The best plan within the shipments that the policy allows, those of units that the order keeps included."""
    policy = run.policy
    ranked = _ranked_locations(run, stock)
    compares_delivery = any(step.kind in DELIVERY_STEPS for step in policy.rank)
    plan_of = partial(
        best_plan,
        stock=stock,
        steps=[step.kind for step in policy.rank],
        estimates=shipping_estimates(run.policy_set, run.question, ranked) if compares_delivery else NO_ESTIMATES,
        pause=run.question.world.pause,
    )
    max_shipments = policy.max_shipments if may_split(policy, run.question.order.value) else 1
    kept = {location_id for (_, location_id), count in run.question.kept_units.items() if count}
    if max_shipments is None or not kept:
        return plan_of(demand, ranks=ranked, max_shipments=max_shipments)
    # The locations that ship the order anyway add no shipment, so they come first.
    joined = plan_of(demand, ranks={key: ranks for key, ranks in ranked.items() if key in kept})
    shipments_left = max_shipments - len(kept)
    if shipments_left < 1:
        return joined
    remaining = {sku: rest for sku, count in demand.items() if (rest := count - joined.placed(sku))}
    others = {key: ranks for key, ranks in ranked.items() if key not in kept}
    added = plan_of(remaining, ranks=others, max_shipments=shipments_left)
    return Plan(joined.loads + added.loads, joined.searched_exhaustively and added.searched_exhaustively)


def _leaves_units_short(run: _RoutingRun, plan: Plan, demand: Mapping[str, int]) -> bool:
    is_short_elsewhere = run.whole is not None and run.whole.has_other_shortages
    return is_short_elsewhere or any(plan.placed(sku) < count for sku, count in demand.items())


def _ranked_locations(run: _RoutingRun, stock: Mapping[str, Mapping[str, int]]) -> dict[str, Ranks]:
    order = run.order
    context = RankingContext(run.view, tuple(stock), order.pickup_location_id, order.units_by_sku(), stock)
    location_ids: dict[str, None] = {}
    for units in stock.values():
        run.question.world.pause()
        location_ids.update(dict.fromkeys(units))
    return rank_locations(context, location_ids)


def _shortages(run: _RoutingRun, usable: UsableUnits, plan: Plan) -> tuple[Shortage, ...]:
    """Units of a SKU in line order: first the placed, then the unfillable and withheld ones, last the oversold.

    A HOLD is not a sale: what rules keep from it is not told apart from what is not there.
    """
    shortages: list[Shortage] = []
    for sku, demand in run.order.units_by_sku().items():
        placed = plan.placed(sku)
        if placed == demand:
            continue
        available = min(demand, usable.total(sku))
        spans = [_Span(ShortageKind.UNFILLABLE, placed, available)]
        if available < demand and run.order.commitment is Commitment.SOLD:
            withheld = withheld_units(run.question, usable, sku)
            held_until = min(demand, available + withheld.held_by_buffer)
            spans.append(_Span(ShortageKind.HELD_BY_BUFFER, available, held_until, withheld.buffers))
            available = min(demand, held_until + withheld.blocked)
            spans.append(_Span(ShortageKind.BLOCKED_BY_RULE, held_until, available, withheld.blocks))
        spans.append(_Span(ShortageKind.OVERSELL, available, demand))
        shortages += _short_units(run.order, sku, spans)
    return tuple(shortages)


@dataclass(frozen=True, slots=True)
class _Span:
    """The units of a SKU from the `first` one up to before the `last` one, counted in line order."""

    kind: ShortageKind
    first: int
    last: int
    rules: tuple[str, ...] = ()


def _short_units(order: Order, sku: str, spans: Sequence[_Span]) -> list[Shortage]:
    shortages, start = [], 0
    for line in order.lines:
        if line.sku != sku:
            continue
        end = start + line.unit_count
        for span in spans:
            count = min(end, span.last) - max(start, span.first)
            if count > 0:
                shortages.append(Shortage(line.line_id, sku, count, span.kind, span.rules))
        start = end
    return shortages


def _decision(
    run: _RoutingRun, usable: UsableUnits, plan: Plan, shortages: tuple[Shortage, ...], tried: tuple[str, ...]
) -> Decision:
    shipments = _shipments(run, plan.loads)
    reviews = _reviews(run, shipments)
    placed = {(sku, load.location_id): count for load in plan.loads for sku, count in load.units.items()}
    return Decision(
        policy=run.policy,
        outcome=_outcome(run.order, shipments, shortages, reviews),
        plan=shipments,
        shortages=shortages,
        dropped=usable.dropped,
        fired=usable.fired + _delivery_rules(run, shipments, reviews) + reviews,
        reviews=reviews,
        tried=tried,
        searched_exhaustively=plan.searched_exhaustively,
        buffer_saved=units_saved_by_buffers(run.view, run.order, placed),
    )


def _shipments(run: _RoutingRun, loads: Sequence[Load]) -> tuple[PlannedShipment, ...]:
    """Splits each load over the order's lines; lines of one SKU share its units, in line order."""
    open_units = {line.line_id: line.unit_count for line in run.order.lines}
    shipments = []
    for load in loads:
        remaining, lines = dict(load.units), []
        for line in run.order.lines:
            count = min(open_units[line.line_id], remaining.get(line.sku, 0))
            if count:
                open_units[line.line_id] -= count
                remaining[line.sku] -= count
                lines.append(ShipmentLine(line.line_id, line.sku, count))
        distance = run.view.distances[run.view.memory.numbers[load.location_id]]
        shipments.append(PlannedShipment(load.location_id, tuple(lines), distance))
    return tuple(shipments)


def _reviews(run: _RoutingRun, shipments: Sequence[PlannedShipment]) -> tuple[FiredRule, ...]:
    """The review rules that fire for the finished plan."""
    matcher = run.policy.review_matcher
    if matcher is None or not shipments:
        return ()
    distances = [shipment.distance_km for shipment in shipments]
    known_distances = [distance for distance in distances if distance is not None]
    # Shipments are quoted only if a rule tests their cost.
    needs_cost = not DELIVERY_FACTS.isdisjoint(matcher.facts)
    cost = plan_cost(run.policy_set, run.question, _unit_counts(shipments)) if needs_cost else None
    facts = PlanFacts(len(shipments), sum(known_distances) if len(known_distances) == len(distances) else None, cost)
    context = run.question.context(plan=facts)
    return tuple(
        [
            FiredRule(rule.name, rule.source, None, None, "needs review", RuleEvidence(rule.when, context))
            for rule in matcher.fired(context)
        ]
    )


def _delivery_rules(
    run: _RoutingRun, shipments: Sequence[PlannedShipment], reviews: Sequence[FiredRule]
) -> tuple[FiredRule, ...]:
    """The delivery rules of the plan's shipments, if they affected the plan or its review."""
    facts = {comparison.fact for rule in reviews if rule.evidence for comparison in comparisons(rule.evidence.when)}
    if facts.isdisjoint(DELIVERY_FACTS) and not any(step.kind in DELIVERY_STEPS for step in run.policy.rank):
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
