"""By when a shipment leaves and arrives, and why not earlier."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from policies.domain import calendars
from policies.domain.model import EVERY_DAY, Location
from policies.domain.shipping_dates import NO_DATES, DateStep, DayReason, shipping_dates
from tests.policies.domain.test_calendars import working_locations

MONDAY_TO_FRIDAY = frozenset(range(5))
_WAREHOUSE = {
    "time_zone": "America/Chicago",
    "opens": time(8),
    "closes": time(18),
    "cut_off": time(14),
    "handling_minutes": 60,
    "opening_days": MONDAY_TO_FRIDAY,
}


def warehouse(**fields: Any) -> Location:
    """A warehouse in Memphis: Monday to Friday, 8:00 to 18:00, cut-off at 14:00, an hour of work."""
    return Location("dc", "warehouse", **{**_WAREHOUSE, **fields})


def why(location: Location, ordered: str, transit_days: int | None = None, **carrier: Any) -> list[str]:
    """The reasons for the dates of an order of this local time: `closed 11-28..11-29`."""
    now = datetime.fromisoformat(f"2026-{ordered}-06:00")
    steps = shipping_dates(location, now, carrier.get("days", EVERY_DAY), transit_days).steps
    return [
        f"{step.reason} {step.first:%m-%d}" + (f"..{step.last:%m-%d}" if step.last != step.first else "")
        for step in steps
    ]


def test_an_order_before_the_cut_off_ships_at_closing_the_same_day() -> None:
    dates = shipping_dates(warehouse(), datetime.fromisoformat("2026-11-24T13:00-06:00"))

    assert (dates.ship_by, dates.ships_on) == (datetime.fromisoformat("2026-11-24T18:00-06:00"), date(2026, 11, 24))
    assert dates.steps == ()


@pytest.mark.parametrize(
    ("fields", "ordered", "expected"),
    [
        pytest.param({}, "11-24T14:01", ["cut_off_missed 11-24"], id="after the cut-off"),
        pytest.param({"cut_off": None}, "11-24T18:00", ["after_closing 11-24"], id="after closing"),
        pytest.param({}, "11-27T15:00", ["cut_off_missed 11-27", "closed 11-28..11-29"], id="before the weekend"),
        pytest.param({}, "11-28T09:00", ["closed 11-28..11-29"], id="at the weekend"),
        pytest.param({"handling_minutes": 900}, "11-24T09:00", ["handling 11-24"], id="more work than a day has"),
        pytest.param(
            {"holidays": frozenset({date(2026, 11, 26)})},
            "11-25T16:00",
            ["cut_off_missed 11-25", "holiday 11-26"],
            id="Thanksgiving",
        ),
    ],
)
def test_each_day_on_which_it_does_not_ship_has_its_reason(
    fields: dict[str, Any], ordered: str, expected: list[str]
) -> None:
    assert why(warehouse(**fields), ordered) == expected


def test_an_order_for_which_a_location_has_room_later_waits_until_then() -> None:
    now = datetime.fromisoformat("2026-11-24T15:00-06:00")

    dates = shipping_dates(warehouse(), now, EVERY_DAY, 1, handled_on=date(2026, 11, 27))

    assert (dates.ships_on, dates.arrives_on) == (date(2026, 11, 27), date(2026, 11, 28))
    assert dates.ship_by == datetime.fromisoformat("2026-11-27T18:00-06:00")
    assert dates.steps[:2] == (
        DateStep(DayReason.CUT_OFF_MISSED, date(2026, 11, 24), date(2026, 11, 24)),
        DateStep(DayReason.CAPACITY, date(2026, 11, 25), date(2026, 11, 26)),
    )


def test_what_is_ready_on_saturday_waits_for_the_carrier() -> None:
    location = warehouse(opening_days=EVERY_DAY)

    assert why(location, "11-28T09:00", days=MONDAY_TO_FRIDAY) == ["carrier_off 11-28..11-29"]


def test_days_in_transit_do_not_count_where_the_carrier_rests() -> None:
    dates = shipping_dates(warehouse(), datetime.fromisoformat("2026-11-26T09:00-06:00"), MONDAY_TO_FRIDAY, 3)

    assert dates.arrives_on == date(2026, 12, 1)
    assert dates.deliver_by == datetime.fromisoformat("2026-12-02T00:00-06:00")
    assert dates.steps == (
        DateStep(DayReason.TRANSIT, date(2026, 11, 27), date(2026, 11, 27)),
        DateStep(DayReason.CARRIER_OFF, date(2026, 11, 28), date(2026, 11, 29)),
        DateStep(DayReason.TRANSIT, date(2026, 11, 30), date(2026, 12, 1)),
    )


def test_without_a_handling_time_the_cut_off_alone_dates_the_shipment_and_not_its_delivery() -> None:
    location, now = warehouse(handling_minutes=None), datetime.fromisoformat("2026-11-27T15:00-06:00")

    dates = shipping_dates(location, now, EVERY_DAY, 2)

    assert dates.ships_on == date(2026, 11, 30)
    assert dates.arrives_on is None
    assert [step.reason for step in dates.steps] == [DayReason.CUT_OFF_MISSED, DayReason.CLOSED]


def test_a_location_that_states_nothing_promises_no_date() -> None:
    assert shipping_dates(Location("shop", "store"), datetime(2026, 11, 27, tzinfo=UTC), EVERY_DAY, 2) == NO_DATES


@settings(max_examples=150, deadline=None)
@given(
    working_locations(),
    st.integers(0, 400 * 24 * 3_600),
    st.frozensets(st.integers(0, 6), min_size=1),
    st.none() | st.integers(0, 9),
)
def test_the_reasons_cover_every_day_from_the_order_to_delivery_but_that_of_shipping(
    location: Location, seconds: int, carrier_days: frozenset[int], transit_days: int | None
) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)

    dates = shipping_dates(location, now, carrier_days, transit_days)

    assert dates.ship_by == calendars.ship_by(location, now, carrier_days)
    if dates.ships_on is None:
        assert dates == NO_DATES
        return
    first, last = calendars.local_time(now, location.time_zone).date(), dates.arrives_on or dates.ships_on
    every_day = [first + timedelta(days=ahead) for ahead in range((last - first).days + 1)]
    covered = [
        step.first + timedelta(days=ahead) for step in dates.steps for ahead in range((step.last - step.first).days + 1)
    ]
    assert covered == [day for day in every_day if day != dates.ships_on]
    assert dates.ships_on.weekday() in carrier_days
