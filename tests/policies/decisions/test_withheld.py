"""A sold order's missing units are told apart: not there, held back by a buffer, or blocked by a rule."""

from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.decision import Decision
from policies.decisions.eligibility import RoutingQuestion, WholeOrder, dropped_by_policy, policies_for
from policies.decisions.order_limits import choice_allows
from policies.decisions.rest_of_pickup import rest_methods
from policies.decisions.routing import route
from policies.decisions.shortages import ShortageKind
from policies.domain.model import TRANSFER, Commitment, Destination, Order, OrderFacts, World
from policies.domain.placement import Placement
from policies.policy_set import PolicySet
from tests.policies.decisions.test_routing_properties import (
    BUFFERS,
    TRUST as TRUST_STOCK,
    WHOLE,
    orders,
    policy_sets,
    worlds,
)
from tests.policies.small_retailer import ANYWHERE, TIKTOK, level, policy, rules, sold, store, world

FLOOR = """
kind: buffer
name: floor
scope: location
rules:
  - {name: two-on-the-floor, when: {location.id: oslo}, hold_back: {units: 2}}
"""
TOTAL = """
kind: buffer
name: total
scope: channel
rules:
  - {name: three-of-all, hold_back: {units: 3}}
"""
TRUST = """
kind: exposure
name: trust
rules:
  - {name: not-trusted, when: {location.id: bergen}, block: not counted}
"""
STOCKTAKE = policy(exclude="[{name: stocktake, when: {location.id: oslo}}]")
WAIVES_BUFFERS = policy(sold_may_use="[buffer]")
WAIVES_BLOCKS = policy(sold_may_use="[blocked]")

Kept = Mapping[str, tuple[int, tuple[str, ...]]]


@pytest.mark.parametrize(
    ("files", "stock", "units", "expected"),
    [
        # One reason alone.
        ((ANYWHERE,), {"oslo": 5}, 7, {"oversell": (2, ())}),
        ((FLOOR, ANYWHERE), {"oslo": 5}, 5, {"held_by_buffer": (2, ("two-on-the-floor",))}),
        ((TOTAL, ANYWHERE), {"oslo": 5}, 4, {"held_by_buffer": (2, ("three-of-all",))}),
        ((TRUST, ANYWHERE), {"bergen": 5}, 4, {"blocked_by_rule": (4, ("not-trusted",))}),
        # Two reasons for one order: each unit has one.
        (
            (FLOOR, ANYWHERE),
            {"oslo": 5},
            9,
            {"held_by_buffer": (2, ("two-on-the-floor",)), "oversell": (4, ())},
        ),
        (
            (FLOOR, TRUST, ANYWHERE),
            {"oslo": 5, "bergen": 4},
            10,
            {
                "held_by_buffer": (2, ("two-on-the-floor",)),
                "blocked_by_rule": (4, ("not-trusted",)),
                "oversell": (1, ()),
            },
        ),
        (
            (FLOOR, TOTAL, ANYWHERE),
            {"oslo": 6},
            6,
            {"held_by_buffer": (5, ("two-on-the-floor", "three-of-all"))},
        ),
        # Both at one location: without the buffer the block would still keep the unit.
        (
            (FLOOR.replace("oslo", "bergen"), TRUST, ANYWHERE),
            {"bergen": 5},
            5,
            {"blocked_by_rule": (5, ("not-trusted",))},
        ),
        # What the routing policy lets a sold order use is not kept from it.
        ((FLOOR, TOTAL, WAIVES_BUFFERS), {"oslo": 5}, 6, {"oversell": (1, ())}),
        ((TRUST, WAIVES_BLOCKS), {"bergen": 5}, 6, {"oversell": (1, ())}),
        ((FLOOR, WAIVES_BLOCKS), {"oslo": 5}, 5, {"held_by_buffer": (2, ("two-on-the-floor",))}),
        # A location that routing drops cannot supply the order: it keeps nothing from it.
        ((FLOOR, STOCKTAKE), {"oslo": 5}, 5, {"oversell": (5, ())}),
    ],
)
def test_each_short_unit_has_one_reason(
    files: tuple[str, ...], stock: Mapping[str, int], units: int, expected: Kept
) -> None:
    locations = [store("oslo"), store("bergen")]
    snapshot = world(locations, [level("MUG", key, count) for key, count in stock.items()])

    decision = route(rules(*files), snapshot, TIKTOK, sold({"MUG": units}))

    assert _short(decision) == expected


TRUST_NEITHER = TRUST + "  - {name: no-photo, when: {location.id: oslo}, block: no photo}\n"
ALL_OF_BERGEN = FLOOR.replace("floor", "cellar").replace("oslo", "bergen").replace("units: 2", "units: 9")
NO_COVER_KNOWN = """
kind: buffer
name: cover
scope: location
rules:
  - {name: a-day-of-cover, hold_back: {days_of_cover: 1}}
"""


def test_each_rule_that_keeps_units_is_named() -> None:
    snapshot = world([store("oslo"), store("bergen")], [level("MUG", "oslo", 5), level("MUG", "bergen", 4)])

    blocked = route(rules(TRUST_NEITHER, ANYWHERE), snapshot, TIKTOK, sold({"MUG": 9}))
    buffered = route(rules(FLOOR, ALL_OF_BERGEN, ANYWHERE), snapshot, TIKTOK, sold({"MUG": 9}))

    assert _named(blocked) == {"blocked_by_rule": (9, {"not-trusted", "no-photo"})}
    assert _named(buffered) == {"held_by_buffer": (6, {"two-on-the-floor", "two-on-the-cellar"})}


