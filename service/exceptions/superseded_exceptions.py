"""Exceptions that something has overtaken: the plan that they rest on is no more, or nothing is left to settle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, exists, func, insert, literal_column, select, update

from service.database.database import Connection, Statement, any_of
from service.database.tables import allocation, exception, exception_event, shortage

_own = exception.c
_EVENT_COLUMNS = ("id", "exception_id", "event", "actor", "description", "event_time")


def _literal(text: str) -> ColumnElement[Any]:
    return literal_column(f"'{text}'")


def _superseding(why: str, *conditions: ColumnElement[bool]) -> Statement:
    """Supersedes what is open about orders, with a line of history each."""
    gone = (
        update(exception)
        .values(state="superseded", update_time=func.clock_timestamp())
        .where(_own.allocation_id == any_of("ids", Uuid), _own.state == _literal("open"), *conditions)
        .returning(_own.id, _own.update_time)
        .cte("gone")
    )
    told = select(
        func.gen_random_uuid(),
        gone.c.id,
        _literal("superseded"),
        _literal("policy"),
        _literal(why),
        gone.c.update_time,
    )
    return Statement(insert(exception_event).from_select(list(_EVENT_COLUMNS), told))


def _is_obsolete() -> ColumnElement[bool]:
    """Whether nothing is left of an order that its exception is about; one that is held looks after waiting units.

    A rejection is about the units that are short because of it, of whatever kind.
    """
    order, rejected = allocation.c, _literal("rejected")
    short = exists().where(
        shortage.c.allocation_id == _own.allocation_id,
        (shortage.c.kind == _own.kind) | ((_own.kind == rejected) & (shortage.c.cause == rejected)),
        _own.line_ids.is_(None) | (shortage.c.line_id == func.any(_own.line_ids)),
        ~shortage.c.backordered | (_own.action == _literal("hold")),
    )
    promising = (order.state == _literal("held")) | (order.state == _literal("confirmed"))
    ordered = exists().where(order.id == _own.allocation_id, promising)
    reviewed = exists().where(order.id == _own.allocation_id, order.outcome == _literal("needs_review"))
    of_shortage = (_own.kind == _literal("oversell")) | (_own.kind == _literal("unfillable")) | (_own.kind == rejected)
    return (
        ~ordered.correlate(exception)
        | (of_shortage & ~short.correlate(exception))
        | ((_own.kind == _literal("review")) & ~reviewed.correlate(exception))
    )


# A shipment that is late stays so until it goes on or ends, whatever becomes of the plan.
_CONCERNS_PLAN = _own.kind != _literal("late_shipment")
_SUPERSEDE = _superseding("The order was planned anew.", _CONCERNS_PLAN)
_SUPERSEDE_OBSOLETE = _superseding("Nothing is left of the order that it was about.", _CONCERNS_PLAN, _is_obsolete())


async def supersede(connection: Connection, allocation_ids: Sequence[UUID]) -> None:
    """Supersedes what is open about orders that are locked and have been planned anew."""
    await _SUPERSEDE.run(connection, ids=list(allocation_ids))


async def supersede_obsolete(connection: Connection, allocation_ids: Sequence[UUID]) -> None:
    """Supersedes what is open about locked orders and has nothing left to settle, after they are written."""
    await _SUPERSEDE_OBSOLETE.run(connection, ids=list(allocation_ids))
