"""Sellable units of one product at one location: after exposure rules and the location's buffers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from policies.decisions.buffers import NOTHING_HELD_BACK, BufferEffect, buffer_effect
from policies.decisions.eligibility import exclude_rule_behind
from policies.domain.model import Context, StockLevel
from policies.explanation import DroppedLocation, DropReason, FiredRule, RuleEvidence
from policies.policy_set import BufferFile, ExposureRule, PolicySet, Scope

NOTHING_WAIVED: frozenset[str] = frozenset()


@dataclass(slots=True, unsafe_hash=True)
class LocationAvailability:
    """Sellable units of one product at one location for a channel. `held_back` is at most `available`."""

    location_id: Final[str]
    sku: Final[str]
    available: Final[int]
    held_back: Final[int]
    sellable: Final[int]
    blocked_by: Final[tuple[FiredRule, ...]] = ()
    not_used_by: Final[DroppedLocation | None] = None
    fired: Final[tuple[FiredRule, ...]] = ()
    is_restricted: Final[bool] = False
    """Whether the first of `blocked_by` is a restriction: the location may not send the product to anybody's order."""


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
    fired, files = limits_without(policy_set, waived)
    effect = buffer_effect(files, context) if files else NOTHING_HELD_BACK
    return location_figure(context, fired(context), effect, not_used_by)


def limits_without(
    policy_set: PolicySet, waived: frozenset[str]
) -> tuple[Callable[[Context], tuple[ExposureRule, ...]], Sequence[BufferFile]]:
    """The exposure rules that fire in a context, and the files with buffers of locations, without the waived limits."""
    if "blocked" not in waived:
        fired = policy_set.exposure_matcher.fired
    else:
        restrictions = policy_set.restriction_matcher
        fired = _nothing_fires if restrictions is None else restrictions.fired
    return fired, () if "buffer" in waived else policy_set.buffers_of(Scope.LOCATION)


def _nothing_fires(context: Context) -> tuple[ExposureRule, ...]:
    return ()


def location_figure(
    context: Context,
    blocking: tuple[ExposureRule, ...],
    location_effect: BufferEffect,
    not_used_by: DroppedLocation | None = None,
) -> LocationAvailability:
    """As `assess_location`, by the exposure rules that fire, and the effect of the buffers that do."""
    level = context.stock
    if level is None or context.location is None or context.channel is None:
        raise ValueError("the context needs a channel, a location and a stock level")
    if not level.tracked:
        # An untracked figure may be wrong by any amount, so not even an order without limits may use it.
        not_used_by = not_used_by or DroppedLocation(level.location_id, level.sku, DropReason.UNTRACKED)
    if len(blocking) > 1:
        blocking = tuple(sorted(blocking, key=lambda rule: not rule.is_restriction))
    blocked_by = _blocks(blocking, context, level) if blocking else ()
    available = max(0, level.available)
    held_back = min(location_effect.held_back, available)
    used = not blocked_by and not_used_by is None
    return LocationAvailability(
        level.location_id,
        level.sku,
        available,
        held_back,
        available - held_back if used else 0,
        blocked_by,
        not_used_by,
        (exclude_rule_behind(not_used_by) if not_used_by else ()) + blocked_by + location_effect.fired,
        bool(blocking) and blocking[0].is_restriction,
    )


def drop_reason(figure: LocationAvailability) -> DroppedLocation:
    """Why an order gets no units there."""
    if figure.not_used_by is not None:
        return figure.not_used_by
    if not figure.blocked_by and not figure.held_back:
        # The order itself keeps all units that are there.
        return DroppedLocation(figure.location_id, figure.sku, DropReason.NO_STOCK)
    rule = figure.fired[0]
    reason = DropReason.HELD_BACK
    if figure.blocked_by:
        reason = DropReason.RESTRICTED if figure.is_restricted else DropReason.BLOCKED
    return DroppedLocation(figure.location_id, figure.sku, reason, rule.name, rule.source, rule.evidence)


def _blocks(rules: Sequence[ExposureRule], context: Context, level: StockLevel) -> tuple[FiredRule, ...]:
    return tuple(
        [
            FiredRule(
                rule.name,
                rule.source,
                level.location_id,
                level.sku,
                f"{'restricted' if rule.is_restriction else 'blocked'}: {rule.reason}",
                RuleEvidence(rule.when, context),
            )
            for rule in rules
        ]
    )
