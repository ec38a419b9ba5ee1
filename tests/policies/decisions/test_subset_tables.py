"""Sets of up to three locations, all of one size at once, are those that trying every set finds."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, strategies as st

from policies.decisions.planning.sets.subset_tables import StepCounter, StepsSpent, SubsetTables

PLENTY = 1_000_000
COLUMNS = st.integers(3, 7).flatmap(
    lambda count: st.lists(st.lists(st.integers(0, 4), min_size=count, max_size=count), min_size=1, max_size=3)
)
"""What each location has of each product."""


def tables(columns: list[list[int]], steps: int = PLENTY) -> tuple[SubsetTables, StepCounter]:
    counter = StepCounter(steps, lambda: None)
    return SubsetTables(columns, len(columns[0]), 3, counter), counter


def together(column: list[int], members: tuple[int, ...]) -> int:
    return sum(column[index] for index in members)


@given(COLUMNS, st.data())
def test_the_sets_that_have_all_the_needs_are_found(columns: list[list[int]], data: st.DataObject) -> None:
    size, start = data.draw(st.integers(1, 3)), data.draw(st.integers(0, len(columns[0]) - 1))
    needs = [(number, data.draw(st.integers(1, 9))) for number in range(len(columns))]
    subsets, _ = tables(columns)

    found = subsets.covering(needs, start, size)

    assert list(subsets.members(found, size)) == [
        members
        for members in combinations(range(len(columns[0])), size)
        if members[0] >= start and all(together(columns[number], members) >= amount for number, amount in needs)
    ]


@given(COLUMNS, st.data())
def test_the_sets_that_lack_fewest_units_are_found_with_these_units(
    columns: list[list[int]], data: st.DataObject
) -> None:
    size, start = data.draw(st.integers(1, 3)), data.draw(st.integers(0, len(columns[0]) - 1))
    needs = [(number, data.draw(st.integers(1, 9))) for number in range(len(columns))]
    most = data.draw(st.integers(0, 12))
    subsets, _ = tables(columns)
    lacking = {
        members: sum(max(0, amount - together(columns[number], members)) for number, amount in needs)
        for members in combinations(range(len(columns[0])), size)
        if members[0] >= start
    }
    fewest = min([*lacking.values(), most + 1])

    found, units = subsets.lacking_least(needs, start, size, most)

    assert units == fewest
    assert list(subsets.members(found, size)) == [
        members for members, count in lacking.items() if count == fewest and fewest <= most
    ]


@given(COLUMNS, st.lists(st.integers(0, 4), min_size=7, max_size=7))
def test_an_added_column_counts_like_those_from_the_start(columns: list[list[int]], added: list[int]) -> None:
    subsets, _ = tables(columns)
    number = subsets.add_column(added[: len(columns[0])])

    assert number == len(columns)
    assert list(subsets.members(subsets.supplied(2, (number, 5)), 2)) == [
        pair for pair in combinations(range(len(columns[0])), 2) if added[pair[0]] + added[pair[1]] >= 5
    ]


@pytest.mark.parametrize(
    ("count", "asked", "largest"),
    [(64, 3, 3), (65, 3, 2), (290, 3, 2), (291, 3, 1), (1_000, 3, 1), (50_000, 3, 1), (64, 2, 2), (2, 3, 3), (1, 1, 1)],
)
def test_sets_are_as_large_as_there_is_a_bit_for_each(count: int, asked: int, largest: int) -> None:
    """42,000 bits: 64 locations have 41,664 sets of three, and 290 have 41,905 pairs."""
    assert SubsetTables([[1] * count], count, asked, StepCounter(PLENTY, lambda: None)).largest == largest


def test_a_search_takes_all_its_steps_and_not_one_more() -> None:
    pauses: list[None] = []
    counter = StepCounter(5, lambda: pauses.append(None))

    counter.take(2)
    counter.take(3)

    assert (counter.left, len(pauses)) == (0, 2)
    with pytest.raises(StepsSpent):
        counter.take(1)


def test_steps_count_the_bits_that_are_compared() -> None:
    """40 locations have 9,880 sets of three, which two steps compare; pairs and single locations take one."""
    subsets, counter = tables([[1] * 40, [2] * 40])

    assert subsets.step_cost == [1, 1, 1, 2]
    # The table of all sets of three is made once: a step of two for each first member.
    subsets.covering([(0, 3)], 0, 3)
    made = PLENTY - counter.left
    subsets.covering([(0, 3)], 0, 3)

    assert made - 2 * 2 >= 40 * 2
    assert PLENTY - counter.left == made + 2 * 2


def test_no_further_need_is_looked_at_once_no_set_is_left() -> None:
    subsets, counter = tables([[1, 1, 1], [1, 1, 1]])

    assert subsets.covering([(0, 2), (1, 1)], 0, 1) == 0
    assert PLENTY - counter.left == 2


def test_counting_what_is_lacking_takes_steps_for_each_unit_and_digit() -> None:
    subsets, counter = tables([[1, 1, 1]])

    subsets.lacking_least([(0, 3)], 0, 1, 3)

    assert PLENTY - counter.left == 3 * (4 + 2 * 2)
