"""SQL of exceptions: locks, updates and their events in the timelines of orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Text,
    Uuid,
    func,
    insert,
    literal_column,
    select,
    update,
)

from service.audit.origin import current_principal
from service.database.database import (
    Columns,
    Connection,
    Statement,
    any_of,
    parameter,
    transposed,
    unnested,
)
from service.database.tables import Moment, allocation, exception, exception_event, exception_record, order_event
from service.history import counted_orders
from service.history.counted_orders import NEEDS_PERSON, NO_VALUE

_exception = exception.c
_OPEN: ColumnElement[Any] = literal_column("'open'")

_FIND = Statement(select(*exception_record).where(_exception.id == parameter("id", Uuid)))
_FIND_OPEN = Statement(
    select(*exception_record).where(
        _exception.kind == parameter("kind", Text),
        _exception.subject == parameter("subject", Text),
        _exception.subject != literal_column("''"),
        _exception.state == _OPEN,
    )
)
_LOCK = Statement(select(*exception_record).where(_exception.id == parameter("id", Uuid)).with_for_update(of=exception))
_HISTORY = Statement(
    select(exception_event)
    .where(exception_event.c.exception_id == parameter("id", Uuid))
    .order_by(exception_event.c.event_time, exception_event.c.id)
)
_ASSIGN = Statement(
    update(exception)
    .values(assignee=parameter("assignee", Text), owner=parameter("owner", Text), update_time=parameter("now", Moment))
    .where(_exception.id == parameter("id", Uuid))
    .returning(*exception_record)
)
_RESOLVE = Statement(
    update(exception)
    .values(
        state="resolved",
        resolution=parameter("resolution", Text),
        resolved_by=parameter("actor", Text),
        note=parameter("note", Text),
        resolve_time=parameter("now", Moment),
        update_time=parameter("now", Moment),
    )
    .where(_exception.id == parameter("id", Uuid))
    .returning(*exception_record)
)
_OTHERS_OPEN = Statement(
    select(func.count().label("count")).where(
        _exception.allocation_id == parameter("allocation_id", Uuid),
        _exception.kind == parameter("kind", Text),
        _exception.state == _OPEN,
        _exception.id != parameter("id", Uuid),
    )
)

_before = allocation.alias("before")
_NOTE = Statement(
    update(allocation)
    .values(
        version=allocation.c.version + 1,
        update_time=parameter("now", Moment),
        needs_person=allocation.c.needs_person | parameter("needs_person", Boolean),
    )
    .where(allocation.c.id == _before.c.id, _before.c.id == any_of("ids", Uuid))
    .returning(allocation.c.id, allocation.c.channel_id, _before.c.needs_person.label("needed_person"))
)
_EVENT: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "event": Text,
    "description": Text,
    "policy_revision": Text,
    "event_time": Moment,
    "principal": Text,
}
_event = unnested("events", **_EVENT)
_ADD_ORDER_EVENTS = Statement(
    insert(order_event).from_select(list(_EVENT), select(*(_event.c[name] for name in _EVENT)))
)


@dataclass(frozen=True, slots=True)
class OrderTimelineNote:
    """An event of an exception for the timeline of its order."""

    allocation_id: UUID
    event: str
    description: str
    policy_revision: str
    kind: str = ""
    """Of the exception, which is why its order needs a person."""


async def find(connection: Connection, id: UUID) -> asyncpg.Record | None:
    """One exception; None if there is none."""
    return await _FIND.row(connection, id=id)


async def find_open(connection: Connection, kind: str, subject: str) -> asyncpg.Record | None:
    """The open exception of a kind and subject; None if there is none."""
    return await _FIND_OPEN.row(connection, kind=kind, subject=subject)


async def lock(connection: Connection, id: UUID) -> asyncpg.Record | None:
    """One exception, locked. The caller must have locked its order, if it has one."""
    return await _LOCK.row(connection, id=id)


async def history(connection: Connection, id: UUID) -> list[asyncpg.Record]:
    """The events of an exception, oldest first."""
    return await _HISTORY.rows(connection, id=id)


async def assign(
    connection: Connection, now: datetime, id: UUID, *, assignee: str | None, owner: str
) -> asyncpg.Record | None:
    """Assigns a locked exception; returns it as updated."""
    return await _ASSIGN.row(connection, now=now, id=id, assignee=assignee, owner=owner)


async def resolve(
    connection: Connection, now: datetime, id: UUID, *, resolution: str, actor: str, note: str | None
) -> asyncpg.Record | None:
    """Resolves a locked exception; returns it as updated."""
    return await _RESOLVE.row(connection, now=now, id=id, resolution=resolution, actor=actor, note=note)


async def other_open_count(connection: Connection, row: asyncpg.Record) -> int:
    """The number of other open exceptions of its kind about the same order, which is locked."""
    rows = await _OTHERS_OPEN.rows(connection, allocation_id=row["allocation_id"], kind=row["kind"], id=row["id"])
    count: int = rows[0]["count"]
    return count


async def note_on_orders(
    connection: Connection,
    now: datetime,
    notes: Sequence[OrderTimelineNote],
    new_id: Callable[[], UUID],
    *,
    needs_person: bool,
) -> list[str]:
    """Adds events to the timelines of locked orders and raises their versions.

    `needs_person` says that a person has to act, or has acted. Returns the channel of each order that had not needed a
    person before.
    """
    if not notes:
        return []
    ids = sorted({note.allocation_id for note in notes})
    updated = await _NOTE.rows(connection, now=now, ids=ids, needs_person=needs_person)
    principal = current_principal()
    rows = [
        (new_id(), note.allocation_id, note.event, note.description, note.policy_revision, now, principal)
        for note in notes
    ]
    await _ADD_ORDER_EVENTS.run(connection, **transposed(list(_EVENT), rows))
    newly = [r for r in updated if needs_person and not r["needed_person"]]
    by_order = {note.allocation_id: note for note in reversed(notes)}
    counted = [
        (now, NEEDS_PERSON, note.kind, 0, True, r["channel_id"], r["id"], note.policy_revision, None, None, *NO_VALUE)
        for r in newly
        for note in (by_order[r["id"]],)
    ]
    await counted_orders.write_orders(connection, counted)
    return [r["channel_id"] for r in newly]
