"""The statements of lists of orders, which are sorted by id."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    Uuid,
    exists,
    func,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)

from service.database.database import Statement, any_of, parameter, parameters
from service.database.keyset import COUNT, EXAMINED, Listing, end_of, first_of_each
from service.database.tables import IS_ON_HOLD, Moment, allocation, channel, promise, shipment
from service.orders.allocation_record import EXPIRED, HELD

CHANNELS, STATES, NEEDS_PERSON, ON_HOLD, LOCATION = "channels", "states", "needs_person", "on_hold", "location"
"""The filters."""

_order = allocation.c
_after: ColumnElement[Any] = parameter("after_id", Uuid)
_LAST: ColumnElement[Any] = literal_column("'ffffffff-ffff-ffff-ffff-ffffffffffff'::uuid")
_now: ColumnElement[Any] = parameter("now", Moment)
_location_id: ColumnElement[Any] = parameter("location_id", Text)
_has_expired = (_order.state == literal_column(f"'{HELD}'")) & (_order.expire_time <= _now)
_lists_expired = literal_column(f"'{EXPIRED}'") == any_of("states", Text)
# An expired hold promises nothing, whether or not the sweeper has run.
_is_live = promise.c.expire_time.is_(None) | (promise.c.expire_time > _now)
_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    CHANNELS: _order.channel_id == any_of("channel_ids", Text),
    STATES: ((_order.state == any_of("states", Text)) & ~_has_expired) | (_has_expired & _lists_expired),
    NEEDS_PERSON: _order.needs_person,
    ON_HOLD: IS_ON_HOLD,
    LOCATION: exists().where(
        promise.c.allocation_id == _order.id,
        promise.c.location_id == _location_id,
        (promise.c.shipped > 0) | ((promise.c.unit_count > 0) & _is_live),
    ),
}


@cache
def order_listing(filters: frozenset[str]) -> Listing:
    """Lists the ids of orders with exactly these filters: an optional condition would keep PostgreSQL from an index.

    Its values are `channel_ids`, empty for all, `states`, of which at least one is given, `location_id` and `now`.
    """
    lead, passed = _lead(filters)
    conditions = [_CONDITIONS[name] for name in sorted(filters - passed)]
    if not conditions:
        return Listing(Statement(lead.limit(COUNT)))
    leading = lead.limit(EXAMINED).subquery("leading")
    page = (
        select(leading.c.id)
        .join(allocation, _order.id == leading.c.id)
        .where(*conditions)
        .order_by(leading.c.id)
        .limit(COUNT)
    )
    return Listing(Statement(page), end_of(leading, "id"))


def _lead(filters: frozenset[str]) -> tuple[Select[Any], frozenset[str]]:
    """The orders that the index of one filter has, and the filters that they pass."""
    # The filter that the fewest orders pass comes first.
    for name in (ON_HOLD, NEEDS_PERSON):
        if name in filters:
            return _in_order(_CONDITIONS[name]), frozenset({name})
    if LOCATION in filters:
        return _at_location(), frozenset()
    if filters:
        return _of_channels_and_states(), frozenset({CHANNELS, STATES})
    return _in_order(true()), frozenset()


def _in_order(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(_order.id).where(*conditions, _order.id > _after).order_by(_order.id)


def _at_location() -> Select[Any]:
    """Orders with shipments of the location, whether or not these have units."""
    id = shipment.c.allocation_id
    return select(id.label("id")).where(shipment.c.location_id == _location_id, id > _after).distinct().order_by(id)


def _of_channels_and_states() -> Select[Any]:
    states = func.unnest(parameters("states", Text)).table_valued("state", name="states").render_derived()
    no_channels = func.cardinality(parameters("channel_ids", Text)) == 0
    groups = channel.join(states, no_channels | (channel.c.id == any_of("channel_ids", Text)))
    order = tuple_(_order.channel_id, _order.state, _order.id)
    # An equality would let PostgreSQL read all orders by id, in the hope of finding some of this group soon.
    of_group = (
        select(_order.id)
        .where(
            order > tuple_(channel.c.id, states.c.state, _after),
            order <= tuple_(channel.c.id, states.c.state, _LAST),
            ~_has_expired,
        )
        .order_by(_order.channel_id, _order.state, _order.id)
    )
    # The sweeper leaves few holds that have expired.
    unswept = _in_order(_has_expired, _lists_expired, no_channels | _CONDITIONS[CHANNELS]).limit(COUNT)
    merged = union_all(first_of_each(groups, of_group, COUNT, "id"), unswept).subquery("merged")
    return select(merged.c.id).order_by(merged.c.id)
