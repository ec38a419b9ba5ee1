"""Which locations ship what: the fill in rank order, and the search for the best set where a plan step compares sets.

Sets are compared by units covered, then step by step as `rank` is written (`plan_steps`), then by location ids.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from operator import sub

from policies.decisions.plan_steps import UNKNOWN_ESTIMATE, Branch, ShippingEstimate, cost_of, plan_steps
from policies.decisions.ranking import Ranks
from policies.policy_set import FEWEST_SHIPMENTS, LOWEST_COST, PLAN_STEPS

MAX_LOOKUPS = 60_000
"""How many figures (of one SKU at one location) a search looks at before it settles for the best set found so far."""

_LOOKUPS_PER_SET = 8
"""What bounding and comparing a set costs, in looks; found by timing."""

NO_ESTIMATES: Mapping[str, ShippingEstimate] = {}

_NOTHING = Decimal(0)

_Key = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Units of each SKU that one location gives."""

    location_id: str
    units: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """The loads in fill order, best-ranked location first; every load gives something."""

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
    sendings: Mapping[str, ShippingEstimate] = NO_ESTIMATES,
) -> Plan:
    """The plan that covers most of the demand within `max_shipments`, and of those the first step by step.

    `stock` is by SKU and location id, in units; `ranks` has the locations that may be used, with a rank for each
    location step of `steps`. Without a plan step in `steps` the locations fill in the order of (ranks, id). `sendings`
    are by location id, for the plan steps that look at cost and dates.
    """
    field = _candidates(demand, stock, ranks)
    limit = len(field.ids) if max_shipments is None else max_shipments
    compared = [step for step in steps if step in PLAN_STEPS]
    if not compared:
        return field.plan(field.fill(range(len(field.ids)), limit))
    alone = [index for index, holding in enumerate(field.holdings) if holding == field.wanted]
    # A location that covers all is the best set where sets are counted first, or where no location ranks above it.
    if compared == [FEWEST_SHIPMENTS] and alone and (alone[0] == 0 or steps[0] == FEWEST_SHIPMENTS):
        return field.plan(alone[:1])
    search = _Search(field, steps, limit, [sendings.get(key, UNKNOWN_ESTIMATE) for key in field.ids])
    searched = search.run(alone if steps[0] == FEWEST_SHIPMENTS else ())
    return field.plan(search.best, searched)


@dataclass(frozen=True, slots=True)
class _CandidateStock:
    """Candidates by number, best-ranked first, and what each could give of every SKU; `wanted` is what all could."""

    skus: tuple[str, ...]
    wanted: tuple[int, ...]
    ids: tuple[str, ...]
    ranks: tuple[Ranks, ...]
    holdings: tuple[tuple[int, ...], ...]

    def fill(self, order: Iterable[int], limit: int) -> list[int]:
        """The first candidates in this order that give something, as many as are allowed or needed."""
        rest, giving = self.wanted, list[int]()
        for index in order:
            if len(giving) == limit or not any(rest):
                break
            given = units_given(rest, self.holdings[index])
            if any(given):
                giving.append(index)
                rest = tuple(map(sub, rest, given))
        return giving

    def plan(self, chosen: Sequence[int], searched_exhaustively: bool = True) -> Plan:
        rest, loads = self.wanted, []
        for index in sorted(chosen):
            given = units_given(rest, self.holdings[index])
            rest = tuple(map(sub, rest, given))
            units = {sku: count for sku, count in zip(self.skus, given, strict=True) if count}
            loads.append(Load(self.ids[index], units))
        return Plan(tuple(loads), searched_exhaustively)


def units_given(rest: Sequence[int], holding: Sequence[int]) -> tuple[int, ...]:
    """What a location that holds this gives to what is still wanted, SKU by SKU."""
    return tuple(map(min, rest, holding))


def _candidates(
    demand: Mapping[str, int], stock: Mapping[str, Mapping[str, int]], ranks: Mapping[str, Ranks]
) -> _CandidateStock:
    skus = tuple(sku for sku in demand if stock.get(sku))
    shelves = [(demand[sku], stock[sku]) for sku in skus]
    ids = sorted(ranks, key=lambda key: (ranks[key], key))
    holdings = [(key, tuple([min(wanted, shelf.get(key, 0)) for wanted, shelf in shelves])) for key in ids]
    holdings = [(key, holding) for key, holding in holdings if any(holding)]
    supply = [sum(column) for column in zip(*(holding for _, holding in holdings), strict=True)] or [0] * len(skus)
    return _CandidateStock(
        skus=skus,
        wanted=tuple([min(wanted, there) for (wanted, _), there in zip(shelves, supply, strict=True)]),
        ids=tuple([key for key, _ in holdings]),
        ranks=tuple([ranks[key] for key, _ in holdings]),
        holdings=tuple([holding for _, holding in holdings]),
    )


