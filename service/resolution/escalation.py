"""Escalates overdue exceptions, once each, to the owner that their rule names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Integer, Select, Uuid, func, literal_column, select, update

from service.database.database import Connection, Statement, any_of, parameter
from service.database.tables import Moment, exception
from service.exceptions import exception_store, incidents
from service.exceptions.exception_model import POLICY, ExceptionEvent
from service.exceptions.exception_store import OrderTimelineNote
from service.orders import order_store
from service.stock import levels

_own = exception.c


def _overdue(*columns: Any) -> Select[Any]:
    """Open overdue exceptions that have not been escalated yet."""
    return select(*columns).where(
        _own.state == literal_column("'open'"),
        _own.due_time <= func.statement_timestamp(),
        _own.escalate_to.is_not(None),
        _own.escalate_time.is_(None),
    )


_FIND = Statement(
    _overdue(_own.id, _own.allocation_id).order_by(_own.due_time, _own.id).limit(parameter("count", Integer))
)
_LOCK = Statement(
    _overdue(exception)
    .where(
        _own.id == any_of("ids", Uuid),
        _own.allocation_id.is_(None) | (_own.allocation_id == any_of("allocation_ids", Uuid)),
    )
    .order_by(_own.id)
    .with_for_update(skip_locked=True)
)
_ESCALATE = Statement(
    update(exception)
    .values(owner=_own.escalate_to, escalate_time=parameter("now", Moment), update_time=parameter("now", Moment))
    .where(_own.id == any_of("ids", Uuid))
)


async def escalate(connection: Connection, count: int, new_id: Callable[[], UUID]) -> list[asyncpg.Record]:
    """Escalates at most `count` overdue exceptions; returns their old rows. Skips rows that others have locked."""
    candidates = await _FIND.rows(connection, count=count)
    if not candidates:
        return []
    locked = await order_store.lock_if_free(connection, {r["allocation_id"] for r in candidates if r["allocation_id"]})
    rows = await _LOCK.rows(connection, ids=[r["id"] for r in candidates], allocation_ids=locked)
    now = await levels.clock(connection)
    await _ESCALATE.run(connection, now=now, ids=[r["id"] for r in rows])
    events = [ExceptionEvent(r["id"], "escalated", POLICY, _escalation_text(r)) for r in rows]
    await incidents.add_history(connection, now, events, new_id)
    await exception_store.note_on_orders(connection, now, _notes(rows), new_id, needs_person=False)
    return rows


def _notes(rows: Iterable[asyncpg.Record]) -> list[OrderTimelineNote]:
    return [
        OrderTimelineNote(r["allocation_id"], "exception_escalated", _timeline_text(r), r["policy_revision"])
        for r in rows
        if r["allocation_id"]
    ]


def _timeline_text(row: asyncpg.Record) -> str:
    return f"{row['kind'].replace('_', ' ').capitalize()}: {_escalation_text(row)}"


def _escalation_text(row: asyncpg.Record) -> str:
    return f"Overdue: escalated from {row['owner']} to {row['escalate_to']}."
