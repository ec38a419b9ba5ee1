"""How each kind of exception may be settled."""

from __future__ import annotations

from policies.domain.model import EXCEPTION_KINDS
from policies.domain.resolutions import ALLOWED, OTHER, RESOLUTIONS, is_allowed


def test_every_kind_of_exception_can_be_settled() -> None:
    assert set(ALLOWED) == set(EXCEPTION_KINDS)


def test_everything_can_be_settled_elsewhere_and_said() -> None:
    assert all(OTHER in allowed for allowed in ALLOWED.values())


def test_every_resolution_is_of_the_closed_list_and_of_use() -> None:
    assert {word for allowed in ALLOWED.values() for word in allowed} == set(RESOLUTIONS)


def test_only_a_plan_is_approved() -> None:
    assert [kind for kind in EXCEPTION_KINDS if is_allowed(kind, "approved")] == ["review", "stuck_order"]


def test_a_feed_that_speaks_again_cannot_be_put_on_backorder() -> None:
    assert not is_allowed("stale_feed", "backordered")
