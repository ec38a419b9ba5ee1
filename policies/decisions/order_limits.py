"""What one order may take of each product at each location, and what it took only because it may use the buffer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from policies.decisions.buffers import BufferEffect
from policies.decisions.eligibility import NO_PROMISED_UNITS, RoutingQuestion, dropped_by_policy, exclude_rule_behind
from policies.decisions.sellable import (
    NOTHING_WAIVED,
    LocationAvailability,
    assess_location,
    channel_buffer_effect,
    publishable_units,
)
from policies.domain.model import Channel, Commitment, Location, Order, StockLevel, World
from policies.explanation import DroppedLocation, DropReason, FiredRule
from policies.policy_set import PolicySet, RoutingPolicy


@dataclass(frozen=True, slots=True)
class UsableUnits:
    """What one order may take, in units. `units` are by SKU and then location id, none of them 0.

    `limits` bound a SKU over all locations together; a SKU without one is bound by its units alone.
    """

    units: Mapping[str, Mapping[str, int]]
    limits: Mapping[str, int]
    dropped: tuple[DroppedLocation, ...] = ()
    fired: tuple[FiredRule, ...] = ()

    def total(self, sku: str) -> int:
        """Units of the product that the order may take at all its locations together."""
        total = sum(self.units.get(sku, {}).values())
        return min(total, self.limits.get(sku, total))


def usable_units(
    policy_set: PolicySet,
    world: World,
    channel: Channel,
    order: Order,
    policy: RoutingPolicy,
    *,
    own: Mapping[tuple[str, str], int] = NO_PROMISED_UNITS,
    rejected_by: frozenset[tuple[str, str]] = frozenset(),
) -> UsableUnits:
    """What the order may take under the policy.

    A HOLD, and a SOLD order without `sold_may_use`, is bound by hold-backs and blocks; cut-off and cap bind HOLDs only.
    `own` units, which the order already has, stay usable whatever hold-backs and blocks say, as far as they are there.
    What is in `rejected_by`, as (sku, location id), gives `own` units and nothing else.
    """
    question = RoutingQuestion.of(world, channel, order, own, rejected_by)
    skus = tuple(order.units_by_sku())
    lifted = waived_limits(order, policy)
    whole = (
        {}
        if "buffer" in lifted
        else {sku: channel_buffer_effect(policy_set, question, sku, policy, lifted) for sku in skus}
    )
    here = _UnitSurvey(policy_set, question, policy, skus, lifted)
    elsewhere = _UnitSurvey(policy_set, question, policy, skus, lifted)
    for location in question.locations():
        if choice_allows(order, location.id):
            here.visit(location)
            continue
        here.dropped.append(DroppedLocation(location.id, None, DropReason.NOT_CHOSEN))
        # A hold-back of the channel's total leaves a chosen store alone as long as the other stores cover it.
        if any(one.fired for one in whole.values()):
            elsewhere.visit(location)
    limits = {sku: _limit(order, sku, one, [here, elsewhere]) for sku, one in whole.items() if one.fired}
    fired = [*here.fired, *(rule for one in whole.values() for rule in one.fired)]
    return UsableUnits(here.units, limits, tuple(here.dropped), tuple(fired))


def waived_limits(order: Order, policy: RoutingPolicy) -> frozenset[str]:
    """Which of 'buffer' and 'blocked' do not bind the order."""
    return policy.sold_may_use if order.commitment is Commitment.SOLD else NOTHING_WAIVED


def choice_allows(order: Order, location_id: str) -> bool:
    """Whether the shopper's choice allows the location; an order to be shipped, or without a choice, allows all."""
    return order.method != "pickup" or order.pickup_location_id in (None, location_id)


def units_saved_by_buffers(
    policy_set: PolicySet,
    question: RoutingQuestion,
    order: Order,
    policy: RoutingPolicy,
    placed: Mapping[tuple[str, str], int],
) -> dict[str, int]:
    """Units of each SKU that were placed only because the order may use the buffer; SKUs without any are left out.

    `placed` is by (sku, location id). A cut-off or a cap saves nothing here: neither ever binds a SOLD order.
    """
    lifted = waived_limits(order, policy)
    if "buffer" not in lifted:
        return {}
    saved = {}
    for sku in dict.fromkeys(sku for sku, _ in placed):
        taken = {location_id: count for (key, location_id), count in placed.items() if key == sku}
        survey = _UnitSurvey(policy_set, question, policy, (sku,), lifted - {"buffer"})
        count = sum(taken.values()) - _units_without_buffer(survey, order, sku, taken)
        if count > 0:
            saved[sku] = count
    return saved


