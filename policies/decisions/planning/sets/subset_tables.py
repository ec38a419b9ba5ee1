"""Which sets of up to three candidates supply enough of a product, for all sets at once: one bit of an integer each.

One operation on two such integers compares as many sets as there are bits, so that whole levels of a search tree are
one step. Sets of one size are numbered in lexicographic order of their members; those whose first member is not below
a number have the upper bits.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from math import comb
from operator import or_

MAX_SET_SIZE = 3
_MAX_BITS = 42_000
"""Sets of one size with a bit each; of more, an operation takes longer than it saves."""

_BITS_PER_STEP = 6_000
"""Bits that one operation compares in about the time that Python needs to start it."""

Need = tuple[int, int]
"""A column, which is the holding of one product by candidate, and the units needed of it; more than 0."""


class StepsSpent(Exception):
    """A search has taken as many steps as it may."""


class StepCounter:
    """Counts the steps of a search. They are counted and not timed: a replay must end at the same step anywhere."""

    __slots__ = ("left", "pause")

    def __init__(self, steps: int, pause: Callable[[], None]) -> None:
        self.left, self.pause = steps, pause

    def take(self, steps: int) -> None:
        """Raises StepsSpent if there are none left."""
        self.pause()
        self.left -= steps
        if self.left < 0:
            raise StepsSpent


class SubsetTables:
    """The tables for some columns, each of which has one number for each candidate. Tables are made when needed."""

    __slots__ = ("_columns", "_levels", "_steps", "_tables", "count", "largest", "offsets", "step_cost", "suffixes")

    def __init__(self, columns: Sequence[Sequence[int]], count: int, largest: int, steps: StepCounter) -> None:
        self.count = count
        self.largest = max(size for size in range(1, largest + 1) if size == 1 or comb(count, size) <= _MAX_BITS)
        sizes = range(self.largest + 1)
        self.offsets = [[comb(count, size) - comb(count - n, size) for n in range(count + 1)] for size in sizes]
        """By size and number: how many sets have a first member below it."""
        self.suffixes = [[(1 << comb(count, size)) - (1 << first) for first in self.offsets[size]] for size in sizes]
        """By size and number: the sets whose first member is not below it."""
        self.step_cost = [1 + comb(count, size) // _BITS_PER_STEP for size in sizes]
        self._columns = [*columns]
        self._levels: dict[int, tuple[list[int], list[int]]] = {}
        self._steps = steps
        self._tables: list[dict[Need, int]] = [{} for _ in sizes]

    def add_column(self, numbers: Sequence[int]) -> int:
        """Adds a column; returns its number."""
        self._columns.append(numbers)
        return len(self._columns) - 1

    def supplied(self, size: int, need: Need) -> int:
        """The sets of this size that have the need or more together."""
        table = self._tables[size].get(need)
        if table is None:
            table = self._tables[size][need] = self._single(need) if size == 1 else self._joined(size, need)
        return table

    def covering(self, needs: Sequence[Need], start: int, size: int) -> int:
        """The sets of candidates from `start` on that have all the needs."""
        found, tables, looked_at = self.suffixes[size][start], self._tables[size], 1
        for need in needs:
            table = tables.get(need)
            found &= self.supplied(size, need) if table is None else table
            looked_at += 1
            if not found:
                break
        self._steps.take(looked_at * self.step_cost[size])
        return found

    def lacking_least(self, needs: Sequence[Need], start: int, size: int, most: int) -> tuple[int, int]:
        """The sets of candidates from `start` on that lack fewest units of the needs, and these units.

        Only sets that lack no more than `most` count; if there are none, the answer is (0, `most` + 1).
        """
        width = most.bit_length()
        alive = self.suffixes[size][start]
        # Binary counters, one for each set, digit by digit; they start so that they overflow at `most` + 1.
        first = (1 << width) - 1 - most
        digits = [alive if first >> place & 1 else 0 for place in range(width)]
        for column, amount in needs:
            for level in range(1, amount + 1):
                carry = alive & ~self.supplied(size, (column, level))
                for place in range(width):
                    digits[place], carry = digits[place] ^ carry, digits[place] & carry
                    if not carry:
                        break
                alive &= ~carry
            self._steps.take(amount * (4 + 2 * width) * self.step_cost[size])
            if not alive:
                return 0, most + 1
        lacking = 0
        for place in reversed(range(width)):
            without = alive & ~digits[place]
            if not without:
                lacking += 1 << place
            alive = without or alive
        return alive, lacking - first

    def members(self, found: int, size: int) -> Iterator[tuple[int, ...]]:
        """The members of each set, in order."""
        while found:
            lowest = found & -found
            yield self._decoded(lowest.bit_length() - 1, size)
            found ^= lowest

    def _decoded(self, number: int, size: int) -> tuple[int, ...]:
        chosen = []
        for left in range(size, 0, -1):
            first = bisect_right(self.offsets[left], number, 0, self.count - left + 1) - 1
            chosen.append(first)
            if left > 1:
                number += self.offsets[left - 1][first + 1] - self.offsets[left][first]
        return tuple(chosen)

    def _single(self, need: Need) -> int:
        column, amount = need
        if column not in self._levels:
            self._levels[column] = _levels(self._columns[column])
        amounts, tables = self._levels[column]
        place = bisect_left(amounts, amount)
        return tables[place] if place < len(tables) else 0

    def _joined(self, size: int, need: Need) -> int:
        """The sets of one more member than those of which there are tables, from the last first member to the first."""
        column, amount = need
        rest, table = size - 1, 0
        tables, offsets = self._tables[rest], self.offsets[rest]
        numbers, sets = self._columns[column], offsets[-1]
        self._steps.take(self.count * self.step_cost[size])
        for first in range(self.count - 1, -1, -1):
            missing, begin = amount - numbers[first], offsets[first + 1]
            if missing > 0:
                supplied = tables.get((column, missing))
                joined = (self.supplied(rest, (column, missing)) if supplied is None else supplied) >> begin
            else:
                joined = (1 << sets - begin) - 1
            table = table << sets - begin | joined
        return table


def _levels(numbers: Sequence[int]) -> tuple[list[int], list[int]]:
    """The different numbers above 0, ascending, and for each the candidates that have as many or more."""
    exact: dict[int, int] = {}
    for index, number in enumerate(numbers):
        if number:
            exact[number] = exact.get(number, 0) | 1 << index
    amounts = sorted(exact)
    tables = list(accumulate([exact[amount] for amount in reversed(amounts)], or_))
    return amounts, tables[::-1]
