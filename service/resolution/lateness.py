"""Queries for late shipments and stuck orders, and for open exceptions about them that no longer apply.

Each runs first without locks, then again for the orders that were locked.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ColumnElement,
    Exists,
    Integer,
    Interval,
    Select,
    Uuid,
    case,
    exists,
    func,
    literal_column,
    select,
)

from service import limits
from service.allocation.order_holds import HOLD_OVERDUE
from service.database.database import Connection, Statement, any_of, parameter
from service.database.tables import IS_ON_HOLD, IS_OPEN, allocation, exception, order_event, promise, shipment, shortage

LATE_SHIPMENT = "late_shipment"
STUCK_ORDER = "stuck_order"
LOCATION_UNAVAILABLE = "location_unavailable"

DELIVERY = "delivery"
"""The sub-kind of `late_shipment` of what has shipped and has not arrived."""

LATE_AFTER = timedelta(hours=48)
"""From assignment, for a shipment without a time to ship by."""
UNCOLLECTED_AFTER = timedelta(days=7)
"""From assignment, for a shipment that is ready for pickup: the shopper is late, not the location."""
DELIVERIES_REPORTED_WITHIN = timedelta(days=60)
"""From the assignment of a delivered shipment: its location's deliveries are reported, so one can be missed."""
FORGOTTEN_AFTER = timedelta(days=30)
"""From the day of delivery, for a shipment that nobody has reported as delivered: it is no news any more."""
STUCK_AFTER = timedelta(hours=24)
"""Without any event, for an order that needs action."""

_order, _shipment, _exception = allocation.c, shipment.c, exception.c


def _literal(text: str) -> ColumnElement[Any]:
    # A constant, not a parameter: PostgreSQL uses a partial index only if the statement contains its condition.
    return literal_column(f"'{text}'")


_HAS_UNITS = exists().where(promise.c.shipment_id == _shipment.id, promise.c.unit_count > literal_column("0"))
# Work that waited for a hold starts when the hold is released, whatever the location had begun before.
_START = func.greatest(_shipment.assign_time, _order.hold_release_time)
_IS_UNDER_WAY = _shipment.state == _literal("shipped")
_IS_COLLECTED = _shipment.state == _literal("ready_for_pickup")
_OUR_TIME = func.coalesce(_shipment.ship_by_time, _START + parameter("late_after", Interval))
_DEADLINE = case(
    (_IS_COLLECTED, _START + parameter("uncollected_after", Interval)),
    else_=func.least(_OUR_TIME, _order.ship_by_time),
)
_IS_CHANNEL_LATE = ~_IS_COLLECTED & (_order.ship_by_time <= func.statement_timestamp())
_late = (
    select(
        *(_shipment.id, _shipment.allocation_id, _shipment.location_id, _shipment.state, _DEADLINE.label("deadline")),
        # Whose times were missed.
        func.coalesce(_IS_CHANNEL_LATE, literal_column("false")).label("is_channel_late"),
        _order.ship_by_time.label("channel_time"),
        (func.statement_timestamp() >= _OUR_TIME).label("is_ours_late"),
        _OUR_TIME.label("our_time"),
    )
    .join(allocation, _order.id == _shipment.allocation_id)
    .where(
        IS_OPEN,
        _order.state == _literal("confirmed"),
        ~IS_ON_HOLD,
        func.statement_timestamp() >= _DEADLINE,
        _HAS_UNITS.correlate(shipment),
        # An open shipment whose exception ended because it shipped has not shipped after all.
        ~exists()
        .where(
            _exception.shipment_id == _shipment.id,
            _exception.kind == _literal(LATE_SHIPMENT),
            _exception.sub_kind.is_distinct_from(_literal(DELIVERY)),
            _order.hold_release_time.is_(None) | (_exception.create_time > _order.hold_release_time),
            _exception.resolved_by.is_distinct_from(_literal("policy"))
            | _exception.resolution.is_distinct_from(_literal("completed")),
            # One that was resolved before the channel's time was missed says nothing about that time.
            ~func.coalesce(_IS_CHANNEL_LATE, literal_column("false"))
            | (_exception.state == _literal("open"))
            | (_exception.create_time >= _order.ship_by_time),
        )
        .correlate(shipment, allocation),
    )
    .order_by(_shipment.assign_time, _shipment.id)
)
_reported = shipment.alias("reported")
ARRIVES_LATE = (
    _IS_UNDER_WAY,
    _shipment.deliver_by_time <= func.statement_timestamp(),
    _shipment.deliver_by_time > func.statement_timestamp() - parameter("forgotten_after", Interval),
    # Where nobody reports deliveries, every shipment would seem late.
    exists()
    .where(
        _reported.c.location_id == _shipment.location_id,
        _reported.c.state == _literal("delivered"),
        _reported.c.assign_time > func.statement_timestamp() - parameter("reported_within", Interval),
    )
    .correlate(shipment),
)
"""Conditions of shipments that should have arrived by now, at locations whose deliveries are reported."""
_late_deliveries = (
    select(
        *(_shipment.id, _shipment.allocation_id, _shipment.location_id, _shipment.state),
        _shipment.deliver_by_time.label("deadline"),
    )
    .where(
        *ARRIVES_LATE,
        ~exists()
        .where(
            _exception.shipment_id == _shipment.id,
            _exception.kind == _literal(LATE_SHIPMENT),
            _exception.sub_kind == _literal(DELIVERY),
        )
        .correlate(shipment),
    )
    .order_by(_shipment.deliver_by_time, _shipment.id)
)


