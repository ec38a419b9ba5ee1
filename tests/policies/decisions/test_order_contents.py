"""What rules see of an order's contents: its weight, and the tags of its products."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

from policies.decisions.availability.sellable import assess_availability
from policies.decisions.delivery import shipping_dates_of
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.kits.kit_availability import assess_kit
from policies.decisions.routing import route
from policies.domain.kits import Kit, KitPart
from policies.domain.model import Order, OrderFacts, OrderLine, Product
from tests.policies.small_retailer import (
    ANYWHERE,
    OSLO,
    TIKTOK,
    TO_OSLO,
    level,
    order,
    policy,
    rules,
    store,
    warehouse,
    world,
)

SERVICES = """
kind: delivery
rules:
  - {name: air, position: 10, when: {none: [{order.product_tags: {contains_any: [hazardous, oversize]}}],
     order.weight_grams: {at_most: 2000}}, service: air, transit_days: 1, cost: {per_shipment: 9}}
  - {name: road, position: 20, when: {none: [{order.product_tags: {contains: oversize}}]}, service: road,
     transit_days: 3, cost: {per_shipment: 5}}
"""
SHIPPED = rules(ANYWHERE, SERVICES)
PRODUCTS = [
    Product("MUG", weight_grams=400, price=Decimal(5)),
    Product("GAS", tags=frozenset({"hazardous"}), weight_grams=300, price=Decimal(5)),
    Product("TABLE", tags=frozenset({"oversize"}), weight_grams=900),
    Product("CUP"),
]
DC = warehouse("dc", coordinates=OSLO, handling_minutes=0)
SHOP = world([DC], [level(sku, "dc", 50) for sku in ("MUG", "GAS", "TABLE", "CUP")])
SHOP = replace(SHOP, products={product.sku: product for product in PRODUCTS})


def arrival(bought: Order) -> date | None:
    question = RoutingQuestion.of(SHOP, TIKTOK, bought, {})
    return shipping_dates_of(SHIPPED, question.context(DC)).arrives_on


def bound_for_oslo(units: dict[str, int]) -> Order:
    return order(units, destination=TO_OSLO)


SATURDAY_IS_NO_DAY_FOR_CARRIERS = (date(2026, 11, 30), date(2026, 12, 2))


def test_a_service_that_may_not_carry_hazardous_goods_is_not_chosen_for_them() -> None:
    by_air, by_road = SATURDAY_IS_NO_DAY_FOR_CARRIERS

    assert arrival(bound_for_oslo({"MUG": 1})) == by_air
    assert arrival(bound_for_oslo({"MUG": 1, "GAS": 1})) == by_road


def test_no_service_carries_what_all_of_them_refuse() -> None:
    assert arrival(bound_for_oslo({"MUG": 1, "TABLE": 1})) is None


def test_the_weight_of_an_order_is_that_of_all_its_units() -> None:
    by_air, by_road = SATURDAY_IS_NO_DAY_FOR_CARRIERS

    assert OrderFacts.of(bound_for_oslo({"MUG": 5, "TABLE": 1}), SHOP.products).weight_grams == 2_900
    assert arrival(bound_for_oslo({"MUG": 5})) == by_air
    assert arrival(bound_for_oslo({"MUG": 6})) == by_road


def test_an_order_with_a_product_of_unknown_weight_has_an_unknown_weight() -> None:
    facts = OrderFacts.of(bound_for_oslo({"MUG": 1, "CUP": 1}), SHOP.products)

    assert facts.weight_grams is None
    assert arrival(bound_for_oslo({"CUP": 1})) == SATURDAY_IS_NO_DAY_FOR_CARRIERS[1]


def test_a_kit_weighs_what_its_components_weigh_and_has_their_tags() -> None:
    part = KitPart("1", "SET", 2)
    lines = (OrderLine("1.1", "MUG", 4, kit=part), OrderLine("1.2", "GAS", 2, kit=replace(part, unit_count=1)))
    facts = OrderFacts.of(Order("tiktok_shop", "1", lines), {**SHOP.products, "SET": Product("SET", weight_grams=1)})

    assert facts.weight_grams == 2_200
    assert facts.product_tags == frozenset({"hazardous"})


def test_without_the_catalog_the_contents_of_an_order_are_unknown() -> None:
    facts = OrderFacts.of(bound_for_oslo({"MUG": 1}))

    assert (facts.weight_grams, facts.product_tags) == (None, None)


def test_a_policy_for_hazardous_orders_is_the_one_that_availability_goes_by() -> None:
    careful = policy(
        name="hazardous",
        position=10,
        applies_to="{order.product_tags: {contains: hazardous}}",
        only="{location.type: store}",
    )
    by_tag = rules(careful, policy(name="rest", position=20))
    levels = {**SHOP.levels, ("GAS", "shop"): level("GAS", "shop", 3)}
    shops = replace(SHOP, locations={**SHOP.locations, "shop": store("shop")}, levels=levels)
    kit = Kit("SET", {"GAS": 1, "MUG": 1})

    assert assess_availability(by_tag, shops, TIKTOK, "GAS").sellable == 3
    assert assess_availability(by_tag, shops, TIKTOK, "MUG").sellable == 50
    assert assess_kit(by_tag, shops, TIKTOK, kit).sellable == 0
    assert route(by_tag, shops, TIKTOK, bound_for_oslo({"GAS": 5})).units == {("GAS", "shop"): 3}


def test_days_of_delivery_go_by_the_weight_of_an_order() -> None:
    by_air, by_road = SATURDAY_IS_NO_DAY_FOR_CARRIERS
    kept = rules(policy(must_meet="[deliver_by]"), SERVICES)
    answer = assess_availability(kept, SHOP, TIKTOK, "MUG", destination=TO_OSLO, by_day=True)

    assert [(day.day, day.largest_order) for day in answer.delivery_days] == [(by_air, 5), (by_road, 50)]
