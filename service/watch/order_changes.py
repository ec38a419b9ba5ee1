"""Events of orders and exceptions since the last poll or since a transaction, and the state of orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Select, Table, Uuid, cast, func, literal_column, or_, select, union_all

from service import limits
from service.database import change_horizon
from service.database.change_horizon import Horizon, as_bigint, committed_since, transaction_parameter
from service.database.database import Connection, Statement, any_of, parameter
from service.database.tables import (
    Moment,
    allocation,
    allocation_copy,
    exception,
    exception_event,
    exception_record,
    order_event,
)
from service.exceptions import exception_messages
from service.orders import order_messages, order_store
from service.stock import levels
from truestock.v1 import allocation_service_pb2 as allocation_pb, exception_pb2

PAGE_EVENTS = limits.WATCH_ORDERS
"""Events that are read at a time for a client that resumes; their orders fit into one message."""

_copies = (
    select(func.array_agg(allocation_copy.c.channel_id))
    .where(allocation_copy.c.allocation_id == allocation.c.id)
    .scalar_subquery()
    .label("copy_channel_ids")
)
_order_events = select(
    as_bigint(order_event.c.xid).label("xid"),
    order_event.c.id.label("event_id"),
    order_event.c.allocation_id,
    cast(literal_column("NULL"), Uuid).label("exception_id"),
    allocation.c.channel_id,
    _copies,
).join(allocation, allocation.c.id == order_event.c.allocation_id)
_exception_events = (
    select(
        as_bigint(exception_event.c.xid).label("xid"),
        exception_event.c.id.label("event_id"),
        exception.c.allocation_id,
        exception.c.id.label("exception_id"),
        func.coalesce(allocation.c.channel_id, exception.c.channel_id).label("channel_id"),
        _copies,
    )
    .join(exception, exception.c.id == exception_event.c.exception_id)
    .outerjoin(allocation, allocation.c.id == exception.c.allocation_id)
)
_NEW_EVENTS = Statement(
    union_all(
        _order_events.where(committed_since(order_event.c.xid)),
        _exception_events.where(committed_since(exception_event.c.xid)),
    )
)
_EXPIRED_HOLDS = Statement(
    select(allocation.c.id.label("allocation_id"), allocation.c.channel_id, _copies).where(
        allocation.c.state == literal_column("'held'"),
        allocation.c.expire_time > parameter("after", Moment),
        allocation.c.expire_time <= parameter("until", Moment),
    )
)


def _page(events: Select[Any], table: Table) -> Select[Any]:
    """The events after (transaction, id), in that order. Each table has its own limit so that its index serves it."""
    c = table.c
    following = events.where(
        c.xid >= transaction_parameter("xid"),
        c.xid < func.pg_snapshot_xmax(func.pg_current_snapshot()),
        or_(c.xid > transaction_parameter("xid"), c.id > parameter("event_id", Uuid)),
    )
    page = following.order_by(c.xid, c.id).limit(PAGE_EVENTS).subquery()
    return select(page)


_both_pages = union_all(_page(_order_events, order_event), _page(_exception_events, exception_event)).subquery("either")
_PAGE = Statement(select(_both_pages).order_by(_both_pages.c.xid, _both_pages.c.event_id).limit(PAGE_EVENTS))

_EVENTS = Statement(
    select(order_event)
    .where(order_event.c.allocation_id == any_of("ids", Uuid))
    .order_by(order_event.c.event_time, order_event.c.id)
)
_EXCEPTIONS = Statement(
    select(*exception_record)
    .where(or_(exception.c.allocation_id == any_of("ids", Uuid), exception.c.id == any_of("exception_ids", Uuid)))
    .order_by(exception.c.create_time, exception.c.id)
)


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One event of an order, or of an exception, which may have no order. `id` None is a hold that expired.

    `channel_ids` are the order's channel and the channels of its copies.
    """

    id: UUID | None
    xid: int
    allocation_id: UUID | None
    exception_id: UUID | None
    channel_ids: frozenset[str]


@dataclass(frozen=True, slots=True)
class OrderState:
    """An order at one moment, with all its events and exceptions, oldest first."""

    allocation: allocation_pb.Allocation
    events: Sequence[tuple[UUID, allocation_pb.TimelineEvent]]
    exceptions: Sequence[exception_pb2.ExceptionRecord]
    cancellation_requests: Sequence[allocation_pb.CancellationRequest]


@dataclass(frozen=True, slots=True)
class OrderSnapshot:
    """Orders, and exceptions without an order, at one moment."""

    orders: Mapping[UUID, OrderState]
    exceptions: Mapping[UUID, exception_pb2.ExceptionRecord]


async def read_new_events(connection: Connection, before: Horizon) -> tuple[Horizon, list[OrderEvent]]:
    """Events that were committed since `before`, and holds that have expired since.

    To be called in a transaction with one snapshot.
    """
    horizon = await change_horizon.horizon(connection)
    rows = await _NEW_EVENTS.rows(connection, since=before.snapshot)
    expired_holds = await _EXPIRED_HOLDS.rows(connection, after=before.now, until=horizon.now)
    expiries = [OrderEvent(None, 0, row["allocation_id"], None, _channels(row)) for row in expired_holds]
    return horizon, [*map(_event_of, rows), *expiries]


async def read_page(connection: Connection, after: tuple[int, UUID]) -> tuple[Horizon, list[OrderEvent]]:
    """The next PAGE_EVENTS events after (transaction, event id), in that order; in a transaction with one snapshot."""
    horizon = await change_horizon.horizon(connection)
    rows = await _PAGE.rows(connection, xid=str(after[0]), event_id=after[1])
    return horizon, [_event_of(row) for row in rows]


async def read_snapshot(connection: Connection, ids: Sequence[UUID], exception_ids: Sequence[UUID]) -> OrderSnapshot:
    """The current state of orders and of exceptions without an order; in a transaction with one snapshot."""
    records = await order_store.read(connection, ids)
    events: dict[UUID, list[tuple[UUID, allocation_pb.TimelineEvent]]] = {key: [] for key in records}
    for row in await _EVENTS.rows(connection, ids=list(ids)):
        events[row["allocation_id"]].append((row["id"], order_messages.timeline_event(row)))
    order_exceptions: dict[UUID, list[exception_pb2.ExceptionRecord]] = {key: [] for key in records}
    other_exceptions: dict[UUID, exception_pb2.ExceptionRecord] = {}
    for row in await _EXCEPTIONS.rows(connection, ids=list(ids), exception_ids=list(exception_ids)):
        if row["allocation_id"] is None:
            other_exceptions[row["id"]] = exception_messages.exception_record(row)
        elif row["allocation_id"] in order_exceptions:
            order_exceptions[row["allocation_id"]].append(exception_messages.exception_record(row))
    now = await levels.clock(connection)
    orders = {
        key: OrderState(
            order_messages.allocation(record, now),
            events[key],
            order_exceptions[key],
            order_messages.cancellation_requests(record),
        )
        for key, record in records.items()
    }
    return OrderSnapshot(orders, other_exceptions)


def _event_of(row: asyncpg.Record) -> OrderEvent:
    return OrderEvent(row["event_id"], row["xid"], row["allocation_id"], row["exception_id"], _channels(row))


def _channels(row: asyncpg.Record) -> frozenset[str]:
    channel_ids = {row["channel_id"]} - {None}
    return frozenset(channel_ids | set(row["copy_channel_ids"] or ()))