def test_a_rule_that_keeps_nothing_from_the_order_is_not_named() -> None:
    snapshot = world(
        [store("oslo"), store("bergen")], [level("MUG", "oslo", 2, allocated=2), level("MUG", "bergen", 4)]
    )
    own_units = {("MUG", "oslo"): 2}

    blocked = route(rules(TRUST_NEITHER, ANYWHERE), snapshot, TIKTOK, sold({"MUG": 6}), own_units)
    buffered = route(rules(FLOOR, ALL_OF_BERGEN, ANYWHERE), snapshot, TIKTOK, sold({"MUG": 6}), own_units)
    of_unknown_velocity = route(rules(NO_COVER_KNOWN, TOTAL, ANYWHERE), snapshot, TIKTOK, sold({"MUG": 4}))

    assert _short(blocked) == {"blocked_by_rule": (4, ("not-trusted",))}
    assert _short(buffered) == {"held_by_buffer": (4, ("two-on-the-cellar",))}
    assert _short(of_unknown_velocity) == {"held_by_buffer": (3, ("three-of-all",))}


def test_what_a_location_rejected_is_not_there() -> None:
    snapshot = world([store("oslo")], [level("MUG", "oslo", 5)])

    decision = route(
        rules(FLOOR, ANYWHERE), snapshot, TIKTOK, sold({"MUG": 3}), rejected_by=frozenset({("MUG", "oslo")})
    )

    assert _short(decision) == {"oversell": (3, ())}


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        ("oslo", {"held_by_buffer": (2, ("two-on-the-floor",)), "oversell": (4, ())}),
        ("bergen", {"blocked_by_rule": (4, ("not-trusted",)), "unfillable": (3, ()), "oversell": (2, ())}),
    ],
)
def test_rules_keep_from_a_line_only_units_of_locations_that_it_may_use(only: str, expected: Kept) -> None:
    snapshot = world([store("oslo"), store("bergen")], [level("MUG", "oslo", 5), level("MUG", "bergen", 4)])
    cart = sold({"MUG": 9})
    cart = replace(cart, lines=(replace(cart.lines[0], placement=Placement(frozenset({only}))),))

    decision = route(rules(FLOOR, TRUST, ANYWHERE), snapshot, TIKTOK, cart)

    assert _short(decision) == expected


def test_units_that_the_order_keeps_are_not_withheld_from_it() -> None:
    snapshot = world([store("oslo")], [level("MUG", "oslo", 10, allocated=8)])
    whole = WholeOrder(OrderFacts(unit_count=12), {("MUG", "oslo"): 8})

    decision = route(rules(FLOOR, ANYWHERE), snapshot, TIKTOK, sold({"MUG": 4}), whole=whole)

    assert _short(decision) == {"held_by_buffer": (2, ("two-on-the-floor",)), "oversell": (2, ())}


FEEDING = [
    rules(BUFFERS, WHOLE, policy(ship_to_store="true")),
    rules(BUFFERS, TRUST_STOCK, policy(ship_to_store="true", ship_rest="true", sold_may_use="[buffer]")),
    rules(
        """
kind: routing
policies:
  - {name: collect, position: 1, applies_to: {order.method: pickup}, only: {location.type: store}, rank: [priority],
     ship_to_store: true, ship_rest: true, max_shipments: 1}
  - {name: send-to-stores, position: 2, applies_to: {order.method: transfer}, only: {location.type: warehouse},
     rank: [fewest_shipments], sold_may_use: [buffer]}
  - {name: others, position: 3, rank: [fewest_shipments, nearest], max_shipments: 3}
"""
    ),
]


@settings(max_examples=200, deadline=None)
@given(policy_sets | st.sampled_from(FEEDING), worlds(), orders())
def test_only_units_that_no_permitted_location_has_are_oversold(
    policy_set: PolicySet, snapshot: World, order: Order
) -> None:
    decision = route(policy_set, snapshot, TIKTOK, order)
    question = RoutingQuestion.of(snapshot, TIKTOK, order, {})

    for sku, demand in order.units_by_sku().items() if order.commitment is Commitment.SOLD else ():
        there = sum(
            max(0, stock.available)
            for (key, place), stock in snapshot.levels.items()
            if key == sku and _may_supply(policy_set, decision, question, order, place)
        )
        oversold = sum(
            short.unit_count for short in decision.shortages if short.sku == sku and short.kind is ShortageKind.OVERSELL
        )
        assert oversold == max(0, demand - there)


def _may_supply(policy_set: PolicySet, decision: Decision, question: RoutingQuestion, order: Order, place: str) -> bool:
    """Whether the rules let the location supply the order: the chosen store, or one that sends units there or ships."""
    location = question.world.locations[place]
    if choice_allows(order, place):
        return dropped_by_policy(decision.policy, location, question) is None
    for method in rest_methods(decision.policy, order):
        store = question.world.locations.get(order.pickup_location_id or "")
        is_known = store is not None and dropped_by_policy(decision.policy, store, question) is None
        if store is None or (method == TRANSFER and not is_known):
            continue
        facts = replace(question.order, method=method)
        at_store = Destination(country=store.country, region=store.region, coordinates=store.coordinates)
        other = replace(question, order=facts, destination=at_store if method == TRANSFER else order.destination)
        if dropped_by_policy(policies_for(policy_set, other)[0], location, other) is None:
            return True
    return False


def _named(decision: Decision) -> dict[str, tuple[int, set[str]]]:
    return {kind: (count, set(names)) for kind, (count, names) in _short(decision).items()}


def _short(decision: Decision) -> Kept:
    return {short.kind.value: (short.unit_count, short.rules) for short in decision.shortages}
