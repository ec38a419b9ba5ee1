"""Counts shipments as late when their time passes, however much later they ship or arrive."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Text, exists, func, literal_column, select

from service.database.database import Connection
from service.database.tables import IS_ON_HOLD, IS_OPEN, allocation, shipment, shipment_deadline
from service.dependencies import Dependencies
from service.metrics import DELIVERY_DAY, SHIP_BY
from service.orders import order_store, shipment_deadlines
from service.orders.shipment_deadlines import ShipmentDeadline
from service.resolution.lateness import ARRIVES_LATE, LatenessQuery
from service.stock import levels

BATCH = 100
"""Shipments of one transaction."""

_order, _shipment = allocation.c, shipment.c
_NOW = func.statement_timestamp()


def _is_undecided(deadline: str) -> ColumnElement[bool]:
    return ~exists().where(
        shipment_deadline.c.shipment_id == _shipment.id,
        shipment_deadline.c.deadline == literal_column(f"'{deadline}'", Text),
    ).correlate(shipment)


_MISSED = (
    (
        SHIP_BY,
        LatenessQuery(
            select(_shipment.id, _shipment.allocation_id, _shipment.location_id, _order.channel_id)
            .join(allocation, _order.id == _shipment.allocation_id)
            .where(
                IS_OPEN,
                # What is ready for pickup has kept or missed its time before.
                _shipment.state != literal_column("'ready_for_pickup'"),
                _order.state == literal_column("'confirmed'"),
                ~IS_ON_HOLD,
                func.least(_shipment.ship_by_time, _order.ship_by_time) < _NOW,
                _is_undecided(SHIP_BY),
            )
            .order_by(_shipment.assign_time, _shipment.id),
            _shipment.allocation_id,
        ),
    ),
    (
        DELIVERY_DAY,
        LatenessQuery(
            select(_shipment.id, _shipment.allocation_id, _shipment.location_id, _order.channel_id)
            .join(allocation, _order.id == _shipment.allocation_id)
            .where(*ARRIVES_LATE, _is_undecided(DELIVERY_DAY))
            .order_by(_shipment.deliver_by_time, _shipment.id),
            _shipment.allocation_id,
        ),
    ),
)


async def count_missed(deps: Dependencies) -> None:
    """Records and counts every missed time that is not decided yet."""
    for deadline, query in _MISSED:
        while True:
            found, missed = await deps.database.transaction(
                "count_late_shipments",
                partial(_record, deadline, query),
                lambda done: shipment_deadlines.count(deps.metrics, done[1]),
            )
            # Shipments that were found and skipped are locked by other transactions; a later sweep takes them.
            if found < BATCH or not missed:
                break


async def _record(
    deadline: str, query: LatenessQuery, connection: Connection
) -> tuple[int, Sequence[ShipmentDeadline]]:
    candidates = await query.everywhere(connection, BATCH)
    locked = await order_store.lock_if_free(connection, {row["allocation_id"] for row in candidates})
    rows = await query.of_orders(connection, locked) if locked else []
    now = await levels.clock(connection)
    return len(candidates), await shipment_deadlines.record(connection, now, [_missed(deadline, row) for row in rows])


def _missed(deadline: str, row: asyncpg.Record) -> ShipmentDeadline:
    id: UUID = row["id"]
    return ShipmentDeadline(id, deadline, row["channel_id"], row["location_id"], is_kept=False)
