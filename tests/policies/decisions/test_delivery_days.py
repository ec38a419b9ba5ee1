"""By which day how many: the answer about a product is what an order that names the day then gets."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.availability.delivery_days import DeliveryOption
from policies.decisions.availability.item_availability import in_items
from policies.decisions.availability.sellable import Availability, assess_availability
from policies.decisions.availability.tried_orders import TriedOrders
from policies.decisions.kits.kit_availability import assess_kit
from policies.decisions.routing import route
from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.kits import Kit, KitPart
from policies.domain.model import Order, OrderLine, Outcome, Product, World
from policies.policy_set import PolicySet
from tests.policies.decisions.test_routing_properties import BUFFERS, SKUS, TRUST, WHOLE, worlds
from tests.policies.small_retailer import NOW, TIKTOK, TO_OSLO, level, order, policy, rules, store, warehouse, world

RATES = """
kind: delivery
rules:
  - {name: courier, position: 10, when: {location.type: store}, service: courier, transit_days: 1}
  - {name: near, position: 20, when: {location.distance_km: {at_most: 500}}, service: ground, transit_days: 2}
  - {name: far, position: 30, when: {location.distance_km: {at_most: 5000}}, service: ground, transit_days: 5}
"""
BY_SIZE = """
kind: delivery
rules:
  - {name: bicycle, position: 1, when: {location.type: store, order.unit_count: {at_most: 2}}, service: bicycle,
     transit_days: 0, ships_on: [mon, tue, wed, thu, fri, sat, sun]}
  - {name: free-express, position: 2, when: {order.value: {at_least: 30}}, service: express, transit_days: 1}
  - {name: ground, position: 3, service: ground, transit_days: 4}
"""
STEPS = ("[priority, deepest_stock]", "[covers_most, nearest]", "[fewest_shipments, earliest_promise]")


def bound(rank: str, **entries: Any) -> PolicySet:
    return rules(
        entries.pop("rates", RATES), BUFFERS, TRUST, WHOLE, policy(rank=rank, must_meet="[deliver_by]", **entries)
    )


LIMITS: tuple[dict[str, Any], ...] = ({}, {"max_shipments": 2}, {"max_shipments": 1})
POLICY_SETS = [bound(rank, rates=rates, **limit) for rank in STEPS for limit in LIMITS for rates in (RATES, BY_SIZE)]
PLAIN = rules(RATES, policy(rank="[priority]", must_meet="[deliver_by]"))
"""No buffer, no limit."""


@st.composite
def timed_worlds(draw: st.DrawFn) -> World:
    """Worlds in which most locations state how long their work takes."""
    snapshot = draw(worlds())
    minutes = st.sampled_from([None, 0, 0, 60, 3_000])
    locations = {key: replace(x, handling_minutes=draw(minutes)) for key, x in snapshot.locations.items()}
    dear = {sku: Product(sku, price=Decimal(7)) for sku in SKUS}
    limits = st.none() | st.builds(
        Capacity,
        orders_per_day=st.sampled_from([None, 1]),
        units_per_day=st.integers(1, 9),
        days_ahead=st.integers(0, 4),
    )
    locations = {key: replace(x, capacity=draw(limits)) for key, x in locations.items()}
    taken = draw(st.dictionaries(st.tuples(st.sampled_from(sorted(locations)), st.integers(0, 2)), st.integers(1, 5)))
    figures = {CapacityPeriod(key, NOW.date() + timedelta(x)): CapacityUse(1, n) for (key, x), n in taken.items()}
    return replace(snapshot, locations=locations, products=dear, capacity=CapacityFigures(figures))


def asked(policy_set: PolicySet, snapshot: World, sku: str = "MUG", **more: Any) -> Availability:
    return assess_availability(
        policy_set, snapshot, TIKTOK, sku, method="ship", destination=TO_OSLO, by_day=True, **more
    )


def _line(sku: str, count: int) -> OrderLine:
    return OrderLine("1", sku, count, unit_price=Decimal(7))


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(POLICY_SETS), timed_worlds(), st.sampled_from(SKUS))
def test_an_order_for_the_day_gets_as_many_as_was_said_and_no_more(
    policy_set: PolicySet, snapshot: World, sku: str
) -> None:
    answer = asked(policy_set, snapshot, sku)
    # `covers_most` may send a huge order to a location that has less than the one which covers a smaller order.
    most, one_more = [
        Order("tiktok_shop", "1", (_line(sku, count),), destination=TO_OSLO)
        for count in (max(1, answer.largest_single_order), answer.largest_single_order + 1)
    ]

    assert sum(route(policy_set, snapshot, TIKTOK, most).units.values()) == answer.largest_single_order
    assert route(policy_set, snapshot, TIKTOK, one_more).outcome is not Outcome.ALLOCATED
    assert [day.largest_order for day in answer.delivery_days] == sorted(
        {x.largest_order for x in answer.delivery_days}
    )
    for day in answer.delivery_days:
        hold = Order("tiktok_shop", "1", (_line(sku, day.largest_order),), destination=TO_OSLO)
        exact = route(policy_set, snapshot, TIKTOK, replace(hold, deliver_by=day.day))
        assert exact.outcome is Outcome.ALLOCATED
        more = replace(hold, lines=(_line(sku, day.largest_order + 1),))
        assert route(policy_set, snapshot, TIKTOK, replace(more, deliver_by=day.day)).outcome is not Outcome.ALLOCATED
    first = NOW.date() if not answer.delivery_days else answer.delivery_days[0].day
    one = Order("tiktok_shop", "1", (_line(sku, 1),), destination=TO_OSLO, deliver_by=first - timedelta(1))
    assert route(policy_set, snapshot, TIKTOK, one).outcome is not Outcome.ALLOCATED


SHOP = world(
    [
        store("shop", handling_minutes=0, coordinates=TO_OSLO.coordinates),
        warehouse("dc", handling_minutes=0, coordinates=TO_OSLO.coordinates),
    ],
    [level("MUG", "shop", 2), level("MUG", "dc", 5), level("BOWL", "shop", 1), level("BOWL", "dc", 9)],
)
"""It is Friday: the shop's courier arrives on Monday, the warehouse's parcels on Tuesday."""
MONDAY, TUESDAY = NOW.date() + timedelta(3), NOW.date() + timedelta(4)


def days(availability: Availability) -> list[tuple[Any, int]]:
    return [(day.day, day.largest_order) for day in availability.delivery_days]


def test_by_monday_up_to_two_and_by_tuesday_up_to_seven() -> None:
    assert days(asked(PLAIN, SHOP)) == [(MONDAY, 2), (TUESDAY, 7)]


def test_days_are_worked_out_only_on_request_and_limits_only_where_there_are_any() -> None:
    kit = Kit("SET", {"MUG": 1}, may_split=False)
    mugs = assess_availability(PLAIN, SHOP, TIKTOK, "MUG", method="ship", destination=TO_OSLO)
    sets = assess_kit(PLAIN, SHOP, TIKTOK, kit, method="ship", destination=TO_OSLO)

    assert (mugs.delivery_options, sets.delivery_options) == ((), ())
    assert mugs.in_one_order == {}


def test_a_small_order_that_a_bicycle_takes_arrives_sooner_than_a_large_one() -> None:
    policy_set = rules(BY_SIZE, policy(rank="[priority]", must_meet="[deliver_by]"))
    snapshot = replace(SHOP, products={"MUG": Product("MUG", price=Decimal(8))})

    # The bicycle takes 2 today. From 4 mugs, worth 32, everything goes by express.
    assert days(asked(policy_set, snapshot)) == [(NOW.date(), 2), (MONDAY, 7)]
    # Two pairs are 4 mugs; the shop's third mug makes up no pair there.
    assert days(in_items(asked(policy_set, snapshot), 2)) == [(NOW.date(), 1), (MONDAY, 3)]


@pytest.mark.parametrize("most", [1, 6, 7])
def test_days_change_at_the_very_size_at_which_a_rule_does(most: int) -> None:
    """Up to so many of the 7 mugs are delivered on Monday, and more of them on Tuesday."""
    rates = f"""
