"""Orders that must ship or arrive by a date use only locations that can keep it, where the policy says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, time, timedelta

import pytest

from policies.decisions.decision import Decision
from policies.decisions.eligibility import NO_PROMISED_UNITS
from policies.decisions.routing import route
from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.model import Commitment, Destination, Order, OrderLine, Outcome
from policies.domain.placement import Placement
from policies.policy_set import PolicySet
from tests.policies.small_retailer import NOW, TIKTOK, level, order, policy, rules, sold, store, warehouse, world

RATES = """
kind: delivery
rules:
  - {name: from-stores, position: 10, when: {location.type: store}, service: courier, transit_days: 1, ships_on: DAYS}
  - {name: parcels, position: 20, when: {location.type: warehouse}, service: parcel, transit_days: 4, ships_on: DAYS}
""".replace("DAYS", "[mon, tue, wed, thu, fri, sat, sun]")
FRIDAY = NOW.date()
SATURDAY, TUESDAY = FRIDAY + timedelta(days=1), FRIDAY + timedelta(days=4)
HOME = Destination("NO")


def bound(**entries: str) -> PolicySet:
    """The rules of a retailer whose locations must keep both dates."""
    return rules(RATES, policy(rank="[priority]", must_meet="[ship_by, deliver_by]", **entries))


def routed(
    the_order: Order,
    policy_set: PolicySet | None = None,
    own_units: Mapping[tuple[str, str], int] = NO_PROMISED_UNITS,
) -> Decision:
    """The decision at a warehouse with 5 mugs, which comes first, a store with 2, and one of unknown handling time."""
    locations = [
        warehouse("dc", handling_minutes=0, priority=1),
        store("oslo", handling_minutes=0, priority=2),
        store("unknown", priority=3),
    ]
    levels = [level("MUG", "dc", 5), level("MUG", "oslo", 2), level("MUG", "unknown", 9)]
    return route(policy_set or bound(), world(locations, levels), TIKTOK, the_order, own_units)


def test_a_location_that_arrives_too_late_is_dropped_and_the_next_one_ships() -> None:
    decision = routed(order({"MUG": 1}, destination=HOME, deliver_by=SATURDAY))

    assert decision.units == {("MUG", "oslo"): 1}
    dropped = {x.location_id: (x.sku, x.reason, x.rule) for x in decision.dropped}
    assert dropped == {"dc": ("MUG", "too-late", "parcels"), "unknown": ("MUG", "too-late", "from-stores")}
    assert [rule.name for rule in decision.fired] == ["from-stores"]


def test_a_location_that_is_too_late_is_dropped_with_the_delivery_rule_that_says_so() -> None:
    dropped = {x.location_id: x for x in routed(order({"MUG": 1}, deliver_by=SATURDAY)).dropped}["dc"]

    assert str(dropped.source) == "rules/file-0.yaml:5"
    assert dropped.evidence is not None
    assert dropped.evidence.facts() == (("location.type", "warehouse"),)


def test_a_store_that_is_too_late_for_a_pickup_is_dropped_by_no_delivery_rule() -> None:
    pickup = order({"MUG": 1}, method="pickup", pickup_location_id="oslo", ship_by_time=NOW - timedelta(hours=1))

    assert {(x.reason, x.rule) for x in routed(pickup).dropped if x.location_id == "oslo"} == {("too-late", None)}


def test_with_more_days_the_location_that_comes_first_ships() -> None:
    assert routed(order({"MUG": 1}, deliver_by=TUESDAY)).units == {("MUG", "dc"): 1}


def test_an_order_without_a_date_is_not_bound() -> None:
    assert routed(order({"MUG": 9})).outcome is Outcome.ALLOCATED


def test_a_policy_that_names_no_date_does_not_bind_an_order() -> None:
    plain = rules(RATES, policy(rank="[priority]"))

    assert routed(order({"MUG": 1}, deliver_by=FRIDAY), plain).units == {("MUG", "dc"): 1}


def test_units_that_only_late_locations_have_are_unfillable_and_no_oversell() -> None:
    [short] = routed(sold({"MUG": 4}, deliver_by=SATURDAY)).shortages

    assert (short.kind, short.cause, short.unit_count) == ("unfillable", "too_late", 2)


def test_units_that_no_location_has_are_an_oversell_although_the_others_are_late() -> None:
    shortages = routed(sold({"MUG": 20}, deliver_by=SATURDAY)).shortages

    assert [(x.kind, x.cause, x.unit_count) for x in shortages] == [("unfillable", "too_late", 14), ("oversell", "", 4)]


def test_a_line_with_its_own_locations_is_bound_too() -> None:
    lines = (OrderLine("1", "MUG", 1, placement=Placement(frozenset({"dc"}))), OrderLine("2", "MUG", 1))
    decision = routed(Order("tiktok_shop", "TT-1", lines, Commitment.SOLD, deliver_by=SATURDAY))

    assert decision.units == {("MUG", "oslo"): 1}
    assert [(x.line_id, x.kind) for x in decision.shortages] == [("1", "unfillable")]


def test_units_that_are_promised_already_stay_although_it_is_too_late_now() -> None:
    decision = routed(sold({"MUG": 3}, deliver_by=SATURDAY), own_units={("MUG", "dc"): 1})

    assert decision.units == {("MUG", "dc"): 1, ("MUG", "oslo"): 2}


def test_an_order_whose_day_has_passed_goes_to_the_next_policy() -> None:
    late = """
