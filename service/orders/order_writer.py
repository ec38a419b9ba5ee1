"""Writing what orders became, whole and set-based; what they were is read in `order_store`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
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

from service.database.database import Columns, Connection, Statement, any_of, transposed, unnested
from service.database.tables import (
    Moment,
    Money,
    allocation,
    decision,
    exception,
    exception_event,
    order_event,
    order_line,
    promise,
    shipment,
    shortage,
)
from service.decisions import decision_log
from service.decisions.decision_log import DecisionInputs, StoredCatalog
from service.exceptions import superseded_exceptions
from service.orders.allocation_record import HELD, REFUSED, AllocationRecord
from service.orders.order_exceptions import OrderException
from service.version import VERSION

_TAG_SEPARATOR = "\x1f"
"""Between the tags of one order, because an unnested list of lists loses its inner borders."""

_DELETES = [
    Statement(delete(table).where(table.c.allocation_id == any_of("ids", Uuid)))
    for table in (promise, shipment, shortage, order_line)
]

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
    "channel_update_time": Moment,
    "channel_status": Text,
    "version": BigInteger,
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
    .where(allocation.c.id == _changed.c.id)
)

_LINE: Columns = {
    "allocation_id": Uuid,
    "line_id": Text,
    "position": Integer,
    "sku": Text,
    "unit_count": Integer,
    "cancelled": Integer,
    "oversold": Integer,
    "unit_price": Money,
}
_SHIPMENT: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "position": Integer,
    "location_id": Text,
    "state": Text,
    "distance_km": Double,
    "assign_time": Moment,
    "accept_time": Moment,
    "ship_time": Moment,
    "deliver_time": Moment,
    "end_time": Moment,
    "ship_by_time": Moment,
    "reject_reason": Text,
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
    "shipped": Integer,
    "returned": Integer,
    "rejected": Integer,
}
_SHORTAGE: Columns = {
    "allocation_id": Uuid,
    "line_id": Text,
    "kind": Text,
    "sku": Text,
    "unit_count": Integer,
    "cause": Text,
    "backordered": Boolean,
}
_DECISION: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "policy_revision": Text,
    "software_version": Text,
    "explanation": LargeBinary,
    "inputs": LargeBinary,
    "catalog_hash": Text,
    "create_time": Moment,
}
_EVENT: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "event": Text,
    "description": Text,
    "policy_revision": Text,
    "event_time": Moment,
    "decision_id": Uuid,
}
_EXCEPTION: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "kind": Text,
    "description": Text,
    "policy_revision": Text,
    "create_time": Moment,
    "shipment_id": Uuid,
    "channel_id": Text,
    "sku": Text,
    "location_id": Text,
    "line_ids": Text,
    "owner": Text,
    "due_time": Moment,
    "escalate_to": Text,
    "action": Text,
    "rule": Text,
    "state": Text,
    "needs_person": Boolean,
    "resolution": Text,
    "resolved_by": Text,
    "resolve_time": Moment,
    "note": Text,
}
_EXCEPTION_EVENT: Columns = {
    "id": Uuid,
    "exception_id": Uuid,
    "event": Text,
    "actor": Text,
    "description": Text,
    "event_time": Moment,
}


def _inserted(table: Table, columns: Columns) -> Statement:
    rows = unnested("new", **columns)
    return Statement(insert(table).from_select(list(columns), select(*(rows.c[name] for name in columns))))


def _inserted_exceptions() -> Statement:
    rows = unnested("new", **_EXCEPTION)
    line_ids = func.string_to_array(rows.c.line_ids, literal_column("chr(31)"))
    values = [line_ids if name == "line_ids" else rows.c[name] for name in _EXCEPTION]
    columns = [*_EXCEPTION, "update_time"]
    return Statement(insert(exception).from_select(columns, select(*values, rows.c.create_time)))


_INSERTS = {
    name: (columns, _inserted(table, columns))
    for name, table, columns in (
        ("lines", order_line, _LINE),
        ("shipments", shipment, _SHIPMENT),
        ("promises", promise, _PROMISE),
        ("shortages", shortage, _SHORTAGE),
        ("decisions", decision, _DECISION),
        ("events", order_event, _EVENT),
    )
} | {
    "exceptions": (_EXCEPTION, _inserted_exceptions()),
    "exception_events": (_EXCEPTION_EVENT, _inserted(exception_event, _EXCEPTION_EVENT)),
}


@dataclass(slots=True)
class OrderWrites:
    """What one transaction does to orders.

    `replaced` are allocations that had contents before; `replanned` are those of them whose exceptions rest on a plan
    that is no more.
    """

    records: dict[UUID, AllocationRecord] = field(default_factory=dict)
    replaced: set[UUID] = field(default_factory=set)
    replanned: set[UUID] = field(default_factory=set)
    decisions: list[tuple[object, ...]] = field(default_factory=list)
    catalogs: list[StoredCatalog] = field(default_factory=list)
    """What the decisions were made in."""
    events: list[tuple[object, ...]] = field(default_factory=list)
    exceptions: list[tuple[object, ...]] = field(default_factory=list)
    exception_events: list[tuple[object, ...]] = field(default_factory=list)

    def raise_exceptions(
        self, allocation_id: UUID, raised: Iterable[OrderException], now: datetime, new_id: Callable[[], UUID]
    ) -> None:
        """Adds exceptions of one order, with the beginning of their history."""
        for one in raised:
            id = new_id()
            self.exceptions.append(one.row(id, allocation_id, now))
            for told in one.first_events(id):
                self.exception_events.append((new_id(), id, told.event, told.actor, told.description, now))

    def add_decision(self, record: AllocationRecord, caught: DecisionInputs, now: datetime) -> None:
        """Adds the record's newest decision; of a hold that was refused no inputs are kept."""
        explained = record.decision.SerializeToString(deterministic=True)
        inputs, catalog = caught.serialize(explained, short=record.state == REFUSED)
        made = (record.decision_id, record.id, record.decision.policy_revision, VERSION, explained)
        self.decisions.append((*made, inputs, catalog.hash if catalog else None, now))
        if catalog is not None:
            self.catalogs.append(catalog)


