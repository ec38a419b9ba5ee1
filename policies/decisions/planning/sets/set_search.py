"""The best set of locations for an order: first how many are needed, then the best of all sets of that size.

Where the steps of `rank` do not fix the size, sizes are tried in turn, or the sets in rank order (`branch_search`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from math import isinf

from policies.decisions.planning.plan_steps import ShippingEstimate, cost_of
from policies.decisions.planning.sets.branch_search import BranchSearch, fewest_for
from policies.decisions.planning.sets.candidate_pool import CandidatePool
from policies.decisions.planning.sets.candidate_stock import CandidateStock
from policies.decisions.planning.sets.fixed_size_search import FixedSizeSearch
from policies.decisions.planning.sets.set_comparison import SetComparison, StepNumbers
from policies.decisions.planning.sets.subset_tables import StepCounter, StepsSpent
from policies.domain.rate_table import UNKNOWN_WEIGHT, ShippingCost, ShippingRates
from policies.policy_set import EARLIEST_PROMISE, FEWEST_SHIPMENTS, LOWEST_COST

MAX_STEPS = 150_000
"""Steps of a search, each about 0.2 µs; then the best set so far is the answer."""

_SHRINKING_STEPS = 30_000
"""Steps in which a set is looked for that has fewer members than the first one, before smaller ones are ruled out."""


class SetSearch:
    """The best set of at most `limit` candidates by `steps`. `estimates` are by candidate.

    After `run`, `best` is the set, by candidate, and no plan of as many units has fewer shipments than `fewest`.
    """

    def __init__(
        self,
        stock: CandidateStock,
        steps: Sequence[str],
        limit: int,
        estimates: Sequence[ShippingEstimate],
        pause: Callable[[], None],
    ) -> None:
        self.stock, self.names, self.pause, self.estimates = stock, steps, pause, estimates
        self.limit = min(limit, len(stock.ids))
        self.counter = StepCounter(MAX_STEPS, pause)
        self.comparison = SetComparison(stock, steps, estimates)
        self.numbers = self.comparison.numbers()
        self.best: list[int] = []
        self.fewest = 0

    def run(self) -> bool:
        """Finds the best set; False if the search ended before it had ruled out all others."""
        self.comparison.offer(self.stock.fill(range(len(self.stock.ids)), self.limit))
        self.comparison.offer(self.stock.fill_greedily(self.limit, self.pause))
        try:
            is_best = self._search()
        except StepsSpent:
            is_best = False
        self.best = self.comparison.best
        if is_best is None:
            branches = BranchSearch(self.stock, self.names, self.limit, self.estimates, self.pause)
            is_best, self.best = branches.run(), branches.best
        covered = sum(sum(units) for _, units in self.stock.given(self.best))
        if covered < self.comparison.total:
            # What was found out about sets that cover all of the demand does not hold for others.
            self.fewest = fewest_for(covered, [sum(holding) for holding in self.stock.holdings])
        return is_best

    def _search(self) -> bool | None:
        """True when the best set was found; None if sets in rank order must be searched."""
        pool = self._pool(range(len(self.stock.ids)), self.numbers)
        self.fewest = pool.fewest_at_least(self.comparison.total)
        if self.comparison.best_covered == self.comparison.total or self._covers(pool):
            return self._cover(pool, self.numbers)
        # No set covers all of the demand, so the best has as many shipments as are allowed: each adds units.
        FixedSizeSearch(pool, self.comparison, self.numbers, self.limit).cover_most()
        return True

    def _cover(self, pool: CandidatePool, numbers: Sequence[StepNumbers]) -> bool | None:
        """Searches the sets that cover all of the demand; `numbers` are those of the steps that are left."""
        step, rest = numbers[0], numbers[1:]
        values = [step.numbers[index] for index in pool.candidates]
        is_equal = min(values) == max(values)
        if step.name == FEWEST_SHIPMENTS or (step.compares_members and is_equal):
            # Of lists of equal members, the shorter one is first.
            FixedSizeSearch(pool, self.comparison, rest, self._fewest(pool)).cover()
            return True
        if step.name == EARLIEST_PROMISE:
            return self._cover(pool if is_equal else self._first_to_cover(pool, sorted(set(values)), numbers), rest)
        if step.name == LOWEST_COST:
            costs = {cost_of(self.estimates[index]) for index in pool.candidates}
            # If they are all free or all unknown, costs tell no sets apart.
            is_equal = (len(costs) == 1 and all(map(_is_like_none, costs))) or self._are_unknown(costs)
            return self._cover(pool, rest) if is_equal else self._cover_at_least_cost(pool, numbers, costs)
        if not step.compares_members:
            return None
        first = self._pool([index for index in pool.candidates if step.numbers[index] == min(values)], rest)
        if self._covers(first):
            FixedSizeSearch(first, self.comparison, rest, self._fewest(first)).cover()
            return True
        in_order = self._first_in_order(pool)
        self.comparison.offer(in_order)
        is_unique = all(values.count(step.numbers[index]) == 1 for index in in_order)
        return True if is_unique else None

    def _are_unknown(self, costs: Iterable[ShippingRates]) -> bool:
        """Whether the cost of every set is unknown, because a product has no weight."""
        has_unweighed = self.comparison.sees_weight and any(map(isinf, self.stock.grams))
        return has_unweighed and all(not cost.of(1, UNKNOWN_WEIGHT).is_finite() for cost in costs)

    def _first_to_cover(
        self, pool: CandidatePool, days: Sequence[float | Decimal], numbers: Sequence[StepNumbers]
    ) -> CandidatePool:
        """The candidates up to the first day by which they can cover all of the demand."""
        for day in days[:-1]:
            chosen = [index for index in pool.candidates if numbers[0].numbers[index] <= day]
            found = self._pool(chosen, numbers[1:])
            if self._covers(found):
                return found
        return self._pool(pool.candidates, numbers[1:])

    def _cover_at_least_cost(
        self, pool: CandidatePool, numbers: Sequence[StepNumbers], costs: Iterable[ShippingRates]
    ) -> bool:
        """Searches sets of every size that can be as cheap as the best so far."""
        fewest = self._fewest(pool)
        for size in range(fewest, min(self.limit, pool.count) + 1):
            search = FixedSizeSearch(pool, self.comparison, numbers, size)
            if search.is_hopeless:
                break
            if size > fewest and any(map(_is_like_none, costs)):
                # A set with a member that supplies nothing is no plan, and may come before others of the same cost.
                search.cover_each()
            else:
                search.cover()
        return True

    def _first_in_order(self, pool: CandidatePool) -> list[int]:
        """The candidates that cover all of the demand, within the limit, whose places in the pool come first."""
        needs, chosen = pool.needs, list[int]()
        for place in range(pool.count):
            left = pool.needs_after(needs, place)
            if left != needs and pool.can_cover(left, self.limit - len(chosen) - 1, place + 1):
                needs = left
                chosen.append(pool.candidates[place])
        return chosen

    def _fewest(self, pool: CandidatePool) -> int:
        """How many candidates of the pool it takes to cover all of the demand."""
        size, known = max(1, pool.fewest_at_least(self.comparison.total)), 0
        while True:
            if size > pool.tables.largest + 1 and not known:
                known = self._shrink(pool)
            if size == known or pool.can_cover(pool.needs, size):
                break
            size += 1
            if pool.count == len(self.stock.ids):
                self.fewest = size
        return size

    def _shrink(self, pool: CandidatePool) -> int:
        """Replaces members of the best set by fewer others, as long as that is quick; returns how many are left."""
        places = {index: place for place, index in enumerate(pool.candidates)}
        best = self.comparison
        if best.best_covered < best.total or not places.keys() >= set(best.best):
            return pool.count + 1
        members, until = best.best, self.counter.left - _SHRINKING_STEPS
        while len(members) > pool.tables.largest + 1 and self.counter.left > until:
            fewer = pool.with_fewer([places[index] for index in members], until)
            if fewer is None:
                break
            members = self.stock.fill(sorted(pool.candidates[place] for place in fewer), self.limit)
            best.offer(members)
        return len(members)

    def _covers(self, pool: CandidatePool) -> bool:
        """Whether as many candidates of the pool as are allowed can cover all of the demand."""
        return pool.supplies_all and (pool.count <= self.limit or pool.can_cover(pool.needs, self.limit))

    def _pool(self, candidates: Iterable[int], numbers: Sequence[StepNumbers]) -> CandidatePool:
        """The candidates in the order of the steps that are left."""
        by_step = sorted(candidates, key=lambda index: [step.numbers[index] for step in numbers])
        return CandidatePool(self.stock, by_step, self.counter)


def _is_like_none(cost: ShippingRates) -> bool:
    """Whether one shipment more or less makes no difference: it is free, or its cost is unknown."""
    return isinstance(cost, ShippingCost) and (not cost.per_shipment or not cost.per_shipment.is_finite())
