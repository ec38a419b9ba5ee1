"""Buffers that are in place, tested, and as wide as feeds are slow."""

from datetime import timedelta

from policies.domain.model import Channel, Product
from policies.readiness.answers import Result
from policies.readiness.buffer_answers import (
    TestRun as RuleTestRun,
    buffer_cover,
    buffers_in_place,
    buffers_tested,
    buffers_wide_enough,
    hold_backs_at,
)
from policies.readiness.unreported_sales import HotHour
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, level, rules, store, world

WEB = Channel("web", "web")
TWO_IN_STORES = """
kind: buffer
name: stores
scope: location
rules:
  - {name: two-on-the-shelf, when: {location.type: store, channel.kind: social}, hold_back: {units: 2}}
"""
TENTH_OF_TOTAL = """
kind: buffer
name: totals
scope: channel
rules:
  - {name: tenth, when: {channel.kind: social}, hold_back: {percent: 10}}
"""
BY_AGE = """
kind: buffer
name: by-age
scope: location
rules:
  - {name: sold-since, hold_back: {expected_sales: {during: stock_age, service_level: 0.95}}}
"""
SHELF = world([store("austin")], [level("MUG", "austin", 20)], [Product("MUG", velocity_per_day=48)])


def hot(units: int, *, hour: int = 0, lag_minutes: int = 30) -> HotHour:
    return HotHour("MUG", "austin", NOW - timedelta(hours=hour), units, timedelta(minutes=lag_minutes))


def test_a_buffer_for_the_channel_is_in_place() -> None:
    cover = buffer_cover(rules(ANYWHERE, TWO_IN_STORES), SHELF, TIKTOK)

    assert buffers_in_place(cover, "social").finding == "units of 1 of 1 product kept by two-on-the-shelf"


def test_a_buffer_of_the_total_is_in_place_too() -> None:
    cover = buffer_cover(rules(ANYWHERE, TENTH_OF_TOTAL), SHELF, TIKTOK)

    assert buffers_in_place(cover, "social").result is Result.PASS


def test_buffers_of_other_channels_do_not_protect_this_one() -> None:
    cover = buffer_cover(rules(ANYWHERE, TWO_IN_STORES), SHELF, WEB)

    assert buffers_in_place(cover, "web").result is Result.FAIL


def test_without_buffer_rules_a_web_shop_is_not_ready_and_a_till_is() -> None:
    cover = buffer_cover(rules(ANYWHERE), SHELF, WEB)

    assert buffers_in_place(cover, "web").result is Result.FAIL
    assert buffers_in_place(cover, "pos").result is Result.PASS


def test_failing_tests_and_untested_rules_are_not_trusted() -> None:
    assert buffers_tested(RuleTestRun(9), has_buffers=True).result is Result.PASS
    assert buffers_tested(RuleTestRun(9, failures=("rules/x_test.yaml:3: …",)), has_buffers=True).result is Result.FAIL
    assert buffers_tested(RuleTestRun(9, untested=("rules/x.yaml:3: …",)), has_buffers=True).result is Result.FAIL
    assert buffers_tested(RuleTestRun(not_run="too slow"), has_buffers=True).result is Result.FAIL


def test_a_buffer_of_two_is_outrun_by_three_units_that_sold_unreported() -> None:
    hours = [hot(3), hot(2, hour=1), hot(2, hour=2)]
    kept = hold_backs_at(rules(ANYWHERE, TWO_IN_STORES), SHELF, TIKTOK, hours)

    answer = buffers_wide_enough(hours, kept, has_buffers=True)

    assert (answer.result, answer.finding) == (
        Result.FAIL,
        "in the last 14 days 1 of 3 hot hours outran the buffer",
    )
    assert answer.details == (
        "MUG at austin, 2026-11-27 09:00 UTC: 3 units gone within 30 minutes unreported, buffer 2",
    )


def test_few_hours_that_outran_the_buffer_are_worth_a_look() -> None:
    hours = [hot(3), *(hot(2, hour=number) for number in range(1, 40))]
    kept = hold_backs_at(rules(ANYWHERE, TWO_IN_STORES), SHELF, TIKTOK, hours)

    assert buffers_wide_enough(hours, kept, has_buffers=True).result is Result.WARN


def test_buffers_of_both_scopes_count_together() -> None:
    kept = hold_backs_at(rules(ANYWHERE, TWO_IN_STORES, TENTH_OF_TOTAL), SHELF, TIKTOK, [hot(4)])

    assert kept == {("MUG", "austin"): 4}


def test_a_buffer_that_grows_with_the_age_is_taken_at_the_longest_lag_of_its_feed() -> None:
    by_age = rules(ANYWHERE, BY_AGE)

    # 48 a day is one in half an hour, and eight in four hours.
    assert hold_backs_at(by_age, SHELF, TIKTOK, [hot(1)]) == {("MUG", "austin"): 3}
    assert hold_backs_at(by_age, SHELF, TIKTOK, [hot(1), hot(1, lag_minutes=240)]) == {("MUG", "austin"): 13}


def test_nothing_that_sold_unreported_needs_no_buffer() -> None:
    assert buffers_wide_enough([], {}, has_buffers=True).result is Result.PASS
    assert buffers_wide_enough([], {}, has_buffers=False).result is Result.WARN
