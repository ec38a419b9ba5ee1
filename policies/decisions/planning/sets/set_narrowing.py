"""What leaves, of many sets of candidates at once, those that are first by one step of `rank`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import combinations_with_replacement
from math import inf

from policies.decisions.planning.sets.candidate_pool import CandidatePool
from policies.decisions.planning.sets.set_comparison import NOTHING, StepNumbers
from policies.domain.rate_table import ShippingCost
from policies.policy_set import EARLIEST_PROMISE, LOWEST_COST

_MAX_COSTS = 8
"""Different costs of a shipment, beyond which sets are not told apart by them but compared one by one."""

Narrow = Callable[[int, int, Sequence[int]], int]
"""From the sets found, their size, and the candidates chosen before them, to the first of the sets."""


def narrowing(
    pool: CandidatePool, step: StepNumbers, costs: Sequence[ShippingCost] | None, *, is_first: bool
) -> Narrow | None:
    """What leaves of some sets of equal size those that are first by a step; None if they must be compared.

    The sets are those that complete the same chosen candidates. `costs` are those of the pool's candidates, None if no
    step compares them or they are not all sums of amounts. `is_first` says that no step before tells sets apart.
    """
    numbers = [step.numbers[index] for index in pool.candidates]
    values = sorted(set(numbers))
    if is_first and step.compares_members and len(values) == len(numbers):
        # The pool is in the order of this step, and so are the sets.
        return lambda found, size, chosen: found & -found
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
    if step.name == LOWEST_COST and costs is not None and len({(cost.per_unit, cost.per_kg) for cost in known}) == 1:
        amounts = [cost.per_shipment for cost in costs]
        columns = {x: pool.tables.add_column([int(amount == x) for amount in amounts]) for x in set(amounts)}
        if len(columns) <= _MAX_COSTS:
            # Next to a cost that is unknown, all others are alike.
            return lambda found, size, chosen: (
                _cheapest(pool, columns, found, size) if all(amounts[place].is_finite() for place in chosen) else found
            )
    return None


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
