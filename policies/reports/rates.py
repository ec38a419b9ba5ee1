"""The six rates of a report from what was counted: each a numerator of a denominator, never a share by itself.

1. `oversell`: units of sold orders that were not in stock, of units sold, by cause.
2. `cancellation`: cancelled units of units sold, by fault.
3. `exception`: exceptions of a channel for each order sold, by kind.
4. `inventory_mismatch`: counts that differed by more than the tolerance, of counts that were only compared, by source.
5. `late_shipment`: shipments that missed their time to ship by, of those whose time was due.
6. `manual_intervention`: orders that needed a person, of orders sold, by reason.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

SOLD, OVERSOLD, WITHHELD, CANCELLED, NEEDS_PERSON = "sold", "oversold", "withheld", "cancelled", "needs_person"
RAISED, COMPARED, DIFFERED, DUE, LATE, UNMET = "raised", "compared", "differed", "due", "late", "unmet"
"""What is counted: exceptions raised, counts compared, those that differed, shipments due, late ones, unmet units."""

CHANNEL, LOCATION, SOURCE, RULE, REVISION = DIMENSIONS = ("channel", "location", "source", "rule", "revision")


@dataclass(frozen=True, slots=True)
class Count:
    """Something counted: `units`, and `orders` of which each counts once, in one period; its groups by dimension."""

    measure: str
    part: str
    units: int
    orders: int
    period: int = 0
    keys: Mapping[str, Sequence[str]] = field(default_factory=dict)
    currency: str = ""
    priced: int = 0
    """Of its units, those of which a price in `currency` is known; `value` is theirs."""
    value: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Part:
    """What a count consists of."""

    name: str
    count: int
    orders: int


@dataclass(frozen=True, slots=True)
class Value:
    """What so many units of a measure were worth; without a currency, no price of them is known."""

    measure: str
    units: int
    currency: str = ""
    value: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Figures:
    """One rate: `count` of `total`, and for rates of units the same in orders."""

    rate: str
    count: int
    total: int
    orders: int
    total_orders: int
    parts: tuple[Part, ...] = ()

    @property
    def share(self) -> float | None:
        """The rate itself; None where nothing was counted that it could be a share of."""
        return self.count / self.total if self.total else None


@dataclass(frozen=True, slots=True)
class Rate:
    """How a rate is made: its numerator and denominator, whether they count units, and which dimensions it has."""

    name: str
    numerator: str
    denominator: str
    of_units: bool
    dimensions: frozenset[str]


_OF_ORDERS = frozenset({CHANNEL, RULE, REVISION})
RATES = (
    Rate("oversell", OVERSOLD, SOLD, True, _OF_ORDERS),
    Rate("cancellation", CANCELLED, SOLD, True, _OF_ORDERS),
    Rate("exception", RAISED, SOLD, False, _OF_ORDERS | {LOCATION}),
    Rate("inventory_mismatch", DIFFERED, COMPARED, False, frozenset({LOCATION, SOURCE})),
    Rate("late_shipment", LATE, DUE, False, frozenset({CHANNEL, LOCATION})),
    Rate("manual_intervention", NEEDS_PERSON, SOLD, False, _OF_ORDERS),
)
"""All six, in the order in which reports list them. Less is better in all of them."""


VALUED = (OVERSOLD, WITHHELD, CANCELLED, LATE)
"""Measures of which the value of their units is kept."""


def rates_of(filters: Collection[str]) -> tuple[Rate, ...]:
    """The rates that have all these dimensions, so that a filter by them means something."""
    return tuple(rate for rate in RATES if rate.dimensions.issuperset(filters))


@dataclass(slots=True)
class Sums:
    """Units and orders by measure and part, added up."""

    by_part: dict[str, dict[str, list[int]]] = field(default_factory=dict)
    priced: dict[tuple[str, str], tuple[int, Decimal]] = field(default_factory=dict)
    """Units with a price and their value, by measure and currency."""

    def add(self, count: Count) -> None:
        """Adds one count."""
        sums = self.by_part.setdefault(count.measure, {}).setdefault(count.part, [0, 0])
        sums[0] += count.units
        sums[1] += count.orders
        if count.priced:
            units, value = self.priced.get((count.measure, count.currency), (0, Decimal(0)))
            self.priced[count.measure, count.currency] = (units + count.priced, value + count.value)

    def parts(self, measure: str, *, by_orders: bool = False) -> tuple[Part, ...]:
        """The parts of a measure, greatest first."""
        parts = [
            Part(name, orders if by_orders else units, orders)
            for name, (units, orders) in self.by_part.get(measure, {}).items()
        ]
        return tuple(sorted((x for x in parts if x.count or x.orders), key=lambda x: (-x.count, x.name)))

    def total(self, measure: str) -> tuple[int, int]:
        """The units and orders of a measure."""
        parts = self.by_part.get(measure, {}).values()
        return sum(units for units, _ in parts), sum(orders for _, orders in parts)

    def values(self, own_currency: str) -> tuple[Value, ...]:
        """What units were worth, by measure and currency: the own one first, units without a price last."""
        return tuple(value for measure in VALUED for value in self._values(measure, own_currency))

    def _values(self, measure: str, own_currency: str) -> Iterator[Value]:
        priced = {currency: sums for (of, currency), sums in self.priced.items() if of == measure}
        for currency in sorted(priced, key=lambda x: (x != own_currency, x)):
            units, value = priced[currency]
            yield Value(measure, units, currency, value)
        unpriced = self.total(measure)[0] - sum(units for units, _ in priced.values())
        if unpriced:
            yield Value(measure, unpriced)

    def figures(self, rates: Iterable[Rate], totals: Sums | None = None) -> tuple[Figures, ...]:
        """The rates; their denominators are of `totals` if given."""
        return tuple(self._figures(rate, totals or self) for rate in rates)

    def _figures(self, rate: Rate, totals: Sums) -> Figures:
        units, orders = self.total(rate.numerator)
        total_units, total_orders = totals.total(rate.denominator)
        parts = self.parts(rate.numerator, by_orders=not rate.of_units)
        parts = tuple(part for part in parts if part.name)
        if rate.of_units:
            return Figures(rate.name, units, total_units, orders, total_orders, parts)
        return Figures(rate.name, orders, total_orders, 0, 0, parts)


@dataclass(slots=True)
class Breakdown:
    """Sums of the whole window and of each period."""

    period_count: int
    whole: Sums = field(default_factory=Sums)
    periods: list[Sums] = field(init=False)

    def __post_init__(self) -> None:
        self.periods = [Sums() for _ in range(self.period_count)]

    def add(self, count: Count) -> None:
        """Adds one count to the window and to its period."""
        self.whole.add(count)
        self.periods[count.period].add(count)


def broken_down(counts: Iterable[Count], dimension: str, period_count: int) -> dict[str, Breakdown]:
    """The counts by their key of a dimension, those without one left out."""
    groups: dict[str, Breakdown] = {}
    for count in counts:
        for key in count.keys.get(dimension, ()):
            # A breakdown has sums of each period: too many to make for each count.
            if key not in groups:
                groups[key] = Breakdown(period_count)
            groups[key].add(count)
    return groups


def greatest(groups: Mapping[str, Breakdown], most: int) -> Sequence[str]:
    """The keys of the groups in which most was counted, at most `most` of them, sorted."""
    by_size = sorted(groups, key=lambda key: (-_size(groups[key].whole), key))
    return sorted(by_size[:most])


def _size(sums: Sums) -> int:
    return sum(units + orders for parts in sums.by_part.values() for units, orders in parts.values())
