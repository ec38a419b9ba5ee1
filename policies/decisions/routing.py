"""Which locations fulfil an order: the decision, with everything that explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from policies.decisions.delivery import DELIVERY_FACTS, fired_delivery_rules, plan_cost, shipping_estimates
from policies.decisions.eligibility import NO_PROMISED_UNITS, RoutingQuestion, may_split, policies_for
from policies.decisions.order_limits import UsableUnits, units_saved_by_buffers, usable_units
from policies.decisions.plans import NO_ESTIMATES, Load, Plan, best_plan
from policies.decisions.ranking import RankingContext, Ranks, distance_km, rank_locations
from policies.domain.model import Channel, Commitment, Order, Outcome, PlanFacts, World
from policies.engine.conditions import comparisons
from policies.explanation import DroppedLocation, FiredRule, RuleEvidence
from policies.policy_set import DELIVERY_STEPS, PolicySet, RoutingPolicy


class ShortageKind(StrEnum):
    """Why units are short: no permitted location has them, or the policy's limits on splitting leave them out."""

    OVERSELL = "oversell"
    UNFILLABLE = "unfillable"


@dataclass(frozen=True, slots=True)
class ShipmentLine:
    """Units of one order line in one shipment."""

    line_id: str
    sku: str
    unit_count: int


@dataclass(frozen=True, slots=True)
class PlannedShipment:
    """What leaves one location, or waits there for pickup. `distance_km` is None where it is unknown."""

    location_id: str
    lines: tuple[ShipmentLine, ...]
    distance_km: float | None = None


@dataclass(frozen=True, slots=True)
class Shortage:
    """Units of one order line that are not promised."""

    line_id: str
    sku: str
    unit_count: int
    kind: ShortageKind


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one order. `plan` is in fill order, best-ranked location first.

    `tried` names the policies before this one whose `otherwise: next` passed the order on. `reviews` are the review
    rules that fired; the plan's stock stays promised. `buffer_saved` is by SKU, in units.
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
        """Whether a person must look at the plan before it goes out."""
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
    own: Mapping[tuple[str, str], int] = NO_PROMISED_UNITS,
    *,
    rejected_by: frozenset[tuple[str, str]] = frozenset(),
) -> Decision:
    """Decides by the first policy that applies; `otherwise: next` passes an order on that it cannot fill whole.

    Where no policy fills it whole, the decision of the last one tried stands. `own` are units by (sku, location id)
    which this order already has promised: free for it, and usable there whatever hold-backs and blocks say.
    `rejected_by` are (sku, location id) that could not be supplied before; they give no more than the order's own.
    """
    question = RoutingQuestion.of(world, channel, order, own, rejected_by)
    tried: list[str] = []
    for policy in policies_for(policy_set, question):
        inquiry = _RoutingRun(policy_set, question, order, policy)
        allowed = usable_units(policy_set, world, channel, order, policy, own=own, rejected_by=rejected_by)
        found = _planned(inquiry, allowed)
        shortages = _shortages(order, allowed, found)
        if not shortages or policy.otherwise != "next":
            break
        tried.append(policy.name)
    return _decision(inquiry, allowed, found, shortages, tuple(tried))


@dataclass(frozen=True, slots=True)
class _RoutingRun:
    """One order under one policy."""

    policy_set: PolicySet
    question: RoutingQuestion
    order: Order
    policy: RoutingPolicy


def _planned(inquiry: _RoutingRun, allowed: UsableUnits) -> Plan:
    order, policy = inquiry.order, inquiry.policy
    wanted = order.units_by_sku()
    splits = may_split(policy, order.value)
    ranked = _ranked_locations(inquiry, allowed)
    compares_delivery = any(step.kind in DELIVERY_STEPS for step in policy.rank)
    found = best_plan(
        {sku: min(count, allowed.limits.get(sku, count)) for sku, count in wanted.items()},
        allowed.units,
        ranked,
        steps=[step.kind for step in policy.rank],
        max_shipments=policy.max_shipments if splits else 1,
        sendings=shipping_estimates(inquiry.policy_set, inquiry.question, ranked)
        if compares_delivery
        else NO_ESTIMATES,
    )
    if policy.ship_complete and any(found.placed(sku) < count for sku, count in wanted.items()):
        return Plan((), found.searched_exhaustively)
    return found


def _ranked_locations(inquiry: _RoutingRun, allowed: UsableUnits) -> dict[str, Ranks]:
    locations = inquiry.question.world.locations
    places = [locations[key] for key in dict.fromkeys(key for shelf in allowed.units.values() for key in shelf)]
    order = inquiry.order
    wish = RankingContext(
        inquiry.question, tuple(allowed.units), order.pickup_location_id, order.units_by_sku(), allowed.units
    )
    return rank_locations(inquiry.policy, places, wish)


