"""Orders of kits: whole kits or nothing of them, within rules of components and of kits, and never oversold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.decision import Decision
from policies.decisions.kits.kit_availability import assess_kit
from policies.decisions.parts import split_kits
from policies.decisions.routing import route
from policies.decisions.shortages import ShortageKind
from policies.domain.kits import Kit, KitPart, of_kit
from policies.domain.model import Commitment, Order, OrderLine, Product, World
from policies.domain.placement import ANYWHERE as ANY_LOCATION
from policies.policy_set import PolicySet
from tests.policies.decisions.test_routing_properties import policy_sets, worlds
from tests.policies.small_retailer import ANYWHERE, TIKTOK, level, policy, rules, store, warehouse, world

SKUS = ("MUG", "CAP", "PEN")
SET = Kit("SET", {"MUG": 1, "BOWL": 2})
DC, SHOP = warehouse("dc"), store("shop")


def lines_of(kit: Kit, count: int, line_id: str = "1") -> list[OrderLine]:
    """The lines of the components of so many kits."""
    parts = [(sku, KitPart(line_id, kit.sku, units, kit.may_split)) for sku, units in kit.components.items()]
    return [
        OrderLine(
            f"{line_id}/{sku}",
            sku,
            count * part.unit_count,
            placement=of_kit(ANY_LOCATION, part, None),
            kit=part,
        )
        for sku, part in parts
    ]


def order_of(*lines: OrderLine, commitment: Commitment = Commitment.HOLD) -> Order:
    return Order("tiktok_shop", "1", lines, commitment)


def with_kits(snapshot: World, *kits: Kit) -> World:
    return replace(snapshot, products={**snapshot.products, **{kit.sku: Product(kit.sku) for kit in kits}})


def decide(policy_set: PolicySet, snapshot: World, order: Order, *kits: Kit) -> Decision:
    return route(policy_set, with_kits(snapshot, *kits), TIKTOK, order)


def placed(decision: Decision) -> dict[str, dict[str, int]]:
    """Units by location and line."""
    return {x.location_id: {line.line_id: line.unit_count for line in x.lines} for x in decision.plan}


TWO_PLACES = world(
    [DC, SHOP],
    [level("MUG", "dc", 10), level("BOWL", "dc", 5), level("MUG", "shop", 1), level("BOWL", "shop", 9)],
)


def test_kits_are_placed_whole_each_from_one_location() -> None:
    decision = decide(rules(ANYWHERE), TWO_PLACES, order_of(*lines_of(SET, 3)), SET)

    assert placed(decision) == {"dc": {"1/MUG": 2, "1/BOWL": 4}, "shop": {"1/MUG": 1, "1/BOWL": 2}}
    assert decision.shortages == ()


def test_a_kit_that_lacks_a_component_takes_no_unit_of_the_others() -> None:
    decision = decide(rules(ANYWHERE), TWO_PLACES, order_of(*lines_of(SET, 5), commitment=Commitment.SOLD), SET)

    assert sum(sum(units.values()) for units in placed(decision).values()) == 9
    short = Counter({(x.sku, x.kind): x.unit_count for x in decision.shortages})
    assert short["MUG", ShortageKind.UNFILLABLE] == 2
    assert short["BOWL", ShortageKind.UNFILLABLE] == 4


def test_a_kit_that_may_be_split_is_shipped_together_where_that_is_enough() -> None:
    kit = replace(SET, may_split=True)
    few = decide(rules(ANYWHERE), TWO_PLACES, order_of(*lines_of(kit, 2)), kit)
    many = decide(rules(ANYWHERE), TWO_PLACES, order_of(*lines_of(kit, 7)), kit)
    too_many = decide(rules(ANYWHERE), TWO_PLACES, order_of(*lines_of(kit, 9)), kit)

    assert placed(few) == {"dc": {"1/MUG": 2, "1/BOWL": 4}}
    assert (many.shortages, sum(many.units.values())) == ((), 21)
    assert sum(too_many.units.values()) == 21
    assert {(x.line_id, x.unit_count) for x in too_many.shortages} == {("1/MUG", 2), ("1/BOWL", 4)}


def test_an_order_of_nothing_but_a_split_kit_that_no_location_has_gets_nothing() -> None:
    kit = Kit("GIFT", {"PEN": 1, "CAP": 1}, may_split=True)
    decision = decide(rules(ANYWHERE), TWO_PLACES, order_of(*lines_of(kit, 1)), kit)

    assert (decision.plan, sum(x.unit_count for x in decision.shortages)) == ((), 2)


def test_rules_of_the_kits_own_sku_limit_an_order_of_it() -> None:
    capped = "kind: buffer\nname: kit\nscope: channel\nrules:\n  - {name: two, when: {product.sku: SET}, cap: 2}\n"
    held = "kind: buffer\nname: kit\nscope: location\nrules:\n  - {name: one, when: {product.sku: SET}, hold_back: {units: 1}}\n"  # noqa: E501
    assert sum(decide(rules(ANYWHERE, capped), TWO_PLACES, order_of(*lines_of(SET, 3)), SET).units.values()) == 6

    decision = decide(rules(ANYWHERE, held), TWO_PLACES, order_of(*lines_of(SET, 3), commitment=Commitment.SOLD), SET)

    assert placed(decision) == {"dc": {"1/MUG": 1, "1/BOWL": 2}}
    assert {(x.sku, x.unit_count, x.kind, x.rules) for x in decision.shortages} == {
        ("MUG", 2, ShortageKind.HELD_BY_BUFFER, ("one",)),
        ("BOWL", 4, ShortageKind.HELD_BY_BUFFER, ("one",)),
    }


def test_a_kit_and_one_of_its_components_in_one_order_share_the_stock() -> None:
    snapshot = world([DC], [level("MUG", "dc", 2), level("BOWL", "dc", 4)])
    order = order_of(*lines_of(SET, 2), OrderLine("2", "MUG", 1))

    decision = decide(rules(ANYWHERE), snapshot, order, SET)

    assert decision.units["MUG", "dc"] == 2
    assert sum(x.unit_count for x in decision.shortages if x.sku == "MUG") == 1


kits = st.builds(
    Kit, st.just("SET"), st.dictionaries(st.sampled_from(SKUS), st.integers(1, 3), min_size=1), st.booleans()
)


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), kits, st.data())
def test_an_order_gets_the_kits_that_were_promised(
    policy_set: PolicySet, snapshot: World, kit: Kit, data: st.DataObject
) -> None:
    offered = assess_kit(policy_set, with_kits(snapshot, kit), TIKTOK, kit)
    largest = offered.largest_single_order
    if not largest:
        return
    count = data.draw(st.sampled_from([largest, 1]))

    decision = decide(policy_set, snapshot, order_of(*lines_of(kit, count)), kit)

    if count == largest:
        assert decision.shortages == ()


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), st.lists(kits, min_size=1, max_size=3), st.data())
def test_kits_that_share_components_are_whole_and_never_oversell(
    policy_set: PolicySet, snapshot: World, several: list[Kit], data: st.DataObject
) -> None:
    named = [replace(kit, sku=f"SET-{number}") for number, kit in enumerate(several)]
    lines = [
        line for number, kit in enumerate(named) for line in lines_of(kit, data.draw(st.integers(1, 4)), f"k{number}")
    ]
    if data.draw(st.booleans()):
        lines.append(OrderLine("single", data.draw(st.sampled_from(SKUS)), data.draw(st.integers(1, 5))))
    commitment = data.draw(st.sampled_from(Commitment))

    decision = decide(policy_set, snapshot, order_of(*lines, commitment=commitment), *named)

    for (sku, location_id), count in decision.units.items():
        assert count <= snapshot.levels[sku, location_id].available
    units = placed(decision)
    for number, kit in enumerate(named):
        by_location = [_kits_at(found, f"k{number}", kit.components) for found in units.values()]
        if not kit.may_split:
            assert all(len(set(counts)) == 1 for counts in by_location)
        assert len({sum(column) for column in zip(*by_location, strict=True)}) <= 1
    for line in lines:
        got = sum(found.get(line.line_id, 0) for found in units.values())
        assert got + sum(x.unit_count for x in decision.shortages if x.line_id == line.line_id) == line.unit_count


def _kits_at(found: Mapping[str, int], line_id: str, components: Mapping[str, int]) -> list[Fraction]:
    """The kits that the units of each component at one location would make up."""
    return [Fraction(found.get(f"{line_id}/{sku}", 0), size) for sku, size in components.items()]


def test_one_shipment_is_enough_for_as_many_kits_as_were_offered() -> None:
    only_one = rules(policy(rank="[priority]", max_shipments=1))
    offered = assess_kit(only_one, with_kits(TWO_PLACES, SET), TIKTOK, SET)

    decision = decide(only_one, TWO_PLACES, order_of(*lines_of(SET, offered.largest_single_order)), SET)

    assert (offered.largest_single_order, decision.shortages) == (2, ())


@pytest.mark.parametrize("rounds", [1, split_kits.MAX_ROUNDS])
def test_after_its_last_round_an_order_keeps_the_kits_of_which_it_has_all_components(
    monkeypatch: pytest.MonkeyPatch, rounds: int
) -> None:
    monkeypatch.setattr(split_kits, "MAX_ROUNDS", rounds)
    first, second = Kit("A", {"MUG": 1, "CAP": 1}, may_split=True), Kit("B", {"CAP": 1, "PEN": 1}, may_split=True)
    snapshot = world([DC, SHOP], [level("MUG", "dc", 3), level("CAP", "shop", 3), level("PEN", "dc", 2)])
    order = order_of(*lines_of(first, 3, "a"), *lines_of(second, 3, "b"))

    decision = decide(rules(ANYWHERE), snapshot, order, first, second)

    got = Counter({line: count for units in placed(decision).values() for line, count in units.items()})
    assert got["a/MUG"] == got["a/CAP"] == 3 - got["b/CAP"]
    assert got["b/CAP"] == got["b/PEN"]
    assert decision.searched_exhaustively == (rounds > 1)


def test_components_without_the_others_are_taken_back_from_the_last_locations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of the four caps go with the pens, and so two of the four mugs, in two places, have no cap."""
    monkeypatch.setattr(split_kits, "MAX_ROUNDS", 1)
    first, second = Kit("A", {"MUG": 1, "CAP": 1}, may_split=True), Kit("B", {"CAP": 1, "PEN": 1}, may_split=True)
    levels = [level("MUG", "dc", 2), level("MUG", "shop", 2), level("CAP", "shop", 4), level("PEN", "dc", 2)]
    levels += [level("BOWL", "dc", 3), level("BOWL", "shop", 3)]
    order = order_of(*lines_of(second, 2, "b"), *lines_of(first, 4, "a"), OrderLine("c", "BOWL", 6))

    decision = decide(rules(ANYWHERE), world([DC, SHOP], levels), order, first, second)

    assert placed(decision) == {
        "dc": {"b/PEN": 2, "a/MUG": 2, "c": 3},
        "shop": {"b/CAP": 2, "a/CAP": 2, "c": 3},
    }
    assert decision.units == {
        ("PEN", "dc"): 2,
        ("MUG", "dc"): 2,
        ("BOWL", "dc"): 3,
        ("CAP", "shop"): 4,
        ("BOWL", "shop"): 3,
    }


