"""Requests to cancel in PostgreSQL: those of orders, and those that wait for their order to arrive.

Whoever writes a request holds the lock of its order. A waiting request also has a row among the cancellations of its
order's key, by which the transaction that takes the order in finds it without another statement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg
from sqlalchemy import Integer, Interval, Text, Uuid, case, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.decisions.cancellations import CancellationCause
from policies.domain import resolutions
from service import limits
from service.database.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, allocation, cancellation_request, cancellation_request_line, exception
from service.exceptions import incidents
from service.exceptions.exception_model import POLICY, RESOLVED, ExceptionEvent
from service.exceptions.incidents import ResolvedException
from service.orders.cancellations.cancellation_request import (
    ACCEPTED,
    DECLINED,
    WITHDRAWN,
    CancellationRequest,
    RequestedLine,
)

_request, _line = cancellation_request.c, cancellation_request_line.c
_OF_ORDERS = Statement(
    select(cancellation_request)
    .where(_request.allocation_id == any_of("ids", Uuid))
    .order_by(_request.create_time, _request.id)
)
_requested = unnested("requested", channel_id=Text, order_id=Text)
_WAITING = Statement(
    select(cancellation_request)
    .join(
        _requested,
        (_requested.c.channel_id == _request.channel_id) & (_requested.c.order_id == _request.order_id),
    )
    .where(_request.allocation_id.is_(None))
    .order_by(_request.create_time, _request.id)
)
_LINES = Statement(
    select(cancellation_request_line)
    .where(_line.request_id == any_of("ids", Uuid))
    .order_by(_line.line_id, _line.item_id)
)
_ROW: Columns = {
    "id": Uuid,
    "channel_id": Text,
    "order_id": Text,
    "event_id": Text,
    "create_time": Moment,
    "allocation_id": Uuid,
    "fault": Text,
    "reason": Text,
    "deadline": Moment,
    "state": Text,
    "unit_count": Integer,
    "cancelled": Integer,
    "answer_time": Moment,
    "answered_by": Text,
    "answer_reason": Text,
    "exception_id": Uuid,
}
_new = unnested("new", **_ROW)
_insert = upsert(cancellation_request).from_select([*_ROW], select(*(_new.c[name] for name in _ROW)))
_WRITE = Statement(
    _insert.on_conflict_do_update(
        index_elements=["id"], set_={name: _insert.excluded[name] for name in _ROW if name != "id"}
    )
)
_LINE: Columns = {"request_id": Uuid, "line_id": Text, "item_id": Text, "unit_count": Integer}
_new_line = unnested("new_line", **_LINE)
_WRITE_LINES = Statement(
    upsert(cancellation_request_line)
    .from_select([*_LINE], select(*(_new_line.c[name] for name in _LINE)))
    .on_conflict_do_nothing()
)
_MARK_ORDERS = Statement(
    update(allocation)
    .values(has_cancellation_requests=True)
    .where(allocation.c.id == any_of("ids", Uuid), ~allocation.c.has_cancellation_requests)
)
_MOVE_EXCEPTIONS = Statement(
    update(exception)
    .values(allocation_id=_request.allocation_id, channel_id=_request.channel_id)
    .where(
        _request.id == any_of("ids", Uuid),
        exception.c.id == _request.exception_id,
        exception.c.allocation_id != _request.allocation_id,
    )
)
"""A copy's exceptions belong to the order that it turned out to be a copy of."""
_IS_DUE = (
    (_request.state == literal_column("'requested'"))
    & _request.allocation_id.is_not(None)
    & (_request.deadline <= func.statement_timestamp())
)
_DUE = Statement(
    select(_request.id, _request.allocation_id)
    .where(_IS_DUE)
    .order_by(_request.deadline, _request.id)
    .limit(parameter("count", Integer))
)
_END: Mapping[str, tuple[str, str | None]] = {
    ACCEPTED: (RESOLVED, resolutions.CANCELLED),
    DECLINED: (RESOLVED, resolutions.DECLINED),
    WITHDRAWN: ("superseded", None),
}
"""The state and the resolution of the exception about an answered request."""
_RESOLVED: Columns = {"id": Uuid, "state": Text, "resolution": Text, "note": Text}
_resolved = unnested("resolved", **_RESOLVED)
_is_resolved = _resolved.c.state == literal_column("'resolved'")
_RESOLVE = Statement(
    update(exception)
    .values(
        state=_resolved.c.state,
        resolution=_resolved.c.resolution,
        resolved_by=case((_is_resolved, literal_column(f"'{POLICY}'"))),
        resolve_time=case((_is_resolved, parameter("now", Moment))),
        note=_resolved.c.note,
        update_time=parameter("now", Moment),
    )
    .where(exception.c.id == _resolved.c.id, exception.c.state == literal_column("'open'"))
    .returning(exception.c.id, exception.c.owner, exception.c.create_time)
)
_unclaimed = (
    select(_request.id)
    .where(
        _request.allocation_id.is_(None),
        _request.create_time < func.clock_timestamp() - parameter("retention", Interval),
    )
    .limit(parameter("count", Integer))
)
_DELETE_UNCLAIMED = Statement(delete(cancellation_request).where(_request.id.in_(_unclaimed)))
_PURGE_BATCH = 5_000
"""Rows that the sweeper deletes in one transaction."""


