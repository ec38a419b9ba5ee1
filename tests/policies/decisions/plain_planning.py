"""Planning the plain way: rules are evaluated for every question, location and product, and nothing is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, inf
from typing import Any
from unittest.mock import patch

from policies.decisions import order_plans, routing
from policies.decisions.availability.location_availability import (
    NOTHING_WAIVED,
    LocationAvailability,
    assess_location,
    drop_reason,
)
from policies.decisions.availability.sellable import channel_level, publishable_units
from policies.decisions.buffers import NOTHING_HELD_BACK, BufferEffect, buffer_effect
from policies.decisions.decision import Decision
from policies.decisions.eligibility import RoutingQuestion, dropped_by_policy, exclude_rule_behind
from policies.decisions.order_limits import UsableUnits, choice_allows, waived_limits
from policies.domain.geography import great_circle_km
from policies.domain.model import Commitment, Location, Order, StockLevel
from policies.explanation import DroppedLocation, DropReason, FiredRule
from policies.facts.measures import days_until_sold
from policies.policy_set import PLAN_STEPS, PolicySet, RankStep, RoutingPolicy, Scope

Ranks = tuple[float, ...]


def route(*arguments: Any, **keywords: Any) -> Decision:
    """The decision of `routing.route`, planned the plain way."""
    with (
        patch.multiple(
            routing,
            usable_units=lambda view, order: usable_units(view.policy_set, view.question, order, view.policy),
            units_saved_by_buffers=lambda view, order, placed: units_saved_by_buffers(
                view.policy_set, view.question, order, view.policy, placed
            ),
        ),
        patch.object(order_plans, "ranked_locations", _ranked_locations),
    ):
        return routing.route(*arguments, **keywords)


def _ranked_locations(run: Any, stock: Mapping[str, Mapping[str, int]]) -> dict[str, Ranks]:
    locations = run.question.world.locations
    candidates = [locations[key] for key in dict.fromkeys(key for units in stock.values() for key in units)]
    order = run.order
    context = RankingContext(run.question, tuple(stock), order.pickup_location_id, order.units_by_sku(), stock)
    return rank_locations(run.policy, candidates, context)


def usable_units(policy_set: PolicySet, question: RoutingQuestion, order: Order, policy: RoutingPolicy) -> UsableUnits:
    """Units that the order may use under the policy.

    Buffers and blocks limit a HOLD, and a SOLD order without `sold_may_use`; cut-off and cap limit only a HOLD.
    `own_units` of the question, already promised to the order, stay usable despite buffers and blocks as far as they
    are available. A (sku, location id) in `rejected_by` supplies only `own_units`. If the order is a part of a whole,
    its units are those that the whole order may use less those that it keeps: no buffer is used up part by part.
    """
    skus = tuple(order.units_by_sku())
    waived = waived_limits(order, policy)
    channel_effects = (
        {}
        if "buffer" in waived
        else {sku: channel_buffer_effect(policy_set, question, sku, policy, waived) for sku in skus}
    )
    offered = _UnitSurvey(policy_set, question, policy, skus, waived)
    others = _UnitSurvey(policy_set, question, policy, skus, waived)
    for location in _locations(question):
        if choice_allows(order, location.id):
            offered.visit(location)
            continue
        offered.dropped.append(DroppedLocation(location.id, None, DropReason.NOT_CHOSEN))
        # A buffer on the channel's total does not limit a chosen store as long as the other stores cover it.
        if any(effect.fired for effect in channel_effects.values()):
            others.visit(location)
    surveys = [offered, others]
    limits = {sku: _limit(order, sku, effect, surveys) for sku, effect in channel_effects.items() if effect.fired}
    fired = [*offered.fired, *(rule for effect in channel_effects.values() for rule in effect.fired)]
    return UsableUnits(
        units=offered.units,
        limits=limits,
        kept_units=offered.kept_units,
        figures=lambda sku: [figure for figure in offered.figures if figure.sku == sku],
        channel_rules={sku: effect.fired for sku, effect in channel_effects.items()},
        dropped=tuple(offered.dropped),
        fired=tuple(fired),
    )


def units_saved_by_buffers(
    policy_set: PolicySet,
    question: RoutingQuestion,
    order: Order,
    policy: RoutingPolicy,
    placed: Mapping[tuple[str, str], int],
) -> dict[str, int]:
    """Units of each SKU that were placed only because the order may use the buffer; SKUs without any are omitted.

    `placed` is by (sku, location id). Cut-off and cap do not matter here: neither limits a SOLD order.
    """
    waived = waived_limits(order, policy)
    if "buffer" not in waived:
        return {}
    saved = {}
    for sku in dict.fromkeys(sku for sku, _ in placed):
        placed_units = {location_id: count for (key, location_id), count in placed.items() if key == sku}
        survey = _UnitSurvey(policy_set, question, policy, (sku,), waived - {"buffer"})
        count = sum(placed_units.values()) - _units_without_buffer(survey, order, sku, placed_units)
        if count > 0:
            saved[sku] = count
    return saved


def _units_without_buffer(survey: _UnitSurvey, order: Order, sku: str, placed: Mapping[str, int]) -> int:
    """Units that the order could have had without the buffer; stops once they are as many as those placed."""
    placed_count = sum(placed.values())
    held_back = channel_buffer_effect(survey.policy_set, survey.question, sku, survey.policy, survey.waived).held_back
    offered = everywhere = 0
    for location in _source_locations_first(survey.question, placed):
        if offered >= placed_count and everywhere >= placed_count + held_back:
            break
        is_allowed = choice_allows(order, location.id)
        if is_allowed or held_back:
            survey.visit(location)
            count = survey.units[sku].get(location.id, 0)
            offered, everywhere = offered + count * is_allowed, everywhere + count
    return min(offered, max(0, everywhere - held_back))


def _source_locations_first(question: RoutingQuestion, placed: Mapping[str, int]) -> Iterator[Location]:
    yield from (question.world.locations[location_id] for location_id in placed)
    yield from (location for location in _locations(question) if location.id not in placed)


def _limit(order: Order, sku: str, channel_effect: BufferEffect, surveys: list[_UnitSurvey]) -> int:
    kept_units = sum(survey.kept_units.get(sku, 0) for survey in surveys)
    subtotal = sum(sum(survey.units[sku].values()) + survey.rejected_units.get(sku, 0) for survey in surveys)
    subtotal += kept_units
    own_units = sum(survey.promised_units.get(sku, 0) for survey in surveys) + kept_units
    limit = (
        publishable_units(subtotal, channel_effect)
        if order.commitment is Commitment.HOLD
        else max(0, subtotal - channel_effect.held_back)
    )
    return max(own_units, limit) - kept_units


@dataclass(slots=True)
class _UnitSurvey:
    """Units, dropped locations and fired rules collected from the locations visited so far."""

    policy_set: PolicySet
    question: RoutingQuestion
    policy: RoutingPolicy
    skus: tuple[str, ...]
    waived: frozenset[str]
    units: dict[str, dict[str, int]] = field(init=False)
    promised_units: dict[str, int] = field(default_factory=dict)
    kept_units: dict[str, int] = field(default_factory=dict)
    rejected_units: dict[str, int] = field(default_factory=dict)
    """Units that the order does not get at locations that rejected it; others may, so they cover a channel buffer."""
    figures: list[LocationAvailability] = field(default_factory=list)
    dropped: list[DroppedLocation] = field(default_factory=list)
    fired: list[FiredRule] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.units = {sku: {} for sku in self.skus}

    def visit(self, location: Location) -> None:
        levels = [level for sku in self.skus if (level := self.question.level(sku, location.id)) is not None]
        levels = [level for level in levels if level.available > 0]
        # Most locations of a large chain stock none of an order's products, so no rules are evaluated for them.
        dropped = dropped_by_policy(self.policy, location, self.question) if levels else _without_stock(location)
        if dropped is not None:
            self.dropped.append(dropped)
            self.fired += exclude_rule_behind(dropped)
            return
        for level in levels:
            self._add(location, level)

    def _add(self, location: Location, level: StockLevel) -> None:
        context = self.question.context(location, level.sku, level)
        figure = assess_location(self.policy_set, context, waived=self.waived)
        self.figures.append(figure)
        self.fired += figure.fired
        key = (level.sku, location.id)
        kept_units = min(self.question.kept_units.get(key, 0), figure.available)
        own_units = min(self.question.own_units.get(key, 0), figure.available - kept_units)
        is_rejected = key in self.question.rejected_by
        count = own_units if is_rejected else max(figure.sellable - kept_units, own_units)
        self.promised_units[level.sku] = self.promised_units.get(level.sku, 0) + own_units
        self.kept_units[level.sku] = self.kept_units.get(level.sku, 0) + kept_units
        if is_rejected:
            unused = max(0, figure.sellable - kept_units - own_units)
            self.rejected_units[level.sku] = self.rejected_units.get(level.sku, 0) + unused
        if count:
            self.units[level.sku][location.id] = count
        elif is_rejected:
            self.dropped.append(DroppedLocation(location.id, level.sku, DropReason.REJECTED))
        else:
            self.dropped.append(drop_reason(figure))


def _without_stock(location: Location) -> DroppedLocation:
    return DroppedLocation(location.id, None, DropReason.CLOSED if location.status == "closed" else DropReason.NO_STOCK)


def channel_buffer_effect(
    policy_set: PolicySet,
    question: RoutingQuestion,
    sku: str,
    policy: RoutingPolicy,
    waived: frozenset[str] = NOTHING_WAIVED,
) -> BufferEffect:
    """The effect of the `scope: channel` rules on the product; the stock that they see is what the channel may use."""
    files = policy_set.buffers_of(Scope.CHANNEL)
    if not files:
        return NOTHING_HELD_BACK
    # Only stock that the channel may use counts here. When all stock counted, a store under stocktake raised TikTok's
    # buffer until it took the warehouse's last units.
    usable = [
        level
        for level in _open_levels(question, sku)
        if _may_use(policy_set, question, policy, level, includes_blocked="blocked" in waived)
    ]
    return buffer_effect(files, question.context(sku=sku, stock=channel_level(sku, usable)))


def _may_use(
    policy_set: PolicySet,
    question: RoutingQuestion,
    policy: RoutingPolicy,
    level: StockLevel,
    *,
    includes_blocked: bool,
) -> bool:
    location = question.world.locations[level.location_id]
    if dropped_by_policy(policy, location, question) is not None:
        return False
    return includes_blocked or not policy_set.exposure_matcher.fired(question.context(location, level.sku, level))


def location_availability(
    policy_set: PolicySet, question: RoutingQuestion, sku: str, policy: RoutingPolicy
) -> tuple[LocationAvailability, ...]:
    figures = []
    for location in _locations(question):
        level = question.level(sku, location.id)
        if level is not None:
            context = question.context(location, sku, level)
            dropped = dropped_by_policy(policy, location, question)
            figures.append(assess_location(policy_set, context, not_used_by=dropped))
    return tuple(figures)


def _open_levels(question: RoutingQuestion, sku: str) -> list[StockLevel]:
    """The product's tracked levels at locations that are not closed."""
    levels = [question.level(sku, location.id) for location in _locations(question) if location.status != "closed"]
    return [level for level in levels if level is not None and level.tracked]


