"""Writes changed orders as a whole, one statement per table; `order_store` reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    Double,
    Integer,
    Text,
    Uuid,
    delete,
    literal_column,
    select,
    update,
)

from policies.domain.model import Coordinates, Outcome
from policies.domain.placement import ANYWHERE, Placement
from service.database.database import Columns, Connection, Statement, listed
from service.database.row_writes import Row, RowWrite, write_rows
from service.database.tables import (
    Moment,
    Money,
    Texts,
    allocation,
    decision,
    decision_batch,
    exception,
    exception_event,
    order_event,
    order_line,
    promise,
    shipment,
    shortage,
)
from service.decisions import decision_log
from service.decisions.decision_batch import BATCH_COLUMNS, DECISION_COLUMNS, DecisionRows
from service.exceptions import superseded_exceptions
from service.orders.allocation_record import ENDED, HELD, RULE_SEPARATOR, AllocationRecord, ShipmentRecord
from service.orders.date_steps import stored_steps
from service.orders.order_exceptions import CANCELLED_AFTER_SHIPPING, OrderException
from service.orders.parcels import stored_parcels

_DELETE_CONTENTS = Statement(
    select(literal_column("1")).add_cte(
        *(
            delete(table).where(table.c.allocation_id.in_(listed("ids", Uuid))).cte(f"{table.name}_delete")
            for table in (promise, shipment, shortage, order_line)
        )
    )
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
    "located_by": Text,
    "pickup_location_id": Text,
    "outlet_id": Text,
    "outlet_location_ids": Texts,
    "stated_value": Money,
    "currency": Text,
    "priority": Integer,
    "tags": Texts,
    "expire_time": Moment,
    "needs_person": Boolean,
    "decision_id": Uuid,
    "channel_update_time": Moment,
    "sold_time": Moment,
    "ignored_time": Moment,
    "channel_status": Text,
    "ship_by_time": Moment,
    "deliver_by": Date,
    "hold_reason": Text,
    "hold_until": Moment,
    "hold_time": Moment,
    "hold_release_time": Moment,
    "holds_personal_data": Boolean,
    "version": BigInteger,
    "create_time": Moment,
    "update_time": Moment,
}
_LINE: Columns = {
    "allocation_id": Uuid,
    "line_id": Text,
    "position": Integer,
    "sku": Text,
    "unit_count": Integer,
    "cancelled": Integer,
    "oversold": Integer,
    "withheld": Integer,
    "excess": Integer,
    "unit_price": Money,
    "item_id": Text,
    "item_count": Integer,
    "item_units": Integer,
    "only_location_ids": Texts,
    "not_location_ids": Texts,
    "keep_together": Text,
    "kit_line_id": Text,
    "kit_sku": Text,
    "kit_units": Integer,
    "kit_may_split": Boolean,
}
_SHIPMENT: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "position": Integer,
    "location_id": Text,
    "state": Text,
    "method": Text,
    "distance_km": Double,
    "assign_time": Moment,
    "accept_time": Moment,
    "ship_time": Moment,
    "deliver_time": Moment,
    "end_time": Moment,
    "ship_by_time": Moment,
    "deliver_by_time": Moment,
    "deliver_date": Date,
    "date_steps": Text,
    "handling_day": Date,
    "handling_hour": Integer,
    "handling_units": Integer,
    "reject_reason": Text,
    "catalog_version": BigInteger,
    "parcels": Text,
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
    "refunded": Integer,
}
_SHORTAGE: Columns = {
    "allocation_id": Uuid,
    "line_id": Text,
    "kind": Text,
    "sku": Text,
    "unit_count": Integer,
    "cause": Text,
    "backordered": Boolean,
    "rules": Text,
}
_EVENT: Columns = {
    "id": Uuid,
    "allocation_id": Uuid,
    "event": Text,
    "description": Text,
    "policy_revision": Text,
    "event_time": Moment,
    "decision_id": Uuid,
    "cancelled": Integer,
    "fault": Text,
    "cancel_reason": Text,
    "sold_units": Integer,
    "is_sale": Boolean,
    "principal": Text,
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
    "line_ids": Texts,
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
    "update_time": Moment,
}
_EXCEPTION_EVENT: Columns = {
    "id": Uuid,
    "exception_id": Uuid,
    "event": Text,
    "actor": Text,
    "description": Text,
    "event_time": Moment,
}


_NEW_ALLOCATIONS = RowWrite(allocation, {"channel_id": Text, "order_id": Text, **_ALLOCATION})
_CHANGED_ALLOCATIONS = RowWrite(
    allocation,
    _ALLOCATION,
    lambda values: (
        update(allocation)
        .values({name: value for name, value in values.items() if name != "id"})
        .where(allocation.c.id == values["id"])
    ),
)
_LINES = RowWrite(order_line, _LINE)
_SHIPMENTS = RowWrite(shipment, _SHIPMENT)
_PROMISES = RowWrite(promise, _PROMISE)
_SHORTAGES = RowWrite(shortage, _SHORTAGE)
_DECISION_BATCHES = RowWrite(decision_batch, BATCH_COLUMNS)
_DECISIONS = RowWrite(decision, DECISION_COLUMNS)
_EVENTS = RowWrite(order_event, _EVENT)
_EXCEPTIONS = RowWrite(exception, _EXCEPTION)
_EXCEPTION_EVENTS = RowWrite(exception_event, _EXCEPTION_EVENT)


@dataclass(slots=True)
class OrderWrites:
    """Everything that one transaction writes about orders.

    `replaced` are allocations that had contents before; `replanned` are those of them that got a new plan, which
    supersedes their open exceptions about the plan. `recalled` are those with a new exception about shipped units that
    are not ordered any more, which supersedes an earlier one.
    """

    records: dict[UUID, AllocationRecord] = field(default_factory=dict)
    placeholders: list[AllocationRecord] = field(default_factory=list)
    """Orders without contents that lock the keys of copies until the transaction deletes them."""
    replaced: set[UUID] = field(default_factory=set)
    replanned: set[UUID] = field(default_factory=set)
    recalled: set[UUID] = field(default_factory=set)
    decisions: DecisionRows = field(default_factory=DecisionRows)
    events: list[tuple[object, ...]] = field(default_factory=list)
    exceptions: list[tuple[object, ...]] = field(default_factory=list)
    exception_events: list[tuple[object, ...]] = field(default_factory=list)

    def raise_exceptions(
        self, allocation_id: UUID, raised: Iterable[OrderException], now: datetime, new_id: Callable[[], UUID]
    ) -> None:
        """Adds exceptions of one order, with the first events of their history."""
        for raised_exception in raised:
            id = raised_exception.id or new_id()
            if raised_exception.kind == CANCELLED_AFTER_SHIPPING:
                self.recalled.add(allocation_id)
            self.exceptions.append((*raised_exception.row(id, allocation_id, now), now))
            for event in raised_exception.first_events(id):
                self.exception_events.append((new_id(), id, event.event, event.actor, event.description, now))


async def write(
    connection: Connection, writes: OrderWrites, more_rows: Iterable[tuple[RowWrite, Sequence[Row]]] = ()
) -> list[str]:
    """Writes allocations as a whole, with their decisions, events and exceptions, and more rows with them.

    Returns the kind of each exception that this superseded.
    """
    superseded: list[str] = []
    if writes.replaced:
        await _DELETE_CONTENTS.run(connection, ids=list(writes.replaced))
    if writes.replanned:
        superseded += await superseded_exceptions.supersede(connection, list(writes.replanned))
    if writes.recalled:
        superseded += await superseded_exceptions.supersede_recalls(connection, list(writes.recalled))
    await decision_log.store_catalogs(connection, writes.decisions.catalogs)
    await write_rows(connection, [*more_rows, *_order_rows(writes)])
    needing_person = [id for id in writes.replaced if writes.records[id].needs_person]
    if needing_person:
        superseded += await superseded_exceptions.supersede_obsolete(connection, needing_person)
    return superseded


def _order_rows(writes: OrderWrites) -> list[tuple[RowWrite, list[tuple[object, ...]]]]:
    records = writes.records.values()
    new = [*(record for record in records if record.id not in writes.replaced), *writes.placeholders]
    # Every transaction inserts the keys of new orders in one order, so that two of them queue and do not deadlock.
    new.sort(key=lambda record: (record.channel_id, record.order_id))
    return [
        (_NEW_ALLOCATIONS, [(record.channel_id, record.order_id, *_allocation_row(record)) for record in new]),
        (_CHANGED_ALLOCATIONS, [_allocation_row(writes.records[id]) for id in writes.replaced]),
        (_LINES, [row for record in records for row in _line_rows(record)]),
        (_SHIPMENTS, [row for record in records for row in _shipment_rows(record)]),
        (_PROMISES, [row for record in records for row in _promise_rows(record)]),
        (_SHORTAGES, [row for record in records for row in _shortage_rows(record)]),
        (_DECISION_BATCHES, writes.decisions.batches),
        (_DECISIONS, writes.decisions.decisions),
        (_EVENTS, writes.events),
        (_EXCEPTIONS, writes.exceptions),
        (_EXCEPTION_EVENTS, writes.exception_events),
    ]


def _allocation_row(record: AllocationRecord) -> tuple[object, ...]:
    destination = record.destination
    point = destination.coordinates if destination else None
    point = point if isinstance(point, Coordinates) else None
    hold = record.hold
    return (
        record.id,
        record.state,
        (Outcome.ENDED if record.state in ENDED else record.outcome).value,
        record.commitment.value,
        record.method,
        destination.country if destination else None,
        destination.region if destination else None,
        destination.postal_code if destination else None,
        point.latitude if point else None,
        point.longitude if point else None,
        destination.located_by if destination else None,
        record.pickup_location_id,
        record.outlet.id if record.outlet else None,
        sorted(record.outlet.location_ids) if record.outlet and record.outlet.is_known else None,
        record.stated_value,
        record.currency or None,
        record.priority,
        sorted(record.tags),
        record.expire_time,
        record.needs_person,
        record.decision_id,
        record.channel_update_time,
        record.sold_time,
        record.ignored_time,
        record.channel_status,
        record.ship_by_time,
        record.deliver_by,
        hold.reason if hold else None,
        hold.until if hold else None,
        hold.place_time if hold else None,
        hold.release_time if hold else None,
        record.will_hold_personal_data,
        record.version,
        record.create_time,
        record.update_time,
    )


def _line_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    return [
        (
            *(record.id, x.line_id, position, x.sku),
            *(x.unit_count, x.cancelled, x.oversold, x.withheld, x.excess, x.unit_price),
            *((None, None, None) if x.item is None else (x.item.item_id, x.item.count, x.item.units_each)),
            *(_NO_PLACEMENT if x.stated_placement is ANYWHERE else _placement_columns(x.stated_placement)),
            *(_NO_KIT if x.kit is None else (x.kit.line_id, x.kit.sku, x.kit.unit_count, x.kit.may_split)),
        )
        for position, x in enumerate(record.lines)
    ]


_NO_PLACEMENT = (None, None, None)


def _placement_columns(placement: Placement) -> tuple[list[str] | None, list[str] | None, str | None]:
    only, without = placement.only_location_ids, placement.not_location_ids
    return None if only is None else sorted(only), sorted(without) or None, placement.keep_together or None


_NO_KIT = (None, None, None, None)


def _shipment_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    return [
        (
            *(x.id, record.id, position, x.location_id, x.state, x.method, x.distance_km),
            *(x.assign_time or record.update_time, x.accept_time, x.ship_time, x.deliver_time, x.end_time),
            *(x.ship_by_time, x.deliver_by_time, x.deliver_date, stored_steps(x.date_steps)),
            *_handling_columns(x),
            *(x.reject_reason, x.catalog_version, stored_parcels(x.parcels)),
        )
        for position, x in enumerate(record.shipments)
    ]


def _handling_columns(shipment: ShipmentRecord) -> tuple[date | None, int | None, int | None]:
    count = 0 if shipment.handling is None else shipment.handled_count
    return (*shipment.handling, count) if shipment.handling is not None and count else (None, None, None)


def _promise_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    held = record.state == HELD
    skus = {line.line_id: line.sku for line in record.lines}
    return [
        (
            x.id,
            line_id,
            record.id,
            skus[line_id],
            x.location_id,
            "held" if held else "allocated",
            x.units.get(line_id, 0),
            record.expire_time if held else None,
            x.shipped.get(line_id, 0),
            x.returned.get(line_id, 0),
            x.rejected.get(line_id, 0),
            x.refunded.get(line_id, 0),
        )
        for x in record.shipments
        for line_id in x.line_ids
    ]


def _shortage_rows(record: AllocationRecord) -> list[tuple[object, ...]]:
    return [
        (record.id, x.line_id, x.kind, x.sku, x.unit_count, x.cause, x.backordered, RULE_SEPARATOR.join(x.rules))
        for x in record.shortages
    ]
