"""The periods of a report, by the clock of the retailer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from policies.reports.periods import STEPS, boundaries, periods

CHICAGO = ZoneInfo("America/Chicago")
ZONES = [
    ZoneInfo(name) for name in ("UTC", "America/Chicago", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns")
]


def hours(since: datetime, until: datetime, step: str, zone: ZoneInfo = CHICAGO) -> list[float]:
    return [(end - start) / timedelta(hours=1) for start, end in periods(boundaries(since, until, step, zone, 800))]


def test_a_day_in_which_clocks_change_has_23_or_25_hours() -> None:
    spring = hours(datetime(2026, 3, 7, tzinfo=CHICAGO), datetime(2026, 3, 10, tzinfo=CHICAGO), "day")
    autumn = hours(datetime(2026, 10, 31, tzinfo=CHICAGO), datetime(2026, 11, 3, tzinfo=CHICAGO), "day")

    assert (spring, autumn) == ([24, 23, 24], [24, 25, 24])


def test_the_first_and_last_day_are_cut_where_the_window_begins_and_ends() -> None:
    assert hours(datetime(2026, 6, 1, 18, tzinfo=CHICAGO), datetime(2026, 6, 3, 1, tzinfo=CHICAGO), "day") == [6, 24, 1]


def test_weeks_begin_on_monday_and_months_on_the_first() -> None:
    since, until = datetime(2026, 1, 30, tzinfo=UTC), datetime(2026, 3, 2, 12, tzinfo=UTC)
    weeks = boundaries(since, until, "week", ZoneInfo("UTC"), 100)
    months = boundaries(since, until, "month", ZoneInfo("UTC"), 100)

    assert [start.weekday() for start in weeks[1:-1]] == [0] * 5
    assert [start.day for start in months[1:-1]] == [1, 1]


def test_more_periods_than_a_report_may_have_are_refused() -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)

    with pytest.raises(ValueError, match="more than 24 periods"):
        boundaries(since, since + timedelta(hours=25), "hour", CHICAGO, 24)
    assert len(boundaries(since, since + timedelta(hours=24), "hour", CHICAGO, 24)) == 25


@given(
    st.integers(0, 3 * 365 * 86_400).map(lambda seconds: datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)),
    st.timedeltas(timedelta(microseconds=1), timedelta(days=30)),
    st.sampled_from([None, *STEPS]),
    st.sampled_from(ZONES),
)
def test_periods_cover_the_window_without_gaps_and_begin_when_the_clock_says(
    since: datetime, length: timedelta, step: str | None, zone: ZoneInfo
) -> None:
    starts = boundaries(since, since + length, step, zone, 800)

    assert (starts[0], starts[-1]) == (since, since + length)
    assert starts == sorted(set(starts))
    for start in starts[1:-1]:
        local = start.astimezone(zone)
        assert (local.second, local.microsecond) == (0, 0)
        assert step == "hour" or (local.hour, local.minute) == (0, 0)