@dataclass(frozen=True, slots=True)
class RankingContext:
    """What steps use besides the location: the question, the order's SKUs, and the shopper's choice.

    `demand` are the order's units by SKU, empty if there is no order yet; `units` are those that it may use of a SKU,
    by location id.
    """

    question: RoutingQuestion
    skus: Sequence[str]
    chosen_location_id: str | None = None
    demand: Mapping[str, int] = field(default_factory=dict)
    units: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def stocked(self, location: Location) -> Iterator[StockLevel]:
        """The location's levels of the order's SKUs that have available units."""
        for sku in self.skus:
            level = self.question.level(sku, location.id)
            if level is not None and level.available > 0:
                yield level


def rank_locations(policy: RoutingPolicy, locations: Iterable[Location], context: RankingContext) -> dict[str, Ranks]:
    """The ranks of each location by its id, one for each location step of the policy in the order written."""
    steps = [(RANK_STEPS[step.kind], step) for step in policy.rank if step.kind not in PLAN_STEPS]
    # A step that abstains must not separate locations, and a rank of 0 for all does not.
    return {
        location.id: tuple([rank(step, location, context) or 0.0 for rank, step in steps]) for location in locations
    }


def distance_km(location: Location, question: RoutingQuestion) -> float | None:
    """Great-circle kilometers from the location to the destination; None if either has no coordinates."""
    destination = question.destination
    if destination is None or destination.coordinates is None or location.coordinates is None:
        return None
    return great_circle_km(location.coordinates, destination.coordinates)


