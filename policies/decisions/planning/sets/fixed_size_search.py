"""The best set of locations of a known size, among all sets of that size.

How many shipments an order needs at least is found first, then the first of all sets of that size by the steps of
`rank`. Sets are searched member by member in the order of the steps; the last up to three members are found among all
sets of them at once (`subset_tables`). A member is tried only if the rest can be covered after it. One of the locations
that have the scarcest product must be in a set that covers it, so only these are tried. The search is exact, because no
set that could be the best is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import combinations_with_replacement
from math import inf

from policies.decisions.planning.plan_steps import Branch, plan_steps
from policies.decisions.planning.sets.branch_search import units_within_reach
from policies.decisions.planning.sets.candidate_pool import CandidatePool
from policies.decisions.planning.sets.set_comparison import NOTHING, SetComparison, StepNumbers
from policies.decisions.planning.sets.subset_tables import Need
from policies.policy_set import EARLIEST_PROMISE, FEWEST_SHIPMENTS, LOWEST_COST, ShippingCost

_STEPS_PER_OFFER = 150
"""Cost of comparing one set, in steps; measured."""

_STEPS_PER_SET = 30
"""Cost of reading one set, in steps; measured."""

_FEW_SETS = 4
"""So few sets are compared one by one."""

_MAX_COSTS = 8
"""Different costs of a shipment, beyond which sets are not told apart by them but compared one by one."""


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
        costs = None if comparison.costs is None else [comparison.costs[index] for index in chosen]
        self._narrowing: list[Narrow | None] = []
        self._compared, self._costs = compared, costs
        self._narrows = True
        self._shipment_costs = None if costs is None else [cost.per_shipment for cost in costs]
        self._least_unit_cost = min([cost.per_unit for cost in costs or ()], default=NOTHING) * comparison.total

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
        self._reach = units_within_reach([sum(row) for row in self.pool.rows], self.size)
        self._cover_most([], self.pool.needs, 0, self.size)

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

    def _cover_most(self, chosen: list[int], needs: Sequence[Need], start: int, size: int) -> None:
        missing = sum(amount for _, amount in needs)
        most = self.comparison.total - self.comparison.best_covered
        if size <= self.tables.largest:
            found, _ = self.tables.lacking_least(needs, start, size, most)
            self._offer(chosen, found, size)
            return
        for place in range(start, self.pool.count - size + 1):
            self.steps.take(10)
            if missing - self._reach[place][size] > self.comparison.total - self.comparison.best_covered:
                return
            self._cover_most([*chosen, place], self.pool.needs_after(needs, place), place + 1, size - 1)

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
                self._narrowing.append(_narrowing(self.pool, step, self._costs))
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
            self.comparison.offer([self.pool.candidates[place] for place in places])

    def _costs_too_much(self, places: Sequence[int]) -> bool:
        """Whether a set cannot be as cheap as the best so far, if cost is compared first."""
        if self._costs is None or self.comparison.names[0] != LOWEST_COST:
            return False
        chosen = [self._costs[place] for place in places]
        least = min([cost.per_unit for cost in chosen]) * self.comparison.best_covered
        return sum([cost.per_shipment for cost in chosen], least) > self.comparison.best_cost


Narrow = Callable[[int, int, Sequence[int]], int]


def _narrowing(pool: CandidatePool, step: StepNumbers, costs: Sequence[ShippingCost] | None) -> Narrow | None:
    """What leaves of some sets of equal size those that are first by a step; None if they must be compared."""
    numbers = [step.numbers[index] for index in pool.candidates]
    values = sorted(set(numbers))
    if step.compares_members:
        classes = [
            (pool.tables.add_column([int(number == value) for number in numbers]), numbers.count(value))
            for value in values
        ]
        return lambda found, size, chosen: _with_most_of_first(pool, classes, found, size)
    if step.name == EARLIEST_PROMISE:
        by_day = [(day, pool.tables.add_column([int(number <= day) for number in numbers])) for day in values]
        return lambda found, size, chosen: _within_first_day(
            pool, by_day, found, size, max([numbers[place] for place in chosen], default=-inf)
        )
    known = [cost for cost in costs or () if cost.per_shipment.is_finite()]
    if step.name == LOWEST_COST and costs is not None and len({cost.per_unit for cost in known}) == 1:
        amounts = [cost.per_shipment for cost in costs]
        columns = {x: pool.tables.add_column([int(amount == x) for amount in amounts]) for x in set(amounts)}
        if len(columns) <= _MAX_COSTS:
            # Next to a cost that is unknown, all others are alike.
            return lambda found, size, chosen: (
                _cheapest(pool, columns, found, size) if all(amounts[place].is_finite() for place in chosen) else found
            )
    return (lambda found, size, chosen: found) if step.name == FEWEST_SHIPMENTS else None


def _with_most_of_first(pool: CandidatePool, classes: Sequence[tuple[int, int]], found: int, size: int) -> int:
    """The sets with most members of the first class, of these those with most of the second, and so on."""
    left = size
    for column, largest in classes:
        for amount in range(min(left, largest), 0, -1):
            pool.steps.take(pool.tables.step_cost[size])
            narrowed = found & pool.tables.supplied(size, (column, amount))
            if narrowed:
                found, left = narrowed, left - amount
                break
        if not left:
            break
    return found


def _within_first_day(
    pool: CandidatePool,
    by_day: Sequence[tuple[float | Decimal, int]],
    found: int,
    size: int,
    not_before: float | Decimal,
) -> int:
    """The sets whose members all deliver by the first day that any of the sets can keep."""
    for day, column in by_day:
        pool.steps.take(pool.tables.step_cost[size])
        narrowed = found & pool.tables.supplied(size, (column, size)) if day >= not_before else 0
        if narrowed:
            return narrowed
    return found


def _cheapest(pool: CandidatePool, columns: Mapping[Decimal, int], found: int, size: int) -> int:
    """The sets with the lowest sum of costs; `columns` has the candidates that have each cost."""
    cheapest, lowest = 0, NOTHING
    for costs in sorted(combinations_with_replacement(sorted(columns), size), key=sum):
        if cheapest and sum(costs) > lowest:
            break
        narrowed = found
        for cost in set(costs):
            pool.steps.take(pool.tables.step_cost[size])
            narrowed &= pool.tables.supplied(size, (columns[cost], costs.count(cost)))
        if narrowed:
            cheapest, lowest = cheapest | narrowed, sum(costs, NOTHING)
    return cheapest
