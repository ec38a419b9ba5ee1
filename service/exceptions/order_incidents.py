"""Raises and resolves exceptions with their events in the timelines of their orders, which are locked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from policies.domain.resolutions import COMPLETED
from policies.policy_set import PolicySet
from service.database.database import Connection
from service.exceptions import exception_store, incidents
from service.exceptions.exception_store import OrderTimelineNote
from service.exceptions.incidents import Incident, RaisedException, ResolvedException


async def raise_on_orders(
    connection: Connection,
    policy_set: PolicySet,
    now: datetime,
    raising: Iterable[Incident],
    new_id: Callable[[], UUID],
    *,
    changed: Collection[UUID] = (),
) -> tuple[list[RaisedException], list[str]]:
    """Raises exceptions as `incidents.raise_all`; the order of each new one needs a person, and its timeline says why.

    The timelines of orders that are `changed` anyway are left alone. Returns the new ones, and the channel of each
    order that had not needed a person before.
    """
    by_key = {(incident.kind, incident.subject): incident for incident in raising}
    raised = await incidents.raise_all(connection, policy_set, now, by_key.values(), new_id)
    notes = [
        OrderTimelineNote(allocation_id, new.kind, new.description, policy_set.revision, new.kind)
        for new in raised
        if (allocation_id := by_key[new.kind, new.subject].allocation_id) is not None and allocation_id not in changed
    ]
    return raised, await exception_store.note_on_orders(connection, now, notes, new_id, needs_person=True)


async def resolve_on_orders(
    connection: Connection,
    now: datetime,
    kind: str,
    rows: Sequence[asyncpg.Record],
    *,
    description: str,
    new_id: Callable[[], UUID],
) -> list[ResolvedException]:
    """Resolves open exceptions of a kind as completed, because their cause has ended; returns them.

    `rows` are (id, subject, allocation_id, policy_revision). Their orders do not need a person because of it.
    """
    subjects = [row["subject"] for row in rows]
    resolved = await incidents.resolve_all(
        connection, now, kind, subjects, resolution=COMPLETED, description=description, new_id=new_id
    )
    resolved_ids = {exception.id for exception in resolved}
    text = f"{kind.replace('_', ' ').capitalize()}: {description}"
    notes = [
        OrderTimelineNote(row["allocation_id"], "exception_resolved", text, row["policy_revision"])
        for row in rows
        if row["id"] in resolved_ids
    ]
    await exception_store.note_on_orders(connection, now, notes, new_id, needs_person=False)
    return resolved
