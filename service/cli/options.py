"""Options and arguments that several commands share, and how they are read. Bad values exit with code 2."""

from __future__ import annotations

import getpass
import re
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.date_pb2 import Date
from google.type.latlng_pb2 import LatLng

from policies.domain.near_names import near_name
from service.cli.spreadsheets import cell_values
from service.cli.spreadsheets.countries import country_code
from service.cli.spreadsheets.decimal_marks import DecimalMark
from service.rpc import proto_values
from service.settings import DEFAULT_SERVER
from truestock.v1.allocation_service_pb2 import GetAllocationRequest, LineCancellation
from truestock.v1.fulfillment_service_pb2 import LineUnits
from truestock.v1.order_pb2 import Destination, OrderLine, OrderReference

Server = Annotated[
    str,
    typer.Option("--server", envvar="TRUESTOCK_SERVER", metavar="HOST:PORT", help="Address of the Truestock service."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, with the field names of the API; errors on stderr.")]
Candidate = Annotated[
    str,
    typer.Option(
        "--candidate", metavar="REVISION", help="By these rules: a candidate of `rules test`, or an earlier revision."
    ),
]
Country = Annotated[str, typer.Option("--country", help="Destination: country code or name, such as US.")]
Region = Annotated[str, typer.Option("--region", help="Destination: state or province, such as TX.")]
PostalCode = Annotated[str, typer.Option("--postal-code", help="Destination: postal code.")]
Latitude = Annotated[float | None, typer.Option("--lat", min=-90, max=90, help="Destination: latitude, with --lon.")]
Longitude = Annotated[float | None, typer.Option("--lon", min=-180, max=180, help="Destination: longitude.")]
ChannelId = Annotated[str, typer.Option("--channel", help="The channel's id, such as shopify.")]
RequestId = Annotated[
    str, typer.Option("--request-id", metavar="UUID", help="Idempotency key of this call; a new one by default.")
]
ShipmentId = Annotated[str, typer.Argument(metavar="SHIPMENT", help="The shipment's id, a UUID.")]
UnitsOfLines = Annotated[
    list[str] | None, typer.Argument(metavar="LINE:UNITS…", help="Such as 1:2; all units not yet shipped by default.")
]
EventId = Annotated[
    str,
    typer.Option("--event-id", metavar="ID", help="Idempotency key of the event: it is applied only once."),
]
At = Annotated[str, typer.Option("--at", metavar="TIME", help="Time of the event in ISO 8601; now by default.")]
AllocationReference = Annotated[
    str,
    typer.Argument(metavar="ALLOCATION|CHANNEL/ORDER", help="An allocation's id, or an order such as shopify/1001."),
]
Encoding = Annotated[
    str, typer.Option("--encoding", help="The file's encoding, unless it starts with a byte order mark.")
]

Decimals = Annotated[
    DecimalMark | None,
    typer.Option(
        "--decimal",
        help="Mark of decimals in the file: 24,95 or 24.95. Default: as its cells show.",
        show_default=False,
    ),
]

Value = TypeVar("Value")
SERVER = DEFAULT_SERVER
_AGE_UNITS = {"min": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}


def destination(
    country: str, region: str, postal_code: str, latitude: float | None, longitude: float | None
) -> Destination | None:
    """The destination of an order; None if no option names one."""
    if (latitude is None) != (longitude is None):
        raise typer.BadParameter("--lat and --lon go together; give both or neither")
    code = country_filter(country) if country else ""
    message = Destination(country=code, region=region, postal_code=postal_code)
    if latitude is not None and longitude is not None:
        message.coordinates.CopyFrom(LatLng(latitude=latitude, longitude=longitude))
    return message if message.ByteSize() else None


def enum_words(enum: Any, prefix: str) -> dict[str, Any]:
    """The values of an enum of the API by their words on the command line: `pop_up` of `TYPE_POP_UP`."""
    return cell_values.enum_words(enum.keys(), prefix, enum.Value)


def word(option: str, text: str, words: Mapping[str, Value]) -> Value:
    """What a word of an option stands for, in any letter case, with `-`, `_` or spaces; the error lists the words."""
    by_key = {re.sub("[- ]", "_", known): value for known, value in words.items()}
    key = re.sub("[- ]", "_", text.strip().lower())
    if key in by_key:
        return by_key[key]
    near = near_name(key, words)
    hint = f"; did you mean {near!r}?" if near else ""
    raise typer.BadParameter(f"{option} {text!r} is none of: {', '.join(words)}{hint}")


def country_filter(text: str) -> str:
    """The code of a country that is given by its code or its name."""
    code = country_code(text)
    if code is None:
        raise typer.BadParameter(f"{text!r} is not a country; write an ISO 3166-1 code, such as US")
    return code


def order_lines(lines: Sequence[str], items: Sequence[str], currency: str) -> list[OrderLine]:
    """Reads `--line` options, `SKU:UNITS` or `SKU:UNITS@PRICE`, and `--item` options, `ITEM:COUNT` or with a price."""
    if not lines and not items:
        raise typer.BadParameter("give at least one --line or --item")
    read = []
    for option, texts in (("--line", lines), ("--item", items)):
        for text in texts:
            name, units, price = _ordered(option, text)
            line = OrderLine(unit_count=units, **{"sku" if option == "--line" else "item_id": name})
            if price:
                line.unit_price.CopyFrom(proto_values.money(_price(price), _currency(currency)))
            read.append(line)
    return read


def _ordered(option: str, text: str) -> tuple[str, int, str]:
    match = re.fullmatch(r"(.+):([0-9]{1,9})(?:@(.+))?", text)
    if match is None:
        name = "SKU" if option == "--line" else "ITEM"
        raise typer.BadParameter(f"{option} {text!r} is not {name}:UNITS or {name}:UNITS@PRICE, such as MUG:2@12.50")
    return match[1], int(match[2]), match[3] or ""


def item_cancellation(text: str) -> LineCancellation:
    """Reads `ITEM:COUNT` as items to cancel."""
    item_id, count, price = _ordered("--item", text)
    if price:
        raise typer.BadParameter(f"--item {text!r} is not ITEM:COUNT, such as 1729583201114820002:1")
    return LineCancellation(item_id=item_id, unit_count=count)


def place_lines(
    lines: Sequence[OrderLine], only: Sequence[str], without: Sequence[str], together: Sequence[str]
) -> None:
    """Sets the locations and groups of lines, which are named by their number: `1:store-a,store-b` and `1,2`."""
    for option, texts, field in (("--only", only, "only_location_ids"), ("--not", without, "not_location_ids")):
        for text in texts:
            number, _, location_ids = text.partition(":")
            ids = [part.strip() for part in location_ids.split(",") if part.strip()]
            if not ids:
                raise typer.BadParameter(f"{option} {text!r} is not LINE:LOCATION,..., such as 1:store-a,store-b")
            getattr(_numbered(option, text, number, lines), field).extend(ids)
    for group, text in enumerate(together, start=1):
        numbers = text.split(",")
        for number in numbers:
            _numbered("--together", text, number, lines).keep_together = str(group)


def _numbered(option: str, text: str, number: str, lines: Sequence[OrderLine]) -> OrderLine:
    if not re.fullmatch(r"[0-9]{1,4}", number.strip()) or not 1 <= int(number) <= len(lines):
        raise typer.BadParameter(f"{option} {text!r} names no line; the lines are numbered from 1 to {len(lines)}")
    return lines[int(number) - 1]


def cancellation(text: str) -> LineCancellation:
    """Reads `LINE:UNITS` as units to cancel."""
    line_id, units = _line_and_units(text)
    return LineCancellation(line_id=line_id, unit_count=units)


def line_units(text: str) -> LineUnits:
    """Reads `LINE:UNITS`."""
    line_id, units = _line_and_units(text)
    return LineUnits(line_id=line_id, unit_count=units)


def timestamp(text: str, option: str) -> Timestamp | None:
    """Reads a time with its time zone; None if the option is left out."""
    if not text:
        return None
    message = Timestamp()
    try:
        message.FromDatetime(cell_values.zoned_time(text))
    except ValueError as error:
        raise typer.BadParameter(f"{option} {error}") from error
    return message


def calendar_day(text: str, option: str) -> Date | None:
    """Reads a date such as `2026-12-01`; None if the option is left out."""
    if not text:
        return None
    try:
        return cell_values.calendar_date(text)
    except ValueError as error:
        raise typer.BadParameter(f"{option} {error}") from error


def past_time(text: str, option: str) -> Timestamp | None:
    """Reads a time, or an age such as `90min`, `12h`, `1d` or `2w`; None if the option is left out."""
    match = re.fullmatch(r"([0-9]{1,6})(min|h|d|w)", text)
    if match is None:
        return timestamp(text, option)
    moment = Timestamp()
    try:
        moment.FromDatetime(datetime.now(UTC) - int(match[1]) * _AGE_UNITS[match[2]])
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{option} {text!r} is too long ago") from error
    return moment


def allocation_reference(text: str) -> GetAllocationRequest:
    """Reads `CHANNEL/ORDER`, an order's number, or an allocation's id, also cut short; the client completes these."""
    channel_id, slash, order_id = text.partition("/")
    if slash and channel_id and order_id:
        return GetAllocationRequest(order=OrderReference(channel_id=channel_id, order_id=order_id))
    if slash or not text:
        raise typer.BadParameter(
            f"{text!r} is neither an allocation's id, nor an order's number, nor CHANNEL/ORDER, such as shopify/1001"
        )
    return GetAllocationRequest(allocation_id=text)


def order_reference(text: str) -> OrderReference:
    """Reads `CHANNEL/ORDER`."""
    channel_id, _, order_id = text.partition("/")
    if not (channel_id and order_id):
        raise typer.BadParameter(f"{text!r} is not CHANNEL/ORDER, such as tiktok_shop/576461413038785752")
    return OrderReference(channel_id=channel_id, order_id=order_id)


def exception_id(text: str) -> str:
    """Checks an exception's id, which may be cut short, and returns it unchanged."""
    if not _is_part_of_id(text):
        hint = "`truestock exceptions` lists the ids"
        raise typer.BadParameter(f"{text!r} is not an exception's id or a part of one; {hint}")
    return text


def decision_id(text: str) -> str:
    """Checks a decision's id, which may be cut short, and returns it unchanged."""
    if not _is_part_of_id(text):
        hint = "`truestock explain CHANNEL/ORDER` lists the decisions of an order"
        raise typer.BadParameter(f"{text!r} is not a decision's id or a part of one; {hint}")
    return text


def shipment_id(text: str) -> str:
    """Checks a shipment's id, which may be cut short, and returns it unchanged."""
    if not _is_part_of_id(text):
        hint = "`truestock shipments` and `truestock explain CHANNEL/ORDER` list shipment ids"
        raise typer.BadParameter(f"{text!r} is not a shipment's id or a part of one; {hint}")
    return text


def request_id(text: str) -> str:
    """The given request id, or a new one."""
    if text and not _is_uuid(text):
        raise typer.BadParameter(f"--request-id {text!r} is not a UUID; leave it out to use a new one")
    return text or str(uuid.uuid4())


def currency_option(text: str) -> str:
    """Checks a currency; for use as an option's callback."""
    return _currency(text)


def _line_and_units(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+):([0-9]{1,9})", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not LINE:UNITS, such as 1:2; `truestock explain` lists the lines")
    return match[1], int(match[2])


def _price(text: str) -> Decimal:
    try:
        return proto_values.price(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _currency(text: str) -> str:
    try:
        return proto_values.currency(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _is_part_of_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F-]{6,36}", text) is not None and len(text.replace("-", "")) >= 6


def _is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text) is not None


Currency = Annotated[
    str, typer.Option("--currency", callback=currency_option, help="Currency of the prices, such as USD.")
]


def login_name() -> str:
    """The name of the person at the terminal, for the history."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError) as error:
        raise typer.BadParameter(
            "name yourself with --by, because this system does not know your login name"
        ) from error


DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the embedded PostgreSQL's data. Or TRUESTOCK_DATA_DIR."),
]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", help="URL of an external PostgreSQL 14 or later. Or DATABASE_URL.")
]
DatabaseUrlFile = Annotated[
    Path | None,
    typer.Option(
        "--database-url-file", help="A file with that URL, which may hold a password. Or TRUESTOCK_DATABASE_URL_FILE."
    ),
]
