"""How many units one order may use of each product at each location, and how many of them the buffer supplied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from policies.decisions.buffers import BufferEffect
from policies.decisions.eligibility import RoutingQuestion, dropped_by_policy, exclude_rule_behind
from policies.decisions.sellable import (
    NOTHING_WAIVED,
    LocationAvailability,
    assess_location,
    channel_buffer_effect,
    publishable_units,
)
from policies.domain.model import Commitment, Location, Order, StockLevel
from policies.explanation import DroppedLocation, DropReason, FiredRule
from policies.policy_set import PolicySet, RoutingPolicy


@dataclass(frozen=True, slots=True)
class UsableUnits:
    """Units that one order may use. `units` are by SKU and then location id, none of them 0.

    `limits` are the most units of a SKU over all locations; a SKU without a limit is limited by `units` alone.
    `kept_units`, by SKU, are those that the order keeps at these locations; they are in neither. `figures` are those of
    the locations' stock, and `channel_rules`, by SKU, the rules of the channel's buffer that fired.
    """

    units: Mapping[str, Mapping[str, int]]
    limits: Mapping[str, int]
    kept_units: Mapping[str, int]
    figures: tuple[LocationAvailability, ...] = ()
    channel_rules: Mapping[str, tuple[FiredRule, ...]] = field(default_factory=dict)
    dropped: tuple[DroppedLocation, ...] = ()
    fired: tuple[FiredRule, ...] = ()

    def total(self, sku: str) -> int:
        """Units of the product that the order may use at all locations together."""
        total = sum(self.units.get(sku, {}).values())
        return min(total, self.limits.get(sku, total))


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
    for location in question.locations():
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
        figures=tuple(offered.figures),
        channel_rules={sku: effect.fired for sku, effect in channel_effects.items()},
        dropped=tuple(offered.dropped),
        fired=tuple(fired),
    )


def waived_limits(order: Order, policy: RoutingPolicy) -> frozenset[str]:
    """Which of the limits 'buffer' and 'blocked' do not apply to the order."""
    return policy.sold_may_use if order.commitment is Commitment.SOLD else NOTHING_WAIVED


def choice_allows(order: Order, location_id: str) -> bool:
    """Whether the shopper's choice of a pickup location allows this one; without a choice all are allowed."""
    return order.method != "pickup" or order.pickup_location_id in (None, location_id)


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
    yield from (location for location in question.locations() if location.id not in placed)


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
            self.dropped.append(_drop_reason(figure))


def _without_stock(location: Location) -> DroppedLocation:
    return DroppedLocation(location.id, None, DropReason.CLOSED if location.status == "closed" else DropReason.NO_STOCK)


def _drop_reason(figure: LocationAvailability) -> DroppedLocation:
    if figure.not_used_by is not None:
        return figure.not_used_by
    if not figure.blocked_by and not figure.held_back:
        # The order itself keeps all units that are there.
        return DroppedLocation(figure.location_id, figure.sku, DropReason.NO_STOCK)
    rule = figure.fired[0]
    reason = DropReason.BLOCKED if figure.blocked_by else DropReason.HELD_BACK
    return DroppedLocation(figure.location_id, figure.sku, reason, rule.name, rule.source, rule.evidence)
