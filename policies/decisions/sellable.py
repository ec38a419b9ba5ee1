"""What a channel may be told that it can sell: the formula, once. What one order may take is in `order_limits`.

Per location what is available less the hold-back, 0 where exposure blocks or the routing policy would not use it;
summed; less the channel's hold-back; 0 at or below the cut-off; at most the cap.
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
    """One product at one location as a channel may see it, in units. `held_back` is at most what is available."""

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
    """What a channel may be told of one product, in units, with every location that stocks it, by id.

    `total_available` is before all rules, without closed locations and figures that are no longer tracked.
    `largest_single_order` is what one HOLD of this SKU alone can get within the policy's `max_shipments`. `policy` is
    the routing policy that would apply.
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


def assess_availability(
    policy_set: PolicySet,
    world: World,
    channel: Channel,
    sku: str,
    *,
    method: str | None = None,
    destination: Destination | None = None,
) -> Availability:
    """What the channel may be told of the product. Facts of the order beyond its method are unknown.

    Of several routing policies that apply, the first decides which locations are used, whatever its `otherwise`.
    """
    question = RoutingQuestion(world, channel, OrderFacts(method=method), destination)
    policy = policies_for(policy_set, question)[0]
    figures = _location_availability(policy_set, question, sku, policy)
    whole = channel_buffer_effect(policy_set, question, sku, policy)
    subtotal = sum(figure.sellable for figure in figures)
    sellable = publishable_units(subtotal, whole)
    remaining = max(0, subtotal - whole.held_back)
    return Availability(
        sku=sku,
        sellable=sellable,
        total_available=sum(level.available for level in _open_levels(question, sku) if level.available > 0),
        held_back_by_channel=subtotal - remaining,
        cut_off_applied=whole.cut_off is not None and 0 < remaining <= whole.cut_off,
        capped=whole.cap is not None and whole.cap == sellable < remaining,
        largest_single_order=min(sellable, _largest_within_shipments(figures, question, sku, policy)),
        locations=figures,
        fired=tuple(rule for figure in figures for rule in figure.fired) + whole.fired,
        policy=policy,
    )


def assess_location(
    policy_set: PolicySet,
    context: Context,
    *,
    not_used_by: DroppedLocation | None = None,
    lifted: frozenset[str] = NOTHING_WAIVED,
) -> LocationAvailability:
    """One product at one location. The context names channel, location and stock level; ValueError where it does not.

    `not_used_by` is why the routing policy drops the location. `lifted` names what does not bind: 'buffer', 'blocked'.
    """
    level = context.stock
    if level is None or context.location is None or context.channel is None:
        raise ValueError("the context of a location's figure names a channel, a location and a stock level")
    if not level.tracked:
        # A figure that nobody keeps any more is no figure, whatever a rule lifts.
        not_used_by = not_used_by or DroppedLocation(level.location_id, level.sku, DropReason.UNTRACKED)
    blocked_by = () if "blocked" in lifted else _blocks(policy_set, context, level)
    kept = NOTHING_HELD_BACK if "buffer" in lifted else buffer_effect(policy_set.buffers_of(Scope.LOCATION), context)
    available = max(0, level.available)
    held_back = min(kept.held_back, available)
    used = not blocked_by and not_used_by is None
    return LocationAvailability(
        location_id=level.location_id,
        sku=level.sku,
        available=available,
        held_back=held_back,
        sellable=available - held_back if used else 0,
        blocked_by=blocked_by,
        not_used_by=not_used_by,
        fired=(exclude_rule_behind(not_used_by) if not_used_by else ()) + blocked_by + kept.fired,
    )


def channel_buffer_effect(
    policy_set: PolicySet,
    question: RoutingQuestion,
    sku: str,
    policy: RoutingPolicy,
    lifted: frozenset[str] = NOTHING_WAIVED,
) -> BufferEffect:
    """What the `scope: channel` rules hold back of the product; their stock is what the channel may use of it."""
    files = policy_set.buffers_of(Scope.CHANNEL)
    if not files:
        return NOTHING_HELD_BACK
    usable = [
        level
        for level in _open_levels(question, sku)
        if _may_use(policy_set, question, policy, level, blocked_too="blocked" in lifted)
    ]
    return buffer_effect(files, question.context(sku=sku, stock=channel_level(sku, usable)))


