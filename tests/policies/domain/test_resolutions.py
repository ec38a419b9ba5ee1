"""How each kind of exception may be resolved."""

from __future__ import annotations

from policies.domain.model import EXCEPTION_KINDS
from policies.domain.resolutions import ALLOWED, OTHER, RESOLUTIONS, is_allowed


def test_every_kind_of_exception_has_resolutions() -> None:
    assert set(ALLOWED) == set(EXCEPTION_KINDS)


def test_every_exception_can_be_resolved_in_another_way_than_listed() -> None:
    assert all(OTHER in allowed for allowed in ALLOWED.values())


def test_every_resolution_is_allowed_for_some_kind_of_exception() -> None:
    assert {word for allowed in ALLOWED.values() for word in allowed} == set(RESOLUTIONS)


def test_only_reviews_and_stuck_orders_can_be_approved() -> None:
    assert [kind for kind in EXCEPTION_KINDS if is_allowed(kind, "approved")] == ["review", "stuck_order"]


def test_a_stale_feed_cannot_be_put_on_backorder() -> None:
    assert not is_allowed("stale_feed", "backordered")