def nearest(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """The distance in kilometers, or the number of its band; a location without coordinates comes last."""
    destination = context.question.destination
    if destination is None or destination.coordinates is None:
        return None
    distance = distance_km(location, context.question)
    if distance is None:
        return inf
    return distance if step.band_km is None else floor(distance / step.band_km)


def priority(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """The location's priority; locations without one come last."""
    return inf if location.priority is None else location.priority


def prefer(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """Locations that meet the condition come before those that do not."""
    return 0 if step.matcher is not None and step.matcher.fired(context.question.context(location)) else 1


def deepest_stock(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """Most available units of the order's SKUs first, before buffers and without this order's own units."""
    return -sum(level.available for level in context.stocked(location))


def most_days_of_cover(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """Most days of cover first; the SKU with the fewest days decides.

    SKUs of unknown velocity are ignored; a location that has only such SKUs comes last.
    """
    products = context.question.world.products
    covers = [
        days_until_sold(level.available, products[level.sku].velocity_per_day)
        for level in context.stocked(location)
        if level.sku in products
    ]
    return -min([cover for cover in covers if cover is not None], default=-inf)


def most_reliable(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """Highest count confidence first; the SKU with the lowest confidence decides. Unknown confidence comes last."""
    confidences = [level.count_confidence for level in context.stocked(location)]
    measured = [confidence for confidence in confidences if confidence is not None]
    return -min(measured) if measured and len(measured) == len(confidences) else inf


def covers_most(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """Most SKUs that the order can get in full there first; abstains if there is no order yet."""
    if not context.demand:
        return None
    requests = [(context.units.get(sku, {}), count) for sku, count in context.demand.items()]
    return -sum(units.get(location.id, 0) >= count for units, count in requests)


def chosen_by_shopper(step: RankStep, location: Location, context: RankingContext) -> float | None:
    """The location chosen by the shopper first; abstains if none was chosen."""
    chosen_id = context.chosen_location_id
    return None if chosen_id is None else float(location.id != chosen_id)


RANK_STEPS: Mapping[str, Callable[[RankStep, Location, RankingContext], float | None]] = {
    "nearest": nearest,
    "priority": priority,
    "prefer": prefer,
    "deepest_stock": deepest_stock,
    "most_days_of_cover": most_days_of_cover,
    "most_reliable": most_reliable,
    "covers_most": covers_most,
    "chosen_by_shopper": chosen_by_shopper,
}


def _locations(question: RoutingQuestion) -> list[Location]:
    locations = question.world.locations
    ids = sorted(question.channel.location_ids or locations)
    return [locations[location_id] for location_id in ids if location_id in locations]
