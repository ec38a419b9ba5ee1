"""Reads the units that are promised to one channel's orders."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Text, func, literal_column, select

from service.database.database import Connection, Statement, any_of, parameter
from service.database.tables import Moment, allocation, promise

_PROMISED = Statement(
    select(promise.c.sku, promise.c.location_id, func.sum(promise.c.unit_count).label("units"))
    .join(allocation, allocation.c.id == promise.c.allocation_id)
    .where(
        promise.c.sku == any_of("skus", Text),
        promise.c.unit_count > literal_column("0"),
        promise.c.expire_time.is_(None) | (promise.c.expire_time > parameter("now", Moment)),
        allocation.c.channel_id == parameter("channel_id", Text),
    )
    .group_by(promise.c.sku, promise.c.location_id)
)


async def read(
    connection: Connection, channel_id: str, skus: Iterable[str], now: datetime
) -> dict[tuple[str, str], int]:
    """Units by (SKU, location id), without holds that have expired by `now`.

    To be called on the snapshot of the database from which the stock levels were read.
    """
    rows = await _PROMISED.rows(connection, channel_id=channel_id, skus=sorted(set(skus)), now=now)
    return {(row["sku"], row["location_id"]): row["units"] for row in rows}
