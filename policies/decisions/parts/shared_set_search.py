"""The best set of locations for parts that share products, by its size.

A set must have enough for each part alone, and of each shared product for all its parts together. Sets that have are
found as for demand by SKU (`planning.sets`), and the best of them that really covers all parts is the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from policies.decisions.parts.assignment import SharedStock, assign
from policies.decisions.planning.plan_steps import ShippingEstimate
from policies.decisions.planning.ranking import Ranks
from policies.decisions.planning.sets.candidate_pool import CandidatePool
from policies.decisions.planning.sets.candidate_stock import CandidateStock, Weight
from policies.decisions.planning.sets.fixed_size_search import FixedSizeSearch
from policies.decisions.planning.sets.set_comparison import NOTHING, SetComparison
from policies.decisions.planning.sets.set_search import MAX_STEPS
from policies.decisions.planning.sets.subset_tables import StepCounter, StepsSpent

_STEPS_PER_LOOKUP = 2


@dataclass(frozen=True, slots=True)
class FoundSet:
    """The best set found, empty if none; unless it is the best, no set that covers all has fewer than `fewest`."""

    members: Sequence[int] = ()
    is_best: bool = False
    fewest: int = 0


NONE_FOUND = FoundSet()


class SharedSetSearch:
    """Sets of at most `limit` candidates that cover all parts, fewest members first, then by the steps."""

    def __init__(
        self,
        stock: SharedStock,
        ids: Sequence[str],
        ranks: Sequence[Ranks],
        limit: int,
        pause: Callable[[], None],
        *,
        grams: tuple[Weight, ...] = (),
    ) -> None:
        """`grams` are those of a unit of each part, empty if no cost depends on them."""
        self.stock, self.limit = stock, limit
        self.counter = StepCounter(MAX_STEPS, pause)
        self.relaxed = _relaxed(stock, ids, ranks, grams)

    @property
    def total(self) -> int:
        """Units of all parts, as far as each alone can be supplied."""
        return sum(sets * part.size for sets, part in zip(self.relaxed.demand, self.stock.parts, strict=False))

    def run(self, steps: Sequence[str], estimates: Sequence[ShippingEstimate]) -> FoundSet:
        """The best set, if not too many must be tried."""
        comparison = _SharedComparison(self.relaxed, steps, estimates, self)
        numbers = comparison.numbers()
        order = sorted(range(len(self.relaxed.ids)), key=lambda index: [step.numbers[index] for step in numbers])
        pool = CandidatePool(self.relaxed, order, self.counter)
        size = 0
        try:
            while not comparison.best and size < self.limit:
                size += 1
                if pool.can_cover(pool.needs, size):
                    FixedSizeSearch(pool, comparison, numbers, size).cover_each()
        except StepsSpent:
            return FoundSet(comparison.best, fewest=size)
        return FoundSet(comparison.best, is_best=bool(comparison.best))


class _SharedComparison(SetComparison):
    """Compares sets that cover all parts. Others are not kept."""

    def __init__(
        self,
        relaxed: CandidateStock,
        steps: Sequence[str],
        estimates: Sequence[ShippingEstimate],
        search: SharedSetSearch,
    ) -> None:
        super().__init__(relaxed, steps, estimates)
        self._search, self.total = search, search.total

    def offer(self, members: Sequence[int]) -> Decimal | None:
        """Keeps the set if it covers all parts and is better than the best."""
        chosen, search = sorted(members), self._search
        if self.costs is None and self.best and self.key(chosen, self.total, NOTHING) >= self.best_key:
            return None
        assignment = assign(search.stock, chosen)
        search.counter.take(assignment.lookups * _STEPS_PER_LOOKUP)
        if assignment.covered < search.total or not all(map(any, assignment.counts)):
            return None
        sizes = [part.size for part in search.stock.parts]
        cost = self.cost(chosen, [tuple(map(int.__mul__, sets, sizes)) for sets in assignment.counts])
        self.keep(chosen, self.total, cost)
        return cost


def _relaxed(
    stock: SharedStock, ids: Sequence[str], ranks: Sequence[Ranks], grams: tuple[Weight, ...]
) -> CandidateStock:
    """What each part needs alone, in sets, and then what the parts of each shared product need together, in units."""
    places = range(len(ids))
    columns = [
        [
            min(part.wanted, *[stock.holdings[place][sku] // units for sku, units in part.units])
            * (place in stock.allowed[number])
            for place in places
        ]
        for number, part in enumerate(stock.parts)
    ]
    sets = [min(part.wanted, sum(column)) for part, column in zip(stock.parts, columns, strict=True)]
    demand = [*sets]
    for sku in range(len(stock.limits)):
        units = [
            count * wanted
            for part, wanted in zip(stock.parts, sets, strict=True)
            for number, count in part.units
            if number == sku
        ]
        if len(units) > 1:
            columns.append([min(sum(units), stock.holdings[place][sku]) for place in places])
            demand.append(sum(units))
    rows = tuple(zip(*columns, strict=True))
    return CandidateStock(tuple(map(str, range(len(columns)))), tuple(demand), tuple(ids), tuple(ranks), rows, grams)
