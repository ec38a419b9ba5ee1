"""What a chosen store lacks of a pickup order: sent to the store, shipped to the shopper, or short."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.availability.tried_orders import TriedOrders
from policies.decisions.decision import Decision
from policies.decisions.pickup import largest_pickup, nearby_locations, pickup_offers
from policies.decisions.routing import route
from policies.domain.capacity import Capacity, CapacityFigures
from policies.domain.model import Commitment, Destination, Order, Outcome, StockLevel, World
from policies.policy_set import PolicySet
from tests.policies.decisions.test_routing_properties import orders, worlds
from tests.policies.decisions.test_withheld import FEEDING
from tests.policies.small_retailer import (
    BERGEN,
    OSLO,
    TIKTOK,
    TO_OSLO,
    TROMSO,
    level,
    order,
    rules,
    store,
    warehouse,
    world,
)

PLACES = (
    store("oslo", coordinates=OSLO, offers_pickup=True),
    store("tromso", coordinates=TROMSO),
    warehouse("bergen", coordinates=BERGEN),
)
SENDS = """
kind: routing
policies:
  - {name: collect, position: 1, applies_to: {order.method: pickup}, only: {location.offers_pickup: true},
     rank: [priority], max_shipments: 1, ship_to_store: true}
  - {name: others, position: 9, rank: [fewest_shipments, nearest]}
