"""Units that a shopper wanted and did not get, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from policies.decisions.shortages import (
    KEPT_TOGETHER,
    LINE_RESTRICTED,
    NO_CAPACITY,
    OUTLET_SHORT,
    TOO_LATE,
    Shortage,
    ShortageKind,
)
from policies.domain.model import WITHHELD_KINDS, Order

OUT_OF_STOCK = "out_of_stock"
"""No location that the order may use has them."""
UNFILLABLE = "unfillable"
"""They are there, but limits on splitting, or on an order that is incomplete, exclude them."""
KEPT_BY_RULES = "kept_by_rules"
"""They are available, but rules do not let the channel sell them; of a question, which has no decision."""
REPORTED = "reported"
"""A channel or a till says so, and nobody here knows why."""
HOLD_CAUSES = (
    *(OUT_OF_STOCK, UNFILLABLE, *WITHHELD_KINDS, LINE_RESTRICTED, KEPT_TOGETHER, OUTLET_SHORT, TOO_LATE, NO_CAPACITY),
)


class UnmetUnits(NamedTuple):
    """Units of one line of a HOLD that it did not get, for one cause; it wanted and got so many of the line.

    A tuple, because one is made for each line of each HOLD that is refused while a product is gone.
    """

    line_id: str
    sku: str
    wanted: int
    met: int
    unit_count: int
    cause: str
    rules: tuple[str, ...] = ()


def unmet_units(
    order: Order, shortages: Sequence[Shortage], promised: Mapping[str, int] | None = None
) -> tuple[UnmetUnits, ...]:
    """What a HOLD wanted and did not get, in the order of its lines.

    `promised`, by line id, are the units that it keeps if it was refused as a whole; then more units are unmet than are
    short. Without it, the order got what is not short.
    """
    by_line: dict[str, list[Shortage]] = {}
    for short in shortages:
        by_line.setdefault(short.line_id, []).append(short)
    unmet: list[UnmetUnits] = []
    for line in order.lines:
        parts, wanted = by_line.get(line.line_id, ()), line.unit_count
        if not parts and promised is None:
            continue
        short_count = sum([part.unit_count for part in parts])
        met = max(0, wanted - short_count) if promised is None else min(wanted, promised.get(line.line_id, 0))
        facts, remaining = (line.line_id, line.sku, wanted, met), wanted - met
        for part in parts:
            count = min(part.unit_count, remaining)
            remaining -= count
            if count:
                unmet.append(UnmetUnits(*facts, count, _cause(part), part.rules))
        if remaining:
            unmet.append(UnmetUnits(*facts, remaining, UNFILLABLE))
    return tuple(unmet)


def uncounted(unmet: Sequence[UnmetUnits], counted: Mapping[str, int]) -> list[UnmetUnits]:
    """The units that earlier attempts of the same order have not counted yet; `counted` has those by SKU."""
    remaining = dict(counted)
    new: list[UnmetUnits] = []
    for units in unmet:
        known = min(units.unit_count, remaining.get(units.sku, 0))
        remaining[units.sku] = remaining.get(units.sku, 0) - known
        if units.unit_count > known:
            new.append(units._replace(unit_count=units.unit_count - known))
    return new


def _cause(short: Shortage) -> str:
    return short.cause or (OUT_OF_STOCK if short.kind is ShortageKind.OVERSELL else short.kind.value)
