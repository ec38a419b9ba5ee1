"""How many units are published to a channel as sellable. What one order may use is in `order_limits`.

Per location: available units minus the buffer, 0 if an exposure rule blocks it or routing drops it.
Their sum minus the channel buffer is published: 0 at or below the cut-off, and at most the cap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from policies.decisions.buffers import NOTHING_HELD_BACK, BufferEffect, buffer_effect
from policies.decisions.eligibility import (
    RoutingQuestion,
    dropped_by_policy,
    exclude_rule_behind,
    may_split,
    policies_for,
)
from policies.decisions.ranking import RankingContext, rank_locations
from policies.domain.model import Channel, Context, Destination, OrderFacts, StockLevel, World
from policies.explanation import DroppedLocation, DropReason, FiredRule, RuleEvidence
from policies.policy_set import PLAN_STEPS, PolicySet, RoutingPolicy, Scope

NOTHING_WAIVED: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class LocationAvailability:
    """Sellable units of one product at one location for a channel. `held_back` is at most `available`."""

    location_id: str
    sku: str
    available: int
    held_back: int
    sellable: int
    blocked_by: tuple[FiredRule, ...] = ()
    not_used_by: DroppedLocation | None = None
    fired: tuple[FiredRule, ...] = ()


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

    @property
    def unpublished(self) -> int:
        """Units that the channel's cut-off or cap keeps from being published, after its buffer."""
        return sum(figure.sellable for figure in self.locations) - self.held_back_by_channel - self.sellable


def assess_availability(
    policy_set: PolicySet,
    world: World,
    channel: Channel,
    sku: str,
    *,
    method: str | None = None,
    destination: Destination | None = None,
) -> Availability:
    """Sellable units of the product for the channel. Facts of the order other than its method are unknown.

    The first routing policy that applies decides which locations are used, whatever its `otherwise`.
    """
    question = RoutingQuestion(world, channel, OrderFacts(method=method), destination)
    policy = policies_for(policy_set, question)[0]
    figures = _location_availability(policy_set, question, sku, policy)
    channel_effect = channel_buffer_effect(policy_set, question, sku, policy)
    subtotal = sum(figure.sellable for figure in figures)
    sellable = publishable_units(subtotal, channel_effect)
    remaining = max(0, subtotal - channel_effect.held_back)
    return Availability(
        sku=sku,
        sellable=sellable,
        total_available=sum(level.available for level in _open_levels(question, sku) if level.available > 0),
        held_back_by_channel=subtotal - remaining,
        cut_off_applied=channel_effect.cut_off is not None and 0 < remaining <= channel_effect.cut_off,
        capped=channel_effect.cap is not None and channel_effect.cap == sellable < remaining,
        largest_single_order=min(sellable, _largest_within_shipments(figures, question, sku, policy)),
        locations=figures,
        fired=tuple(rule for figure in figures for rule in figure.fired) + channel_effect.fired,
        policy=policy,
    )


def assess_location(
    policy_set: PolicySet,
    context: Context,
    *,
    not_used_by: DroppedLocation | None = None,
    waived: frozenset[str] = NOTHING_WAIVED,
) -> LocationAvailability:
    """Sellable units of one product at one location. Raises ValueError if the context lacks channel, location or stock.

    `not_used_by` is why the routing policy drops the location. `waived` are limits that do not apply: 'buffer',
    'blocked'.
    """
    level = context.stock
    if level is None or context.location is None or context.channel is None:
        raise ValueError("the context needs a channel, a location and a stock level")
    if not level.tracked:
        # An untracked figure may be wrong by any amount, so not even an order without limits may use it.
        not_used_by = not_used_by or DroppedLocation(level.location_id, level.sku, DropReason.UNTRACKED)
    blocked_by = () if "blocked" in waived else _blocks(policy_set, context, level)
    location_effect = (
        NOTHING_HELD_BACK if "buffer" in waived else buffer_effect(policy_set.buffers_of(Scope.LOCATION), context)
    )
    available = max(0, level.available)
    held_back = min(location_effect.held_back, available)
    used = not blocked_by and not_used_by is None
    return LocationAvailability(
        location_id=level.location_id,
        sku=level.sku,
        available=available,
        held_back=held_back,
        sellable=available - held_back if used else 0,
        blocked_by=blocked_by,
        not_used_by=not_used_by,
        fired=(exclude_rule_behind(not_used_by) if not_used_by else ()) + blocked_by + location_effect.fired,
    )


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


def _location_availability(
    policy_set: PolicySet, question: RoutingQuestion, sku: str, policy: RoutingPolicy
) -> tuple[LocationAvailability, ...]:
    figures = []
    for location in question.locations():
        level = question.level(sku, location.id)
        if level is not None:
            context = question.context(location, sku, level)
            dropped = dropped_by_policy(policy, location, question)
            figures.append(assess_location(policy_set, context, not_used_by=dropped))
    return tuple(figures)


def _blocks(policy_set: PolicySet, context: Context, level: StockLevel) -> tuple[FiredRule, ...]:
    rules = policy_set.exposure_matcher.fired(context)
    return tuple(
        [
            FiredRule(
                rule.name,
                rule.source,
                level.location_id,
                level.sku,
                f"blocked: {rule.reason}",
                RuleEvidence(rule.when, context),
            )
            for rule in rules
        ]
    )


def _open_levels(question: RoutingQuestion, sku: str) -> list[StockLevel]:
    """The product's tracked levels at locations that are not closed."""
    levels = [question.level(sku, location.id) for location in question.locations() if location.status != "closed"]
    return [level for level in levels if level is not None and level.tracked]


def _largest_within_shipments(
    figures: Sequence[LocationAvailability], question: RoutingQuestion, sku: str, policy: RoutingPolicy
) -> int:
    suppliers = [figure for figure in figures if figure.sellable > 0]
    if any(step.kind in PLAN_STEPS for step in policy.rank):
        return _largest_from(sorted(suppliers, key=lambda figure: -figure.sellable), question, sku, policy)
    sizes = {None} | {
        figure.sellable for figure in suppliers if any(step.kind == "covers_most" for step in policy.rank)
    }
    # Which locations cover an order in full depends on its size, and changes only at the units that one of them has.
    return max(_largest_up_to(size, suppliers, question, sku, policy) for size in sizes)


def _largest_up_to(
    size: int | None,
    suppliers: Sequence[LocationAvailability],
    question: RoutingQuestion,
    sku: str,
    policy: RoutingPolicy,
) -> int:
    """The most that an order of this size gets in rank order; None is an order larger than any location's stock."""
    units = {figure.location_id: figure.sellable for figure in suppliers}
    context = (
        RankingContext(question, (sku,))
        if size is None
        else RankingContext(question, (sku,), demand={sku: size}, units={sku: units})
    )
    ranked = rank_locations(policy, [question.world.locations[key] for key in units], context)
    in_order = sorted(suppliers, key=lambda figure: (ranked[figure.location_id], figure.location_id))
    largest = _largest_from(in_order, question, sku, policy)
    return largest if size is None else min(size, largest)


def _largest_from(
    suppliers: Sequence[LocationAvailability], question: RoutingQuestion, sku: str, policy: RoutingPolicy
) -> int:
    combined = sum(figure.sellable for figure in suppliers[: policy.max_shipments])
    if may_split(policy, _value(question, sku, combined)):
        return combined
    return max((figure.sellable for figure in suppliers[: policy.max_shipments]), default=0)


def _value(question: RoutingQuestion, sku: str, unit_count: int) -> Decimal | None:
    product = question.world.products.get(sku)
    return None if product is None or product.price is None else product.price * unit_count
