"""What sending a parcel costs, and when it arrives."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.delivery import Quote, promise_date, quote
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.routing import route
from policies.domain.calendars import is_open, local_time
from policies.domain.model import Location, OrderFacts, Outcome
from policies.policy_set import DeliveryRule, PolicySet
from policies.reading.rules_reader import read
from policies.source.problems import Source
from policies.testing.suites import run_suites
from tests.policies.small_retailer import (
    ANYWHERE,
    BERGEN,
    OSLO,
    TIKTOK,
    TO_OSLO,
    TROMSO,
    level,
    policy,
    rules,
    sold,
    store,
    world,
)

RATES = """
kind: delivery
rules:
  - {name: same-city, position: 10, when: {location.distance_km: {at_most: 15}}, service: courier, transit_days: 0,
     cost: {per_shipment: 7.5}}
  - {name: dear-is-free, position: 20, when: {order.value: {at_least: 100}}, service: ground, transit_days: 2,
     cost: {per_unit: 0}}
  - {name: norway, position: 30, when: {destination.country: "NO", location.distance_km.known: true}, service: ground,
     transit_days: 3, cost: {per_shipment: 4.90, per_unit: 0.10}}
  - {name: slow-boat, position: 40, when: {destination.country: IS}, service: boat, cost: {per_shipment: 30}}
"""
OTHER_ORDER = """
kind: delivery
rules:
  - {name: first, position: 5, when: {order.tags: {contains: express}}, service: air, transit_days: 1}
