"""How many units are published to a channel as sellable. What one order may use is in `order_limits`.

Per location: available units minus the buffer, 0 if an exposure rule blocks it or routing drops it.
Their sum minus the channel buffer is published: 0 at or below the cut-off, and at most the cap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from policies.decisions.availability.delivery_days import (
    DeliveryDay,
    DeliveryOption,
    SoldAlone,
    best_days,
    delivery_options,
)
from policies.decisions.availability.location_availability import NOTHING_WAIVED, LocationAvailability, assess_location
from policies.decisions.availability.split_orders import largest_split_order, price_of, value_of
from policies.decisions.buffers import (
    NOTHING_HELD_BACK,
    BufferEffect,
    buffer_effect,
    most_units_held_back,
    units_held_back,
)
from policies.decisions.eligibility import RoutingQuestion, may_split, policies_for
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.planning.ranking import RankingContext, rank_locations
from policies.domain.handling_times import most_of_one_order
from policies.domain.kits import Kit
from policies.domain.model import Channel, Context, Destination, OrderFacts, StockLevel, World, tags_of, weight_of
from policies.explanation import FiredRule
from policies.policy_set import PLAN_STEPS, PolicySet, RoutingPolicy, Scope


@dataclass(frozen=True, slots=True)
class KitFigures:
    """What makes up the sellable kits of one kit.

    `components` are sellable units of its components by SKU, as each could be sold alone. `levels` are the kits at each
    location before all rules; those that are on hand and not available are unavailable, or else allocated, because a
    component is. `split_count` kits are made up by several locations together and are in the figure of none.
    """

    kit: Kit
    components: Mapping[str, int] = field(hash=False)
    levels: Mapping[str, StockLevel] = field(hash=False)
    split_count: int = 0


@dataclass(frozen=True, slots=True)
class Availability:
    """Sellable units of one product for a channel, with every location that stocks it, sorted by id.

    `total_available` is before all rules, without closed locations and untracked levels. `largest_single_order` is the
    most that one HOLD of this SKU alone can get within the policy's `max_shipments`. `policy` is the routing policy
    that would apply.
    """

    sku: str
    sellable: int
    total_available: int
    held_back_by_channel: int
    cut_off_applied: bool
    capped: bool
    largest_single_order: int
    locations: tuple[LocationAvailability, ...]
    fired: tuple[FiredRule, ...]
    policy: RoutingPolicy
    kit: KitFigures | None = None
    """Set if it is a kit; all figures above are then in whole kits."""
    delivery_options: tuple[DeliveryOption, ...] = ()
    """By which day orders of which sizes arrive, if that was asked for."""
    in_one_order: Mapping[str, int] = field(default_factory=dict, hash=False)
    """By location id the most of one order that it can handle, where a location's capacity is limited."""

    @property
    def delivery_days(self) -> tuple[DeliveryDay, ...]:
        """The days by which one order can get more than by the day before, in their order."""
        return best_days(self.delivery_options)

    @property
    def unpublished(self) -> int:
        """Units that the channel's cut-off or cap keeps from being published, after its buffer."""
        split_count = 0 if self.kit is None else self.kit.split_count
        subtotal = sum(figure.sellable for figure in self.locations) + split_count
        return subtotal - self.held_back_by_channel - self.sellable


