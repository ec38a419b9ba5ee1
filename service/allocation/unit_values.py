"""What units that are counted of an order were worth, as far as its lines state a price of their own.

A component of a kit has none: what is stated is the price of the kit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from policies.domain.model import Commitment
from service.orders.allocation_record import AllocationRecord, LineRecord


@dataclass(frozen=True, slots=True)
class PricedUnits:
    """Units of one SKU at one price, as `LineRecord` counts them."""

    oversold: int = 0
    withheld: int = 0
    cancelled: int = 0
    uncancelled: int = 0

    def __add__(self, other: PricedUnits) -> PricedUnits:
        return PricedUnits(
            self.oversold + other.oversold,
            self.withheld + other.withheld,
            self.cancelled + other.cancelled,
            self.uncancelled + other.uncancelled,
        )


@dataclass(frozen=True, slots=True)
class UnitsValue:
    """Of counted units, those with a price: how many they are, and their value in the currency of their order."""

    unit_count: int
    value: Decimal


Price = tuple[str, Decimal]
"""A SKU and the price of one unit. Not a line: a channel may give another id to the same product."""
PricedLines = Mapping[Price, PricedUnits]
_NOTHING = PricedUnits()


def priced_lines(record: AllocationRecord) -> PricedLines:
    """The units of a sold order of which it states a price."""
    priced: dict[Price, PricedUnits] = {}
    if not record.currency or record.commitment is not Commitment.SOLD:
        return priced
    for line in record.lines:
        price = _unit_price(line)
        if price is not None:
            units = PricedUnits(line.oversold, line.withheld, line.cancelled, line.uncancelled)
            priced[line.sku, price] = priced.get((line.sku, price), _NOTHING) + units
    return priced


def oversold_value(before: PricedLines, after: PricedLines, counted: int) -> UnitsValue | None:
    """The value of the oversold units that a transaction counted; None if none of them has a price."""
    return _added_value(before, after, counted, lambda was, now: now.oversold - was.oversold)


def withheld_value(before: PricedLines, after: PricedLines, counted: int) -> UnitsValue | None:
    """The value of the withheld units that a transaction counted; None if none of them has a price."""
    return _added_value(before, after, counted, lambda was, now: now.withheld - was.withheld)


def cancelled_value(before: PricedLines, after: PricedLines, counted: int) -> UnitsValue | None:
    """The value of the cancelled units that a transaction counted; None if none of them has a price.

    Units that the channel took out of the order are cancelled too.
    """
    return _added_value(
        before,
        after,
        counted,
        lambda was, now: max(now.cancelled - was.cancelled, was.uncancelled - now.uncancelled),
    )


def _added_value(
    before: PricedLines, after: PricedLines, counted: int, added: Callable[[PricedUnits, PricedUnits], int]
) -> UnitsValue | None:
    """The value of what was added by SKU and price, of no more units than were counted."""
    units, value = 0, Decimal(0)
    for key in {**before, **after} if counted else ():
        of_key = min(counted - units, max(0, added(before.get(key, _NOTHING), after.get(key, _NOTHING))))
        units += of_key
        value += of_key * key[1]
    return UnitsValue(units, value.quantize(Decimal("0.0001"))) if units else None


def _unit_price(line: LineRecord) -> Decimal | None:
    if line.unit_price is None or line.kit is not None:
        return None
    return line.unit_price if line.item is None else line.unit_price / (line.item.units_each or 1)
