"""Exceptions in PostgreSQL: pages of them, one of them under lock, and what is noted on their orders."""

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
    Integer,
    Select,
    Text,
    Uuid,
    func,
    insert,
    literal_column,
    select,
    tuple_,
    update,
)

from service.database.database import (
    Columns,
    Connection,
    Statement,
    any_of,
    parameter,
    parameters,
    transposed,
    unnested,
)
from service.database.tables import Moment, allocation, exception, exception_event, exception_record, order_event
from service.exceptions.exception_requests import ExceptionsPage

_own = exception.c
_OPEN: ColumnElement[Any] = literal_column("'open'")


def _page(listed: Select[Any]) -> Statement:
    """Exceptions behind a key, by (due time, id), through filters that let everything through where they are empty."""
    return Statement(
        listed.where(
            (parameter("after_time", Moment).is_(None))
            | (tuple_(_own.due_time, _own.id) > tuple_(parameter("after_time", Moment), parameter("after_id", Uuid))),
            (func.cardinality(parameters("kinds", Text)) == 0) | (_own.kind == any_of("kinds", Text)),
            (func.cardinality(parameters("owners", Text)) == 0) | (_own.owner == any_of("owners", Text)),
            (func.cardinality(parameters("channel_ids", Text)) == 0) | (_own.channel_id == any_of("channel_ids", Text)),
            (parameter("allocation_id", Uuid).is_(None)) | (_own.allocation_id == parameter("allocation_id", Uuid)),
        )
        .order_by(_own.due_time, _own.id)
        .limit(parameter("count", Integer))
    )


# A partial index serves only a statement that states its condition, so what is open has statements of its own.
_PAGE_OPEN = _page(select(*exception_record).where(_own.state == _OPEN))
_PAGE_OVERDUE = _page(select(*exception_record).where(_own.state == _OPEN, _own.due_time <= func.statement_timestamp()))
_PAGE_ANY = _page(
    select(*exception_record).where(
        (func.cardinality(parameters("states", Text)) == 0) | (_own.state == any_of("states", Text))
    )
)

_FIND = Statement(select(*exception_record).where(_own.id == parameter("id", Uuid)))
_FIND_OPEN = Statement(
    select(*exception_record).where(
        _own.kind == parameter("kind", Text),
        _own.subject == parameter("subject", Text),
        _own.subject != literal_column("''"),
        _own.state == _OPEN,
    )
)
_LOCK = Statement(select(*exception_record).where(_own.id == parameter("id", Uuid)).with_for_update(of=exception))
_HISTORY = Statement(
    select(exception_event)
    .where(exception_event.c.exception_id == parameter("id", Uuid))
    .order_by(exception_event.c.event_time, exception_event.c.id)
)
_ASSIGN = Statement(
    update(exception)
    .values(assignee=parameter("assignee", Text), owner=parameter("owner", Text), update_time=parameter("now", Moment))
    .where(_own.id == parameter("id", Uuid))
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
    .where(_own.id == parameter("id", Uuid))
    .returning(*exception_record)
)
_OTHERS_OPEN = Statement(
    select(func.count().label("count")).where(
        _own.allocation_id == parameter("allocation_id", Uuid),
        _own.kind == parameter("kind", Text),
        _own.state == _OPEN,
        _own.id != parameter("id", Uuid),
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
}
_event = unnested("happened", **_EVENT)
_ADD_ORDER_EVENTS = Statement(
    insert(order_event).from_select(list(_EVENT), select(*(_event.c[name] for name in _EVENT)))
)


@dataclass(frozen=True, slots=True)
class OrderTimelineNote:
    """Something about an exception that belongs into the timeline of its order."""

    allocation_id: UUID
    event: str
    description: str
    policy_revision: str


async def page(connection: Connection, wanted: ExceptionsPage, count: int) -> list[asyncpg.Record]:
    """At most `count` exceptions, the ones that are due first, first."""
    statement = _PAGE_OPEN if wanted.states == ["open"] else _PAGE_ANY
    if wanted.overdue_only:
        # Only what is open can be overdue.
        if wanted.states and "open" not in wanted.states:
            return []
        statement = _PAGE_OVERDUE
    after_time, after_id = wanted.after or (None, None)
    return await statement.rows(
        connection,
        after_time=after_time,
        after_id=after_id,
        states=wanted.states,
        kinds=wanted.kinds,
        owners=wanted.owners,
        channel_ids=wanted.channel_ids,
        allocation_id=wanted.allocation_id,
        count=count,
    )


async def find(connection: Connection, id: UUID) -> asyncpg.Record | None:
    """One exception as it stands; None where there is none."""
    return await _FIND.row(connection, id=id)


async def find_open(connection: Connection, kind: str, subject: str) -> asyncpg.Record | None:
    """The open exception of a kind about something; None where there is none."""
    return await _FIND_OPEN.row(connection, kind=kind, subject=subject)


async def lock(connection: Connection, id: UUID) -> asyncpg.Record | None:
    """One exception, locked. The lock of its order, where it has one, comes before."""
    return await _LOCK.row(connection, id=id)


async def history(connection: Connection, id: UUID) -> list[asyncpg.Record]:
    """What happened to an exception, oldest first."""
    return await _HISTORY.rows(connection, id=id)


async def assign(
    connection: Connection, now: datetime, id: UUID, *, assignee: str | None, owner: str
) -> asyncpg.Record | None:
    """Gives a locked exception to somebody; returns it as it is then."""
    return await _ASSIGN.row(connection, now=now, id=id, assignee=assignee, owner=owner)


async def resolve(
    connection: Connection, now: datetime, id: UUID, *, resolution: str, actor: str, note: str | None
) -> asyncpg.Record | None:
    """Settles a locked exception; returns it as it is then."""
    return await _RESOLVE.row(connection, now=now, id=id, resolution=resolution, actor=actor, note=note)


async def other_open_count(connection: Connection, row: asyncpg.Record) -> int:
    """How many other exceptions of its kind are open about the same order, which is locked."""
    found = await _OTHERS_OPEN.rows(connection, allocation_id=row["allocation_id"], kind=row["kind"], id=row["id"])
    count: int = found[0]["count"]
    return count


async def note_on_orders(
    connection: Connection,
    now: datetime,
    notes: Sequence[OrderTimelineNote],
    new_id: Callable[[], UUID],
    *,
    needs_person: bool,
) -> list[str]:
    """Adds to the timelines of locked orders and raises their versions.

    `needs_person` says that a person has to act, or has acted; returns the channels of the orders that had not needed
    one before, once for each.
    """
    if not notes:
        return []
    ids = sorted({note.allocation_id for note in notes})
    touched = await _NOTE.rows(connection, now=now, ids=ids, needs_person=needs_person)
    rows = [(new_id(), n.allocation_id, n.event, n.description, n.policy_revision, now) for n in notes]
    await _ADD_ORDER_EVENTS.run(connection, **transposed(list(_EVENT), rows))
    return [r["channel_id"] for r in touched if needs_person and not r["needed_person"]]
