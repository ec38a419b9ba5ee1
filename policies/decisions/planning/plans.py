"""Which locations ship which units: filled in rank order, or by a search for the best set if a step compares sets.

Sets are compared by units covered, then by the steps of `rank` in order (`plan_steps`), then by location ids.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from operator import sub

from policies.decisions.planning.plan_steps import UNKNOWN_ESTIMATE, Branch, ShippingEstimate, cost_of, plan_steps
from policies.decisions.planning.ranking import Ranks
from policies.domain.model import go_on
from policies.policy_set import FEWEST_SHIPMENTS, LOWEST_COST, PLAN_STEPS

MAX_LOOKUPS = 60_000
"""How many stock figures (of one SKU at one location) a search reads before it returns the best set found so far."""

_LOOKUPS_PER_SET = 8
"""Cost of bounding and comparing a set, in lookups; measured."""

NO_ESTIMATES: Mapping[str, ShippingEstimate] = {}

_NOTHING = Decimal(0)

_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Units of each SKU that one location ships; `lines` are those of each line, if they are not in line order."""

    location_id: str
    units: Mapping[str, int]
    lines: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """The loads in fill order, best-ranked location first; none is empty."""

    loads: tuple[Load, ...] = ()
    searched_exhaustively: bool = True

    def placed(self, sku: str) -> int:
        """Units of the product in all loads together."""
        return sum(load.units.get(sku, 0) for load in self.loads)


def best_plan(
    demand: Mapping[str, int],
    stock: Mapping[str, Mapping[str, int]],
    ranks: Mapping[str, Ranks],
    *,
    steps: Sequence[str] = (),
    max_shipments: int | None = None,
    estimates: Mapping[str, ShippingEstimate] = NO_ESTIMATES,
    pause: Callable[[], None] = go_on,
) -> Plan:
    """The plan that covers most of the demand within `max_shipments`; of equal plans the first by `steps`.

    `stock` is by SKU and location id, in units. `ranks` has the locations that may be used, with a rank for each
    location step of `steps`. Without a plan step the locations are filled in the order of (ranks, id). `estimates` are
    by location id, for plan steps that compare cost or delivery days. `pause` is that of the world (`World`).
    """
    candidates = _candidates(demand, stock, ranks, pause)
    limit = len(candidates.ids) if max_shipments is None else max_shipments
    compared = [step for step in steps if step in PLAN_STEPS]
    if not compared:
        return candidates.plan(candidates.fill(range(len(candidates.ids)), limit))
    sole_suppliers = [index for index, holding in enumerate(candidates.holdings) if holding == candidates.demand]
    # A location that covers everything is the best set if shipments are compared first or none ranks above it.
    if compared == [FEWEST_SHIPMENTS] and sole_suppliers and (sole_suppliers[0] == 0 or steps[0] == FEWEST_SHIPMENTS):
        return candidates.plan(sole_suppliers[:1])
    known_estimates = [estimates.get(key, UNKNOWN_ESTIMATE) for key in candidates.ids]
    search = _Search(candidates, steps, limit, known_estimates, pause)
    searched = search.run(sole_suppliers if steps[0] == FEWEST_SHIPMENTS else ())
    return candidates.plan(search.best, searched)


@dataclass(frozen=True, slots=True)
class _CandidateStock:
    """Candidates by number, best-ranked first, with the units that each can supply; `demand` is what all can supply."""

    skus: tuple[str, ...]
    demand: tuple[int, ...]
    ids: tuple[str, ...]
    ranks: tuple[Ranks, ...]
    holdings: tuple[tuple[int, ...], ...]

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

    def plan(self, chosen: Sequence[int], searched_exhaustively: bool = True) -> Plan:
        remaining, loads = self.demand, []
        for index in sorted(chosen):
            given = units_given(remaining, self.holdings[index])
            remaining = tuple(map(sub, remaining, given))
            units = {sku: unit_count for sku, unit_count in zip(self.skus, given, strict=True) if unit_count}
            loads.append(Load(self.ids[index], units))
        return Plan(tuple(loads), searched_exhaustively)


def units_given(remaining: Sequence[int], holding: Sequence[int]) -> tuple[int, ...]:
    """Units of each SKU that a location with this stock supplies of the remaining demand."""
    return tuple(map(min, remaining, holding))


def _candidates(
    demand: Mapping[str, int],
    stock: Mapping[str, Mapping[str, int]],
    ranks: Mapping[str, Ranks],
    pause: Callable[[], None],
) -> _CandidateStock:
    skus = tuple(sku for sku in demand if stock.get(sku))
    requests = [(demand[sku], stock[sku]) for sku in skus]
    ids = sorted(ranks, key=lambda key: (ranks[key], key))
    holdings = []
    for key in ids:
        holding = tuple([min(requested, units.get(key, 0)) for requested, units in requests])
        if any(holding):
            holdings.append((key, holding))
        pause()
    supply = [sum(column) for column in zip(*(holding for _, holding in holdings), strict=True)] or [0] * len(skus)
    return _CandidateStock(
        skus=skus,
        demand=tuple([min(requested, supplied) for (requested, _), supplied in zip(requests, supply, strict=True)]),
        ids=tuple([key for key, _ in holdings]),
        ranks=tuple([ranks[key] for key, _ in holdings]),
        holdings=tuple([holding for _, holding in holdings]),
    )


