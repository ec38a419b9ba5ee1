"""Units that locations of an order have in stock, but that a buffer or a block keeps from it.

They are not missing, so they are no oversell. What a location that routing drops has is not counted here: routing
drops a location that cannot supply the order at all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.order_limits import UsableUnits
from policies.domain.placement import ANYWHERE, Placement
from policies.explanation import FiredRule


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
    question: RoutingQuestion, usable: UsableUnits, sku: str, placement: Placement = ANYWHERE
) -> WithheldUnits:
    """The units of the product that are available beyond the usable ones, at locations that the policy uses.

    Those are counted that `placement` allows.

    A location that rejected the product has none of them, nor has one whose stock is untracked. A shopper's chosen
    location is the only one. Units that the order keeps are not short, so they are not among them either.
    """
    usable_at, full_at = usable.units.get(sku, {}), usable.beyond_capacity.get(sku, {})
    held_by_channel = sum(usable_at.values()) - usable.total(sku)
    held_by_buffer, blocked = held_by_channel, 0
    buffers: list[str] = []
    blocks: list[str] = []
    for figure in usable.figures(sku):
        key = (sku, figure.location_id)
        if figure.not_used_by is not None or key in question.rejected_by:
            continue
        if not placement.allows(figure.location_id):
            continue
        kept_units = min(question.kept_units.get(key, 0), figure.available)
        unused = figure.available - kept_units - usable_at.get(figure.location_id, 0)
        unused -= full_at.get(figure.location_id, 0)
        if figure.blocked_by:
            blocked += unused
            blocks += _names(figure.blocked_by if unused else ())
        else:
            held_by_buffer += unused
            buffers += _names(figure.fired if unused else ())
    buffers += _names(usable.channel_rules[sku] if held_by_channel else ())
    return WithheldUnits(held_by_buffer, _unique(buffers), blocked, _unique(blocks))


def _names(rules: Iterable[FiredRule]) -> list[str]:
    return [rule.name for rule in rules]


def _unique(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