def _units_without_buffer(survey: _UnitSurvey, order: Order, sku: str, taken: Mapping[str, int]) -> int:
    """Units that the order could have had of those taken; looks at no more locations than it takes to know."""
    wanted = sum(taken.values())
    held_back = channel_buffer_effect(survey.policy_set, survey.question, sku, survey.policy, survey.lifted).held_back
    here = everywhere = 0
    for location in _source_locations_first(survey.question, taken):
        if here >= wanted and everywhere >= wanted + held_back:
            break
        allowed = choice_allows(order, location.id)
        if allowed or held_back:
            survey.visit(location)
            count = survey.units[sku].get(location.id, 0)
            here, everywhere = here + count * allowed, everywhere + count
    return min(here, max(0, everywhere - held_back), wanted)


def _source_locations_first(question: RoutingQuestion, taken: Mapping[str, int]) -> Iterator[Location]:
    yield from (question.world.locations[location_id] for location_id in taken)
    yield from (location for location in question.locations() if location.id not in taken)


def _limit(order: Order, sku: str, whole: BufferEffect, surveys: list[_UnitSurvey]) -> int:
    subtotal = sum(sum(survey.units[sku].values()) for survey in surveys)
    own = sum(survey.promised_units.get(sku, 0) for survey in surveys)
    bound = (
        publishable_units(subtotal, whole)
        if order.commitment is Commitment.HOLD
        else max(0, subtotal - whole.held_back)
    )
    return max(own, bound)


@dataclass(slots=True)
class _UnitSurvey:
    """What a walk over the locations has found so far."""

    policy_set: PolicySet
    question: RoutingQuestion
    policy: RoutingPolicy
    skus: tuple[str, ...]
    lifted: frozenset[str]
    units: dict[str, dict[str, int]] = field(init=False)
    promised_units: dict[str, int] = field(default_factory=dict)
    dropped: list[DroppedLocation] = field(default_factory=list)
    fired: list[FiredRule] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.units = {sku: {} for sku in self.skus}

    def visit(self, location: Location) -> None:
        levels = [level for sku in self.skus if (level := self.question.level(sku, location.id)) is not None]
        levels = [level for level in levels if level.available > 0]
        # Most locations of a large chain stock nothing of an order; they need no rules.
        dropped = dropped_by_policy(self.policy, location, self.question) if levels else _without_stock(location)
        if dropped is not None:
            self.dropped.append(dropped)
            self.fired += exclude_rule_behind(dropped)
            return
        for level in levels:
            self._take(location, level)

    def _take(self, location: Location, level: StockLevel) -> None:
        context = self.question.context(location, level.sku, level)
        figure = assess_location(self.policy_set, context, lifted=self.lifted)
        self.fired += figure.fired
        own = min(self.question.own.get((level.sku, location.id), 0), figure.available)
        is_rejected = (level.sku, location.id) in self.question.rejected_by
        count = own if is_rejected else max(figure.sellable, own)
        self.promised_units[level.sku] = self.promised_units.get(level.sku, 0) + own
        if count:
            self.units[level.sku][location.id] = count
        elif is_rejected:
            self.dropped.append(DroppedLocation(location.id, level.sku, DropReason.REJECTED))
        else:
            self.dropped.append(_drop_reason(figure))


def _without_stock(location: Location) -> DroppedLocation:
    return DroppedLocation(location.id, None, DropReason.CLOSED if location.status == "closed" else DropReason.NO_STOCK)


def _drop_reason(figure: LocationAvailability) -> DroppedLocation:
    if figure.not_used_by is not None:
        return figure.not_used_by
    rule = figure.fired[0]
    reason = DropReason.BLOCKED if figure.blocked_by else DropReason.HELD_BACK
    return DroppedLocation(figure.location_id, figure.sku, reason, rule.name, rule.source, rule.sight)
