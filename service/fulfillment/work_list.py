"""Pages of shipments: the work lists of locations."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Text, Uuid, func, literal_column, or_, select, tuple_

from policies.domain.shipments import OPEN, ShipmentState
from service import limits
from service.database.database import Connection, Statement, any_of, parameter, parameters
from service.database.keyset import COUNT, EXAMINED, Listing, Position, end_of, first_of_each
from service.database.tables import IS_ON_HOLD, Moment, allocation, promise, shipment
from service.fulfillment.shipment_requests import ShipmentsPage
from service.orders import order_messages, order_store
from truestock.v1 import shipment_pb2

_shipment = shipment.c
_KEY = ("assign_time", "id")
_START = (limits.EARLIEST, UUID(int=0))
_is_listed = (
    # A location starts work on an order only after it is sold, so held orders are left out.
    allocation.c.commitment == literal_column("'sold'"),
    # What has shipped of an order on hold stays in the list; the rest waits until the hold is released.
    or_(~IS_ON_HOLD, _shipment.state.not_in([literal_column(f"'{state.value}'") for state in sorted(OPEN)])),
)
_LINES = Statement(
    select(promise)
    .where(promise.c.shipment_id == any_of("ids", Uuid))
    .order_by(promise.c.shipment_id, promise.c.line_id)
)


@cache
def _listing(*, by_location: bool, assigned_before: bool) -> Listing:
    """Lists shipments of `states`, of which at least one is given, and with these filters, `location_ids` and `before`.

    An optional condition would keep PostgreSQL from using an index.
    """
    states = func.unnest(parameters("states", Text)).table_valued("state", name="states").render_derived()
    order = [_shipment[name] for name in _KEY]
    after = tuple_(*order) > tuple_(parameter("after_assign_time", Moment), parameter("after_id", Uuid))
    conditions: list[ColumnElement[bool]] = [_shipment.state == states.c.state, after]
    groups: Any = states
    if by_location:
        ids = func.unnest(parameters("location_ids", Text)).table_valued("id", name="locations").render_derived()
        groups = states.join(ids, literal_column("true"))
        conditions.append(_shipment.location_id == ids.c.id)
    if assigned_before:
        conditions.append(_shipment.assign_time < parameter("before", Moment))
    of_group = select(*order).where(*conditions).order_by(*order)
    leading = first_of_each(groups, of_group, EXAMINED, *_KEY).subquery("leading")
    page = (
        select(shipment, allocation.c.channel_id, allocation.c.order_id)
        .select_from(leading)
        .join(shipment, _shipment.id == leading.c.id)
        .join(allocation, allocation.c.id == _shipment.allocation_id)
        .where(*_is_listed)
        .order_by(*(leading.c[name] for name in _KEY))
        .limit(COUNT)
    )
    return Listing(Statement(page), end_of(leading, *_KEY))


async def page(connection: Connection, request: ShipmentsPage) -> tuple[list[shipment_pb2.Shipment], Position | None]:
    """The shipments of one page, oldest first, and the position of the next page; None after the last one."""
    listing = _listing(by_location=bool(request.location_ids), assigned_before=request.assigned_before is not None)
    rows, end = await listing.page_after(
        connection,
        request.count,
        request.after or _START,
        _KEY,
        location_ids=sorted(set(request.location_ids)),
        states=sorted({state.value for state in request.states or ShipmentState}),
        before=request.assigned_before,
    )
    lines: dict[UUID, list[asyncpg.Record]] = defaultdict(list)
    for row in await _LINES.rows(connection, ids=[row["id"] for row in rows]):
        lines[row["shipment_id"]].append(row)
    return [_message(row, lines[row["id"]]) for row in rows], end


def _message(row: asyncpg.Record, lines: list[asyncpg.Record]) -> shipment_pb2.Shipment:
    shipment_record = order_store.shipment_of(row)
    for line in lines:
        order_store.add_promise_row(shipment_record, line)
    skus = {line["line_id"]: line["sku"] for line in lines}
    return order_messages.shipment(shipment_record, skus, row["allocation_id"], (row["channel_id"], row["order_id"]))
