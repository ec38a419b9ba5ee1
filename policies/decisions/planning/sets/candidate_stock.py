"""The locations that may supply an order, by number, with the units of each SKU that each can supply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isinf
from operator import sub
from typing import Final

from policies.decisions.planning.ranking import Ranks

Weight = float | Fraction
"""The weight of a unit in grams: infinite if it is unknown. Of a set of products, its share of the set's."""

NO_WEIGHTS: Mapping[str, Weight] = {}


@dataclass(slots=True, unsafe_hash=True)
class CandidateStock:
    """Candidates by number, best-ranked first, with the units that each can supply; `demand` is what all can supply.

    `grams` is the weight of a unit of each SKU, infinite if it is unknown; empty if no cost depends on it.
    """

    skus: Final[tuple[str, ...]]
    demand: Final[tuple[int, ...]]
    ids: Final[tuple[str, ...]]
    ranks: Final[tuple[Ranks, ...]]
    holdings: Final[tuple[tuple[int, ...], ...]]
    grams: Final[tuple[Weight, ...]] = ()

    @classmethod
    def of(
        cls,
        demand: Mapping[str, int],
        stock: Mapping[str, Mapping[str, int]],
        ranks: Mapping[str, Ranks],
        pause: Callable[[], None],
        weights: Mapping[str, Weight] = NO_WEIGHTS,
    ) -> CandidateStock:
        """The locations of `ranks` that have units of the demand. `stock` is by SKU and location id."""
        skus = tuple(sku for sku in demand if stock.get(sku))
        requested, there = [demand[sku] for sku in skus], [stock[sku] for sku in skus]
        holdings = []
        for _, key in sorted(zip(ranks.values(), ranks, strict=True)):
            holding = tuple(map(min, requested, [units.get(key, 0) for units in there]))
            if any(holding):
                holdings.append((key, holding))
            pause()
        supply = [sum(column) for column in zip(*(holding for _, holding in holdings), strict=True)] or [0] * len(skus)
        return cls(
            skus=skus,
            demand=tuple(map(min, requested, supply)),
            ids=tuple([key for key, _ in holdings]),
            ranks=tuple([ranks[key] for key, _ in holdings]),
            holdings=tuple([holding for _, holding in holdings]),
            grams=tuple([weights[sku] for sku in skus]) if weights else (),
        )

    def weight(self, units: Sequence[int]) -> float:
        """The weight of so many units of each SKU in grams; 0 if no cost depends on it."""
        return weight_of(units, self.grams)

    def known_weight(self, units: Sequence[int]) -> float:
        """As `weight`, without the units of unknown weight."""
        return self.weight([0 if isinf(x) else count for x, count in zip(self.grams, units, strict=False)])

    def fill(self, order: Iterable[int], limit: int) -> list[int]:
        """The first candidates in this order that supply any units, as many as are allowed and needed."""
        remaining, suppliers = self.demand, list[int]()
        for index in order:
            if len(suppliers) == limit or not any(remaining):
                break
            given = units_given(remaining, self.holdings[index])
            if any(given):
                suppliers.append(index)
                remaining = tuple(map(sub, remaining, given))
        return suppliers

    def fill_greedily(self, limit: int, pause: Callable[[], None]) -> list[int]:
        """Always adds the candidate that covers most of the remaining demand, the best-ranked of equals."""
        remaining, chosen, holdings = self.demand, list[int](), self.holdings
        while any(remaining) and len(chosen) < limit:
            gains = []
            for index, holding in enumerate(holdings):
                pause()
                gains.append(0 if index in chosen else sum(map(min, remaining, holding)))
            index = gains.index(max(gains))
            chosen.append(index)
            remaining = tuple(map(sub, remaining, units_given(remaining, holdings[index])))
        return self.fill(sorted(chosen), limit)

    def given(self, chosen: Iterable[int]) -> list[tuple[int, tuple[int, ...]]]:
        """Each of the chosen candidates with the units of each SKU that it supplies, in the order of their numbers."""
        remaining, supplied = self.demand, []
        for index in sorted(chosen):
            units = units_given(remaining, self.holdings[index])
            remaining = tuple(map(sub, remaining, units))
            supplied.append((index, units))
        return supplied


def weight_of(units: Sequence[int], grams: Sequence[Weight]) -> float:
    """The weight of so many units, each of these grams; infinite if one of them is unknown."""
    total = sum([each * count for each, count in zip(grams, units, strict=False) if count])
    return total if isinstance(total, float) else int(total)


def units_given(remaining: Sequence[int], holding: Sequence[int]) -> tuple[int, ...]:
    """Units of each SKU that a location with this stock supplies of the remaining demand."""
    return tuple(map(min, remaining, holding))
