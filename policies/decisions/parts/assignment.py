"""The most units of parts that given locations can ship together, where parts share the stock of a product.

Parts of several units a set are placed by branch and bound: as many sets as possible at the first location first.
Parts of single units share what is left, by augmenting paths: each location, in order, ships as many as it can.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

MAX_BRANCHES = 500
"""How often the placing of sets is tried otherwise; then the best placing so far is the answer."""

_MAX_CELLS = 200
"""Places of parts of several units, beyond which each takes what it can without another try."""


class SetDemand(NamedTuple):
    """A part by numbers: `wanted` sets of `units`, as (number of the SKU, units in a set); `size` units in a set."""

    wanted: int
    units: tuple[tuple[int, int], ...]
    size: int

    @property
    def is_single(self) -> bool:
        """Whether each set is one unit, and nothing else limits it."""
        return self.size == 1 and len(self.units) == 1


@dataclass(slots=True)
class SharedStock:
    """Parts, and candidates by number, best-ranked first, with the units of each SKU that each can supply.

    `allowed` has, for each part, the candidates that may ship it. `limits` are the most units of each SKU together.
    `uncounted` are SKUs of kits: they limit the sets that contain them, but it is the components that are shipped.
    """

    parts: tuple[SetDemand, ...]
    holdings: tuple[tuple[int, ...], ...]
    allowed: tuple[frozenset[int], ...]
    limits: tuple[int, ...]
    uncounted: frozenset[int] = frozenset()
    alone: frozenset[int] = field(init=False)
    """The parts whose products no other part wants, so that they need not leave any to others."""
    singles: tuple[tuple[int, tuple[int, ...]], ...] = field(init=False)
    """Each SKU of which parts want single units, with these parts."""
    several: tuple[int, ...] = field(init=False)
    """The parts of several units a set."""

    def __post_init__(self) -> None:
        wanting = Counter(sku for part in self.parts for sku, _ in part.units)
        self.alone = frozenset(
            number for number, part in enumerate(self.parts) if all(wanting[sku] == 1 for sku, _ in part.units)
        )
        singles: dict[int, tuple[int, ...]] = {}
        for number, part in enumerate(self.parts):
            if part.is_single:
                sku = part.units[0][0]
                singles[sku] = (*singles.get(sku, ()), number)
        self.singles = tuple(sorted(singles.items()))
        self.several = tuple(number for number, part in enumerate(self.parts) if not part.is_single)

    def without_set(self, number: int, index: int) -> SharedStock | None:
        """What is left after a candidate has shipped one set of a part; None if it cannot."""
        part, held = self.parts[number], self.holdings[index]
        can_ship = index in self.allowed[number] and part.wanted
        if not can_ship or any(units > min(held[sku], self.limits[sku]) for sku, units in part.units):
            return None
        taken = dict(part.units)
        holding = tuple([count - taken.get(sku, 0) for sku, count in enumerate(held)])
        return replace(
            self,
            parts=(*self.parts[:number], part._replace(wanted=part.wanted - 1), *self.parts[number + 1 :]),
            holdings=(*self.holdings[:index], holding, *self.holdings[index + 1 :]),
            limits=tuple([count - taken.get(sku, 0) for sku, count in enumerate(self.limits)]),
        )


class Assignment(NamedTuple):
    """`covered` units, and the sets of each part at each of the given locations. `lookups` is the work that it took."""

    covered: int
    counts: tuple[tuple[int, ...], ...]
    lookups: int


def assign(stock: SharedStock, chosen: Sequence[int]) -> Assignment:
    """The assignment of the parts to the chosen candidates that covers most units; the first one of equals."""
    return _Assigning(stock, chosen).run()


@dataclass(slots=True)
class _Assigning:
    stock: SharedStock
    chosen: Sequence[int]
    left: list[list[int]] = field(init=False)
    """Units of each SKU that are left at each chosen location."""
    limits: list[int] = field(init=False)
    counts: list[list[int]] = field(init=False)
    sets_left: list[int] = field(init=False)
    cells: list[tuple[int, int]] = field(init=False)
    """The chosen locations, by place, and the parts of several units that they may ship."""
    can_branch: bool = field(init=False)
    branches_left: int = MAX_BRANCHES
    best: Assignment | None = None

    def __post_init__(self) -> None:
        stock, chosen = self.stock, self.chosen
        self.left = [[*stock.holdings[index]] for index in chosen]
        self.limits = [*stock.limits]
        self.counts = [[0] * len(stock.parts) for _ in chosen]
        self.sets_left = [part.wanted for part in stock.parts]
        self.cells = [
            (place, number)
            for place, index in enumerate(chosen)
            for number in stock.several
            if index in stock.allowed[number]
        ]
        self.can_branch = len(self.cells) <= _MAX_CELLS

    def run(self) -> Assignment:
        self._place(0, 0, self._bound())
        assert self.best is not None
        width = len(self.chosen) * (len(self.stock.parts) + len(self.limits))
        return self.best._replace(lookups=width * (1 + MAX_BRANCHES - self.branches_left))

    def _place(self, first: int, covered: int, most: int) -> None:
        """Places sets at the cells from `first` on; `most` units can be covered at all."""
        taken: list[tuple[int, int, int]] = []
        for cell in range(first, len(self.cells)):
            place, number = self.cells[cell]
            count = self._fits(place, number)
            if not count:
                continue
            if self.can_branch and self.branches_left > 0 and number not in self.stock.alone:
                self._branch(cell, count, covered, most)
                break
            self._take(place, number, count)
            taken.append((place, number, count))
            covered += count * self.stock.parts[number].size
        else:
            self._offer(covered)
        for place, number, count in reversed(taken):
            self._take(place, number, -count)

    def _branch(self, cell: int, most_sets: int, covered: int, most: int) -> None:
        place, number = self.cells[cell]
        size = self.stock.parts[number].size
        for count in range(most_sets, -1, -1):
            if self.best is not None and (self.branches_left <= 0 or self.best.covered >= most):
                return
            self.branches_left -= 1
            self._take(place, number, count)
            if self.best is None or covered + count * size + self._bound(cell + 1) > self.best.covered:
                self._place(cell + 1, covered + count * size, most)
            self._take(place, number, -count)

    def _take(self, place: int, number: int, count: int) -> None:
        self.counts[place][number] += count
        self.sets_left[number] -= count
        for sku, units in self.stock.parts[number].units:
            self.left[place][sku] -= units * count
            self.limits[sku] -= units * count

    def _fits(self, place: int, number: int) -> int:
        left, limits = self.left[place], self.limits
        return min(
            self.sets_left[number],
            *[min(left[sku], limits[sku]) // units for sku, units in self.stock.parts[number].units],
        )

    def _bound(self, first: int = 0) -> int:
        """No more units than this can be covered besides those placed, with sets from cell `first` on."""
        open_parts = {number for _, number in self.cells[first:]}
        wanted = [0] * len(self.limits)
        for number, part in enumerate(self.stock.parts):
            if part.is_single or number in open_parts:
                for sku, units in part.units:
                    wanted[sku] += units * self.sets_left[number] * (sku not in self.stock.uncounted)
        supplies = [sum(column) for column in zip(*self.left, strict=True)] or [0] * len(wanted)
        return sum(map(min, wanted, supplies, self.limits))

    def _offer(self, covered: int) -> None:
        """Shares out what is left to the parts of single units; keeps the result if it covers more than the best."""
        counts = [[*row] for row in self.counts]
        for sku, numbers in self.stock.singles:
            covered += _Sharing(self, sku, numbers, counts).run()
        if self.best is None or covered > self.best.covered:
            self.best = Assignment(covered, tuple(map(tuple, counts)), 0)


@dataclass(slots=True)
class _Sharing:
    """Units of one SKU, shared out to the parts that want single ones. Adds to `counts`.

    Source: L. R. Ford & D. R. Fulkerson, "Maximal Flow Through a Network", Canadian Journal of Mathematics 8 (1956).
    """

    assigning: _Assigning
    sku: int
    numbers: Sequence[int]
    counts: list[list[int]]

    def run(self) -> int:
        assigning, shared = self.assigning, 0
        wanted = {number: assigning.sets_left[number] for number in self.numbers}
        limit = assigning.limits[self.sku]
        for place in range(len(assigning.chosen)):
            left = assigning.left[place][self.sku]
            while left > 0 and shared < limit and any(wanted.values()):
                path = self._path(place, wanted)
                if path is None:
                    break
                count = min(left, limit - shared, wanted[path[-1][1]], *self._moved(path))
                for step, (at, number) in enumerate(path):
                    self.counts[at][number] += count
                    if step:
                        self.counts[at][path[step - 1][1]] -= count
                wanted[path[-1][1]] -= count
                left -= count
                shared += count
        return shared

    def _path(self, start: int, wanted: dict[int, int]) -> list[tuple[int, int]] | None:
        """The shortest chain from a location to a part that wants units: (place, part) after (place, part).

        The location ships the first part; each further place ships its part instead of the one before, in the chain.
        """
        stock, chosen = self.assigning.stock, self.assigning.chosen
        before: dict[int, tuple[int, int | None]] = {}
        queue: list[tuple[int, int | None]] = [(start, None)]
        for place, freed in queue:
            for number in self.numbers:
                if number in before or chosen[place] not in stock.allowed[number]:
                    continue
                before[number] = (place, freed)
                if wanted[number]:
                    return self._chain(before, number)
                queue += [(at, number) for at, row in enumerate(self.counts) if row[number] and at != place]
        return None

    def _chain(self, before: dict[int, tuple[int, int | None]], number: int) -> list[tuple[int, int]]:
        chain, part = list[tuple[int, int]](), number
        while True:
            place, freed = before[part]
            chain.append((place, part))
            if freed is None:
                return chain[::-1]
            part = freed

    def _moved(self, path: Sequence[tuple[int, int]]) -> list[int]:
        """The units that can change over at each step of the chain."""
        return [self.counts[at][path[step - 1][1]] for step, (at, _) in enumerate(path) if step]
