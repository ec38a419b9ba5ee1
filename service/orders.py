"""Allocations in PostgreSQL: lock the order, read what it has, write what it became, each set-based."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import asyncpg
from sqlalchemy import (
    Boolean,
    Double,
    Integer,
    LargeBinary,
    Table,
    Text,
    Uuid,
    delete,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.model import Commitment, Outcome
from service.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.record import AllocationRecord, LineRecord, ShipmentRecord, ShortageRecord, destination_of
from service.tables import (
    Moment,
    Money,
    allocation,
    decision,
    exception,
    order_event,
    order_line,
    promise,
    shipment,
    shortage,
)
from truestock.v1 import decision_pb2

_TAGS_APART = "\x1f"
"""Between the tags of one order, because an unnested list of lists loses its inner borders."""

_own = allocation.c

_NEW = {"id": Uuid, "channel_id": Text, "order_id": Text}
_new = unnested("new", **_NEW)
_LOCK_OR_MAKE = Statement(
    upsert(allocation)
    .from_select(
        [*_NEW, "state", "outcome", "commitment", "method", "priority", "tags"],
        select(
            *(_new.c[name] for name in _NEW),
            literal_column("'refused'"),
            literal_column("'unfillable'"),
            literal_column("'hold'"),
            literal_column("'ship'"),
            literal_column("0"),
            literal_column("'{}'::text[]"),
        ).order_by(_new.c.channel_id, _new.c.order_id),
    )
    .on_conflict_do_update(index_elements=["channel_id", "order_id"], set_={"update_time": _own.update_time})
    .returning(_own.id, _own.channel_id, _own.order_id)
)
_LOCK = Statement(
    select(_own.id)
    .where(_own.id == any_of("ids", Uuid))
    .order_by(_own.channel_id, _own.order_id)
    .with_for_update(key_share=True)
)
_LOCK_EXPIRED = Statement(
    select(_own.id)
    .where(_own.state == literal_column("'held'"), _own.expire_time <= func.clock_timestamp())
    .order_by(_own.channel_id, _own.order_id)
    .limit(parameter("count", Integer))
    .with_for_update(key_share=True, skip_locked=True)
)
_FIND = Statement(
    select(_own.id).where(
        _own.channel_id == parameter("channel_id", Text), _own.order_id == parameter("order_id", Text)
    )
)
_LINE_SKUS = Statement(select(order_line.c.sku).where(order_line.c.allocation_id == any_of("ids", Uuid)).distinct())
_SKUS = Statement(
    select(promise.c.sku).where(promise.c.allocation_id == any_of("ids", Uuid), promise.c.unit_count > 0).distinct()
)

_READ = Statement(
    select(allocation, decision.c.explanation)
    .outerjoin(decision, decision.c.id == _own.decision_id)
    .where(_own.id == any_of("ids", Uuid))
)
_READ_LINES = Statement(
    select(order_line).where(order_line.c.allocation_id == any_of("ids", Uuid)).order_by(order_line.c.position)
)
_READ_SHIPMENTS = Statement(
    select(shipment).where(shipment.c.allocation_id == any_of("ids", Uuid)).order_by(shipment.c.position)
)
_READ_PROMISES = Statement(
    select(promise)
    .join(
        order_line,
        (order_line.c.allocation_id == promise.c.allocation_id) & (order_line.c.line_id == promise.c.line_id),
    )
    .where(promise.c.allocation_id == any_of("ids", Uuid))
    .order_by(order_line.c.position)
)
_READ_SHORTAGES = Statement(
    select(shortage)
    .where(shortage.c.allocation_id == any_of("ids", Uuid))
    .order_by(shortage.c.line_id, shortage.c.kind)
)
_READ_EVENTS = Statement(
    select(order_event)
    .where(order_event.c.allocation_id == parameter("id", Uuid))
    .order_by(order_event.c.event_time, order_event.c.id)
)

_DELETES = [
    Statement(delete(table).where(table.c.allocation_id == any_of("ids", Uuid)))
    for table in (promise, shipment, shortage, order_line)
]
_SUPERSEDE = Statement(
    update(exception)
    .values(state="superseded")
    .where(exception.c.allocation_id == any_of("ids", Uuid), exception.c.state == "open")
)

_ALLOCATION: Columns = {
    "id": Uuid,
    "state": Text,
    "outcome": Text,
    "commitment": Text,
    "method": Text,
    "country": Text,
    "region": Text,
    "postal_code": Text,
    "latitude": Double,
    "longitude": Double,
    "pickup_location_id": Text,
    "stated_value": Money,
    "priority": Integer,
    "tags": Text,
    "expire_time": Moment,
    "needs_person": Boolean,
    "decision_id": Uuid,
    "create_time": Moment,
    "update_time": Moment,
}
_changed = unnested("changed", **_ALLOCATION)
_UPDATE = Statement(
    update(allocation)
    .values(
        {name: _changed.c[name] for name in _ALLOCATION if name not in ("id", "tags")}
        | {"tags": func.string_to_array(_changed.c.tags, literal_column("chr(31)"))}
    )
    .where(_own.id == _changed.c.id)
)

_LINE: Columns = {
    "allocation_id": Uuid,
    "line_id": Text,
    "position": Integer,
    "sku": Text,
    "unit_count": Integer,
    "cancelled": Integer,
    "unit_price": Money,
}
_SHIPMENT: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "position": Integer,
    "location_id": Text,
    "state": Text,
    "distance_km": Double,
}
_PROMISE: Columns = {
    "shipment_id": Uuid,
    "line_id": Text,
    "allocation_id": Uuid,
    "sku": Text,
    "location_id": Text,
    "state": Text,
    "unit_count": Integer,
    "expire_time": Moment,
}
_SHORTAGE: Columns = {
    "allocation_id": Uuid,
    "line_id": Text,
    "kind": Text,
    "sku": Text,
    "unit_count": Integer,
    "cause": Text,
}
_DECISION: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "policy_revision": Text,
    "software_version": Text,
    "explanation": LargeBinary,
    "create_time": Moment,
}
_EVENT: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "event": Text,
    "description": Text,
    "policy_revision": Text,
    "event_time": Moment,
}
_EXCEPTION: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "kind": Text,
    "state": Text,
    "description": Text,
    "policy_revision": Text,
    "create_time": Moment,
}


def _inserted(table: Table, columns: Columns) -> Statement:
    rows = unnested("new", **columns)
    return Statement(insert(table).from_select(list(columns), select(*(rows.c[name] for name in columns))))


_INSERTS = {
    name: (columns, _inserted(table, columns))
    for name, table, columns in (
        ("lines", order_line, _LINE),
        ("shipments", shipment, _SHIPMENT),
        ("promises", promise, _PROMISE),
        ("shortages", shortage, _SHORTAGE),
        ("decisions", decision, _DECISION),
        ("events", order_event, _EVENT),
        ("exceptions", exception, _EXCEPTION),
    )
}


@dataclass(slots=True)
class Changes:
    """What one transaction does to orders.

    `replaced` are allocations that had contents before; `replanned` are those of them whose exceptions rest on a plan
    that is no more.
    """

    records: list[AllocationRecord] = field(default_factory=list)
    replaced: list[UUID] = field(default_factory=list)
    replanned: list[UUID] = field(default_factory=list)
    decisions: list[tuple[object, ...]] = field(default_factory=list)
    events: list[tuple[object, ...]] = field(default_factory=list)
    exceptions: list[tuple[object, ...]] = field(default_factory=list)


async def lock_or_make(connection: Connection, new: Sequence[tuple[UUID, str, str]]) -> dict[tuple[str, str], UUID]:
    """Locks orders by (channel, order id), in order; makes those that are new, under the ids given."""
    rows = await _LOCK_OR_MAKE.rows(connection, **transposed(list(_NEW), new))
    return {(r["channel_id"], r["order_id"]): r["id"] for r in rows}


async def lock(connection: Connection, ids: Iterable[UUID]) -> list[UUID]:
    """Locks orders in order; returns those that exist."""
    return [r["id"] for r in await _LOCK.rows(connection, ids=list(ids))]


async def lock_expired(connection: Connection, count: int) -> list[UUID]:
    """Locks holds that are over and that nobody else has locked."""
    return [r["id"] for r in await _LOCK_EXPIRED.rows(connection, count=count)]


async def find(connection: Connection, channel_id: str, order_id: str) -> UUID | None:
    """The allocation of an order; None where it never came."""
    row = await _FIND.row(connection, channel_id=channel_id, order_id=order_id)
    return row["id"] if row else None


async def promised_skus(connection: Connection, ids: Sequence[UUID]) -> set[str]:
    """SKUs that these locked orders have promised; they may not be what a request names."""
    return {r["sku"] for r in await _SKUS.rows(connection, ids=list(ids))} if ids else set()


async def line_skus(connection: Connection, ids: Sequence[UUID]) -> set[str]:
    """SKUs that these locked orders ask for, promised or not."""
    return {r["sku"] for r in await _LINE_SKUS.rows(connection, ids=list(ids))}


async def read(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, AllocationRecord]:
    """Allocations with their lines, shipments, promises and shortages."""
    if not ids:
        return {}
    wanted = list(ids)
    records = {r["id"]: _record_of(r) for r in await _READ.rows(connection, ids=wanted)}
    for row in await _READ_LINES.rows(connection, ids=wanted):
        line = LineRecord(row["line_id"], row["sku"], row["unit_count"], row["unit_price"], row["cancelled"])
        records[row["allocation_id"]].lines.append(line)
    shipments: dict[UUID, ShipmentRecord] = {}
    for row in await _READ_SHIPMENTS.rows(connection, ids=wanted):
        made = ShipmentRecord(row["id"], row["location_id"], row["distance_km"], row["state"], {})
        shipments[made.id] = made
        records[row["allocation_id"]].shipments.append(made)
    for row in await _READ_PROMISES.rows(connection, ids=wanted):
        if row["unit_count"]:
            shipments[row["shipment_id"]].units[row["line_id"]] = row["unit_count"]
    for row in await _READ_SHORTAGES.rows(connection, ids=wanted):
        short = ShortageRecord(row["line_id"], row["sku"], row["unit_count"], row["kind"], row["cause"])
        records[row["allocation_id"]].shortages.append(short)
    return records


async def events(connection: Connection, allocation_id: UUID) -> list[asyncpg.Record]:
    """What happened to an order, oldest first."""
    return await _READ_EVENTS.rows(connection, id=allocation_id)


async def write(connection: Connection, changes: Changes) -> None:
    """Writes allocations whole, and what is remembered of how they came about."""
    if changes.replaced:
        for statement in _DELETES:
            await statement.run(connection, ids=changes.replaced)
    if changes.replanned:
        await _SUPERSEDE.run(connection, ids=changes.replanned)
    if changes.records:
        rows = [_allocation_row(record) for record in changes.records]
        await _UPDATE.run(connection, **transposed(list(_ALLOCATION), rows))
    for name, parts in _parts(changes).items():
        if parts:
            columns, statement = _INSERTS[name]
            await statement.run(connection, **transposed(list(columns), parts))


def _parts(changes: Changes) -> dict[str, list[tuple[object, ...]]]:
    records = changes.records
    return {
        "lines": [row for record in records for row in _line_rows(record)],
        "shipments": [row for record in records for row in _shipment_rows(record)],
        "promises": [row for record in records for row in _promise_rows(record)],
        "shortages": [(r.id, s.line_id, s.kind, s.sku, s.unit_count, s.cause) for r in records for s in r.shortages],
        "decisions": changes.decisions,
        "events": changes.events,
        "exceptions": changes.exceptions,
    }


def _allocation_row(record: AllocationRecord) -> tuple[object, ...]:
    to = record.destination
    point = to.coordinates if to else None
    return (
        record.id,
        record.state,
        record.outcome.value,
        record.commitment.value,
        record.method,
        to.country if to else None,
        to.region if to else None,
        to.postal_code if to else None,
        point.latitude if point else None,
        point.longitude if point else None,
        record.pickup_location_id,
        record.stated_value,
        record.priority,
        _TAGS_APART.join(sorted(record.tags)),
        record.expire_time,
        record.needs_person,
        record.decision_id,
        record.create_time,
        record.update_time,
    )


def _line_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    return [
        (record.id, x.line_id, position, x.sku, x.unit_count, x.cancelled, x.unit_price)
        for position, x in enumerate(record.lines)
    ]


def _shipment_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    return [
        (x.id, record.id, position, x.location_id, x.state, x.distance_km)
        for position, x in enumerate(record.shipments)
    ]


def _promise_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    held = record.state == "held"
    skus = {line.line_id: line.sku for line in record.lines}
    return [
        (
            made.id,
            line_id,
            record.id,
            skus[line_id],
            made.location_id,
            "held" if held else "allocated",
            units,
            record.expire_time if held else None,
        )
        for made in record.shipments
        for line_id, units in made.units.items()
    ]


def _record_of(row: asyncpg.Record) -> AllocationRecord:
    explained = decision_pb2.Decision()
    if row["explanation"] is not None:
        explained.ParseFromString(row["explanation"])
    return AllocationRecord(
        id=row["id"],
        channel_id=row["channel_id"],
        order_id=row["order_id"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        state=row["state"],
        outcome=Outcome(row["outcome"]),
        commitment=Commitment(row["commitment"]),
        method=row["method"],
        destination=destination_of(
            row["country"], row["region"], row["postal_code"], row["latitude"], row["longitude"]
        ),
        pickup_location_id=row["pickup_location_id"],
        stated_value=row["stated_value"],
        priority=row["priority"],
        tags=frozenset(row["tags"]),
        expire_time=row["expire_time"],
        needs_person=row["needs_person"],
        decision_id=row["decision_id"],
        decision=explained,
    )
