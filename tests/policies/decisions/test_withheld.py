"""A sold order's missing units are told apart: not there, held back by a buffer, or blocked by a rule."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings

from policies.decisions.eligibility import RoutingQuestion, WholeOrder, dropped_by_policy
from policies.decisions.order_limits import choice_allows
from policies.decisions.routing import Decision, ShortageKind, route
from policies.domain.model import Commitment, Order, OrderFacts, World
from policies.policy_set import PolicySet
from tests.policies.decisions.test_routing_properties import orders, policy_sets, worlds
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


def test_what_a_location_rejected_is_not_there() -> None:
    snapshot = world([store("oslo")], [level("MUG", "oslo", 5)])

    decision = route(
        rules(FLOOR, ANYWHERE), snapshot, TIKTOK, sold({"MUG": 3}), rejected_by=frozenset({("MUG", "oslo")})
    )

    assert _short(decision) == {"oversell": (3, ())}


def test_units_that_the_order_keeps_are_not_withheld_from_it() -> None:
    snapshot = world([store("oslo")], [level("MUG", "oslo", 10, allocated=8)])
    whole = WholeOrder(OrderFacts(unit_count=12), {("MUG", "oslo"): 8})

    decision = route(rules(FLOOR, ANYWHERE), snapshot, TIKTOK, sold({"MUG": 4}), whole=whole)

    assert _short(decision) == {"held_by_buffer": (2, ("two-on-the-floor",)), "oversell": (2, ())}


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), orders())
def test_only_units_that_no_permitted_location_has_are_oversold(
    policy_set: PolicySet, snapshot: World, order: Order
) -> None:
    decision = route(policy_set, snapshot, TIKTOK, order)
    question = RoutingQuestion.of(snapshot, TIKTOK, order, {})

    for sku, demand in order.units_by_sku().items() if order.commitment is Commitment.SOLD else ():
        there = sum(
            max(0, stock.available)
            for (key, place), stock in snapshot.levels.items()
            if key == sku
            and choice_allows(order, place)
            and dropped_by_policy(decision.policy, snapshot.locations[place], question) is None
        )
        oversold = sum(
            short.unit_count for short in decision.shortages if short.sku == sku and short.kind is ShortageKind.OVERSELL
        )
        assert oversold == max(0, demand - there)


def _short(decision: Decision) -> Kept:
    return {short.kind.value: (short.unit_count, short.rules) for short in decision.shortages}
