"""What a chosen store lacks of a pickup order: sent to the store, shipped to the shopper, or short."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.availability.tried_orders import TriedOrders
from policies.decisions.decision import Decision
from policies.decisions.eligibility import RoutingQuestion, WholeOrder
from policies.decisions.pickup import largest_pickup, nearby_locations, pickup_offers
from policies.decisions.rest_of_pickup import RestOfPickup, kept_within, merged_shortages, rest_methods, rest_of_pickup
from policies.decisions.routing import route
from policies.decisions.shortages import Shortage, ShortageKind
from policies.domain.capacity import Capacity, CapacityFigures
from policies.domain.kits import Kit
from policies.domain.model import (
    SHIP,
    TRANSFER,
    Commitment,
    Destination,
    Order,
    OrderFacts,
    Outcome,
    StockLevel,
    World,
)
from policies.policy_set import PolicySet
from tests.policies.decisions.test_routing_properties import orders, worlds
from tests.policies.decisions.test_withheld import FEEDING
from tests.policies.small_retailer import (
    BERGEN,
    NOW,
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


COLLECTED = collected({"MUG": 3, "CAP": 2}, destination=TO_OSLO)
HOME = store("oslo", coordinates=BERGEN, country="NO", region="Vestland", offers_pickup=True)


def rest_of(method: str, order: Order = COLLECTED, **short: int) -> RestOfPickup | None:
    """What is left of an order of which the store keeps one mug and gives another and a cap; the lines are 1 and 2."""
    snapshot = world([HOME], [level("MUG", "oslo", 2), level("CAP", "oslo", 1)])
    question = RoutingQuestion(snapshot, TIKTOK, OrderFacts.of(order), kept_units={("MUG", "oslo"): 1})
    by_line = {key.removeprefix("line_"): count for key, count in short.items()}
    placed = {("MUG", "oslo"): 1, ("CAP", "oslo"): 1}
    return rest_of_pickup(question, order, placed, by_line, method, capacity=None)


def test_what_a_store_lacks_is_an_order_of_its_own_to_the_store_or_to_the_shopper() -> None:
    transfer, ship = rest_of(TRANSFER, line_1=1, line_2=2), rest_of(SHIP, line_1=1)

    assert transfer is not None
    assert ship is not None
    assert transfer.order.destination == Destination("NO", region="Vestland", coordinates=BERGEN)
    assert ship.order.destination == TO_OSLO
    assert [(x.line_id, x.unit_count) for x in transfer.order.lines] == [("1", 1), ("2", 2)]
    assert [(x.line_id, x.unit_count) for x in ship.order.lines] == [("1", 1)]
    for rest in (transfer, ship):
        assert (rest.order.method, rest.order.pickup_location_id) == (SHIP, None)
    assert (transfer.whole.facts.method, ship.whole.facts.method) == (TRANSFER, SHIP)


def test_the_store_keeps_what_it_gives_and_gives_no_more() -> None:
    rest = rest_of(TRANSFER, line_1=1)

    assert rest is not None
    assert rest.whole.kept_units == {("MUG", "oslo"): 2, ("CAP", "oslo"): 1}
    assert rest.rejected_by == {("MUG", "oslo")}
    assert rest.world.levels["MUG", "oslo"].available == 1


def test_nothing_is_left_of_an_order_that_the_store_fills_or_whose_store_is_unknown() -> None:
    assert rest_of(TRANSFER) is None
    assert rest_of(TRANSFER, replace(COLLECTED, pickup_location_id="gone"), line_1=1) is None
    assert rest_of(TRANSFER, replace(COLLECTED, pickup_location_id=None), line_1=1) is None


TWICE = order([("MUG", 3), ("MUG", 3)])
HELD = Shortage("1", "MUG", 2, ShortageKind.HELD_BY_BUFFER, ("floor",))
SPLIT = Shortage("1", "MUG", 3, ShortageKind.UNFILLABLE)
CAPS = Shortage("1", "CAP", 3, ShortageKind.UNFILLABLE)
OVERSOLD = Shortage("1", "MUG", 3, ShortageKind.OVERSELL)


@pytest.mark.parametrize(
    ("here", "elsewhere", "short", "expected"),
    [
        # The store's reason comes first, then that of the other locations, and only what is left is oversold.
        ([HELD], [SPLIT], (3, 0), [("1", 2, "held_by_buffer"), ("1", 1, "unfillable")]),
        ([HELD], [OVERSOLD], (3, 0), [("1", 2, "held_by_buffer"), ("1", 1, "oversell")]),
        # What explains no unit of its own line explains those of another line of the product.
        ([HELD], [SPLIT], (1, 3), [("1", 1, "held_by_buffer"), ("2", 1, "held_by_buffer"), ("2", 2, "unfillable")]),
        ([HELD], [SPLIT], (0, 3), [("2", 2, "held_by_buffer"), ("2", 1, "unfillable")]),
        ([HELD], [], (0, 3), [("2", 2, "held_by_buffer"), ("2", 1, "oversell")]),
        ([HELD], [], (2, 1), [("1", 2, "held_by_buffer"), ("2", 1, "oversell")]),
        ([CAPS], [], (0, 2), [("2", 2, "oversell")]),
        ([], [], (0, 0), []),
    ],
)
def test_each_unit_that_is_short_in_the_end_has_one_reason(
    here: list[Shortage], elsewhere: list[Shortage], short: tuple[int, int], expected: list[tuple[str, int, str]]
) -> None:
    by_line = {line_id: count for line_id, count in zip("12", short, strict=True) if count}

    found = merged_shortages(TWICE, here, elsewhere, by_line)

    assert [(x.line_id, x.unit_count, str(x.kind)) for x in found] == expected


@pytest.mark.parametrize(
    ("shortages", "there", "expected"),
    [
        ([HELD, SPLIT], {"MUG": 5}, [("MUG", 2, "held_by_buffer"), ("MUG", 3, "unfillable")]),
        ([HELD, SPLIT], {"MUG": 4}, [("MUG", 2, "held_by_buffer"), ("MUG", 2, "unfillable"), ("MUG", 1, "oversell")]),
        # What is oversold takes no unit that another shortage explains.
        ([OVERSOLD, HELD], {"MUG": 2}, [("MUG", 2, "held_by_buffer"), ("MUG", 3, "oversell")]),
        # Nobody has a cap.
        ([CAPS, CAPS], {"MUG": 5}, [("CAP", 6, "oversell")]),
    ],
)
def test_no_more_units_are_kept_from_an_order_than_there_are(
    shortages: list[Shortage], there: dict[str, int], expected: list[tuple[str, int, str]]
) -> None:
    lines = order([(shortages[0].sku, 6)])

    found = kept_within(lines, shortages, there)

    assert [(x.sku, x.unit_count, str(x.kind)) for x in found] == expected


def test_nothing_is_sent_for_a_pickup_order_whose_store_is_not_chosen_yet() -> None:
    chosen = collected({"MUG": 1}, destination=TO_OSLO)
    policy = route(rules(BOTH), world(PLACES, [level("MUG", "oslo", 1)]), TIKTOK, chosen).policy

    assert rest_methods(policy, chosen) == [TRANSFER, SHIP]
    assert not rest_methods(policy, replace(chosen, pickup_location_id=None))
    assert not rest_methods(policy, replace(chosen, method=SHIP))


BERGEN_KEEPS_ALL = """
kind: buffer
name: floor
scope: location
rules:
  - {name: all, when: {location.id: bergen}, hold_back: {units: 99}}
