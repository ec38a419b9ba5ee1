"""How many kits a channel may sell: the least over the components, after rules of the components and of the kit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.availability.sellable import Availability, assess_availability
from policies.decisions.kits.kit_availability import assess_kit, kits_promised
from policies.domain.capacity import Capacity, CapacityFigures
from policies.domain.kits import Kit
from policies.domain.model import Destination, Product, World
from policies.policy_set import PolicySet
from tests.policies.decisions.test_routing_properties import policy_sets, worlds
from tests.policies.small_retailer import (
    ANYWHERE,
    NOW,
    OSLO,
    TIKTOK,
    TO_OSLO,
    level,
    policy,
    rules,
    store,
    warehouse,
    world,
)

SET = Kit("SET", {"MUG": 1, "BOWL": 2})
DC, SHOP = warehouse("dc"), store("shop")


def ask(policy_set: PolicySet, snapshot: World, kit: Kit = SET, **product: Any) -> Availability:
    products = {**snapshot.products, kit.sku: Product(kit.sku, **product)}
    return assess_kit(policy_set, replace(snapshot, products=products), TIKTOK, kit)


def of_kit(entry: str, scope: str = "location") -> str:
    """A buffer rule about the kit's own SKU."""
    condition = "when: {product.sku: SET}, "
    return f"kind: buffer\nname: kit\nscope: {scope}\nrules:\n  - {{name: of-kit, {condition}{entry}}}\n"


def of_mug(entry: str, scope: str = "channel") -> str:
    return (
        f"kind: buffer\nname: mug\nscope: {scope}\nrules:\n  - {{name: of-mug, when: {{product.sku: MUG}}, {entry}}}\n"
    )


TWO_PLACES = world(
    [DC, SHOP],
    [level("MUG", "dc", 10), level("BOWL", "dc", 5), level("MUG", "shop", 1), level("BOWL", "shop", 9)],
)


def test_a_kit_is_sellable_where_all_its_components_are() -> None:
    found = ask(rules(ANYWHERE), TWO_PLACES)

    assert [(figure.location_id, figure.sellable) for figure in found.locations] == [("dc", 2), ("shop", 1)]
    assert (found.sellable, found.total_available, found.largest_single_order) == (3, 3, 3)
    assert found.kit is not None
    assert found.kit.components == {"MUG": 11, "BOWL": 14}


def test_a_kit_that_may_be_split_is_sellable_from_all_locations_together() -> None:
    found = ask(rules(ANYWHERE), TWO_PLACES, replace(SET, may_split=True))

    assert (found.sellable, found.total_available, found.largest_single_order) == (7, 7, 7)
    assert found.kit is not None
    assert found.kit.split_count == 4
    assert found.unpublished == 0


def test_a_location_that_lacks_a_component_has_no_kit() -> None:
    snapshot = world([DC, SHOP], [level("MUG", "dc", 10), level("BOWL", "shop", 9)])

    found = ask(rules(ANYWHERE), snapshot)
    split = ask(rules(ANYWHERE), snapshot, replace(SET, may_split=True))

    assert (found.sellable, found.locations) == (0, ())
    assert (split.sellable, [figure.sellable for figure in split.locations]) == (4, [0, 0])


def test_buffers_of_components_and_of_the_kit_both_apply() -> None:
    of_store = "kind: buffer\nname: floor\nscope: location\nrules:\n  - {name: two, when: {location.type: warehouse, product.sku: BOWL}, hold_back: {units: 1}}\n"  # noqa: E501
    found = ask(rules(ANYWHERE, of_store), TWO_PLACES)
    both = ask(rules(ANYWHERE, of_store, of_kit("hold_back: {units: 1}")), TWO_PLACES)

    assert [figure.sellable for figure in found.locations] == [2, 1]
    assert [figure.sellable for figure in both.locations] == [1, 0]
    assert [rule.name for rule in both.fired] == ["of-kit", "two", "of-kit"]


def test_an_exposure_rule_of_a_component_blocks_the_kit_there_and_says_why() -> None:
    block = "kind: exposure\nname: safe\nrules:\n  - {name: recall, when: {product.sku: MUG, location.type: store}, block: recalled}\n"  # noqa: E501
    found = ask(rules(ANYWHERE, block), TWO_PLACES)

    assert found.sellable == 2
    assert [(rule.sku, rule.effect) for rule in found.locations[1].blocked_by] == [("MUG", "blocked: recalled")]


