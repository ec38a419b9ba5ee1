"""Exceptions that are noticed outside of an order's plan: raised once while open, and settled when they end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Text, Uuid, insert, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.decisions.exception_policy import handling_of
from policies.domain.model import Channel, Context, Destination, Location, OrderFacts, Product
from policies.policy_set import PolicySet
from service.database.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, exception, exception_event
from service.exceptions.exception_model import POLICY, ExceptionEvent
from service.metrics import NO_CHANNEL, Metrics


@dataclass(frozen=True, slots=True)
class Incident:
    """Something to settle. While one of its kind and subject is open, another is the same again.

    `channel`, `location`, `product`, `order` and `destination` are what exception rules may ask about, where it has
    them. `allocation_id`, `shipment_id`, `sku`, `location_id`, `channel_id` and `source` say what it is about, also
    where it is unknown to the catalogue.
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


@dataclass(frozen=True, slots=True)
class RaisedException:
    """An exception that is new."""

    id: UUID
    kind: str
    subject: str
    channel_id: str | None
    owner: str
    description: str


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
_event_rows = unnested("happened", **_EVENT_COLUMNS)
_ADD_HISTORY = Statement(
    insert(exception_event).from_select(
        [*_EVENT_COLUMNS, "event_time"],
        select(*(_event_rows.c[name] for name in _EVENT_COLUMNS), parameter("now", Moment)),
    )
)

_LOCK_OPEN = Statement(
    select(exception.c.id)
    .where(
        # Both conditions of the index by which open exceptions are found.
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
)


async def raise_all(
    connection: Connection,
    policy_set: PolicySet,
    now: datetime,
    incidents: Iterable[Incident],
    new_id: Callable[[], UUID],
) -> list[RaisedException]:
    """Raises exceptions, or counts up those that are open already; returns the ones that are new, see `count_raised`.

    To be called after all locks are taken: rows are written in the order of (kind, subject).
    """
    once = {(one.kind, one.subject): one for one in incidents}
    rows = [_row(policy_set, now, one, new_id()) for _, one in sorted(once.items())]
    if not rows:
        return []
    found = await _RAISE.rows(
        connection, now=now, policy_revision=policy_set.revision, **transposed(list(_RAISED_COLUMNS), rows)
    )
    # What is seen again and again is counted, not told again and again.
    new = [
        RaisedException(r["id"], r["kind"], r["subject"], r["channel_id"], r["owner"], r["description"])
        for r in found
        if r["repeat_count"] == 0
    ]
    await add_history(
        connection, now, [ExceptionEvent(one.id, "raised", POLICY, one.description) for one in new], new_id
    )
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
) -> list[UUID]:
    """Settles what is open of a kind about these subjects, because what it was about is over; returns their ids.

    To be counted after the commit, with `count_resolved`.
    """
    if not subjects:
        return []
    ids = [r["id"] for r in await _LOCK_OPEN.rows(connection, kind=kind, subjects=sorted(subjects))]
    await _RESOLVE.run(connection, now=now, ids=ids, resolution=resolution)
    await add_history(connection, now, [ExceptionEvent(one, "resolved", POLICY, description) for one in ids], new_id)
    return ids


async def add_history(
    connection: Connection, now: datetime, events: Sequence[ExceptionEvent], new_id: Callable[[], UUID]
) -> None:
    """Adds to the history of exceptions."""
    rows = [(new_id(), one.exception_id, one.event, one.actor, one.description) for one in events]
    if rows:
        await _ADD_HISTORY.run(connection, now=now, **transposed(list(_EVENT_COLUMNS), rows))


def count_raised(metrics: Metrics, raised: Iterable[RaisedException]) -> None:
    """Counts new exceptions; to be called after the commit."""
    for one in raised:
        metrics.exceptions.labels(one.kind, one.channel_id or NO_CHANNEL).inc()


def count_resolved(metrics: Metrics, kind: str, resolution: str, ids: Sequence[UUID]) -> None:
    """Counts exceptions that were settled; to be called after the commit."""
    metrics.exceptions_resolved.labels(kind, resolution).inc(len(ids))


def rule_context(one: Incident, now: datetime) -> Context:
    """What exception rules may know of an incident."""
    return Context(
        now,
        channel=one.channel,
        order=one.order,
        destination=one.destination,
        location=one.location,
        product=one.product,
        exception_kind=one.kind,
    )


def _row(policy_set: PolicySet, now: datetime, one: Incident, id: UUID) -> tuple[object, ...]:
    found = handling_of(policy_set, rule_context(one, now))
    rule = found.rule if found.is_built_in else f"{found.rule} ({found.source})"
    about = (one.channel_id, one.sku, one.location_id, one.source, one.allocation_id, one.shipment_id)
    settled = (found.owner, now + found.due_in, found.escalate_to, found.action, rule)
    return (id, one.kind, one.subject, one.description, *about, *settled)
