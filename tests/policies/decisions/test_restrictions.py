"""What a location may not send, for any order: exposure rules with `restrict`."""

from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.availability.sellable import assess_availability
from policies.decisions.decision import Decision
from policies.decisions.kits.kit_availability import assess_kit
from policies.decisions.routing import route
from policies.decisions.shortages import ShortageKind
from policies.domain.kits import Kit
from policies.domain.model import Order, Outcome, Product, World
from policies.explanation import DropReason
from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from tests.policies.small_retailer import TIKTOK, level, order, policy, rules, sold, store, warehouse, world

RESTRICTIONS = """
kind: exposure
name: restrictions
rules:
  - name: licensed-only
    when: {product.tags: {contains: hazardous}, none: [{location.tags: {contains: licensed}}]}
    restrict: hazardous goods ship from licensed warehouses only
  - name: not-in-stocktake
    when: {location.status: stocktake}
    block: being counted
"""
SOLD_MAY_USE_ALL = policy(sold_may_use="[buffer, blocked]")
HAZARDOUS = Product("PAINT", tags=frozenset({"hazardous"}))


def stocked(*, licensed: int = 0, **units: dict[str, int]) -> World:
    places = [store(key) for key in units] + [warehouse("depot", tags=frozenset({"licensed"}))]
    levels = [level(sku, key, count) for key, counts in units.items() for sku, count in counts.items()]
    return world(places, [*levels, level("PAINT", "depot", licensed)], [HAZARDOUS])


def shop_rules(**entries: Any) -> PolicySet:
    return rules(RESTRICTIONS, policy(**{"sold_may_use": "[buffer, blocked]"} | entries))


def decide(policy_set: PolicySet, snapshot: World, request: Order) -> Decision:
    return route(policy_set, snapshot, TIKTOK, request)


@pytest.mark.parametrize("request_of", [order, sold])
def test_no_order_gets_hazardous_goods_from_an_unlicensed_store(request_of: Any) -> None:
    decision = decide(shop_rules(), stocked(oslo={"PAINT": 5}, licensed=2), request_of({"PAINT": 3}))

    assert [(x.location_id, x.lines[0].unit_count) for x in decision.plan] == [("depot", 2)]
    (dropped,) = [x for x in decision.dropped if x.location_id == "oslo"]
    assert (dropped.sku, dropped.reason, dropped.rule) == ("PAINT", DropReason.RESTRICTED, "licensed-only")


def test_a_sold_order_that_only_a_restriction_leaves_short_names_it() -> None:
    decision = decide(shop_rules(), stocked(oslo={"PAINT": 5}), sold({"PAINT": 1}))

    (shortage,) = decision.shortages
    assert (shortage.kind, shortage.rules) == (ShortageKind.BLOCKED_BY_RULE, ("licensed-only",))


def test_a_block_is_still_lifted_for_sold_orders() -> None:
    snapshot = world([store("oslo", status="stocktake")], [level("MUG", "oslo", 1)])

    assert decide(shop_rules(), snapshot, sold({"MUG": 1})).outcome is Outcome.ALLOCATED
    assert decide(shop_rules(), snapshot, order({"MUG": 1})).outcome is Outcome.UNFILLABLE


def test_a_mixed_order_is_split_so_that_each_location_sends_what_it_may() -> None:
    snapshot = stocked(oslo={"PAINT": 5, "MUG": 5}, licensed=1)

    decision = decide(shop_rules(), snapshot, sold({"PAINT": 1, "MUG": 1}))

    shipped = {(x.location_id, line.sku) for x in decision.plan for line in x.lines}
    assert shipped == {("depot", "PAINT"), ("oslo", "MUG")}


def test_a_mixed_order_that_may_not_be_split_is_short() -> None:
    snapshot = stocked(oslo={"PAINT": 5, "MUG": 5}, licensed=1)

    decision = decide(shop_rules(max_shipments=1), snapshot, sold({"PAINT": 1, "MUG": 2}))

    assert [(x.location_id, line.sku, line.unit_count) for x in decision.plan for line in x.lines] == [
        ("oslo", "MUG", 2)
    ]


