"""Units that one order may use: what the buffers saved for it, and why a location supplies nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from policies.decisions.eligibility import WholeOrder
from policies.decisions.routing import route
from policies.domain.model import Commitment, Destination, OrderFacts, Outcome
from policies.domain.placement import Placement
from policies.explanation import DropReason
from tests.policies.decisions.test_routing import (
    FLOOR,
    LOCATIONS,
    TRUST,
    WHOLE,
    decide,
    reasons,
    shipped,
    short,
    stocked,
)
from tests.policies.small_retailer import (
    ANYWHERE,
    NOW,
    TIKTOK,
    level,
    order,
    policy,
    rules,
    sold,
    store,
    warehouse,
    world,
)


def test_all_units_are_saved_by_a_buffer_that_exceeds_the_stock() -> None:
    waived = decide(rules(WHOLE, policy(sold_may_use="[buffer]")), stocked(oslo=4), sold({"MUG": 4}))
    limited = decide(rules(WHOLE, ANYWHERE), stocked(oslo=4), sold({"MUG": 4}))

    assert (waived.outcome, waived.buffer_saved) == (Outcome.ALLOCATED, {"MUG": 4})
    assert (limited.plan, short(limited)) == ((), [("1", 4, "held_by_buffer")])


def test_the_buffer_of_the_chosen_store_saves_units_whatever_the_other_stores_have() -> None:
    request = sold({"MUG": 4}, method="pickup", pickup_location_id="bergen")

    decision = decide(rules(FLOOR, WHOLE, policy(sold_may_use="[buffer]")), stocked(oslo=90, bergen=4), request)

    assert (shipped(decision), decision.buffer_saved) == ([("bergen", {"1": 4})], {"MUG": 2})


def test_what_a_percentage_saves_is_of_the_stock_that_the_order_may_use() -> None:
    half = "kind: buffer\nname: half\nscope: channel\nrules:\n  - {name: half, hold_back: {percent: 50}}\n"
    doubtful = [level("MUG", "oslo", 4), level("MUG", "bergen", 6, count_confidence=0.1)]
    may_use_all = rules(half, TRUST, policy(sold_may_use="[buffer, blocked]"))

    decision = decide(may_use_all, world(LOCATIONS, doubtful), sold({"MUG": 10}))

    assert (decision.outcome, decision.buffer_saved) == (Outcome.ALLOCATED, {"MUG": 5})


def test_a_closed_location_without_stock_is_dropped_because_it_is_closed() -> None:
    snapshot = world([store("gone", status="closed"), store("open")], [level("MUG", "open", 1)])

    assert reasons(decide(rules(ANYWHERE), snapshot, order({"MUG": 1}))) == {"gone": DropReason.CLOSED}


def test_a_location_that_rules_keep_from_a_product_is_dropped_with_the_rule_and_what_it_saw() -> None:
    snapshot = world(LOCATIONS, [level("MUG", "oslo", 2), level("MUG", "bergen", 9, count_confidence=0.5)])

    blocked, held_back = decide(rules(FLOOR, TRUST, ANYWHERE), snapshot, order({"MUG": 1})).dropped[:2]

    assert (blocked.location_id, blocked.sku, blocked.rule) == ("bergen", "MUG", "counts-not-trusted")
    assert (str(blocked.source), blocked.evidence and blocked.evidence.facts()) == (
        "rules/file-1.yaml:5",
        (("stock.count_confidence", "0.5"),),
    )
    assert (held_back.location_id, held_back.sku, held_back.rule) == ("oslo", "MUG", "two-on-the-shop-floor")
    assert (str(held_back.source), held_back.evidence and held_back.evidence.facts()) == (
        "rules/file-0.yaml:6",
        (("location.type", "store"),),
    )


def test_a_location_whose_units_the_order_keeps_all_is_dropped_for_that_product_only() -> None:
    snapshot = world(LOCATIONS, [level("MUG", "oslo", 3, allocated=3), level("CAP", "oslo", 1)])
    whole = WholeOrder(OrderFacts(unit_count=5), {("MUG", "oslo"): 3})

    decision = route(rules(ANYWHERE), snapshot, TIKTOK, sold({"MUG": 1, "CAP": 1}), whole=whole)

    dropped = [(item.location_id, item.sku, item.reason) for item in decision.dropped if item.location_id == "oslo"]
    assert dropped == [("oslo", "MUG", DropReason.NO_STOCK)]


def test_what_a_buffer_saved_for_a_restricted_line_does_not_count_where_the_line_may_not_ship_from() -> None:
    """Oslo keeps two mugs, of which the order uses two; Bergen has plenty, and only caps may come from there."""
    snapshot = world(LOCATIONS, [level("MUG", "oslo", 4), level("MUG", "tromso", 9), level("CAP", "tromso", 3)])
    mugs, caps = sold({"MUG": 4, "CAP": 1}).lines
    placed = (
        replace(mugs, placement=Placement(frozenset({"oslo"}))),
        replace(caps, placement=Placement(frozenset({"tromso"}))),
    )

    decision = decide(rules(FLOOR, policy(sold_may_use="[buffer]")), snapshot, replace(sold({"MUG": 1}), lines=placed))

    assert (decision.outcome, decision.buffer_saved) == (Outcome.ALLOCATED, {"MUG": 2})


@pytest.mark.parametrize(("in_time", "saved"), [(9, {}), (1, {"MUG": 1}), (0, {"MUG": 2})])
def test_only_locations_that_keep_the_dates_could_have_spared_the_buffer(in_time: int, saved: dict[str, int]) -> None:
    """Oslo ships four of its four mugs, although it keeps two. The warehouse is too late."""
    delivery = """
