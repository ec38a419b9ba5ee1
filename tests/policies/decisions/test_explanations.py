"""What a decision says about itself: each rule that fired, what it did, to which stock, and the facts that it saw."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.decisions.decision import Decision
from policies.decisions.eligibility import WholeOrder
from policies.decisions.routing import route
from policies.domain.model import OrderFacts, Outcome, Product
from policies.explanation import DropReason
from tests.policies.decisions.test_routing import FLOOR, LOCATIONS, WHOLE, decide, shipped, short, stocked
from tests.policies.small_retailer import (
    ANYWHERE,
    NOW,
    TIKTOK,
    TO_OSLO,
    level,
    order,
    policy,
    rules,
    sold,
    store,
    warehouse,
    world,
)

GLASS = Product("MUG", category="glass", velocity_per_day=4.0)
SHELF = """kind: buffer
name: shelf
scope: location
rules:
  - {name: glass, when: {product.category: glass}, hold_back: {units: 2}}
"""
CHANNEL_LIMITS = """kind: buffer
name: limits
scope: channel
rules:
  - {name: few, when: {channel.kind: social}, hold_back: {units: 1}, publish_zero_at_or_below: 3, cap: 40}
"""
BLOCK = """kind: exposure
name: glass
rules:
  - {name: no-glass, when: {product.category: glass}, block: it breaks in the post}
