"""How many units one order may use of each product at each location, and how many of them the buffer supplied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, inf
from typing import Final

from policies.decisions.availability.location_availability import NOTHING_WAIVED, LocationAvailability
from policies.decisions.availability.sellable import (
    channel_buffer_effect,
    most_held_back_by_channel,
    publishable_units,
    units_held_back_by_channel,
)
from policies.decisions.buffers import BufferEffect
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.product_stock import Assessments
from policies.domain.model import Commitment, Order
from policies.domain.placement import ANYWHERE
from policies.explanation import DroppedLocation, DropReason, FiredRule
from policies.policy_set import RoutingPolicy


@dataclass(slots=True, unsafe_hash=True)
class UsableUnits:
    """Units that one order may use. `units` are by SKU and then location id, none of them 0.

    `limits` are the most units of a SKU over all locations; a SKU without a limit is limited by `units` alone.
    `kept_units`, by SKU, are those that the order keeps at these locations; they are in neither. `figures` are those of
    the locations' stock, and `channel_rules`, by SKU, the rules of the channel's buffer that fired.
    `outside_outlet` are units, by SKU, that the order could use at other locations if no outlet had been chosen, and
    `too_late` those at locations that cannot keep its dates.
    """

    units: Final[Mapping[str, Mapping[str, int]]]
    limits: Final[Mapping[str, int]]
    kept_units: Final[Mapping[str, int]]
    figures: Final[tuple[LocationAvailability, ...]] = ()
    channel_rules: Final[Mapping[str, tuple[FiredRule, ...]]] = field(default_factory=dict)
    dropped: Final[tuple[DroppedLocation, ...]] = ()
    fired: Final[tuple[FiredRule, ...]] = ()
    outside_outlet: Final[Mapping[str, int]] = field(default_factory=dict)
    too_late: Final[Mapping[str, int]] = field(default_factory=dict)
    beyond_capacity: Final[Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Units, by SKU and location id, that the order could use if their locations were not full."""

    def total_beyond_capacity(self, sku: str) -> int:
        """Units of the product that the order could use if their locations were not full."""
        return sum(self.beyond_capacity.get(sku, {}).values())

    def total(self, sku: str) -> int:
        """Units of the product that the order may use at all locations together."""
        total = sum(self.units.get(sku, {}).values())
        return min(total, self.limits.get(sku, total))


def usable_units(view: PolicyView, order: Order) -> UsableUnits:
    """Units that the order may use under the policy of the view.

    Buffers and blocks limit a HOLD, and a SOLD order without `sold_may_use`; cut-off and cap limit only a HOLD.
    `own_units` of the question, already promised to the order, stay usable despite buffers and blocks as far as they
    are available. A (sku, location id) in `rejected_by` supplies only `own_units`. If the order is a part of a whole,
    its units are those that the whole order may use less those that it keeps: no buffer is used up part by part.
    """
    skus = tuple(order.units_by_sku())
    waived = waived_limits(order, view.policy)
    channel_effects = {} if "buffer" in waived else {sku: channel_buffer_effect(view, sku, waived) for sku in skus}
    # A buffer on the channel's total does not limit a chosen store or outlet as long as the other stores cover it.
    visits_others = any(effect.fired for effect in channel_effects.values())
    offered = _UnitSurvey(view, skus, waived)
    outside, others = _survey_locations(view, order, offered, visits_others=visits_others)
    surveys = [x for x in (offered, others, outside) if x is not None]
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
        outside_outlet={} if outside is None else {sku: sum(units.values()) for sku, units in outside.units.items()},
        too_late=offered.late_units,
    )


def _survey_locations(
    view: PolicyView, order: Order, offered: _UnitSurvey, *, visits_others: bool
) -> tuple[_UnitSurvey | None, _UnitSurvey | None]:
    """Visits the locations; the surveys of those outside the chosen outlet, and of others that were not chosen."""
    pause = view.question.world.pause
    outside = others = None
    if order.outlet is None and (order.method != "pickup" or order.pickup_location_id is None):
        for number in range(len(view.memory.locations)):
            pause()
            offered.visit(number)
        return outside, others
    others = _UnitSurvey(view, offered.skus, offered.waived)
    outside = None if order.outlet is None else _UnitSurvey(view, offered.skus, offered.waived)
    for number, location in enumerate(view.memory.locations):
        pause()
        if choice_allows(order, location.id):
            offered.visit(number)
        elif outside is not None and order.outlet is not None and location.id not in order.outlet.location_ids:
            offered.dropped.append(view.memory.outside_outlet[number])
            outside.visit(number)
        else:
            offered.dropped.append(view.memory.not_chosen[number])
            if visits_others:
                others.visit(number)
    return outside, others


