"""Rules with time bounds: their first and last moments, and the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from policies.domain.model import Channel, Context, Location, StockLevel
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from tests.policies.small_retailer import ANYWHERE, rules

TIKTOK = Channel("tiktok_shop", "social")
CHICAGO, AUCKLAND = "America/Chicago", "Pacific/Auckland"
MERCHANT = f"kind: merchant\ntime_zone: {CHICAGO}\n"
TICK = timedelta(microseconds=1)


def blocking(bounds: str, *files: str) -> PolicySet:
    """A policy set with one exposure rule that has these time bounds."""
    return rules(ANYWHERE, f"kind: exposure\nname: one\nrules:\n  - {{name: one, block: no, {bounds}}}\n", *files)


def blocks(policy_set: PolicySet, now: datetime, time_zone: str = CHICAGO) -> bool:
    """Whether the rule is in force, by the engine and by direct evaluation."""
    location = Location("shop", "store", time_zone=time_zone)
    context = Context(now, TIKTOK, location=location, stock=StockLevel("MUG", "shop", 5))
    fired = policy_set.exposure_matcher.fired(context)
    assert fired == policy_set.exposure_matcher.fired_by_oracle(context)
    return bool(fired)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_a_rule_is_in_force_from_from_until_just_before_until() -> None:
    week = blocking("from: 2026-11-23T09:00Z, until: 2026-11-30T09:00Z")
    first, after = utc("2026-11-23T09:00"), utc("2026-11-30T09:00")

    assert [blocks(week, now) for now in (first - TICK, first, after - TICK, after)] == [False, True, True, False]


def test_a_date_is_midnight_in_the_merchants_time_zone() -> None:
    week = blocking("from: 2026-11-23, until: 2026-11-30", MERCHANT)
    first, after = utc("2026-11-23T06:00"), utc("2026-11-30T06:00")

    assert [blocks(week, now) for now in (first - TICK, first, after - TICK, after)] == [False, True, True, False]


def test_without_a_merchant_file_a_date_is_midnight_utc() -> None:
    assert not blocks(blocking("from: 2026-11-23"), utc("2026-11-23") - TICK)
    assert blocks(blocking("from: 2026-11-23"), utc("2026-11-23"))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2026-11-27T09:30", "2026-11-27T15:30"),
        ("2026-11-27 09:30:15", "2026-11-27T15:30:15"),
        ("2026-11-27T09:30+02:00", "2026-11-27T07:30"),
        ("2026-07-01", "2026-07-01T05:00"),
        # The clocks of Chicago skip 02:30 on the one day, and show 01:30 twice on the other.
        ("2026-03-08T02:30", "2026-03-08T08:30"),
        ("2026-11-01T01:30", "2026-11-01T06:30"),
    ],
)
def test_a_time_without_an_offset_is_in_the_merchants_time_zone(written: str, meant: str) -> None:
    policy_set = blocking(f"from: '{written}'", MERCHANT)

    assert blocks(policy_set, utc(meant))
    assert not blocks(policy_set, utc(meant) - TICK)


def test_a_rule_fires_only_if_its_condition_and_its_time_bounds_are_true() -> None:
    policy_set = blocking("when: {location.id: shop, stock.on_hand: {at_most: 4}}, from: 2026-01-01")

    assert not blocks(policy_set, utc("2026-06-01"))


def test_hours_include_their_start_and_exclude_their_end() -> None:
    opening = blocking('during: {hours: "09:00-17:30"}')

    # 09:00 in Chicago is 15:00 UTC in winter.
    assert not blocks(opening, utc("2026-11-27T14:59:59"))
    assert blocks(opening, utc("2026-11-27T15:00"))
    assert blocks(opening, utc("2026-11-27T23:29:59"))
    assert not blocks(opening, utc("2026-11-27T23:30"))


def test_hours_that_pass_midnight_belong_to_the_day_on_which_they_start() -> None:
    night = blocking('during: {days: [sun], hours: "22:00-02:00"}')
    times = ("2026-11-29T21:59", "2026-11-29T22:00", "2026-11-30T01:59", "2026-11-30T02:00", "2026-11-29T01:00")

    assert [blocks(night, utc(time), "UTC") for time in times] == [False, True, True, False, False]
    # The rule is in force early on Monday, but not late on Monday.
    assert not blocks(night, utc("2026-11-30T22:30"), "UTC")


def test_hours_until_midnight_can_end_at_0_00_or_24_00() -> None:
    for end in ("24:00", "00:00"):
        evening = blocking(f'during: {{days: [sat], hours: "18:00-{end}"}}')

        assert blocks(evening, utc("2026-11-28T23:59:59"), "UTC")
        assert not blocks(evening, utc("2026-11-29T00:00"), "UTC")


def test_a_day_without_hours_is_the_whole_day_in_the_locations_time_zone() -> None:
    monday = blocking("during: {days: [mon]}")

    # At this time it is Monday in Auckland and still Sunday in Chicago.
    assert blocks(monday, utc("2026-11-29T18:00"), AUCKLAND)
    assert not blocks(monday, utc("2026-11-29T18:00"), CHICAGO)


def test_hours_follow_local_time_when_clocks_change() -> None:
    morning = blocking('during: {hours: "09:00-10:00"}')

    # The same local hour is an hour later in UTC: daylight saving time ends on 1 November.
    assert blocks(morning, utc("2026-10-31T14:00"))
    assert not blocks(morning, utc("2026-11-01T14:00"))
    assert blocks(morning, utc("2026-11-01T15:00"))


def test_an_hour_that_occurs_twice_counts_twice_and_a_skipped_hour_never() -> None:
    small_hours = blocking('during: {hours: "01:00-03:00"}')

    autumn = [blocks(small_hours, utc("2026-11-01T05:30") + timedelta(hours=hour)) for hour in range(5)]
    spring = [blocks(small_hours, utc("2026-03-08T06:30") + timedelta(hours=hour)) for hour in range(4)]

    # 00:30, 01:30, 01:30 again, 02:30, 03:30; and 00:30, 01:30, 03:30, 04:30.
    assert autumn == [False, True, True, True, False]
    assert spring == [False, True, False, False]


def test_hours_can_be_in_the_merchants_time_zone_although_a_location_is_known() -> None:
    opening = blocking('during: {hours: "09:00-17:30", in: merchant}', MERCHANT)

    assert blocks(opening, utc("2026-11-27T15:00"), AUCKLAND)
    assert not blocks(opening, utc("2026-11-27T00:00"), AUCKLAND)


def test_hours_are_in_the_merchants_time_zone_where_no_location_is_known() -> None:
    policy_set = rules(
        MERCHANT,
        "kind: routing\npolicies:\n  - {name: weekend, position: 1, rank: [nearest], during: {days: [sat, sun]}}\n"
        "  - {name: rest, position: 2, rank: [nearest]}\n",
    )
    late_friday, saturday = (Context(utc(f"2026-11-28T0{hour}:00")) for hour in (5, 6))

    assert [policy.name for policy in policy_set.routing_matcher.fired(late_friday)] == ["rest"]
    assert [policy.name for policy in policy_set.routing_matcher.fired(saturday)] == ["weekend", "rest"]


def test_every_kind_of_rule_can_have_time_bounds() -> None:
    bounds = "from: 2026-11-23, until: 2026-11-30, during: {days: [fri]}"
    files = (
        f"kind: exposure\nname: one\nrules: [{{name: one, block: no, {bounds}}}]",
        f"kind: buffer\nname: one\nscope: location\nrules: [{{name: one, hold_back: {{units: 1}}, {bounds}}}]",
        f"kind: buffer\nname: two\nscope: channel\nrules: [{{name: two, cap: 5, {bounds}}}]",
        f"""kind: routing\npolicies: [{{name: one, position: 1, rank: [nearest], {bounds}}},
        {{name: rest, position: 2, rank: [nearest],
        exclude: [{{name: x, {bounds}}}], review: [{{name: y, {bounds}}}]}}]""",
        f"kind: delivery\nrules: [{{name: one, position: 1, service: ground, transit_days: 2, {bounds}}}]",
        f"""kind: exception\nrules: [{{name: one, position: 1, do: hold, owner: desk, due_in: 1h, {bounds}}},
        {{name: rest, position: 2, do: review, owner: desk, due_in: 1d}}]""",
    )

    assert read({f"{number}.yaml": text.encode() for number, text in enumerate(files)}).problems == ()


def test_the_last_policy_cannot_have_time_bounds() -> None:
    bounded = b"kind: routing\npolicies: [{name: one, position: 1, rank: [nearest], from: 2026-11-23}]"

    assert [problem.code for problem in read({"r.yaml": bounded}).problems] == ["no-default-policy"]


def test_equal_time_bounds_in_different_rules_are_the_same_fact() -> None:
    bounds = ("from: 2026-11-23T06:00Z", "until: 2026-11-23", "from: 2026-11-23T07:00+01:00")
    each = "".join(
        f"  - {{name: r{number}, block: no, when: {{location.id: shop-{number}}}, {text}}}\n"
        for number, text in enumerate(bounds)
    )
    policy_set = rules(ANYWHERE, MERCHANT, f"kind: exposure\nname: one\nrules:\n{each}")

    assert policy_set.exposure_matcher.facts == ("location.id", "from 2026-11-23T06:00:00+00:00")


def test_a_rule_with_time_bounds_needs_only_three_remembered_answers() -> None:
    policy_set = blocking("from: 2026-11-23, until: 2026-11-30")
    start = utc("2026-11-20")

    answers = [blocks(policy_set, start + timedelta(minutes=7 * step)) for step in range(2_500)]

    assert sum(answers) == 7 * 24 * 60 // 7
    assert policy_set.exposure_matcher.answer_count == 3


def test_the_merchants_time_zone_applies_whatever_the_name_of_its_file() -> None:
    bounded = b"kind: exposure\nname: one\nrules: [{name: one, block: no, from: 2026-11-23}]"
    for name in ("a.yaml", "z.yaml"):
        for text in (MERCHANT, MERCHANT.replace("merchant", r'"\x6derchant"')):
            reading = read({name: text.encode(), "m.yaml": bounded, "r.yaml": ANYWHERE.encode()})

            assert reading.policy_set is not None
            assert reading.policy_set.time_zone == CHICAGO
            assert reading.policy_set.exposure_matcher.facts == ("from 2026-11-23T06:00:00+00:00",)


def test_rules_cannot_use_facts_about_time_by_name() -> None:
    named = b"kind: exposure\nname: one\nrules: [{name: one, block: no, when: {from 2026-11-23T06:00:00+00:00: true}}]"

    assert [problem.code for problem in read({"a.yaml": named, "r.yaml": ANYWHERE.encode()}).problems] == [
        "unknown-fact"
    ]