def test_an_exposure_rule_of_the_kit_blocks_only_the_kit() -> None:
    block = "kind: exposure\nname: safe\nrules:\n  - {name: bulky, when: {product.tags: {contains: bulky}, location.type: store}, block: no room}\n"  # noqa: E501
    policy_set = rules(ANYWHERE, block)
    found = ask(policy_set, TWO_PLACES, tags=frozenset({"bulky"}))
    split = ask(policy_set, TWO_PLACES, replace(SET, may_split=True), tags=frozenset({"bulky"}))

    assert [figure.sellable for figure in found.locations] == [2, 0]
    assert split.sellable == 2
    assert assess_availability(policy_set, TWO_PLACES, TIKTOK, "MUG").sellable == 11


def test_rules_of_the_channels_total_of_the_kit_and_of_a_component_both_apply() -> None:
    buffer = ask(rules(ANYWHERE, of_kit("hold_back: {units: 1}", "channel")), TWO_PLACES)
    cap = ask(rules(ANYWHERE, of_mug("cap: 2")), TWO_PLACES)
    cut_off = ask(rules(ANYWHERE, of_kit("publish_zero_at_or_below: 3", "channel")), TWO_PLACES)
    component = ask(rules(ANYWHERE, of_mug("publish_zero_at_or_below: 11")), TWO_PLACES)

    assert (buffer.sellable, buffer.held_back_by_channel, buffer.unpublished) == (2, 1, 0)
    assert (cap.sellable, cap.capped, cap.unpublished) == (2, True, 1)
    assert (cut_off.sellable, cut_off.cut_off_applied) == (0, True)
    assert (component.sellable, component.cut_off_applied) == (0, True)


def test_a_kit_is_as_old_and_as_uncertain_as_its_worst_component() -> None:
    snapshot = world(
        [DC],
        [level("MUG", "dc", 9, age_minutes=5, count_confidence=0.9), level("BOWL", "dc", 9, age_minutes=90)],
    )
    found = ask(rules(ANYWHERE), snapshot)

    assert found.kit is not None
    kit_level = found.kit.levels["dc"]
    assert kit_level.as_of_time == snapshot.levels["BOWL", "dc"].as_of_time
    assert kit_level.count_confidence is None


def test_kits_are_shown_as_unavailable_or_promised_where_a_component_is() -> None:
    """Of 10 mugs 8 are in order and 5 of them free, of 12 bowls 8 and 6. The shop has lost more mugs than it had."""
    levels = [
        level("MUG", "dc", 10, unavailable=2, allocated=3),
        level("BOWL", "dc", 12, unavailable=4, held=2),
        level("MUG", "shop", 2, unavailable=3),
        level("BOWL", "shop", 4),
    ]

    found = ask(rules(ANYWHERE), world([DC, SHOP], levels))

    assert found.kit is not None
    shown = {key: (x.on_hand, x.unavailable, x.allocated, x.available) for key, x in found.kit.levels.items()}
    assert shown == {"dc": (6, 2, 1, 3), "shop": (2, 2, 0, 0)}


def test_one_order_gets_no_more_kits_than_its_shipments_allow() -> None:
    found = ask(rules(policy(rank="[priority]", max_shipments=1)), TWO_PLACES)

    assert (found.sellable, found.largest_single_order) == (3, 2)


def ordered(policy_set: PolicySet, snapshot: World = TWO_PLACES, **product: Any) -> int:
    """The kits that one order can get."""
    return ask(policy_set, snapshot, **product).largest_single_order


@pytest.mark.parametrize(
    ("entries", "price", "largest"),
    [
        ({"min_split_value": 30}, Decimal(10), 3),
        ({"min_split_value": 31}, Decimal(10), 2),
        ({"min_split_value": 30}, None, 2),
        ({"split_only_if": "{order.unit_count: {at_least: 100}}"}, Decimal(10), 2),
        ({"max_shipments": 1}, Decimal(10), 2),
    ],
)
def test_one_order_gets_the_kits_of_one_location_where_it_may_not_be_split(
    entries: dict[str, Any], price: Decimal | None, largest: int
) -> None:
    assert ordered(rules(policy(rank="[fewest_shipments]", **entries)), price=price) == largest


