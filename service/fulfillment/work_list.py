"""Pages of shipments: the work lists of locations."""

from __future__ import annotations

from collections import defaultdict
from uuid import UUID

import asyncpg
from sqlalchemy import Integer, Text, Uuid, func, literal_column, or_, select, tuple_

from policies.domain.shipments import OPEN
from service.database.database import Connection, Statement, any_of, parameter, parameters
from service.database.tables import IS_ON_HOLD, Moment, allocation, promise, shipment
from service.fulfillment.shipment_requests import ShipmentsPage
from service.orders import order_messages, order_store
from truestock.v1 import shipment_pb2

_shipment = shipment.c
_PAGE = Statement(
    select(shipment, allocation.c.channel_id, allocation.c.order_id)
    .join(allocation, allocation.c.id == _shipment.allocation_id)
    .where(
        # A location starts work on an order only after it is sold, so held orders are left out.
        allocation.c.commitment == literal_column("'sold'"),
        # What has shipped of an order on hold stays in the list; the rest waits until the hold is released.
        or_(~IS_ON_HOLD, _shipment.state.not_in([literal_column(f"'{state.value}'") for state in sorted(OPEN)])),
        or_(
            func.cardinality(parameters("location_ids", Text)) == 0,
            _shipment.location_id == any_of("location_ids", Text),
        ),
        or_(func.cardinality(parameters("states", Text)) == 0, _shipment.state == any_of("states", Text)),
        or_(parameter("before", Moment).is_(None), _shipment.assign_time < parameter("before", Moment)),
        or_(
            parameter("after_time", Moment).is_(None),
            tuple_(_shipment.assign_time, _shipment.id)
            > tuple_(parameter("after_time", Moment), parameter("after_id", Uuid)),
        ),
    )
    .order_by(_shipment.assign_time, _shipment.id)
    .limit(parameter("count", Integer))
)
_LINES = Statement(
    select(promise)
    .where(promise.c.shipment_id == any_of("ids", Uuid))
    .order_by(promise.c.shipment_id, promise.c.line_id)
)


async def page(connection: Connection, request: ShipmentsPage) -> tuple[list[shipment_pb2.Shipment], bool]:
    """The shipments of one page, oldest first, and whether there are more."""
    after_time, after_id = request.after or (None, None)
    rows = await _PAGE.rows(
        connection,
        location_ids=list(request.location_ids),
        states=[state.value for state in request.states],
        before=request.assigned_before,
        after_time=after_time,
        after_id=after_id,
        count=request.count + 1,
    )
    shown = rows[: request.count]
    lines: dict[UUID, list[asyncpg.Record]] = defaultdict(list)
    for row in await _LINES.rows(connection, ids=[row["id"] for row in shown]):
        lines[row["shipment_id"]].append(row)
    return [_message(row, lines[row["id"]]) for row in shown], len(rows) > request.count


def _message(row: asyncpg.Record, lines: list[asyncpg.Record]) -> shipment_pb2.Shipment:
    shipment_record = order_store.shipment_of(row)
    for line in lines:
        order_store.add_promise_row(shipment_record, line)
    skus = {line["line_id"]: line["sku"] for line in lines}
    return order_messages.shipment(shipment_record, skus, row["allocation_id"], (row["channel_id"], row["order_id"]))
