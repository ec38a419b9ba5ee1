"""Allocations in PostgreSQL: finds, locks and reads orders. `order_writer` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

import asyncpg
from sqlalchemy import Integer, Text, Uuid, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.domain.handling_times import HandlingTime
from policies.domain.kits import KitPart
from policies.domain.listings import OrderedItem
from policies.domain.model import Commitment, Coordinates, Destination, Outcome
from policies.domain.outlets import Outlet
from policies.domain.placement import ANYWHERE, Placement
from policies.domain.shipments import ShipmentState
from service.database.database import NEEDED, Connection, Statement, any_of, listed, parameter, transposed, unnested
from service.database.tables import (
    allocation,
    allocation_copy,
    decision,
    decision_batch,
    exception,
    exception_record,
    location,
    order_event,
    order_line,
    promise,
    shipment,
    shortage,
)
from service.decisions import stored_decision
from service.orders.allocation_record import (
    RULE_SEPARATOR,
    AllocationRecord,
    LineRecord,
    ShipmentRecord,
    ShortageRecord,
)
from service.orders.cancellations import cancellation_request_store
from service.orders.date_steps import steps_of
from service.orders.order_hold import OrderHold
from service.orders.parcels import parcels_of
from truestock.v1 import decision_pb2

_allocation = allocation.c

SHIPMENT_TIMES = (
    *("assign_time", "accept_time", "ship_time", "deliver_time", "end_time"),
    *("ship_by_time", "deliver_by_time"),
)

_NEW = {"id": Uuid, "channel_id": Text, "order_id": Text}
_new = unnested("new", **_NEW)
_CREATE_OR_LOCK = Statement(
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
    # An existing row is locked, as by every update, but not changed. DO NOTHING would not lock it. A changed row would
    # make others who insert the same order wait for this transaction, while they hold stock that it needs next.
    .on_conflict_do_update(
        index_elements=["channel_id", "order_id"],
        set_={"update_time": _allocation.update_time},
        where=literal_column("false"),
    )
)
_LOCK_STORED = Statement(
    select(_allocation.id, _allocation.channel_id, _allocation.order_id)
    .join(_new, (_new.c.channel_id == _allocation.channel_id) & (_new.c.order_id == _allocation.order_id))
    .order_by(_allocation.channel_id, _allocation.order_id)
    .with_for_update(key_share=True, of=allocation)
)
_LOCK = Statement(
    select(_allocation.id)
    .where(_allocation.id == any_of("ids", Uuid))
    .order_by(_allocation.channel_id, _allocation.order_id)
    .with_for_update(key_share=True)
)
_ORDER_KEYS = Statement(
    select(_allocation.id, _allocation.channel_id, _allocation.order_id).where(_allocation.id.in_(listed("ids", Uuid)))
)
_LOCK_EXPIRED = Statement(
    select(_allocation.id)
    .where(_allocation.state == literal_column("'held'"), _allocation.expire_time <= func.clock_timestamp())
    .order_by(_allocation.channel_id, _allocation.order_id)
    .limit(parameter("count", Integer))
    .with_for_update(key_share=True, skip_locked=True)
)
_LOCK_IF_FREE = Statement(
    select(_allocation.id)
    .where(_allocation.id == any_of("ids", Uuid))
    .order_by(_allocation.channel_id, _allocation.order_id)
    .with_for_update(key_share=True, skip_locked=True)
)
_copy = allocation_copy.c
_FIND = Statement(
    select(
        func.coalesce(
            select(_copy.allocation_id)
            .where(_copy.channel_id == parameter("channel_id", Text), _copy.order_id == parameter("order_id", Text))
            .scalar_subquery(),
            select(_allocation.id)
            .where(
                _allocation.channel_id == parameter("channel_id", Text),
                _allocation.order_id == parameter("order_id", Text),
            )
            .scalar_subquery(),
        ).label("id")
    )
)
_of_orders = order_line.c.allocation_id.in_(listed("ids", Uuid))
_LINE_SKUS = Statement(
    select(order_line.c.sku)
    .where(_of_orders)
    .union(select(order_line.c.kit_sku).where(_of_orders, order_line.c.kit_sku.is_not(None)))
)
_PROMISED_SKUS = Statement(
    select(promise.c.sku).where(promise.c.allocation_id.in_(listed("ids", Uuid)), promise.c.unit_count > 0).distinct()
)

_READ = Statement(
    select(allocation, *stored_decision.EXPLANATION)
    .select_from(
        allocation.outerjoin(decision, decision.c.id == _allocation.decision_id).outerjoin(
            decision_batch, decision_batch.c.id == decision.c.batch_id
        )
    )
    .where(_allocation.id.in_(listed("ids", Uuid)))
)
_READ_LINES = Statement(
    select(order_line).where(order_line.c.allocation_id.in_(listed("ids", Uuid))).order_by(order_line.c.position)
)
_READ_SHIPMENTS = Statement(
    select(
        shipment,
        # A location that is not in the catalog can no longer be used either.
        func.coalesce(location.c.recheck_version > shipment.c.catalog_version, literal_column("true")).label(
            "is_outdated"
        ),
    )
    .outerjoin(location, location.c.id == shipment.c.location_id)
    .where(shipment.c.allocation_id.in_(listed("ids", Uuid)))
    .order_by(shipment.c.position)
)
_READ_PROMISES = Statement(
    select(promise)
    .join(
        order_line,
        (order_line.c.allocation_id == promise.c.allocation_id) & (order_line.c.line_id == promise.c.line_id),
    )
    .where(promise.c.allocation_id.in_(listed("ids", Uuid)))
    .order_by(order_line.c.position)
)
_READ_SHORTAGES = Statement(
    select(shortage)
    .where(shortage.c.allocation_id.in_(listed("ids", Uuid)))
    # Sorted by the whole key: cancelled units are subtracted from the first shortages that match. With a partial
    # order, chance decided which cause lost a unit, and one order version could differ between two reads.
    .order_by(shortage.c.line_id, shortage.c.kind, shortage.c.cause, shortage.c.backordered)
)
_READ_COPIES = Statement(
    select(allocation_copy)
    .where(allocation_copy.c.allocation_id.in_(listed("ids", Uuid)))
    .order_by(allocation_copy.c.channel_id, allocation_copy.c.order_id)
)
_READ_EVENTS = Statement(
    select(order_event)
    .where(order_event.c.allocation_id == parameter("id", Uuid))
    .order_by(order_event.c.event_time, order_event.c.id)
)

_READ_EXCEPTIONS = Statement(
    select(*exception_record)
    .where(exception.c.allocation_id == parameter("id", Uuid))
    .order_by(exception.c.create_time, exception.c.id)
)


async def lock_or_create(connection: Connection, new: Sequence[tuple[UUID, str, str]]) -> dict[tuple[str, str], UUID]:
    """Locks orders by (channel id, order id), sorted; creates new ones under the given ids. Returns the ids by key.

    Rows that earlier attempts of the transaction found busy (NEEDED) are locked too, as in the other functions.
    """
    return await _lock_by_key(connection, new, creates=True)


async def lock_stored(connection: Connection, new: Sequence[tuple[UUID, str, str]]) -> dict[tuple[str, str], UUID]:
    """As `lock_or_create`, but creates nothing: returns the given ids for orders that are not stored."""
    stored = await _lock_by_key(connection, new)
    return {row[1:]: stored.get(row[1:], row[0]) for row in new}


async def _lock_by_key(
    connection: Connection, new: Sequence[tuple[UUID, str, str]], *, creates: bool = False
) -> dict[tuple[str, str], UUID]:
    needed = await _ORDER_KEYS.rows(connection, ids=list(NEEDED.get())) if NEEDED.get() else []
    rows = {(r["channel_id"], r["order_id"]): tuple(r) for r in needed} | {row[1:]: row for row in new}
    values = transposed(list(_NEW), list(rows.values()))
    if creates:
        await _CREATE_OR_LOCK.run(connection, **values)
    locked = await _LOCK_STORED.rows(connection, **values)
    keys = {row[1:] for row in new}
    return {key: r["id"] for r in locked if (key := (r["channel_id"], r["order_id"])) in keys}


async def lock(connection: Connection, ids: Iterable[UUID]) -> list[UUID]:
    """Locks orders, sorted by key; returns the ids of those that exist."""
    requested = set(ids)
    rows = await _LOCK.rows(connection, ids=list(requested | NEEDED.get()))
    return [r["id"] for r in rows if r["id"] in requested]


async def lock_needed(connection: Connection) -> None:
    """Locks orders that earlier attempts found busy, for a transaction that locks no orders of its own."""
    if NEEDED.get():
        await lock(connection, [])


async def lock_expired(connection: Connection, count: int) -> list[UUID]:
    """Locks expired holds that no other transaction has locked; returns their ids."""
    await lock_needed(connection)
    return [r["id"] for r in await _LOCK_EXPIRED.rows(connection, count=count)]


async def lock_if_free(connection: Connection, ids: Iterable[UUID]) -> list[UUID]:
    """Locks those of the orders that no other transaction has locked; returns their ids."""
    await lock_needed(connection)
    requested = list(ids)
    return [r["id"] for r in await _LOCK_IF_FREE.rows(connection, ids=requested)] if requested else []


async def find(connection: Connection, channel_id: str, order_id: str) -> UUID | None:
    """The allocation id of an order, by its own key or a copy's; None if there is no such order."""
    row = await _FIND.row(connection, channel_id=channel_id, order_id=order_id)
    return row["id"] if row else None


