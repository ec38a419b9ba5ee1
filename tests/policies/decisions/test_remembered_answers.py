"""What was worked out for one order is remembered for those that rules cannot tell from it, and for no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from policies.decisions.eligibility import RoutingQuestion, policies_for
from policies.decisions.planning.first_days import FirstDays
from policies.decisions.planning.planning_memory import MAX_QUESTIONS, PlanningMemory, PolicyView, memory_of
from policies.decisions.routing import route
from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.handling_times import HandlingTime
from policies.domain.model import Coordinates, Destination, OrderFacts, StockLevel, World
from policies.policy_set import PolicySet
from tests.policies.small_retailer import ANYWHERE, NOW, OSLO, TIKTOK, level, policy, rules, sold, store, world

PREFERRING = policy(
    only="{location.type: store}",
    rank="[{prefer: {when: {order.value: {at_least: 20}}}}, {prefer: {when: {order.value: {at_least: 90}}}}]",
)
BLOCKED_ABROAD = """
kind: exposure
name: abroad
rules:
  - {name: abroad, when: {destination.country: SE}, block: not abroad}
"""
SHOP = world([store("oslo"), store("bergen")], [level("MUG", "oslo", 5), level("MUG", "bergen", 5)])
NORWAY, SWEDEN = Destination("NO"), Destination("SE")


def view(
    policy_set: PolicySet,
    snapshot: World = SHOP,
    destination: Destination | None = NORWAY,
    own_units: Mapping[tuple[str, str], int] | None = None,
    **facts: object,
) -> PolicyView:
    order = replace(OrderFacts(), **facts)  # type: ignore[arg-type]
    question = RoutingQuestion(snapshot, TIKTOK, order, destination, own_units or {})
    return PolicyView(policy_set, question, policies_for(policy_set, question)[0])


def memory(policy_set: PolicySet, snapshot: World = SHOP) -> PlanningMemory:
    return memory_of(policy_set, snapshot.locations, TIKTOK)


def test_a_channel_keeps_its_memory_until_its_rules_its_locations_or_it_itself_are_edited() -> None:
    policy_set = rules(ANYWHERE)
    known = memory(policy_set)

    assert memory(policy_set) is known
    assert memory(rules(ANYWHERE)) is not known
    known = memory(policy_set)
    assert memory(policy_set, replace(SHOP, locations=dict(SHOP.locations))) is not known
    known = memory(policy_set)
    assert memory_of(policy_set, SHOP.locations, replace(TIKTOK)) is not known


def test_which_locations_a_policy_allows_is_worked_out_once_for_orders_that_its_rules_cannot_tell_apart() -> None:
    policy_set = rules(policy(exclude="[{name: dear, when: {order.value: {at_least: 50}}}]"))
    known = view(policy_set, value=20).eligibility

    assert view(policy_set, value=20, unit_count=7).eligibility is known
    assert view(policy_set, value=60).eligibility is not known
    assert view(policy_set, value=20).eligibility is known


def test_the_distances_to_an_address_are_worked_out_once() -> None:
    policy_set = rules(ANYWHERE)
    known = view(policy_set, destination=Destination("NO", coordinates=OSLO)).distances

    assert view(policy_set, destination=Destination("SE", coordinates=OSLO)).distances is known
    assert view(policy_set).distances is not known


def test_after_as_many_addresses_as_a_memory_holds_all_are_forgotten() -> None:
    remembered = PlanningMemory(rules(ANYWHERE), SHOP.locations, TIKTOK)
    known = remembered.distances(OSLO)
    for number in range(MAX_QUESTIONS - 1):
        remembered.distances(Coordinates(number / 10, 0))

    assert remembered.distances(OSLO) is known
    remembered.distances(Coordinates(80, 0))
    assert remembered.distances(OSLO) is not known


def test_what_each_prefer_step_says_is_worked_out_once_for_orders_that_it_cannot_tell_apart() -> None:
    policy_set = rules(PREFERRING)
    first, second = view(policy_set).policy.rank
    known = view(policy_set, value=50).preference(first)

    assert view(policy_set, value=50, unit_count=7).preference(first) is known
    assert view(policy_set, value=50).preference(second) is not known
    assert view(policy_set, value=95).preference(first) is not known
    assert [view(policy_set, value=50).preference(step)[0] for step in (first, second)] == [True, False]


def test_what_rules_say_of_a_product_is_worked_out_once_for_orders_that_they_cannot_tell_apart() -> None:
    policy_set = rules(ANYWHERE, BLOCKED_ABROAD)
    known = view(policy_set).stock("MUG")

    assert view(policy_set, unit_count=7).stock("MUG") is known
    assert known.assessments(frozenset()) is known.assessments(frozenset())
    assert view(policy_set, destination=SWEDEN).stock("MUG") is not known
    assert view(policy_set).stock("MUG") is known


def test_stock_is_looked_at_anew_in_the_next_moment() -> None:
    policy_set = rules(ANYWHERE)
    known = view(policy_set).stock("MUG")

    assert view(policy_set, replace(SHOP, now=NOW + timedelta(seconds=1))).stock("MUG") is not known


def test_a_rule_about_the_country_counts_for_each_order_of_one_moment() -> None:
    policy_set = rules(ANYWHERE, BLOCKED_ABROAD)
    plans = [
        [item.location_id for item in route(policy_set, SHOP, TIKTOK, sold({"MUG": 1}, destination=where)).plan]
        for where in (NORWAY, SWEDEN, NORWAY)
    ]

    assert plans == [["bergen"], [], ["bergen"]]


def test_an_order_sees_its_own_units_as_stock_and_looks_at_them_once() -> None:
    policy_set = rules(ANYWHERE)
    taken = level("MUG", "oslo", 5, allocated=2)
    snapshot = replace(SHOP, levels={**SHOP.levels, ("MUG", "oslo"): taken})
    own = view(policy_set, snapshot, own_units={("MUG", "oslo"): 2})

    assert own.stock("MUG") is own.stock("MUG")
    assert own.stock("MUG").available == [5, 5]
    assert view(policy_set, snapshot).stock("MUG").available == [5, 3]


def test_an_order_without_units_of_a_product_looks_at_the_stock_that_all_see() -> None:
    policy_set = rules(ANYWHERE)

    assert view(policy_set, own_units={("CAP", "oslo"): 2}).stock("MUG") is view(policy_set).stock("MUG")


def test_units_at_a_location_that_the_channel_has_lost_are_not_planned_again_there() -> None:
    shop = replace(SHOP, levels={**SHOP.levels, ("MUG", "lost"): StockLevel("MUG", "lost", 5, allocated=1)})
    decision = route(rules(ANYWHERE), shop, TIKTOK, sold({"MUG": 1}), {("MUG", "lost"): 1})

    assert [item.location_id for item in decision.plan] == ["bergen"]


def test_a_level_that_goes_leaves_nothing_available() -> None:
    policy_set, levels = rules(ANYWHERE), dict(SHOP.levels)
    shop = replace(SHOP, levels=levels)
    view(policy_set, shop).stock("MUG")
    del levels["MUG", "oslo"]

    assert view(policy_set, shop).stock("MUG").available == [5, 0]


@pytest.mark.parametrize(
    ("entry", "limited"),
    [
        ("exclude: [{name: full, when: {location.capacity_left: {less_than: 1}}}]", "a"),
        ("rank: [{prefer: {when: {location.capacity_left: {at_least: 1}}}}]", "z"),
    ],
)
def test_rules_that_ask_for_room_see_what_orders_took_since_the_last_one(entry: str, limited: str) -> None:
    policy_set = rules(policy(**dict([entry.split(": ", 1)])))
    locations = [store(limited, capacity=Capacity(orders_per_day=1)), store("m")]
    shop = world(locations, [level("MUG", limited, 5), level("MUG", "m", 5)])
    full = CapacityFigures({CapacityPeriod(limited, NOW.date()): CapacityUse(1, 1)})
    plans = [
        route(policy_set, replace(shop, capacity=figures), TIKTOK, sold({"MUG": 1})).plan
        for figures in (CapacityFigures(), full)
    ]

    assert [[item.location_id for item in plan] for plan in plans] == [[limited], ["m"]]


def test_the_first_days_of_limited_locations_are_worked_out_once_a_moment() -> None:
    limited = {
        "daily": store("daily", capacity=Capacity(orders_per_day=3)),
        "hourly": store("hourly", capacity=Capacity(orders_per_hour=3)),
        "free": store("free"),
    }
    remembered = PlanningMemory(rules(ANYWHERE), limited, TIKTOK).first_days
    known = remembered.limits(NOW)
    tomorrow = NOW + timedelta(days=1)

    assert list(known) == ["daily"]
    assert known["daily"].period.day == NOW.date()
    assert remembered.limits(NOW) is known
    assert remembered.limits(tomorrow)["daily"].period.day == tomorrow.date()


KEYS = ("a", "b", "c", "hourly", "elsewhere")
moments = st.sampled_from([NOW, NOW + timedelta(days=1)])
periods = st.builds(CapacityPeriod, st.sampled_from(KEYS), moments.map(datetime.date))
uses = st.none() | st.builds(CapacityUse, st.integers(0, 4), st.integers(0, 9))
limits = st.builds(
    Capacity, orders_per_day=st.integers(0, 4), units_per_day=st.none() | st.integers(0, 9), days_ahead=st.just(1)
)


def full(
    capacities: Mapping[str, Capacity], figures: CapacityFigures, now: datetime, unit_count: int
) -> frozenset[str]:
    """The locations without room for one more order of so many units today, and those that limit hours."""
    rooms = {key: figures.room(key, capacity, now.date()) for key, capacity in capacities.items()}
    return frozenset(key for key, room in rooms.items() if capacities[key].is_hourly or not room.fits(unit_count))


@given(st.tuples(limits, limits, limits), st.lists(st.tuples(moments, periods, uses, st.integers(1, 6)), max_size=12))
def test_every_location_that_lacks_room_is_found_whatever_was_taken_and_asked_for_before(
    daily: tuple[Capacity, ...], asked: list[tuple[datetime, CapacityPeriod, CapacityUse | None, int]]
) -> None:
    """What is taken of one period changes from question to question. One location is not of the channel."""
    capacities = dict(zip(KEYS, (*daily, Capacity(orders_per_hour=9)), strict=False))
    remembered = FirstDays([store(key, capacity=capacity) for key, capacity in capacities.items()])
    taken: dict[CapacityPeriod, CapacityUse] = {}
    most, moment = 0, NOW
    for now, changed, use, unit_count in asked:
        taken = {**taken, changed: use} if use else {key: other for key, other in taken.items() if key != changed}
        most, moment = (max(most, unit_count) if now == moment else unit_count), now
        figures = CapacityFigures(taken)
        without_room = full(capacities, figures, now, unit_count)
        found = frozenset(remembered.tight(now, figures, unit_count))

        assert without_room <= found == full(capacities, figures, now, most)
        times = {key: remembered.time_with_room(key, now, figures, unit_count) for key in capacities}
        assert times == {key: None if key in without_room else HandlingTime(now.date()) for key in capacities}
