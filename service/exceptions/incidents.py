"""Exceptions that do not come from planning an order: raised once while open, resolved when their cause ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg
from sqlalchemy import Text, Uuid, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.decisions.exception_policy import handling_of
from policies.domain.model import Channel, Context, Destination, Location, OrderFacts, Product
from policies.policy_set import PolicySet
from service.database.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, exception, exception_event
from service.exceptions.exception_model import POLICY, ExceptionEvent
from service.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Incident:
    """A problem to raise as an exception. If one of its kind and subject is open, this one counts as a repeat of it.

    `channel`, `location`, `product`, `order` and `destination` are facts for exception rules, if known.
    `allocation_id`, `shipment_id`, `sku`, `location_id`, `channel_id` and `source` name what it is about, even if the
    catalog does not have it.
    """

    kind: str
    subject: str
    description: str
    channel: Channel | None = None
    location: Location | None = None
    product: Product | None = None
    channel_id: str | None = None
    sku: str | None = None
    location_id: str | None = None
    source: str | None = None
    allocation_id: UUID | None = None
    shipment_id: UUID | None = None
    order: OrderFacts | None = None
    destination: Destination | None = None
    sub_kind: str | None = None
    order_id: str | None = None
    """The order of the channel that it names, if it has not arrived."""
    outlet_id: str | None = None


@dataclass(frozen=True, slots=True)
class RaisedException:
    """A new exception."""

    id: UUID
    kind: str
    subject: str
    channel_id: str | None
    owner: str
    description: str


@dataclass(frozen=True, slots=True)
class ResolvedException:
    """An exception that was open, resolved now; `seconds` after it was raised."""

    id: UUID
    owner: str
    seconds: float

    @classmethod
    def of(cls, row: asyncpg.Record, now: datetime) -> ResolvedException:
        """From its id, owner and create_time."""
        return cls(row["id"], row["owner"], max(0.0, (now - row["create_time"]).total_seconds()))


_RAISED_COLUMNS: Columns = {
    "id": Uuid,
    "kind": Text,
    "subject": Text,
    "description": Text,
    "channel_id": Text,
    "sku": Text,
    "location_id": Text,
    "source": Text,
    "allocation_id": Uuid,
    "shipment_id": Uuid,
    "owner": Text,
    "due_time": Moment,
    "escalate_to": Text,
    "action": Text,
    "rule": Text,
    "sub_kind": Text,
    "reported_order_id": Text,
    "outlet_id": Text,
}
_raised_rows = unnested("raised", **_RAISED_COLUMNS)
_insert = upsert(exception).from_select(
    [*_RAISED_COLUMNS, "state", "policy_revision", "create_time", "update_time"],
    select(
        *(_raised_rows.c[name] for name in _RAISED_COLUMNS),
        literal_column("'open'"),
        parameter("policy_revision", Text),
        parameter("now", Moment),
        parameter("now", Moment),
    ).order_by(_raised_rows.c.kind, _raised_rows.c.subject),
)
_RAISE = Statement(
    _insert.on_conflict_do_update(
        index_elements=["kind", "subject"],
        index_where=literal_column("state = 'open' AND subject <> ''"),
        set_={
            "repeat_count": exception.c.repeat_count + 1,
            "description": _insert.excluded.description,
            "update_time": _insert.excluded.update_time,
        },
    ).returning(
        *(exception.c[name] for name in ("id", "kind", "subject", "channel_id", "owner", "description", "repeat_count"))
    )
)

_EVENT_COLUMNS: Columns = {"id": Uuid, "exception_id": Uuid, "event": Text, "actor": Text, "description": Text}
_event_rows = unnested("events", **_EVENT_COLUMNS)
_ADD_HISTORY = Statement(
    insert(exception_event).from_select(
        [*_EVENT_COLUMNS, "event_time"],
        select(*(_event_rows.c[name] for name in _EVENT_COLUMNS), parameter("now", Moment)),
    )
)

_LOCK_OPEN = Statement(
    select(exception.c.id)
    .where(
        # PostgreSQL uses the partial index of open exceptions only if both of its conditions are here.
        exception.c.state == literal_column("'open'"),
        exception.c.subject != literal_column("''"),
        exception.c.kind == parameter("kind", Text),
        exception.c.subject == any_of("subjects", Text),
    )
    .order_by(exception.c.subject)
    .with_for_update()
)
_RESOLVE = Statement(
    update(exception)
    .values(
        state="resolved",
        resolution=parameter("resolution", Text),
        resolved_by=POLICY,
        resolve_time=parameter("now", Moment),
        update_time=parameter("now", Moment),
    )
    .where(exception.c.id == any_of("ids", Uuid))
    .returning(exception.c.id, exception.c.owner, exception.c.create_time)
)


async def raise_all(
    connection: Connection,
    policy_set: PolicySet,
    now: datetime,
    incidents: Iterable[Incident],
    new_id: Callable[[], UUID],
) -> list[RaisedException]:
    """Raises exceptions, or adds to the repeat count of open ones; returns the new ones, for `count_raised`.

    To be called after all locks are taken: rows are written in the order of (kind, subject).
    """
    unique = {(incident.kind, incident.subject): incident for incident in incidents}
    rows = [_row(policy_set, now, incident, new_id()) for _, incident in sorted(unique.items())]
    if not rows:
        return []
    raised_rows = await _RAISE.rows(
        connection, now=now, policy_revision=policy_set.revision, **transposed(list(_RAISED_COLUMNS), rows)
    )
    # A repeat only raises the count; it adds no event to the history.
    new = [
        RaisedException(r["id"], r["kind"], r["subject"], r["channel_id"], r["owner"], r["description"])
        for r in raised_rows
        if r["repeat_count"] == 0
    ]
    events = [ExceptionEvent(raised.id, "raised", POLICY, raised.description) for raised in new]
    await add_history(connection, now, events, new_id)
    return new


async def resolve_all(
    connection: Connection,
    now: datetime,
    kind: str,
    subjects: Sequence[str],
    *,
    resolution: str,
    description: str,
    new_id: Callable[[], UUID],
) -> list[ResolvedException]:
    """Resolves the open exceptions of a kind about these subjects, because their cause has ended; returns them.

    To be counted after the commit, with `count_resolved`.
    """
    if not subjects:
        return []
    ids = [r["id"] for r in await _LOCK_OPEN.rows(connection, kind=kind, subjects=sorted(subjects))]
    rows = await _RESOLVE.rows(connection, now=now, ids=ids, resolution=resolution) if ids else []
    await add_history(connection, now, [ExceptionEvent(id, "resolved", POLICY, description) for id in ids], new_id)
    return [ResolvedException.of(row, now) for row in rows]


async def add_history(
    connection: Connection, now: datetime, events: Sequence[ExceptionEvent], new_id: Callable[[], UUID]
) -> None:
    """Adds events to the history of exceptions."""
    rows = [(new_id(), event.exception_id, event.event, event.actor, event.description) for event in events]
    if rows:
        await _ADD_HISTORY.run(connection, now=now, **transposed(list(_EVENT_COLUMNS), rows))


def count_raised(metrics: Metrics, raised: Iterable[RaisedException]) -> None:
    """Counts new exceptions; to be called after the commit."""
    for new in raised:
        metrics.exceptions.count_raised(new.kind, new.channel_id, new.owner)


def count_resolved(metrics: Metrics, kind: str, resolution: str, resolved: Iterable[ResolvedException]) -> None:
    """Counts exceptions that were open, and how long; to be called after the commit."""
    for ended in resolved:
        metrics.exceptions.resolved.labels(kind, resolution).inc()
        metrics.exceptions.observe_resolved(kind, ended.owner, ended.seconds)


def rule_context(incident: Incident, now: datetime) -> Context:
    """The facts of an incident for exception rules."""
    return Context(
        now,
        channel=incident.channel,
        order=incident.order,
        destination=incident.destination,
        location=incident.location,
        product=incident.product,
        exception_kind=incident.kind,
    )


def _row(policy_set: PolicySet, now: datetime, incident: Incident, id: UUID) -> tuple[object, ...]:
    handling = handling_of(policy_set, rule_context(incident, now))
    rule = handling.rule if handling.is_built_in else f"{handling.rule} ({handling.source})"
    return (
        id,
        incident.kind,
        incident.subject,
        incident.description,
        incident.channel_id,
        incident.sku,
        incident.location_id,
        incident.source,
        incident.allocation_id,
        incident.shipment_id,
        handling.owner,
        now + handling.due_in,
        handling.escalate_to,
        handling.action,
        rule,
        incident.sub_kind,
        incident.order_id,
        incident.outlet_id,
    )