def assess_availability(
    policy_set: PolicySet,
    world: World,
    channel: Channel,
    sku: str,
    *,
    method: str | None = None,
    destination: Destination | None = None,
    by_day: bool = False,
) -> Availability:
    """Sellable units of the product for the channel.

    Of the order, rules see its method and the tags of the product; its other facts are unknown.

    The first routing policy that applies decides which locations are used, whatever its `otherwise`. `by_day` asks for
    the days of delivery too.
    """
    question = RoutingQuestion(
        world, channel, OrderFacts(method=method, product_tags=tags_of([sku], world.products)), destination
    )
    policy = policies_for(policy_set, question)[0]
    view = PolicyView(policy_set, question, policy)
    figures = _location_availability(view, sku)
    channel_effect = channel_buffer_effect(view, sku)
    subtotal = sum(figure.sellable for figure in figures)
    sellable = publishable_units(subtotal, channel_effect)
    remaining = max(0, subtotal - channel_effect.held_back)
    handled = with_room(figures, view)

    def largest_in_time(in_time: Sequence[LocationAvailability]) -> int:
        return _largest_single_order(in_time, view, sku, sellable)

    return Availability(
        sku=sku,
        sellable=sellable,
        total_available=sum(level.available for _, level in _tracked_levels(view, sku) if level.available > 0),
        held_back_by_channel=subtotal - remaining,
        cut_off_applied=channel_effect.cut_off is not None and 0 < remaining <= channel_effect.cut_off,
        capped=channel_effect.cap is not None and channel_effect.cap == sellable < remaining,
        largest_single_order=_largest_single_order(handled, view, sku, sellable),
        locations=figures,
        fired=tuple(rule for figure in figures for rule in figure.fired) + channel_effect.fired,
        policy=policy,
        delivery_options=delivery_options(view, figures, largest_in_time, _sold_alone(question, sku)) if by_day else (),
        in_one_order={figure.location_id: figure.sellable for figure in handled} if view.memory.limited_ids else {},
    )


def _sold_alone(question: RoutingQuestion, sku: str) -> SoldAlone:
    products = question.world.products
    return SoldAlone(1, price_of(question, sku), weight_of({sku: 1}, products), tags_of([sku], products))


def channel_buffer_effect(view: PolicyView, sku: str, waived: frozenset[str] = NOTHING_WAIVED) -> BufferEffect:
    """The effect of the `scope: channel` rules on the product; the stock that they see is what the channel may use."""
    files = view.policy_set.buffers_of(Scope.CHANNEL)
    return buffer_effect(files, _channel_context(view, sku, waived)) if files else NOTHING_HELD_BACK


def units_held_back_by_channel(view: PolicyView, sku: str, waived: frozenset[str] = NOTHING_WAIVED) -> int:
    """The units that `channel_buffer_effect` holds back."""
    files = view.policy_set.buffers_of(Scope.CHANNEL)
    return units_held_back(files, _channel_context(view, sku, waived)) if files else 0


def most_held_back_by_channel(view: PolicyView, sku: str) -> float:
    """At most so many units does `channel_buffer_effect` hold back; infinite if its rules have no bound."""
    files = view.policy_set.buffers_of(Scope.CHANNEL)
    if not files:
        return 0
    available = sum([count for count in view.stock(sku).available if count > 0])
    return most_units_held_back(files, view.question.context(sku=sku), available)


def _channel_context(view: PolicyView, sku: str, waived: frozenset[str]) -> Context:
    # Only stock that the channel may use counts here. When all stock counted, a store under stocktake raised TikTok's
    # buffer until it took the warehouse's last units.
    drops, figures = view.eligibility.drops, view.stock(sku).assessments(waived).figures
    usable = [
        level
        for number, level in _tracked_levels(view, sku)
        if drops[number] is None and not figures[number].blocked_by
    ]
    return view.question.context(sku=sku, stock=channel_level(sku, usable))


def channel_level(sku: str, levels: Sequence[StockLevel]) -> StockLevel:
    """What rules about a channel see of one product: its units on hand and those available, over all levels.

    A location with more promises than stock counts as 0 available. Whatever is not available counts as allocated.
    """
    on_hand, available = sum(level.on_hand for level in levels), sum(max(0, level.available) for level in levels)
    return StockLevel(sku, location_id="", on_hand=on_hand, allocated=on_hand - available)


def publishable_units(subtotal: int, channel_effect: BufferEffect) -> int:
    """The locations' sum after the channel's buffer, cut-off and cap, in that order."""
    remaining = max(0, subtotal - channel_effect.held_back)
    if channel_effect.cut_off is not None and remaining <= channel_effect.cut_off:
        return 0
    return remaining if channel_effect.cap is None else min(remaining, channel_effect.cap)


