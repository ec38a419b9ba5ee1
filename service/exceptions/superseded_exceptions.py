"""Supersedes exceptions whose order was replanned, or whose problem no longer exists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, exists, func, insert, literal_column, select, update

from service.database.database import Connection, Statement, any_of
from service.database.tables import allocation, exception, exception_event, order_line, promise, shortage

_exception = exception.c
_EVENT_COLUMNS = ("id", "exception_id", "event", "actor", "description", "event_time")


def _literal(text: str) -> ColumnElement[Any]:
    return literal_column(f"'{text}'")


def _superseding(description: str, *conditions: ColumnElement[bool]) -> Statement:
    """Supersedes open exceptions of orders and adds an event to the history of each."""
    superseded = (
        update(exception)
        .values(state="superseded", update_time=func.clock_timestamp())
        .where(_exception.allocation_id == any_of("ids", Uuid), _exception.state == _literal("open"), *conditions)
        .returning(_exception.id, _exception.update_time, _exception.kind)
        .cte("superseded")
    )
    events = select(
        func.gen_random_uuid(),
        superseded.c.id,
        _literal("superseded"),
        _literal("policy"),
        _literal(description),
        superseded.c.update_time,
    )
    written = insert(exception_event).from_select(list(_EVENT_COLUMNS), events).cte("written")
    return Statement(select(superseded.c.kind).add_cte(written))


def _is_obsolete() -> ColumnElement[bool]:
    """Whether the problem of an exception no longer exists in its order.

    An exception with the action `hold` also covers backordered units. A rejection covers all units that are short
    because of it, of any kind.
    """
    order, rejected = allocation.c, _literal("rejected")
    short = exists().where(
        shortage.c.allocation_id == _exception.allocation_id,
        (shortage.c.kind == _exception.kind) | ((_exception.kind == rejected) & (shortage.c.cause == rejected)),
        _exception.line_ids.is_(None) | (shortage.c.line_id == func.any(_exception.line_ids)),
        ~shortage.c.backordered | (_exception.action == _literal("hold")),
    )
    promising = (order.state == _literal("held")) | (order.state == _literal("confirmed"))
    ordered = exists().where(order.id == _exception.allocation_id, promising)
    reviewed = exists().where(order.id == _exception.allocation_id, order.outcome == _literal("needs_review"))
    of_shortage = (
        (_exception.kind == _literal("oversell"))
        | (_exception.kind == _literal("unfillable"))
        | (_exception.kind == _literal("held_by_buffer"))
        | (_exception.kind == _literal("blocked_by_rule"))
        | (_exception.kind == rejected)
    )
    return (
        ~ordered.correlate(exception)
        | (of_shortage & ~short.correlate(exception))
        | ((_exception.kind == _literal("review")) & ~reviewed.correlate(exception))
    )


def _awaits_units() -> ColumnElement[bool]:
    """Whether an order has shipped units that are not ordered any more, and neither back nor refunded."""
    came_back = (
        select(func.coalesce(func.sum(promise.c.returned + promise.c.refunded), literal_column("0")))
        .where(promise.c.allocation_id == order_line.c.allocation_id, promise.c.line_id == order_line.c.line_id)
        .correlate(order_line)
        .scalar_subquery()
    )
    return (
        exists()
        .where(order_line.c.allocation_id == _exception.allocation_id, order_line.c.excess > came_back)
        .correlate(exception)
    )


_IS_RECALL = _exception.kind == _literal("cancelled_after_shipping")
# A late shipment stays late until it progresses or ends, and units that have left must come back, even if the order is
# replanned; a hold stays overdue until it is released; a request to cancel waits for its answer; and what a channel
# reported stays to be looked up there.
_OUTLIVES_PLANS = ("late_shipment", "hold_overdue", "sync_failed", "cancel_requested")
_CONCERNS_PLAN = _exception.kind.not_in([_literal(kind) for kind in _OUTLIVES_PLANS]) & ~_IS_RECALL
# A payment that came after the cancellation is still to be refunded while its order is cancelled.
_ENDS_WITH_ORDER = _exception.kind != _literal("paid_after_cancellation")
_SUPERSEDE = _superseding("The order was replanned.", _CONCERNS_PLAN)
_SUPERSEDE_RECALLS = _superseding("The order was changed again.", _IS_RECALL)
_SUPERSEDE_OBSOLETE = _superseding(
    "The problem that it reported no longer exists.",
    (_CONCERNS_PLAN & _ENDS_WITH_ORDER & _is_obsolete()) | (_IS_RECALL & ~_awaits_units()),
)


async def supersede(connection: Connection, allocation_ids: Sequence[UUID]) -> list[str]:
    """Supersedes the open exceptions of locked orders that were replanned; the kind of each."""
    return await _superseded(connection, _SUPERSEDE, allocation_ids)


async def supersede_recalls(connection: Connection, allocation_ids: Sequence[UUID]) -> list[str]:
    """Supersedes the open exceptions of locked orders about shipped units that are not ordered any more."""
    return await _superseded(connection, _SUPERSEDE_RECALLS, allocation_ids)


async def supersede_obsolete(connection: Connection, allocation_ids: Sequence[UUID]) -> list[str]:
    """Supersedes open exceptions of locked orders, which are written, if their problem no longer exists."""
    return await _superseded(connection, _SUPERSEDE_OBSOLETE, allocation_ids)


async def _superseded(connection: Connection, statement: Statement, allocation_ids: Sequence[UUID]) -> list[str]:
    """The kind of each exception that was superseded."""
    return [row["kind"] for row in await statement.rows(connection, ids=list(allocation_ids))]