def _open_without(kind: str, *causes: Exists) -> Select[Any]:
    """Open exceptions of a kind none of whose causes exists any more."""
    return select(_exception.id, _exception.subject, _exception.allocation_id, _exception.policy_revision).where(
        _exception.state == _literal("open"),
        _exception.kind == _literal(kind),
        *(~cause.correlate(exception) for cause in causes),
    )


_open_shipment = exists().where(
    _shipment.id == _exception.shipment_id,
    IS_OPEN,
    _HAS_UNITS.correlate(shipment),
    _order.id == _shipment.allocation_id,
)
_is_late_to_ship = _open_shipment.where(~IS_ON_HOLD, _exception.sub_kind.is_distinct_from(_literal(DELIVERY)))
_is_late_to_arrive = exists().where(
    _shipment.id == _exception.shipment_id, _IS_UNDER_WAY, _exception.sub_kind == _literal(DELIVERY)
)
_not_late = _open_without(LATE_SHIPMENT, _is_late_to_ship, _is_late_to_arrive)
_not_stranded = _open_without(LOCATION_UNAVAILABLE, _open_shipment)

_OVERDUE_TIME = func.coalesce(_order.hold_until, _order.hold_time + parameter("overdue_after", Interval))
_overdue_holds = (
    select(_order.id, _order.id.label("allocation_id"))
    .where(
        IS_ON_HOLD,
        func.statement_timestamp() >= _OVERDUE_TIME,
        ~exists()
        .where(
            _exception.allocation_id == _order.id,
            _exception.kind == _literal(HOLD_OVERDUE),
            _exception.create_time >= _OVERDUE_TIME,
        )
        .correlate(allocation),
    )
    .order_by(_order.hold_time, _order.id)
)
_not_overdue = _open_without(
    HOLD_OVERDUE,
    exists().where(_order.id == _exception.allocation_id, IS_ON_HOLD, func.statement_timestamp() >= _OVERDUE_TIME),
)

_NEEDS_ACTION = (_order.outcome == _literal("needs_review")) | exists().where(
    shortage.c.allocation_id == _order.id, ~shortage.c.backordered
).correlate(allocation)
_QUIET_SINCE = func.statement_timestamp() - parameter("stuck_after", Interval)
_stuck = (
    select(_order.id.label("allocation_id"))
    .where(
        _order.state == _literal("confirmed"),
        _order.outcome != _literal("allocated"),
        _order.commitment == _literal("sold"),
        _order.update_time <= _QUIET_SINCE,
        _NEEDS_ACTION,
        ~exists()
        .where(_exception.allocation_id == _order.id, _exception.state == _literal("open"))
        .correlate(allocation),
        ~exists()
        .where(order_event.c.allocation_id == _order.id, order_event.c.event_time > _QUIET_SINCE)
        .correlate(allocation),
    )
    .order_by(_order.update_time, _order.id)
)
_not_stuck = _open_without(
    STUCK_ORDER,
    exists().where(_order.id == _exception.allocation_id, _order.state == _literal("confirmed"), _NEEDS_ACTION),
)

_DURATIONS = {
    "late_after": LATE_AFTER,
    "uncollected_after": UNCOLLECTED_AFTER,
    "stuck_after": STUCK_AFTER,
    "reported_within": DELIVERIES_REPORTED_WITHIN,
    "forgotten_after": FORGOTTEN_AFTER,
    "overdue_after": limits.ORDER_HOLD_OVERDUE,
}


class LatenessQuery:
    """One query: over all orders, and over locked orders."""

    def __init__(self, query: Select[Any], allocation_id: ColumnElement[Any]) -> None:
        self._everywhere = Statement(query.limit(parameter("count", Integer)))
        self._of_orders = Statement(query.where(allocation_id == any_of("allocation_ids", Uuid)))

    async def everywhere(self, connection: Connection, count: int) -> list[asyncpg.Record]:
        """At most `count` rows, each with an `allocation_id`."""
        return await self._everywhere.rows(connection, count=count, **_DURATIONS)

    async def of_orders(self, connection: Connection, allocation_ids: Sequence[UUID]) -> list[asyncpg.Record]:
        """The current rows of these orders, which are locked."""
        return await self._of_orders.rows(connection, allocation_ids=list(allocation_ids), **_DURATIONS)


LATE = LatenessQuery(_late, _shipment.allocation_id)
"""Late shipments without an exception so far: (id, allocation_id, location_id, state, deadline, and whose times were
missed)."""
LATE_DELIVERIES = LatenessQuery(_late_deliveries, _shipment.allocation_id)
"""Shipments that have shipped and should have arrived, without an exception so far: (id, allocation_id, location_id,
state, deadline)."""
STUCK = LatenessQuery(_stuck, _order.id)
"""Sold orders with short units or a review and without recent events: (allocation_id)."""
OVERDUE_HOLDS = LatenessQuery(_overdue_holds, _order.id)
"""Orders on hold for longer than was said, without an exception about it: (id, allocation_id)."""
NOT_OVERDUE = LatenessQuery(_not_overdue, _exception.allocation_id)
"""Open exceptions about holds that were released, changed, or ended with their order: as NOT_LATE."""
NOT_LATE = LatenessQuery(_not_late, _exception.allocation_id)
"""Open exceptions about shipments that have shipped or ended: (id, subject, allocation_id, policy_revision)."""
NOT_STRANDED = LatenessQuery(_not_stranded, _exception.allocation_id)
"""The same for exceptions about shipments at locations that their orders may not use."""
NOT_STUCK = LatenessQuery(_not_stuck, _exception.allocation_id)
"""Open exceptions about orders that need no action: (id, subject, allocation_id, policy_revision)."""
