"""Gives exceptions about orders that had not arrived when a failure was reported to those orders once they arrive."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import Integer, Uuid, func, literal_column, select, update

from service.database.database import Connection, Statement, parameter, transposed, unnested
from service.database.tables import Moment, allocation, allocation_copy, exception
from service.exceptions import exception_store
from service.exceptions.exception_store import OrderTimelineNote

_own, _order, _copy = exception.c, allocation.c, allocation_copy.c
_arrived = func.coalesce(
    select(_copy.allocation_id)
    .where(_copy.channel_id == _own.channel_id, _copy.order_id == _own.reported_order_id)
    .correlate(exception)
    .scalar_subquery(),
    select(_order.id)
    .where(_order.channel_id == _own.channel_id, _order.order_id == _own.reported_order_id)
    .correlate(exception)
    .scalar_subquery(),
)
_waiting = (
    select(_own.id, _own.kind, _own.description, _own.policy_revision, _arrived.label("allocation_id"))
    .where(
        _own.state == literal_column("'open'"),
        _own.reported_order_id.is_not(None),
        _own.allocation_id.is_(None),
    )
    .subquery("waiting")
)
_FIND = Statement(select(_waiting).where(_waiting.c.allocation_id.is_not(None)).limit(parameter("count", Integer)))
_pair = unnested("pair", id=Uuid, allocation_id=Uuid)
_ATTACH = Statement(
    update(exception)
    .values(allocation_id=_pair.c.allocation_id, update_time=parameter("now", Moment))
    .where(_own.id == _pair.c.id, _own.allocation_id.is_(None), _own.state == literal_column("'open'"))
    .returning(_own.id)
)


async def find(connection: Connection, count: int) -> list[asyncpg.Record]:
    """At most `count` open exceptions whose order has arrived, each with its `allocation_id`."""
    return await _FIND.rows(connection, count=count)


async def attach(
    connection: Connection,
    now: datetime,
    found: Sequence[asyncpg.Record],
    locked: Collection[UUID],
    new_id: Callable[[], UUID],
) -> tuple[int, list[str]]:
    """Attaches those of locked orders; returns how many, and the channel of each order that is now for a person."""
    rows = {row["id"]: row for row in found if row["allocation_id"] in locked}
    if not rows:
        return 0, []
    pairs = [(id, row["allocation_id"]) for id, row in rows.items()]
    attached = [r["id"] for r in await _ATTACH.rows(connection, now=now, **transposed(["id", "allocation_id"], pairs))]
    notes = [
        OrderTimelineNote(row["allocation_id"], row["kind"], row["description"], row["policy_revision"])
        for row in (rows[id] for id in attached)
    ]
    return len(attached), await exception_store.note_on_orders(connection, now, notes, new_id, needs_person=True)