async def write(connection: Connection, changes: OrderWrites) -> None:
    """Writes allocations whole, and what is remembered of how they came about."""
    if changes.replaced:
        for statement in _DELETES:
            await statement.run(connection, ids=list(changes.replaced))
    if changes.replanned:
        await superseded_exceptions.supersede(connection, list(changes.replanned))
    await decision_log.store_catalogs(connection, changes.catalogs)
    if changes.records:
        rows = [_allocation_row(record) for record in changes.records.values()]
        await _UPDATE.run(connection, **transposed(list(_ALLOCATION), rows))
    for name, parts in _child_rows(changes).items():
        if parts:
            columns, statement = _INSERTS[name]
            await statement.run(connection, **transposed(list(columns), parts))
    watched = [one for one in changes.replaced if changes.records[one].needs_person]
    if watched:
        await superseded_exceptions.supersede_obsolete(connection, watched)


def _child_rows(changes: OrderWrites) -> dict[str, list[tuple[object, ...]]]:
    records = changes.records.values()
    return {
        "lines": [row for record in records for row in _line_rows(record)],
        "shipments": [row for record in records for row in _shipment_rows(record)],
        "promises": [row for record in records for row in _promise_rows(record)],
        "shortages": [row for record in records for row in _shortage_rows(record)],
        "decisions": changes.decisions,
        "events": changes.events,
        "exceptions": changes.exceptions,
        "exception_events": changes.exception_events,
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
        _TAG_SEPARATOR.join(sorted(record.tags)),
        record.expire_time,
        record.needs_person,
        record.decision_id,
        record.channel_update_time,
        record.channel_status,
        record.version,
        record.create_time,
        record.update_time,
    )


def _line_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    return [
        (record.id, x.line_id, position, x.sku, x.unit_count, x.cancelled, x.oversold, x.unit_price)
        for position, x in enumerate(record.lines)
    ]


def _shipment_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    return [
        (
            *(x.id, record.id, position, x.location_id, x.state, x.distance_km),
            *(x.assign_time or record.update_time, x.accept_time, x.ship_time, x.deliver_time, x.end_time),
            *(x.ship_by_time, x.reject_reason),
        )
        for position, x in enumerate(record.shipments)
    ]


def _promise_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    held = record.state == HELD
    skus = {line.line_id: line.sku for line in record.lines}
    return [
        (
            made.id,
            line_id,
            record.id,
            skus[line_id],
            made.location_id,
            "held" if held else "allocated",
            made.units.get(line_id, 0),
            record.expire_time if held else None,
            made.shipped.get(line_id, 0),
            made.returned.get(line_id, 0),
            made.rejected.get(line_id, 0),
        )
        for made in record.shipments
        for line_id in made.line_ids
    ]


def _shortage_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    return [(record.id, x.line_id, x.kind, x.sku, x.unit_count, x.cause, x.backordered) for x in record.shortages]
