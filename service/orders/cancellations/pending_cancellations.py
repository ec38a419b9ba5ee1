"""Cancellations by order key in PostgreSQL: of orders that have not arrived yet, and those that were applied."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Boolean, Integer, Interval, Text, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.decisions.cancellations import CancellationCause, PendingCancellation
from service import limits
from service.database.database import Columns, Connection, Statement, parameter, transposed, unnested
from service.database.tables import Moment, order_cancellation
from service.orders.cancellations.cancellation_request import CancellationRequest
from service.orders.order_identity import OrderKey

_cancellation = order_cancellation.c
_requested = unnested("requested", channel_id=Text, order_id=Text)
_READ = Statement(
    select(order_cancellation)
    .join(
        _requested,
        (_requested.c.channel_id == _cancellation.channel_id) & (_requested.c.order_id == _cancellation.order_id),
    )
    .order_by(_cancellation.ingest_time, _cancellation.event_id, _cancellation.line_id)
)

_ROW: Columns = {
    "channel_id": Text,
    "order_id": Text,
    "event_id": Text,
    "line_id": Text,
    "unit_count": Integer,
    "item_id": Text,
    "ingest_time": Moment,
    "cancel_time": Moment,
    "apply_time": Moment,
    "fault": Text,
    "reason": Text,
    "is_request": Boolean,
}
_new = unnested("new", **_ROW)
_insert = upsert(order_cancellation).from_select(list(_ROW), select(*(_new.c[name] for name in _ROW)))
_WRITE = Statement(
    _insert.on_conflict_do_update(
        index_elements=["channel_id", "order_id", "event_id", "line_id"],
        set_={"apply_time": func.coalesce(_cancellation.apply_time, _insert.excluded.apply_time)},
    )
)

_moved = unnested("moved", channel_id=Text, order_id=Text)
_DELETE_MOVED = Statement(
    delete(order_cancellation).where(
        tuple_(_cancellation.channel_id, _cancellation.order_id).in_(select(_moved.c.channel_id, _moved.c.order_id))
    )
)
_unclaimed = (
    select(_cancellation.channel_id, _cancellation.order_id, _cancellation.event_id, _cancellation.line_id)
    .where(
        _cancellation.apply_time.is_(None),
        _cancellation.ingest_time < func.clock_timestamp() - parameter("retention", Interval),
    )
    .limit(parameter("count", Integer))
)
_DELETE_UNCLAIMED = Statement(
    delete(order_cancellation).where(
        tuple_(_cancellation.channel_id, _cancellation.order_id, _cancellation.event_id, _cancellation.line_id).in_(
            _unclaimed
        )
    )
)
DELETED_ROWS = 5_000
"""Rows that the sweeper deletes in one transaction."""


@dataclass(frozen=True, slots=True)
class CancellationRow:
    """One stored cancellation with its order and its event.

    One that `is_request` cancels nothing: it says that a request to cancel waits for the order.
    """

    key: OrderKey
    event_id: str
    cancellation: PendingCancellation
    is_request: bool = False


def latest_time(cancel_time: datetime | None, ingest_time: datetime) -> datetime:
    """The latest time, by the channel's clock, at which a cancellation can have happened.

    One without a time happened before it arrived; the channel's clock may be ahead of ours.
    """
    return cancel_time or ingest_time + limits.CLOCK_SKEW


async def read(connection: Connection, keys: Iterable[OrderKey]) -> list[CancellationRow]:
    """The stored cancellations of these locked orders, in order of arrival."""
    rows = await _READ.rows(connection, **transposed(["channel_id", "order_id"], sorted(set(keys))))
    return [
        CancellationRow(
            (r["channel_id"], r["order_id"]),
            r["event_id"],
            PendingCancellation(
                r["line_id"],
                r["unit_count"] or 0,
                r["cancel_time"],
                is_applied=r["apply_time"] is not None,
                latest_time=latest_time(r["cancel_time"], r["ingest_time"]),
                cause=CancellationCause(r["fault"], r["reason"]),
                item_id=r["item_id"],
            ),
            r["is_request"],
        )
        for r in rows
    ]


def requested_keys(rows: Iterable[CancellationRow]) -> set[OrderKey]:
    """The keys of orders for which shoppers' requests to cancel wait."""
    return {row.key for row in rows if row.is_request and not row.cancellation.is_applied}


async def write(connection: Connection, now: datetime, rows: Iterable[CancellationRow]) -> None:
    """Stores cancellations of locked orders, or marks them as applied."""
    values = [
        (
            *(*row.key, row.event_id, row.cancellation.line_id),
            None if row.cancellation.is_whole else row.cancellation.unit_count,
            row.cancellation.item_id,
            *(now, row.cancellation.cancel_time, now if row.cancellation.is_applied else None),
            *(row.cancellation.cause.fault, row.cancellation.cause.reason, row.is_request),
        )
        for row in rows
    ]
    if values:
        await _WRITE.run(connection, **transposed(list(_ROW), values))


async def delete_moved(connection: Connection, keys: Iterable[OrderKey]) -> None:
    """Deletes the cancellations of orders that turned out to be copies; their originals' rows replace them."""
    copies = sorted(set(keys))
    if copies:
        await _DELETE_MOVED.run(connection, **transposed(["channel_id", "order_id"], copies))


async def delete_unclaimed(connection: Connection, retention: timedelta = limits.EARLY_CANCELLATION_RETENTION) -> None:
    """Deletes cancellations whose order has not arrived for that long."""
    await _DELETE_UNCLAIMED.run(connection, retention=retention, count=DELETED_ROWS)


def marker(request: CancellationRequest, *, is_applied: bool = False) -> CancellationRow:
    """The row by which a waiting request is found among the cancellations of its order's key."""
    key = (request.channel_id, request.order_id)
    cancellation = PendingCancellation(is_applied=is_applied)
    return CancellationRow(key, f"request {request.event_id}", cancellation, is_request=True)


def accepted_whole(request: CancellationRequest) -> CancellationRow:
    """The cancellation to store of an order that a request has cancelled whole: it stays so when it is sent again."""
    cancellation = PendingCancellation(is_applied=True, cause=request.cause)
    return CancellationRow((request.channel_id, request.order_id), f"accepted request {request.event_id}", cancellation)