kind: delivery
rules:
  - {name: van, position: 1, when: {location.type: store}, service: van, transit_days: 1}
  - {name: post, position: 2, service: post, transit_days: 9}
"""
    keeps = FLOOR.replace("location.type: store", "location.id: oslo")
    places = [
        store("oslo", handling_minutes=0, priority=1),
        store("bergen", handling_minutes=0, priority=2),
        warehouse("dc", handling_minutes=0, priority=3),
    ]
    stock = [level("MUG", "oslo", 4), level("MUG", "bergen", in_time), level("MUG", "dc", 9)]
    request = sold({"MUG": 4}, destination=Destination("NO"), deliver_by=NOW.date() + timedelta(days=4))
    policy_set = rules(keeps, delivery, policy(rank="[priority]", must_meet="[deliver_by]", sold_may_use="[buffer]"))

    decision = decide(policy_set, world(places, stock), request)

    assert (shipped(decision), decision.buffer_saved) == ([("oslo", {"1": 4})], saved)


def test_units_that_an_order_keeps_count_against_a_cap_once() -> None:
    capped = "kind: buffer\nname: cap\nscope: channel\nrules:\n  - {name: five, cap: 5}\n"
    snapshot = world(LOCATIONS, [level("MUG", "oslo", 9, held=2)])
    whole = WholeOrder(OrderFacts(unit_count=11), {("MUG", "oslo"): 2})

    decision = route(rules(capped, ANYWHERE), snapshot, TIKTOK, order({"MUG": 9}), whole=whole)

    assert decision.units == {("MUG", "oslo"): 3}


def test_a_location_that_rejected_the_order_and_has_nothing_to_sell_covers_no_buffer() -> None:
    one = WHOLE.replace("units: 5", "units: 1")
    snapshot = world(LOCATIONS, [level("MUG", "oslo", 3), level("MUG", "bergen", 9, count_confidence=0.5)])
    request = replace(order({"MUG": 3}), commitment=Commitment.SOLD)

    decision = route(rules(one, TRUST, ANYWHERE), snapshot, TIKTOK, request, rejected_by=frozenset({("MUG", "bergen")}))

    assert decision.units == {("MUG", "oslo"): 2}
