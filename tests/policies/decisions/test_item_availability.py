"""Sellable items are whole items at each location: no more than the units make up, and all of them can be promised."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from policies.decisions.availability.item_availability import in_items
from policies.decisions.availability.outlet_split import outlet_units
from policies.decisions.availability.sellable import Availability, assess_availability
from policies.decisions.availability.tried_orders import TriedOrders
from policies.decisions.decision import Decision
from policies.decisions.kits.kit_availability import assess_kit
from policies.decisions.routing import route
from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.kits import Kit
from policies.domain.listings import OrderedItem, whole_items
from policies.domain.model import Commitment, Order, OrderLine, Product, World
from policies.domain.outlets import Outlet
from policies.domain.placement import ANYWHERE as UNRESTRICTED, of_whole_items
from policies.policy_set import PolicySet
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, TO_OSLO, level, policy, rules, store, world

LOCATIONS = ("a", "b", "c")
STOCK = st.dictionaries(st.sampled_from(LOCATIONS), st.integers(0, 20))
CHANNEL_BUFFER = """
kind: buffer
name: kept
scope: channel
rules:
  - {name: kept, hold_back: {units: 4}}
"""
POLICIES = [
    rules(ANYWHERE),
    rules(policy(max_shipments=1)),
    rules(ANYWHERE, CHANNEL_BUFFER),
    *[rules(policy(rank=rank, max_shipments=count)) for rank in ("[priority]", "[covers_most]") for count in (1, 2)],
    *[rules(policy(rank=rank, min_split_value=40)) for rank in ("[priority]", "[fewest_shipments]")],
    rules(policy(rank="[priority]", split_only_if="{order.unit_count: {at_least: 9}}")),
]


def stocked(stock: dict[str, int]) -> World:
    levels = [level("MUG", location, units) for location, units in stock.items()]
    mug = Product("MUG", price=Decimal(4))
    return world([store(location) for location in LOCATIONS], levels or [level("MUG", "a", 0)], [mug])


def assessed(number: int, stock: dict[str, int]) -> Availability:
    return assess_availability(POLICIES[number], stocked(stock), TIKTOK, "MUG")


@given(st.integers(0, len(POLICIES) - 1), STOCK, st.integers(1, 7))
def test_items_are_those_that_the_units_at_each_location_make_up(number: int, stock: dict[str, int], each: int) -> None:
    units = assessed(number, stock)
    items = in_items(units, each)
    outlets = [Outlet("x", frozenset("a")), Outlet("y", frozenset("b"))]

    assert items.sellable == min(units.sellable // each, sum(x.sellable // each for x in units.locations))
    assert items.largest_single_order <= items.sellable
    assert items.largest_single_order * each <= units.largest_single_order
    assert sum(outlet_units(items, outlets).values()) == items.sellable


@pytest.mark.parametrize(
    ("entries", "stock", "largest"),
    [
        ({"max_shipments": 2}, {"a": 5, "b": 5, "c": 5}, 2),
        ({"max_shipments": 1}, {"a": 3, "b": 6, "c": 9}, 3),
        ({"split_only_if": "{order.unit_count: {at_least: 2}}"}, {"a": 5, "b": 5}, 1),
        ({"min_split_value": 1}, {"a": 5, "b": 5}, 1),
        ({"rank": "[priority]", "max_shipments": 2}, {"a": 5, "b": 5, "c": 9}, 2),
        ({"rank": "[priority]", "max_shipments": 2}, {"a": 9, "b": 9, "c": 3}, 5),
        ({"rank": "[priority]", "max_shipments": 1}, {"a": 9, "b": 3}, 3),
        ({"rank": "[priority]", "min_split_value": 1}, {"a": 4, "b": 9}, 1),
        ({}, {"a": 5, "b": 5}, 2),
    ],
)
def test_one_order_gets_the_items_of_as_many_locations_as_may_ship_it(
    entries: dict[str, Any], stock: dict[str, int], largest: int
) -> None:
    """Items have 3 units. Whether their value or `split_only_if` allows a split is not known before."""
    policy_set = rules(policy(**{"rank": "[fewest_shipments]"} | entries))

    items = in_items(assess_availability(policy_set, stocked(stock), TIKTOK, "MUG"), 3)

    assert items.largest_single_order == largest
    assert [x.sellable for x in items.locations] == [units // 3 for units in stock.values()]


def test_one_order_gets_no_more_items_than_a_location_can_handle() -> None:
    limited = store("a", capacity=Capacity(units_per_day=4, days_ahead=0))
    snapshot = replace(world([limited], [level("MUG", "a", 10)]), capacity=CapacityFigures())

    items = in_items(assess_availability(rules(ANYWHERE), snapshot, TIKTOK, "MUG"), 2)

    assert (items.sellable, items.largest_single_order) == (5, 2)


def test_locations_with_room_for_five_units_each_send_two_pairs_each() -> None:
    snapshot = with_room(stocked({"a": 9, "b": 9}), {"a": 5, "b": 5})

    items = in_items(assess_availability(POLICIES[0], snapshot, TIKTOK, "MUG"), 2)

    assert (items.sellable, items.largest_single_order) == (8, 4)
    assert not ordered(POLICIES[0], snapshot, 4, 2).shortages
    assert ordered(POLICIES[0], snapshot, 5, 2).shortages


def test_pairs_of_sets_need_room_for_whole_pairs_at_their_location() -> None:
    """A set is a mug and a bowl. Each location has room for 7 units a day, so for 3 sets, which is a pair of them."""
    kit = Kit("SET", {"MUG": 1, "BOWL": 1}, may_split=False)
    stock = [level(sku, key, 9) for sku in kit.components for key in "ab"]
    snapshot = world([store(key, handling_minutes=0) for key in "ab"], stock, [Product("SET")])
    snapshot = with_room(snapshot, {"a": 7, "b": 7}, days_ahead=0)
    courier = "kind: delivery\nrules:\n  - {name: courier, position: 1, service: courier, transit_days: 1}\n"
    policy_set = rules(courier, policy(must_meet="[deliver_by]"))
    tried = TriedOrders(policy_set, snapshot, TIKTOK, "SET", kit, "ship", TO_OSLO, units_each=2)

    sets = assess_kit(policy_set, snapshot, TIKTOK, kit, method="ship", destination=TO_OSLO, by_day=True)
    pairs = in_items(sets, 2)

    assert (sets.largest_single_order, pairs.largest_single_order) == (6, 2)
    assert [[day.largest_order for day in x.delivery_days] for x in (sets, pairs)] == [[6], [2]]
    assert (tried.filled(2), tried.filled(3)) == (2, 2)


def test_by_a_day_locations_send_the_pairs_for_which_they_have_room_until_then() -> None:
    """Each takes 3 units today and 5 tomorrow, which is a Saturday; its courier takes a day and rests on Sunday."""
    courier = """
