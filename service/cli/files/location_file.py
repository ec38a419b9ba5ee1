"""The file of locations, with their working time."""

from __future__ import annotations

from google.type.dayofweek_pb2 import DayOfWeek
from google.type.latlng_pb2 import LatLng
from google.type.timeofday_pb2 import TimeOfDay

from policies.domain.capacity import MAX_CAPACITY, MAX_DAYS_AHEAD
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
from truestock.v1.catalog_service_pb2 import Capacity, CountryList, Location, WeekdayHours, WorkingTime

_TYPES = enum_words(Location.Type.keys(), "TYPE_", Location.Type.Value)
_STATUSES = enum_words(Location.Status.keys(), "STATUS_", Location.Status.Value)
_TIMES = ("cut_off", "opens", "closes")
_WORKING_TIME = (*_TIMES, "opening_days", "holidays", "closed_on_public_holidays")
_OF_WEEKDAYS = ("weekday_hours", "weekday_cut_offs")
_CAPACITY = {name: name for name in ("orders_per_day", "units_per_day", "orders_per_hour", "units_per_hour")} | {
    "days_ahead": "capacity_days_ahead"
}
"""The columns of the fields of a capacity."""
_OF_PARTS = ("latitude", "longitude", "ships_to", *_WORKING_TIME, *_OF_WEEKDAYS, *_CAPACITY.values())


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
    weekday_hours = _weekday_hours(cells)
    if working_time or weekday_hours:
        location.working_time.CopyFrom(WorkingTime(**working_time, weekday_hours=weekday_hours))
    capacity = {field: cells[column] for field, column in _CAPACITY.items() if column in cells}
    if capacity:
        location.capacity.CopyFrom(Capacity(**capacity))
    return location


def _weekday_hours(cells: Cells) -> list[WeekdayHours]:
    by_day: dict[int, WeekdayHours] = {}
    for column in _OF_WEEKDAYS:
        entries: list[WeekdayHours] = cells.get(column, [])
        if len({entry.day for entry in entries}) < len(entries):
            raise ValueError(f"{column} has a weekday twice; write each weekday once")
        for entry in entries:
            by_day.setdefault(entry.day, WeekdayHours()).MergeFrom(entry)
    return [by_day[day] for day in sorted(by_day)]


def _hours_of_weekday(cell: str) -> WeekdayHours:
    """Reads the hours of a weekday, such as `sat 10:00-16:00`."""
    day, _, hours = cell.partition(" ")
    opens, dash, closes = hours.replace(" ", "").partition("-")
    if not dash:
        raise ValueError(f"{cell!r} has no hours; write such as sat 10:00-16:00")
    return WeekdayHours(day=weekday(day), opens=time_of_day(opens), closes=time_of_day(closes))


def _cut_off_of_weekday(cell: str) -> WeekdayHours:
    """Reads the cut-off of a weekday, such as `fri 12:00`."""
    day, _, cut_off = cell.partition(" ")
    return WeekdayHours(day=weekday(day), cut_off=time_of_day(cut_off.strip()))


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
    for field, column in _CAPACITY.items():
        if location.capacity.HasField(field):  # type: ignore[arg-type]
            cells[column] = str(getattr(location.capacity, field))
    return cells | _working_time_cells(location.working_time)


def _working_time_cells(working_time: WorkingTime) -> dict[str, str]:
    cells = {
        "opening_days": join_list(_weekday_name(day) for day in working_time.opening_days),
        "holidays": join_list(f"{day.year:04}-{day.month:02}-{day.day:02}" for day in working_time.holidays),
    }
    days = working_time.weekday_hours
    cells["weekday_hours"] = join_list(
        f"{_weekday_name(x.day)} {time_of_day_text(x.opens)}-{_closing_text(x.closes)}"
        for x in days
        if x.HasField("opens")
    )
    cells["weekday_cut_offs"] = join_list(
        f"{_weekday_name(x.day)} {time_of_day_text(x.cut_off)}" for x in days if x.HasField("cut_off")
    )
    if working_time.closed_on_public_holidays:
        cells["closed_on_public_holidays"] = word_of(YES_NO, True)
    if working_time.HasField("cut_off"):
        cells["cut_off"] = time_of_day_text(working_time.cut_off)
    if working_time.HasField("opens"):
        cells["opens"] = time_of_day_text(working_time.opens)
        cells["closes"] = _closing_text(working_time.closes)
    return cells


def _weekday_name(day: int) -> str:
    return WEEKDAYS[day - DayOfWeek.MONDAY]


def _closing_text(closes: TimeOfDay) -> str:
    # Midnight at the end of the day, which the service returns as 0:00.
    return time_of_day_text(closes).replace("00:00", "24:00")


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
        CsvColumn(
            "weekday_hours",
            entries_of(_hours_of_weekday),
            "hours of weekdays that differ, separated by |, such as sat 10:00-16:00",
        ),
        CsvColumn(
            "weekday_cut_offs", entries_of(_cut_off_of_weekday), "cut-offs that differ, such as fri 12:00|sat 10:00"
        ),
        CsvColumn("closed_on_public_holidays", choice(YES_NO), "yes or no; yes needs country and perhaps region"),
        CsvColumn(
            "orders_per_day", whole_number(0, MAX_CAPACITY), "orders that it handles in a day; no limit if empty"
        ),
        CsvColumn("units_per_day", whole_number(0, MAX_CAPACITY), "units that it handles in a day; no limit if empty"),
        CsvColumn("orders_per_hour", whole_number(0, MAX_CAPACITY), "orders in an hour; no limit if empty"),
        CsvColumn("units_per_hour", whole_number(0, MAX_CAPACITY), "units in an hour; no limit if empty"),
        CsvColumn(
            "capacity_days_ahead",
            whole_number(0, MAX_DAYS_AHEAD),
            "days after the first up to which it takes orders when it is full; 7 if empty",
        ),
    ),
    make_location,
    location_cells,
    {"coordinates": "latitude"}
    | {f"working_time.{name}": name for name in (*_WORKING_TIME, "weekday_hours")}
    | {f"capacity.{field}": column for field, column in _CAPACITY.items()},
)
