"""How each kind of exception may be resolved."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, strategies as st

from policies.domain.model import EXCEPTION_KINDS
from policies.domain.resolutions import (
    ALLOWED,
    DESCRIPTIONS,
    OTHER,
    RESOLUTIONS,
    Place,
    UnitPlace,
    is_allowed,
    moves_between,
)

PLACES = [
    Place(line_id, place, location_id)
    for line_id in ("1", "2")
    for place, location_id in (
        (UnitPlace.ALLOCATED, "dc"),
        (UnitPlace.ALLOCATED, "store"),
        (UnitPlace.SHORT, ""),
        (UnitPlace.CANCELLED, ""),
    )
]


def test_every_kind_of_exception_has_resolutions() -> None:
    assert set(ALLOWED) == set(EXCEPTION_KINDS)


def test_every_exception_but_one_that_a_channel_waits_for_can_be_resolved_in_another_way_than_listed() -> None:
    assert [kind for kind, allowed in ALLOWED.items() if OTHER not in allowed] == ["cancel_requested"]


def test_every_resolution_is_allowed_for_some_kind_of_exception() -> None:
    assert {word for allowed in ALLOWED.values() for word in allowed} == set(RESOLUTIONS)


def test_only_reviews_and_stuck_orders_can_be_approved() -> None:
    assert [kind for kind in EXCEPTION_KINDS if is_allowed(kind, "approved")] == ["review", "stuck_order"]


def test_a_stale_feed_cannot_be_put_on_backorder() -> None:
    assert not is_allowed("stale_feed", "backordered")


def test_every_resolution_says_what_it_does() -> None:
    assert set(DESCRIPTIONS) == set(RESOLUTIONS)


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 3))), st.data())
def test_moves_lead_from_one_state_of_an_order_to_the_other(
    units: list[tuple[Place, int]], data: st.DataObject
) -> None:
    before, after = Counter[Place](), Counter[Place]()
    for place, count in units:
        before[place] += count
        ends = [end for end in PLACES if end.line_id == place.line_id]
        after[data.draw(st.sampled_from(ends))] += count

    moves = moves_between(before, after)

    moved = Counter(before)
    for move in moves:
        moved[move.start] -= move.unit_count
        moved[move.end] += move.unit_count
    assert +moved == +after
    assert all(move.unit_count > 0 and move.start.line_id == move.end.line_id for move in moves)
    assert not {move.start for move in moves} & {move.end for move in moves}
