"""The file of locations, with their working time."""

from __future__ import annotations

from google.type.dayofweek_pb2 import DayOfWeek
from google.type.latlng_pb2 import LatLng

from service import limits
from service.cli.files.file_kind import Cells, CsvColumn, FileKind
from service.cli.spreadsheets.cell_text import join_list
from service.cli.spreadsheets.cell_values import (
    WEEKDAYS,
    YES_NO,
    calendar_date,
    choice,
    countries,
    country,
    entries_of,
    enum_words,
    identifier,
    number,
    number_text,
    text,
    time_of_day,
    time_of_day_text,
    time_zone,
    weekday,
    whole_number,
    word_of,
)
from truestock.v1.catalog_service_pb2 import CountryList, Location, WorkingTime

_TYPES = enum_words(Location.Type.keys(), "TYPE_", Location.Type.Value)
_STATUSES = enum_words(Location.Status.keys(), "STATUS_", Location.Status.Value)
_TIMES = ("cut_off", "opens", "closes")
_WORKING_TIME = (*_TIMES, "opening_days", "holidays")
_OF_PARTS = ("latitude", "longitude", "ships_to", *_WORKING_TIME)


def make_location(cells: Cells) -> Location:
    """A location from one row."""
    location = Location(**{name: value for name, value in cells.items() if name not in _OF_PARTS})
    if ("latitude" in cells) != ("longitude" in cells):
        raise ValueError("one of latitude and longitude is empty; fill in both or neither")
    if ("opens" in cells) != ("closes" in cells):
        raise ValueError("one of opens and closes is empty; fill in both or neither")
    if "latitude" in cells:
        location.coordinates.CopyFrom(LatLng(latitude=cells["latitude"], longitude=cells["longitude"]))
    if "ships_to" in cells:
        location.ships_to.CopyFrom(CountryList(countries=cells["ships_to"]))
    working_time = {name: cells[name] for name in _WORKING_TIME if name in cells}
    if working_time:
        location.working_time.CopyFrom(WorkingTime(**working_time))
    return location


def location_cells(location: Location) -> dict[str, str]:
    """A location as one row."""
    cells = {
        "location_id": location.location_id,
        "type": word_of(_TYPES, location.type),
        "status": word_of(_STATUSES, location.status),
        "display_name": location.display_name,
        "tags": join_list(location.tags),
        "country": location.country,
        "region": location.region,
        "postal_code": location.postal_code,
        "time_zone": location.time_zone,
        "offers_pickup": word_of(YES_NO, location.offers_pickup),
    }
    if location.HasField("coordinates"):
        cells["latitude"] = number_text(location.coordinates.latitude)
        cells["longitude"] = number_text(location.coordinates.longitude)
    if location.HasField("handling_minutes"):
        cells["handling_minutes"] = str(location.handling_minutes)
    if location.HasField("priority"):
        cells["priority"] = str(location.priority)
    if location.HasField("ships_to"):
        cells["ships_to"] = join_list(location.ships_to.countries) or "none"
    return cells | _working_time_cells(location.working_time)


def _working_time_cells(working_time: WorkingTime) -> dict[str, str]:
    cells = {
        "opening_days": join_list(WEEKDAYS[day - DayOfWeek.MONDAY] for day in working_time.opening_days),
        "holidays": join_list(f"{day.year:04}-{day.month:02}-{day.day:02}" for day in working_time.holidays),
    }
    if working_time.HasField("cut_off"):
        cells["cut_off"] = time_of_day_text(working_time.cut_off)
    if working_time.HasField("opens"):
        cells["opens"] = time_of_day_text(working_time.opens)
        # Midnight at the end of the day, which the service returns as 0:00.
        cells["closes"] = time_of_day_text(working_time.closes).replace("00:00", "24:00")
    return cells


LOCATIONS = FileKind(
    "location",
    ("location_id",),
    (
        CsvColumn("location_id", identifier, "your own id, such as dc-memphis", required=True),
        CsvColumn("type", choice(_TYPES), "store, warehouse, supplier or pop_up", required=True),
        CsvColumn("status", choice(_STATUSES), "open, paused, stocktake or closed"),
        CsvColumn("display_name", text(limits.TEXT_LENGTH), "name for people", free_text=True),
        CsvColumn("tags", entries_of(text(limits.TAG_LENGTH)), r"tags separated by |; \| is a | in a tag"),
        CsvColumn("country", country, "country code or name, such as US"),
        CsvColumn("region", text(limits.REGION_LENGTH), "state or province, such as TX", free_text=True),
        CsvColumn("postal_code", text(limits.POSTAL_CODE_LENGTH), "at most 16 characters"),
        CsvColumn("latitude", number(-90, 90), "degrees, with longitude", decimal=True),
        CsvColumn("longitude", number(-180, 180), "degrees, with latitude", decimal=True),
        CsvColumn("time_zone", time_zone, "IANA name, such as America/Chicago; UTC if empty"),
        CsvColumn("offers_pickup", choice(YES_NO), "yes or no; no if empty"),
        CsvColumn(
            "handling_minutes",
            whole_number(0, limits.HANDLING_MINUTES),
            "minutes from order to handover to the carrier; unknown if empty",
        ),
        CsvColumn("priority", whole_number(-1_000_000, 1_000_000), "lower is preferred; last if empty"),
        CsvColumn("ships_to", countries, "countries separated by |; all if empty, no country if none"),
        CsvColumn("cut_off", time_of_day, "last minute for work of the same day, such as 15:00; none if empty"),
        CsvColumn("opening_days", entries_of(weekday), "weekdays separated by |, such as mon|tue; all if empty"),
        CsvColumn("opens", time_of_day, "opening time, such as 09:00, with closes; all day if empty"),
        CsvColumn("closes", time_of_day, "closing time, with opens; 24:00 is midnight"),
        CsvColumn("holidays", entries_of(calendar_date), "days off separated by |, such as 2026-12-25"),
    ),
    make_location,
    location_cells,
    {"coordinates": "latitude"} | {f"working_time.{name}": name for name in _WORKING_TIME},
)
