"""Cancellations by their channel's own name in PostgreSQL: those of orders that have not come yet, and those done."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Integer, Interval, Text, delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.decisions.cancellations import PendingCancellation
from service import limits
from service.database.database import Columns, Connection, Statement, parameter, transposed, unnested
from service.database.tables import Moment, order_cancellation
from service.orders.order_identity import OrderKey

_cancellation = order_cancellation.c
_requested = unnested("wanted", channel_id=Text, order_id=Text)
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
    "ingest_time": Moment,
    "cancel_time": Moment,
    "apply_time": Moment,
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
        _cancellation.ingest_time < func.clock_timestamp() - parameter("kept", Interval),
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
"""Rows of one transaction of the sweeper."""


@dataclass(frozen=True, slots=True)
class CancellationRow:
    """One kept cancellation with the order and the event that it is of."""

    key: OrderKey
    event_id: str
    cancellation: PendingCancellation


async def read(connection: Connection, names: Iterable[OrderKey]) -> list[CancellationRow]:
    """What is kept of these orders, which are locked, in the order in which it was heard."""
    rows = await _READ.rows(connection, **transposed(["channel_id", "order_id"], sorted(set(names))))
    return [
        CancellationRow(
            (r["channel_id"], r["order_id"]),
            r["event_id"],
            PendingCancellation(r["line_id"], r["unit_count"] or 0, r["cancel_time"], r["apply_time"] is not None),
        )
        for r in rows
    ]


async def write(connection: Connection, now: datetime, rows: Iterable[CancellationRow]) -> None:
    """Keeps cancellations of orders that are locked, or notes that they were applied."""
    values = [
        (
            *(*one.key, one.event_id, one.cancellation.line_id),
            None if one.cancellation.is_whole else one.cancellation.unit_count,
            *(now, one.cancellation.cancel_time, now if one.cancellation.is_applied else None),
        )
        for one in rows
    ]
    if values:
        await _WRITE.run(connection, **transposed(list(_ROW), values))


async def delete_moved(connection: Connection, names: Iterable[OrderKey]) -> None:
    """Takes away what is kept under names that are copies now; it is written under their originals' names."""
    gone = sorted(set(names))
    if gone:
        await _DELETE_MOVED.run(connection, **transposed(["channel_id", "order_id"], gone))


async def delete_unclaimed(connection: Connection, kept: timedelta = limits.EARLY_CANCELLATION_RETENTION) -> None:
    """Forgets cancellations whose order has not come in all that time."""
    await _DELETE_UNCLAIMED.run(connection, kept=kept, count=DELETED_ROWS)
