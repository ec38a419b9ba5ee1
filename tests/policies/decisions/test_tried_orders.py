"""The largest order that is found by deciding orders of several sizes."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from policies.decisions.availability.tried_orders import MAX_TRIED, TriedOrders
from policies.domain.capacity import Capacity, CapacityFigures
from policies.domain.kits import Kit
from policies.domain.model import MAX_UNITS, Product, World
from tests.policies.small_retailer import (
    ANYWHERE,
    NOW,
    OSLO,
    TIKTOK,
    TO_OSLO,
    TROMSO,
    level,
    policy,
    rules,
    store,
    world,
)

TEN = Decimal(10)


def mugs(stock: Mapping[str, int], price: Decimal | None = None) -> World:
    products = [Product("MUG", price=price), Product("SET", price=price)]
    return world([store(key) for key in stock], [level("MUG", key, count) for key, count in stock.items()], products)


def tried(snapshot: World, *files: str, **more: Any) -> TriedOrders:
    return TriedOrders(rules(*(files or (ANYWHERE,))), snapshot, TIKTOK, more.pop("sku", "MUG"), **more)


@given(st.integers(0, 3_000), st.integers(0, 4_000), st.integers(0, 4_000))
def test_the_largest_order_is_found_from_any_guess_in_few_steps(stock: int, guess: int, most: int) -> None:
    orders = tried(mugs({"a": stock}))

    assert orders.largest(guess, most) == min(stock, most)
    assert len(orders._filled) <= (5 if stock else 16)


@given(st.integers(1, 400), st.integers(1, 500), st.integers(1, 500))
def test_the_largest_order_is_found_where_nothing_of_larger_ones_ships(size: int, guess: int, most: int) -> None:
    """Policies may refuse large orders as a whole, so what such an order gets tells nothing."""
    small = policy(applies_to=f"{{order.unit_count: {{at_most: {size}}}}}")
    nothing = "kind: routing\npolicies:\n  - {name: rest, position: 200, only: {location.id: none}, rank: [nearest]}\n"
    orders = tried(mugs({"a": 1_000}), small, nothing)

    assert orders.largest(guess, most) == min(size, most)
    assert len(orders._filled) <= 24


@pytest.mark.parametrize(
    ("stock", "guess", "most", "sizes"),
    [
        (10, 4, 10, [10]),
        (10, 10, 90, [10, 11, 90]),
        (10, 30, 90, [10, 11, 30, 31, 90]),
        (10, 10, 0, []),
        (1, 0, 1, [1]),
    ],
)
def test_an_order_of_all_is_tried_first_then_one_of_what_it_got_and_of_the_guess(
    stock: int, guess: int, most: int, sizes: list[int]
) -> None:
    orders = tried(mugs({"a": stock}))

    assert orders.largest(guess, most) == min(stock, most)
    assert sorted(size for size, _ in orders._filled) == sizes


def test_no_more_orders_are_tried_than_are_allowed() -> None:
    """Each of these sizes is refused but the smallest one, so that a search from far above takes long."""
    one = policy(applies_to="{order.unit_count: {at_most: 1}}")
    nothing = "kind: routing\npolicies:\n  - {name: rest, position: 200, only: {location.id: none}, rank: [nearest]}\n"
    orders = tried(mugs({"a": MAX_UNITS}), one, nothing)

    assert orders.largest(MAX_UNITS, MAX_UNITS) == 1
    assert len(orders._filled) <= MAX_TRIED


def test_an_order_has_no_more_units_than_any_order_may() -> None:
    assert tried(mugs({"a": MAX_UNITS})).largest(1, 2 * MAX_UNITS) == MAX_UNITS
    pair = Kit("SET", {"MUG": 2})
    assert tried(mugs({"a": MAX_UNITS}), sku="SET", kit=pair).largest(1, 2 * MAX_UNITS) == MAX_UNITS // 2


def test_items_of_several_units_are_whole_from_one_location() -> None:
    assert tried(mugs({"a": 5, "b": 3}), units_each=2).largest(1, 9) == 3
    assert tried(mugs({"a": 5, "b": 3}), units_each=1).largest(1, 9) == 8


def test_components_of_kits_come_from_one_location_unless_they_may_be_split() -> None:
    stock = world([store("a"), store("b")], [level("MUG", "a", 3), level("BOWL", "b", 9), level("BOWL", "a", 2)])
    stock = replace(stock, products={**stock.products, "SET": Product("SET")})

    def largest(*, may_split: bool) -> int:
        return tried(stock, sku="SET", kit=Kit("SET", {"MUG": 1, "BOWL": 2}, may_split=may_split)).largest(1, 9)

    assert (largest(may_split=False), largest(may_split=True)) == (1, 3)


@pytest.mark.parametrize(
    ("price", "kit", "most"),
    [
        (TEN, None, 6),
        (None, None, 3),
        (TEN, Kit("SET", {"MUG": 1}), 6),
        (None, Kit("SET", {"MUG": 1}), 3),
        # The price is that of the kit, whatever the number of its components.
        (TEN, Kit("SET", {"MUG": 1, "BOWL": 1}), 6),
        (Decimal(6), Kit("SET", {"MUG": 1, "BOWL": 1}), 3),
    ],
)
def test_the_value_of_an_order_decides_whether_it_may_be_split(
    price: Decimal | None, kit: Kit | None, most: int
) -> None:
    """Two locations have three each, and only orders worth 50 may ship from both."""
    snapshot = mugs({"a": 3, "b": 3}, price)
    bowls = {("BOWL", key): level("BOWL", key, 3) for key in "ab"}
    snapshot = replace(
        snapshot, levels={**snapshot.levels, **bowls}, products={**snapshot.products, "BOWL": Product("BOWL")}
    )
    orders = tried(snapshot, policy(min_split_value=50), sku="MUG" if kit is None else "SET", kit=kit)

    assert orders.largest(1, 6) == most


def test_only_locations_that_deliver_by_the_day_count() -> None:
    rates = """
