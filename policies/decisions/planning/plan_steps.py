"""How sets of locations are compared: one part of the sort key for each step of `rank`, in order, lower first.

Candidates are numbered in rank order. An unknown cost or day is infinite, so that it comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import accumulate
from math import inf
from typing import NamedTuple, Protocol, TypeVar

from policies.domain.rate_table import INFINITE_COST, ShippingCost, ShippingRates
from policies.policy_set import EARLIEST_PROMISE, FEWEST_SHIPMENTS, LOWEST_COST

UNKNOWN_COST = ShippingCost(per_shipment=INFINITE_COST)
_GRAMS_PER_KG = 1_000


@dataclass(frozen=True, slots=True)
class ShippingEstimate:
    """Shipping cost and delivery day from one location. None means unknown."""

    cost: ShippingRates | None = None
    arrives: date | None = None


UNKNOWN_ESTIMATE = ShippingEstimate()


class Branch(NamedTuple):
    """All sets of `location_set` plus `fewest` to `slots` candidates from `start` on that supply `missing` more units.

    `cost` is the shipping cost of `location_set`; the missing units weigh `missing_grams` or more.
    """

    location_set: Sequence[int]
    start: int
    fewest: int
    slots: int
    missing: int
    cost: Decimal
    missing_grams: float = 0


class PlanStep(Protocol):
    """One part of a set's sort key. A bound is never above the key part of any set in its branch."""

    def key_part(self, location_set: Sequence[int], cost: Decimal) -> object:
        """The key part of a set with this cost."""

    def bound(self, branch: Branch) -> object:
        """A lower bound for the key part of every set in the branch."""


def plan_steps(
    names: Sequence[str],
    ranks: Sequence[Sequence[float]],
    estimates: Sequence[ShippingEstimate],
    numbers: Sequence[float],
) -> list[PlanStep]:
    """The steps with these names, then one that compares `numbers`. `ranks` are those of the location steps."""
    steps: list[PlanStep] = []
    columns = iter(range(len(names)))
    for name in names:
        if name == FEWEST_SHIPMENTS:
            steps.append(_ByShipmentCount())
        elif name == LOWEST_COST:
            steps.append(_ByCost([cost_of(estimate) for estimate in estimates]))
        elif name == EARLIEST_PROMISE:
            steps.append(
                _ByArrival(
                    [inf if estimate.arrives is None else estimate.arrives.toordinal() for estimate in estimates]
                )
            )
        else:
            column = next(columns)
            steps.append(_ByRank([rank[column] for rank in ranks], _compares_count(steps)))
    return [*steps, _ByRank(numbers, _compares_count(steps))]


def cost_of(estimate: ShippingEstimate) -> ShippingRates:
    """The shipping cost of an estimate, infinite if it is unknown."""
    return UNKNOWN_COST if estimate.cost is None else estimate.cost


class _ByRank:
    """Compares the sorted ranks in lexicographic order: a list that is a prefix of another comes first."""

    __slots__ = ("_is_counted", "_least", "_ranks")

    def __init__(self, ranks: Sequence[float], is_counted: bool) -> None:
        self._ranks, self._least, self._is_counted = ranks, _minimum_from(ranks), is_counted

    def key_part(self, location_set: Sequence[int], cost: Decimal) -> object:
        return sorted([self._ranks[index] for index in location_set])

    def bound(self, branch: Branch) -> object:
        least = self._least[branch.start]
        ranks = [self._ranks[index] for index in branch.location_set]
        # More members lower the key only if one sorts before a chosen one, and never after a step that compares counts.
        counts = self._is_counted or not ranks or max(ranks) <= least
        return sorted(ranks + [least] * (branch.fewest if counts else branch.slots))


class _ByShipmentCount:
    """Fewer shipments first."""

    __slots__ = ()

    def key_part(self, location_set: Sequence[int], cost: Decimal) -> object:
        return len(location_set)

    def bound(self, branch: Branch) -> object:
        return len(branch.location_set) + branch.fewest


class _ByCost:
    """Lower total shipping cost first."""

    __slots__ = ("_per_kg", "_per_shipment", "_per_unit")

    def __init__(self, rates: Sequence[ShippingRates]) -> None:
        costs = [of_location.least for of_location in rates]
        self._per_shipment = _minimum_from([cost.per_shipment for cost in costs])
        self._per_unit = _minimum_from([cost.per_unit for cost in costs])
        self._per_kg = _minimum_from([cost.per_kg for cost in costs])

    def key_part(self, location_set: Sequence[int], cost: Decimal) -> object:
        return cost

    def bound(self, branch: Branch) -> object:
        more = self._per_shipment[branch.start] * branch.fewest + self._per_unit[branch.start] * branch.missing
        if branch.missing_grams:
            more += self._per_kg[branch.start] * Decimal(branch.missing_grams) / _GRAMS_PER_KG
        return branch.cost + more


class _ByArrival:
    """Earlier day of the last delivery first."""

    __slots__ = ("_days", "_least")

    def __init__(self, days: Sequence[float]) -> None:
        self._days, self._least = days, _minimum_from(days)

    def key_part(self, location_set: Sequence[int], cost: Decimal) -> object:
        return max([self._days[index] for index in location_set], default=0)

    def bound(self, branch: Branch) -> object:
        return max([self._least[branch.start], *[self._days[index] for index in branch.location_set]])


Amount = TypeVar("Amount", float, Decimal)


def _minimum_from(amounts: Sequence[Amount]) -> list[Amount]:
    """The minimum from each candidate on."""
    return list(accumulate(reversed(amounts), min))[::-1]


def _compares_count(steps: Sequence[PlanStep]) -> bool:
    return any(isinstance(step, _ByShipmentCount) for step in steps)
