"""The columns of the CSV files that `truestock import` reads: names, parsers, and the messages made of a row."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import available_timezones

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.type.latlng_pb2 import LatLng

from policies.domain.channel_statuses import PLATFORMS
from policies.domain.model import LEAST_VELOCITY
from service import limits
from service.cli.files.countries import country_code
from service.cli.files.csv_table import closest_name
from service.rpc import proto_values
from truestock.v1.catalog_service_pb2 import Channel, CountryList, Feed, Location, PackageDimensions, Product
from truestock.v1.stock_service_pb2 import StockChange, StockCount

Cells = Mapping[str, Any]
"""The parsed values of one row's non-empty cells, by column."""

_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class CsvColumn:
    """A column: `read` turns a cell's text into a value, or raises ValueError with `problem; help`."""

    name: str
    read: Callable[[str], Any]
    help: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file. No two rows may have the same values in the `key` columns; `make` builds the message of one row.

    `make` raises ValueError for cells that contradict each other. `field_columns` maps fields of the message to the
    columns that they come from, if the names differ, so that an error of the service can name the column.
    """

    noun: str
    key: tuple[str, ...]
    columns: tuple[CsvColumn, ...]
    make: Callable[[Cells], Message]
    field_columns: Mapping[str, str]


def text(limit: int) -> Callable[[str], str]:
    """Reads printable text of at most `limit` characters."""

    def read(cell: str) -> str:
        if len(cell) > limit:
            raise ValueError(f"{len(cell)} characters are more than {limit}; shorten it")
        if not cell.isprintable():
            raise ValueError(f"{cell!r} has control characters; remove them")
        return cell

    return read


def identifier(cell: str) -> str:
    """Reads the id of a location or channel."""
    if not re.fullmatch(r"[a-z0-9_-]{1,64}", cell):
        raise ValueError(f"{cell!r} is not an id; use lower-case letters, digits, '-' and '_', at most 64")
    return cell


def whole_number(minimum: int, maximum: int) -> Callable[[str], int]:
    """Reads a whole number in a range, both ends included."""

    def read(cell: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", cell):
            raise ValueError(f"{cell!r} is not a whole number; write digits only, such as 12")
        if not minimum <= int(cell) <= maximum:
            raise ValueError(f"{cell} is not between {minimum:,} and {maximum:,}; correct the number")
        return int(cell)

    return read


def number(minimum: float, maximum: float) -> Callable[[str], float]:
    """Reads a finite number in a range, both ends included."""

    def read(cell: str) -> float:
        if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)", cell):
            raise ValueError(f"{cell!r} is not a number; write it such as 35.15")
        value = float(cell)
        if not math.isfinite(value) or not minimum <= value <= maximum:
            raise ValueError(f"{cell} is not between {minimum:,g} and {maximum:,g}; correct the number")
        return value

    return read


def velocity(cell: str) -> float:
    """Reads units a day: 0, or a number that the API allows."""
    value = number(0, limits.VELOCITY_PER_DAY)(cell)
    if 0 < value < LEAST_VELOCITY:
        raise ValueError(f"{cell} is neither 0 nor at least {LEAST_VELOCITY:f} units a day; correct the number")
    return value


def choice(words: Mapping[str, Any]) -> Callable[[str], Any]:
    """Reads one of several words, in any case; the error names the closest word."""

    def read(cell: str) -> Any:
        if cell.lower() in words:
            return words[cell.lower()]
        near = closest_name(cell, words)
        hint = f"did you mean {near!r}?" if near else f"use one of {', '.join(words)}"
        raise ValueError(f"{cell!r} is not a valid value; {hint}")

    return read


def tags(cell: str) -> list[str]:
    """Reads tags separated by `|`."""
    return [text(limits.TAG_LENGTH)(word.strip()) for word in cell.split("|") if word.strip()]


def identifiers(cell: str) -> list[str]:
    """Reads ids separated by `|`."""
    return [identifier(word) for word in tags(cell)]


def country(cell: str) -> str:
    """Reads the name or code of a country."""
    code = country_code(cell)
    if code is None:
        raise ValueError(f"{cell!r} is not a country; write an ISO 3166-1 code, such as US")
    return code


def countries(cell: str) -> list[str]:
    """Reads countries separated by `|`; `none` is an empty list."""
    return [] if cell.lower() == "none" else [country(word) for word in tags(cell)]


def time_zone(cell: str) -> str:
    """Reads an IANA time zone."""
    zones = available_timezones()
    if cell not in zones:
        near = closest_name(cell, zones)
        hint = f"did you mean {near!r}?" if near else "write an IANA name, such as America/Chicago"
        raise ValueError(f"{cell!r} is not a time zone; {hint}")
    return cell


def zoned_time(cell: str) -> datetime:
    """Reads an ISO 8601 time with a time zone, between the years that the service takes."""
    try:
        value = datetime.fromisoformat(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is not a time; write ISO 8601, such as 2026-11-27T09:00:00Z") from None
    if value.tzinfo is None:
        raise ValueError(f"{cell!r} has no time zone; add Z for UTC or an offset such as -06:00")
    # Compared before it is converted to any zone, which fails near the ends of the calendar.
    if not limits.EARLIEST <= value <= limits.LATEST:
        raise ValueError(f"{cell!r} is not between the years 1970 and 9999 in UTC; correct the year")
    return value.astimezone(UTC)


def make_location(cells: Cells) -> Location:
    """A location from one row."""
    fields = {name: value for name, value in cells.items() if name not in ("latitude", "longitude", "ships_to")}
    location = Location(**fields)
    if ("latitude" in cells) != ("longitude" in cells):
        raise ValueError("one of latitude and longitude is empty; fill in both or neither")
    if "latitude" in cells:
        location.coordinates.CopyFrom(LatLng(latitude=cells["latitude"], longitude=cells["longitude"]))
    if "ships_to" in cells:
        location.ships_to.CopyFrom(CountryList(countries=cells["ships_to"]))
    return location


def make_product(cells: Cells) -> Product:
    """A product from one row."""
    fields = {name: value for name, value in cells.items() if name not in (*DIMENSIONS, "price", "currency")}
    product = Product(**fields)
    if "price" in cells:
        product.price.CopyFrom(proto_values.money(cells["price"], cells.get("currency", "USD")))
    dimensions = {name: cells[name] for name in DIMENSIONS if name in cells}
    if dimensions and len(dimensions) < len(DIMENSIONS):
        missing = ", ".join(name for name in DIMENSIONS if name not in dimensions)
        raise ValueError(f"only some dimensions are given; fill in {missing} too, or none")
    if dimensions:
        product.dimensions.CopyFrom(PackageDimensions(**dimensions))
    return product


def make_channel(cells: Cells) -> Channel:
    """A channel from one row."""
    minutes = cells.get("unpaid_order_minutes")
    fields = {name: value for name, value in cells.items() if name != "unpaid_order_minutes"}
    return Channel(**fields, unpaid_order_duration=None if minutes is None else Duration(seconds=minutes * 60))


def make_feed(cells: Cells) -> Feed:
    """A feed from one row."""
    return Feed(**cells)


def make_count(cells: Cells) -> StockChange:
    """A count from one row, without change id, and without time if the row has none: the importer sets them."""
    stock_count = StockCount(on_hand_count=cells["on_hand_count"], computed=cells.get("computed"))
    if "unavailable_count" in cells:
        if cells["unavailable_count"] > cells["on_hand_count"]:
            raise ValueError("unavailable_count is above on_hand_count; count unavailable units in both")
        stock_count.unavailable_count = cells["unavailable_count"]
    change = StockChange(sku=cells["sku"], location_id=cells["location_id"], count=stock_count)
    if "counted_at" in cells:
        change.effective_time.FromDatetime(cells["counted_at"])
    return change


def _enum_choice(names: Sequence[str], prefix: str, values: Callable[[str], Any]) -> Callable[[str], Any]:
    return choice(
        {name.removeprefix(prefix).lower(): values(name) for name in names if not name.endswith("UNSPECIFIED")}
    )


DIMENSIONS = ("weight_grams", "length_mm", "width_mm", "height_mm")
_sku = CsvColumn("sku", text(limits.SKU_LENGTH), "the stock keeping unit", required=True)
_tags = CsvColumn("tags", tags, "tags separated by |")
_display_name = CsvColumn("display_name", text(limits.TEXT_LENGTH), "name for people")

LOCATIONS = FileKind(
    "location",
    ("location_id",),
    (
        CsvColumn("location_id", identifier, "your own id, such as dc-memphis", required=True),
        CsvColumn(
            "type",
            _enum_choice(Location.Type.keys(), "TYPE_", Location.Type.Value),
            "store, warehouse, supplier or pop_up",
            True,
        ),
        CsvColumn(
            "status",
            _enum_choice(Location.Status.keys(), "STATUS_", Location.Status.Value),
            "open, paused, stocktake or closed",
        ),
        _display_name,
        _tags,
        CsvColumn("country", country, "country code or name, such as US"),
        CsvColumn("region", text(64), "state or province, such as TX"),
        CsvColumn("postal_code", text(limits.POSTAL_CODE_LENGTH), "at most 16 characters"),
        CsvColumn("latitude", number(-90, 90), "degrees, with longitude"),
        CsvColumn("longitude", number(-180, 180), "degrees, with latitude"),
        CsvColumn("time_zone", time_zone, "IANA name, such as America/Chicago; UTC if empty"),
        CsvColumn("offers_pickup", choice(_YES_NO), "yes or no; no if empty"),
        CsvColumn(
            "handling_minutes",
            whole_number(0, limits.HANDLING_MINUTES),
            "minutes from order to handover to the carrier; unknown if empty",
        ),
        CsvColumn("priority", whole_number(-1_000_000, 1_000_000), "lower is preferred; last if empty"),
        CsvColumn("ships_to", countries, "countries separated by |; all if empty, no country if none"),
    ),
    make_location,
    {"coordinates": "latitude"},
)
PRODUCTS = FileKind(
    "product",
    ("sku",),
    (
        _sku,
        _display_name,
        CsvColumn(
            "status",
            _enum_choice(Product.Status.keys(), "STATUS_", Product.Status.Value),
            "active, draft or discontinued",
        ),
        _tags,
        CsvColumn("category", text(64), "such as tents"),
        CsvColumn("brand", text(64), "such as Tarnwick"),
        CsvColumn("price", proto_values.price, "such as 24.95"),
        CsvColumn("currency", proto_values.currency, "of the price; USD if empty"),
        CsvColumn("style", text(64), "the same for all variants, such as sizes"),
        CsvColumn("barcode", text(64), "EAN, UPC or the like"),
        CsvColumn("image_uri", text(limits.URI_LENGTH), "URL of a picture"),
        *(
            CsvColumn(name, whole_number(1, limits.DIMENSION), "of the packed product; all four or none")
            for name in DIMENSIONS
        ),
        CsvColumn(
            "velocity_per_day",
            velocity,
            "expected sales in units a day; empty if unknown",
        ),
    ),
    make_product,
    {"dimensions": "weight_grams"},
)
CHANNELS = FileKind(
    "channel",
    ("channel_id",),
    (
        CsvColumn("channel_id", identifier, "such as tiktok_shop", required=True),
        CsvColumn(
            "kind",
            _enum_choice(Channel.Kind.keys(), "KIND_", Channel.Kind.Value),
            "pos, web, social, marketplace or b2b",
            True,
        ),
        _display_name,
        CsvColumn("location_ids", identifiers, "locations that it sells from, separated by |; all if empty"),
        CsvColumn(
            "cancellation_headroom",
            number(0, 1),
            "unused share of the allowed cancellations, 0 to 1; unknown if empty",
        ),
        CsvColumn(
            "platform",
            choice({word: word for word in PLATFORMS}),
            f"platform that defines the channel_status of orders: {', '.join(PLATFORMS)}; empty if another",
        ),
        CsvColumn(
            "figure_lag_seconds",
            whole_number(0, limits.FIGURE_LAG_SECONDS),
            "seconds until it shows a figure that was published to it",
        ),
        CsvColumn(
            "unpaid_order_minutes",
            whole_number(1, int(limits.UNPAID_ORDER_LONGEST.total_seconds()) // 60),
            "how long an order may wait for payment; empty if unknown",
        ),
    ),
    make_channel,
    {},
)
STOCK = FileKind(
    "count",
    ("sku", "location_id"),
    (
        _sku,
        CsvColumn("location_id", identifier, "where it was counted", required=True),
        CsvColumn(
            "on_hand_count",
            whole_number(0, limits.COUNTED_UNITS),
            "units physically there, sellable or not",
            required=True,
        ),
        CsvColumn(
            "unavailable_count",
            whole_number(0, limits.COUNTED_UNITS),
            "units on hand that are not sellable; unchanged if empty",
        ),
        CsvColumn("counted_at", zoned_time, "time of the count, such as 2026-11-27T09:00:00Z; now if empty"),
        CsvColumn(
            "computed",
            choice(_YES_NO),
            "yes if a program wrote the figure, no if a person counted; if empty, as --computed or --counted says, "
            "else as the feed declares, else a person counted",
        ),
    ),
    make_count,
    {
        "count.on_hand_count": "on_hand_count",
        "count.unavailable_count": "unavailable_count",
        "effective_time": "counted_at",
    },
)
FEEDS = FileKind(
    "feed",
    ("source",),
    (
        CsvColumn("source", text(limits.ID_LENGTH), "source of the reports, such as pos-austin or wms", required=True),
        CsvColumn(
            "role",
            _enum_choice(Feed.Role.keys(), "ROLE_", Feed.Role.Value),
            "owner, whose counts set the stock level, or observer, whose counts are only compared",
            True,
        ),
        CsvColumn(
            "basis",
            _enum_choice(Feed.Basis.keys(), "BASIS_", Feed.Basis.Value),
            "on_hand or available; on_hand if empty",
        ),
        CsvColumn(
            "open_orders",
            _enum_choice(Feed.OpenOrders.keys(), "OPEN_ORDERS_", Feed.OpenOrders.Value),
            "gross, or net if open orders are subtracted; gross if empty",
        ),
        CsvColumn("location_ids", identifiers, "locations that it reports, separated by |; all if empty"),
        CsvColumn("skus", tags, "products that it reports, separated by |; all if empty"),
        CsvColumn(
            "cadence_minutes",
            whole_number(1, limits.CADENCE_MINUTES),
            "minutes between reports; empty if silence is no problem",
        ),
        CsvColumn(
            "tolerance_units",
            whole_number(0, limits.COUNTED_UNITS),
            "units by which an observer may differ; 0 if empty",
        ),
        CsvColumn(
            "computed", choice(_YES_NO), "yes if a program computes its figures, such as a till or a WMS; no if empty"
        ),
        _display_name,
    ),
    make_feed,
    {"": "source"},
)
KINDS = {"locations": LOCATIONS, "products": PRODUCTS, "channels": CHANNELS, "feeds": FEEDS, "stock": STOCK}