def _location_availability(view: PolicyView, sku: str) -> tuple[LocationAvailability, ...]:
    stock, drops = view.stock(sku), view.eligibility.drops
    figures = stock.assessments(NOTHING_WAIVED).figures
    return tuple(
        [
            figures[number] if drops[number] is None else _unused(view, number, level)
            for number, level in enumerate(stock.levels)
            if level is not None
        ]
    )


def _unused(view: PolicyView, number: int, level: StockLevel) -> LocationAvailability:
    """The figure of a location that the routing policy drops."""
    context = view.question.context(view.memory.locations[number], level.sku, level)
    return assess_location(view.policy_set, context, not_used_by=view.eligibility.drops[number])


def _tracked_levels(view: PolicyView, sku: str) -> list[tuple[int, StockLevel]]:
    """The product's tracked levels at locations that are not closed, with the location's numbers."""
    locations = view.memory.locations
    return [
        (number, level)
        for number, level in enumerate(view.stock(sku).levels)
        if level is not None and level.tracked and locations[number].status != "closed"
    ]


def with_room(
    figures: Sequence[LocationAvailability], view: PolicyView, units_each: int = 1
) -> Sequence[LocationAvailability]:
    """The figures with what each location can handle of one order, where its capacity is limited.

    They count things of `units_each` units.
    """
    if not view.memory.limited_ids:
        return figures
    world, locations = view.question.world, view.memory.catalog
    handled = []
    for figure in figures:
        most = most_of_one_order(locations[figure.location_id], world.now, world.capacity_figures)
        handled.append(replace(figure, sellable=int(min(figure.sellable, most / units_each))))
    return handled


def _largest_single_order(figures: Sequence[LocationAvailability], view: PolicyView, sku: str, sellable: int) -> int:
    """The most that one order gets of what locations can handle of one."""
    suppliers = [figure for figure in figures if figure.sellable > 0]
    largest = min(sellable, _largest_within_shipments(suppliers, view, sku))
    if view.policy.split_only_if is None:
        return largest
    from_one = min(sellable, _largest_within_shipments(suppliers, view, sku, is_split=False))
    return largest_split_order(view, sku, {x.location_id: x.sellable for x in suppliers}, from_one, largest)


def _largest_within_shipments(
    suppliers: Sequence[LocationAvailability], view: PolicyView, sku: str, *, is_split: bool = True
) -> int:
    if any(step.kind in PLAN_STEPS for step in view.policy.rank):
        return _largest_from(sorted(suppliers, key=lambda figure: -figure.sellable), view, sku, is_split)
    sizes = {None} | {
        figure.sellable for figure in suppliers if any(step.kind == "covers_most" for step in view.policy.rank)
    }
    # Which locations cover an order in full depends on its size, and changes only at the units that one of them has.
    return max(_largest_up_to(size, suppliers, view, sku, is_split) for size in sizes)


def _largest_up_to(
    size: int | None, suppliers: Sequence[LocationAvailability], view: PolicyView, sku: str, is_split: bool
) -> int:
    """The most that an order of this size gets in rank order; None is an order larger than any location's stock."""
    units = {figure.location_id: figure.sellable for figure in suppliers}
    context = (
        RankingContext(view, (sku,))
        if size is None
        else RankingContext(view, (sku,), demand={sku: size}, units={sku: units})
    )
    ranked = rank_locations(context, units)
    in_order = sorted(suppliers, key=lambda figure: (ranked[figure.location_id], figure.location_id))
    largest = _largest_from(in_order, view, sku, is_split)
    return largest if size is None else min(size, largest)


def _largest_from(suppliers: Sequence[LocationAvailability], view: PolicyView, sku: str, is_split: bool) -> int:
    policy = view.policy
    combined = sum(figure.sellable for figure in suppliers[: policy.max_shipments])
    if is_split and may_split(policy, value_of(view.question, sku, combined)):
        return combined
    # The first is the largest, or the one that ships what it has where no step compares plans.
    return suppliers[0].sellable if suppliers else 0
