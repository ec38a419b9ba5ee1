"""Personal data of orders in PostgreSQL: which orders hold some, whether they still need it, and dropping it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Double,
    Integer,
    Interval,
    Text,
    Uuid,
    and_,
    cast,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    union,
    update,
)

from service.database.database import Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import (
    IS_OPEN,
    allocation,
    allocation_copy,
    cancellation_request,
    exception,
    exception_event,
    order_cancellation,
    order_event,
    shipment,
)
from service.orders.allocation_record import CONFIRMED, ENDED, REFUSED

FORGET_ASKED = "forget_asked"
"""The timeline event of an order that is to be forgotten. It alone keeps its description."""
DROPPED_TEXT = "The text was dropped."
KEPT_DISTANCE_KM = 50
"""Distances of shipments are rounded to multiples of this."""

_order = allocation.c
_open_shipment = select(shipment.c.id).where(shipment.c.allocation_id == _order.id, IS_OPEN).exists()
_open_exception = (
    select(exception.c.id)
    .where(exception.c.allocation_id == _order.id, exception.c.state == literal_column("'open'"))
    .exists()
)
_waiting_request = (
    select(cancellation_request.c.id)
    .where(
        cancellation_request.c.allocation_id == _order.id,
        cancellation_request.c.state == literal_column("'requested'"),
    )
    .exists()
)


def _is_state(*states: str) -> ColumnElement[bool]:
    return _order.state.in_([literal_column(f"'{state}'") for state in states])


_has_ended = _is_state(REFUSED, *sorted(ENDED))
_is_promised = and_(_is_state(CONFIRMED), _order.outcome == literal_column("'allocated'"))
_is_on_hold = and_(_is_state(CONFIRMED), _order.hold_time.is_not(None), _order.hold_release_time.is_(None))
WAITS = {
    "units of it are held, short or on backorder": ~or_(_has_ended, _is_promised),
    "it is on hold": _is_on_hold,
    "a shipment of it is open": _open_shipment,
    "an exception about it is open": _open_exception,
    "a request to cancel it is not answered": _waiting_request,
}
"""What an order still needs its destination for, and texts about it; one without any of these is finished."""
_is_finished = ~or_(*WAITS.values())

_IS_OLD = _order.update_time < func.clock_timestamp() - parameter("retention", Interval)
_IS_ASKED = _order.forget_time.is_not(None)
_FINISHED = Statement(
    select(_order.id)
    .where(
        _order.holds_personal_data,
        _order.id > parameter("after", Uuid),
        _order.id < parameter("before", Uuid),
        _is_finished,
        _IS_OLD,
    )
    .order_by(_order.id)
    .limit(parameter("count", Integer))
)
_FINISHED_ASKED = Statement(
    select(_order.id)
    .where(_order.holds_personal_data, _IS_ASKED, _order.id > parameter("after", Uuid), _is_finished)
    .order_by(_order.id)
    .limit(parameter("count", Integer))
)
_STILL_FINISHED = Statement(
    select(_order.id, _IS_ASKED.label("is_asked"))
    .where(_order.id == any_of("ids", Uuid), _order.holds_personal_data, _is_finished, or_(_IS_ASKED, _IS_OLD))
    .order_by(_order.id)
)
_WAITS = Statement(
    select(*(waits.label(f"wait_{number}") for number, waits in enumerate(WAITS.values()))).where(
        _order.id == parameter("id", Uuid)
    )
)
_event = order_event.c
_DECISION_IDS = Statement(
    union(
        select(_event.decision_id.label("id")).where(
            _event.allocation_id == any_of("ids", Uuid), _event.decision_id.is_not(None)
        ),
        select(_order.decision_id).where(_order.id == any_of("ids", Uuid), _order.decision_id.is_not(None)),
    )
)
_DROP = Statement(
    update(allocation)
    .where(_order.id == any_of("ids", Uuid))
    .values(
        postal_code=None,
        latitude=None,
        longitude=None,
        located_by=None,
        # Of an order that is to be forgotten, stored requests are left.
        holds_personal_data=_order.forget_time.is_not(None),
        drop_time=func.clock_timestamp(),
    )
)
_FORGOTTEN = Statement(
    update(allocation)
    # It may have been sent again since.
    .where(_order.id == parameter("id", Uuid), _order.postal_code.is_(None), _order.latitude.is_(None))
    .values(holds_personal_data=False)
)
_km = literal_column(str(KEPT_DISTANCE_KM), Integer)
_ROUND = Statement(
    update(shipment)
    .where(shipment.c.allocation_id == any_of("ids", Uuid), shipment.c.distance_km.is_not(None))
    .values(distance_km=cast(func.round(shipment.c.distance_km / _km), Double) * _km)
)
_ASK = Statement(
    update(allocation)
    .where(_order.id == any_of("ids", Uuid))
    .values(forget_time=func.coalesce(_order.forget_time, func.clock_timestamp()), holds_personal_data=True)
)
_COPIES = Statement(
    select(_order.id)
    .join(
        allocation_copy,
        (allocation_copy.c.channel_id == _order.channel_id) & (allocation_copy.c.order_id == _order.order_id),
    )
    .where(allocation_copy.c.allocation_id == parameter("id", Uuid))
)
_DROP_TIME = Statement(select(_order.drop_time).where(_order.id == parameter("id", Uuid), ~_order.holds_personal_data))
_KEYS = Statement(
    union(
        select(_order.channel_id, _order.order_id).where(_order.id == any_of("ids", Uuid)),
        select(allocation_copy.c.channel_id, allocation_copy.c.order_id).where(
            allocation_copy.c.allocation_id == any_of("ids", Uuid)
        ),
    )
)

_text = literal_column(f"'{DROPPED_TEXT}'", Text)
_keys = unnested("key", channel_id=Text, order_id=Text)
_exception_ids = select(exception.c.id).where(exception.c.allocation_id == any_of("ids", Uuid))
_FORGET_TEXTS = tuple(
    Statement(statement)
    for statement in (
        update(allocation)
        .where(_order.id == any_of("ids", Uuid), _order.hold_reason.is_not(None))
        .values(hold_reason=_text),
        update(shipment)
        .where(shipment.c.allocation_id == any_of("ids", Uuid))
        .values(reject_reason=None, parcels=None),
        update(order_event)
        .where(_event.allocation_id == any_of("ids", Uuid), _event.event != literal_column(f"'{FORGET_ASKED}'"))
        .values(description=_text, cancel_reason=None),
        update(cancellation_request)
        .where(cancellation_request.c.allocation_id == any_of("ids", Uuid))
        .values(reason=None, answer_reason=None),
        update(exception_event).where(exception_event.c.exception_id.in_(_exception_ids)).values(description=_text),
        update(exception).where(exception.c.allocation_id == any_of("ids", Uuid)).values(description=_text, note=None),
    )
)
_FORGET_CANCELLATIONS = Statement(
    update(order_cancellation)
    .where(
        tuple_(order_cancellation.c.channel_id, order_cancellation.c.order_id).in_(
            select(_keys.c.channel_id, _keys.c.order_id)
        )
    )
    .values(reason=None)
)


async def finished(
    connection: Connection, *, retention: timedelta, after: UUID, before: UUID, count: int
) -> Sequence[UUID]:
    """Orders with personal data that have ids between these, are finished, and have not changed for so long; by id."""
    rows = await _FINISHED.rows(connection, retention=retention, after=after, before=before, count=count)
    return [row["id"] for row in rows]


async def finished_asked(connection: Connection, *, after: UUID, count: int) -> Sequence[UUID]:
    """Orders with personal data that somebody asked to forget and that are finished; by id."""
    return [row["id"] for row in await _FINISHED_ASKED.rows(connection, after=after, count=count)]


async def still_finished(connection: Connection, ids: Sequence[UUID], retention: timedelta) -> dict[UUID, bool]:
    """Which of these locked orders may lose their data, and whether that is because somebody asked for it."""
    rows = await _STILL_FINISHED.rows(connection, ids=list(ids), retention=retention)
    return {row["id"]: row["is_asked"] for row in rows}


async def waits_for(connection: Connection, id: UUID) -> list[str]:
    """What is open of an order; nothing if it is finished."""
    row = await _WAITS.row(connection, id=id)
    assert row is not None
    return [name for name, waits in zip(WAITS, row, strict=True) if waits]


async def decision_ids(connection: Connection, ids: Sequence[UUID]) -> list[UUID]:
    """The decisions about these orders, of any time; some may have been purged."""
    return [row["id"] for row in await _DECISION_IDS.rows(connection, ids=list(ids))]


async def drop_destinations(connection: Connection, ids: Sequence[UUID]) -> None:
    """Drops all but country and region of the destinations of locked orders."""
    await _DROP.run(connection, ids=list(ids))
    await _ROUND.run(connection, ids=list(ids))


async def ask_to_forget(connection: Connection, id: UUID) -> None:
    """Notes that a locked order is to be forgotten, and its copies that had a promise of their own."""
    ids = [id, *await copies(connection, id)]
    await _ASK.run(connection, ids=ids)


async def note_forgotten(connection: Connection, id: UUID) -> None:
    """Notes that nothing is left of the personal data of an order that was to be forgotten."""
    await _FORGOTTEN.run(connection, id=id)


async def copies(connection: Connection, id: UUID) -> list[UUID]:
    """The allocations that copies of an order had of their own before they were known to be copies."""
    return [row["id"] for row in await _COPIES.rows(connection, id=id)]


async def drop_time(connection: Connection, id: UUID) -> datetime | None:
    """When the personal data of an order were dropped; None while it holds some, or never did."""
    row = await _DROP_TIME.row(connection, id=id)
    return None if row is None else row["drop_time"]


async def drop_texts(connection: Connection, ids: Sequence[UUID]) -> None:
    """Drops what people and other systems wrote about locked orders, and the parcels of their shipments."""
    for statement in _FORGET_TEXTS:
        await statement.run(connection, ids=list(ids))
    keys = await _KEYS.rows(connection, ids=list(ids))
    if keys:
        rows = [tuple(row) for row in keys]
        await _FORGET_CANCELLATIONS.run(connection, **transposed(["channel_id", "order_id"], rows))
