"""The best set of locations of a known size, among all sets of that size.

How many shipments an order needs at least is found first, then the first of all sets of that size by the steps of
`rank`. Sets are searched member by member in the order of the steps; the last up to three members are found among all
sets of them at once (`subset_tables`). A member is tried only if the rest can be covered after it. One of the locations
that have the scarcest product must be in a set that covers it, so only these are tried. The search is exact, because no
set that could be the best is passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from heapq import nlargest
from operator import sub

from policies.decisions.planning.plan_steps import Branch, plan_steps
from policies.decisions.planning.sets.branch_search import units_within_reach
from policies.decisions.planning.sets.candidate_pool import CandidatePool
from policies.decisions.planning.sets.set_comparison import NOTHING, SetComparison, StepNumbers
from policies.decisions.planning.sets.set_narrowing import Narrow, narrowing
from policies.decisions.planning.sets.subset_tables import Need
from policies.domain.rate_table import ShippingCost
from policies.policy_set import LOWEST_COST

_STEPS_PER_OFFER = 300
"""Cost of comparing one set, in steps; measured."""

_STEPS_PER_SET = 30
"""Cost of reading one set, in steps; measured."""

_COLUMNS_PER_STEP = 4
"""Products of which a step adds up what a candidate supplies; measured."""

_MAX_COUNTED = 250
"""Units of an order that are counted one by one for all sets at once."""

_FEW_SETS = 4
"""So few sets are compared one by one."""


class FixedSizeSearch:
    """Offers to the comparison the best sets of `size` candidates of a pool that cover all of the demand.

    `compared` are the steps that still tell sets of this size apart, in order; the pool is sorted by them.
    """

    def __init__(
        self, pool: CandidatePool, comparison: SetComparison, compared: Sequence[StepNumbers], size: int
    ) -> None:
        self.pool, self.comparison, self.size = pool, comparison, size
        self.tables, self.steps = pool.tables, pool.steps
        stock, chosen = comparison.stock, pool.candidates
        self._plan_steps = plan_steps(
            comparison.names,
            [stock.ranks[index] for index in chosen],
            [comparison.estimates[index] for index in chosen],
            [comparison.ids[index] for index in chosen],
        )
        costs = None if comparison.costs is None else [comparison.costs[index].least for index in chosen]
        fixed_costs = comparison.fixed_costs()
        self._narrowing: list[Narrow | None] = []
        self._compared = [step for step in compared if self._tells_apart(step)]
        self._costs = costs
        self._fixed_costs = None if fixed_costs is None else [fixed_costs[index] for index in chosen]
        self._narrows = True
        self._is_cost_first = [step.name for step in self._compared[:1]] == [LOWEST_COST]
        self._lowest_cost: Decimal | None = None
        if comparison.names[0] == LOWEST_COST and comparison.best_covered == comparison.total:
            self._lowest_cost = comparison.best_cost
        self._shipment_costs = None if costs is None else [cost.per_shipment for cost in costs]
        self._grams = stock.known_weight(stock.demand) if comparison.sees_weight else 0
        self._least_unit_cost = self._least_for_all(costs or ())

    @property
    def is_hopeless(self) -> bool:
        """Whether no set of this size can beat the best set so far."""
        return self._is_hopeless([], 0, self.size)

    def cover(self) -> None:
        """Searches the sets that cover all of the demand."""
        self._cover([], self.pool.needs, 0, self.size)

    def cover_each(self) -> None:
        """Searches as `cover`, but offers every set, as not all of them need to be plans."""
        self._narrows = False
        self.cover()

    def cover_most(self) -> None:
        """Searches the sets that cover most, where no set of this size covers all."""
        self._is_cost_first = False
        if self.size <= self.tables.largest + 1 and self.comparison.total <= _MAX_COUNTED:
            self._reach = units_within_reach([sum(row) for row in self.pool.rows], self.size)
            self._count_most([], self.pool.needs, 0, self.size)
        else:
            self._add_most([], self.comparison.stock.demand, 0, [sum(row) for row in self.pool.rows], 0)

    def _cover(self, chosen: list[int], needs: Sequence[Need], start: int, size: int) -> None:
        if size <= self.tables.largest:
            if not self._is_hopeless(chosen, start, size):
                self._offer(chosen, self.tables.covering(needs, start, size), size)
            return
        for place in range(start, self.pool.count - size + 1):
            self.steps.take(10)
            if self._is_hopeless(chosen, place, size):
                return
            rest = self.pool.needs_after(needs, place)
            if size - 1 <= self.tables.largest or self.pool.can_cover(rest, size - 1, place + 1):
                self._cover([*chosen, place], rest, place + 1, size - 1)

    def _count_most(self, chosen: list[int], needs: Sequence[Need], start: int, size: int) -> None:
        """Counts what all sets of the last members lack, unit by unit."""
        most = self.comparison.total - self.comparison.best_covered
        if size <= self.tables.largest:
            found, _ = self.tables.lacking_least(needs, start, size, most)
            self._offer(chosen, found, size)
            return
        missing = sum(amount for _, amount in needs)
        for place in range(start, self.pool.count - size + 1):
            self.steps.take(_STEPS_PER_SET)
            if missing - self._reach[place][size] > self.comparison.total - self.comparison.best_covered:
                return
            self._count_most([*chosen, place], self.pool.needs_after(needs, place), place + 1, size - 1)

    def _add_most(
        self, chosen: list[int], needs: tuple[int, ...], covered: int, most: Sequence[int], start: int
    ) -> None:
        """Adds each candidate from `start` on with which the set may still be the best.

        `most` has the most units that each can add; it adds fewer, the more are chosen before.
        """
        rows, others, best = self.pool.rows, self.size - len(chosen) - 1, self.comparison
        if not others:
            self._add_last(chosen, needs, covered, most, start)
            return
        gains = [*most]
        for place in range(start, self.pool.count):
            self.steps.take(2 + len(needs) // _COLUMNS_PER_STEP)
            gains[place] = sum(map(min, needs, rows[place]))
        for place in range(start, self.pool.count - others):
            self.steps.take(_STEPS_PER_SET)
            reach = covered + gains[place] + sum(nlargest(others, gains[place + 1 :]))
            if gains[place] and reach >= best.best_covered:
                rest = tuple(map(sub, needs, map(min, needs, rows[place])))
                self._add_most([*chosen, place], rest, covered + gains[place], gains, place + 1)

    def _add_last(
        self, chosen: list[int], needs: tuple[int, ...], covered: int, most: Sequence[int], start: int
    ) -> None:
        rows, best = self.pool.rows, self.comparison
        self.steps.take(self.pool.count - start)
        for place in range(start, self.pool.count):
            if covered + most[place] < best.best_covered:
                continue
            self.steps.take(2 + len(needs) // _COLUMNS_PER_STEP)
            if covered + sum(map(min, needs, rows[place])) >= best.best_covered:
                self.steps.take(_STEPS_PER_OFFER)
                best.offer([self.pool.candidates[member] for member in (*chosen, place)])

    def _tells_apart(self, step: StepNumbers) -> bool:
        return step.name == LOWEST_COST or len({step.numbers[index] for index in self.pool.candidates}) > 1

    def _is_hopeless(self, chosen: Sequence[int], start: int, size: int) -> bool:
        """Whether no set of `chosen` plus `size` candidates from `start` on can beat the best set so far."""
        best = self.comparison
        if best.best_covered < best.total:
            return False
        cost = self._least_unit_cost
        if self._shipment_costs is not None:
            cost += sum([self._shipment_costs[place] for place in chosen], NOTHING)
        branch = Branch(chosen, start, size, size, 0, cost)
        return (-best.total, *[step.bound(branch) for step in self._plan_steps]) >= best.best_key

    def _offer(self, chosen: Sequence[int], found: int, size: int) -> None:
        """Offers the first of the sets found, each with `chosen`."""
        for number, step in enumerate(self._compared if self._narrows else ()):
            if found.bit_count() <= _FEW_SETS:
                break
            if number == len(self._narrowing):
                self._narrowing.append(narrowing(self.pool, step, self._fixed_costs, is_first=not number))
            narrow = self._narrowing[number]
            if narrow is None:
                break
            found = narrow(found, size, chosen)
        for members in self.tables.members(found, size):
            if not self._narrows and self._is_hopeless(chosen, members[0], size):
                return
            places = (*chosen, *members)
            if self._costs_too_much(places):
                self.steps.take(_STEPS_PER_SET)
                continue
            self.steps.take(_STEPS_PER_OFFER)
            cost = self.comparison.offer([self.pool.candidates[place] for place in places])
            if cost is not None and (self._lowest_cost is None or cost < self._lowest_cost):
                self._lowest_cost = cost

    def _least_for_all(self, costs: Sequence[ShippingCost]) -> Decimal:
        """What all of the demand costs at least, besides what each shipment costs."""
        per_unit = min([cost.per_unit for cost in costs], default=NOTHING)
        per_kg = min([cost.per_kg for cost in costs], default=NOTHING) if self._grams else NOTHING
        return ShippingCost(NOTHING, per_unit, per_kg).of(self.comparison.total, self._grams)

    def _costs_too_much(self, places: Sequence[int]) -> bool:
        """Whether a set costs more than one that was offered, where cost is the first step that tells them apart."""
        if self._costs is None or self._lowest_cost is None or not self._is_cost_first:
            return False
        chosen = [self._costs[place] for place in places]
        least = self._least_for_all(chosen)
        return sum([cost.per_shipment for cost in chosen], least) > self._lowest_cost
