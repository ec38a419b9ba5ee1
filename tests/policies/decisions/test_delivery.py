"""Shipping cost and delivery day of a shipment."""

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.delivery import Quote, promise_date, quote
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.routing import route
from policies.domain.calendars import is_open, local_time, ship_by
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
    store as any_store,
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


def store(key: str, **more: Any) -> Location:
    """A store that needs no handling time, unless `more` says otherwise."""
    return any_store(key, **{"handling_minutes": 0} | more)


def quote_for(snapshot: Location, destination: Any = TO_OSLO, units: int = 1, **facts: Any) -> Quote | None:
    question = RoutingQuestion(world([snapshot], []), TIKTOK, OrderFacts("ship", **facts), destination)
    return quote(POLICY_SET, question.context(snapshot), units)


POLICY_SET = rules(ANYWHERE, RATES, OTHER_ORDER)


def test_a_shipment_costs_an_amount_per_shipment_and_an_amount_per_unit() -> None:
    result = quote_for(store("bergen", coordinates=BERGEN), units=3)

    assert result is not None
    assert (result.rule, result.service, result.transit_days, result.cost) == ("norway", "ground", 3, Decimal("5.20"))
    assert str(result.source) == "rules/file-1.yaml:8"


def test_the_lowest_position_that_applies_decides_over_all_files() -> None:
    result = quote_for(store("bergen", coordinates=BERGEN), value=Decimal(100), tags=frozenset({"express"}))

    assert result is not None
    assert (result.rule, result.cost) == ("first", None)


def test_delivery_is_free_only_where_a_rule_says_so() -> None:
    location = store("bergen", coordinates=BERGEN)

    free = quote_for(location, value=Decimal(100))
    assert free is not None
    assert free.cost == 0
    assert quote_for(store("nowhere")) is None


def rule(transit_days: int | None, ships_on: frozenset[int] = WEEKDAYS) -> DeliveryRule:
    condition = POLICY_SET.delivery[0].when
    return DeliveryRule("a", 1, Source("a.yaml", 1), condition, "ground", transit_days, None, ships_on)


def expected_day(location: Location, ordered: str, transit_days: int | None = 1, **more: Any) -> date | None:
    return promise_date(rule(transit_days, **more), location, datetime.fromisoformat(ordered))


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
    location = store("oslo", time_zone="Europe/Oslo", cut_off=time(14))

    assert expected_day(location, ordered) == arrives


def test_the_delivery_day_follows_the_local_time_of_the_location() -> None:
    location = store("auckland", time_zone="Pacific/Auckland")

    assert expected_day(location, "2026-11-25T12:00:00Z", 0) == THURSDAY


def test_a_location_does_not_ship_on_days_off_and_holidays() -> None:
    location = store("oslo", opening_days=frozenset({0, 3, 4}), holidays=frozenset({FRIDAY}))

    assert expected_day(location, "2026-11-26T09:00:00Z", 0) == THURSDAY
    assert expected_day(location, "2026-11-27T09:00:00Z", 0) == MONDAY


def test_handling_passes_on_opening_days_only() -> None:
    location = store("supplier", handling_minutes=2 * 24 * 60, opening_days=WEEKDAYS)

    assert expected_day(location, "2026-11-26T09:00:00Z", 0) == MONDAY


def test_handling_past_midnight_takes_the_next_day() -> None:
    location = store("oslo", handling_minutes=60)

    assert expected_day(location, "2026-11-25T22:59:00Z", 0) == WEDNESDAY
    assert expected_day(location, "2026-11-25T23:00:00Z", 0) == THURSDAY


def test_handling_begins_when_the_location_opens() -> None:
    location = store("oslo", opens=time(9), closes=time(17), handling_minutes=15 * 60)

    assert expected_day(location, "2026-11-25T03:00:00Z", 0) == THURSDAY


def test_a_parcel_packed_on_saturday_waits_for_the_next_carrier_day() -> None:
    assert expected_day(store("oslo"), "2026-11-28T09:00:00Z", 1) == TUESDAY
    assert expected_day(store("oslo"), "2026-11-28T09:00:00Z", 1, ships_on=frozenset({5, 6})) == SUNDAY


def test_holidays_of_the_location_do_not_delay_a_shipped_parcel() -> None:
    assert expected_day(store("oslo", holidays=frozenset({FRIDAY})), "2026-11-26T09:00:00Z", 1) == FRIDAY


