"""The units of an order that a decision does not promise, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.order_limits import UsableUnits
from policies.decisions.planning.plans import Plan
from policies.decisions.withheld import withheld_units
from policies.domain.model import Order

LINE_RESTRICTED = "line_restricted"
"""The cause of a shortage of units that only locations have which the line may not use."""
KEPT_TOGETHER = "kept_together"
"""The cause of a shortage of units that are there, but not at one location with all that must ship with them."""
OUTLET_SHORT = "outlet_short"
"""The cause of a shortage of units that only locations outside the chosen outlet have."""

TOO_LATE = "too_late"
"""The cause of a shortage of units that only locations have which cannot keep the dates of the order."""
NO_CAPACITY = "no_capacity"
"""The cause of a shortage of units at locations that cannot handle them in time, because they are full."""


class ShortageKind(StrEnum):
    """Why units are short.

    UNFILLABLE: limits on splitting exclude them, or what the order says of its lines. HELD_BY_BUFFER, BLOCKED_BY_RULE:
    permitted locations have them, but a buffer or an exposure rule keeps them from the order. OVERSELL: no permitted
    location has them.
    """

    OVERSELL = "oversell"
    UNFILLABLE = "unfillable"
    HELD_BY_BUFFER = "held_by_buffer"
    BLOCKED_BY_RULE = "blocked_by_rule"


@dataclass(frozen=True, slots=True)
class Shortage:
    """Units of one order line that are not promised; `rules` are the names of the rules that keep them.

    `cause` is LINE_RESTRICTED or KEPT_TOGETHER for unfillable units that what the order says of its lines leaves out,
    OUTLET_SHORT for those that its outlet does, TOO_LATE for those that its dates do, and NO_CAPACITY for those at
    locations that are full.
    """

    line_id: str
    sku: str
    unit_count: int
    kind: ShortageKind
    rules: tuple[str, ...] = ()
    cause: str = ""


def shortages_by_sku(question: RoutingQuestion, order: Order, usable: UsableUnits, plan: Plan) -> tuple[Shortage, ...]:
    """Units of a SKU in line order: first the placed, then the unfillable and withheld ones, last the oversold.

    A HOLD is not a sale, so none of it is an oversell: such units of it are unmet demand.
    """
    shortages: list[Shortage] = []
    for sku, demand in order.units_by_sku().items():
        placed = plan.placed(sku)
        if placed != demand:
            shortages += _short_units(order, sku, [*_spans(question, usable, sku, placed, demand)])
    return tuple(shortages)


@dataclass(frozen=True, slots=True)
class _Span:
    """The units of a SKU from the `first` one up to before the `last` one, counted in line order."""

    kind: ShortageKind
    first: int
    last: int
    rules: tuple[str, ...] = ()
    cause: str = ""


def _spans(question: RoutingQuestion, usable: UsableUnits, sku: str, placed: int, demand: int) -> Iterator[_Span]:
    """The units that are not placed, by the reason for which they are short."""
    first = min(demand, usable.total(sku))
    yield _Span(ShortageKind.UNFILLABLE, placed, first)
    for count, kind, rules, cause in _kept_units(question, usable, sku):
        last = min(demand, first + count)
        yield _Span(kind, first, last, rules, cause)
        if last == demand:
            return
        first = last
    yield _Span(ShortageKind.OVERSELL, first, demand)


def _kept_units(
    question: RoutingQuestion, usable: UsableUnits, sku: str
) -> Iterator[tuple[int, ShortageKind, tuple[str, ...], str]]:
    """Units that are there beyond the usable ones, and what keeps them from the order; found only when asked for."""
    yield usable.total_beyond_capacity(sku), ShortageKind.UNFILLABLE, (), NO_CAPACITY
    withheld = withheld_units(question, usable, sku)
    yield withheld.held_by_buffer, ShortageKind.HELD_BY_BUFFER, withheld.buffers, ""
    yield withheld.blocked, ShortageKind.BLOCKED_BY_RULE, withheld.blocks, ""
    yield usable.outside_outlet.get(sku, 0), ShortageKind.UNFILLABLE, (), OUTLET_SHORT
    yield usable.too_late.get(sku, 0), ShortageKind.UNFILLABLE, (), TOO_LATE


def _short_units(order: Order, sku: str, spans: Sequence[_Span]) -> list[Shortage]:
    shortages, start = [], 0
    for line in order.lines:
        if line.sku != sku:
            continue
        end = start + line.unit_count
        for span in spans:
            count = min(end, span.last) - max(start, span.first)
            if count > 0:
                shortages.append(Shortage(line.line_id, sku, count, span.kind, span.rules, span.cause))
        start = end
    return shortages
