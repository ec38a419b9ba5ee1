"""The decision of a pickup order tells what its store does and what other locations send to it or to the shopper."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import date
from random import Random

import pytest

from policies.decisions.routing import route
from policies.domain.capacity import Capacity, CapacityFigures, CapacityPeriod, CapacityUse
from policies.domain.model import Commitment, Outcome
from policies.explanation import DropReason
from tests.policies.decisions.test_rest_of_pickup import BOTH, PLACES, SENDS, SHIPS, collected, planned
from tests.policies.small_retailer import ANYWHERE, TIKTOK, TO_OSLO, level, order, rules, warehouse, world

BUFFERS = """
kind: buffer
name: floor
scope: location
combine: sum
rules:
  - {name: shelf, when: {location.type: store}, hold_back: {units: 1}}
  - {name: racks, when: {location.type: warehouse}, hold_back: {units: 3}}
"""


def test_the_buffers_of_the_store_and_of_those_that_send_to_it_are_named() -> None:
    stock = [level("MUG", "oslo", 2), level("MUG", "bergen", 5)]

    decision = route(rules(SENDS, BUFFERS), world(PLACES, stock), TIKTOK, collected({"MUG": 3}))

    assert planned(decision) == [("oslo", None, {"MUG": 1}), ("bergen", "transfer", {"MUG": 2})]
    assert [rule.name for rule in decision.fired] == ["shelf", "racks"]


def test_units_that_only_buffers_of_the_store_and_of_others_had_are_counted_together() -> None:
    may_use = SENDS.replace("rank:", "sold_may_use: [buffer], rank:")
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 4)]
    cart = replace(collected({"MUG": 4}), commitment=Commitment.SOLD)

    decision = route(rules(may_use, BUFFERS), world(PLACES, stock), TIKTOK, cart)

    assert planned(decision) == [("oslo", None, {"MUG": 1}), ("bergen", "transfer", {"MUG": 3})]
    assert decision.buffer_saved == {"MUG": 3}


def test_a_location_that_can_supply_neither_the_store_nor_the_shopper_is_told_once() -> None:
    places = [*PLACES, warehouse("closed", status="closed")]
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 5), level("MUG", "closed", 5)]

    decision = route(rules(SENDS), world(places, stock), TIKTOK, collected({"MUG": 3}))

    assert Counter((x.location_id, x.reason) for x in decision.dropped) == {
        ("tromso", DropReason.NO_STOCK): 1,
        ("closed", DropReason.CLOSED): 1,
    }


def test_a_plan_is_reviewed_for_what_the_store_and_the_others_do_together() -> None:
    reviewed = SENDS.replace(
        "max_shipments: 1", "max_shipments: 1, review: [{name: split, when: {plan.shipment_count: {at_least: 2}}}]"
    )
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 5)]

    both = route(rules(reviewed), world(PLACES, stock), TIKTOK, collected({"MUG": 2}))
    store_only = route(rules(reviewed), world(PLACES, stock), TIKTOK, collected({"MUG": 1}))

    assert ([rule.name for rule in both.reviews], both.outcome) == (["split"], Outcome.NEEDS_REVIEW)
    assert [rule.name for rule in both.fired] == ["split"]
    assert (store_only.reviews, store_only.outcome) == ((), Outcome.ALLOCATED)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_location_ships_to_the_shopper_only_what_its_day_has_left(taken: int) -> None:
    """Bergen handles three units a day; those of earlier orders and those that it sends to the store count."""
    places = (PLACES[0], replace(PLACES[2], capacity=Capacity(units_per_day=3, days_ahead=0)))
    today = CapacityFigures({CapacityPeriod("bergen", date(2026, 11, 27)): CapacityUse(1, taken)})
    snapshot = replace(world(places, [level("MUG", "bergen", 9)]), capacity=today)

    decision = route(rules(BOTH), snapshot, TIKTOK, collected({"MUG": 5}, destination=TO_OSLO))

    assert planned(decision) == [("bergen", "transfer", {"MUG": 3 - taken})]


def test_a_search_among_the_others_that_reaches_its_limit_is_told_with_the_store_counted_in() -> None:
    random = Random(1)
    skus = [f"SKU-{number}" for number in range(80)]
    others = [warehouse(f"dc-{number}") for number in range(60)]
    stock = [level(sku, place.id, 1) for sku in skus for place in others if random.random() < 0.1]
    snapshot = world([PLACES[0], *others], [*stock, level("MUG", "oslo", 1)])
    cart = dict.fromkeys(skus, 1)

    shipped = route(rules(ANYWHERE), snapshot, TIKTOK, order(cart))
    collected_there = route(rules(SENDS), snapshot, TIKTOK, collected(cart | {"MUG": 1}))

    assert not shipped.searched_exhaustively
    assert 0 < shipped.fewest_shipments < len(shipped.plan)
    assert not collected_there.searched_exhaustively
    assert collected_there.fewest_shipments == shipped.fewest_shipments + 1
    assert len(collected_there.plan) == len(shipped.plan) + 1


def test_a_search_that_compared_all_states_no_bound() -> None:
    stock = [level("MUG", "oslo", 1), level("MUG", "tromso", 5)]

    decision = route(rules(SHIPS), world(PLACES, stock), TIKTOK, collected({"MUG": 3}, destination=TO_OSLO))

    assert planned(decision) == [("oslo", None, {"MUG": 1}), ("tromso", "ship", {"MUG": 2})]
    assert (decision.searched_exhaustively, decision.fewest_shipments) == (True, 0)


@pytest.mark.parametrize("text", [BOTH, BOTH.replace("only: {location.type: warehouse},", "")])
def test_units_that_can_neither_be_sent_nor_shipped_are_short_once(text: str) -> None:
    trust = "kind: exposure\nname: trust\nrules:\n  - {name: no, when: {location.id: bergen}, block: not counted}\n"
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 2), level("MUG", "tromso", 3)]
    cart = replace(collected({"MUG": 9}, destination=TO_OSLO), commitment=Commitment.SOLD)

    decision = route(rules(text, trust), world(PLACES, stock), TIKTOK, cart)

    assert sum(decision.units.values()) == 4
    assert [(x.unit_count, x.kind.value) for x in decision.shortages] == [(2, "blocked_by_rule"), (3, "oversell")]


def test_units_of_a_full_location_are_short_once() -> None:
    """Of its nine mugs, Bergen handles three; the other six are there, and the last three of the order nowhere."""
    places = (PLACES[0], replace(PLACES[2], capacity=Capacity(units_per_day=3, days_ahead=0)))
    snapshot = replace(world(places, [level("MUG", "bergen", 9)]), capacity=CapacityFigures())
    cart = replace(collected({"MUG": 12}, destination=TO_OSLO), commitment=Commitment.SOLD)

    decision = route(rules(BOTH), snapshot, TIKTOK, cart)

    assert [(x.unit_count, x.kind.value, x.cause) for x in decision.shortages] == [
        (6, "unfillable", "no_capacity"),
        (3, "oversell", ""),
    ]
