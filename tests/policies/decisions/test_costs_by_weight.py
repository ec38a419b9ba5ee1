"""Plans whose shipments cost by what they weigh."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from policies.decisions.alternatives.decision_explanation import explain
from policies.decisions.routing import route, routed_order
from policies.domain.kits import KitPart
from policies.domain.model import Order, OrderLine, Product, World
from tests.policies.small_retailer import (
    ANYWHERE,
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

RATES = """
kind: delivery
rules:
  - {name: letters, position: 10, when: {location.id: shop}, service: letter, transit_days: 2,
     cost: {per_shipment: 1, per_kg: 8}}
  - {name: parcels, position: 20, when: {location.id: dc}, service: parcel, transit_days: 2, cost: {per_shipment: 6}}
"""
CHEAPEST = rules(policy(rank="[fewest_shipments, lowest_cost]"), RATES)
WEIGHTS = {"CARD": 50, "MUG": 400, "POT": 3_000, "CUP": None}


def shops(*locations: str, units: int = 9) -> World:
    snapshot = world(
        [warehouse("dc"), store("shop"), store("corner")],
        [level(sku, key, units) for sku in WEIGHTS for key in locations or ("dc", "shop")],
    )
    return replace(snapshot, products={sku: Product(sku, weight_grams=grams) for sku, grams in WEIGHTS.items()})


@pytest.mark.parametrize(
    ("units", "location_id"),
    [
        ({"CARD": 1}, "shop"),
        ({"MUG": 1}, "shop"),
        ({"MUG": 2}, "dc"),
        ({"CARD": 9, "MUG": 1}, "dc"),
        ({"POT": 1}, "dc"),
    ],
)
def test_light_orders_go_as_letters_and_heavy_ones_as_parcels(units: dict[str, int], location_id: str) -> None:
    decision = route(CHEAPEST, shops(), TIKTOK, order(units, destination=TO_OSLO))

    assert [shipment.location_id for shipment in decision.plan] == [location_id]


def test_a_shipment_of_unknown_weight_costs_an_unknown_amount_and_comes_last() -> None:
    decision = route(CHEAPEST, shops(), TIKTOK, order({"CUP": 1}, destination=TO_OSLO))
    only_here = route(CHEAPEST, shops("shop"), TIKTOK, order({"CUP": 1}, destination=TO_OSLO))

    assert [shipment.location_id for shipment in decision.plan] == ["dc"]
    assert [rule.effect.split(", expected")[0] for rule in only_here.fired] == [
        "by letter, cost unknown, as its weight is"
    ]


def test_a_kit_weighs_the_sum_of_its_components() -> None:
    part = KitPart("1", "SET", 1)
    light = (OrderLine("1.1", "CARD", 2, kit=replace(part, unit_count=2)), OrderLine("1.2", "MUG", 1, kit=part))
    heavy = (OrderLine("1.1", "CARD", 9, kit=replace(part, unit_count=9)), OrderLine("1.2", "MUG", 1, kit=part))
    light_kit, heavy_kit = (
        route(CHEAPEST, shops(), TIKTOK, Order("tiktok_shop", "1", lines, destination=TO_OSLO))
        for lines in (light, heavy)
    )

    assert [shipment.location_id for shipment in light_kit.plan] == ["shop"]
    assert [shipment.location_id for shipment in heavy_kit.plan] == ["dc"]


def test_the_cost_of_a_plan_is_that_of_the_weight_of_each_shipment() -> None:
    too_dear = "[{name: dear, when: {plan.cost: {more_than: 9.79}}}]"
    reviewed = rules(policy(rank="[fewest_shipments]", review=too_dear), RATES)
    apart = {("POT", "dc"): level("POT", "dc", 1), ("MUG", "shop"): level("MUG", "shop", 1)}
    split = replace(shops(), levels=apart)
    cheap = route(reviewed, split, TIKTOK, order({"POT": 1}, destination=TO_OSLO))
    both = route(reviewed, split, TIKTOK, order({"POT": 1, "MUG": 1}, destination=TO_OSLO))

    assert not cheap.reviews
    # 6 for the parcel, 1 + 0.4 kg x 8 for the letter.
    assert [
        rule.evidence.context.plan.cost for rule in both.reviews if rule.evidence and rule.evidence.context.plan
    ] == [Decimal("10.2")]


def test_an_explanation_compares_plans_by_what_their_weight_costs() -> None:
    routed = routed_order(CHEAPEST, shops(), TIKTOK, order({"MUG": 2}, destination=TO_OSLO))
    explanation = explain(routed)

    assert explanation.next_best is not None
    [difference, *_] = explanation.next_best.differences
    assert (difference.step, difference.chosen, difference.other) == ("lowest_cost", "6", "7.4")
    assert {location.location_id: location.cost for location in explanation.locations} == {
        "dc": Decimal(6),
        "shop": Decimal("7.4"),
    }


def test_rules_without_costs_by_weight_do_not_depend_on_weights() -> None:
    assert "product.weight_grams" in CHEAPEST.facts
    assert "product.weight_grams" not in rules(ANYWHERE).facts
