"""Locations are ranked by how long their stock has been there."""

from __future__ import annotations

from datetime import timedelta

import pytest

from policies.decisions.alternatives.decision_explanation import explain
from policies.decisions.availability.sellable import assess_availability
from policies.decisions.routing import route, routed_order
from policies.domain.model import Product, StockLevel
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, level, order, policy, rules, store, world

LOCATIONS = [store("a"), store("b"), store("c")]
OLDEST = rules(policy(rank="[oldest_stock]"))
PRODUCTS = [
    Product("FIG", tags=frozenset({"fresh"})),
    Product("JAM", tags=frozenset({"sweet", "gift"})),
    Product("MUG", tags=frozenset({"gift"})),
]


def since(sku: str, location_id: str, days: float | None, units: int = 5) -> StockLevel:
    return level(sku, location_id, units, oldest_receipt_time=None if days is None else NOW - timedelta(days=days))


def first(*levels: StockLevel, **units: int) -> str:
    decision = route(OLDEST, world(LOCATIONS, levels), TIKTOK, order(units or {"MUG": 1}))
    return decision.plan[0].location_id


@pytest.mark.parametrize(
    ("a", "b", "c", "chosen"),
    [
        (3, 40, 12, "b"),
        (None, 1, 0, "b"),
        (0, 1, None, "b"),
        (None, None, None, "a"),
        (7.2, 7.9, 7, "a"),
        (-1, 0, 0.5, "a"),
    ],
)
def test_the_oldest_stock_leaves_first_by_whole_days_and_stock_of_unknown_age_last(
    a: float | None, b: float | None, c: float | None, chosen: str
) -> None:
    assert first(since("MUG", "a", a), since("MUG", "b", b), since("MUG", "c", c)) == chosen


def test_the_oldest_product_of_an_order_decides() -> None:
    levels = [since("MUG", "a", 10), since("CAP", "a", 10), since("MUG", "b", 90), since("CAP", "b", 1)]

    assert first(*levels, MUG=1, CAP=1) == "b"


def test_the_age_of_stock_that_is_not_available_does_not_count() -> None:
    promised = level("MUG", "b", 5, allocated=5, oldest_receipt_time=NOW - timedelta(days=90))

    assert first(since("MUG", "a", 1), promised) == "a"


def test_an_explanation_says_how_old_the_stock_is() -> None:
    levels = [since("MUG", "a", 3), since("MUG", "b", 40)]
    explanation = explain(routed_order(OLDEST, world(LOCATIONS, levels), TIKTOK, order({"MUG": 1})))

    assert explanation.next_best is not None
    [difference, *_] = explanation.next_best.differences
    assert difference.text == "3 days since its oldest stock came in instead of 40 days"


def test_rules_see_the_days_since_the_oldest_stock_came_in() -> None:
    too_old = "{name: too-old, when: {stock.oldest_days: {more_than: 30}}, block: old}"
    policy_set = rules(ANYWHERE, f"kind: exposure\nname: fresh\nrules: [{too_old}]\n")
    snapshot = world(LOCATIONS, [since("MUG", "a", 31), since("MUG", "b", 30), since("MUG", "c", None)])

    answer = assess_availability(policy_set, snapshot, TIKTOK, "MUG")
    assert {x.location_id: x.sellable for x in answer.locations} == {"a": 0, "b": 5, "c": 5}


def test_only_rules_that_ask_need_receipts() -> None:
    assert OLDEST.reads_receipts
    assert not rules(ANYWHERE).reads_receipts


@pytest.mark.parametrize(
    ("applies_to", "asks_of"),
    [
        ("{order.product_tags: {contains: fresh}}", ["FIG"]),
        ("{order.product_tags: {contains_any: [fresh, sweet]}, order.method: ship}", ["FIG", "JAM"]),
        ("{any: [{order.product_tags: {contains: fresh}}, {order.product_tags: {contains: sweet}}]}", ["FIG", "JAM"]),
        ("{any: [{order.product_tags: {contains: fresh}}, {order.value: {at_least: 9}}]}", ["FIG", "JAM", "MUG"]),
        ("{none: [{order.product_tags: {contains: fresh}}]}", ["FIG", "JAM", "MUG"]),
        ("{order.tags: {contains: fresh}}", ["FIG", "JAM", "MUG"]),
    ],
)
def test_receipts_are_needed_only_for_products_with_a_tag_that_the_policy_asks_for(
    applies_to: str, asks_of: list[str]
) -> None:
    fresh = policy(name="fresh", position="1", applies_to=applies_to, rank="[oldest_stock]")
    policy_set = rules(fresh, ANYWHERE)

    assert [x.sku for x in PRODUCTS if policy_set.reads_receipts_of([x])] == asks_of
    assert policy_set.reads_receipts_of(PRODUCTS)


def test_a_rule_that_compares_the_age_of_stock_asks_it_of_every_product() -> None:
    too_old = "{name: too-old, when: {stock.oldest_days: {more_than: 30}}, block: old}"
    policy_set = rules(ANYWHERE, f"kind: exposure\nname: fresh\nrules: [{too_old}]\n")
    assert policy_set.reads_receipts_of([Product("MUG")])
