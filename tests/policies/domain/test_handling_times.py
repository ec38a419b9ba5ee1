"""The day on which a location would handle an order is remembered for a while, and is the day of that moment."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta

from hypothesis import given, settings, strategies as st

from policies.domain.calendars import handled_by
from policies.domain.handling_times import HandlingTime, first_handling_time
from policies.domain.model import Location

START = datetime(2026, 10, 24, tzinfo=UTC)
"""A week in which clocks change, in New York a week later."""
hours = st.sampled_from([None, time(0, 5), time(7), time(9, 30), time(13), time(17), time(23, 59)])
OPENING_HOURS = [(None, None), (time(7), None), (None, time(13)), (time(7), time(13)), (time(0, 5), time(23, 59))]
moments = st.lists(st.integers(0, 14 * 24 * 60 * 60), min_size=1, max_size=12)
"""Seconds after START."""


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["UTC", "Europe/Oslo", "America/New_York", "Pacific/Auckland", "Australia/Lord_Howe"]),
    st.sets(st.integers(0, 6)),
    st.sampled_from(OPENING_HOURS),
    hours,
    st.sampled_from([None, 0, 1, 90, 600, 3_000]),
    moments,
    st.integers(0, 900),
)
def test_orders_of_any_moments_are_handled_on_the_day_that_the_calendar_says(
    zone: str,
    days: set[int],
    opening: tuple[time | None, time | None],
    cut_off: time | None,
    minutes: int | None,
    seconds: list[int],
    apart: int,
) -> None:
    location = Location(
        id="a",
        type="store",
        time_zone=zone,
        opening_days=frozenset(days),
        opens=opening[0],
        closes=opening[1],
        cut_off=cut_off,
        handling_minutes=minutes,
    )
    # Each moment comes with one that follows soon, whose day may be remembered from it.
    for moment in [START + timedelta(seconds=x + more) for x in seconds for more in (0, apart)]:
        handled = handled_by(location, moment, 0)
        assert first_handling_time(location, moment) == (None if handled is None else HandlingTime(handled[0]))