"""

WEDNESDAY, THURSDAY, FRIDAY = date(2026, 11, 25), date(2026, 11, 26), date(2026, 11, 27)
SATURDAY, SUNDAY, MONDAY, TUESDAY = (FRIDAY + timedelta(days=ahead) for ahead in (1, 2, 3, 4))
WEEKDAYS = frozenset(range(5))


def asked(where: Location, goes_to: Any = TO_OSLO, units: int = 1, **facts: Any) -> Quote | None:
    question = RoutingQuestion(world([where], []), TIKTOK, OrderFacts("ship", **facts), goes_to)
    return quote(SET, question.context(where), units)


SET = rules(ANYWHERE, RATES, OTHER_ORDER)


def test_a_shipment_costs_its_own_amount_and_one_for_each_unit() -> None:
    found = asked(store("bergen", coordinates=BERGEN), units=3)

    assert found is not None
    assert (found.rule, found.service, found.transit_days, found.cost) == ("norway", "ground", 3, Decimal("5.20"))
    assert str(found.source) == "rules/file-1.yaml:8"


def test_the_lowest_position_that_applies_decides_over_all_files() -> None:
    found = asked(store("bergen", coordinates=BERGEN), value=Decimal(100), tags=frozenset({"express"}))

    assert found is not None
    assert (found.rule, found.cost) == ("first", None)


def test_free_is_what_a_rule_says_and_not_what_no_rule_says() -> None:
    place = store("bergen", coordinates=BERGEN)

    free = asked(place, value=Decimal(100))
    assert free is not None
    assert free.cost == 0
    assert asked(store("nowhere")) is None


def rule(transit_days: int | None, ships_on: frozenset[int] = WEEKDAYS) -> DeliveryRule:
    anything = SET.delivery[0].when
    return DeliveryRule("a", 1, Source("a.yaml", 1), anything, "ground", transit_days, None, ships_on)


def promised(place: Location, ordered: str, transit_days: int | None = 1, **more: Any) -> date | None:
    return promise_date(rule(transit_days, **more), place, datetime.fromisoformat(ordered))


@pytest.mark.parametrize(
    ("ordered", "arrives"),
    [
        ("2026-11-26T14:00:00+01:00", FRIDAY),
        ("2026-11-26T14:00:59+01:00", FRIDAY),
        ("2026-11-26T14:01:00+01:00", MONDAY),
        ("2026-11-26T13:00:00Z", FRIDAY),
        ("2026-11-26T13:01:00Z", MONDAY),
    ],
)
def test_an_order_at_the_cut_off_minute_of_the_locations_clock_is_in_time(ordered: str, arrives: date) -> None:
    place = store("oslo", time_zone="Europe/Oslo", cut_off=time(14))

    assert promised(place, ordered) == arrives


def test_the_day_is_the_locations_own() -> None:
    place = store("auckland", time_zone="Pacific/Auckland")

    assert promised(place, "2026-11-25T12:00:00Z", 0) == THURSDAY


def test_days_off_and_holidays_of_the_location_pass_before_it_leaves() -> None:
    place = store("oslo", opening_days=frozenset({0, 3, 4}), holidays=frozenset({FRIDAY}))

    assert promised(place, "2026-11-26T09:00:00Z", 0) == THURSDAY
    assert promised(place, "2026-11-27T09:00:00Z", 0) == MONDAY


def test_handling_passes_on_opening_days_only() -> None:
    place = store("supplier", handling_minutes=2 * 24 * 60, opening_days=WEEKDAYS)

    assert promised(place, "2026-11-26T09:00:00Z", 0) == MONDAY


def test_handling_past_midnight_takes_the_next_day() -> None:
    place = store("oslo", handling_minutes=60)

    assert promised(place, "2026-11-25T22:59:00Z", 0) == WEDNESDAY
    assert promised(place, "2026-11-25T23:00:00Z", 0) == THURSDAY


def test_handling_begins_when_the_location_opens() -> None:
    place = store("oslo", opens=time(9), closes=time(17), handling_minutes=15 * 60)

    assert promised(place, "2026-11-25T03:00:00Z", 0) == THURSDAY


def test_a_store_that_packs_on_saturday_hands_it_over_when_the_carrier_comes() -> None:
    assert promised(store("oslo"), "2026-11-28T09:00:00Z", 1) == TUESDAY
    assert promised(store("oslo"), "2026-11-28T09:00:00Z", 1, ships_on=frozenset({5, 6})) == SUNDAY


def test_the_locations_holidays_do_not_delay_what_has_left() -> None:
    assert promised(store("oslo", holidays=frozenset({FRIDAY})), "2026-11-26T09:00:00Z", 1) == FRIDAY


def test_what_is_not_known_or_never_comes_has_no_date() -> None:
    shut = store("shut", opening_days=frozenset[int]())
    sundays = store("sundays", opening_days=frozenset({6}))

    assert promised(store("oslo"), "2026-11-26T09:00:00Z", None) is None
    assert promised(shut, "2026-11-26T09:00:00Z") is None
    assert promised(sundays, "2026-11-26T09:00:00Z") is None


def test_sixty_days_on_one_day_a_week_have_a_date() -> None:
    assert promised(store("oslo"), "2026-11-26T09:00:00Z", 60, ships_on=frozenset({3})) == THURSDAY + timedelta(
        weeks=60
    )


@settings(max_examples=200, deadline=None)
@given(
    st.integers(0, 2 * 365 * 24 * 60),
    st.sampled_from(["UTC", "America/New_York", "Pacific/Auckland"]),
    st.sets(st.integers(0, 6), min_size=1),
    st.sets(st.integers(0, 6), min_size=1),
    st.integers(0, 5000),
    st.integers(0, 20),
)
def test_later_orders_never_arrive_earlier(
    minutes: int, zone: str, opening: set[int], ships_on: set[int], handling: int, transit_days: int
) -> None:
    place = store("a", time_zone=zone, opening_days=frozenset(opening), cut_off=time(13), handling_minutes=handling)
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    sooner, later = (
        promise_date(rule(transit_days, frozenset(ships_on)), place, at)
        for at in (moment, moment + timedelta(minutes=47))
    )

    assert (sooner is None) == (later is None) == (not opening & ships_on)
    if sooner is not None and later is not None:
        assert local_time(moment, zone).date() <= sooner <= later
        assert sooner.weekday() in ships_on


@pytest.mark.parametrize(("at", "is_it"), [("08:59", False), ("09:00", True), ("16:59", True), ("17:00", False)])
def test_a_location_is_open_from_its_first_minute_to_before_its_last(at: str, is_it: bool) -> None:
    place = store("oslo", opens=time(9), closes=time(17))

    assert is_open(place, datetime.fromisoformat(f"2026-11-26T{at}Z")) is is_it


def test_a_location_without_hours_is_not_known_to_be_open_but_shut_on_its_days_off() -> None:
    place = store("oslo", opening_days=WEEKDAYS)

    assert is_open(place, datetime(2026, 11, 26, 12, tzinfo=UTC)) is None
    assert is_open(place, datetime(2026, 11, 28, 12, tzinfo=UTC)) is False


@pytest.mark.parametrize(
    "wrong",
    [{"opens": time(9), "closes": time(9)}, {"opening_days": frozenset({7})}],
)
def test_a_location_refuses_a_calendar_that_makes_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"oslo|opening days"):
        store("oslo", **wrong)


CHEAP = policy(rank="[lowest_cost, nearest]")
QUICK = policy(rank="[earliest_promise, nearest]")
LOSS = policy(review="[{name: at-a-loss, when: {plan.margin_after_shipping: {less_than: 0}}}]")
UNKNOWN_COST = policy(review="[{name: unknown, when: {plan.cost.known: false}}]")
PLACES = [store("bergen", coordinates=BERGEN), store("oslo", coordinates=OSLO), store("nowhere")]


def shipped(policy_set: PolicySet, stock: dict[str, int], count: int = 1, **more: Any) -> list[str]:
    where = world(PLACES, [level("MUG", key, on_hand) for key, on_hand in stock.items()])
    return [one.location_id for one in route(policy_set, where, TIKTOK, sold({"MUG": count}, **more)).plan]


def test_the_cheapest_plan_counts_before_the_nearest() -> None:
    assert shipped(rules(CHEAP, RATES), {"bergen": 1, "oslo": 1, "nowhere": 1}, destination=TO_OSLO) == ["bergen"]


def test_the_plan_that_arrives_first_counts_where_the_policy_says_so() -> None:
    assert shipped(rules(QUICK, RATES), {"bergen": 1, "oslo": 1, "nowhere": 1}, destination=TO_OSLO) == ["oslo"]


@pytest.mark.parametrize("rank", [CHEAP, QUICK])
def test_a_shipment_of_which_nothing_is_known_is_used_last(rank: str) -> None:
    assert "nowhere" not in shipped(rules(rank, RATES), {"bergen": 1, "oslo": 1, "nowhere": 9}, 2, destination=TO_OSLO)
    assert shipped(rules(rank, RATES), {"nowhere": 1}, destination=TO_OSLO) == ["nowhere"]


def test_without_delivery_rules_the_steps_tell_nothing_apart() -> None:
    assert shipped(rules(CHEAP), {"bergen": 1, "oslo": 1}, destination=TO_OSLO) == ["oslo"]


def test_the_rates_behind_a_plan_are_told() -> None:
    where = world(PLACES, [level("MUG", "bergen", 2)])

    found = route(rules(CHEAP, RATES), where, TIKTOK, sold({"MUG": 2}, destination=TO_OSLO))
    (fired,) = found.fired
    assert (fired.name, fired.location_id) == ("norway", "bergen")
    assert fired.effect == "by ground, cost 5.10, expected 2026-12-02"


def test_a_plan_that_costs_more_than_the_order_brings_is_reviewed() -> None:
    where = world(PLACES, [level("MUG", "bergen", 9), level("MUG", "oslo", 1)])

    def outcome(value: str) -> Outcome:
        bought = sold({"MUG": 1}, destination=TO_OSLO, stated_value=Decimal(value))
        return route(rules(LOSS, RATES), where, TIKTOK, bought).outcome

    assert outcome("7.49") is Outcome.NEEDS_REVIEW
    assert outcome("7.50") is Outcome.ALLOCATED


def test_the_cost_of_a_plan_is_unknown_where_that_of_one_shipment_is() -> None:
    where = world(PLACES, [level("MUG", "bergen", 1), level("MUG", "nowhere", 1)])

    found = route(rules(UNKNOWN_COST, RATES), where, TIKTOK, sold({"MUG": 2}, destination=TO_OSLO))
    assert found.outcome is Outcome.NEEDS_REVIEW
    assert [one.name for one in found.fired] == ["norway", "unknown"]


def test_an_order_that_asks_nothing_of_delivery_quotes_nothing() -> None:
    policy_set = rules(policy(review="[{name: split, when: {plan.shipment_count: {more_than: 1}}}]"), RATES)

    shipped(policy_set, {"bergen": 1, "oslo": 1}, 2, destination=TO_OSLO)
    assert policy_set.delivery_matcher.hits + policy_set.delivery_matcher.misses == 0


def test_the_engine_and_the_oracle_agree_on_the_shipped_kind_of_rules() -> None:
    question = RoutingQuestion(world(PLACES, []), TIKTOK, OrderFacts("ship"), TO_OSLO)

    for place in [*PLACES, store("tromso", coordinates=TROMSO)]:
        context = question.context(place)
        assert SET.delivery_matcher.fired(context) == SET.delivery_matcher.fired_by_oracle(context)


def test_delivery_rules_alone_are_no_way_to_route() -> None:
    (problem,) = read({"rates.yaml": RATES.encode()}).problems

    assert problem.code == "no-default-policy"


SUITE = """\
suite: Rates
now: 2026-11-27T09:00:00Z
locations:
  oslo: {type: store, country: "NO", coordinates: [59.91, 10.75], time_zone: Europe/Oslo, cut_off: 10:00}
