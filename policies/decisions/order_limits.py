"""How many units one order may use of each product at each location, and how many of them the buffer supplied."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
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
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.unit_survey import UnitSurvey, claimable
from policies.domain.model import Commitment, Order
from policies.domain.placement import ANYWHERE
from policies.explanation import DroppedLocation, FiredRule
from policies.policy_set import RoutingPolicy


def _no_figures(sku: str) -> Sequence[LocationAvailability]:
    return ()


@dataclass(slots=True, unsafe_hash=True)
class UsableUnits:
    """Units that one order may use. `units` are by SKU and then location id, none of them 0.

    `limits` are the most units of a SKU over all locations; a SKU without a limit is limited by `units` alone.
    `kept_units`, by SKU, are those that the order keeps at these locations; they are in neither. `figures` are those of
    the locations' stock of a SKU, made on request, since few orders need them. `channel_rules`, by SKU, are the rules
    of the channel's buffer that fired.
    `outside_outlet` are units, by SKU, that the order could use at other locations if no outlet had been chosen, and
    `too_late` those at locations that cannot keep its dates.
    """

    units: Final[Mapping[str, Mapping[str, int]]]
    limits: Final[Mapping[str, int]]
    kept_units: Final[Mapping[str, int]]
    figures: Final[Callable[[str], Sequence[LocationAvailability]]] = field(default=_no_figures, compare=False)
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
    offered = UnitSurvey(view, skus, waived)
    outside, others = _survey_locations(view, order, offered, visits_others=visits_others)
    surveys = [x for x in (offered, others, outside) if x is not None]
    limits = {sku: _limit(order, sku, effect, surveys) for sku, effect in channel_effects.items() if effect.fired}
    fired = [*offered.fired, *(rule for effect in channel_effects.values() for rule in effect.fired)]
    return UsableUnits(
        units=offered.units,
        limits=limits,
        kept_units=offered.kept_units,
        figures=offered.figures,
        channel_rules={sku: effect.fired for sku, effect in channel_effects.items()},
        dropped=tuple(offered.dropped),
        fired=tuple(fired),
        outside_outlet={} if outside is None else {sku: sum(units.values()) for sku, units in outside.units.items()},
        too_late=offered.late_units,
    )


def _survey_locations(
    view: PolicyView, order: Order, offered: UnitSurvey, *, visits_others: bool
) -> tuple[UnitSurvey | None, UnitSurvey | None]:
    """Visits the locations; the surveys of those outside the chosen outlet, and of others that were not chosen."""
    outside = others = None
    if order.outlet is None and (order.method != "pickup" or order.pickup_location_id is None):
        offered.visit_all()
        return outside, others
    others = UnitSurvey(view, offered.skus, offered.waived)
    outside = None if order.outlet is None else UnitSurvey(view, offered.skus, offered.waived)
    for number, location in enumerate(view.memory.locations):
        view.question.world.pause()
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
    available = stock.available[number]
    if available <= 0 or view.eligibility.drops[number] is not None:
        return 0
    sellable = max(0, stock.assessments(waived).sellable(number) - stock.held_back[number])
    return claimable(view.question, (sku, view.memory.locations[number].id), available, sellable).count


def _source_locations_first(view: PolicyView, placed: Mapping[str, int]) -> Iterator[int]:
    numbers = view.memory.numbers
    yield from (numbers[location_id] for location_id in placed)
    yield from (number for location_id, number in numbers.items() if location_id not in placed)


def _limit(order: Order, sku: str, channel_effect: BufferEffect, surveys: list[UnitSurvey]) -> int:
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