def _may_use(
    policy_set: PolicySet, question: RoutingQuestion, policy: RoutingPolicy, level: StockLevel, *, blocked_too: bool
) -> bool:
    location = question.world.locations[level.location_id]
    if dropped_by_policy(policy, location, question) is not None:
        return False
    return blocked_too or not policy_set.exposure_matcher.fired(question.context(location, level.sku, level))


def channel_level(sku: str, levels: Sequence[StockLevel]) -> StockLevel:
    """Levels of one product as a single one, without a location.

    A location below its promises counts as nothing available, not as less. The figure is as old as its oldest part.
    """
    on_hand, unavailable = sum(level.on_hand for level in levels), sum(level.unavailable for level in levels)
    held, available = sum(level.held for level in levels), sum(max(0, level.available) for level in levels)
    return StockLevel(
        sku=sku,
        location_id="",
        on_hand=on_hand,
        unavailable=unavailable,
        held=held,
        allocated=on_hand - unavailable - held - available,
        as_of_time=min((level.as_of_time for level in levels if level.as_of_time is not None), default=None),
    )


def publishable_units(subtotal: int, whole: BufferEffect) -> int:
    """What remains of the locations' sum after the channel's hold-back, its cut-off and its cap, in that order."""
    remaining = max(0, subtotal - whole.held_back)
    if whole.cut_off is not None and remaining <= whole.cut_off:
        return 0
    return remaining if whole.cap is None else min(remaining, whole.cap)


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
                one.name,
                one.source,
                level.location_id,
                level.sku,
                f"blocked: {one.reason}",
                RuleEvidence(one.when, context),
            )
            for one in rules
        ]
    )


def _open_levels(question: RoutingQuestion, sku: str) -> list[StockLevel]:
    """The product's levels that anybody may sell from."""
    levels = [question.level(sku, place.id) for place in question.locations() if place.status != "closed"]
    return [level for level in levels if level is not None and level.tracked]


def _largest_within_shipments(
    figures: Sequence[LocationAvailability], question: RoutingQuestion, sku: str, policy: RoutingPolicy
) -> int:
    giving = [figure for figure in figures if figure.sellable > 0]
    if any(step.kind in PLAN_STEPS for step in policy.rank):
        return _largest_from(sorted(giving, key=lambda figure: -figure.sellable), question, sku, policy)
    sizes = {None} | {figure.sellable for figure in giving if any(step.kind == "covers_most" for step in policy.rank)}
    # Which location covers an order whole depends on its size, and turns only at what one of them has.
    return max(_largest_up_to(size, giving, question, sku, policy) for size in sizes)


def _largest_up_to(
    size: int | None, giving: Sequence[LocationAvailability], question: RoutingQuestion, sku: str, policy: RoutingPolicy
) -> int:
    """The most that an order of so many units gets in rank order; None for one larger than what any location has."""
    units = {figure.location_id: figure.sellable for figure in giving}
    wish = (
        RankingContext(question, (sku,))
        if size is None
        else RankingContext(question, (sku,), wanted={sku: size}, units={sku: units})
    )
    ranked = rank_locations(policy, [question.world.locations[key] for key in units], wish)
    in_order = sorted(giving, key=lambda figure: (ranked[figure.location_id], figure.location_id))
    largest = _largest_from(in_order, question, sku, policy)
    return largest if size is None else min(size, largest)


def _largest_from(
    giving: Sequence[LocationAvailability], question: RoutingQuestion, sku: str, policy: RoutingPolicy
) -> int:
    several = sum(figure.sellable for figure in giving[: policy.max_shipments])
    if may_split(policy, _value(question, sku, several)):
        return several
    return max((figure.sellable for figure in giving[: policy.max_shipments]), default=0)


def _value(question: RoutingQuestion, sku: str, unit_count: int) -> Decimal | None:
    product = question.world.products.get(sku)
    return None if product is None or product.price is None else product.price * unit_count