def test_a_parcel_of_unknown_transit_or_without_ship_day_has_no_delivery_day() -> None:
    shut = store("shut", opening_days=frozenset[int]())
    sundays = store("sundays", opening_days=frozenset({6}))

    assert expected_day(store("oslo"), "2026-11-26T09:00:00Z", None) is None
    assert expected_day(shut, "2026-11-26T09:00:00Z") is None
    assert expected_day(sundays, "2026-11-26T09:00:00Z") is None


@pytest.mark.parametrize("calendar", [{}, {"cut_off": time(14)}, {"opens": time(9), "closes": time(17)}])
def test_without_a_stated_handling_time_the_delivery_day_is_unknown(calendar: dict[str, Any]) -> None:
    location = any_store("oslo", **calendar)

    assert expected_day(location, "2026-11-26T09:00:00Z") is None


@pytest.mark.parametrize(
    ("calendar", "expected"),
    [
        ({}, None),
        ({"opens": time(9), "closes": time(17)}, None),
        ({"cut_off": time(14)}, datetime(2026, 11, 27, tzinfo=UTC)),
        ({"cut_off": time(14), "opens": time(9), "closes": time(17)}, datetime(2026, 11, 26, 17, tzinfo=UTC)),
    ],
)
def test_without_a_stated_handling_time_only_a_cut_off_gives_a_ship_by_time(
    calendar: dict[str, Any], expected: datetime | None
) -> None:
    assert ship_by(any_store("oslo", **calendar), datetime(2026, 11, 26, 10, tzinfo=UTC)) == expected


