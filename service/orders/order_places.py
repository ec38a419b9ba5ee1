"""The channel and the locations of an order, found by the id of its allocation or of one of its shipments."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Uuid, func, select

from service.database.database import Connection, Statement, parameter
from service.database.tables import allocation, shipment
from service.rpc.bindings import Places

_OF_ALLOCATION = Statement(
    select(allocation.c.channel_id, func.array_agg(shipment.c.location_id.distinct()).label("location_ids"))
    .select_from(allocation.outerjoin(shipment, shipment.c.allocation_id == allocation.c.id))
    .where(allocation.c.id == parameter("id", Uuid))
    .group_by(allocation.c.id)
)
_OF_SHIPMENT = Statement(
    select(allocation.c.channel_id, func.array_agg(shipment.c.location_id).label("location_ids"))
    .select_from(shipment.join(allocation, shipment.c.allocation_id == allocation.c.id))
    .where(shipment.c.id == parameter("id", Uuid))
    .group_by(allocation.c.id)
)


async def places(connection: Connection, field: str, id: str) -> Places | None:
    """The places of the record with an id from the field `allocation_id` or `shipment_id`; None if there is none."""
    try:
        key = UUID(id)
    except ValueError:
        return None
    statement = _OF_SHIPMENT if field == "shipment_id" else _OF_ALLOCATION
    row = await statement.row(connection, id=key)
    return None if row is None else Places(row["channel_id"], frozenset(filter(None, row["location_ids"])))