async def of_orders(connection: Connection, ids: Sequence[UUID]) -> list[CancellationRequest]:
    """The requests of these orders, oldest first."""
    return await _with_lines(connection, await _OF_ORDERS.rows(connection, ids=list(ids)) if ids else [])


async def waiting(connection: Connection, keys: Iterable[tuple[str, str]]) -> list[CancellationRequest]:
    """The requests that wait for the orders of these locked keys, (channel id, order id), to arrive; oldest first."""
    wanted = sorted(set(keys))
    values = transposed(["channel_id", "order_id"], wanted)
    return await _with_lines(connection, await _WAITING.rows(connection, **values) if wanted else [])


async def due(connection: Connection, count: int) -> list[asyncpg.Record]:
    """At most `count` unanswered requests past their deadline: (id, allocation_id)."""
    return await _DUE.rows(connection, count=count)


async def write(
    connection: Connection, written: Sequence[CancellationRequest], now: datetime, new_id: Callable[[], UUID]
) -> dict[str, list[ResolvedException]]:
    """Writes requests of locked orders, marks those orders, and resolves the exceptions about answered requests.

    Returns the exceptions that it resolved, by resolution.
    """
    await _WRITE.run(connection, **transposed([*_ROW], [_row(request) for request in written]))
    lines = [(request.id, x.line_id, x.item_id, x.unit_count) for request in written for x in request.lines]
    if lines:
        await _WRITE_LINES.run(connection, **transposed([*_LINE], lines))
    ids = sorted({request.allocation_id for request in written if request.allocation_id is not None})
    if ids:
        await _MOVE_EXCEPTIONS.run(connection, ids=[request.id for request in written])
        await _MARK_ORDERS.run(connection, ids=ids)
    for request in written:
        request.is_changed = False
    return await _resolve(connection, written, now, new_id)


async def delete_unclaimed(connection: Connection, retention: timedelta = limits.EARLY_CANCELLATION_RETENTION) -> None:
    """Deletes requests whose order has not arrived for that long."""
    await _DELETE_UNCLAIMED.run(connection, retention=retention, count=_PURGE_BATCH)


async def _resolve(
    connection: Connection, requests: Iterable[CancellationRequest], now: datetime, new_id: Callable[[], UUID]
) -> dict[str, list[ResolvedException]]:
    """Resolves the open exceptions about requests that were answered, unless a person has done so already."""
    answered = {x.exception_id: x for x in requests if x.exception_id is not None and not x.is_open}
    if not answered:
        return {}
    rows = [(id, *_END[request.state], request.answer_reason) for id, request in answered.items()]
    ended = await _RESOLVE.rows(connection, now=now, **transposed([*_RESOLVED], rows))
    of_ended = [(row["id"], answered[row["id"]]) for row in ended]
    events = [ExceptionEvent(id, _END[request.state][0], POLICY, request.answer_reason) for id, request in of_ended]
    await incidents.add_history(connection, now, events, new_id)
    resolved: dict[str, list[ResolvedException]] = {}
    for row in ended:
        if (resolution := _END[answered[row["id"]].state][1]) is not None:
            resolved.setdefault(resolution, []).append(ResolvedException.of(row, now))
    return resolved


async def _with_lines(connection: Connection, rows: Sequence[asyncpg.Record]) -> list[CancellationRequest]:
    if not rows:
        return []
    lines: dict[UUID, list[RequestedLine]] = {}
    for row in await _LINES.rows(connection, ids=[row["id"] for row in rows]):
        line = RequestedLine(row["line_id"], row["unit_count"], row["item_id"])
        lines.setdefault(row["request_id"], []).append(line)
    return [_request_of(row, tuple(lines.get(row["id"], ()))) for row in rows]


def _request_of(row: asyncpg.Record, lines: tuple[RequestedLine, ...]) -> CancellationRequest:
    return CancellationRequest(
        id=row["id"],
        channel_id=row["channel_id"],
        order_id=row["order_id"],
        event_id=row["event_id"],
        create_time=row["create_time"],
        allocation_id=row["allocation_id"],
        lines=lines,
        cause=CancellationCause(row["fault"], row["reason"]),
        deadline=row["deadline"],
        state=row["state"],
        unit_count=row["unit_count"],
        cancelled=row["cancelled"],
        answer_time=row["answer_time"],
        answered_by=row["answered_by"] or "",
        answer_reason=row["answer_reason"] or "",
        exception_id=row["exception_id"],
    )


def _row(request: CancellationRequest) -> tuple[object, ...]:
    return (
        *(request.id, request.channel_id, request.order_id, request.event_id, request.create_time),
        *(request.allocation_id, request.cause.fault, request.cause.reason, request.deadline, request.state),
        *(request.unit_count, request.cancelled, request.answer_time, request.answered_by or None),
        *(request.answer_reason or None, request.exception_id),
    )
