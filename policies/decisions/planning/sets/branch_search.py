"""Branch and bound over sets of candidates in rank order, for orders of `rank` that do not fix the number of shipments.

It is exact, because a set's key is never below the bounds of its branch. Source: A. H. Land & A. G. Doig, "An Automatic
Method of Solving Discrete Programming Problems", Econometrica 28 (1960).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import accumulate
from operator import sub

from policies.decisions.planning.plan_steps import Branch, ShippingEstimate
from policies.decisions.planning.sets.candidate_stock import CandidateStock, units_given
from policies.decisions.planning.sets.set_comparison import NOTHING, BestSet
from policies.policy_set import FEWEST_SHIPMENTS

MAX_LOOKUPS = 60_000
"""How many stock figures (of one SKU at one location) a search reads before it returns the best set found so far."""

_LOOKUPS_PER_SET = 8
"""Cost of bounding and comparing a set, in lookups; measured."""


class BranchSearch(BestSet):
    """The best set of at most `limit` candidates by `steps`. `estimates` are by candidate."""

    def __init__(
        self,
        candidates: CandidateStock,
        steps: Sequence[str],
        limit: int,
        estimates: Sequence[ShippingEstimate],
        pause: Callable[[], None],
        *,
        lookups: int = MAX_LOOKUPS,
    ) -> None:
        super().__init__(candidates, steps, estimates)
        self.pause = pause
        self.limit = min(limit, len(candidates.ids))
        self.is_counted_first = steps[0] == FEWEST_SHIPMENTS
        self.potential = [sum(holding) for holding in candidates.holdings]
        # The number of sets grows exponentially, so the search is limited by work and not by a clock: policies/ reads
        # no clock, and a replay must come to the same plan on a slower machine.
        self.lookups_left = lookups

    def run(self, sole_suppliers: Sequence[int] = ()) -> bool:
        """Finds the best set, which is one of `sole_suppliers` if given; False if it took too many lookups."""
        if sole_suppliers:
            for index in sole_suppliers:
                self.keep([index], self.total, self.member_cost(index, self.stock.demand))
            return True
        all_candidates = range(len(self.stock.ids))
        self._offer_filled(self.stock.fill(all_candidates, self.limit))
        self._offer_filled(self.stock.fill_greedily(self.limit, self.pause))
        if self.is_counted_first and self.best_covered == self.total:
            self.limit = len(self.best)
        if len(all_candidates) * self.limit > self.lookups_left:
            return False
        self.reach = units_within_reach(self.potential, self.limit)
        self._extend(0, [], self.stock.demand, NOTHING)
        return self.lookups_left > 0

    def _extend(self, start: int, chosen: list[int], remaining: tuple[int, ...], cost: Decimal) -> None:
        """Tries every candidate from `start` on as the next member of the set."""
        given = self.total - sum(remaining)
        for index in range(start, len(self.stock.ids)):
            self.pause()
            self.lookups_left -= _LOOKUPS_PER_SET + len(remaining) + 2 * len(chosen)
            if self.lookups_left <= 0 or self._is_hopeless(index, chosen, remaining, cost):
                return
            gives = units_given(remaining, self.stock.holdings[index])
            unit_count = sum(gives)
            if not unit_count:
                continue
            extended, extended_cost = [*chosen, index], cost + self.member_cost(index, gives)
            if given + unit_count >= self.best_covered:
                self.keep(extended, given + unit_count, extended_cost)
            if len(extended) < self.limit and given + unit_count < self.total:
                self._extend(index + 1, extended, tuple(map(sub, remaining, gives)), extended_cost)

    def _offer_filled(self, chosen: list[int]) -> None:
        units = [units for _, units in self.stock.given(chosen)]
        self.keep(chosen, sum(map(sum, units)), self.cost(chosen, units))

    def _is_hopeless(self, start: int, chosen: Sequence[int], remaining: Sequence[int], cost: Decimal) -> bool:
        """Whether no set of `chosen` plus one or more candidates from `start` on can beat the best set so far."""
        slots, given = self.limit - len(chosen), self.total - sum(remaining)
        most = min(self.total, given + self.reach[start][slots])
        if most != self.best_covered:
            return most < self.best_covered
        missing = self.best_covered - given
        fewest = max(1, bisect_left(self.reach[start], missing))
        # Which units a set leaves short is only known if it leaves none.
        is_weighed = self.sees_weight and self.best_covered == self.total
        grams = self.stock.known_weight(remaining) if is_weighed else 0
        branch = Branch(chosen, start, fewest, slots, missing, cost, grams)
        return (-self.best_covered, *[step.bound(branch) for step in self.steps]) >= self.best_key


def units_within_reach(potential: Sequence[int], limit: int) -> list[list[int]]:
    """For each candidate, the most units that 0, 1, ... `limit` candidates from it on can supply together."""
    rows, largest = list[list[int]](), [0] * limit
    for units in reversed(potential):
        largest = sorted([*largest, units], reverse=True)[:limit]
        rows.append(list(accumulate(largest, initial=0)))
    return rows[::-1]


def fewest_for(unit_count: int, potential: Sequence[int]) -> int:
    """No fewer candidates than these can supply so many units; `potential` are the most that each can supply."""
    supplied = accumulate(sorted(potential, reverse=True), initial=0)
    return next((count for count, units in enumerate(supplied) if units >= unit_count), len(potential))