def test_sixty_days_on_one_day_a_week_have_a_date() -> None:
    assert expected_day(store("oslo"), "2026-11-26T09:00:00Z", 60, ships_on=frozenset({3})) == THURSDAY + timedelta(
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
    location = store("a", time_zone=zone, opening_days=frozenset(opening), cut_off=time(13), handling_minutes=handling)
    moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    sooner, later = (
        promise_date(rule(transit_days, frozenset(ships_on)), location, at)
        for at in (moment, moment + timedelta(minutes=47))
    )

    assert (sooner is None) == (later is None) == (not opening & ships_on)
    if sooner is not None and later is not None:
        assert local_time(moment, zone).date() <= sooner <= later
        assert sooner.weekday() in ships_on


@pytest.mark.parametrize(("at", "expected"), [("08:59", False), ("09:00", True), ("16:59", True), ("17:00", False)])
def test_a_location_is_open_from_its_first_minute_to_before_its_last(at: str, expected: bool) -> None:
    location = store("oslo", opens=time(9), closes=time(17))

    assert is_open(location, datetime.fromisoformat(f"2026-11-26T{at}Z")) is expected


def test_a_location_without_hours_is_closed_on_days_off_and_otherwise_unknown() -> None:
    location = store("oslo", opening_days=WEEKDAYS)

    assert is_open(location, datetime(2026, 11, 26, 12, tzinfo=UTC)) is None
    assert is_open(location, datetime(2026, 11, 28, 12, tzinfo=UTC)) is False


@pytest.mark.parametrize(
    "keys",
    [{"opens": time(9), "closes": time(9)}, {"opening_days": frozenset({7})}],
)
def test_a_location_refuses_an_invalid_calendar(keys: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"oslo|opening days"):
        store("oslo", **keys)


CHEAPEST = policy(rank="[lowest_cost, nearest]")
FASTEST = policy(rank="[earliest_promise, nearest]")
REVIEW_LOSSES = policy(review="[{name: at-a-loss, when: {plan.margin_after_shipping: {less_than: 0}}}]")
UNKNOWN_COST = policy(review="[{name: unknown, when: {plan.cost.known: false}}]")
LOCATIONS = [store("bergen", coordinates=BERGEN), store("oslo", coordinates=OSLO), store("nowhere")]


def shipped(policy_set: PolicySet, stock: dict[str, int], count: int = 1, **more: Any) -> list[str]:
    snapshot = world(LOCATIONS, [level("MUG", key, on_hand) for key, on_hand in stock.items()])
    return [item.location_id for item in route(policy_set, snapshot, TIKTOK, sold({"MUG": count}, **more)).plan]


def test_the_cheapest_plan_counts_before_the_nearest() -> None:
    assert shipped(rules(CHEAPEST, RATES), {"bergen": 1, "oslo": 1, "nowhere": 1}, destination=TO_OSLO) == ["bergen"]


def test_the_earliest_delivery_wins_where_the_policy_ranks_by_it() -> None:
    assert shipped(rules(FASTEST, RATES), {"bergen": 1, "oslo": 1, "nowhere": 1}, destination=TO_OSLO) == ["oslo"]


def test_a_location_of_unknown_handling_time_is_ranked_last_by_the_earliest_delivery() -> None:
    locations = [any_store("oslo", coordinates=OSLO), store("bergen", coordinates=BERGEN, handling_minutes=10 * 1440)]
    snapshot = world(locations, [level("MUG", "oslo", 1), level("MUG", "bergen", 1)])

    decision = route(rules(FASTEST, RATES), snapshot, TIKTOK, sold({"MUG": 1}, destination=TO_OSLO))
    assert [planned.location_id for planned in decision.plan] == ["bergen"]


def test_an_exclude_rule_can_drop_locations_of_unknown_handling_time() -> None:
    locations = [any_store("unstated"), store("none-needed")]
    snapshot = world(locations, [level("MUG", "unstated", 1), level("MUG", "none-needed", 1)])
    excluding = policy(exclude="[{name: unknown, when: {location.handling_minutes.known: false}}]")

    decision = route(rules(excluding), snapshot, TIKTOK, sold({"MUG": 1}))
    assert [planned.location_id for planned in decision.plan] == ["none-needed"]


@pytest.mark.parametrize("rank", [CHEAPEST, FASTEST])
def test_a_location_without_cost_or_delivery_day_is_used_last(rank: str) -> None:
    assert "nowhere" not in shipped(rules(rank, RATES), {"bergen": 1, "oslo": 1, "nowhere": 9}, 2, destination=TO_OSLO)
    assert shipped(rules(rank, RATES), {"nowhere": 1}, destination=TO_OSLO) == ["nowhere"]


def test_without_delivery_rules_the_delivery_steps_are_ties() -> None:
    assert shipped(rules(CHEAPEST), {"bergen": 1, "oslo": 1}, destination=TO_OSLO) == ["oslo"]


def test_a_decision_names_the_delivery_rules_of_its_plan() -> None:
    snapshot = world(LOCATIONS, [level("MUG", "bergen", 2)])

    result = route(rules(CHEAPEST, RATES), snapshot, TIKTOK, sold({"MUG": 2}, destination=TO_OSLO))
    (fired,) = result.fired
    assert (fired.name, fired.location_id) == ("norway", "bergen")
    assert fired.effect == "by ground, cost 5.10, expected 2026-12-02"


def test_a_plan_that_costs_more_than_the_order_value_is_reviewed() -> None:
    snapshot = world(LOCATIONS, [level("MUG", "bergen", 9), level("MUG", "oslo", 1)])

    def outcome(value: str) -> Outcome:
        purchase = sold({"MUG": 1}, destination=TO_OSLO, stated_value=Decimal(value))
        return route(rules(REVIEW_LOSSES, RATES), snapshot, TIKTOK, purchase).outcome

    assert outcome("7.49") is Outcome.NEEDS_REVIEW
    assert outcome("7.50") is Outcome.ALLOCATED


def test_the_cost_of_a_plan_is_unknown_if_the_cost_of_one_shipment_is() -> None:
    snapshot = world(LOCATIONS, [level("MUG", "bergen", 1), level("MUG", "nowhere", 1)])

    result = route(rules(UNKNOWN_COST, RATES), snapshot, TIKTOK, sold({"MUG": 2}, destination=TO_OSLO))
    assert result.outcome is Outcome.NEEDS_REVIEW
    assert [item.name for item in result.fired] == ["norway", "unknown"]


def test_an_order_routed_without_cost_or_delivery_day_needs_no_quotes() -> None:
    policy_set = rules(policy(review="[{name: split, when: {plan.shipment_count: {more_than: 1}}}]"), RATES)

    shipped(policy_set, {"bergen": 1, "oslo": 1}, 2, destination=TO_OSLO)
    assert policy_set.delivery_matcher.misses == 0


def test_the_engine_and_the_oracle_agree_on_the_shipped_kind_of_rules() -> None:
    question = RoutingQuestion(world(LOCATIONS, []), TIKTOK, OrderFacts("ship"), TO_OSLO)

    for location in [*LOCATIONS, store("tromso", coordinates=TROMSO)]:
        context = question.context(location)
        assert POLICY_SET.delivery_matcher.fired(context) == POLICY_SET.delivery_matcher.fired_by_oracle(context)


def test_delivery_rules_need_a_routing_policy() -> None:
    (problem,) = read({"rates.yaml": RATES.encode()}).problems

    assert problem.code == "no-default-policy"


SUITE = """\
suite: Rates
now: 2026-11-27T09:00:00Z
locations:
  oslo:
    {type: store, country: "NO", coordinates: [59.91, 10.75], handling_minutes: 0,
     time_zone: Europe/Oslo, cut_off: 10:00}
tests:
  - name: A test
    given: {channel: shopify, ships_from: oslo, destination: {country: "NO", coordinates: [60.39, 5.32]}, unit_count: 2}
    expect: {EXPECT}
"""


def messages(expect: str, suite: str = SUITE) -> list[str]:
    files = {"a.yaml": RATES.encode(), "z.yaml": ANYWHERE.encode()}
    text = suite.replace("EXPECT", expect).encode()
    problems = run_suites(read(files).policy_set, {"a_test.yaml": text}).problems
    return [f"{item.message} [{item.code}]" for item in problems if item.code != "rule-untested"]


def test_a_suite_can_test_a_delivery() -> None:
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


def test_a_test_can_expect_that_no_delivery_rule_applies() -> None:
    elsewhere = SUITE.replace('country: "NO", coordinates: [60.39', "country: SE, coordinates: [60.39")

    assert messages("service: unknown, cost: unknown, delivers_on: unknown, because: []", elsewhere) == []


def test_delivery_rules_need_a_test_too() -> None:
    suite = SUITE.replace("EXPECT", "because: [norway]").encode()
    files = {"a.yaml": RATES.encode(), "z.yaml": ANYWHERE.encode()}

    untested = [item.message for item in run_suites(read(files).policy_set, {"a_test.yaml": suite}).problems]
    assert "no test makes the delivery rule 'slow-boat' fire" in untested
    assert not any("'norway'" in message for message in untested)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("cut_off: 25:00", "'cut_off' must be a time of day, not the text '25:00' [wrong-type]"),
        ("time_zone: Oslo", "there is no time zone 'Oslo' [unknown-time-zone]"),
        ("holidays: [christmas]", "a day of 'holidays' must be a day, not the text 'christmas' [wrong-type]"),
        ("opens: 17:00, closes: 09:00", "'closes' is not after 'opens' [out-of-range]"),
        (
            "weekday_hours: {fri: {opens: 09:00}}",
            "'fri' in 'weekday_hours' needs both 'opens' and 'closes' [missing-key]",
        ),
        ("weekday_hours: {xmas: {cut_off: 09:00}}", "a day of 'weekday_hours' cannot be 'xmas' [unknown-value]"),
        ("opening_days: [mon, xmas]", "a day of 'opening_days' cannot be 'xmas' [unknown-value]"),
    ],
)
def test_an_unreadable_calendar_of_a_location_is_a_problem(keys: str, message: str) -> None:
    suite = SUITE.replace("time_zone: Europe/Oslo, cut_off: 10:00", keys)

    assert messages("because: [norway]", suite) == [message]