def test_an_order_of_fewer_kits_than_all_takes_the_fullest_locations_that_its_shipments_allow() -> None:
    corner = [level("MUG", "corner", 1), level("BOWL", "corner", 2)]
    snapshot = world([DC, SHOP, store("corner")], [*TWO_PLACES.levels.values(), *corner])

    assert ordered(rules(policy(rank="[fewest_shipments]", max_shipments=2)), snapshot) == 3


@pytest.mark.parametrize(("rank", "largest"), [("[priority]", 1), ("[covers_most, priority]", 2)])
def test_one_shipment_of_kits_comes_from_the_location_that_ranks_first(rank: str, largest: int) -> None:
    """The shop ranks before the warehouse, unless the warehouse alone covers the order."""
    snapshot = world([replace(DC, priority=2), replace(SHOP, priority=1)], TWO_PLACES.levels.values())

    assert ordered(rules(policy(rank=rank, max_shipments=1)), snapshot) == largest


@pytest.mark.parametrize("may_split", [False, True])
def test_kits_for_pickup_are_those_of_the_policy_for_pickup(may_split: bool) -> None:
    policies = """
kind: routing
policies:
  - {name: collect, position: 1, applies_to: {order.method: pickup}, only: {location.type: store}, rank: [priority]}
  - {name: send, position: 2, rank: [priority]}
"""
    snapshot = replace(TWO_PLACES, products={**TWO_PLACES.products, "SET": Product("SET")})
    kit = replace(SET, may_split=may_split)

    found = assess_kit(rules(policies), snapshot, TIKTOK, kit, method="pickup")

    assert (found.sellable, found.largest_single_order) == (1, 1)


BY_COURIER = """
kind: delivery
rules:
  - {name: courier, position: 1, when: {location.type: store}, service: courier, transit_days: 1}
  - {name: post, position: 2, service: post, transit_days: 2}
"""
"""It is Friday: the shop's courier arrives on Monday, the warehouse's parcels on Tuesday."""


def test_kits_that_may_be_split_are_picked_up_from_as_many_stores_as_pickup_allows() -> None:
    """The answer is that of the policy for pickup: an order to be shipped may use both stores."""
    policies = """
kind: routing
policies:
  - {name: collect, position: 1, applies_to: {order.method: pickup}, only: {location.type: store}, max_shipments: 1,
     rank: [priority]}
  - {name: send, position: 2, rank: [priority]}
"""
    corner = [level("MUG", "corner", 2), level("BOWL", "corner", 4)]
    snapshot = world([DC, SHOP, store("corner")], [*TWO_PLACES.levels.values(), *corner], [Product("SET")])
    kit = replace(SET, may_split=True)

    picked_up = assess_kit(rules(policies), snapshot, TIKTOK, kit, method="pickup")
    shipped = assess_kit(rules(policies), snapshot, TIKTOK, kit, method="ship")

    assert (picked_up.sellable, picked_up.largest_single_order) == (3, 2)
    assert shipped.largest_single_order == shipped.sellable == 9
    assert picked_up.kit is not None
    assert shipped.kit is not None
    assert picked_up.kit.components == {"MUG": 3, "BOWL": 13}
    assert shipped.kit.components == {"MUG": 13, "BOWL": 18}


def test_the_components_of_a_kit_are_those_that_may_go_to_the_destination() -> None:
    not_abroad = policy(exclude="[{name: at-home, when: {location.type: store, destination.country: {is_not: NO}}}]")
    products = {**TWO_PLACES.products, "SET": Product("SET")}

    found = assess_kit(
        rules(not_abroad), replace(TWO_PLACES, products=products), TIKTOK, SET, destination=Destination("SE")
    )

    assert found.kit is not None
    assert found.kit.components == {"MUG": 10, "BOWL": 5}


@pytest.mark.parametrize(
    ("entry", "sellable", "is_cut_off", "is_capped"),
    [
        ("hold_back: {units: 0}", 3, False, False),
        ("hold_back: {units: 9}", 0, False, False),
        ("cap: 3", 3, False, False),
        ("cap: 1", 1, False, True),
        ("publish_zero_at_or_below: 3", 0, True, False),
    ],
)
def test_kits_are_cut_off_or_capped_only_where_there_are_more(
    entry: str, sellable: int, is_cut_off: bool, is_capped: bool
) -> None:
    found = ask(rules(ANYWHERE, of_kit(entry, "channel")), TWO_PLACES)

    assert (found.sellable, found.cut_off_applied, found.capped) == (sellable, is_cut_off, is_capped)