kind: delivery
rules:
  - {{name: small, position: 1, when: {{order.unit_count: {{at_most: {most}}}}}, service: courier, transit_days: 1}}
  - {{name: large, position: 2, service: ground, transit_days: 2}}
"""
    policy_set = rules(rates, policy(rank="[priority]", must_meet="[deliver_by]"))

    assert days(asked(policy_set, SHOP)) == [(MONDAY, most), *([(TUESDAY, 7)] if most < 7 else [])]


def test_a_location_without_stock_delivers_nothing_by_any_day() -> None:
    snapshot = replace(SHOP, levels={**SHOP.levels, ("MUG", "shop"): level("MUG", "shop", 0)})

    assert asked(PLAIN, snapshot).delivery_options == (DeliveryOption(TUESDAY, 1, 5, {"dc": 5}),)


def test_an_order_too_small_for_a_whole_item_is_no_option_for_items() -> None:
    """Only an order of exactly 3 mugs goes by the courier; pairs are sold 2, 4 or 6 mugs at a time."""
    rates = """
kind: delivery
rules:
  - {name: three, position: 1, when: {order.unit_count: 3}, service: courier, transit_days: 1}
  - {name: others, position: 2, service: ground, transit_days: 2}
"""
    policy_set = rules(rates, policy(rank="[priority]", must_meet="[deliver_by]"))
    both = {"shop": 2, "dc": 5}

    units = asked(policy_set, SHOP)

    assert [(x.day, x.fewest, x.largest) for x in units.delivery_options] == [
        *[(TUESDAY, 1, 2), (MONDAY, 3, 3), (TUESDAY, 4, 7)]
    ]
    assert in_items(units, 2).delivery_options == (
        *(DeliveryOption(TUESDAY, 1, 1, both), DeliveryOption(TUESDAY, 2, 3, both)),
    )


@pytest.mark.parametrize(
    ("condition", "applies"),
    [
        ("{order.line_count: {at_most: 1}}", True),
        ("{order.tags.known: true}", True),
        ("{order.line_count: {at_least: 2}}", False),
        ("{order.tags: {contains: gift}}", False),
        ("{none: [{order.tags: {contains: gift}}]}", True),
        ("{order.product_tags: {contains: fragile}}", True),
        ("{order.product_tags: {contains: bulky}}", False),
        ("{order.method: ship, order.unit_count: {at_least: 1}}", True),
        ("{channel.kind: social, order.unit_count: {at_least: 1}}", True),
        ("{order.weight_grams: {at_most: 400}}", True),
        ("{order.weight_grams: {at_most: 399}}", False),
    ],
)
def test_days_are_those_of_an_order_for_the_product_alone(condition: str, applies: bool) -> None:
    """A mug of 400 grams; the courier of the condition takes a day, which is Monday."""
    rates = f"""