def waived_limits(order: Order, policy: RoutingPolicy) -> frozenset[str]:
    """Which of the limits 'buffer' and 'blocked' do not apply to the order."""
    return policy.sold_may_use if order.commitment is Commitment.SOLD else NOTHING_WAIVED


def choice_allows(order: Order, location_id: str) -> bool:
    """Whether the chosen pickup location and outlet allow this location; without a choice all are allowed."""
    if order.outlet is not None and location_id not in order.outlet.location_ids:
        return False
    return order.method != "pickup" or order.pickup_location_id in (None, location_id)


def units_saved_by_buffers(view: PolicyView, order: Order, placed: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Units of each SKU that were placed only because the order may use the buffer; SKUs without any are omitted.

    `placed` is by (sku, location id). Cut-off and cap do not matter here: neither limits a SOLD order.
    """
    if "buffer" not in waived_limits(order, view.policy):
        return {}
    saved = {}
    for sku in dict.fromkeys(sku for sku, _ in placed):
        view.question.world.pause()
        placed_units = {location_id: count for (key, location_id), count in placed.items() if key == sku}
        count = sum(placed_units.values()) - _units_without_buffer(view, order, sku, placed_units)
        if count > 0:
            saved[sku] = count
    return saved


def _units_without_buffer(view: PolicyView, order: Order, sku: str, placed: Mapping[str, int]) -> int:
    """Units that the order could have had without the buffer; stops once they are as many as those placed."""
    waived, placed_count = waived_limits(order, view.policy), sum(placed.values())
    most = most_held_back_by_channel(view, sku)
    if most < inf and _units_beside_buffers(view, order, sku, placed, ceil(most)) >= placed_count:
        return placed_count
    # Exposure rules were evaluated with the order's own limits, and buffers do not change what they say.
    held_back = units_held_back_by_channel(view, sku, waived)
    return _units_beside_buffers(view, order, sku, placed, held_back)


def _units_beside_buffers(view: PolicyView, order: Order, sku: str, placed: Mapping[str, int], held_back: int) -> int:
    """As `_units_without_buffer`, if the channel's buffer holds back so many units of all locations together."""
    waived, placed_count = waived_limits(order, view.policy), sum(placed.values())
    placements = [line.placement for line in order.lines if line.sku == sku and line.placement is not ANYWHERE]
    is_restricted = len(placements) == sum(line.sku == sku for line in order.lines)
    offered = everywhere = 0
    for number in _source_locations_first(view, placed):
        if offered >= placed_count and everywhere >= placed_count + held_back:
            break
        location_id = view.memory.locations[number].id
        is_allowed = choice_allows(order, location_id)
        if is_restricted:
            is_allowed = is_allowed and any(placement.allows(location_id) for placement in placements)
        is_allowed = is_allowed and (view.late is None or view.late[number] is None or location_id in placed)
        if is_allowed or held_back:
            count = _units_beside_buffer(view, sku, number, waived)
            offered, everywhere = offered + count * is_allowed, everywhere + count
    return min(offered, max(0, everywhere - held_back))


def _units_beside_buffer(view: PolicyView, sku: str, number: int, waived: frozenset[str]) -> int:
    """Units that the order could use at a location if its buffers applied to the order."""
    stock = view.stock(sku)
    if stock.available[number] <= 0 or view.eligibility.drops[number] is not None:
        return 0
    figure = stock.assessments(waived).figures[number]
    sellable = max(0, figure.sellable - stock.held_back[number])
    return _claimable(view.question, figure, sellable).count


def _source_locations_first(view: PolicyView, placed: Mapping[str, int]) -> Iterator[int]:
    numbers = view.memory.numbers
    yield from (numbers[location_id] for location_id in placed)
    yield from (number for location_id, number in numbers.items() if location_id not in placed)


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

    view: PolicyView
    skus: tuple[str, ...]
    waived: frozenset[str]
    units: dict[str, dict[str, int]] = field(init=False)
    promised_units: dict[str, int] = field(default_factory=dict)
    kept_units: dict[str, int] = field(default_factory=dict)
    rejected_units: dict[str, int] = field(default_factory=dict)
    """Units that the order does not get at locations that rejected it or are too late; others may, so they cover a
    channel buffer."""
    late_units: dict[str, int] = field(default_factory=dict)
    """Of these, those at locations that are too late."""
    figures: list[LocationAvailability] = field(default_factory=list)
    dropped: list[DroppedLocation] = field(default_factory=list)
    fired: list[FiredRule] = field(default_factory=list)
    _stocks: list[tuple[str, list[int], Assessments, dict[str, int]]] = field(init=False)
    """SKUs with the available units and the assessments of their levels, and the units found so far, as in `units`."""
    _claimed: frozenset[tuple[str, str]] = field(init=False)
    """The (sku, location id) where the order has units already, or was rejected."""

    def __post_init__(self) -> None:
        self.units = {sku: {} for sku in self.skus}
        stocks = [(sku, self.view.stock(sku)) for sku in self.skus]
        self._stocks = [(x, stock.available, stock.assessments(self.waived), self.units[x]) for x, stock in stocks]
        question = self.view.question
        self._claimed = frozenset([*question.own_units, *question.kept_units, *question.rejected_by])

    def visit(self, number: int) -> None:
        stocked = [stock for stock in self._stocks if stock[1][number] > 0]
        # Most locations of a large chain stock none of an order's products, so no rules are evaluated for them.
        if not stocked:
            self.dropped.append(self.view.memory.without_stock[number])
            return
        eligibility = self.view.eligibility
        dropped = eligibility.drops[number]
        if dropped is not None:
            self.dropped.append(dropped)
            self.fired += eligibility.exclude_rules[number]
            return
        late = self.view.late[number] if self.view.late is not None else None
        claimed = self._claimed
        for sku, _, assessments, units in stocked:
            figure = assessments.figures[number]
            self.figures.append(figure if late is None else replace(figure, not_used_by=late))
            if figure.fired:
                self.fired += figure.fired
            if late is not None:
                self._add_claimed(figure, number, assessments, late)
            elif claimed and (sku, figure.location_id) in claimed:
                self._add_claimed(figure, number, assessments)
            elif figure.sellable:
                units[figure.location_id] = figure.sellable
            else:
                self.dropped.append(assessments.drops[number])

    def _add_claimed(
        self, figure: LocationAvailability, number: int, assessments: Assessments, late: DroppedLocation | None = None
    ) -> None:
        """Adds the units of a level of which the order has some already, that rejected it, or that is too `late`."""
        sku = figure.sku
        claim = _claimable(self.view.question, figure, figure.sellable, is_late=late is not None)
        self.promised_units[sku] = self.promised_units.get(sku, 0) + claim.own_units
        self.kept_units[sku] = self.kept_units.get(sku, 0) + claim.kept_units
        if claim.is_rejected:
            unused = max(0, figure.sellable - claim.kept_units - claim.own_units)
            self.rejected_units[sku] = self.rejected_units.get(sku, 0) + unused
            if late is not None:
                self.late_units[sku] = self.late_units.get(sku, 0) + unused
        if claim.count:
            self.units[sku][figure.location_id] = claim.count
        elif late is not None and figure.sellable:
            self.dropped.append(
                DroppedLocation(figure.location_id, sku, late.reason, late.rule, late.source, late.evidence)
            )
        elif claim.is_rejected and late is None:
            self.dropped.append(DroppedLocation(figure.location_id, sku, DropReason.REJECTED))
        else:
            self.dropped.append(assessments.drops[number])


@dataclass(slots=True, unsafe_hash=True)
class _Claim:
    """What an order may use of one level: `count` units, besides those that it keeps there."""

    count: Final[int]
    own_units: Final[int]
    kept_units: Final[int]
    is_rejected: Final[bool]


def _claimable(
    question: RoutingQuestion, figure: LocationAvailability, sellable: int, *, is_late: bool = False
) -> _Claim:
    """What the order may use if rules leave `sellable` units to it; its own units are there despite them.

    A location that is too late for new units keeps those that it has promised, like one that rejected others.
    """
    key = (figure.sku, figure.location_id)
    kept_units = min(question.kept_units.get(key, 0), figure.available)
    own_units = min(question.own_units.get(key, 0), figure.available - kept_units)
    is_rejected = is_late or key in question.rejected_by
    return _Claim(
        own_units if is_rejected else max(sellable - kept_units, own_units), own_units, kept_units, is_rejected
    )
