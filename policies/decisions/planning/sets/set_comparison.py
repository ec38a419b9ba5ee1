"""How sets of candidates compare, and the numbers of each step by candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf, isinf

from policies.decisions.planning.plan_steps import ShippingEstimate, cost_of, plan_steps
from policies.decisions.planning.sets.candidate_stock import CandidateStock
from policies.domain.rate_table import ShippingCost
from policies.policy_set import EARLIEST_PROMISE, LOWEST_COST, PLAN_STEPS

NOTHING = Decimal(0)

Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """One step of `rank` with its number for each candidate, lower first: its rank, its day or its cost alone."""

    name: str
    numbers: tuple[float | Decimal, ...]

    @property
    def compares_members(self) -> bool:
        """Whether it is a location step, which compares the sorted numbers of the members."""
        return self.name not in PLAN_STEPS


class BestSet:
    """The best of the sets kept, by units covered, then by the steps, then by location ids. `best` is the first one."""

    def __init__(self, stock: CandidateStock, steps: Sequence[str], estimates: Sequence[ShippingEstimate]) -> None:
        ids = {key: number for number, key in enumerate(sorted(stock.ids))}
        self.stock, self.names, self.estimates = stock, steps, estimates
        self.ids = [ids[key] for key in stock.ids]
        # Costs are added up only if a step compares them.
        self.costs = [cost_of(estimate) for estimate in estimates] if LOWEST_COST in steps else None
        self.sees_weight = self.costs is not None and any(cost.sees_weight for cost in self.costs)
        self.total = sum(stock.demand)
        self.best: list[int] = []
        self.best_covered = 0
        self.best_cost = NOTHING
        self.best_key: Key = ()
        self.steps = plan_steps(steps, stock.ranks, estimates, self.ids)

    def keep(self, chosen: list[int], covered: int, cost: Decimal) -> None:
        """Keeps the set if it is better than the best."""
        key = self.key(chosen, covered, cost)
        if not self.best or key < self.best_key:
            self.best, self.best_covered, self.best_cost, self.best_key = chosen, covered, cost, key

    def key(self, chosen: Sequence[int], covered: int, cost: Decimal) -> Key:
        """What the set is compared by."""
        return (-covered, *[step.key_part(chosen, cost) for step in self.steps])

    def cost(self, chosen: Sequence[int], units: Sequence[Sequence[int]]) -> Decimal:
        """What the set costs if its members supply these units of each SKU; 0 if no step compares costs."""
        if self.costs is None:
            return NOTHING
        return sum([self.member_cost(index, given) for index, given in zip(chosen, units, strict=True)], NOTHING)

    def member_cost(self, index: int, units: Sequence[int]) -> Decimal:
        """What a shipment of these units of each SKU costs; 0 if no step compares costs."""
        if self.costs is None:
            return NOTHING
        return self.costs[index].of(sum(units), self.stock.weight(units) if self.sees_weight else 0)

    def fixed_costs(self) -> list[ShippingCost] | None:
        """The costs of the candidates if each is a sum of amounts that are known; None otherwise."""
        costs = [cost for cost in self.costs or () if isinstance(cost, ShippingCost)]
        if self.costs is None or len(costs) < len(self.costs):
            return None
        # Next to a cost that is unknown, all others are alike.
        is_weighed = not self.sees_weight or not any(map(isinf, self.stock.grams))
        return costs if is_weighed else None


class SetComparison(BestSet):
    """Compares sets of which all members supply something."""

    def offer(self, members: Sequence[int]) -> Decimal | None:
        """Keeps the set if it is better than the best. Returns its cost; None if a member supplies nothing."""
        chosen, units = sorted(members), [units for _, units in self.stock.given(members)]
        counts = list(map(sum, units))
        if not all(counts):
            return None
        cost = self.cost(chosen, units)
        self.keep(chosen, sum(counts), cost)
        return cost

    def numbers(self) -> list[StepNumbers]:
        """The steps in order, then the ids."""
        steps, column = [], 0
        for name in self.names:
            if name == LOWEST_COST:
                steps.append(StepNumbers(name, tuple([self._cost_of_one(x) for x in self.estimates])))
            elif name == EARLIEST_PROMISE:
                days = [inf if item.arrives is None else item.arrives.toordinal() for item in self.estimates]
                steps.append(StepNumbers(name, tuple(days)))
            elif name in PLAN_STEPS:
                steps.append(StepNumbers(name, (0,) * len(self.ids)))
            else:
                steps.append(StepNumbers(name, tuple([ranks[column] for ranks in self.stock.ranks])))
                column += 1
        return [*steps, StepNumbers("", tuple(self.ids))]

    def _cost_of_one(self, estimate: ShippingEstimate) -> Decimal:
        """The cost of a shipment of one light unit."""
        lightest = min(self.stock.grams, default=0)
        return cost_of(estimate).of(1, lightest if isinstance(lightest, float) else int(lightest))