kind: delivery
rules:
  - {{name: courier, position: 1, when: {condition}, service: courier, transit_days: 1}}
  - {{name: ground, position: 2, service: ground, transit_days: 2}}
"""
    policy_set = rules(rates, policy(rank="[priority]", must_meet="[deliver_by]"))
    snapshot = replace(SHOP, products={"MUG": Product("MUG", weight_grams=400, tags=frozenset({"fragile"}))})

    first = days(asked(policy_set, snapshot))[0]

    assert first[0] == (MONDAY if applies else TUESDAY)


def test_a_location_without_room_for_all_that_it_has_promises_what_it_can_handle_by_the_day() -> None:
    """The warehouse can take 4 units today and 4 on Monday; its parcels are a day later than the courier's."""
    limited = replace(SHOP.locations["dc"], capacity=Capacity(units_per_day=4, days_ahead=3))
    snapshot = replace(SHOP, locations={**SHOP.locations, "dc": limited}, capacity=CapacityFigures({}))
    one_left = CapacityFigures({CapacityPeriod("dc", NOW.date()): CapacityUse(1, 3)})

    assert days(asked(PLAIN, snapshot)) == [(MONDAY, 2), (TUESDAY, 6)]
    assert days(asked(PLAIN, replace(snapshot, capacity=one_left)))[:2] == [(MONDAY, 2), (TUESDAY, 3)]


def test_items_are_counted_whole_at_each_location() -> None:
    """A pair of mugs: one from the shop, two from the warehouse."""
    assert days(in_items(asked(PLAIN, SHOP), 2)) == [(MONDAY, 1), (TUESDAY, 3)]


def test_a_set_comes_from_the_locations_that_have_all_of_it_by_then() -> None:
    kit = Kit("SET", {"MUG": 1, "BOWL": 1}, may_split=False)
    kit_days = days(assess_kit(PLAIN, SHOP, TIKTOK, kit, method="ship", destination=TO_OSLO, by_day=True))

    assert kit_days == [(MONDAY, 1), (TUESDAY, 6)]
    for day, count in kit_days:
        lines = [OrderLine(sku, sku, count, kit=KitPart("1", "SET", 1, may_split=False)) for sku in kit.components]
        wanted = Order("tiktok_shop", "1", tuple(lines), destination=TO_OSLO, deliver_by=day)
        assert route(PLAIN, SHOP, TIKTOK, wanted).outcome is Outcome.ALLOCATED


def test_the_parts_of_a_set_that_may_be_split_come_from_the_locations_that_have_them_by_then() -> None:
    """Two bowls to a mug: the shop has one whole set, and a mug of it goes with bowls of the warehouse by Tuesday."""
    kit = Kit("SET", {"MUG": 1, "BOWL": 2}, may_split=True)
    shop = replace(SHOP, levels={**SHOP.levels, ("BOWL", "shop"): level("BOWL", "shop", 2)})
    tried = TriedOrders(PLAIN, shop, TIKTOK, "SET", kit, "ship", TO_OSLO)
    kit_days = days(assess_kit(PLAIN, shop, TIKTOK, kit, method="ship", destination=TO_OSLO, by_day=True))

    assert kit_days == [(MONDAY, 1), (TUESDAY, 5)]
    assert all(tried.filled(count, day) == count > tried.filled(count + 1, day) - 1 for day, count in kit_days)


@pytest.mark.parametrize(("must_meet", "method"), [("[ship_by]", "ship"), ("[deliver_by]", "pickup")])
def test_no_day_is_promised_where_nothing_keeps_it(must_meet: str, method: str) -> None:
    policy_set = rules(RATES, policy(rank="[priority]", must_meet=must_meet))

    answer = assess_availability(policy_set, SHOP, TIKTOK, "MUG", method=method, destination=TO_OSLO, by_day=True)

    assert days(answer) == []
    assert order({"MUG": 1}).deliver_by is None