kind: delivery
rules:
  - {name: van, position: 1, when: {location.distance_km: {at_most: 500}}, service: van, transit_days: 1}
  - {name: post, position: 2, service: post, transit_days: 3}
"""
    stock = {"oslo": 2, "tromso": 5}
    places = [
        store("oslo", coordinates=OSLO, handling_minutes=0),
        store("tromso", coordinates=TROMSO, handling_minutes=0),
    ]
    snapshot = world(places, [level("MUG", key, count) for key, count in stock.items()])
    orders = tried(snapshot, rates, policy(must_meet="[deliver_by]"), method="ship", destination=TO_OSLO)

    by_day = [orders.largest(1, 7, NOW.date() + timedelta(days=days)) for days in (0, 3, 6)]

    assert by_day == [0, 2, 7]
    assert None not in {day for _, day in orders._filled}
    assert orders.largest(1, 7) == 7


def test_rules_of_the_kit_hold_for_the_orders_that_are_tried() -> None:
    keeps_one = "kind: buffer\nname: kit\nscope: location\nrules:\n  - {name: of-kit, when: {product.sku: SET}, hold_back: {units: 1}}\n"  # noqa: E501
    orders = tried(mugs({"a": 6}), ANYWHERE, keeps_one, sku="SET", kit=Kit("SET", {"MUG": 2}))

    assert orders.largest(1, 3) == 2


def test_units_that_are_short_for_several_reasons_are_all_taken_off() -> None:
    """Of eight mugs, there are five and room for three: two are short for want of capacity, three of stock."""
    place = store("a", capacity=Capacity(units_per_day=3, days_ahead=0))
    snapshot = replace(world([place], [level("MUG", "a", 5)]), capacity=CapacityFigures())

    assert tried(snapshot).filled(8) == 3
