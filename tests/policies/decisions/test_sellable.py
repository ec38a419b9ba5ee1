"""The units that a channel may sell."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from policies.decisions.availability.location_availability import assess_location
from policies.decisions.availability.sellable import Availability, assess_availability, channel_level, publishable_units
from policies.decisions.buffers import BufferEffect
from policies.domain.capacity import Capacity, CapacityFigures
from policies.domain.model import Channel, Context, Destination, Product, World
from policies.explanation import DropReason
from policies.policy_set import PolicySet
from tests.policies.small_retailer import (
    ANYWHERE,
    NOW,
    TIKTOK,
    TILL,
    level,
    policy,
    rules,
    store,
    warehouse,
    world,
)

FLOOR = """
kind: buffer
name: store-floor
scope: location
rules:
  - name: two-on-the-shop-floor
    when: {location.type: store, channel.kind: [marketplace, social]}
    hold_back: {units: 2}
  - name: fast-movers-on-old-counts
    when: {all: [product.velocity_per_day: {at_least: 4}, stock.age_minutes: {more_than: 15}]}
    hold_back: {expected_sales: {during: stock_age, service_level: 0.95}, minimum: 1}
"""
TRUST = """
kind: exposure
name: trusted-stock
rules:
  - name: counts-not-trusted
    when: {location.type: store, stock.count_confidence: {less_than: 0.9}}
    block: counts at this store are not trusted yet
"""


def channel_rules(*entries: str, combine: str = "largest") -> str:
    lines = "\n".join(f"  - {entry}" for entry in entries)
    return f"kind: buffer\nname: whole\nscope: channel\ncombine: {combine}\nrules:\n{lines}\n"


def ask(policy_set: PolicySet, snapshot: World, channel: Channel = TIKTOK, **options: str) -> Availability:
    return assess_availability(policy_set, snapshot, channel, "MUG", **options)  # type: ignore[arg-type]


def names(availability: Availability) -> list[str]:
    return [rule.name for rule in availability.fired]


HIGH_STREET = store("high-street")
DC = warehouse("dc-north")


def test_a_store_keeps_two_mugs_for_walk_in_customers() -> None:
    availability = ask(rules(FLOOR, ANYWHERE), world([HIGH_STREET], [level("MUG", "high-street", 3)]))

    assert availability.sellable == 1
    assert names(availability) == ["two-on-the-shop-floor"]
    assert availability.fired[0].effect == "held back 2 units"
    assert (availability.fired[0].location_id, availability.fired[0].sku) == ("high-street", "MUG")


def test_the_till_may_sell_the_shop_floor() -> None:
    availability = ask(rules(FLOOR, ANYWHERE), world([HIGH_STREET], [level("MUG", "high-street", 3)]), TILL)

    assert availability.sellable == 3
    assert names(availability) == []


def test_held_back_units_are_limited_by_stock_and_the_effect_names_the_rules_units() -> None:
    availability = ask(rules(FLOOR, ANYWHERE), world([HIGH_STREET], [level("MUG", "high-street", 1)]))

    assert availability.locations[0].held_back == 1
    assert availability.fired[0].effect == "held back 2 units"


def test_a_fast_mover_with_an_old_count_holds_back_its_expected_sales() -> None:
    snapshot = world([DC], [level("MUG", "dc-north", 20, age_minutes=120)], [Product("MUG", velocity_per_day=24)])

    availability = ask(rules(FLOOR, ANYWHERE), snapshot)

    assert availability.sellable == 15
    assert availability.fired[0].effect == "held back 5 units"


def test_damaged_held_and_allocated_units_are_not_available() -> None:
    snapshot = world([DC], [level("MUG", "dc-north", 10, unavailable=1, held=2, allocated=3)])

    assert ask(rules(ANYWHERE), snapshot).sellable == 4


def test_a_location_with_more_promises_than_stock_does_not_reduce_the_others() -> None:
    snapshot = world([DC, HIGH_STREET], [level("MUG", "dc-north", 1, allocated=5), level("MUG", "high-street", 4)])

    availability = ask(rules(ANYWHERE), snapshot)

    assert (availability.sellable, availability.total_available) == (4, 4)


def test_a_store_with_untrusted_counts_is_blocked_and_says_why() -> None:
    snapshot = world([HIGH_STREET], [level("MUG", "high-street", 9, count_confidence=0.5)])

    availability = ask(rules(TRUST, ANYWHERE), snapshot)

    assert availability.sellable == 0
    assert availability.locations[0].blocked_by[0].effect == "blocked: counts at this store are not trusted yet"


def test_a_count_of_unknown_confidence_blocks_nothing() -> None:
    assert ask(rules(TRUST, ANYWHERE), world([HIGH_STREET], [level("MUG", "high-street", 9)])).sellable == 9


def test_a_closed_location_has_nothing_sellable() -> None:
    availability = ask(rules(ANYWHERE), world([store("gone", status="closed")], [level("MUG", "gone", 9)]))

    assert (availability.sellable, availability.total_available) == (0, 0)
    assert availability.locations[0].not_used_by is not None
    assert availability.locations[0].not_used_by.reason is DropReason.CLOSED


def test_a_location_excluded_by_routing_has_nothing_sellable_and_names_the_rule() -> None:
    routing = policy(exclude="[{name: stocktake, when: {location.status: stocktake}}]")

    availability = ask(rules(routing), world([store("busy", status="stocktake")], [level("MUG", "busy", 9)]))

    assert availability.sellable == 0
    assert names(availability) == ["stocktake"]
    assert availability.total_available == 9


def test_pickup_counts_only_stores_that_offer_it() -> None:
    routing = """