class _Search:
    """Branch and bound over sets of candidates in rank order.

    It is exact, because a set's key is never below the bounds of its branch. Source: A. H. Land &
    A. G. Doig, "An Automatic Method of Solving Discrete Programming Problems", Econometrica 28 (1960).
    """

    def __init__(
        self,
        candidates: _CandidateStock,
        steps: Sequence[str],
        limit: int,
        estimates: Sequence[ShippingEstimate],
        pause: Callable[[], None],
    ) -> None:
        self.candidates = candidates
        self.pause = pause
        self.limit = min(limit, len(candidates.ids))
        numbers = {key: number for number, key in enumerate(sorted(candidates.ids))}
        self.steps = plan_steps(steps, candidates.ranks, estimates, [numbers[key] for key in candidates.ids])
        self.is_counted_first = steps[0] == FEWEST_SHIPMENTS
        # Costs are added up only if a step compares them.
        self.costs = [cost_of(estimate) for estimate in estimates] if LOWEST_COST in steps else None
        self.potential = [sum(holding) for holding in candidates.holdings]
        self.total = sum(candidates.demand)
        # The number of sets grows exponentially, so the search is limited by work and not by a clock: policies/ reads
        # no clock, and a replay must come to the same plan on a slower machine.
        self.lookups_left = MAX_LOOKUPS
        self.best: list[int] = []
        self.best_covered = 0
        self.best_key: _Key = ()

    def run(self, sole_suppliers: Sequence[int] = ()) -> bool:
        """Finds the best set, which is one of `sole_suppliers` if given; False if MAX_LOOKUPS ended the search."""
        if sole_suppliers:
            for index in sole_suppliers:
                self._offer([index], self.total, self._cost(index, self.total))
            return True
        all_candidates = range(len(self.candidates.ids))
        self._offer_filled(self.candidates.fill(all_candidates, self.limit))
        self._offer_filled(self._greedy())
        if self.is_counted_first and self.best_covered == self.total:
            self.limit = len(self.best)
        if len(all_candidates) * self.limit > self.lookups_left:
            return False
        self.reach = units_within_reach(self.potential, self.limit)
        self._extend(0, [], self.candidates.demand, _NOTHING)
        return self.lookups_left > 0

    def _extend(self, start: int, chosen: list[int], remaining: tuple[int, ...], cost: Decimal) -> None:
        """Tries every candidate from `start` on as the next member of the set."""
        given = self.total - sum(remaining)
        for index in range(start, len(self.candidates.ids)):
            self.pause()
            self.lookups_left -= _LOOKUPS_PER_SET + len(remaining) + 2 * len(chosen)
            if self.lookups_left <= 0 or self._is_hopeless(index, chosen, given, cost):
                return
            gives = units_given(remaining, self.candidates.holdings[index])
            unit_count = sum(gives)
            if not unit_count:
                continue
            extended, extended_cost = [*chosen, index], cost + self._cost(index, unit_count)
            if given + unit_count >= self.best_covered:
                self._offer(extended, given + unit_count, extended_cost)
            if len(extended) < self.limit and given + unit_count < self.total:
                self._extend(index + 1, extended, tuple(map(sub, remaining, gives)), extended_cost)

    def _offer(self, chosen: list[int], given: int, cost: Decimal) -> None:
        key = (-given, *[step.key_part(chosen, cost) for step in self.steps])
        if not self.best or key < self.best_key:
            self.best, self.best_covered, self.best_key = chosen, given, key

    def _offer_filled(self, chosen: list[int]) -> None:
        counts = [sum(load.units.values()) for load in self.candidates.plan(chosen).loads]
        cost = sum(map(self._cost, chosen, counts), _NOTHING)
        self._offer(chosen, sum(counts), cost)

    def _cost(self, index: int, unit_count: int) -> Decimal:
        return _NOTHING if self.costs is None else self.costs[index].of(unit_count)

    def _is_hopeless(self, start: int, chosen: Sequence[int], given: int, cost: Decimal) -> bool:
        """Whether no set of `chosen` plus one or more candidates from `start` on can beat the best set so far."""
        slots = self.limit - len(chosen)
        most = min(self.total, given + self.reach[start][slots])
        if most != self.best_covered:
            return most < self.best_covered
        missing = self.best_covered - given
        fewest = max(1, bisect_left(self.reach[start], missing))
        branch = Branch(chosen, start, fewest, slots, missing, cost)
        return (-self.best_covered, *[step.bound(branch) for step in self.steps]) >= self.best_key

    def _greedy(self) -> list[int]:
        """Always adds the candidate that covers most of the remaining demand, the best-ranked of equals."""
        remaining, chosen, holdings = self.candidates.demand, list[int](), self.candidates.holdings
        while any(remaining) and len(chosen) < self.limit:
            self.pause()
            free = [index not in chosen for index in range(len(holdings))]
            gains = [
                sum(units_given(remaining, holding)) * is_free for holding, is_free in zip(holdings, free, strict=True)
            ]
            index = gains.index(max(gains))
            chosen.append(index)
            remaining = tuple(map(sub, remaining, units_given(remaining, holdings[index])))
        return self.candidates.fill(sorted(chosen), self.limit)


def units_within_reach(potential: Sequence[int], limit: int) -> list[list[int]]:
    """For each candidate, the most units that 0, 1, ... `limit` candidates from it on can supply together."""
    rows, largest = list[list[int]](), list[int]()
    for units in reversed(potential):
        largest = sorted([*largest, units], reverse=True)[:limit]
        row = [0]
        for unit_count in largest:
            row.append(row[-1] + unit_count)
        rows.append(row + [row[-1]] * (limit + 1 - len(row)))
    return rows[::-1]
