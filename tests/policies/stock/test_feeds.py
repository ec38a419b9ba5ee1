"""What the figures of feeds mean, and which feed owns which figure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from policies.stock.feeds import (
    Feed,
    FeedAuthority,
    OwnershipConflict,
    count_includes,
    differs,
    feed_authority,
    on_hand_from_count,
    open_order_units,
    ownership_conflicts,
)

WMS = Feed("wms", location_ids=frozenset({"dc", "annex"}))
TILL = Feed("till", location_ids=frozenset({"store"}))
CAMERA = Feed("camera", role="observer", tolerance_units=2)
FEEDS = {feed.source: feed for feed in (WMS, TILL, CAMERA)}
COUNTED = datetime(2026, 11, 27, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def test_a_feed_owns_its_declared_locations() -> None:
    assert feed_authority(FEEDS, "wms", "MUG", "dc") is FeedAuthority.OWNS


def test_a_feed_does_not_own_locations_of_another_feed() -> None:
    assert feed_authority(FEEDS, "wms", "MUG", "store") is FeedAuthority.SECONDARY


def test_an_undeclared_source_owns_only_figures_without_an_owner() -> None:
    assert feed_authority(FEEDS, "erp", "MUG", "dc") is FeedAuthority.SECONDARY
    assert feed_authority(FEEDS, "erp", "MUG", "pop-up") is FeedAuthority.OWNS


def test_an_observer_owns_nothing() -> None:
    assert feed_authority(FEEDS, "camera", "MUG", "pop-up") is FeedAuthority.OBSERVES


def test_two_feeds_cannot_own_one_figure() -> None:
    rival = Feed("erp", location_ids=frozenset({"annex"}), skus=frozenset({"MUG"}))

    assert list(ownership_conflicts(FEEDS, [rival])) == [OwnershipConflict("erp", "wms", "annex", "MUG")]


def test_feeds_of_different_products_share_a_location() -> None:
    mugs = replace(WMS, skus=frozenset({"MUG"}))

    assert not list(ownership_conflicts({"wms": mugs}, [Feed("erp", skus=frozenset({"BOWL"}))]))


def test_two_feeds_of_one_call_cannot_own_everything() -> None:
    assert list(ownership_conflicts({}, [Feed("a"), Feed("b")])) == [OwnershipConflict("b", "a", None, None)]


def test_a_feed_may_be_declared_again_and_hand_over_to_another() -> None:
    handed_over = [replace(WMS, role="observer"), replace(WMS, source="erp")]

    assert not list(ownership_conflicts(FEEDS, [WMS]))
    assert not list(ownership_conflicts(FEEDS, handed_over))


def test_an_observation_within_the_tolerance_is_no_mismatch() -> None:
    assert [differs(CAMERA, observed, 10) for observed in (7, 8, 12, 13)] == [True, False, False, True]


@dataclass(frozen=True)
class Order:
    """Units sold at one time and, if shipped, shipped at a later time."""

    sold: int
    shipped: int | None
    units: int


@st.composite
def orders(draw: st.DrawFn) -> Order:
    sold = draw(st.integers(0, 20))
    shipped = draw(st.none() | st.integers(sold, 20))
    return Order(sold, shipped, draw(st.integers(1, 5)))


@given(st.lists(orders(), max_size=8), st.integers(0, 40), st.integers(0, 5), st.integers(0, 20), st.data())
def test_gross_and_net_feeds_give_the_same_on_hand_figure(
    sold: list[Order], stock: int, damaged: int, counted_at: int, data: st.DataObject
) -> None:
    watermark = data.draw(st.integers(0, counted_at))
    on_hand = (
        stock
        + damaged
        - sum(order.units for order in sold if order.shipped is not None and order.shipped <= counted_at)
    )
    open_units = sum(
        order.units
        for order in sold
        if order.sold <= watermark and (order.shipped is None or order.shipped > counted_at)
    )
    # Allocated units in the ledger, by order: added when sold, removed when shipped.
    movements = [
        [(order.sold, order.units)] + ([(order.shipped, -order.units)] if order.shipped is not None else [])
        for order in sold
    ]
    later = [
        tuple(sum(units for at, units in order_movements if at > since) for since in (watermark, counted_at))
        for order_movements in movements
    ]
    allocated = sum(units for order_movements in movements for _, units in order_movements)

    net = Feed("erp", basis="available", open_orders="net")
    figure = on_hand_from_count(
        net,
        on_hand - damaged - open_units,
        unavailable=damaged,
        open_units=open_order_units(allocated, later),  # type: ignore[arg-type]
    )

    assert figure == on_hand == on_hand_from_count(Feed("wms"), on_hand, unavailable=damaged, open_units=0)


@pytest.mark.parametrize(("event_time", "is_included"), [(-MINUTE, True), (timedelta(), True), (MINUTE, False)])
@pytest.mark.parametrize("feed", [None, WMS])
def test_a_count_includes_what_happened_until_its_own_moment(
    feed: Feed | None, event_time: timedelta, is_included: bool
) -> None:
    for promised_time in (None, COUNTED - MINUTE, COUNTED, COUNTED + MINUTE):
        assert count_includes(feed, COUNTED, COUNTED + event_time, promised_time) is is_included


def test_a_count_without_open_orders_leaves_the_shipment_of_an_order_that_was_open_to_be_subtracted() -> None:
    net = replace(WMS, open_orders="net")

    assert not count_includes(net, COUNTED, COUNTED, COUNTED)
    assert not count_includes(net, COUNTED, COUNTED - MINUTE, COUNTED - MINUTE)
    # Promised after the count, so it was not open then; and units of no order never were.
    assert count_includes(net, COUNTED, COUNTED, COUNTED + MINUTE)
    assert count_includes(net, COUNTED, COUNTED, None)
