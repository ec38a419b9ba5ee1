"""Units that locations of an order have in stock, but that a buffer or a block keeps from it.

They are not missing, so they are no oversell. What a location that routing drops has is not counted here: routing
drops a location that cannot supply the order at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from policies.decisions.eligibility import RoutingQuestion, dropped_by_policy
from policies.decisions.order_limits import UsableUnits, choice_allows, waived_limits
from policies.decisions.sellable import LocationAvailability, assess_location, channel_buffer_effect
from policies.domain.model import Order
from policies.explanation import FiredRule
from policies.policy_set import PolicySet, RoutingPolicy


@dataclass(frozen=True, slots=True)
class WithheldUnits:
    """Units of one product that buffers hold back and that exposure rules block, with the names of these rules.

    A unit that a buffer holds back at a blocked location counts as blocked: without the buffer it would still be kept.
    """

    held_by_buffer: int = 0
    buffers: tuple[str, ...] = ()
    blocked: int = 0
    blocks: tuple[str, ...] = ()


def withheld_units(
    policy_set: PolicySet,
    question: RoutingQuestion,
    order: Order,
    policy: RoutingPolicy,
    *,
    usable: UsableUnits,
    sku: str,
) -> WithheldUnits:
    """The units of the product that are available beyond the usable ones, at locations that the policy uses.

    A location that rejected the product has none of them, and a shopper's chosen location is the only one. Units that
    the order keeps are not short, so they are not among them either.
    """
    waived = waived_limits(order, policy)
    open_units = blocked = 0
    buffers: list[str] = []
    blocks: list[str] = []
    for figure in _figures(policy_set, question, order, policy, sku):
        key = (sku, figure.location_id)
        available = figure.available - min(question.kept_units.get(key, 0), figure.available)
        if key in question.rejected_by:
            open_units += min(question.own_units.get(key, 0), available)
        elif figure.blocked_by:
            usable_units = usable.units.get(sku, {}).get(figure.location_id, 0)
            open_units += usable_units
            blocked += available - usable_units
            blocks += _names(figure.blocked_by if available > usable_units else ())
        else:
            open_units += available
            buffers += _names(figure.fired if figure.held_back else ())
    held_by_buffer = open_units - usable.total(sku)
    if "buffer" not in waived and usable.total(sku) < sum(usable.units.get(sku, {}).values()):
        buffers += _names(channel_buffer_effect(policy_set, question, sku, policy, waived).fired)
    return WithheldUnits(
        held_by_buffer, _unique(buffers if held_by_buffer else ()), blocked, _unique(blocks if blocked else ())
    )


def _figures(
    policy_set: PolicySet, question: RoutingQuestion, order: Order, policy: RoutingPolicy, sku: str
) -> Iterable[LocationAvailability]:
    """Figures of the tracked levels with available units at the locations that the order may use."""
    waived = waived_limits(order, policy)
    for location in question.locations():
        level = question.level(sku, location.id)
        if level is None or not level.tracked or level.available <= 0 or not choice_allows(order, location.id):
            continue
        if dropped_by_policy(policy, location, question) is None:
            yield assess_location(policy_set, question.context(location, sku, level), waived=waived)


def _names(rules: Iterable[FiredRule]) -> list[str]:
    return [rule.name for rule in rules]


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
