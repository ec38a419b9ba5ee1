"""Which locations fulfill an order, which units are short, and the reasons in the decision."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from policies.decisions.decision import Decision, ShipmentLine
from policies.decisions.eligibility import WholeOrder
from policies.decisions.routing import route
from policies.decisions.shortages import Shortage, ShortageKind
from policies.domain.model import Channel, Order, OrderFacts, OrderLine, Outcome, World
from policies.explanation import DropReason
from policies.policy_set import PolicySet
from tests.policies.small_retailer import (
    ANYWHERE,
    BERGEN,
    OSLO,
    TIKTOK,
    TO_OSLO,
    TROMSO,
    level,
    order,
    policy,
    rules,
    sold,
    store,
    warehouse,
    world,
)

FLOOR = """
kind: buffer
name: store-floor
scope: location
rules:
  - {name: two-on-the-shop-floor, when: {location.type: store}, hold_back: {units: 2}}
"""
TRUST = """
kind: exposure
name: trusted-stock
rules:
  - {name: counts-not-trusted, when: {stock.count_confidence: {less_than: 0.9}}, block: counts are not trusted yet}
"""
WHOLE = "kind: buffer\nname: whole\nscope: channel\nrules:\n  - {name: five-in-all, hold_back: {units: 5}}\n"

OSLO_STORE = store("oslo", coordinates=OSLO, offers_pickup=True)
BERGEN_STORE = store("bergen", coordinates=BERGEN, offers_pickup=True)
TROMSO_DC = warehouse("tromso", coordinates=TROMSO)
NOWHERE = store("nowhere")
LOCATIONS = [OSLO_STORE, BERGEN_STORE, TROMSO_DC]


def decide(
    policy_set: PolicySet, snapshot: World, request: Order, own_units: Mapping[tuple[str, str], int] | None = None
) -> Decision:
    return route(policy_set, snapshot, TIKTOK, request, own_units or {})


def shipped(decision: Decision) -> list[tuple[str, dict[str, int]]]:
    return [(item.location_id, {line.line_id: line.unit_count for line in item.lines}) for item in decision.plan]


def stocked(**mugs: int) -> World:
    return world(LOCATIONS, [level("MUG", key, count) for key, count in mugs.items()])


def reasons(decision: Decision) -> dict[str, DropReason]:
    return {dropped.location_id: dropped.reason for dropped in decision.dropped}


def short(decision: Decision) -> list[tuple[str, int, str]]:
    return [(item.line_id, item.unit_count, item.kind.value) for item in decision.shortages]


def test_the_nearest_store_that_has_the_mug_ships_it() -> None:
    decision = decide(rules(ANYWHERE), stocked(oslo=1, bergen=1, tromso=1), order({"MUG": 1}, destination=TO_OSLO))

    assert shipped(decision) == [("oslo", {"1": 1})]
    assert decision.outcome is Outcome.ALLOCATED
    assert decision.plan[0].distance_km == 0


def test_fewest_shipments_beat_the_nearest_stores() -> None:
    decision = decide(rules(ANYWHERE), stocked(oslo=1, bergen=1, tromso=2), order({"MUG": 2}, destination=TO_OSLO))

    assert shipped(decision) == [("tromso", {"1": 2})]


def test_the_best_ranked_location_of_a_split_ships_all_it_has() -> None:
    decision = decide(rules(ANYWHERE), stocked(oslo=2, bergen=2), order({"MUG": 3}, destination=TO_OSLO))

    assert shipped(decision) == [("oslo", {"1": 2}), ("bergen", {"1": 1})]


def test_lines_of_one_product_get_its_units_in_line_order_from_one_location_after_the_other() -> None:
    cart = order([("MUG", 1), ("MUG", 3), ("MUG", 1)], destination=TO_OSLO)
    decision = decide(rules(ANYWHERE), stocked(oslo=2, bergen=2), cart)

    assert shipped(decision) == [("oslo", {"1": 1, "2": 1}), ("bergen", {"2": 2})]
    assert short(decision) == [("3", 1, "oversell")]


def test_distances_within_one_band_are_equal() -> None:
    routing = policy(rank="[{nearest: {band_km: 500}}, deepest_stock]")

    decision = decide(rules(routing), stocked(oslo=1, bergen=9, tromso=99), order({"MUG": 1}, destination=TO_OSLO))

    assert shipped(decision) == [("bergen", {"1": 1})]


def test_a_location_without_coordinates_comes_last() -> None:
    snapshot = world([NOWHERE, TROMSO_DC], [level("MUG", "nowhere", 1), level("MUG", "tromso", 1)])

    assert (
        shipped(decide(rules(policy(rank="[nearest]")), snapshot, order({"MUG": 1}, destination=TO_OSLO)))[0][0]
        == "tromso"
    )


def test_without_a_destination_distance_is_a_tie() -> None:
    snapshot = world([NOWHERE, TROMSO_DC], [level("MUG", "nowhere", 1), level("MUG", "tromso", 1)])

    decision = decide(rules(policy(rank="[nearest]")), snapshot, order({"MUG": 1}))

    assert shipped(decision)[0][0] == "nowhere"
    assert decision.plan[0].distance_km is None


def test_lower_priority_numbers_come_first_and_none_last() -> None:
    locations = [store("a"), store("b", priority=2), store("c", priority=1)]
    snapshot = world(locations, [level("MUG", key, 1) for key in "abc"])

    decision = decide(rules(policy(rank="[priority]")), snapshot, order({"MUG": 3}))

    assert [key for key, _ in shipped(decision)] == ["c", "b", "a"]


def test_a_preferred_warehouse_comes_before_a_nearer_store() -> None:
    routing = policy(rank="[{prefer: {when: {location.type: warehouse}}}, nearest]")

    assert (
        shipped(decide(rules(routing), stocked(oslo=1, tromso=1), order({"MUG": 1}, destination=TO_OSLO)))[0][0]
        == "tromso"
    )


def test_the_deepest_stock_is_counted_before_buffers() -> None:
    decision = decide(rules(FLOOR, policy(rank="[deepest_stock]")), stocked(oslo=5, tromso=4), order({"MUG": 1}))

    assert shipped(decision)[0][0] == "oslo"


def test_two_lines_of_one_product_share_its_units() -> None:
    decision = decide(rules(ANYWHERE), stocked(oslo=3), sold([("MUG", 2), ("MUG", 2)]))

    assert shipped(decision) == [("oslo", {"1": 2, "2": 1})]
    assert short(decision) == [("2", 1, "oversell")]
    assert decision.outcome is Outcome.PARTLY_ALLOCATED


def test_units_beyond_the_shipment_limit_are_unfillable_and_missing_units_oversold() -> None:
    decision = decide(
        rules(policy(max_shipments=2)), stocked(oslo=1, bergen=2, tromso=4), sold({"MUG": 10}, destination=TO_OSLO)
    )

    assert shipped(decision) == [("bergen", {"1": 2}), ("tromso", {"1": 4})]
    assert decision.shortages == (
        Shortage("1", "MUG", 1, ShortageKind.UNFILLABLE),
        Shortage("1", "MUG", 3, ShortageKind.OVERSELL),
    )


def test_a_hold_never_uses_the_shop_floor_buffer() -> None:
    decision = decide(rules(FLOOR, ANYWHERE), stocked(oslo=3, bergen=2), order({"MUG": 3}))

    assert shipped(decision) == [("oslo", {"1": 1})]
    assert reasons(decision)["bergen"] is DropReason.HELD_BACK
    assert decision.outcome is Outcome.PARTLY_ALLOCATED


def test_a_hold_that_gets_nothing_is_unfillable() -> None:
    decision = decide(rules(FLOOR, ANYWHERE), stocked(oslo=2), order({"MUG": 1}))

    assert (decision.outcome, decision.plan) == (Outcome.UNFILLABLE, ())


def test_a_sold_order_that_gets_nothing_waits_for_a_person() -> None:
    assert decide(rules(ANYWHERE), stocked(oslo=0), sold({"MUG": 1})).outcome is Outcome.NEEDS_REVIEW


def test_a_sold_order_may_use_the_buffer_where_the_policy_says_so() -> None:
    with_buffer = rules(FLOOR, policy(sold_may_use="[buffer]"))

    assert decide(rules(FLOOR, ANYWHERE), stocked(oslo=2), sold({"MUG": 1})).plan == ()
    decision = decide(with_buffer, stocked(oslo=3), sold({"MUG": 3}))
    assert shipped(decision) == [("oslo", {"1": 3})]
    assert decision.buffer_saved == {"MUG": 2}
    assert decide(with_buffer, stocked(oslo=3), order({"MUG": 3})).plan[0].lines == (ShipmentLine("1", "MUG", 1),)


def test_a_buffer_saves_nothing_where_a_hold_could_have_had_as_much() -> None:
    decision = decide(rules(FLOOR, policy(sold_may_use="[buffer]")), stocked(oslo=1, bergen=5), sold({"MUG": 3}))

    assert decision.buffer_saved == {}


def test_the_channel_buffer_is_waived_for_a_sold_order_and_counted_as_saved() -> None:
    decision = decide(rules(WHOLE, policy(sold_may_use="[buffer]")), stocked(oslo=4, bergen=3), sold({"MUG": 4}))

    assert decision.outcome is Outcome.ALLOCATED
    assert decision.buffer_saved == {"MUG": 2}


def test_the_channel_buffer_limits_all_locations_together() -> None:
    for request in (order({"MUG": 9}), sold({"MUG": 9})):
        decision = decide(rules(WHOLE, ANYWHERE), stocked(oslo=4, bergen=4), request)

        assert sum(decision.units.values()) == 3


def test_cut_off_and_cap_limit_holds_and_never_a_sold_order() -> None:
    entries = ("publish_zero_at_or_below: 4", "cap: 3")
    for entry, promised in zip(entries, (0, 3), strict=True):
        whole = f"kind: buffer\nname: whole\nscope: channel\nrules:\n  - {{name: limit, {entry}}}\n"

        assert sum(decide(rules(whole, ANYWHERE), stocked(oslo=4), order({"MUG": 4})).units.values()) == promised
        assert sum(decide(rules(whole, ANYWHERE), stocked(oslo=4), sold({"MUG": 4})).units.values()) == 4


def test_blocked_stock_is_for_sold_orders_only_where_the_policy_says_so() -> None:
    snapshot = world(LOCATIONS, [level("MUG", "oslo", 4, count_confidence=0.1)])
    lenient = rules(TRUST, policy(sold_may_use="[blocked]"))

    strict = decide(rules(TRUST, ANYWHERE), snapshot, sold({"MUG": 1}))
    assert (strict.dropped[1].reason, strict.dropped[1].rule) == (DropReason.BLOCKED, "counts-not-trusted")
    assert decide(lenient, snapshot, sold({"MUG": 1})).outcome is Outcome.ALLOCATED
    assert decide(lenient, snapshot, order({"MUG": 1})).outcome is Outcome.UNFILLABLE


def test_units_promised_to_the_order_stay_usable_for_it_despite_the_rules() -> None:
    snapshot = world(LOCATIONS, [level("MUG", "oslo", 3, held=2)])

    assert decide(rules(FLOOR, ANYWHERE), snapshot, order({"MUG": 2})).plan == ()
    again = decide(rules(FLOOR, ANYWHERE), snapshot, order({"MUG": 2}), own_units={("MUG", "oslo"): 2})
    assert shipped(again) == [("oslo", {"1": 2})]


def test_own_units_that_are_no_longer_on_hand_are_not_promised_again() -> None:
    snapshot = world(LOCATIONS, [level("MUG", "oslo", 1, held=2)])

    assert shipped(decide(rules(ANYWHERE), snapshot, order({"MUG": 2}), own_units={("MUG", "oslo"): 2})) == [
        ("oslo", {"1": 1})
    ]


def test_a_pickup_order_uses_the_chosen_store_and_drops_the_others() -> None:
    request = order({"MUG": 2}, method="pickup", pickup_location_id="bergen")

    decision = decide(rules(ANYWHERE), stocked(oslo=9, bergen=1), request)

    assert shipped(decision) == [("bergen", {"1": 1})]
    assert reasons(decision) == {"oslo": DropReason.NOT_CHOSEN, "tromso": DropReason.NOT_CHOSEN}


def test_a_channel_buffer_does_not_limit_a_chosen_store_while_others_cover_it() -> None:
    request = order({"MUG": 2}, method="pickup", pickup_location_id="bergen")

    assert decide(rules(WHOLE, ANYWHERE), stocked(oslo=9, bergen=2), request).outcome is Outcome.ALLOCATED
    assert sum(decide(rules(WHOLE, ANYWHERE), stocked(oslo=4, bergen=2), request).units.values()) == 1


def test_a_pickup_order_without_a_chosen_store_is_routed_by_rank() -> None:
    routing = policy(only="{location.offers_pickup: true}", rank="[chosen_by_shopper, deepest_stock]")

    decision = decide(rules(routing), stocked(oslo=1, bergen=2, tromso=9), order({"MUG": 1}, method="pickup"))

    assert shipped(decision)[0][0] == "bergen"
    assert reasons(decision) == {"tromso": DropReason.NOT_ELIGIBLE}


def test_a_location_with_more_promises_than_stock_limits_no_order_at_the_others() -> None:
    tenth = "kind: buffer\nname: whole\nscope: channel\nrules:\n  - {name: tenth, hold_back: {percent: 10}}\n"
    owing = world(LOCATIONS, [level("MUG", "oslo", 2, allocated=12), level("MUG", "bergen", 20)])

    for ask in (order({"MUG": 20}), sold({"MUG": 20})):
        decision = decide(rules(tenth, ANYWHERE), owing, ask)
        assert shipped(decision) == [("bergen", {"1": 18})]
        assert reasons(decision)["oslo"] is DropReason.NO_STOCK


def test_every_dropped_location_has_a_reason() -> None:
    routing = policy(exclude="[{name: stocktake, when: {location.status: stocktake}}]")
    locations = [store("gone", status="closed"), store("busy", status="stocktake"), store("empty"), store("open")]
    snapshot = world(locations, [level("MUG", key, 1) for key in ("gone", "busy", "open")])

    decision = decide(rules(routing), snapshot, order({"MUG": 1}))

    assert reasons(decision) == {
        "gone": DropReason.CLOSED,
        "busy": DropReason.EXCLUDED,
        "empty": DropReason.NO_STOCK,
    }
    assert [rule.name for rule in decision.fired] == ["stocktake"]


def test_a_location_of_another_channel_is_no_candidate() -> None:
    amazon = Channel("amazon", "marketplace", location_ids=frozenset({"bergen"}))

    decision = route(rules(ANYWHERE), stocked(oslo=9), amazon, order({"MUG": 1}))

    assert (decision.plan, list(reasons(decision))) == ((), ["bergen"])


def test_a_ship_complete_policy_promises_the_whole_order_or_nothing() -> None:
    decision = decide(rules(policy(ship_complete="true")), stocked(oslo=3), order({"MUG": 4}))

    assert (decision.plan, decision.outcome) == ((), Outcome.UNFILLABLE)
    assert short(decision) == [("1", 3, "unfillable"), ("1", 1, "oversell")]


def test_an_order_worth_too_little_is_not_split() -> None:
    def worth(price: str | None) -> Order:
        line = OrderLine("1", "MUG", 3, None if price is None else Decimal(price))
        return Order("tiktok_shop", "TT-1", (line,))

    policy_set, snapshot = rules(policy(min_split_value="40.10")), stocked(oslo=2, bergen=2)

    assert len(decide(policy_set, snapshot, worth("13.37")).plan) == 2
    assert len(decide(policy_set, snapshot, worth("13.36")).plan) == 1
    assert len(decide(policy_set, snapshot, worth(None)).plan) == 1


def two_policies(**first: Any) -> str:
    entries = {"name": "warehouses", "position": 10, "only": "{location.type: warehouse}", "rank": "[priority]"} | first
    text = ", ".join(f"{key}: {value}" for key, value in entries.items())
    return f"kind: routing\npolicies:\n  - {{{text}}}\n  - {{name: stores, position: 20, rank: [nearest]}}\n"


def test_the_lowest_position_that_applies_decides() -> None:
    decision = decide(rules(two_policies()), stocked(oslo=1, tromso=1), order({"MUG": 1}, destination=TO_OSLO))

    assert (decision.policy.name, shipped(decision)[0][0]) == ("warehouses", "tromso")


def test_an_order_that_a_policy_cannot_fill_goes_to_the_next_if_it_says_so() -> None:
    snapshot = stocked(oslo=2, tromso=1)

    passed_on = decide(rules(two_policies(otherwise="next")), snapshot, order({"MUG": 2}, destination=TO_OSLO))
    stopped = decide(rules(two_policies(otherwise="exception")), snapshot, order({"MUG": 2}, destination=TO_OSLO))

    assert (passed_on.policy.name, passed_on.tried, passed_on.outcome) == ("stores", ("warehouses",), Outcome.ALLOCATED)
    assert (stopped.policy.name, stopped.tried, stopped.outcome) == ("warehouses", (), Outcome.PARTLY_ALLOCATED)


def test_an_expensive_split_order_needs_review_and_keeps_its_stock() -> None:
    review = "[{name: high-value-split, when: {order.value: {at_least: 1000}, plan.shipment_count: {more_than: 1}}}]"
    policy_set = rules(policy(review=review))

    for request in (order, sold):
        decision = decide(policy_set, stocked(oslo=1, bergen=1), request({"MUG": 2}, stated_value=Decimal(1000)))

        assert (decision.outcome, decision.needs_review) == (Outcome.NEEDS_REVIEW, True)
        assert sum(decision.units.values()) == 2
        assert [rule.name for rule in decision.reviews] == ["high-value-split"]
    assert not decide(policy_set, stocked(oslo=2), order({"MUG": 2}, stated_value=Decimal(1000))).needs_review


def test_the_distance_of_a_plan_is_the_sum_of_its_shipments() -> None:
    policy_set = rules(policy(review="[{name: far, when: {plan.distance_km: {more_than: 1400}}}]"))
    request = order({"MUG": 2}, destination=TO_OSLO)

    assert decide(policy_set, stocked(bergen=1, tromso=1), request).needs_review
    assert not decide(policy_set, stocked(oslo=1, tromso=1), request).needs_review


def test_a_policy_that_could_also_supply_what_the_order_keeps_is_not_passed_over() -> None:
    """Four units of seven are short: the order is passed on only where the policy could not supply all seven."""
    policy_set = rules(two_policies(otherwise="next"))
    kept_here = WholeOrder(OrderFacts(unit_count=7), {("MUG", "tromso"): 3})
    kept_elsewhere = WholeOrder(OrderFacts(unit_count=7), {("MUG", "oslo"): 3})
    here = world(LOCATIONS, [level("MUG", "tromso", 7, allocated=3), level("MUG", "oslo", 9)])
    elsewhere = world(LOCATIONS, [level("MUG", "tromso", 6), level("MUG", "oslo", 9, allocated=3)])

    assert route(policy_set, here, TIKTOK, sold({"MUG": 4}), whole=kept_here).policy.name == "warehouses"
    assert route(policy_set, elsewhere, TIKTOK, sold({"MUG": 4}), whole=kept_elsewhere).policy.name == "stores"