kind: routing
policies:
  - name: collect
    position: 10
    applies_to: {order.method: pickup}
    only: {location.offers_pickup: true}
    rank: [priority]
  - {name: rest, position: 20, rank: [priority]}
"""
    snapshot = world([store("yes", offers_pickup=True), store("no")], [level("MUG", "yes", 2), level("MUG", "no", 5)])

    assert ask(rules(routing), snapshot, method="pickup").sellable == 2
    assert ask(rules(routing), snapshot, method="ship").sellable == 7


def test_a_location_of_another_channel_is_not_in_the_answer() -> None:
    snapshot = world([DC, HIGH_STREET], [level("MUG", "dc-north", 5), level("MUG", "high-street", 5)])

    availability = ask(
        rules(ANYWHERE), snapshot, Channel("amazon", "marketplace", location_ids=frozenset({"dc-north"}))
    )

    assert [figure.location_id for figure in availability.locations] == ["dc-north"]
    assert availability.total_available == 5


def test_a_percentage_on_the_channel_is_of_what_the_channel_may_use() -> None:
    """A store under stocktake must not raise TikTok's buffer until it takes the warehouse's last units."""
    counting = replace(HIGH_STREET, status="stocktake")
    snapshot = world([counting, DC], [level("MUG", "high-street", 400), level("MUG", "dc-north", 20)])
    no_stocktake = policy(exclude="[{name: stocktake, when: {location.status: stocktake}}]")

    availability = ask(rules(channel_rules("{name: tenth, hold_back: {percent: 10}}"), no_stocktake), snapshot)

    assert (availability.held_back_by_channel, availability.sellable) == (2, 18)


def test_a_percentage_on_the_channel_is_of_the_channels_total() -> None:
    snapshot = world([DC, HIGH_STREET], [level("MUG", "dc-north", 15), level("MUG", "high-street", 15)])

    availability = ask(rules(channel_rules("{name: tenth, hold_back: {percent: 10}}"), ANYWHERE), snapshot)

    assert (availability.sellable, availability.held_back_by_channel) == (27, 3)
    assert availability.fired[0].location_id is None


def test_the_channel_buffer_applies_after_location_buffers_and_before_the_cut_off() -> None:
    channel_buffer = channel_rules("{name: three, hold_back: {units: 3}}", "{name: few, publish_zero_at_or_below: 5}")
    policy_set = rules(FLOOR, channel_buffer, ANYWHERE)

    few = ask(policy_set, world([HIGH_STREET], [level("MUG", "high-street", 10)]))
    enough = ask(policy_set, world([HIGH_STREET], [level("MUG", "high-street", 11)]))

    assert (few.sellable, few.cut_off_applied) == (0, True)
    assert (enough.sellable, enough.cut_off_applied) == (6, False)


def test_the_highest_cut_off_and_the_lowest_cap_count() -> None:
    cuts = channel_rules("{name: one, publish_zero_at_or_below: 1}", "{name: four, publish_zero_at_or_below: 4}")
    caps = channel_rules("{name: nine, cap: 9}", "{name: seven, cap: 7}")

    assert ask(rules(cuts, ANYWHERE), world([DC], [level("MUG", "dc-north", 4)])).sellable == 0
    availability = ask(rules(caps, ANYWHERE), world([DC], [level("MUG", "dc-north", 40)]))
    assert (availability.sellable, availability.capped, availability.total_available) == (7, True, 40)


@given(
    subtotal=st.integers(0, 40),
    held_back=st.integers(0, 40),
    cut_off=st.none() | st.integers(0, 20),
    cap=st.none() | st.integers(0, 20),
)
def test_the_buffer_is_subtracted_before_the_cut_off_and_the_cap_comes_last(
    subtotal: int, held_back: int, cut_off: int | None, cap: int | None
) -> None:
    units = publishable_units(subtotal, BufferEffect(held_back, cut_off, cap))

    remaining = max(0, subtotal - held_back)
    if cut_off is not None and remaining <= cut_off:
        assert units == 0
    else:
        assert units == (remaining if cap is None else min(cap, remaining))


def test_a_cap_limits_what_is_left_after_the_buffer() -> None:
    both = channel_rules("{name: three, hold_back: {units: 3}}", "{name: seven, cap: 7}")

    assert ask(rules(both, ANYWHERE), world([DC], [level("MUG", "dc-north", 9)])).sellable == 6
    assert ask(rules(both, ANYWHERE), world([DC], [level("MUG", "dc-north", 30)])).sellable == 7


def test_a_location_with_more_promises_than_stock_takes_nothing_from_the_others() -> None:
    tenth = channel_rules("{name: tenth, hold_back: {percent: 10}}")
    snapshot = world([DC, HIGH_STREET], [level("MUG", "dc-north", 20), level("MUG", "high-street", 2, allocated=12)])

    plain, buffered = ask(rules(ANYWHERE), snapshot), ask(rules(tenth, ANYWHERE), snapshot)

    assert (plain.sellable, plain.total_available, plain.largest_single_order) == (20, 20, 20)
    assert (buffered.sellable, buffered.held_back_by_channel) == (18, 2)
    assert [figure.available for figure in plain.locations] == [20, 0]


@pytest.mark.parametrize(
    ("units", "sellable", "is_cut_off", "is_capped", "unpublished"),
    [
        (0, 0, False, False, 0),
        (1, 0, True, False, 1),
        (2, 0, True, False, 2),
        (3, 3, False, False, 0),
        (7, 7, False, False, 0),
        (9, 7, False, True, 2),
    ],
)
def test_an_answer_says_how_many_units_the_cut_off_or_the_cap_keeps(
    units: int, sellable: int, is_cut_off: bool, is_capped: bool, unpublished: int
) -> None:
    limits = channel_rules("{name: few, publish_zero_at_or_below: 2}", "{name: seven, cap: 7}")

    availability = ask(rules(limits, ANYWHERE), world([DC], [level("MUG", "dc-north", units)]))

    assert availability.sellable == sellable
    assert (availability.cut_off_applied, availability.capped) == (is_cut_off, is_capped)
    assert availability.unpublished == unpublished
    assert (availability.sku, availability.total_available) == ("MUG", units)
    assert availability.policy.name == "everything"


def test_rules_about_the_destination_see_where_an_order_would_go() -> None:
    away = policy(exclude="[{name: away, when: {location.same_country: false}}]")
    snapshot = world([warehouse("dc-north", country="NO")], [level("MUG", "dc-north", 4)])

    assert (
        assess_availability(rules(away), snapshot, TIKTOK, "MUG", destination=Destination(country="NO")).sellable == 4
    )
    assert (
        assess_availability(rules(away), snapshot, TIKTOK, "MUG", destination=Destination(country="SE")).sellable == 0
    )
    assert assess_availability(rules(away), snapshot, TIKTOK, "MUG").sellable == 4


def test_a_channel_buffer_counts_only_stock_that_no_rule_blocks() -> None:
    doubtful = level("MUG", "high-street", 100, count_confidence=0.5)
    snapshot = world([DC, HIGH_STREET], [level("MUG", "dc-north", 20), doubtful])

    availability = ask(rules(channel_rules("{name: tenth, hold_back: {percent: 10}}"), TRUST, ANYWHERE), snapshot)

    assert (availability.held_back_by_channel, availability.sellable) == (2, 18)


def test_a_channel_buffer_counts_no_stock_of_a_product_that_a_rule_blocks() -> None:
    no_photo = """