"""


def short_units(decision: Decision) -> list[tuple[int, str, str]]:
    return [(x.unit_count, str(x.kind), x.cause) for x in decision.shortages]


def test_what_a_location_neither_sends_nor_ships_is_short_for_its_rule_once() -> None:
    """Bergen keeps its two mugs, Oslo the one that the order has already; Tromso rejected the order."""
    stock = [level("MUG", "oslo", 1, allocated=1), level("MUG", "bergen", 2), level("MUG", "tromso", 2)]
    cart = collected({"MUG": 4}, destination=TO_OSLO, commitment=Commitment.SOLD)
    whole = WholeOrder(OrderFacts.of(cart), {("MUG", "oslo"): 1})

    decision = route(
        rules(BOTH, BERGEN_KEEPS_ALL),
        world(PLACES, stock),
        TIKTOK,
        cart,
        rejected_by=frozenset({("MUG", "tromso")}),
        whole=whole,
    )

    assert short_units(decision) == [(2, "held_by_buffer", ""), (2, "oversell", "")]


def test_what_a_location_neither_sends_nor_ships_in_time_is_short_for_that_once() -> None:
    in_time = BOTH.replace("rank: [nearest]}", "rank: [nearest], must_meet: [ship_by]}").replace(
        "rank: [fewest_shipments, nearest]}", "rank: [fewest_shipments, nearest], must_meet: [ship_by]}"
    )
    cart = collected({"MUG": 5}, destination=TO_OSLO, commitment=Commitment.SOLD, ship_by_time=NOW)

    decision = route(rules(in_time), world(PLACES, [level("MUG", "bergen", 2)]), TIKTOK, cart)

    assert short_units(decision) == [(2, "unfillable", "too_late"), (3, "oversell", "")]


def pairs(*stock: StockLevel) -> TriedOrders:
    """Orders of sets of two mugs and a cap that are picked up in Oslo."""
    kit = Kit("SET", {"MUG": 2, "CAP": 1})
    return TriedOrders(rules(SENDS), world(PLACES, stock), TIKTOK, "SET", kit, "pickup", pickup_location_id="oslo")


def test_a_kit_is_picked_up_as_often_as_the_store_has_all_its_components() -> None:
    assert largest_pickup(pairs(level("MUG", "oslo", 9), level("CAP", "oslo", 3), level("CAP", "bergen", 2))) == 3


def test_no_larger_order_of_kits_is_tried_than_there_are_components_for() -> None:
    """The store has lost more caps than it had."""
    tried = pairs(level("MUG", "oslo", 9), level("CAP", "oslo", 1, unavailable=2), level("CAP", "bergen", 2))

    assert largest_pickup(tried) == 0
    assert {size for size, _ in tried._filled} == {1, 2}
