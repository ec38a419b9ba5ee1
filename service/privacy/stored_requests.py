"""Requests with ids are stored for a week, with what callers wrote in them: those about an order that is forgotten.

A request that is sent again after that is refused, because nothing is known of it any more but its id.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from sqlalchemy import Interval, LargeBinary, Uuid, func, literal_column, select, update

from service import limits
from service.database.database import Connection, Database, Statement, any_of, parameter, unnested
from service.database.tables import Moment, allocation, allocation_copy, exception, request, shipment
from truestock.v1 import order_pb2

SLICE = timedelta(hours=1)
"""Requests that one statement reads: those of so long a time."""

_named_by = unnested("named_by", needle=LargeBinary)
_BLANK = Statement(
    update(request)
    .where(
        request.c.create_time >= parameter("since", Moment),
        request.c.create_time < parameter("since", Moment) + parameter("duration", Interval),
        request.c.content != literal_column("''::bytea"),
        # It names the order to forget it, and holds nothing else of it.
        request.c.method != literal_column("'ForgetOrder'"),
        select(literal_column("1"))
        .select_from(_named_by)
        .where(func.position(_named_by.c.needle.op("IN")(request.c.content)) > 0)
        .exists(),
    )
    .values(content=literal_column("''::bytea"), answer=None)
)
_ORDER = Statement(
    select(
        allocation.c.channel_id, allocation.c.order_id, allocation.c.create_time, func.clock_timestamp().label("now")
    ).where(allocation.c.id == parameter("id", Uuid))
)
_COPIES = Statement(
    select(allocation_copy.c.channel_id, allocation_copy.c.order_id).where(
        allocation_copy.c.allocation_id == parameter("id", Uuid)
    )
)
_SHIPMENTS = Statement(select(shipment.c.id).where(shipment.c.allocation_id == any_of("ids", Uuid)))
_EXCEPTIONS = Statement(select(exception.c.id).where(exception.c.allocation_id == any_of("ids", Uuid)))


async def drop(database: Database, allocation_id: UUID) -> None:
    """Empties the stored requests that name an order, a copy, a shipment or an exception of it, and their answers."""
    needles, since, now = await database.unlocked("requests_to_forget", partial(_named, allocation_id=allocation_id))
    while since <= now:
        blank = partial(_BLANK.run, since=since, duration=SLICE, needle=needles)
        await database.transaction("forget_requests", blank)
        since += SLICE


async def _named(connection: Connection, allocation_id: UUID) -> tuple[list[bytes], datetime, datetime]:
    """How requests name the order, and between which times they are stored."""
    order = await _ORDER.row(connection, id=allocation_id)
    assert order is not None
    copies = await _COPIES.rows(connection, id=allocation_id)
    # Channel and order number are the first fields of every message that names an order by them.
    keys = [(order["channel_id"], order["order_id"]), *(tuple(row) for row in copies)]
    named = [order_pb2.OrderReference(channel_id=channel, order_id=id).SerializeToString() for channel, id in keys]
    shipments = await _SHIPMENTS.rows(connection, ids=[allocation_id])
    exceptions = await _EXCEPTIONS.rows(connection, ids=[allocation_id])
    ids = [str(id).encode() for id in (allocation_id, *(row["id"] for row in (*shipments, *exceptions)))]
    since = max(order["create_time"] - SLICE, order["now"] - limits.REQUEST_ID_RETENTION - SLICE)
    return [*named, *ids], since, order["now"]