kind: routing
policies:
  - {name: late, position: 200, rank: [priority]}
"""
    policy_set = rules(RATES, policy(rank="[priority]", must_meet="[deliver_by]", otherwise="next"), late)

    decision = routed(sold({"MUG": 1}, deliver_by=date(2026, 11, 1)), policy_set)

    assert (decision.policy.name, decision.units) == ("late", {("MUG", "dc"): 1})


@pytest.mark.parametrize(("hours", "shipped"), [(15, True), (14, False)])
def test_a_location_ships_in_time_if_it_closes_before(hours: int, shipped: bool) -> None:
    """The store has until midnight UTC, which is 15 hours from now."""
    policy_set = bound(only="{location.id: oslo}")
    locations = [store("oslo", handling_minutes=60)]
    the_order = order({"MUG": 1}, ship_by_time=NOW + timedelta(hours=hours))

    decision = route(policy_set, world(locations, [level("MUG", "oslo", 1)]), TIKTOK, the_order)

    assert bool(decision.plan) is shipped


def test_an_order_to_collect_has_no_day_of_delivery() -> None:
    pickup = order({"MUG": 1}, method="pickup", pickup_location_id="unknown", deliver_by=FRIDAY)

    assert routed(pickup).units == {("MUG", "unknown"): 1}


def test_a_location_that_is_full_until_too_late_is_dropped() -> None:
    """The store delivers the day after it handles an order, and is full today."""
    locations = [store("oslo", handling_minutes=0, capacity=Capacity(orders_per_day=1))]
    full_today = CapacityFigures({CapacityPeriod("oslo", FRIDAY): CapacityUse(1, 1)})
    snapshot = replace(world(locations, [level("MUG", "oslo", 5)]), capacity=full_today)

    in_time = route(bound(), snapshot, TIKTOK, order({"MUG": 1}, deliver_by=FRIDAY + timedelta(days=2)))
    too_late = route(bound(), snapshot, TIKTOK, order({"MUG": 1}, deliver_by=SATURDAY))

    assert [shipment.handling for shipment in in_time.plan] == [(SATURDAY, None)]
    assert [(x.location_id, x.reason) for x in too_late.dropped] == [("oslo", "capacity")]


@pytest.mark.parametrize(("hours", "shipped"), [(32, True), (31, False)])
def test_a_location_that_is_full_today_ships_in_time_if_it_closes_before_tomorrow(hours: int, shipped: bool) -> None:
    """The store handles the order tomorrow and closes 32 hours from now."""
    shop = store("oslo", handling_minutes=0, opens=time(9), closes=time(17), capacity=Capacity(orders_per_day=1))
    full_today = CapacityFigures({CapacityPeriod("oslo", FRIDAY): CapacityUse(1, 1)})
    snapshot = replace(world([shop], [level("MUG", "oslo", 5)]), capacity=full_today)

    decision = route(bound(), snapshot, TIKTOK, order({"MUG": 1}, ship_by_time=NOW + timedelta(hours=hours)))

    assert bool(decision.plan) is shipped


def test_a_plan_that_takes_long_is_reviewed() -> None:
    slow = "[{name: slow, when: {plan.days_until_delivery: {at_least: 4}}}]"
    policy_set = rules(
        RATES, policy(rank="[priority]", review=slow, exclude="[{name: x, when: {location.id: unknown}}]")
    )

    from_both, from_store = routed(sold({"MUG": 6}), policy_set), routed(sold({"MUG": 1}, deliver_by=SATURDAY), bound())

    assert [rule.name for rule in from_both.reviews] == ["slow"]
    assert {rule.name for rule in from_both.fired} >= {"parcels", "from-stores"}
    assert not from_store.reviews


@pytest.mark.parametrize(("full_days", "transit_days", "days"), [(0, 0, 0), (0, 1, 1), (2, 0, 2)])
def test_a_plan_takes_the_days_until_the_location_has_room_and_those_of_the_carrier(
    full_days: int, transit_days: int, days: int
) -> None:
    rates = RATES.replace("transit_days: 1", f"transit_days: {transit_days}")
    reviewed = policy(review=f"[{{name: exactly, when: {{plan.days_until_delivery: {days}}}}}]")
    taken = {CapacityPeriod("oslo", FRIDAY + timedelta(days=day)): CapacityUse(1, 1) for day in range(full_days)}
    locations = [store("oslo", handling_minutes=0, capacity=Capacity(orders_per_day=1, days_ahead=3))]
    snapshot = replace(world(locations, [level("MUG", "oslo", 5)]), capacity=CapacityFigures(taken))

    decision = route(rules(rates, reviewed), snapshot, TIKTOK, order({"MUG": 1}))

    assert [rule.name for rule in decision.reviews] == ["exactly"]


def test_rules_see_how_many_days_are_left() -> None:
    urgent = rules(RATES, policy(rank="[priority]", only="{order.days_until_deliver_by: {more_than: 1}}"))

    assert not routed(order({"MUG": 1}, deliver_by=SATURDAY), urgent).plan
    assert routed(order({"MUG": 1}, deliver_by=TUESDAY), urgent).plan