async def key(connection: Connection, allocation_id: UUID) -> tuple[str, str] | None:
    """Channel and order id of an allocation, which never change; None if there is no such allocation."""
    rows = await _ORDER_KEYS.rows(connection, ids=[allocation_id])
    return (rows[0]["channel_id"], rows[0]["order_id"]) if rows else None


async def promised_skus(connection: Connection, ids: Sequence[UUID]) -> set[str]:
    """SKUs of which these locked orders have promised units; they may differ from those in a request."""
    return {r["sku"] for r in await _PROMISED_SKUS.rows(connection, ids=list(ids))} if ids else set()


async def line_skus(connection: Connection, ids: Sequence[UUID]) -> set[str]:
    """SKUs of the lines of these locked orders, promised or not, and those of their kits."""
    return {r["sku"] for r in await _LINE_SKUS.rows(connection, ids=list(ids))}


async def read(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, AllocationRecord]:
    """Allocations with their lines, shipments, promises and shortages."""
    if not ids:
        return {}
    requested = list(ids)
    rows = await _READ.rows(connection, ids=requested)
    records = {r["id"]: _record_of(r) for r in rows}
    asking = [r["id"] for r in rows if r["has_cancellation_requests"]]
    for row in await _READ_LINES.rows(connection, ids=requested):
        item = OrderedItem(row["item_id"], row["item_count"], row["item_units"]) if row["item_id"] is not None else None
        line = LineRecord(
            *(row["line_id"], row["sku"], row["unit_count"], row["unit_price"]),
            *(row["cancelled"], row["oversold"], row["withheld"], row["excess"]),
            item,
            _placement_of(row),
            _kit_of(row),
        )
        records[row["allocation_id"]].lines.append(line)
    shipments: dict[UUID, ShipmentRecord] = {}
    for row in await _READ_SHIPMENTS.rows(connection, ids=requested):
        record = shipment_of(row)
        record.is_outdated = row["is_outdated"]
        shipments[record.id] = record
        records[row["allocation_id"]].shipments.append(record)
    for row in await _READ_PROMISES.rows(connection, ids=requested):
        add_promise_row(shipments[row["shipment_id"]], row)
    for row in await _READ_SHORTAGES.rows(connection, ids=requested):
        short = ShortageRecord(
            *(row["line_id"], row["sku"], row["unit_count"], row["kind"], row["cause"], row["backordered"]),
            tuple(row["rules"].split(RULE_SEPARATOR)) if row["rules"] else (),
        )
        records[row["allocation_id"]].shortages.append(short)
    for row in await _READ_COPIES.rows(connection, ids=requested):
        records[row["allocation_id"]].copies.append((row["channel_id"], row["order_id"]))
    if asking:
        for request in await cancellation_request_store.of_orders(connection, asking):
            if request.allocation_id is not None:
                records[request.allocation_id].cancellation_requests.append(request)
    return records


