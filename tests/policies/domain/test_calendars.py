"""Opening hours: when a location has handled an order, and by when it ships it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings, strategies as st

from policies.domain.calendars import handled_by, is_open, local_time, ship_by, ship_day
from policies.domain.day_hours import DayHours
from policies.domain.model import EVERY_DAY, Location

LONDON = "Europe/London"
WEEKDAYS = frozenset(range(5))
_USUAL = {"time_zone": LONDON, "opens": time(9), "closes": time(17, 30), "handling_minutes": 0}


def shop(**fields: Any) -> Location:
    """A store in London that is open from 9:00 to 17:30."""
    return Location("shop", "store", **{**_USUAL, **fields})


def ready(location: Location, ordered: str) -> str:
    """When an order of this local time is ready, by the clock of the location."""
    zone = ZoneInfo(location.time_zone)
    handled = handled_by(location, datetime.fromisoformat(ordered).replace(tzinfo=zone))
    assert handled is not None
    return f"{handled[1].astimezone(zone):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("handling", "ordered", "expected"),
    [
        pytest.param(120, "2026-11-26 10:00", "2026-11-26 12:00", id="it fits"),
        pytest.param(120, "2026-11-26 15:30", "2026-11-26 17:30", id="it is ready at the minute of closing"),
        pytest.param(120, "2026-11-26 15:31", "2026-11-27 09:01", id="a minute does not fit"),
        pytest.param(120, "2026-11-26 17:20", "2026-11-27 10:50", id="it is begun and continued"),
        pytest.param(120, "2026-11-26 20:00", "2026-11-27 11:00", id="after closing"),
        pytest.param(0, "2026-11-26 17:29", "2026-11-26 17:29", id="no handling, still open"),
        pytest.param(0, "2026-11-26 17:30", "2026-11-27 09:00", id="no handling, just closed"),
        pytest.param(0, "2026-11-26 06:00", "2026-11-26 09:00", id="before opening"),
        pytest.param(600, "2026-11-26 09:00", "2026-11-27 10:30", id="more than a day of work"),
        pytest.param(3 * 510, "2026-11-26 09:00", "2026-11-28 17:30", id="exactly three days of work"),
        pytest.param(3 * 510 + 1, "2026-11-26 09:00", "2026-11-29 09:01", id="three days and a minute"),
    ],
)
def test_work_is_done_within_opening_hours(handling: int, ordered: str, expected: str) -> None:
    assert ready(shop(handling_minutes=handling), ordered) == expected


def test_work_continues_on_the_next_opening_day() -> None:
    """Thursday evening; Friday is a holiday, and the shop is closed at weekends."""
    location = shop(handling_minutes=120, opening_days=WEEKDAYS, holidays=frozenset({date(2026, 11, 27)}))

    assert ready(location, "2026-11-26 17:00") == "2026-11-30 10:30"


def test_after_the_cut_off_work_starts_on_the_next_day_although_the_location_is_open() -> None:
    location = shop(handling_minutes=30, cut_off=time(14))

    assert ready(location, "2026-11-26 14:00") == "2026-11-26 14:30"
    assert ready(location, "2026-11-26 14:01") == "2026-11-27 09:30"


SATURDAY, SUNDAY, FRIDAY = 5, 6, 4


def test_on_a_weekday_with_hours_of_its_own_work_is_done_within_them() -> None:
    location = shop(handling_minutes=120, weekday_hours=((SATURDAY, DayHours(time(11), time(13))),))

    assert ready(location, "2026-11-28 09:00") == "2026-11-28 13:00"
    assert ready(location, "2026-11-28 11:30") == "2026-11-29 09:30"
    assert ready(location, "2026-11-29 09:00") == "2026-11-29 11:00"


def test_the_cut_off_of_a_weekday_wins_over_the_usual_one() -> None:
    location = shop(cut_off=time(14), weekday_hours=((FRIDAY, DayHours(cut_off=time(12))),))

    assert ready(location, "2026-11-26 13:00") == "2026-11-26 13:00"
    assert ready(location, "2026-11-27 13:00") == "2026-11-28 09:00"


def test_a_location_ships_by_the_closing_time_of_that_weekday() -> None:
    location = shop(weekday_hours=((SATURDAY, DayHours(time(10), time(16))),))

    saturday = ship_by(location, datetime(2026, 11, 28, 9, tzinfo=UTC))

    assert saturday == datetime(2026, 11, 28, 16, tzinfo=UTC)


def test_a_cut_off_on_fridays_alone_says_on_which_day_any_order_ships() -> None:
    location = shop(
        opens=None, closes=None, handling_minutes=None, weekday_hours=((FRIDAY, DayHours(cut_off=time(12))),)
    )

    assert ship_by(location, datetime(2026, 11, 27, 13, tzinfo=UTC)) == datetime(2026, 11, 29, tzinfo=UTC)
    assert ship_by(location, datetime(2026, 11, 26, 13, tzinfo=UTC)) == datetime(2026, 11, 27, tzinfo=UTC)


def test_a_location_is_open_by_the_hours_of_the_weekday() -> None:
    location = shop(opens=None, closes=None, weekday_hours=((SUNDAY, DayHours(time(11), time(0))),))

    assert is_open(location, datetime(2026, 11, 29, 23, tzinfo=UTC))
    assert is_open(location, datetime(2026, 11, 29, 10, tzinfo=UTC)) is False
    assert is_open(location, datetime(2026, 11, 28, 10, tzinfo=UTC)) is None


def test_a_weekday_does_not_close_before_it_opens() -> None:
    with pytest.raises(ValueError, match="not after it opens"):
        shop(weekday_hours=((SUNDAY, DayHours(time(11), time(10))),))


def test_a_location_without_hours_works_around_the_clock() -> None:
    location = shop(opens=None, closes=None, handling_minutes=120)

    assert ready(location, "2026-11-26 22:46") == "2026-11-27 00:46"


def test_a_location_that_closes_at_midnight_works_until_then() -> None:
    location = shop(opens=time(18), closes=time(0), handling_minutes=60)

    assert ready(location, "2026-11-26 23:00") == "2026-11-27 00:00"
    assert handled_by(location, datetime(2026, 11, 26, 23, tzinfo=UTC)) == (
        date(2026, 11, 26),
        datetime(2026, 11, 27, tzinfo=UTC),
    )
    assert ready(location, "2026-11-26 23:01") == "2026-11-27 18:01"
    assert is_open(location, datetime(2026, 11, 26, 23, 59, tzinfo=UTC))
    assert not is_open(location, datetime(2026, 11, 26, 0, 0, tzinfo=UTC))


@pytest.mark.parametrize(
    ("ordered", "handling", "expected"),
    [
        pytest.param("2026-03-28 23:00", 180, "2026-03-29 03:00", id="the clock goes forward at 1:00"),
        pytest.param("2026-10-24 23:00", 180, "2026-10-25 01:00", id="the clock goes back at 2:00"),
    ],
)
def test_an_hour_of_work_takes_an_hour_in_the_night_that_changes_the_clock(
    ordered: str, handling: int, expected: str
) -> None:
    assert ready(shop(opens=None, closes=None, handling_minutes=handling), ordered) == expected


def test_a_shipment_is_due_at_closing_time_of_the_day_on_which_it_is_ready() -> None:
    def due(ordered: str, **fields: Any) -> datetime | None:
        return ship_by(shop(**fields), datetime.fromisoformat(ordered))

    assert due("2026-11-26T10:00Z", handling_minutes=120) == datetime(2026, 11, 26, 17, 30, tzinfo=UTC)
    assert due("2026-11-26T17:29Z", handling_minutes=120) == datetime(2026, 11, 27, 17, 30, tzinfo=UTC)
    assert due("2026-11-26T20:00Z") == datetime(2026, 11, 27, 17, 30, tzinfo=UTC)
    assert due("2026-11-26T20:00Z", opens=time(18), closes=time(0)) == datetime(2026, 11, 27, tzinfo=UTC)
    assert due("2026-11-26T20:00Z", opens=None, closes=None, cut_off=time(21)) == datetime(2026, 11, 27, tzinfo=UTC)
    assert due("2026-11-26T20:00Z", opens=None, closes=None) is None


def test_work_that_never_fits_has_no_day() -> None:
    one_minute_a_day = shop(opens=time(0, 1), closes=time(0, 2))

    assert ready(shop(opens=time(0, 1), closes=time(0, 2), handling_minutes=60), "2026-11-26 12:00").startswith(
        "2027-01"
    )
    assert handled_by(shop(opening_days=frozenset[int]()), datetime(2026, 11, 26, tzinfo=UTC)) is None
    assert ship_by(shop(opening_days=frozenset[int]()), datetime(2026, 11, 26, tzinfo=UTC)) is None
    assert ship_day(one_minute_a_day, datetime(2026, 11, 26, tzinfo=UTC), EVERY_DAY) == date(2026, 11, 26)


_ZONES = ["UTC", LONDON, "America/New_York", "Pacific/Auckland", "Pacific/Apia", "Asia/Kathmandu", "America/Santiago"]
_MINUTES_OF_DAY = st.integers(0, 24 * 60 - 1)


def _day_hours(first: int, second: int, cut_off: int | None) -> DayHours:
    opens, closes = sorted((first, second))
    return DayHours(_clock(opens), _clock(closes), None if cut_off is None else _clock(cut_off))


_DAY_HOURS = st.builds(_day_hours, _MINUTES_OF_DAY, _MINUTES_OF_DAY, st.none() | _MINUTES_OF_DAY).filter(
    lambda hours: hours.are_in_order
)


@st.composite
def working_locations(draw: st.DrawFn) -> Location:
    """Locations with any hours, days, holidays and cut-off."""
    hours = draw(st.none() | st.tuples(_MINUTES_OF_DAY, _MINUTES_OF_DAY).filter(lambda pair: pair[0] != pair[1]))
    opens, closes = (None, None) if hours is None else map(_clock, sorted(hours))
    if draw(st.booleans()) and closes is not None:
        closes = time(0)
    start = date(2026, 1, 1)
    return Location(
        "shop",
        "store",
        time_zone=draw(st.sampled_from(_ZONES)),
        opens=opens,
        closes=closes,
        cut_off=draw(st.none() | _MINUTES_OF_DAY.map(_clock)),
        opening_days=draw(st.frozensets(st.integers(0, 6), min_size=1)),
        weekday_hours=tuple(sorted(draw(st.dictionaries(st.integers(0, 6), _DAY_HOURS, max_size=3)).items())),
        holidays=draw(st.frozensets(st.integers(0, 400).map(lambda ahead: start + timedelta(days=ahead)), max_size=9)),
        handling_minutes=draw(st.integers(0, 3_000)),
    )


def _clock(minutes: int) -> time:
    return time(minutes // 60, minutes % 60)


@settings(max_examples=300, deadline=None)
@given(working_locations(), st.integers(0, 400 * 24 * 3_600), st.integers(0, 3 * 24 * 3_600), st.integers(0, 600))
def test_an_order_is_ready_within_opening_hours_and_never_before_an_earlier_or_a_smaller_one(
    location: Location, seconds: int, later_seconds: int, more_minutes: int
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    later = now + timedelta(seconds=later_seconds)
    handled, handled_later = handled_by(location, now), handled_by(location, later)
    longer = replace(location, handling_minutes=(location.handling_minutes or 0) + more_minutes)

    if handled is None:
        assert handled_later is None
        return
    day, moment = handled
    assert moment >= now
    assert location.opens_on(day)
    local = local_time(moment, location.time_zone)
    closing = datetime.combine(day + timedelta(days=1), time(0), local.tzinfo)
    hours = location.hours_on(day)
    if hours.closes not in (None, time(0)):
        closing = datetime.combine(day, hours.closes, local.tzinfo)
    opening = datetime.combine(day, hours.opens or time(0), local.tzinfo)
    assert opening.astimezone(UTC) <= moment <= closing.astimezone(UTC)
    assert handled_later is None or handled_later >= handled
    handled_longer = handled_by(longer, now)
    assert handled_longer is None or handled_longer >= handled
    due = ship_by(location, now)
    assert due is None or due >= moment
