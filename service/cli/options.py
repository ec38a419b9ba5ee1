"""Options and arguments that several commands share, and how they are read. Nonsense is wrong usage: exit code 2."""

from __future__ import annotations

import re
import uuid
from decimal import Decimal
from typing import Annotated

import typer
from google.protobuf.timestamp_pb2 import Timestamp
from google.type.latlng_pb2 import LatLng

from service.cli.files import csv_columns
from service.cli.files.countries import country_code
from service.rpc import proto_values
from service.settings import DEFAULT_SERVER
from truestock.v1.allocation_service_pb2 import GetAllocationRequest, LineCancellation
from truestock.v1.fulfillment_service_pb2 import LineUnits
from truestock.v1.order_pb2 import Destination, OrderLine, OrderReference

Server = Annotated[
    str, typer.Option("--server", envvar="TRUESTOCK_SERVER", metavar="HOST:PORT", help="Where Truestock answers.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, with the field names of the API.")]
Country = Annotated[str, typer.Option("--country", help="Destination: a country's code or name, such as US.")]
Region = Annotated[str, typer.Option("--region", help="Destination: state or province, such as TX.")]
PostalCode = Annotated[str, typer.Option("--postal-code", help="Destination: postal code.")]
Latitude = Annotated[float | None, typer.Option("--lat", min=-90, max=90, help="Destination: latitude, with --lon.")]
Longitude = Annotated[float | None, typer.Option("--lon", min=-180, max=180, help="Destination: longitude.")]
ChannelId = Annotated[str, typer.Option("--channel", help="The channel's id, such as shopify.")]
RequestId = Annotated[
    str, typer.Option("--request-id", metavar="UUID", help="Makes a repeated call safe. Made for you if left out.")
]
ShipmentId = Annotated[str, typer.Argument(metavar="SHIPMENT", help="The shipment's id, a UUID.")]
UnitsOfLines = Annotated[
    list[str] | None, typer.Argument(metavar="LINE:UNITS…", help="Everything that has not left if left out.")
]
EventId = Annotated[
    str, typer.Option("--event", metavar="NAME", help="Your name for what happened: heard again, it is the same.")
]
At = Annotated[str, typer.Option("--at", metavar="TIME", help="When it happened, in ISO 8601; now if left out.")]
AllocationOrOrder = Annotated[
    str, typer.Argument(metavar="ALLOCATION|CHANNEL/ORDER", help="An allocation's id, or an order.")
]
Encoding = Annotated[
    str, typer.Option("--encoding", help="The file's encoding, unless it begins with a byte order mark.")
]

SERVER = DEFAULT_SERVER


def destination(
    country: str, region: str, postal_code: str, latitude: float | None, longitude: float | None
) -> Destination | None:
    """Where an order goes; None where nothing says so."""
    if (latitude is None) != (longitude is None):
        raise typer.BadParameter("--lat and --lon go together; give both or neither")
    code = country_code(country) if country else ""
    if code is None:
        raise typer.BadParameter(f"{country!r} is no country; write an ISO 3166-1 code, such as US")
    place = Destination(country=code, region=region, postal_code=postal_code)
    if latitude is not None and longitude is not None:
        place.coordinates.CopyFrom(LatLng(latitude=latitude, longitude=longitude))
    return place if place.ByteSize() else None


def order_line(text: str, currency: str) -> OrderLine:
    """`SKU:UNITS` or `SKU:UNITS@PRICE`."""
    match = re.fullmatch(r"(.+):([0-9]{1,9})(?:@(.+))?", text)
    if match is None:
        raise typer.BadParameter(f"--line {text!r} is not SKU:UNITS or SKU:UNITS@PRICE, such as MUG:2@12.50")
    line = OrderLine(sku=match[1], unit_count=int(match[2]))
    if match[3]:
        line.unit_price.CopyFrom(proto_values.money(_price(match[3]), _currency(currency)))
    return line


def cancellation(text: str) -> LineCancellation:
    """`LINE:UNITS`."""
    line_id, units = _line_and_units(text)
    return LineCancellation(line_id=line_id, unit_count=units)


def line_units(text: str) -> LineUnits:
    """`LINE:UNITS`."""
    line_id, units = _line_and_units(text)
    return LineUnits(line_id=line_id, unit_count=units)


def moment(text: str, option: str) -> Timestamp | None:
    """A time that says its zone; None where there is none."""
    if not text:
        return None
    made = Timestamp()
    try:
        made.FromDatetime(csv_columns.moment(text))
    except ValueError as error:
        raise typer.BadParameter(f"{option} {error}") from error
    return made


def allocation_reference(text: str) -> GetAllocationRequest:
    """An allocation's id, or `CHANNEL/ORDER`."""
    channel_id, slash, order_id = text.partition("/")
    if slash and channel_id and order_id:
        return GetAllocationRequest(order=OrderReference(channel_id=channel_id, order_id=order_id))
    if _is_uuid(text):
        return GetAllocationRequest(allocation_id=text)
    raise typer.BadParameter(f"{text!r} is neither an allocation's id (a UUID) nor CHANNEL/ORDER, such as shopify/1001")


def order_reference(text: str) -> OrderReference:
    """`CHANNEL/ORDER`."""
    channel_id, _, order_id = text.partition("/")
    if not (channel_id and order_id):
        raise typer.BadParameter(f"{text!r} is not CHANNEL/ORDER, such as tiktok_shop/576461413038785752")
    return OrderReference(channel_id=channel_id, order_id=order_id)


def exception_id(text: str) -> str:
    """An exception's id, as it is."""
    if not _is_uuid(text):
        raise typer.BadParameter(
            f"{text!r} is not an exception's id, which is a UUID; `truestock exceptions` lists them"
        )
    return text


def decision_id(text: str) -> str:
    """A decision's id, as it is."""
    if not _is_uuid(text):
        hint = "`truestock explain CHANNEL/ORDER` shows the decisions of an order"
        raise typer.BadParameter(f"{text!r} is not a decision's id, which is a UUID; {hint}")
    return text


def shipment_id(text: str) -> str:
    """A shipment's id, as it is."""
    if not _is_uuid(text):
        hint = "`truestock shipments` and `truestock explain CHANNEL/ORDER` show them"
        raise typer.BadParameter(f"{text!r} is not a shipment's id, which is a UUID; {hint}")
    return text


def request_id(text: str) -> str:
    """The given request id, or a new one."""
    if text and not _is_uuid(text):
        raise typer.BadParameter(f"--request-id {text!r} is not a UUID; leave it out and one is made")
    return text or str(uuid.uuid4())


def currency_option(text: str) -> str:
    """A currency, for use as an option's callback."""
    return _currency(text)


def _line_and_units(text: str) -> tuple[str, int]:
    match = re.fullmatch(r"(.+):([0-9]{1,9})", text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not LINE:UNITS, such as 1:2; `truestock explain` shows the lines")
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


def _is_uuid(text: str) -> bool:
    return re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", text) is not None


Currency = Annotated[str, typer.Option("--currency", callback=currency_option, help="Currency of prices, such as USD.")]
