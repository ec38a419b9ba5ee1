"""The statements of lists of orders: by id, which is the order of their creation, or by when they must ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Select,
    Text,
    Uuid,
    case,
    exists,
    func,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)

from policies.domain.model import Outcome
from policies.domain.order_status import OrderStatus
from policies.domain.shipments import OPEN
from service.database.database import Statement, any_of, parameter, parameters
from service.database.keyset import COUNT, EXAMINED, Listing, end_of, first_of_each, is_after, ordered, passing
from service.database.tables import (
    IS_ON_HOLD,
    IS_OPEN,
    Moment,
    allocation,
    channel,
    due_time,
    order_line,
    promise,
    shipment,
)
from service.orders.allocation_record import CANCELLED, CONFIRMED, EXPIRED, HELD, REFUSED, RELEASED
from service.orders.order_filters import has_number_part, has_sku, status_of_order

CHANNELS, STATES, NEEDS_PERSON, ON_HOLD, LOCATIONS = "channels", "states", "needs_person", "on_hold", "locations"
SKUS, OUTCOMES, INCOMPLETE, STATUSES, NUMBER = "skus", "outcomes", "incomplete", "statuses", "number"
CREATED, UPDATED, FEW = "created", "updated", "few"
"""The filters. INCOMPLETE are outcomes of which the index has all orders; FEW are orders that were found before."""

KEY: Sequence[str] = ("id",)
DUE_KEY: Sequence[str] = ("due_time", "shipment_id")
"""The keys of lists."""
COMMON_OUTCOMES = (Outcome.ALLOCATED, Outcome.ENDED)
"""Outcomes of most orders, which their index leaves out."""
STATES_OF_STATUS: Mapping[OrderStatus, tuple[str, ...]] = {
    OrderStatus.PLACED: (HELD,),
    OrderStatus.NOT_PROMISED: (EXPIRED, RELEASED, REFUSED),
    OrderStatus.CANCELLED: (HELD, CONFIRMED, EXPIRED, RELEASED, REFUSED, CANCELLED),
}
"""The states that orders of a status may have; CONFIRMED for the others."""
OPEN_STATUSES = frozenset({OrderStatus.READY_TO_FULFILL, OrderStatus.IN_PROGRESS})
"""Statuses of orders with open shipments."""
INCOMPLETE_STATUSES = frozenset({OrderStatus.IN_REVIEW, OrderStatus.EXCEPTION, OrderStatus.BACKORDERED})
"""Statuses of orders with an outcome that few have."""

_order = allocation.c
_after: ColumnElement[Any] = parameter("after_id", Uuid)
_end: ColumnElement[Any] = parameter("end_id", Uuid)
_now: ColumnElement[Any] = parameter("now", Moment)
_has_expired = (_order.state == literal_column(f"'{HELD}'")) & (_order.expire_time <= _now)
_lists_expired = literal_column(f"'{EXPIRED}'") == any_of("states", Text)
_outcome = case((_has_expired, literal_column(f"'{Outcome.ENDED.value}'", Text)), else_=_order.outcome)
# An expired hold promises nothing, whether or not the sweeper has run.
_is_live = promise.c.expire_time.is_(None) | (promise.c.expire_time > _now)
_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    CHANNELS: _order.channel_id == any_of("channel_ids", Text),
    STATES: ((_order.state == any_of("states", Text)) & ~_has_expired) | (_has_expired & _lists_expired),
    NEEDS_PERSON: _order.needs_person,
    ON_HOLD: IS_ON_HOLD,
    LOCATIONS: exists().where(
        promise.c.allocation_id == _order.id,
        promise.c.location_id == any_of("location_ids", Text),
        (promise.c.shipped > 0) | ((promise.c.unit_count > 0) & _is_live),
    ),
    SKUS: has_sku(_order.id),
    OUTCOMES: _outcome == any_of("outcomes", Text),
    STATUSES: status_of_order(_has_expired) == any_of("statuses", Text),
    NUMBER: has_number_part(),
    CREATED: (_order.create_time >= parameter("created_from", Moment))
    & (_order.create_time < parameter("created_before", Moment)),
    UPDATED: (_order.update_time >= parameter("updated_from", Moment))
    & (_order.update_time < parameter("updated_before", Moment)),
}
_COMMON: list[ColumnElement[Any]] = [literal_column(f"'{outcome.value}'") for outcome in COMMON_OUTCOMES]
_NO_CONDITIONS = frozenset({INCOMPLETE, FEW})


@dataclass(frozen=True, slots=True)
class _Lead:
    """Ids of orders in the order of a list, and the filters that all of them pass. `few`: they need no limit."""

    ids: Select[Any]
    passed: frozenset[str] = frozenset()
    few: bool = False


@cache
def order_listing(filters: frozenset[str], *, descending: bool) -> Listing:
    """Lists the ids of orders with exactly these filters: an optional condition would keep PostgreSQL from an index.

    It ends at `end_id`, which is before or after all ids. Its other values are those of the filters, with `states`, of
    which at least one is given, and `channel_ids`, empty for all.
    """
    lead = _lead(filters, EXAMINED, descending=descending)
    conditions = _conditions(filters - lead.passed)
    if not conditions:
        return Listing(Statement(_lead(filters, COUNT, descending=descending).ids.limit(COUNT)))
    leading = (lead.ids if lead.few else lead.ids.limit(EXAMINED)).subquery("leading")
    order = select(_order.id).where(_order.id == leading.c.id, *conditions)
    page = (
        select(leading.c.id)
        .select_from(passing(leading, order))
        .order_by(*ordered([leading.c.id], descending=descending))
        .limit(COUNT)
    )
    return Listing(Statement(page), None if lead.few else end_of(leading, "id", descending=descending))


@cache
def due_listing(filters: frozenset[str]) -> Listing:
    """Lists orders with open shipments and exactly these filters, each by the one that is due first.

    Returns `id`, and its key DUE_KEY; its values are those of the filters.
    """
    columns = (due_time(shipment), shipment.c.id)
    after = is_after(columns, (parameter("after_due_time", Moment), parameter("after_shipment_id", Uuid)))
    entries = select(
        shipment.c.allocation_id.label("id"), columns[0].label("due_time"), shipment.c.id.label("shipment_id")
    )
    in_order = entries.where(IS_OPEN, after).order_by(*columns)
    if FEW in filters:
        ids = _few_ids()
        of_order = in_order.where(shipment.c.allocation_id == ids.c.id)
        leading = first_of_each(ids, of_order, EXAMINED, *DUE_KEY).subquery("leading")
    else:
        leading = in_order.limit(EXAMINED).subquery("leading")
    other = shipment.alias("other")
    is_open = other.c.state.in_([literal_column(f"'{state.value}'") for state in sorted(OPEN)])
    is_due_before = tuple_(due_time(other), other.c.id) < tuple_(leading.c.due_time, leading.c.shipment_id)
    is_first = ~exists().where(other.c.allocation_id == leading.c.id, is_open, is_due_before).correlate(leading)
    order = select(_order.id).where(_order.id == leading.c.id, is_first, *_conditions(filters))
    page = (
        select(leading)
        .select_from(passing(leading, order))
        .order_by(*(leading.c[name] for name in DUE_KEY))
        .limit(COUNT)
    )
    return Listing(Statement(page), end_of(leading, *DUE_KEY))


def _conditions(filters: frozenset[str]) -> list[ColumnElement[bool]]:
    return [_CONDITIONS[name] for name in sorted(filters - _NO_CONDITIONS)]


def _lead(filters: frozenset[str], limit: ColumnElement[Any], *, descending: bool) -> _Lead:
    """The orders that the index of one filter has, at least the first `limit` of them."""
    # The filter that the fewest orders pass comes first.
    if FEW in filters:
        ids = _few_ids()
        is_within = _within([_order.id], descending=descending)
        few = select(_order.id).join_from(ids, allocation, _order.id == ids.c.id).where(*is_within)
        return _Lead(few.order_by(*ordered([_order.id], descending=descending)), few=True)
    for name in (ON_HOLD, NEEDS_PERSON):
        if name in filters:
            return _Lead(_in_order(_CONDITIONS[name], descending=descending), frozenset({name}))
    if INCOMPLETE in filters:
        return _Lead(_incomplete(limit, descending=descending))
    if SKUS in filters:
        id = order_line.c.allocation_id
        columns = (order_line.c.sku, order_line.c.kit_sku)
        return _Lead(_of_values("skus", columns, id, limit, descending=descending), frozenset({SKUS}))
    if LOCATIONS in filters:
        # Orders with shipments of the location, whether or not these have units.
        id, location_id = shipment.c.allocation_id, shipment.c.location_id
        return _Lead(_of_values("location_ids", (location_id,), id, limit, descending=descending))
    if filters & {CHANNELS, STATES}:
        return _Lead(_of_channels_and_states(limit, descending=descending), frozenset({CHANNELS, STATES}))
    return _Lead(_in_order(true(), descending=descending))


def _few_ids() -> Any:
    return func.unnest(parameters("ids", Uuid)).table_valued("id", name="few").render_derived()


def _within(columns: list[ColumnElement[Any]], *, descending: bool) -> list[ColumnElement[bool]]:
    """Whether ids are after `after_id` and not after `end_id`."""
    ends = columns[0] >= _end if descending else columns[0] <= _end
    return [is_after(columns, [_after], descending=descending), ends]


def _in_order(*conditions: ColumnElement[bool], descending: bool) -> Select[Any]:
    in_order = ordered([_order.id], descending=descending)
    return select(_order.id).where(*conditions, *_within([_order.id], descending=descending)).order_by(*in_order)


def _of_values(
    name: str,
    columns: Sequence[ColumnElement[Any]],
    id: ColumnElement[Any],
    limit: ColumnElement[Any],
    *,
    descending: bool,
) -> Select[Any]:
    """Orders with some values in one of these columns, each order once, by an index of the column and the order."""
    in_order = ordered([id], descending=descending)
    of_each: list[Select[Any]] = []
    for column in columns:
        values = func.unnest(parameters(name, Text)).table_valued("value", name=name).render_derived()
        within = _within([id], descending=descending)
        of_value = select(id.label("id")).where(column == values.c.value, *within).distinct().order_by(*in_order)
        entries = of_value.limit(limit).lateral("entries")
        of_each.append(select(entries.c.id).select_from(values.join(entries, true())))
    # An order of two values counts once, so the limit applies to what is left when it is dropped the second time.
    found = union_all(*of_each).subquery("found")
    return select(found.c.id).distinct().order_by(*ordered([found.c.id], descending=descending))


def _incomplete(limit: ColumnElement[Any], *, descending: bool) -> Select[Any]:
    outcomes = func.unnest(parameters("lead_outcomes", Text)).table_valued("outcome", name="outcomes").render_derived()
    of_outcome = _in_order(_order.outcome == outcomes.c.outcome, _order.outcome.not_in(_COMMON), descending=descending)
    merged = first_of_each(outcomes, of_outcome, limit, "id", descending=descending).subquery("merged")
    return select(merged.c.id).order_by(*ordered([merged.c.id], descending=descending))


def _of_channels_and_states(limit: ColumnElement[Any], *, descending: bool) -> Select[Any]:
    states = func.unnest(parameters("states", Text)).table_valued("state", name="states").render_derived()
    no_channels = func.cardinality(parameters("channel_ids", Text)) == 0
    groups = channel.join(states, no_channels | (channel.c.id == any_of("channel_ids", Text)))
    key = [_order.channel_id, _order.state, _order.id]
    order = tuple_(*key)
    start, end = (tuple_(channel.c.id, states.c.state, id) for id in (_after, _end))
    is_within = (order < start, order >= end) if descending else (order > start, order <= end)
    # An equality would let PostgreSQL read all orders by id, in the hope of finding some of this group soon.
    of_group = select(_order.id).where(*is_within, ~_has_expired).order_by(*ordered(key, descending=descending))
    # The sweeper leaves few holds that have expired.
    is_of_channel = no_channels | _CONDITIONS[CHANNELS]
    unswept = _in_order(_has_expired, _lists_expired, is_of_channel, descending=descending).limit(limit)
    entries = first_of_each(groups, of_group, limit, "id", descending=descending)
    merged = union_all(entries, unswept).subquery("merged")
    return select(merged.c.id).order_by(*ordered([merged.c.id], descending=descending))