class _Search:
    """Branch and bound over sets of candidates, taken in rank order.

    Sound because a set's key is never below `_bound` of the branch that it lies in. Source of the method: A. H. Land &
    A. G. Doig, "An Automatic Method of Solving Discrete Programming Problems", Econometrica 28 (1960).
    """

    def __init__(
        self, field: _CandidateStock, steps: Sequence[str], limit: int, sendings: Sequence[ShippingEstimate]
    ) -> None:
        self.field = field
        self.limit = min(limit, len(field.ids))
        numbers = {key: number for number, key in enumerate(sorted(field.ids))}
        self.steps = plan_steps(steps, field.ranks, sendings, [numbers[key] for key in field.ids])
        self.is_counted_first = steps[0] == FEWEST_SHIPMENTS
        # Where nobody compares costs they need no adding up.
        self.costs = [cost_of(sending) for sending in sendings] if LOWEST_COST in steps else None
        self.potential = [sum(holding) for holding in field.holdings]
        self.total = sum(field.wanted)
        self.looks_left = MAX_LOOKUPS
        self.best: list[int] = []
        self.best_given = 0
        self.best_key: _Key = ()

    def run(self, alone: Sequence[int] = ()) -> bool:
        """Finds the best set; False where the bound on looks ended the search. `alone`, if any, holds the best."""
        if alone:
            for index in alone:
                self._offer([index], self.total, self._cost(index, self.total))
            return True
        everyone = range(len(self.field.ids))
        self._offer_filled(self.field.fill(everyone, self.limit))
        self._offer_filled(self._greedy())
        if self.is_counted_first and self.best_given == self.total:
            self.limit = len(self.best)
        if len(everyone) * self.limit > self.looks_left:
            return False
        self.reach = _reach(self.potential, self.limit)
        self._extend(0, [], self.field.wanted, _NOTHING)
        return self.looks_left > 0

    def _extend(self, start: int, chosen: list[int], rest: tuple[int, ...], cost: Decimal) -> None:
        """Tries every candidate from `start` on as the next member of the set."""
        given = self.total - sum(rest)
        for index in range(start, len(self.field.ids)):
            self.looks_left -= _LOOKUPS_PER_SET + len(rest) + 2 * len(chosen)
            if self.looks_left <= 0 or self._is_hopeless(index, chosen, given, cost):
                return
            gives = units_given(rest, self.field.holdings[index])
            count = sum(gives)
            if not count:
                continue
            longer, dearer = [*chosen, index], cost + self._cost(index, count)
            if given + count >= self.best_given:
                self._offer(longer, given + count, dearer)
            if len(longer) < self.limit and given + count < self.total:
                self._extend(index + 1, longer, tuple(map(sub, rest, gives)), dearer)

    def _offer(self, chosen: list[int], given: int, cost: Decimal) -> None:
        key = (-given, *[step.part(chosen, cost) for step in self.steps])
        if not self.best or key < self.best_key:
            self.best, self.best_given, self.best_key = chosen, given, key

    def _offer_filled(self, chosen: list[int]) -> None:
        counts = [sum(load.units.values()) for load in self.field.plan(chosen).loads]
        cost = sum(map(self._cost, chosen, counts), _NOTHING)
        self._offer(chosen, sum(counts), cost)

    def _cost(self, index: int, unit_count: int) -> Decimal:
        return _NOTHING if self.costs is None else self.costs[index].of(unit_count)

    def _is_hopeless(self, start: int, chosen: Sequence[int], given: int, cost: Decimal) -> bool:
        """Whether no set of `chosen` and at least one candidate from `start` on comes before the best one found."""
        slots = self.limit - len(chosen)
        most = min(self.total, given + self.reach[start][slots])
        if most != self.best_given:
            return most < self.best_given
        missing = self.best_given - given
        fewest = max(1, bisect_left(self.reach[start], missing))
        branch = Branch(chosen, start, fewest, slots, missing, cost)
        return (-self.best_given, *[step.bound(branch) for step in self.steps]) >= self.best_key

    def _greedy(self) -> list[int]:
        """Always the candidate that covers most of what is left, the best-ranked of equals."""
        rest, chosen, holdings = self.field.wanted, list[int](), self.field.holdings
        while any(rest) and len(chosen) < self.limit:
            free = [index not in chosen for index in range(len(holdings))]
            gains = [sum(units_given(rest, holding)) * is_free for holding, is_free in zip(holdings, free, strict=True)]
            index = gains.index(max(gains))
            chosen.append(index)
            rest = tuple(map(sub, rest, units_given(rest, holdings[index])))
        return self.field.fill(sorted(chosen), self.limit)


def _reach(potential: Sequence[int], limit: int) -> list[list[int]]:
    """For each candidate, the most that 0, 1, ... `limit` candidates from it on could give together."""
    rows, largest = list[list[int]](), list[int]()
    for units in reversed(potential):
        largest = sorted([*largest, units], reverse=True)[:limit]
        row = [0]
        for count in largest:
            row.append(row[-1] + count)
        rows.append(row + [row[-1]] * (limit + 1 - len(row)))
    return rows[::-1]
