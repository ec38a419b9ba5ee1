"""What the numbers of feeds mean, and whose count where."""

from __future__ import annotations

from dataclasses import dataclass, replace

from hypothesis import given, strategies as st

from policies.stock.feeds import (
    Feed,
    FeedAuthority,
    OwnershipConflict,
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


def test_a_feed_counts_for_what_it_owns() -> None:
    assert feed_authority(FEEDS, "wms", "MUG", "dc") is FeedAuthority.OWNS


def test_an_owner_elsewhere_is_like_anybody_else_there() -> None:
    assert feed_authority(FEEDS, "wms", "MUG", "store") is FeedAuthority.SECONDARY


def test_a_source_that_nobody_declared_counts_only_where_nobody_owns() -> None:
    assert feed_authority(FEEDS, "erp", "MUG", "dc") is FeedAuthority.SECONDARY
    assert feed_authority(FEEDS, "erp", "MUG", "pop-up") is FeedAuthority.OWNS


def test_an_observer_never_counts() -> None:
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
    assert [differs(CAMERA, seen, 10) for seen in (7, 8, 12, 13)] == [True, False, False, True]


@dataclass(frozen=True)
class Order:
    """Units sold at one time and, if they have left, shipped at a later one."""

    sold: int
    shipped: int | None
    units: int


@st.composite
def orders(draw: st.DrawFn) -> Order:
    sold = draw(st.integers(0, 20))
    shipped = draw(st.none() | st.integers(sold, 20))
    return Order(sold, shipped, draw(st.integers(1, 5)))


@given(st.lists(orders(), max_size=8), st.integers(0, 40), st.integers(0, 5), st.integers(0, 20), st.data())
def test_gross_and_net_feeds_of_one_shelf_come_to_one_figure(
    sold: list[Order], stock: int, damaged: int, counted_at: int, data: st.DataObject
) -> None:
    watermark = data.draw(st.integers(0, counted_at))
    there = stock + damaged - sum(o.units for o in sold if o.shipped is not None and o.shipped <= counted_at)
    taken_off = sum(o.units for o in sold if o.sold <= watermark and (o.shipped is None or o.shipped > counted_at))
    # What the ledger says of allocated units, by order: gained when sold, lost when shipped.
    moved = [[(o.sold, o.units)] + ([(o.shipped, -o.units)] if o.shipped is not None else []) for o in sold]
    later = [tuple(sum(units for at, units in one if at > since) for since in (watermark, counted_at)) for one in moved]
    allocated = sum(units for one in moved for _, units in one)

    net = Feed("erp", basis="available", open_orders="net")
    figure = on_hand_from_count(
        net,
        there - damaged - taken_off,
        unavailable=damaged,
        open_units=open_order_units(allocated, later),  # type: ignore[arg-type]
    )

    assert figure == there == on_hand_from_count(Feed("wms"), there, unavailable=damaged, open_units=0)
