"""What a list of stock levels says beside the figures: units not sellable by reason, and what is on its way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Integer, Text, cast, func, literal_column, null, select, union_all

from service import limits
from service.database.database import Connection, Statement, parameter, transposed, unnested
from service.database.tables import stock_incoming, stock_unavailable, transfer, transfer_line
from service.rpc.proto_values import timestamp
from service.stock.stock_book import Key
from truestock.v1 import stock_service_pb2 as stock_pb

UNAVAILABLE_REASONS = {
    name.removeprefix("UNAVAILABLE_REASON_").lower(): number
    for name, number in stock_pb.UnavailableReason.items()
    if number
}
"""Why units are not sellable, by the words of the database."""

_wanted = unnested("wanted", sku=Text, location_id=Text)
_UNAVAILABLE = Statement(
    select(stock_unavailable)
    .join(
        _wanted,
        (_wanted.c.sku == stock_unavailable.c.sku) & (_wanted.c.location_id == stock_unavailable.c.location_id),
    )
    .where(stock_unavailable.c.unit_count > literal_column("0"))
    .order_by(stock_unavailable.c.sku, stock_unavailable.c.location_id, stock_unavailable.c.reason)
)
_stated = select(
    stock_incoming.c.sku,
    stock_incoming.c.location_id,
    stock_incoming.c.source,
    stock_incoming.c.reference,
    stock_incoming.c.unit_count,
    stock_incoming.c.expect_time,
).join(_wanted, (_wanted.c.sku == stock_incoming.c.sku) & (_wanted.c.location_id == stock_incoming.c.location_id))
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
    .join(_wanted, (_wanted.c.sku == transfer_line.c.sku) & (_wanted.c.location_id == transfer.c.to_location_id))
    .where(transfer.c.complete_time.is_(None), transfer_line.c.dispatched > transfer_line.c.received)
)
_coming = union_all(_stated, _dispatched).subquery("coming")
_in_turn = (_coming.c.expect_time.asc().nulls_last(), _coming.c.reference, _coming.c.source)
_ranked = select(
    _coming,
    func.row_number().over(partition_by=(_coming.c.sku, _coming.c.location_id), order_by=_in_turn).label("place"),
).subquery("ranked")
_INCOMING = Statement(
    select(_ranked)
    .where(_ranked.c.place <= parameter("most", Integer))
    .order_by(_ranked.c.sku, _ranked.c.location_id, _ranked.c.place)
)


@dataclass(slots=True)
class LevelDetails:
    """Of one stock level: unavailable units by reason, and (reference, units, expected time) of what is on its way."""

    unavailable: dict[str, int] = field(default_factory=dict)
    incoming: list[tuple[str, int, datetime | None]] = field(default_factory=list)


async def read(connection: Connection, keys: Iterable[Key]) -> dict[Key, LevelDetails]:
    """The details of these levels, in two statements however many they are; on a snapshot with the levels' own."""
    found = {key: LevelDetails() for key in keys}
    wanted = transposed(["sku", "location_id"], sorted(found))
    for row in await _UNAVAILABLE.rows(connection, **wanted):
        found[row["sku"], row["location_id"]].unavailable[row["reason"]] = row["unit_count"]
    for row in await _INCOMING.rows(connection, most=limits.INCOMING_SHOWN, **wanted):
        coming = (row["reference"], row["unit_count"], row["expect_time"])
        found[row["sku"], row["location_id"]].incoming.append(coming)
    return found


def unavailable_message(units: dict[str, int]) -> list[stock_pb.UnavailableUnits]:
    """Unavailable units as the API shows them; a reason that it does not name is OTHER."""
    other = stock_pb.UNAVAILABLE_REASON_OTHER
    return [
        stock_pb.UnavailableUnits(reason=UNAVAILABLE_REASONS.get(reason, other), unit_count=count)
        for reason, count in sorted(units.items())
    ]


def incoming_message(coming: Sequence[tuple[str, int, datetime | None]]) -> list[stock_pb.IncomingUnits]:
    """What is on its way as the API shows it."""
    return [
        stock_pb.IncomingUnits(reference=reference, unit_count=units, expect_time=timestamp(expected))
        for reference, units, expected in coming
    ]
