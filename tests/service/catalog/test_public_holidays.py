"""Hours of weekdays, and public holidays where a location asks for them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest
from google.type.date_pb2 import Date
from google.type.dayofweek_pb2 import DayOfWeek
from google.type.timeofday_pb2 import TimeOfDay

from service.catalog import catalog_requests, public_holidays
from service.catalog.catalog_store import Catalog
from service.errors import InvalidFields
from tests.retailer import Retailer
from truestock.v1 import catalog_service_pb2 as catalog_pb

SATURDAY, SUNDAY = DayOfWeek.SATURDAY, DayOfWeek.SUNDAY


def store(region: str = "", country: str = "US", **working_time: Any) -> catalog_pb.Location:
    """A store with this working time."""
    return catalog_pb.Location(
        location_id="austin",
        type=catalog_pb.Location.TYPE_STORE,
        country=country,
        region=region,
        working_time=catalog_pb.WorkingTime(**working_time),
    )


def problem(location: catalog_pb.Location) -> tuple[str, str]:
    """The field that is wrong, and what is wrong with it."""
    with pytest.raises(InvalidFields) as raised:
        catalog_requests.location_rows([location])
    [violation] = raised.value.violations
    return violation.field.removeprefix("locations[0].working_time."), violation.description


def test_texas_is_closed_on_thanksgiving_and_massachusetts_on_patriots_day_too() -> None:
    texas, massachusetts = (public_holidays.public_holidays("US", region, 2026) for region in ("TX", "Massachusetts"))

    assert date(2026, 11, 26) in texas & massachusetts
    assert date(2026, 4, 20) in massachusetts - texas


def test_holidays_reach_from_the_last_day_of_the_past_year_as_far_as_a_decision_looks() -> None:
    days = public_holidays.public_holidays("NO", None, 2026)

    assert min(days) == date(2026, 1, 1)
    assert max(days) == date(2028, 12, 26)
    assert date(2025, 12, 31) in public_holidays.public_holidays("LV", None, 2026)


@pytest.mark.parametrize(
    ("country", "region", "expected"),
    [
        ("", "", "needs the location's country"),
        ("XX", "", "public holidays of the country 'XX' are not known; list them in holidays"),
        (
            "US",
            "Californa",
            "'Californa' is not a region of US whose public holidays are known; did you mean 'California'?",
        ),
        ("GB", "Oslofjord", "use one of ENG, NIR, SCT, WLS, or leave the region empty"),
    ],
)
def test_an_unknown_country_or_region_has_no_public_holidays(country: str, region: str, expected: str) -> None:
    field, message = problem(store(region, country, closed_on_public_holidays=True))

    assert field == "closed_on_public_holidays"
    assert expected in message


def test_a_catalog_with_public_holidays_is_read_again_in_the_next_year() -> None:
    this_year = public_holidays.current_year()

    assert Catalog(1, {}, {}, holiday_year=this_year - 1).is_out_of_date
    assert not Catalog(1, {}, {}, holiday_year=this_year).is_out_of_date
    assert not Catalog(1, {}, {}).is_out_of_date


def test_any_region_will_do_without_public_holidays() -> None:
    assert catalog_requests.location_rows([store("Californa")])


@pytest.mark.parametrize(
    ("hours", "field"),
    [
        ([catalog_pb.WeekdayHours(day=SATURDAY)], "weekday_hours[0]"),
        ([catalog_pb.WeekdayHours(cut_off=TimeOfDay(hours=1))], "weekday_hours[0].day"),
        ([catalog_pb.WeekdayHours(day=SUNDAY, cut_off=TimeOfDay(hours=1))], "weekday_hours[0].day"),
        ([catalog_pb.WeekdayHours(day=SATURDAY, cut_off=TimeOfDay(hours=1))] * 2, "weekday_hours[1].day"),
        ([catalog_pb.WeekdayHours(day=SATURDAY, opens=TimeOfDay(hours=1))], "weekday_hours[0].closes"),
        ([catalog_pb.WeekdayHours(day=SATURDAY, cut_off=TimeOfDay(hours=1))] * 8, "weekday_hours"),
    ],
)
def test_contradictory_hours_of_a_weekday_are_refused(hours: list[catalog_pb.WeekdayHours], field: str) -> None:
    assert problem(store(opening_days=[SATURDAY], weekday_hours=hours))[0] == field


async def test_hours_of_weekdays_and_public_holidays_are_stored_and_decide(retailer: Retailer) -> None:
    await retailer.set_up()
    await retailer.stock({("MUG", "austin"): 5})
    saturday = catalog_pb.WeekdayHours(day=SATURDAY, opens=TimeOfDay(hours=10), closes=TimeOfDay(hours=0))
    sunday = catalog_pb.WeekdayHours(day=SUNDAY, cut_off=TimeOfDay(hours=0))
    location = store("TX", weekday_hours=[saturday, sunday], closed_on_public_holidays=True)
    location.working_time.public_holidays.append(Date(year=2000, month=1, day=1))

    await retailer.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[location]))
    request = catalog_pb.ListLocationsRequest(location_ids=["austin"])
    [listed] = (await retailer.catalog.ListLocations(request)).locations
    sold = await retailer.allocate("A-1", {"MUG": 1})

    christmas = Date(year=datetime.now(UTC).year, month=12, day=25)
    assert list(listed.working_time.weekday_hours) == [saturday, sunday]
    assert christmas in listed.working_time.public_holidays
    assert min(day.year for day in listed.working_time.public_holidays) > 2000
    inputs = (await retailer.decision(sold.decision.decision_id)).inputs
    [stored] = [x.working_time for x in inputs.locations if x.location_id == "austin"]
    assert christmas in stored.holidays
    assert list(stored.weekday_hours) == [saturday, sunday]