def test_a_decision_shows_the_facts_by_which_its_delivery_rule_decided() -> None:
    decision = route(
        rules(RATES, policy(rank="[lowest_cost]")),
        world([store("dc", coordinates=OSLO)], [level("MUG", "dc", 2)]),
        TIKTOK,
        sold({"MUG": 2}, destination=TO_OSLO),
    )

    (fired,) = [rule for rule in decision.fired if rule.name == "same-city"]
    assert fired.effect == "by courier, cost 7.5, expected 2026-11-27"
    assert (fired.location_id, fired.sku) == ("dc", None)
    assert fired.evidence is not None
    assert fired.evidence.context.location is not None
    assert fired.evidence.context.location.id == "dc"
    assert fired.evidence.when is not None


@pytest.mark.parametrize(
    ("states", "effect"),
    [("transit_days: 2", "by boat, expected 2026-12-01"), ("cost: {per_shipment: 30}", "by boat, cost 30")],
)
def test_a_delivery_rule_says_only_what_it_states(states: str, effect: str) -> None:
    slow = f"kind: delivery\nrules:\n  - {{name: slow, position: 1, service: boat, {states}}}\n"
    snapshot = world([store("dc")], [level("MUG", "dc", 2)])
    decision = route(rules(slow, policy(rank="[lowest_cost]")), snapshot, TIKTOK, sold({"MUG": 1}))

    assert [rule.effect for rule in decision.fired if rule.name == "slow"] == [effect]
