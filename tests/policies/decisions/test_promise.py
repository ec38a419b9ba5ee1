"""The promise of an order: what a request changes, and which units a cancellation removes."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from policies.decisions.promise import (
    MoreThanRemaining,
    PartialCancellation,
    Promise,
    PromiseState,
    PromiseTransition,
    ShipmentShare,
    cancel_units,
    keeps_current_hold,
    promise_transition,
    same_contents,
)
from policies.decisions.routing import route
from policies.domain.model import Commitment, Destination, Order, OrderLine
from tests.policies.small_retailer import ANYWHERE, TIKTOK, level, order, rules, store, world

MUGS = OrderLine("1", "MUG", 2)
CAPS = OrderLine("2", "CAP", 1)
HOLD = Order("shopify", "S-1", (MUGS, CAPS))
SOLD = replace(HOLD, commitment=Commitment.SOLD)
LARGER = replace(HOLD, lines=(MUGS, OrderLine("2", "CAP", 2)))
UNITS = {("MUG", "oslo"): 2, ("CAP", "oslo"): 1}

HELD = Promise(PromiseState.HELD, HOLD, UNITS)
CONFIRMED = Promise(PromiseState.CONFIRMED, SOLD, UNITS)
EXPIRED = Promise(PromiseState.EXPIRED, HOLD, UNITS)
SHARES = (ShipmentShare("near", 3), ShipmentShare("far", 2))


def test_a_new_order_is_planned() -> None:
    assert promise_transition(Promise(), HOLD) is PromiseTransition.REPLAN


def test_a_duplicate_hold_keeps_the_promise() -> None:
    assert promise_transition(HELD, HOLD) is PromiseTransition.KEEP


def test_a_hold_of_other_contents_plans_again() -> None:
    assert promise_transition(HELD, LARGER) is PromiseTransition.REPLAN


def test_paying_a_held_order_keeps_its_units_where_they_are() -> None:
    assert promise_transition(HELD, SOLD) is PromiseTransition.CONVERT


def test_paying_a_hold_that_was_short_plans_again() -> None:
    assert promise_transition(replace(HELD, short={"1": 1}), SOLD) is PromiseTransition.REPLAN


def test_paying_for_other_contents_plans_again() -> None:
    assert promise_transition(HELD, replace(LARGER, commitment=Commitment.SOLD)) is PromiseTransition.REPLAN


def test_a_late_hold_never_changes_a_sold_order() -> None:
    assert promise_transition(CONFIRMED, HOLD) is PromiseTransition.KEEP
    assert promise_transition(CONFIRMED, LARGER) is PromiseTransition.KEEP


def test_a_sold_order_that_grew_is_planned_again() -> None:
    assert promise_transition(CONFIRMED, replace(LARGER, commitment=Commitment.SOLD)) is PromiseTransition.REPLAN


def test_an_order_paid_after_its_hold_expired_is_planned_again_without_its_old_units() -> None:
    assert promise_transition(EXPIRED, SOLD) is PromiseTransition.REPLAN
    assert EXPIRED.own_units == {}
    assert HELD.own_units == UNITS


def test_lines_in_another_order_and_another_price_are_the_same_contents() -> None:
    reordered = replace(HOLD, lines=(CAPS, replace(MUGS, unit_price=Decimal(9))))

    assert same_contents(HOLD, reordered)


def test_pickup_instead_of_shipping_is_a_change_of_contents() -> None:
    assert not same_contents(HOLD, replace(HOLD, method="pickup"))


def test_another_destination_is_a_change_of_contents() -> None:
    assert not same_contents(HOLD, replace(HOLD, destination=Destination("SE")))


def test_a_hold_stays_unchanged_if_its_new_contents_are_short() -> None:
    policy_set, mugs = rules(ANYWHERE), world([store("oslo")], [level("MUG", "oslo", 2, held=2)])
    held = Promise(PromiseState.HELD, order({"MUG": 2}), {("MUG", "oslo"): 2})
    more, fewer = order({"MUG": 3}), order({"MUG": 1})

    assert keeps_current_hold(held, more, route(policy_set, mugs, TIKTOK, more, held.own_units))
    assert not keeps_current_hold(held, fewer, route(policy_set, mugs, TIKTOK, fewer, held.own_units))
    paid = replace(more, commitment=Commitment.SOLD)
    assert not keeps_current_hold(held, paid, route(policy_set, mugs, TIKTOK, paid, held.own_units))


def test_a_cancellation_cancels_short_units_first() -> None:
    assert cancel_units(SHARES, 1, 1) == PartialCancellation(1, ())


def test_a_cancellation_then_cancels_from_the_worst_ranked_shipment() -> None:
    assert cancel_units(SHARES, 1, 4) == PartialCancellation(1, (ShipmentShare("far", 2), ShipmentShare("near", 1)))


def test_a_cancellation_cancels_from_the_given_shipment() -> None:
    assert cancel_units(SHARES, 0, 2, shipment_id="near") == PartialCancellation(0, (ShipmentShare("near", 2),))


def test_units_missing_in_the_given_shipment_are_cancelled_from_the_worst_ranked() -> None:
    shares = (ShipmentShare("near", 3), ShipmentShare("middle", 1), ShipmentShare("far", 2))

    assert cancel_units(shares, 0, 3, shipment_id="middle") == PartialCancellation(
        0, (ShipmentShare("middle", 1), ShipmentShare("far", 2))
    )


def test_cancelling_more_than_remains_is_refused_with_the_remaining_units() -> None:
    with pytest.raises(MoreThanRemaining, match="cancel at most 6") as refused:
        cancel_units(SHARES, 1, 7)

    assert refused.value.remaining == 6


def test_a_cancellation_of_no_units_or_from_another_shipment_is_refused() -> None:
    with pytest.raises(ValueError, match="0 units cannot be cancelled"):
        cancel_units(SHARES, 0, 0)
    with pytest.raises(ValueError, match="shipment moon has no units of this line"):
        cancel_units(SHARES, 0, 1, shipment_id="moon")


@given(st.lists(st.integers(1, 9), max_size=4), st.integers(0, 5), st.integers(1, 40))
def test_a_cancellation_cancels_exactly_the_requested_units(counts: list[int], short: int, unit_count: int) -> None:
    shares = [ShipmentShare(str(number), count) for number, count in enumerate(counts)]
    if unit_count > short + sum(counts):
        with pytest.raises(MoreThanRemaining):
            cancel_units(shares, short, unit_count)
        return

    cancelled = cancel_units(shares, short, unit_count)

    assert cancelled.short + sum(share.unit_count for share in cancelled.shares) == unit_count
    assert all(share.unit_count <= counts[int(share.shipment_id)] for share in cancelled.shares)