async def events(connection: Connection, allocation_id: UUID) -> list[asyncpg.Record]:
    """The timeline events of an order, oldest first."""
    return await _READ_EVENTS.rows(connection, id=allocation_id)


async def exceptions(connection: Connection, allocation_id: UUID) -> list[asyncpg.Record]:
    """The exceptions of an order, open and resolved, oldest first."""
    return await _READ_EXCEPTIONS.rows(connection, id=allocation_id)


def shipment_of(row: asyncpg.Record) -> ShipmentRecord:
    """A row of `shipment` as a record without units; `add_promise_row` adds them."""
    return ShipmentRecord(
        id=row["id"],
        location_id=row["location_id"],
        distance_km=row["distance_km"],
        state=ShipmentState(row["state"]),
        method=row["method"],
        units={},
        **{name: row[name] for name in SHIPMENT_TIMES},
        deliver_date=row["deliver_date"],
        date_steps=steps_of(row["date_steps"]),
        handling=None if row["handling_day"] is None else HandlingTime(row["handling_day"], row["handling_hour"]),
        handling_units=row["handling_units"] or 0,
        reject_reason=row["reject_reason"],
        catalog_version=row["catalog_version"],
        parcels=parcels_of(row["parcels"]),
    )


def add_promise_row(record: ShipmentRecord, row: asyncpg.Record) -> None:
    """Adds the units of a row of `promise` to its shipment."""
    counts = (record.units, record.shipped, record.returned, record.rejected, record.refunded)
    for units, name in zip(counts, ("unit_count", "shipped", "returned", "rejected", "refunded"), strict=True):
        if row[name]:
            units[row["line_id"]] = row[name]


