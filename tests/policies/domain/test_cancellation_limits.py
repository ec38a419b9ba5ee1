"""How much of the cancellations that marketplaces allow is left."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, strategies as st

from policies.domain.cancellation_limits import CANCELLATION_LIMITS, CancellationLimit, headroom, limit_of
from policies.domain.channel_statuses import PLATFORMS

LIMIT = CancellationLimit("amazon", date(2020, 1, 1), 0.025, timedelta(days=7))


@pytest.mark.parametrize(
    ("sold", "cancelled", "left"),
    [(0, 0, None), (39, 1, None), (40, 0, 1.0), (40, 1, 0.0), (1_000, 5, 0.8), (1_000, 24, 0.04), (1_000, 400, 0.0)],
)
def test_headroom_is_what_is_left_of_the_allowed_cancellations(sold: int, cancelled: int, left: float | None) -> None:
    assert headroom(LIMIT, sold=sold, cancelled=cancelled) == left


@given(st.integers(40, 10**6), st.integers(0, 10**6))
def test_one_more_cancellation_never_leaves_more(sold: int, cancelled: int) -> None:
    before, after = (headroom(LIMIT, sold=sold, cancelled=count) for count in (cancelled, cancelled + 1))

    assert before is not None
    assert after is not None
    assert 0 <= after <= before <= 1


def test_a_limit_counts_from_its_day_and_a_platform_without_one_has_none() -> None:
    assert limit_of("walmart", date(2022, 12, 31)) is None
    assert limit_of("walmart", date(2023, 1, 1)) is not None
    assert limit_of("shopify", date(2030, 1, 1)) is None
    assert limit_of(None, date(2030, 1, 1)) is None
    assert {limit.platform for limit in CANCELLATION_LIMITS} <= set(PLATFORMS)


def test_the_strictest_market_counts_and_the_home_of_the_platform_where_none_is_known() -> None:
    today = date(2026, 11, 27)

    assert [
        limit.share
        for markets in (["CA-QC"], ["CA", "US-HI"], ["BR"], [])
        if (limit := limit_of("walmart", today, markets)) is not None
    ] == [0.03, 0.02, 0.02, 0.02]