SPLIT_SET = replace(SET, may_split=True)
APART = world([DC, SHOP], [level("MUG", "dc", 9), level("BOWL", "shop", 9)])
"""Mugs in the warehouse and bowls in the shop: sets come from both together."""


@pytest.mark.parametrize(("most", "expected"), [(4, (2, 2)), (3, (2, 1)), (2, (2, 0)), (1, (1, 0))])
def test_what_rules_leave_of_a_kit_that_may_be_split_goes_to_the_first_lines(
    most: int, expected: tuple[int, int]
) -> None:
    """Two lines of two sets each, after a line of one mug."""
    capped = f"kind: buffer\nname: kit\nscope: channel\nrules:\n  - {{name: some, when: {{product.sku: SET}}, cap: {most}}}\n"  # noqa: E501
    order = order_of(OrderLine("0", "MUG", 1), *lines_of(SPLIT_SET, 2, "1"), *lines_of(SPLIT_SET, 2, "2"))

    units = placed(decide(rules(ANYWHERE, capped), APART, order, SPLIT_SET))

    assert {key: units["dc"].get(key, 0) for key in ("0", "1/MUG", "2/MUG")} == {
        "0": 1, "1/MUG": expected[0], "2/MUG": expected[1]
    }  # fmt: skip
    assert (units["shop"].get("1/BOWL", 0), units["shop"].get("2/BOWL", 0)) == (2 * expected[0], 2 * expected[1])


