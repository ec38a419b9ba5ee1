"""Which counts are trusted: by age, mismatches, the chance that they are right, and figures below 0."""

from datetime import timedelta
from typing import Any

import pytest

from policies.readiness.answers import Result
from policies.readiness.stock_answers import LocationStock, counts_fresh, counts_right
from tests.policies.small_retailer import NOW


def stock(**fields: Any) -> LocationStock:
    usual = {"level_count": 10, "report_time": NOW - timedelta(minutes=5), "confidence": 0.95}
    return LocationStock("store-austin", **{**usual, **fields})


def test_a_location_that_reported_five_minutes_ago_is_fresh() -> None:
    assert counts_fresh([stock()], NOW).result is Result.PASS


def test_a_location_that_is_silent_for_a_day_fails() -> None:
    answer = counts_fresh([stock(report_time=NOW - timedelta(hours=26))], NOW)

    assert (answer.result, answer.details) == (Result.FAIL, ("store-austin: last heard of 26 hours ago",))


def test_a_feed_with_a_cadence_is_silent_after_three_of_them() -> None:
    late = stock(report_time=NOW - timedelta(minutes=50), silent_after=timedelta(minutes=45))

    assert counts_fresh([late], NOW).result is Result.FAIL


def test_a_silent_feed_fails_although_orders_move_the_figures() -> None:
    answer = counts_fresh([stock(silent_feeds=("till-austin",))], NOW)

    assert answer.details == ("store-austin: feed till-austin has missed three reports",)


def test_a_location_without_any_figure_fails() -> None:
    assert counts_fresh([LocationStock("pop-up", 0)], NOW).result is Result.FAIL


def test_products_that_were_never_reported_are_worth_a_look() -> None:
    assert counts_fresh([stock(never_counted=3)], NOW).result is Result.WARN


@pytest.mark.parametrize(
    ("fields", "result"),
    [
        ({}, Result.PASS),
        ({"negative_skus": ("MUG",)}, Result.FAIL),
        ({"comparisons": 100, "mismatches": 6}, Result.FAIL),
        ({"comparisons": 100, "mismatches": 5}, Result.WARN),
        ({"comparisons": 100, "mismatches": 2}, Result.PASS),
        ({"comparisons": 10, "mismatches": 10}, Result.PASS),
        ({"confidence": 0.79}, Result.FAIL),
        ({"confidence": 0.89}, Result.WARN),
        ({"confidence": None}, Result.WARN),
    ],
)
def test_counts_are_right_if_they_agree_and_are_probably_right(fields: dict[str, Any], result: Result) -> None:
    assert counts_right([stock(**fields)]).result is result