def _shortages(order: Order, allowed: UsableUnits, found: Plan) -> tuple[Shortage, ...]:
    """Per SKU the first units in line order are placed, the next could have been, and the last nobody has."""
    shortages: list[Shortage] = []
    for sku, wanted in order.units_by_sku().items():
        placed = found.placed(sku)
        if placed < wanted:
            marks = (placed, min(wanted, allowed.total(sku)), wanted)
            shortages += _short_units(order, sku, marks)
    return tuple(shortages)


def _short_units(order: Order, sku: str, marks: tuple[int, int, int]) -> list[Shortage]:
    placed, supplied, wanted = marks
    spans = [(ShortageKind.UNFILLABLE, placed, supplied), (ShortageKind.OVERSELL, supplied, wanted)]
    shortages, start = [], 0
    for line in order.lines:
        if line.sku != sku:
            continue
        end = start + line.unit_count
        for kind, first, last in spans:
            count = min(end, last) - max(start, first)
            if count > 0:
                shortages.append(Shortage(line.line_id, sku, count, kind))
        start = end
    return shortages


def _decision(
    inquiry: _RoutingRun, allowed: UsableUnits, found: Plan, shortages: tuple[Shortage, ...], tried: tuple[str, ...]
) -> Decision:
    shipments = _shipments(inquiry, found.loads)
    reviews = _reviews(inquiry, shipments)
    placed = {(sku, load.location_id): count for load in found.loads for sku, count in load.units.items()}
    return Decision(
        policy=inquiry.policy,
        outcome=_outcome(inquiry.order, shipments, shortages, reviews),
        plan=shipments,
        shortages=shortages,
        dropped=allowed.dropped,
        fired=allowed.fired + _delivery_rules(inquiry, shipments, reviews) + reviews,
        reviews=reviews,
        tried=tried,
        searched_exhaustively=found.searched_exhaustively,
        buffer_saved=units_saved_by_buffers(
            inquiry.policy_set, inquiry.question, inquiry.order, inquiry.policy, placed
        ),
    )


def _shipments(inquiry: _RoutingRun, loads: Sequence[Load]) -> tuple[PlannedShipment, ...]:
    """Splits each load over the order's lines; lines of one SKU draw from one pool, in line order."""
    left = {line.line_id: line.unit_count for line in inquiry.order.lines}
    shipments = []
    for load in loads:
        rest, lines = dict(load.units), []
        for line in inquiry.order.lines:
            count = min(left[line.line_id], rest.get(line.sku, 0))
            if count:
                left[line.line_id] -= count
                rest[line.sku] -= count
                lines.append(ShipmentLine(line.line_id, line.sku, count))
        location = inquiry.question.world.locations[load.location_id]
        shipments.append(PlannedShipment(location.id, tuple(lines), distance_km(location, inquiry.question)))
    return tuple(shipments)


def _reviews(inquiry: _RoutingRun, shipments: Sequence[PlannedShipment]) -> tuple[FiredRule, ...]:
    """The review rules that hold for the finished plan."""
    matcher = inquiry.policy.review_matcher
    if matcher is None or not shipments:
        return ()
    distances = [shipment.distance_km for shipment in shipments]
    known = [distance for distance in distances if distance is not None]
    # Shipments are quoted only for rules that ask what they cost.
    asked = not DELIVERY_FACTS.isdisjoint(matcher.facts)
    cost = plan_cost(inquiry.policy_set, inquiry.question, _unit_counts(shipments)) if asked else None
    facts = PlanFacts(len(shipments), sum(known) if len(known) == len(distances) else None, cost)
    context = inquiry.question.context(plan=facts)
    return tuple(
        [
            FiredRule(rule.name, rule.source, None, None, "needs review", RuleEvidence(rule.when, context))
            for rule in matcher.fired(context)
        ]
    )


def _delivery_rules(
    inquiry: _RoutingRun, shipments: Sequence[PlannedShipment], reviews: Sequence[FiredRule]
) -> tuple[FiredRule, ...]:
    """The delivery rules of the plan's shipments, where they bore on the plan or on its review."""
    asked = {one.fact for rule in reviews if rule.sight for one in comparisons(rule.sight.when)}
    if asked.isdisjoint(DELIVERY_FACTS) and not any(step.kind in DELIVERY_STEPS for step in inquiry.policy.rank):
        return ()
    return fired_delivery_rules(inquiry.policy_set, inquiry.question, _unit_counts(shipments))


def _unit_counts(shipments: Sequence[PlannedShipment]) -> dict[str, int]:
    return {one.location_id: sum(line.unit_count for line in one.lines) for one in shipments}


def _outcome(
    order: Order, shipments: Sequence[PlannedShipment], shortages: Sequence[Shortage], reviews: Sequence[FiredRule]
) -> Outcome:
    if reviews:
        return Outcome.NEEDS_REVIEW
    if not shortages:
        return Outcome.ALLOCATED
    if shipments:
        return Outcome.PARTLY_ALLOCATED
    # Without an exception rule that settles it, a sold order with nothing promised waits for a person.
    return Outcome.NEEDS_REVIEW if order.commitment is Commitment.SOLD else Outcome.UNFILLABLE