tests:
  - name: A test
    given: {channel: shopify, ships_from: oslo, destination: {country: "NO", coordinates: [60.39, 5.32]}, unit_count: 2}
    expect: {EXPECT}
"""


def messages(expect: str, suite: str = SUITE) -> list[str]:
    files = {"a.yaml": RATES.encode(), "z.yaml": ANYWHERE.encode()}
    text = suite.replace("EXPECT", expect).encode()
    problems = run_suites(read(files).policy_set, {"a_test.yaml": text}).problems
    return [f"{one.message} [{one.code}]" for one in problems if one.code != "rule-untested"]


def test_a_suite_asks_how_a_parcel_arrives() -> None:
    right = "service: ground, transit_days: 3, cost: 5.1, delivers_on: 2026-12-02, because: [norway]"

    assert messages(right) == []


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("service: boat", "expected the service boat, got ground"),
        ("transit_days: 2", "expected transit days of 2, got 3"),
        ("cost: 5", "expected a cost of 5, got 5.10"),
        ("cost: unknown", "expected a cost of unknown, got 5.10"),
        ("delivers_on: 2026-12-01", "expected delivery on 2026-12-01, got 2026-12-02"),
    ],
)
def test_every_part_of_a_delivery_is_compared(expect: str, message: str) -> None:
    assert messages(f"{expect}, because: [norway]") == [f"{message}: A test [test-failed]"]


def test_no_rule_is_an_answer_that_a_test_can_expect() -> None:
    elsewhere = SUITE.replace('country: "NO", coordinates: [60.39', "country: SE, coordinates: [60.39")

    assert messages("service: unknown, cost: unknown, delivers_on: unknown, because: []", elsewhere) == []


def test_delivery_rules_need_a_test_too() -> None:
    suite = SUITE.replace("EXPECT", "because: [norway]").encode()
    files = {"a.yaml": RATES.encode(), "z.yaml": ANYWHERE.encode()}

    untested = [one.message for one in run_suites(read(files).policy_set, {"a_test.yaml": suite}).problems]
    assert "no test makes the delivery rule 'slow-boat' fire" in untested
    assert not any("'norway'" in message for message in untested)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("cut_off: 25:00", "'cut_off' must be a time of day, not the text '25:00' [wrong-type]"),
        ("time_zone: Oslo", "there is no time zone 'Oslo' [unknown-time-zone]"),
        ("holidays: [christmas]", "a day of 'holidays' must be a day, not the text 'christmas' [wrong-type]"),
        ("opens: 17:00, closes: 09:00", "'closes' is not after 'opens' [out-of-range]"),
        ("opening_days: [mon, xmas]", "a day of 'opening_days' cannot be 'xmas' [unknown-value]"),
    ],
)
def test_a_location_with_a_calendar_that_cannot_be_read_is_told(stated: str, message: str) -> None:
    suite = SUITE.replace("time_zone: Europe/Oslo, cut_off: 10:00", stated)

    assert messages("because: [norway]", suite) == [message]
