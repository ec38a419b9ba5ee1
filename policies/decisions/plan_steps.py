"""How sets of locations are compared, step by step as `rank` is written: a part of the key for each, lower first.

Candidates are numbers in rank order. What is unknown of a shipment is infinite, so that it comes last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import accumulate
from math import inf
from typing import NamedTuple, Protocol, TypeVar

from policies.policy_set import EARLIEST_PROMISE, FEWEST_SHIPMENTS, LOWEST_COST, ShippingCost

UNKNOWN_COST = ShippingCost(per_shipment=Decimal("Infinity"))


@dataclass(frozen=True, slots=True)
class ShippingEstimate:
    """What sending from one location takes: its cost, and the day on which it is expected. None is unknown."""

    cost: ShippingCost | None = None
    arrives: date | None = None


UNKNOWN_ESTIMATE = ShippingEstimate()


class Branch(NamedTuple):
    """Sets of `chosen` and `fewest` to `slots` more candidates from `start` on, which give `missing` more units.

    `cost` is what those chosen cost.
    """

    chosen: Sequence[int]
    start: int
    fewest: int
    slots: int
    missing: int
    cost: Decimal


class PlanStep(Protocol):
    """One part of the key of a set. A bound is never above the part of any set of its branch."""

    def part(self, chosen: Sequence[int], cost: Decimal) -> object:
        """What the step says of a set, and of what it costs."""

    def bound(self, branch: Branch) -> object:
        """What no set of the branch comes before."""


def plan_steps(
    names: Sequence[str],
    ranks: Sequence[Sequence[float]],
    sendings: Sequence[ShippingEstimate],
    numbers: Sequence[float],
) -> list[PlanStep]:
    """The steps of these names, and at last the `numbers` of the candidates' ids. `ranks` are of location steps."""
    found: list[PlanStep] = []
    columns = iter(range(len(names)))
    for name in names:
        if name == FEWEST_SHIPMENTS:
            found.append(_ByShipmentCount())
        elif name == LOWEST_COST:
            found.append(_ByCost([cost_of(sending) for sending in sendings]))
        elif name == EARLIEST_PROMISE:
            found.append(_ByArrival([inf if one.arrives is None else one.arrives.toordinal() for one in sendings]))
        else:
            column = next(columns)
            found.append(_ByRank([rank[column] for rank in ranks], _compares_count(found)))
    return [*found, _ByRank(numbers, _compares_count(found))]


def cost_of(sending: ShippingEstimate) -> ShippingCost:
    """What shipments from there cost, which is infinite where it is unknown."""
    return UNKNOWN_COST if sending.cost is None else sending.cost


class _ByRank:
    """Compares the sorted ranks like words in a dictionary: a list that begins another comes first."""

    __slots__ = ("_is_counted", "_least", "_ranks")

    def __init__(self, ranks: Sequence[float], is_counted: bool) -> None:
        self._ranks, self._least, self._is_counted = ranks, _minimum_from(ranks), is_counted

    def part(self, chosen: Sequence[int], cost: Decimal) -> object:
        return sorted([self._ranks[index] for index in chosen])

    def bound(self, branch: Branch) -> object:
        least = self._least[branch.start]
        ranks = [self._ranks[index] for index in branch.chosen]
        # More members help only where they sort before one chosen, and not at all after a step that counts them.
        counts = self._is_counted or not ranks or max(ranks) <= least
        return sorted(ranks + [least] * (branch.fewest if counts else branch.slots))


class _ByShipmentCount:
    """Fewer shipments first."""

    __slots__ = ()

    def part(self, chosen: Sequence[int], cost: Decimal) -> object:
        return len(chosen)

    def bound(self, branch: Branch) -> object:
        return len(branch.chosen) + branch.fewest


class _ByCost:
    """The lower cost of all shipments first."""

    __slots__ = ("_per_shipment", "_per_unit")

    def __init__(self, costs: Sequence[ShippingCost]) -> None:
        self._per_shipment = _minimum_from([cost.per_shipment for cost in costs])
        self._per_unit = _minimum_from([cost.per_unit for cost in costs])

    def part(self, chosen: Sequence[int], cost: Decimal) -> object:
        return cost

    def bound(self, branch: Branch) -> object:
        more = self._per_shipment[branch.start] * branch.fewest + self._per_unit[branch.start] * branch.missing
        return branch.cost + more


class _ByArrival:
    """The earlier day of the last shipment first."""

    __slots__ = ("_days", "_least")

    def __init__(self, days: Sequence[float]) -> None:
        self._days, self._least = days, _minimum_from(days)

    def part(self, chosen: Sequence[int], cost: Decimal) -> object:
        return max([self._days[index] for index in chosen], default=0)

    def bound(self, branch: Branch) -> object:
        return max([self._least[branch.start], *[self._days[index] for index in branch.chosen]])


Amount = TypeVar("Amount", float, Decimal)


def _minimum_from(amounts: Sequence[Amount]) -> list[Amount]:
    """The least from each candidate on."""
    return list(accumulate(reversed(amounts), min))[::-1]


def _compares_count(steps: Sequence[PlanStep]) -> bool:
    return any(isinstance(step, _ByShipmentCount) for step in steps)