"""
HALF = "kind: buffer\nname: half\nscope: channel\nrules:\n  - {name: half, hold_back: {percent: 50}}\n"


def fired(decision: Decision) -> list[tuple[str, str | None, str | None, str, tuple[tuple[str, str], ...]]]:
    """Name, location, product, effect and facts of each rule that fired."""
    return [
        (rule.name, rule.location_id, rule.sku, rule.effect, rule.evidence.facts() if rule.evidence else ())
        for rule in decision.fired
    ]


def test_a_buffer_names_the_stock_that_it_limits_and_everything_that_it_does() -> None:
    snapshot = world([store("oslo")], [level("MUG", "oslo", 90)], [GLASS])

    decision = decide(rules(SHELF, CHANNEL_LIMITS, ANYWHERE), snapshot, order({"MUG": 1}))

    assert fired(decision) == [
        ("glass", "oslo", "MUG", "held back 2 units", (("product.category", "glass"),)),
        (
            "few",
            None,
            "MUG",
            "held back 1 unit, published as 0 at or below 3 units, capped at 40 units",
            (("channel.kind", "social"),),
        ),
    ]


def test_a_block_names_the_stock_that_it_keeps_and_its_reason() -> None:
    snapshot = world([store("oslo")], [level("MUG", "oslo", 9)], [GLASS])

    decision = decide(rules(BLOCK, ANYWHERE), snapshot, order({"MUG": 1}))

    assert fired(decision) == [
        ("no-glass", "oslo", "MUG", "blocked: it breaks in the post", (("product.category", "glass"),))
    ]


def test_an_exclude_rule_names_the_location_that_it_drops() -> None:
    no_stores = policy(exclude="[{name: no-stores, when: {location.type: store}}]")

    decision = decide(rules(no_stores), world([store("oslo")], [level("MUG", "oslo", 9)]), order({"MUG": 1}))

    assert fired(decision) == [
        ("no-stores", "oslo", None, "excluded by the routing policy", (("location.type", "store"),))
    ]


def test_a_review_rule_names_the_plan_and_not_a_location() -> None:
    two = policy(review="[{name: two-parcels, when: {plan.shipment_count: {more_than: 1}}}]")

    decision = decide(rules(two), stocked(oslo=1, bergen=1), sold({"MUG": 2}))

    assert fired(decision) == [("two-parcels", None, None, "needs review", (("plan.shipment_count", "2"),))]


def test_the_distance_of_a_plan_is_unknown_if_that_of_one_shipment_is() -> None:
    far = policy(review="[{name: far, when: {plan.distance_km: {at_least: 0}}}]")
    nowhere = store("nowhere")
    levels = [level("MUG", "oslo", 1), level("MUG", "nowhere", 1)]

    decision = decide(rules(far), world([*LOCATIONS, nowhere], levels), sold({"MUG": 2}, destination=TO_OSLO))

    assert (len(decision.plan), decision.reviews) == (2, ())


def test_a_location_that_rejected_the_order_is_dropped_for_the_rejected_product_only() -> None:
    snapshot = world([store("oslo")], [level("MUG", "oslo", 1), level("CAP", "oslo", 1)])

    decision = route(
        rules(ANYWHERE), snapshot, TIKTOK, sold({"MUG": 1, "CAP": 1}), rejected_by=frozenset({("MUG", "oslo")})
    )

    assert [(item.sku, item.reason) for item in decision.dropped] == [("MUG", DropReason.REJECTED)]
    assert shipped(decision) == [("oslo", {"2": 1})]


def test_a_single_unit_that_only_the_buffer_had_is_told_as_saved() -> None:
    decision = decide(rules(FLOOR, policy(sold_may_use="[buffer]")), stocked(oslo=2), sold({"MUG": 1}))

    assert decision.buffer_saved == {"MUG": 1}


def test_a_channel_buffer_above_the_stock_leaves_a_sold_order_nothing() -> None:
    decision = decide(rules(WHOLE, ANYWHERE), stocked(oslo=3), sold({"MUG": 1}))

    assert (decision.plan, short(decision)) == ((), [("1", 1, "held_by_buffer")])


def test_a_share_of_the_stock_counts_blocked_units_only_where_the_order_may_use_them() -> None:
    snapshot = world([store("oslo")], [level("MUG", "oslo", 4)], [GLASS])

    may_use_blocked = decide(rules(HALF, BLOCK, policy(sold_may_use="[blocked]")), snapshot, sold({"MUG": 4}))
    may_not = decide(rules(HALF, BLOCK, ANYWHERE), snapshot, sold({"MUG": 4}))

    assert [rule[3] for rule in fired(may_use_blocked) if rule[0] == "half"] == ["held back 2 units"]
    assert [rule[3] for rule in fired(may_not) if rule[0] == "half"] == ["held back 0 units"]


@pytest.mark.parametrize("age", [None, timedelta(0), -timedelta(hours=1)])
def test_stock_that_is_as_true_as_now_or_of_unknown_age_keeps_nothing_for_sales_since_then(
    age: timedelta | None,
) -> None:
    during_age = (
        "kind: buffer\nname: sales\nscope: location\nrules:\n"
        "  - {name: sales, hold_back: {expected_sales: {during: stock_age, service_level: 0.95}}}\n"
    )
    stock = replace(level("MUG", "oslo", 9), as_of_time=None if age is None else NOW - age)
    viral = replace(GLASS, velocity_per_day=864_000.0)

    decision = decide(rules(during_age, ANYWHERE), world([store("oslo")], [stock], [viral]), order({"MUG": 9}))

    assert decision.outcome is Outcome.ALLOCATED


def test_units_that_are_oversold_are_not_lent_to_the_part_of_an_order_that_is_planned_again() -> None:
    # Three units are promised and two are there: one stays, so that one is left for the two that are planned.
    snapshot = world([store("oslo")], [level("MUG", "oslo", 2, allocated=3)])
    whole = WholeOrder(OrderFacts(unit_count=3), {("MUG", "oslo"): 1})

    decision = route(rules(ANYWHERE), snapshot, TIKTOK, sold({"MUG": 2}), {("MUG", "oslo"): 2}, whole=whole)

    assert shipped(decision) == [("oslo", {"1": 1})]


def test_units_that_the_order_keeps_where_the_policy_ships_from_do_not_pass_it_on() -> None:
    first = "  - {name: first, position: 1, rank: [fewest_shipments], otherwise: next}\n"
    snapshot = world(
        [store("oslo"), store("bergen")], [level("MUG", "oslo", 1, allocated=1), level("MUG", "bergen", 1)]
    )
    whole = WholeOrder(OrderFacts(unit_count=2), {("MUG", "oslo"): 1})

    decision = route(rules(ANYWHERE.rstrip() + "\n" + first), snapshot, TIKTOK, sold({"MUG": 1}), whole=whole)

    assert (decision.policy.name, decision.tried) == ("first", ())


@pytest.mark.parametrize(
    ("demand", "expected"), [(1, [("b", {"1": 1})]), (2, [("c", {"1": 2})]), (4, [("c", {"1": 3})])]
)
def test_shipments_that_the_order_keeps_count_towards_the_most_that_a_policy_allows(
    demand: int, expected: list[tuple[str, dict[str, int]]]
) -> None:
    two_parcels = rules(policy(max_shipments="2", rank="[fewest_shipments, priority]"))
    stores = [store("a", priority=1), store("b", priority=2), warehouse("c", priority=3)]
    snapshot = world(stores, [level("CAP", "a", 1, allocated=1), level("MUG", "b", 1), level("MUG", "c", 3)])
    whole = WholeOrder(OrderFacts(unit_count=demand + 1), {("CAP", "a"): 1})

    decision = route(two_parcels, snapshot, TIKTOK, sold({"MUG": demand}), whole=whole)

    assert shipped(decision) == expected


def test_units_from_a_location_that_ships_the_order_anyway_are_not_looked_for_elsewhere_too() -> None:
    two_parcels = rules(policy(max_shipments="2", rank="[fewest_shipments, priority]"))
    stores = [store("a", priority=1), store("b", priority=2), warehouse("c", priority=3)]
    levels = [level("CAP", "a", 1, allocated=1), level("MUG", "a", 1), level("MUG", "b", 1), level("MUG", "c", 3)]
    whole = WholeOrder(OrderFacts(unit_count=3), {("CAP", "a"): 1})

    decision = route(two_parcels, world(stores, levels), TIKTOK, sold({"MUG": 2}), whole=whole)

    assert shipped(decision) == [("a", {"1": 1}), ("b", {"1": 1})]


def test_a_location_without_available_units_is_dropped_before_rules_look_at_it() -> None:
    levels = [level("MUG", "empty", 0), level("MUG", "open", 1)]
    snapshot = world([store("closed", status="closed"), store("empty"), store("open")], levels)
    warehouses = policy(only="{location.type: warehouse}")

    decision = decide(rules(warehouses), snapshot, order({"MUG": 1}))

    assert [(item.location_id, item.sku, item.reason) for item in decision.dropped] == [
        ("closed", None, DropReason.CLOSED),
        ("empty", None, DropReason.NO_STOCK),
        ("open", None, DropReason.NOT_ELIGIBLE),
    ]
