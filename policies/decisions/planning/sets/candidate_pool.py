"""Candidates that a set may be chosen from, and whether so many of them can cover what an order needs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, islice

from policies.decisions.planning.sets.branch_search import fewest_for
from policies.decisions.planning.sets.candidate_stock import CandidateStock
from policies.decisions.planning.sets.subset_tables import MAX_SET_SIZE, Need, StepCounter, SubsetTables

_FEW_UNITS = 12
"""Where a location has more units of a product than this, tables of pairs differ too often to pay for triples."""


class CandidatePool:
    """Some candidates, by place. `candidates` has the number of each in the stock."""

    def __init__(self, stock: CandidateStock, candidates: Sequence[int], steps: StepCounter) -> None:
        self.candidates = candidates
        self.count = len(candidates)
        self.rows = [stock.holdings[index] for index in candidates]
        self.steps = steps
        steps.pause()
        columns = list(zip(*self.rows, strict=True))
        steps.pause()
        largest = MAX_SET_SIZE if max(stock.demand, default=0) <= _FEW_UNITS else MAX_SET_SIZE - 1
        self.tables = SubsetTables(columns, self.count, largest, steps)
        suppliers = []
        for column in columns:
            steps.pause()
            suppliers.append(self.count - column.count(0))
        scarcest = sorted(range(len(columns)), key=lambda column: (suppliers[column], column))
        self.needs: list[Need] = [(column, stock.demand[column]) for column in scarcest if stock.demand[column]]
        """What the order needs, scarcest first."""
        self.supplies_all = all(sum(columns[column]) >= amount for column, amount in self.needs)
        self._places: dict[int, int] = {}
        self._potential = [sum(row) for row in self.rows]
        steps.pause()

    def needs_after(self, needs: Sequence[Need], place: int) -> list[Need]:
        """What is needed besides what this candidate has."""
        row = self.rows[place]
        return [(column, amount - row[column]) for column, amount in needs if amount > row[column]]

    def fewest_at_least(self, units: int) -> int:
        """No fewer candidates than these can cover so many units."""
        return fewest_for(units, self._potential)

    def with_fewer(self, members: Sequence[int], until: int) -> list[int] | None:
        """A set of one member less that has all the needs, with most of these members; None if none is found.

        It is looked for until so many steps are left.
        """
        size = self.tables.largest
        for kept in combinations(members, len(members) - 1 - size):
            if self.steps.left <= until:
                break
            needs: Sequence[Need] = self.needs
            for place in kept:
                needs = self.needs_after(needs, place)
            found = self.tables.covering(needs, 0, size)
            for others in islice(self.tables.members(found, size), 1):
                if not set(others) & set(kept):
                    return [*kept, *others]
        return None

    def can_cover(self, needs: Sequence[Need], size: int, start: int = 0) -> bool:
        """Whether at most `size` candidates from `start` on have all the needs together."""
        return self._can_cover(needs, size, start, (), 0)

    def _can_cover(self, needs: Sequence[Need], size: int, start: int, chosen: tuple[int, ...], tried: int) -> bool:
        if not needs:
            return True
        size = min(size, self.count - start - len(chosen))
        if size <= 0:
            return False
        tables = self.tables
        if size <= tables.largest:
            found = tables.covering(needs, start, size)
            for place in chosen:
                found = found and found & ~tables.supplied(size, (self._column_of(place), 1))
            return bool(found)
        for place in self._suppliers_of_scarcest(needs, size, tables.suffixes[1][start] & ~tried):
            if self._can_cover(self.needs_after(needs, place), size - 1, start, (*chosen, place), tried | 1 << place):
                return True
            # A set with this candidate and those chosen cannot cover the needs, so the others do without it.
            tried |= 1 << place
        return False

    def _suppliers_of_scarcest(self, needs: Sequence[Need], size: int, allowed: int) -> Iterator[int]:
        """The candidates one of which is in every set of this size that has the needs, as few as possible."""
        fewest, suppliers = self.count + 1, 0
        for column, amount in needs:
            # One member has at least an equal share.
            found = self.tables.supplied(1, (column, -(-amount // size))) & allowed
            if found.bit_count() < fewest:
                fewest, suppliers = found.bit_count(), found
        self.steps.take(len(needs) * 2 + fewest * (2 + len(needs)))
        while suppliers:
            lowest = suppliers & -suppliers
            yield lowest.bit_length() - 1
            suppliers ^= lowest

    def _column_of(self, place: int) -> int:
        column = self._places.get(place)
        if column is None:
            column = self.tables.add_column([int(number == place) for number in range(self.count)])
            self._places[place] = column
        return column