def options_of(*texts: str, kit: Kit = SET, snapshot: World = TWO_PLACES) -> list[tuple[int, int, int, set[str]]]:
    """The days from now by which orders from so many to so many kits arrive from these locations."""
    at_once = {key: replace(place, handling_minutes=0) for key, place in snapshot.locations.items()}
    policy_set = rules(BY_COURIER, policy(must_meet="[deliver_by]", rank="[priority]"), *texts)
    products = {**snapshot.products, "SET": Product("SET")}
    snapshot = replace(snapshot, locations=at_once, products=products)
    found = assess_kit(policy_set, snapshot, TIKTOK, kit, method="ship", destination=TO_OSLO, by_day=True)
    return [((x.day - NOW.date()).days, x.fewest, x.largest, set(x.units)) for x in found.delivery_options]


def test_what_a_rule_keeps_of_all_kits_is_not_kept_of_the_first_days_kits_too() -> None:
    assert options_of(of_kit("hold_back: {units: 1}", "channel")) == [(3, 1, 1, {"shop"}), (4, 1, 2, {"dc", "shop"})]


def test_kits_that_may_be_split_arrive_once_all_their_components_do() -> None:
    snapshot = world([DC, SHOP], [level("MUG", "shop", 4), level("BOWL", "dc", 8)])
    kit = replace(SET, may_split=True)

    assert options_of(kit=kit, snapshot=snapshot) == [(4, 1, 4, {"dc", "shop"})]


def test_a_location_gives_to_one_order_no_more_kits_by_a_day_than_it_can_handle() -> None:
    """The warehouse can handle seven units of an order, and so two sets of three; the shop has one."""
    snapshot = world([replace(DC, capacity=Capacity(units_per_day=7, days_ahead=0)), SHOP], [
        level("MUG", "dc", 10), level("BOWL", "dc", 10), level("MUG", "shop", 1), level("BOWL", "shop", 9)
    ], [Product("SET")])  # fmt: skip
    at_once = {key: replace(place, handling_minutes=0) for key, place in snapshot.locations.items()}
    snapshot = replace(snapshot, locations=at_once, capacity=CapacityFigures())
    policy_set = rules(BY_COURIER, policy(must_meet="[deliver_by]", rank="[priority]"))

    found = assess_kit(policy_set, snapshot, TIKTOK, SET, method="ship", destination=TO_OSLO, by_day=True)

    assert [(x.largest, dict(x.units)) for x in found.delivery_options] == [(1, {"shop": 1}), (3, {"dc": 2, "shop": 1})]


def test_days_are_answered_only_where_they_are_asked_for() -> None:
    policy_set = rules(BY_COURIER, policy(must_meet="[deliver_by]", rank="[priority]"))
    at_once = {key: replace(place, handling_minutes=0) for key, place in TWO_PLACES.locations.items()}

    assert ask(policy_set, replace(TWO_PLACES, locations=at_once)).delivery_options == ()


def test_kits_that_are_promised_are_those_that_their_components_would_make_up() -> None:
    levels = [
        level("MUG", "dc", 9, allocated=3),
        level("BOWL", "dc", 9, held=2),
        level("MUG", "shop", 2, allocated=3),
    ]
    at = {(stock.sku, stock.location_id): stock for stock in levels}
    kit = Kit("SET", {"MUG": 1, "BOWL": 1})

    # Of 6 mugs and 7 bowls in the warehouse, 3 and 2 more were it not for the orders that they are promised to.
    promised = {("MUG", "dc"): 3, ("BOWL", "dc"): 2}
    assert kits_promised(kit, at, promised, ["dc"]) == {("SET", "dc"): 3}
    assert kits_promised(kit, at, {("MUG", "dc"): 3}, ["dc"]) == {("SET", "dc"): 1}
    assert kits_promised(kit, at, {}, ["dc"]) == {("SET", "dc"): 0}
    # The shop is a mug short already and has never had a bowl.
    assert kits_promised(kit, at, {("MUG", "shop"): 3, ("BOWL", "shop"): 2}, ["shop"]) == {("SET", "shop"): 2}
    assert kits_promised(kit, at, {("MUG", "shop"): 3}, ["shop"]) == {("SET", "shop"): 0}
    # In the attic all mugs are promised, and there are two bowls.
    attic = {("MUG", "attic"): level("MUG", "attic", 2, allocated=2), ("BOWL", "attic"): level("BOWL", "attic", 2)}
    assert kits_promised(kit, attic, {("MUG", "attic"): 2}, ["attic"]) == {("SET", "attic"): 2}