kind: exposure
name: no-photo
rules:
  - {name: no-photo-here, when: {product.tags: {contains: unphotographed}, location.type: store}, block: no photo}
"""
    levels = [level("MUG", "dc-north", 20), level("MUG", "high-street", 100)]
    snapshot = world([DC, HIGH_STREET], levels, [Product("MUG", tags=frozenset({"unphotographed"}))])

    availability = ask(rules(channel_rules("{name: tenth, hold_back: {percent: 10}}"), no_photo, ANYWHERE), snapshot)

    assert (availability.held_back_by_channel, availability.sellable) == (2, 18)


def test_a_rule_about_a_channel_sees_the_units_of_all_its_locations() -> None:
    levels = [
        level("MUG", "dc-north", 20, unavailable=1, held=2, allocated=3),
        level("MUG", "high-street", 9, unavailable=2, held=1, allocated=1),
        level("MUG", "kiosk", 4, allocated=7),
    ]

    total = channel_level("MUG", levels)

    # The kiosk, which promises 7 of 4 units, has none available.
    assert (total.sku, total.location_id, total.on_hand, total.available) == ("MUG", "", 33, 19)


def test_held_back_units_of_a_file_add_up_only_with_combine_sum() -> None:
    two = ("{name: two, hold_back: {units: 2}}", "{name: three, hold_back: {units: 3}}")
    snapshot = world([DC], [level("MUG", "dc-north", 10)])

    assert ask(rules(channel_rules(*two), ANYWHERE), snapshot).sellable == 7
    assert ask(rules(channel_rules(*two, combine="sum"), ANYWHERE), snapshot).sellable == 5


def test_the_largest_buffer_of_all_files_applies() -> None:
    other = "kind: buffer\nname: other\nscope: location\nrules:\n  - {name: five, hold_back: {units: 5}}\n"

    availability = ask(rules(FLOOR, other, ANYWHERE), world([HIGH_STREET], [level("MUG", "high-street", 10)]))

    assert availability.sellable == 5
    assert sorted(names(availability)) == ["five", "two-on-the-shop-floor"]


def test_the_largest_single_order_fits_into_the_allowed_shipments() -> None:
    locations = [store(key) for key in "abc"]
    snapshot = world(locations, [level("MUG", "a", 2), level("MUG", "b", 7), level("MUG", "c", 4)])

    availability = ask(rules(policy(max_shipments=2)), snapshot)

    assert (availability.sellable, availability.largest_single_order) == (13, 11)


def test_without_a_plan_step_the_best_ranked_locations_ship_the_largest_order() -> None:
    locations = [store("a", priority=1), store("b", priority=3), store("c", priority=2)]
    snapshot = world(locations, [level("MUG", "a", 2), level("MUG", "b", 7), level("MUG", "c", 4)])

    assert ask(rules(policy(rank="[priority]", max_shipments=2)), snapshot).largest_single_order == 6


def test_an_order_below_the_split_value_is_limited_to_one_location() -> None:
    snapshot = world([store("a"), store("b")], [level("MUG", "a", 2), level("MUG", "b", 7)])
    dear = replace(snapshot, products={"MUG": Product("MUG", price=Decimal(10))})

    assert ask(rules(policy(min_split_value=40)), snapshot).largest_single_order == 7
    assert ask(rules(policy(min_split_value=40)), dear).largest_single_order == 9


def test_a_location_with_nothing_to_sell_uses_none_of_the_largest_orders_shipments() -> None:
    locations = [store("a", priority=1), store("b", priority=2), store("c", priority=3)]
    snapshot = world(locations, [level("MUG", "a", 1, held=1), level("MUG", "b", 7), level("MUG", "c", 4)])

    assert ask(rules(policy(rank="[priority]", max_shipments=2)), snapshot).largest_single_order == 11


def test_a_product_that_is_not_sold_out_of_several_locations_and_has_no_stock_has_no_largest_order() -> None:
    availability = ask(rules(policy(min_split_value=40)), world([DC], [level("MUG", "dc-north", 0)]))

    assert (availability.sellable, availability.largest_single_order) == (0, 0)


def test_the_largest_order_is_none_where_the_only_store_is_full_and_no_order_is_split() -> None:
    full = store("oslo", capacity=Capacity(units_per_day=0, days_ahead=0))
    snapshot = replace(world([full], [level("MUG", "oslo", 4)]), capacity=CapacityFigures())

    found = ask(rules(policy(min_split_value=50)), snapshot)

    assert (found.sellable, found.largest_single_order, found.in_one_order) == (4, 0, {"oslo": 0})


def test_a_rule_with_two_effects_names_both_and_what_it_saw() -> None:
    both = channel_rules("{name: tight, when: {channel.id: tiktok_shop}, hold_back: {units: 3}, cap: 7}")

    rule = ask(rules(both, ANYWHERE), world([DC], [level("MUG", "dc-north", 30)])).fired[0]

    assert rule.effect == "held back 3 units, capped at 7 units"
    assert rule.evidence is not None
    assert rule.evidence.facts() == (("channel.id", "tiktok_shop"),)


def test_a_fast_mover_that_was_counted_this_moment_holds_back_nothing() -> None:
    fast = [Product("MUG", velocity_per_day=864_000)]
    any_age = FLOOR.replace(", stock.age_minutes: {more_than: 15}", "").replace("minimum: 1", "minimum: 0")

    availability = ask(rules(any_age, ANYWHERE), world([DC], [level("MUG", "dc-north", 20, age_minutes=0)], fast))

    assert availability.sellable == 20


def test_a_product_that_was_never_stocked_has_nothing_sellable() -> None:
    availability = ask(rules(FLOOR, ANYWHERE), world([DC], []))

    assert (availability.sellable, availability.total_available, availability.locations) == (0, 0, ())


@pytest.mark.parametrize("missing", ["channel", "location", "stock"])
def test_a_location_is_assessed_for_a_channel_with_a_stock_level(missing: str) -> None:
    without: dict[str, Any] = {missing: None}
    whole = Context(NOW, TIKTOK, None, None, store("a"), stock=level("MUG", "a", 1))

    with pytest.raises(ValueError, match=r"^the context needs a channel, a location and a stock level$"):
        assess_location(rules(policy()), replace(whole, **without))
