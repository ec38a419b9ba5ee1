"""Pages of shipments: the work lists of locations."""

from __future__ import annotations

from collections import defaultdict
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Text, Uuid, exists, func, literal_column, or_, select, true

from policies.domain.shipments import OPEN, ShipmentState
from service import limits
from service.database.database import Connection, Statement, any_of, parameter, parameters
from service.database.keyset import COUNT, EXAMINED, Listing, end_of, first_of_each, is_after, ordered, passing
from service.database.tables import IS_ON_HOLD, IS_OPEN, Moment, allocation, due_time, order_line, promise, shipment
from service.fulfillment.shipment_requests import ShipmentsPage
from service.orders import order_messages, order_store
from service.orders.order_filters import FIRST_ID, LAST_ID, few_orders, has_number_part
from truestock.v1 import order_pb2, shipment_pb2

CHANNELS, SKUS, NUMBER, LOCATIONS = "channels", "skus", "number", "locations"
ASSIGNED, FEW, DUE = "assigned", "few", "due"
"""The filters. FEW are the shipments of orders that were found before; DUE sorts open shipments by due time."""

_shipment = shipment.c
_OPEN_STATES: list[ColumnElement[Any]] = [literal_column(f"'{state.value}'") for state in sorted(OPEN)]
_is_listed = (
    # A location starts work on an order only after it is sold, so held orders are left out.
    allocation.c.commitment == literal_column("'sold'"),
    # What has shipped of an order on hold stays in the list; the rest waits until the hold is released.
    or_(~IS_ON_HOLD, _shipment.state.not_in(_OPEN_STATES)),
)
_is_of_kit = (
    exists()
    .where(
        order_line.c.allocation_id == promise.c.allocation_id,
        order_line.c.line_id == promise.c.line_id,
        order_line.c.kit_sku == any_of("skus", Text),
    )
    .correlate(promise)
)
_CONDITIONS = {
    CHANNELS: allocation.c.channel_id == any_of("channel_ids", Text),
    SKUS: exists()
    .where(promise.c.shipment_id == _shipment.id, (promise.c.sku == any_of("skus", Text)) | _is_of_kit)
    .correlate(shipment),
    NUMBER: has_number_part(),
}
_LINES = Statement(
    select(promise)
    .where(promise.c.shipment_id == any_of("ids", Uuid))
    .order_by(promise.c.shipment_id, promise.c.line_id)
)


@cache
def _listing(filters: frozenset[str], *, descending: bool) -> Listing:
    """Lists shipments of `states`, of which at least one is given, and with exactly these filters.

    An optional condition would keep PostgreSQL from using an index.
    """
    time = due_time(shipment) if DUE in filters else _shipment.assign_time
    key = (time, _shipment.id)
    after = is_after(key, (parameter("after_time", Moment), parameter("after_id", Uuid)), descending=descending)
    conditions: list[ColumnElement[bool]] = [after]
    groups: list[Any] = []
    if FEW in filters:
        orders = _values("order_ids", Uuid)
        groups, conditions = [orders], [*conditions, _shipment.allocation_id == orders.c.value]
        conditions.append(_shipment.state == any_of("states", Text))
    elif DUE in filters:
        conditions += [IS_OPEN, _shipment.state == any_of("states", Text)]
    else:
        states = _values("states", Text)
        groups, conditions = [states], [*conditions, _shipment.state == states.c.value]
    if LOCATIONS in filters and FEW in filters:
        conditions.append(_shipment.location_id == any_of("location_ids", Text))
    elif LOCATIONS in filters:
        locations = _values("location_ids", Text)
        groups, conditions = [*groups, locations], [*conditions, _shipment.location_id == locations.c.value]
    if ASSIGNED in filters:
        conditions.append(_shipment.assign_time >= parameter("assigned_from", Moment))
        conditions.append(_shipment.assign_time < parameter("assigned_before", Moment))
    in_order = ordered(key, descending=descending)
    of_group = select(time.label("time"), _shipment.id).where(*conditions).order_by(*in_order)
    names = ("time", "id")
    if groups:
        joined = groups[0] if len(groups) == 1 else groups[0].join(groups[1], true())
        leading = first_of_each(joined, of_group, EXAMINED, *names, descending=descending).subquery("leading")
    else:
        leading = of_group.limit(EXAMINED).subquery("leading")
    others = [_CONDITIONS[name] for name in sorted(filters & _CONDITIONS.keys())]
    entry = (
        select(
            shipment,
            allocation.c.channel_id,
            allocation.c.order_id,
            allocation.c.ship_by_time.label("channel_ship_by_time"),
            allocation.c.pickup_location_id,
        )
        .join(allocation, allocation.c.id == _shipment.allocation_id)
        .where(_shipment.id == leading.c.id, *_is_listed, *others)
    )
    page = (
        select(leading.c.time, literal_column("entry.*"))
        .select_from(passing(leading, entry))
        .order_by(*ordered([leading.c[name] for name in names], descending=descending))
        .limit(COUNT)
    )
    return Listing(Statement(page), end_of(leading, *names, descending=descending))


def _values(name: str, type_: Any) -> Any:
    return func.unnest(parameters(name, type_)).table_valued("value", name=name).render_derived()


async def page(
    connection: Connection, request: ShipmentsPage
) -> tuple[list[shipment_pb2.Shipment], tuple[Any, ...] | None]:
    """The shipments of one page in order, and the position of the next page; None after the last one."""
    few = await few_orders(connection, request.orders)
    default = OPEN if request.order_by == order_pb2.LIST_ORDER_DUE else ShipmentState
    descending = request.order_by == order_pb2.LIST_ORDER_NEWEST
    start = (limits.LATEST, LAST_ID) if descending else (limits.EARLIEST, FIRST_ID)
    rows, end = await _listing(_filters(request, is_few=few is not None), descending=descending).page_after(
        connection,
        request.count,
        request.after or start,
        ("time", "id"),
        **request.orders.values,
        order_ids=few,
        location_ids=sorted(set(request.location_ids)),
        states=sorted({state.value for state in request.states or default}),
        assigned_from=request.assigned[0] or limits.EARLIEST,
        assigned_before=request.assigned[1] or limits.LATEST,
    )
    lines: dict[UUID, list[asyncpg.Record]] = defaultdict(list)
    for row in await _LINES.rows(connection, ids=[row["id"] for row in rows]):
        lines[row["shipment_id"]].append(row)
    return [_message(row, lines[row["id"]]) for row in rows], end


def _filters(request: ShipmentsPage, *, is_few: bool) -> frozenset[str]:
    names = {
        CHANNELS: request.orders.channel_ids,
        SKUS: request.orders.skus,
        NUMBER: request.orders.number_part,
        LOCATIONS: request.location_ids,
        ASSIGNED: any(request.assigned),
        FEW: is_few,
        DUE: request.order_by == order_pb2.LIST_ORDER_DUE,
    }
    return frozenset(name for name, value in names.items() if value)


def _message(row: asyncpg.Record, lines: list[asyncpg.Record]) -> shipment_pb2.Shipment:
    shipment_record = order_store.shipment_of(row)
    for line in lines:
        order_store.add_promise_row(shipment_record, line)
    skus = {line["line_id"]: line["sku"] for line in lines}
    return order_messages.shipment(
        shipment_record,
        skus,
        row["allocation_id"],
        (row["channel_id"], row["order_id"]),
        channel_ship_by_time=row["channel_ship_by_time"],
        store_id=row["pickup_location_id"],
    )