kind: delivery
rules:
  - {name: courier, position: 1, service: courier, transit_days: 1, ships_on: [fri, sat]}
"""
    policy_set = rules(courier, policy(must_meet="[deliver_by]"))
    snapshot = with_room(stocked({"a": 9, "b": 9}), {"a": 5, "b": 5}, days_ahead=1)
    snapshot = replace(
        snapshot, locations={key: replace(x, handling_minutes=0) for key, x in snapshot.locations.items()}
    )
    taken = {CapacityPeriod(key, NOW.date()): CapacityUse(1, 2) for key in "ab"}
    snapshot = replace(snapshot, capacity=CapacityFigures(taken))

    units = assess_availability(policy_set, snapshot, TIKTOK, "MUG", method="ship", destination=TO_OSLO, by_day=True)
    pairs = in_items(units, 2)

    assert [day.largest_order for day in units.delivery_days] == [6, 10]
    assert [day.largest_order for day in pairs.delivery_days] == [2, 4]


@given(
    *(st.integers(0, len(POLICIES) - 1), STOCK, st.integers(1, 7)),
    st.dictionaries(st.sampled_from(LOCATIONS), st.integers(1, 12)),
)
def test_a_cart_of_the_largest_single_order_gets_all_its_items(
    number: int, stock: dict[str, int], each: int, room: dict[str, int]
) -> None:
    snapshot = with_room(stocked(stock), room)
    count = in_items(assess_availability(POLICIES[number], snapshot, TIKTOK, "MUG"), each).largest_single_order
    if not count:
        return
    decision = ordered(POLICIES[number], snapshot, count, each)

    assert not decision.shortages
    assert all(x.unit_count % each == 0 for shipment in decision.plan for x in shipment.lines)


@given(STOCK, st.integers(1, 7), st.dictionaries(st.sampled_from(LOCATIONS), st.integers(1, 12)))
def test_where_all_locations_may_ship_no_order_gets_more_items_than_the_largest(
    stock: dict[str, int], each: int, room: dict[str, int]
) -> None:
    snapshot = with_room(stocked(stock), room)
    count = in_items(assess_availability(POLICIES[0], snapshot, TIKTOK, "MUG"), each).largest_single_order

    assert ordered(POLICIES[0], snapshot, count + 1, each).shortages


def with_room(snapshot: World, room: dict[str, int], days_ahead: int = 0) -> World:
    """The world with what these locations can handle in units a day."""
    limits = {key: Capacity(units_per_day=count, days_ahead=days_ahead) for key, count in room.items()}
    locations = {key: replace(x, capacity=limits.get(key)) for key, x in snapshot.locations.items()}
    return replace(snapshot, locations=locations, capacity=CapacityFigures())


def ordered(policy_set: PolicySet, snapshot: World, count: int, each: int) -> Decision:
    """What an order of so many items gets."""
    item = OrderedItem("case", count, each)
    line = OrderLine("1", "MUG", item.units(count), Decimal(4), of_whole_items(UNRESTRICTED, "1", item), item)
    return route(policy_set, snapshot, TIKTOK, Order("tiktok_shop", "1", (line,), Commitment.HOLD))


@given(STOCK, st.integers(2, 7), st.integers(1, 9))
def test_a_sold_order_gets_whole_items_only(stock: dict[str, int], each: int, count: int) -> None:
    item = OrderedItem("case", count, each)
    line = OrderLine("1", "MUG", item.units(count), Decimal(4), of_whole_items(UNRESTRICTED, "1", item), item)
    decision = route(POLICIES[0], stocked(stock), TIKTOK, Order("tiktok_shop", "1", (line,), Commitment.SOLD))
    planned = sum(x.unit_count for shipment in decision.plan for x in shipment.lines)

    assert planned == each * min(count, sum(units // each for units in stock.values()))
    assert planned + sum(x.unit_count for x in decision.shortages) == item.units(count)


@given(st.integers(1, 100_000), st.integers(0, 10_000))
def test_items_are_units_and_units_are_items_again(count: int, each: int) -> None:
    item = OrderedItem("case", count, each)

    assert item.items(item.units(count)) == count
    assert item.items(item.units(count) - 1) == count - (each <= 1)
    assert whole_items(item.units(count), each or 1) == count