def _destination_of(row: asyncpg.Record) -> Destination | None:
    country, region, postal_code, latitude = row["country"], row["region"], row["postal_code"], row["latitude"]
    if country is None and region is None and postal_code is None and latitude is None:
        return None
    coordinates = None if latitude is None else Coordinates(latitude, row["longitude"])
    return Destination(country, region, postal_code, coordinates, row["located_by"])


def _record_of(row: asyncpg.Record) -> AllocationRecord:
    explanation = decision_pb2.Decision()
    if row["explanation"] is not None or row["reference"] is not None:
        explanation.ParseFromString(stored_decision.explanation(row["decision_id"], row))
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
        destination=_destination_of(row),
        pickup_location_id=row["pickup_location_id"],
        outlet=_outlet_of(row),
        stated_value=row["stated_value"],
        currency=row["currency"] or "",
        priority=row["priority"],
        tags=frozenset(row["tags"]),
        expire_time=row["expire_time"],
        needs_person=row["needs_person"],
        decision_id=row["decision_id"],
        channel_update_time=row["channel_update_time"],
        sold_time=row["sold_time"],
        ignored_time=row["ignored_time"],
        channel_status=row["channel_status"],
        ship_by_time=row["ship_by_time"],
        deliver_by=row["deliver_by"],
        hold=_hold_of(row),
        holds_personal_data=row["holds_personal_data"],
        was_dropped=row["drop_time"] is not None,
        is_to_be_forgotten=row["forget_time"] is not None,
        version=row["version"],
        decision=explanation,
    )


def _outlet_of(row: asyncpg.Record) -> Outlet | None:
    if row["outlet_id"] is None:
        return None
    location_ids = row["outlet_location_ids"]
    return Outlet(row["outlet_id"], frozenset(location_ids or ()), is_known=location_ids is not None)


def _placement_of(row: asyncpg.Record) -> Placement:
    only, without, group = row["only_location_ids"], row["not_location_ids"], row["keep_together"]
    if only is None and without is None and group is None:
        return ANYWHERE
    return Placement(None if only is None else frozenset(only), frozenset(without or ()), group or "")


def _kit_of(row: asyncpg.Record) -> KitPart | None:
    if row["kit_line_id"] is None:
        return None
    return KitPart(row["kit_line_id"], row["kit_sku"], row["kit_units"], row["kit_may_split"])


def _hold_of(row: asyncpg.Record) -> OrderHold | None:
    if row["hold_reason"] is None:
        return None
    return OrderHold(row["hold_reason"], row["hold_until"], row["hold_time"], row["hold_release_time"])