BY_CONTENTS = """
kind: delivery
rules:
  - {name: heavy, position: 1, when: {order.weight_grams: {at_least: 1000}}, service: truck, transit_days: 5}
  - {name: fragile, position: 2, when: {order.product_tags: {contains: fragile}}, service: van, transit_days: 4}
  - {name: dear, position: 3, when: {order.value: {at_least: 50}}, service: express, transit_days: 1}
  - {name: many, position: 4, when: {order.unit_count: {at_least: 9}}, service: pallet, transit_days: 6}
  - {name: post, position: 5, service: post, transit_days: 3}
"""


def delivery_of(*, grams: int = 1, tags: Iterable[str] = (), price: int = 0) -> list[tuple[int, int]]:
    """Days from now by which up to how many of a set of a mug and two bowls arrive, of 10 that there are."""
    dc = warehouse("dc", handling_minutes=0, coordinates=OSLO)
    mug = Product("MUG", weight_grams=grams, tags=frozenset(tags))
    snapshot = world([dc], [level("MUG", "dc", 10), level("BOWL", "dc", 20)], [mug, Product("BOWL", weight_grams=1)])
    priced = replace(snapshot, products={**snapshot.products, "SET": Product("SET", price=Decimal(price))})
    policy_set = rules(policy(must_meet="[deliver_by]", rank="[nearest]"), BY_CONTENTS)
    found = assess_kit(policy_set, priced, TIKTOK, SET, method="ship", destination=TO_OSLO, by_day=True)
    return [((day.day - NOW.date()).days, day.largest_order) for day in found.delivery_days]


def test_by_which_day_kits_arrive_depends_on_what_a_number_of_them_weighs_and_costs() -> None:
    """It is Friday, and neither service counts the weekend. Two sets are 6 units and three are 9."""
    assert delivery_of() == [(5, 2), (10, 10)]
    assert delivery_of(grams=200) == [(5, 2), (7, 10)]
    assert delivery_of(tags=["fragile"]) == [(6, 10)]
    assert delivery_of(price=10) == [(3, 10)]


@settings(max_examples=120, deadline=None)
@given(policy_sets, worlds(), st.dictionaries(st.sampled_from(["MUG", "CAP", "PEN"]), st.integers(1, 3), min_size=1))
def test_kits_never_exceed_what_each_component_may_sell_and_every_kit_is_accounted_for(
    policy_set: PolicySet, snapshot: World, components: dict[str, int]
) -> None:
    kit = Kit("SET", components)
    whole, split = ask(policy_set, snapshot, kit), ask(policy_set, snapshot, replace(kit, may_split=True))

    for found in (whole, split):
        assert found.kit is not None
        for sku, unit_count in components.items():
            assert found.sellable * unit_count <= assess_availability(policy_set, snapshot, TIKTOK, sku).sellable
        shown = sum(figure.sellable for figure in found.locations) + found.kit.split_count
        assert shown == found.sellable + found.held_back_by_channel + found.unpublished
        assert min(found.held_back_by_channel, found.unpublished, found.kit.split_count) >= 0
        assert found.largest_single_order <= found.sellable <= found.total_available
    assert whole.total_available <= split.total_available


@settings(max_examples=60, deadline=None)
@given(policy_sets, worlds())
def test_a_kit_of_one_unit_of_one_component_is_sold_like_it_where_no_rule_has_a_total(
    policy_set: PolicySet, snapshot: World
) -> None:
    product = assess_availability(policy_set, snapshot, TIKTOK, "MUG")
    kit = ask(policy_set, snapshot, Kit("SET", {"MUG": 1}))

    assert kit.total_available == product.total_available
    if not product.fired:
        assert kit.sellable == product.sellable
