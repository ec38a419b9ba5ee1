"""How many kits an order may use, by rules of the kits' own SKUs; those of the components are in `order_limits`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from policies.decisions.availability.sellable import publishable_units
from policies.decisions.kits.kit_stock import KitStock, kit_stock
from policies.decisions.order_limits import waived_limits
from policies.decisions.planning.planning_memory import PolicyView
from policies.domain.kits import Kit
from policies.domain.model import Commitment, Order
from policies.explanation import FiredRule


@dataclass(frozen=True, slots=True)
class KitLimit:
    """The most kits that an order may use: at each location, by its id, and in all; None is no limit.

    `held_by_buffer` and `blocked` kits are there but kept from the order by rules of the kit's own, which have these
    names; `fired` are the rules of its own that fired.
    """

    units: Mapping[str, int]
    total: int | None
    held_by_buffer: int = 0
    buffers: tuple[str, ...] = ()
    blocked: int = 0
    blocks: tuple[str, ...] = ()
    fired: tuple[FiredRule, ...] = ()
    blocked_at: frozenset[str] = frozenset()
    """The locations where rules of the kit's own block it."""


def kit_limits(view: PolicyView, order: Order) -> dict[str, KitLimit]:
    """The limits of the kits of an order, by SKU. Kits that are promised to the order already stay usable for it."""
    waived = waived_limits(order, view.policy)
    return {kit.sku: _limit(view, order, kit_stock(view, kit, waived)) for kit in ordered_kits(order)}


def ordered_kits(order: Order) -> Iterator[Kit]:
    """The kits of an order's lines, as they were when the lines were ordered; one of each SKU."""
    found: dict[str, dict[str, dict[str, int]]] = {}
    splits: dict[str, bool] = {}
    for line in order.lines:
        if line.kit is not None:
            parts = found.setdefault(line.kit.sku, {}).setdefault(line.kit.line_id, {})
            parts[line.sku] = line.kit.unit_count
            splits[line.kit.sku] = line.kit.may_split
    for sku, lines in found.items():
        # Of a kit that was changed between two lines of one order, the one with most components counts.
        yield Kit(sku, max(lines.values(), key=len), splits[sku])


def _limit(view: PolicyView, order: Order, stock: KitStock) -> KitLimit:
    question, kit = view.question, stock.kit
    own = _kits_of(kit, question.own_units)
    kept = _kits_of(kit, question.kept_units)
    units = {
        location_id: max(figure.sellable - kept.get(location_id, 0), own.get(location_id, 0))
        for location_id, figure in stock.figures.items()
    }
    total = None
    if stock.channel_effect.fired or kit.may_split:
        promised, effect = sum(own.values()) + sum(kept.values()), stock.channel_effect
        is_hold = order.commitment is Commitment.HOLD
        limit = publishable_units(stock.subtotal, effect) if is_hold else max(0, stock.subtotal - effect.held_back)
        total = max(promised, limit) - sum(kept.values())
    held = blocked = 0
    buffers: list[FiredRule] = []
    blocks: list[FiredRule] = []
    blocked_at: set[str] = set()
    for location_id, figure in stock.figures.items():
        own_blocks = [rule for rule in figure.blocked_by if rule.sku == kit.sku]
        if own_blocks:
            blocked_at.add(location_id)
        kits = stock.levels[location_id].available - kept.get(location_id, 0) - units[location_id]
        if figure.not_used_by is not None or kits <= 0:
            continue
        if own_blocks:
            blocked, blocks = blocked + kits, blocks + own_blocks
        else:
            held = held + kits
            buffers += [rule for rule in figure.fired if rule.sku == kit.sku]
    if total is not None and total < sum(units.values()) + stock.split_count:
        held += sum(units.values()) + stock.split_count - total
        buffers += stock.channel_effect.fired
    fired = tuple(rule for rule in stock.fired if rule.sku == kit.sku)
    return KitLimit(units, total, held, _names(buffers), blocked, _names(blocks), fired, frozenset(blocked_at))


def _kits_of(kit: Kit, units: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Whole kits of units by (SKU, location id), by location id."""
    by_location: dict[str, dict[str, int]] = {}
    for (sku, location_id), count in units.items():
        if sku in kit.components:
            by_location.setdefault(location_id, {})[sku] = count
    return {location_id: kit.count_in(counts) for location_id, counts in by_location.items()}


def _names(rules: list[FiredRule]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(rule.name for rule in rules))