def test_a_location_that_blocks_a_kit_supplies_no_component_of_it_but_single_ones() -> None:
    no_shop = "kind: exposure\nname: safe\nrules:\n  - {name: bulky, when: {product.sku: SET, location.type: store}, block: no room}\n"  # noqa: E501
    order = order_of(*lines_of(SPLIT_SET, 2), OrderLine("2", "BOWL", 1))

    blocked = decide(rules(ANYWHERE, no_shop), APART, order, SPLIT_SET)
    free = decide(rules(ANYWHERE), APART, order, SPLIT_SET)

    assert placed(blocked) == {"shop": {"2": 1}}
    assert placed(free) == {"dc": {"1/MUG": 2}, "shop": {"1/BOWL": 4, "2": 1}}
    attic = warehouse("attic", priority=9)
    places = [attic, replace(DC, priority=9), replace(SHOP, priority=1)]
    levels = [level("MUG", "dc", 9), level("BOWL", "dc", 2), level("BOWL", "attic", 2), level("BOWL", "shop", 9)]
    in_order = rules(policy(rank="[priority]"), no_shop)
    elsewhere = decide(in_order, world(places, levels), order_of(*lines_of(SPLIT_SET, 2)), SPLIT_SET)
    assert placed(elsewhere) == {"attic": {"1/BOWL": 2}, "dc": {"1/MUG": 2, "1/BOWL": 2}}


def test_components_of_a_split_kit_keep_to_the_restrictions_of_its_lines() -> None:
    both = [level("BOWL", "dc", 1), *APART.levels.values()]
    lines = [
        replace(line, placement=replace(line.placement, not_location_ids=frozenset({"shop"})))
        for line in lines_of(SPLIT_SET, 2)
    ]

    assert decide(rules(ANYWHERE), world([DC, SHOP], both), order_of(*lines), SPLIT_SET).plan == ()