"""
SHIPS = SENDS.replace("ship_to_store", "ship_rest")
BOTH = SENDS.replace("ship_to_store: true", "ship_to_store: true, ship_rest: true").replace(
    "  - {name: others",
    "  - {name: to-stores, position: 2, applies_to: {order.method: transfer}, only: {location.type: warehouse},"
    " rank: [nearest]}\n  - {name: others",
)


def collected(units: dict[str, int], **more: Any) -> Order:
    return order(units, method="pickup", pickup_location_id="oslo", **more)


def planned(decision: Decision) -> list[tuple[str, str | None, dict[str, int]]]:
    return [(x.location_id, x.method, {line.sku: line.unit_count for line in x.lines}) for x in decision.plan]


def test_another_location_sends_to_the_store_what_it_lacks() -> None:
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 5), level("MUG", "tromso", 5)]

    decision = route(rules(SENDS), world(PLACES, stock), TIKTOK, collected({"MUG": 3}))

    assert planned(decision) == [("oslo", None, {"MUG": 1}), ("bergen", "transfer", {"MUG": 2})]
    assert (decision.outcome, decision.policy.name) == (Outcome.ALLOCATED, "collect")


def test_without_the_setting_what_the_store_lacks_is_short() -> None:
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 5)]

    without = rules(SENDS.replace("ship_to_store: true", "ship_to_store: false"))
    decision = route(without, world(PLACES, stock), TIKTOK, collected({"MUG": 3}))

    assert planned(decision) == [("oslo", None, {"MUG": 1})]
    assert [(x.sku, x.unit_count) for x in decision.shortages] == [("MUG", 2)]


def test_what_a_store_lacks_is_shipped_to_the_shopper_who_has_an_address() -> None:
    stock = [level("MUG", "oslo", 1), level("CAP", "tromso", 5)]
    snapshot, cart = world(PLACES, stock), {"MUG": 1, "CAP": 2}

    shipped = route(rules(SHIPS), snapshot, TIKTOK, collected(cart, destination=TO_OSLO))
    nowhere = route(rules(SHIPS), snapshot, TIKTOK, collected(cart))

    assert planned(shipped) == [("oslo", None, {"MUG": 1}), ("tromso", "ship", {"CAP": 2})]
    assert planned(nowhere) == [("oslo", None, {"MUG": 1})]


def test_only_what_cannot_be_sent_to_the_store_is_shipped() -> None:
    stock = [level("MUG", "bergen", 2), level("MUG", "tromso", 5)]

    decision = route(rules(BOTH), world(PLACES, stock), TIKTOK, collected({"MUG": 3}, destination=TO_OSLO))

    assert planned(decision) == [("bergen", "transfer", {"MUG": 2}), ("tromso", "ship", {"MUG": 1})]


def test_nothing_is_sent_to_a_store_that_the_policy_drops() -> None:
    places = (replace(PLACES[0], offers_pickup=False), *PLACES[1:])

    decision = route(rules(SENDS), world(places, [level("MUG", "bergen", 5)]), TIKTOK, collected({"MUG": 1}))

    assert decision.outcome is Outcome.UNFILLABLE


def test_an_order_that_ships_complete_counts_what_is_sent_to_the_store() -> None:
    complete = SENDS.replace("ship_to_store: true", "ship_to_store: true, ship_complete: true")
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 2)]

    whole = route(rules(complete), world(PLACES, stock), TIKTOK, collected({"MUG": 3}))
    short = route(rules(complete), world(PLACES, stock), TIKTOK, collected({"MUG": 4}))

    assert len(whole.plan) == 2
    assert not short.plan


def test_the_next_policy_is_tried_only_if_nothing_can_be_sent() -> None:
    passed_on = SENDS.replace("ship_to_store: true", "ship_to_store: true, otherwise: next")
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 2)]

    sent = route(rules(passed_on), world(PLACES, stock), TIKTOK, collected({"MUG": 3}))
    short = route(rules(passed_on), world(PLACES, stock), TIKTOK, collected({"MUG": 4}))

    assert (sent.policy.name, short.policy.name) == ("collect", "others")


def test_a_location_that_is_reserved_by_the_order_already_can_send_again() -> None:
    stock = [level("MUG", "oslo", 1, held=1), level("MUG", "bergen", 2, held=2)]
    own_units = {("MUG", "oslo"): 1, ("MUG", "bergen"): 2}

    decision = route(rules(SENDS), world(PLACES, stock), TIKTOK, collected({"MUG": 3}), own_units)

    assert planned(decision) == [("oslo", None, {"MUG": 1}), ("bergen", "transfer", {"MUG": 2})]


@pytest.mark.parametrize(("text", "has_whole_cart"), [(SENDS, True), (SHIPS, False)])
def test_a_cart_is_picked_up_where_the_rest_of_it_is_sent(text: str, has_whole_cart: bool) -> None:
    snapshot = world(PLACES, [level("MUG", "oslo", 1), level("MUG", "bergen", 2)])
    cart = order({"MUG": 3}, destination=Destination(country="NO", coordinates=OSLO))

    (offer,) = pickup_offers(rules(text), snapshot, TIKTOK, cart, nearby_locations(snapshot, TIKTOK, OSLO, 50))

    assert offer.has_whole_cart is has_whole_cart


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FEEDING), worlds(), orders(), st.data())
def test_no_unit_is_placed_twice_and_none_is_lost(
    policy_set: PolicySet, snapshot: World, cart: Order, data: st.DataObject
) -> None:
    cart = replace(cart, method="pickup", pickup_location_id=data.draw(st.sampled_from(sorted(snapshot.locations))))
    decision = route(policy_set, snapshot, TIKTOK, cart)

    placed: Counter[str] = Counter()
    for shipment in decision.plan:
        for line in shipment.lines:
            placed[line.line_id] += line.unit_count
    for short in decision.shortages:
        placed[short.line_id] += short.unit_count
    assert placed == {line.line_id: line.unit_count for line in cart.lines}
    for key, count in decision.units.items():
        assert count <= snapshot.levels[key].available
    for shipment in decision.plan:
        assert (shipment.method is None) == (shipment.location_id == cart.pickup_location_id)
    if cart.commitment is Commitment.SOLD and not decision.shortages:
        assert decision.outcome is Outcome.ALLOCATED


def largest(text: str, stock: list[StockLevel], **more: Any) -> int:
    """The most mugs of which an order that is picked up in Oslo gets all."""
    tried = TriedOrders(
        rules(text), world(PLACES, stock), TIKTOK, "MUG", method="pickup", pickup_location_id="oslo", **more
    )
    found = largest_pickup(tried)
    assert not found or tried.filled(found) == found
    assert tried.filled(found + 1) <= found
    return found


def test_the_largest_pickup_order_counts_what_others_send_to_the_store_or_ship() -> None:
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 5), level("MUG", "tromso", 2)]

    assert largest(SENDS.replace("ship_to_store: true", "ship_to_store: false"), stock) == 1
    assert largest(SENDS, stock) == 8
    assert largest(BOTH, stock, destination=TO_OSLO) == 8
    assert largest(BOTH, stock) == 6
    # Without a destination nobody can ship, so nothing but what is there.
    assert largest(SHIPS, stock) == 1


def test_the_largest_pickup_order_of_pairs_has_whole_ones() -> None:
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 5), level("MUG", "tromso", 2)]

    assert largest(SENDS, stock, units_each=2) == 3


def test_where_a_store_hands_over_whole_orders_only_the_largest_one_is_still_found() -> None:
    whole = SENDS.replace("ship_to_store: true", "ship_to_store: true, ship_complete: true")
    limited = whole.replace("rank: [fewest_shipments, nearest]", "rank: [nearest], max_shipments: 2")
    stock = [level("MUG", "oslo", 1), level("MUG", "bergen", 5), level("MUG", "tromso", 2)]

    assert largest(limited, stock) == 6


def test_a_location_that_sends_to_a_store_and_ships_takes_no_more_than_it_can_handle() -> None:
    """Its three units of the day go to the store, so that it ships none to the shopper."""
    places = (PLACES[0], replace(PLACES[2], capacity=Capacity(units_per_day=3, days_ahead=0)))
    snapshot = replace(world(places, [level("MUG", "bergen", 9)]), capacity=CapacityFigures())

    decision = route(rules(BOTH), snapshot, TIKTOK, collected({"MUG": 5}, destination=TO_OSLO))

    assert planned(decision) == [("bergen", "transfer", {"MUG": 3})]
    assert [(x.unit_count, x.cause) for x in decision.shortages] == [(2, "no_capacity")]