def test_a_kit_with_a_hazardous_component_is_not_sold_from_an_unlicensed_store() -> None:
    kit = Kit("SET", {"PAINT": 1, "MUG": 1})

    availability = assess_kit(shop_rules(), stocked(oslo={"PAINT": 5, "MUG": 5}), TIKTOK, kit)

    assert availability.sellable == 0


def test_a_rule_either_blocks_or_restricts() -> None:
    text = "kind: exposure\nname: x\nrules:\n  - {name: both, block: no, restrict: never}\n"

    problems = read({"x.yaml": text.encode(), "routing.yaml": SOLD_MAY_USE_ALL.encode()}).problems

    assert [problem.code for problem in problems] == ["conflicting-keys"]


@pytest.mark.parametrize(("wide", "narrow", "shadowed"), [("restrict", "block", 1), ("block", "restrict", 0)])
def test_a_block_has_no_effect_beside_a_wider_restriction_but_not_the_other_way_round(
    wide: str, narrow: str, shadowed: int
) -> None:
    text = f"""
kind: exposure
name: x
rules:
  - {{name: wide, when: {{location.type: store}}, {wide}: not sent}}
  - {{name: narrow, when: {{location.type: store, location.id: oslo}}, {narrow}: not sold}}
"""
    files = {"x.yaml": text.encode(), "routing.yaml": SOLD_MAY_USE_ALL.encode()}

    assert [problem.code for problem in read(files).problems] == ["shadowed-rule"] * shadowed


@settings(max_examples=50, deadline=None)
@given(counts=st.lists(st.integers(0, 4), min_size=3, max_size=3), licensed=st.integers(0, 4))
def test_an_order_gets_exactly_what_availability_says_of_restricted_goods(counts: list[int], licensed: int) -> None:
    stores = {f"store-{number}": {"PAINT": count} for number, count in enumerate(counts)}
    snapshot, policy_set = stocked(licensed=licensed, **stores), shop_rules()

    availability = assess_availability(policy_set, snapshot, TIKTOK, "PAINT")

    assert availability.sellable == availability.largest_single_order == licensed
    for request in (order({"PAINT": 20}), sold({"PAINT": 20})):
        assert sum(decide(policy_set, snapshot, request).units.values()) == licensed


def test_a_restriction_is_named_before_the_blocks_of_other_rules() -> None:
    """Rules apply in the order of their files, and the block is in the first one; it alone could be lifted."""
    block = """
kind: exposure
name: early
rules:
  - {name: no-paint, when: {product.sku: PAINT}, block: not this week}
"""
    policy_set = rules(block, RESTRICTIONS, SOLD_MAY_USE_ALL)
    snapshot = stocked(oslo={"PAINT": 5})

    (figure,) = [
        x for x in assess_availability(policy_set, snapshot, TIKTOK, "PAINT").locations if x.location_id == "oslo"
    ]
    decision = decide(policy_set, snapshot, order({"PAINT": 1}))

    assert [(x.name, x.effect) for x in figure.blocked_by] == [
        ("licensed-only", "restricted: hazardous goods ship from licensed warehouses only"),
        ("no-paint", "blocked: not this week"),
    ]
    (dropped,) = [x for x in decision.dropped if x.location_id == "oslo"]
    assert (dropped.reason, dropped.rule) == (DropReason.RESTRICTED, "licensed-only")


def test_of_a_block_and_a_restriction_the_restriction_is_told_first() -> None:
    """Although it stands last in the rules: no order may go around it."""
    listed = """
kind: exposure
name: safe
rules:
  - {name: counted, when: {location.status: stocktake}, block: being counted}
  - {name: licensed, when: {location.type: store}, restrict: not licensed}
"""
    snapshot = world([store("oslo", status="stocktake")], [level("MUG", "oslo", 4)])

    (figure,) = assess_availability(rules(listed, policy()), snapshot, TIKTOK, "MUG").locations

    assert figure.is_restricted
    assert [rule.name for rule in figure.blocked_by] == ["licensed", "counted"]
