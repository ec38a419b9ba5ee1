"""What channels show beside what was published to them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from policies.stock.oversell import PublishedFigure, ShownFigure
from policies.stock.shown_figures import ShownCount, ShownItem, drift, shown_evidence, shown_in_outlets, shown_items

NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
COUNT = ShownCount("MUG", "", "", 5, 1, NOW, NOW)


def published(sellable: int, time: datetime = NOW - MINUTE) -> PublishedFigure:
    return PublishedFigure(sellable, time, "r")


def shown(count: int, unit_count: int = 1, time: datetime = NOW) -> ShownItem:
    return ShownItem("", count, unit_count, time)


def test_counts_of_outlets_are_added_up_and_a_newer_count_without_outlet_replaces_them() -> None:
    east, west = replace(COUNT, outlet_id="e", count=2), replace(COUNT, outlet_id="w", count=3, last_time=NOW + MINUTE)

    assert shown_items([east, west]) == [shown(5)]
    assert shown_items([east, west, COUNT]) == [shown(5)]
    whole = replace(COUNT, count=9, last_time=NOW + 2 * MINUTE)
    assert shown_items([east, west, whole]) == [shown(9, time=whole.last_time)]


def test_an_oversell_rests_on_the_item_that_shows_most_units() -> None:
    single, case = ShownItem("1", 5, 1, NOW), ShownItem("6", 2, 6, NOW)

    assert shown_evidence([single, case]) == ShownFigure(12, NOW)
    assert shown_evidence([]) is None


def test_a_channel_that_shows_another_figure_than_was_published_drifts() -> None:
    assert [drift(shown(count), published(5), timedelta(), 0) for count in (7, 5, 3)] == [2, 0, -2]
    assert drift(shown(1, 6), published(11), timedelta(), 0) == 0
    assert drift(shown(2, 6), published(11), timedelta(), 0) == 1


def test_a_figure_on_its_way_and_none_at_all_are_not_judged() -> None:
    assert drift(shown(7), None, timedelta(), 0) is None
    assert drift(shown(7), published(5), 2 * MINUTE, 0) is None
    assert drift(shown(7), published(5), MINUTE, 0) == 2


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 20), st.integers(1, 6))
def test_units_that_the_channel_has_sold_itself_are_no_drift(told: int, own: int, count: int, unit_count: int) -> None:
    difference = drift(shown(count, unit_count), published(told), timedelta(), own)
    expected = range(max(0, told - own) // unit_count, told // unit_count + 1)

    assert (difference == 0) == (count in expected)
    assert difference is not None
    assert count - difference in expected


def test_counts_of_outlets_apply_one_by_one_unless_a_newer_one_is_of_all_of_them() -> None:
    east, west = replace(COUNT, outlet_id="e", count=2), replace(COUNT, outlet_id="w", count=3, last_time=NOW + MINUTE)
    whole = replace(COUNT, count=9, last_time=NOW + 2 * MINUTE)

    assert shown_in_outlets([east, west]) == [
        ShownItem("", 3, 1, NOW + MINUTE, "w"),
        ShownItem("", 2, 1, NOW, "e"),
    ]
    assert shown_in_outlets([east, west, whole]) == []
