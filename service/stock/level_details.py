"""Details listed with stock levels: unavailable units by reason, and incoming units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Integer, Text, cast, func, literal_column, null, select, union_all

from service import limits
from service.database.database import Connection, Statement, parameter, planned_once, transposed, unnested
from service.database.tables import stock_incoming, stock_unavailable, transfer, transfer_line
from service.rpc.proto_values import timestamp
from service.stock.stock_book import Key
from truestock.v1 import stock_service_pb2 as stock_pb

UNAVAILABLE_REASONS = {
    name.removeprefix("UNAVAILABLE_REASON_").lower(): number
    for name, number in stock_pb.UnavailableReason.items()
    if number
}
"""Enum numbers of the API by the reasons in the database."""

_requested = planned_once(unnested("requested", sku=Text, location_id=Text))
_UNAVAILABLE = Statement(
    select(stock_unavailable)
    .join(
        _requested,
        (_requested.c.sku == stock_unavailable.c.sku) & (_requested.c.location_id == stock_unavailable.c.location_id),
    )
    .where(stock_unavailable.c.unit_count > literal_column("0"))
    .order_by(stock_unavailable.c.sku, stock_unavailable.c.location_id, stock_unavailable.c.reason)
)
_announced = select(
    stock_incoming.c.sku,
    stock_incoming.c.location_id,
    stock_incoming.c.source,
    stock_incoming.c.reference,
    stock_incoming.c.unit_count,
    stock_incoming.c.expect_time,
).join(
    _requested, (_requested.c.sku == stock_incoming.c.sku) & (_requested.c.location_id == stock_incoming.c.location_id)
)
_dispatched = (
    select(
        transfer_line.c.sku,
        transfer.c.to_location_id.label("location_id"),
        cast(null(), Text).label("source"),
        transfer.c.id.label("reference"),
        (transfer_line.c.dispatched - transfer_line.c.received).label("unit_count"),
        transfer.c.expect_time,
    )
    .join(transfer, transfer.c.id == transfer_line.c.transfer_id)
    .join(
        _requested, (_requested.c.sku == transfer_line.c.sku) & (_requested.c.location_id == transfer.c.to_location_id)
    )
    .where(transfer.c.complete_time.is_(None), transfer_line.c.dispatched > transfer_line.c.received)
)
_incoming = union_all(_announced, _dispatched).subquery("incoming")
_by_expect_time = (_incoming.c.expect_time.asc().nulls_last(), _incoming.c.reference, _incoming.c.source)
_ranked = select(
    _incoming,
    func.row_number()
    .over(partition_by=(_incoming.c.sku, _incoming.c.location_id), order_by=_by_expect_time)
    .label("position"),
).subquery("ranked")
_INCOMING = Statement(
    select(_ranked)
    .where(_ranked.c.position <= parameter("most", Integer))
    .order_by(_ranked.c.sku, _ranked.c.location_id, _ranked.c.position)
)


@dataclass(slots=True)
class LevelDetails:
    """Of one stock level: unavailable units by reason, and (reference, units, expected time) of incoming deliveries."""

    unavailable: dict[str, int] = field(default_factory=dict)
    incoming: list[tuple[str, int, datetime | None]] = field(default_factory=list)


async def read(connection: Connection, keys: Iterable[Key]) -> dict[Key, LevelDetails]:
    """The details of these levels, read in two statements however many they are, on the snapshot of the levels."""
    details = {key: LevelDetails() for key in keys}
    requested = transposed(["sku", "location_id"], sorted(details))
    for row in await _UNAVAILABLE.rows(connection, **requested):
        details[row["sku"], row["location_id"]].unavailable[row["reason"]] = row["unit_count"]
    for row in await _INCOMING.rows(connection, most=limits.INCOMING_SHOWN, **requested):
        delivery = (row["reference"], row["unit_count"], row["expect_time"])
        details[row["sku"], row["location_id"]].incoming.append(delivery)
    return details


def unavailable_message(units: dict[str, int]) -> list[stock_pb.UnavailableUnits]:
    """Unavailable units as messages of the API; reasons without an enum value become OTHER."""
    other = stock_pb.UNAVAILABLE_REASON_OTHER
    return [
        stock_pb.UnavailableUnits(reason=UNAVAILABLE_REASONS.get(reason, other), unit_count=count)
        for reason, count in sorted(units.items())
    ]


def incoming_message(deliveries: Sequence[tuple[str, int, datetime | None]]) -> list[stock_pb.IncomingUnits]:
    """Incoming units as messages of the API."""
    return [
        stock_pb.IncomingUnits(reference=reference, unit_count=units, expect_time=timestamp(expect_time))
        for reference, units, expect_time in deliveries
    ]
