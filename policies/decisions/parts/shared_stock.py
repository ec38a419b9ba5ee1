"""The best set of locations for parts that share the stock of a product, such as two kits with one component.

Sets are compared as for orders that are planned by SKU (`plans`): by units covered, then by the steps of `rank`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from policies.decisions.parts.assignment import Assignment, SharedStock, assign
from policies.decisions.parts.shared_set_search import NONE_FOUND, SharedSetSearch
from policies.decisions.planning.plan_steps import UNKNOWN_ESTIMATE, Branch, ShippingEstimate, cost_of, plan_steps
from policies.decisions.planning.plans import Load, Plan
from policies.decisions.planning.ranking import Ranks
from policies.decisions.planning.sets.branch_search import MAX_LOOKUPS, fewest_for, units_within_reach
from policies.decisions.planning.sets.candidate_stock import NO_WEIGHTS, Weight, weight_of
from policies.policy_set import FEWEST_SHIPMENTS, LOWEST_COST, PLAN_STEPS

_NOTHING = Decimal(0)

_FEW_LOCATIONS = 10
"""Sets of so few locations are all compared in less time than it takes to prepare a search by size."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """The locations, best-ranked first, that can supply a set of at least one part; `keys` are those of the parts."""

    keys: tuple[str, ...]
    ids: tuple[str, ...]
    ranks: tuple[Ranks, ...]
    stock: SharedStock

    def plan(self, chosen: Sequence[int], assignment: Assignment, fewest: int | None = None) -> Plan:
        """The plan of an assignment; units are by part. `fewest` is the bound of a search that was not exhaustive."""
        loads = []
        for index, counts in zip(chosen, assignment.counts, strict=True):
            units = {
                key: count * part.size
                for key, count, part in zip(self.keys, counts, self.stock.parts, strict=True)
                if count
            }
            if units:
                loads.append(Load(self.ids[index], units))
        return Plan(tuple(loads), fewest is None, fewest or 0)


def best_shared_plan(
    candidates: Candidates,
    *,
    steps: Sequence[str],
    max_shipments: int | None,
    estimates: Mapping[str, ShippingEstimate],
    weights: Mapping[str, Weight],
    pause: Callable[[], None],
) -> Plan:
    """The plan that covers most units within `max_shipments`; of equal plans the first by `steps`.

    `weights` are grams of a unit by part, for costs that depend on them.
    """
    count = len(candidates.ids)
    search = _SharedSearch(candidates, steps, count if max_shipments is None else min(max_shipments, count), pause)
    compared = [step for step in steps if step in PLAN_STEPS]
    if not compared:
        chosen = search.joined()
        return candidates.plan(chosen, search.filled(chosen))
    known_estimates = [estimates.get(key, UNKNOWN_ESTIMATE) for key in candidates.ids]
    search.prepare(known_estimates, weights)
    found = NONE_FOUND
    if steps[0] == FEWEST_SHIPMENTS and count > _FEW_LOCATIONS:
        by_size = SharedSetSearch(
            candidates.stock, candidates.ids, candidates.ranks, search.limit, pause, grams=search.grams
        )
        found = by_size.run(steps, known_estimates) if by_size.total == search.total else NONE_FOUND
        if found.is_best:
            return candidates.plan(found.members, assign(candidates.stock, found.members))
    searched = search.run(found.members)
    fewest = None if searched else fewest_for(search.best_covered, search.potential)
    if fewest is not None and search.best_covered == search.total:
        fewest = max(fewest, found.fewest)
    return candidates.plan(search.best, assign(candidates.stock, search.best), fewest)


class _SharedSearch:
    """Branch and bound over sets of candidates in rank order, as `plans` does it for demand by SKU."""

    def __init__(self, candidates: Candidates, steps: Sequence[str], limit: int, pause: Callable[[], None]) -> None:
        self.candidates, self.stock = candidates, candidates.stock
        self.step_names, self.limit, self.pause = steps, limit, pause
        self.everyone = list(range(len(candidates.ids)))
        self.lookups_left = MAX_LOOKUPS
        self.best: list[int] = []
        self.best_covered = 0
        self.best_key: tuple[object, ...] = ()

    def joined(self) -> list[int]:
        """All candidates, or as many as are allowed: in rank order those with which more units are covered."""
        if self.limit == len(self.everyone):
            return self.everyone
        total = self._covered(self.everyone)
        chosen, covered = list[int](), 0
        for index in self.everyone:
            if len(chosen) == self.limit or covered == total:
                break
            more = self._covered([*chosen, index])
            if more > covered:
                chosen, covered = [*chosen, index], more
        return chosen

    def filled(self, chosen: Sequence[int]) -> Assignment:
        """The assignment that covers most; of these, one that leaves no better-ranked candidate out for another.

        One may be left out where it could ship only if one before it shipped another part than it does, and where
        there are more ways to try than MAX_LOOKUPS allows.
        """
        most = self._assigned(self.stock, chosen)
        ships = list(map(any, most.counts))
        if ships == sorted(ships, reverse=True):
            return most
        rows = {index: [*row] for index, row in zip(chosen, most.counts, strict=True) if any(row)}
        stock, to_cover, kept = self.stock, most.covered, list[tuple[int, int]]()
        for index in chosen:
            if not to_cover:
                break
            # One set of what each ships is kept in turn, so that none is left out for one after it.
            found = self._with_one_set(stock, index, rows, to_cover)
            if found is not None:
                number, stock, rows = found
                to_cover -= stock.parts[number].size
                kept.append((index, number))
        for index, number in kept:
            rows[index][number] += 1
        nothing = [0] * len(stock.parts)
        return most._replace(counts=tuple([tuple(rows.get(index, nothing)) for index in chosen]))

    def _with_one_set(
        self, stock: SharedStock, index: int, rows: Mapping[int, Sequence[int]], to_cover: int
    ) -> tuple[int, SharedStock, dict[int, list[int]]] | None:
        """A part of which the candidate ships a set, what is left then, and what each ships of that to cover as much.

        `rows` are what each ships now. None if the candidate cannot ship a set without less being covered.
        """
        shipped = {key: [*row] for key, row in rows.items()}
        number = next((part for part, count in enumerate(shipped.get(index, ())) if count), None)
        if number is not None and (left := stock.without_set(number, index)) is not None:
            shipped[index][number] -= 1
            return number, left, shipped
        users = sorted({*rows, index})
        for number, part in enumerate(stock.parts):
            if self.lookups_left <= 0:
                return None
            left = stock.without_set(number, index)
            if left is not None and (others := self._assigned(left, users)).covered + part.size == to_cover:
                return number, left, {key: [*row] for key, row in zip(users, others.counts, strict=True)}
        return None

    def prepare(self, estimates: Sequence[ShippingEstimate], weights: Mapping[str, Weight] = NO_WEIGHTS) -> None:
        """Reads what sets are compared by."""
        self.grams = tuple([weights[key] for key in self.candidates.keys]) if weights else ()
        ids = self.candidates.ids
        numbers = {key: number for number, key in enumerate(sorted(ids))}
        self.steps = plan_steps(self.step_names, self.candidates.ranks, estimates, [numbers[key] for key in ids])
        self.costs = [cost_of(estimate) for estimate in estimates] if LOWEST_COST in self.step_names else None
        self.total = self._covered(self.everyone)
        self.potential = [self._covered([index]) for index in self.everyone]

    def run(self, found: Sequence[int] = ()) -> bool:
        """Finds the best set, from one that was found before; False if MAX_LOOKUPS ended the search."""
        if self.step_names[0] == FEWEST_SHIPMENTS and self.limit:
            for index in self.everyone:
                if self.potential[index] == self.total:
                    self._offer([index])
            if self.best:
                return True
        for chosen in (found, self.joined()):
            self._offer(chosen)
        self._offer(self._greedy())
        if self.step_names[0] == FEWEST_SHIPMENTS and self.best_covered == self.total:
            self.limit = len(self.best)
        if len(self.everyone) * self.limit > self.lookups_left:
            return False
        self.reach = units_within_reach(self.potential, self.limit)
        self._extend(0, [], 0)
        return self.lookups_left > 0

    def _extend(self, start: int, chosen: list[int], covered: int) -> None:
        for index in range(start, len(self.everyone)):
            if self.lookups_left <= 0 or self._is_hopeless(index, chosen, covered):
                return
            extended = [*chosen, index]
            more = self._offer(extended)
            if len(extended) < self.limit and more < self.total:
                self._extend(index + 1, extended, more)

    def _is_hopeless(self, start: int, chosen: Sequence[int], covered: int) -> bool:
        """Whether no set of `chosen` plus one or more candidates from `start` on can beat the best set so far."""
        slots = self.limit - len(chosen)
        most = min(self.total, covered + self.reach[start][slots])
        # With more locations, those chosen may ship other units, so a bound for their cost does not hold.
        if most != self.best_covered or self.costs is not None:
            return most < self.best_covered
        branch = Branch(chosen, start, 1, slots, self.best_covered - covered, _NOTHING)
        return (-self.best_covered, *[step.bound(branch) for step in self.steps]) >= self.best_key

    def _covered(self, chosen: Sequence[int]) -> int:
        return self._assigned(self.stock, chosen).covered

    def _assigned(self, stock: SharedStock, chosen: Sequence[int]) -> Assignment:
        self.pause()
        assignment = assign(stock, chosen)
        self.lookups_left -= assignment.lookups
        return assignment

    def _offer(self, chosen: Sequence[int]) -> int:
        """Compares the locations that ship something of these with the best set; returns the units covered."""
        assignment = self._assigned(self.stock, chosen)
        used = [index for index, counts in zip(chosen, assignment.counts, strict=True) if any(counts)]
        cost = self._cost(chosen, assignment)
        key = (-assignment.covered, *[step.key_part(used, cost) for step in self.steps])
        if not self.best or key < self.best_key:
            self.best, self.best_covered, self.best_key = used, assignment.covered, key
        return assignment.covered

    def _cost(self, chosen: Sequence[int], assignment: Assignment) -> Decimal:
        if self.costs is None:
            return _NOTHING
        sizes = [part.size for part in self.stock.parts]
        units = [[count * size for count, size in zip(counts, sizes, strict=True)] for counts in assignment.counts]
        shipped = [(index, counts) for index, counts in zip(chosen, units, strict=True) if any(counts)]
        return sum([self.costs[x].of(sum(counts), weight_of(counts, self.grams)) for x, counts in shipped], _NOTHING)

    def _greedy(self) -> list[int]:
        """Always adds the candidate with which most units are covered, the best-ranked of equals."""
        chosen, covered = list[int](), 0
        while len(chosen) < self.limit and covered < self.total and self.lookups_left > MAX_LOOKUPS // 2:
            free = [index for index in self.everyone if index not in chosen and self.potential[index]]
            found = [(self._covered(sorted([*chosen, index])), -index) for index in free]
            best = max(found, default=(0, 0))
            if best[0] <= covered:
                break
            covered = best[0]
            chosen = sorted([*chosen, -best[1]])
        return chosen
