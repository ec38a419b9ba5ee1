"""Pages of exceptions, and counts of the open ones.

Few exceptions pass most filters: these are found by the index of one filter, and sorted. Where more pass each of the
filters, the list is read in its own order, and the filters are conditions of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Integer, Select, Text, Uuid, exists, func, literal_column, select, true

from service import limits
from service.database.database import Connection, Statement, any_of, parameter, parameters
from service.database.keyset import COUNT, EXAMINED, Listing, end_of, is_after, ordered, passing
from service.database.tables import Moment, allocation, exception, exception_record, order_line
from service.exceptions.exception_messages import EXCEPTION_STATES
from service.exceptions.exception_requests import ExceptionsPage
from service.orders import order_store
from service.orders.order_filters import FIRST_ID, OrderFilter, few_orders, has_number_part, ids_between, is_of_number
from truestock.v1 import order_pb2

_exception = exception.c
_IS_OPEN = _exception.state == literal_column("'open'")
_OPEN_ONLY, _OVERDUE_ONLY, _FEW, _OF_ORDERS = "open", "overdue", "few", "order_ids"
"""Filters. _FEW are exceptions that were found before; _OF_ORDERS are those of some orders."""
_COLUMNS = ("assignees", "skus", "location_ids", "owners", "kinds", "channel_ids")
"""Filters by a column that has an index with the state: the one that the fewest exceptions pass first."""


def _in(name: str, column: ColumnElement[Any]) -> ColumnElement[bool]:
    return column == any_of(name, Text)


def _between(name: str, column: ColumnElement[Any]) -> ColumnElement[bool]:
    return (column >= parameter(f"{name}_from", Moment)) & (column < parameter(f"{name}_before", Moment))


_has_sku = exists().where(
    order_line.c.allocation_id == _exception.allocation_id,
    _in("skus", order_line.c.kit_sku) | (_in("skus", order_line.c.sku) & _exception.sku.is_(None)),
    _exception.line_ids.is_(None) | (order_line.c.line_id == func.any(_exception.line_ids)),
)
# An order that a failure names may not have arrived yet.
_is_reported = is_of_number(_exception.reported_order_id)
_CONDITIONS: Mapping[str, ColumnElement[bool]] = {
    "states": _in("states", _exception.state),
    "kinds": _in("kinds", _exception.kind),
    "owners": _in("owners", _exception.owner),
    "channel_ids": _in("channel_ids", _exception.channel_id),
    "skus": _in("skus", _exception.sku) | _has_sku.correlate(exception),
    "location_ids": _in("location_ids", _exception.location_id),
    "assignees": _in("assignees", _exception.assignee),
    "resolutions": _in("resolutions", _exception.resolution),
    "unassigned_only": _exception.assignee.is_(None),
    "number_part": exists().where(allocation.c.id == _exception.allocation_id, has_number_part()).correlate(exception)
    | _is_reported,
    "created": _between("created", _exception.create_time),
    "updated": _between("updated", _exception.update_time),
    _OPEN_ONLY: _IS_OPEN,
    _OVERDUE_ONLY: _IS_OPEN & (_exception.due_time <= func.statement_timestamp()),
}


@cache
def _listing(filters: frozenset[str], *, due: bool, descending: bool) -> Listing:
    """Lists exceptions with exactly these filters: an optional condition would keep PostgreSQL from using an index.

    By due time, or else by id, which is the order of their creation.
    """
    names = ("due_time", "id") if due else ("id",)
    key = [_exception[name] for name in names]
    position = [parameter(f"after_{name}", Moment if name == "due_time" else Uuid) for name in names]
    led = [is_after(key, position, descending=descending)]
    if not due:
        ends = _exception.id >= parameter("end_id", Uuid) if descending else _exception.id <= parameter("end_id", Uuid)
        led.append(ends)
    # A partial index is used only by a statement that contains its condition.
    led += [_CONDITIONS[name] for name in sorted(filters & {_OPEN_ONLY, _OVERDUE_ONLY})]
    others = [_CONDITIONS[name] for name in sorted((filters & _CONDITIONS.keys()) - {_OPEN_ONLY, _OVERDUE_ONLY})]
    in_order = ordered(key, descending=descending)
    if filters & {_FEW, _OF_ORDERS}:
        column, name = (_exception.id, "ids") if _FEW in filters else (_exception.allocation_id, _OF_ORDERS)
        groups = func.unnest(parameters(name, Uuid)).table_valued("id", name="few").render_derived()
        few = select(*key).join_from(groups, exception, column == groups.c.id).where(*led)
        leading, is_limited = few.subquery("leading"), False
    else:
        is_limited = bool(others)
        leading = select(*key).where(*led).order_by(*in_order).limit(EXAMINED if others else COUNT).subquery("leading")
    entry = select(*exception_record).where(_exception.id == leading.c.id, *others)
    page: Select[Any] = (
        select(literal_column("entry.*"))
        .select_from(passing(leading, entry))
        .order_by(*ordered([leading.c[name] for name in names], descending=descending))
        .limit(COUNT)
    )
    return Listing(Statement(page), end_of(leading, *names, descending=descending) if is_limited else None)


def _ids_of(column_filter: str) -> Statement:
    """At most `count` exceptions that have one of some values in a column, and one of `states`."""
    column = _exception[
        {"channel_ids": "channel_id", "location_ids": "location_id"}.get(column_filter, column_filter[:-1])
    ]
    values = func.unnest(parameters(column_filter, Text)).table_valued("value", name="values").render_derived()
    states = func.unnest(parameters("states", Text)).table_valued("state", name="states").render_derived()
    count = parameter("count", Integer)
    entries = (
        select(_exception.id)
        .where(column == values.c.value, _exception.state == states.c.state)
        .limit(count)
        .lateral("entries")
    )
    return Statement(select(entries).select_from(values.join(states, true()).join(entries, true())).limit(count))


_FIND = {name: _ids_of(name) for name in _COLUMNS}
_FIND_OF_ORDERS = Statement(
    select(_exception.id)
    .where(_exception.allocation_id == any_of("order_ids", Uuid))
    .limit(parameter("count", Integer))
)
_REPORTED = Statement(
    select(_exception.id)
    .where(
        _exception.reported_order_id == parameter("order_id", Text),
        _exception.channel_id == parameter("channel_id", Text),
    )
    .limit(parameter("count", Integer))
)

_REPORTED_PART = Statement(select(_exception.id).where(_is_reported).limit(parameter("count", Integer)))


async def page(connection: Connection, query: ExceptionsPage) -> tuple[list[asyncpg.Record], tuple[Any, ...] | None]:
    """The exceptions of a page in order, and the position of the next page; None after the last one."""
    # Only open exceptions can be overdue.
    if query.overdue_only and query.states and "open" not in query.states:
        return [], None
    of_order = await _of_order(connection, query)
    due, descending = query.order_by == order_pb2.LIST_ORDER_DUE, query.order_by == order_pb2.LIST_ORDER_NEWEST
    filters, values = await _filters(connection, of_order)
    first_id, last_id = ids_between(*query.created)
    start = (limits.EARLIEST, FIRST_ID) if due else (last_id if descending else first_id,)
    return await _listing(filters, due=due, descending=descending).page_after(
        connection,
        query.count,
        query.after or start,
        ("due_time", "id") if due else ("id",),
        **values,
        end_id=first_id if descending else last_id,
    )


async def counts(connection: Connection, query: ExceptionsPage) -> tuple[list[asyncpg.Record], bool]:
    """The open exceptions that pass the filters by owner and kind, most first, and whether not all were counted."""
    of_order = await _of_order(connection, replace(query, states=["open"]))
    filters, values = await _filters(connection, of_order)
    rows = await _counting(filters).rows(connection, **values, count=limits.COUNTED_EXCEPTIONS)
    more = await _MORE_OPEN.row(connection, count=limits.COUNTED_EXCEPTIONS)
    is_partial = more is not None and not filters & {_FEW, _OF_ORDERS}
    return rows, is_partial


_MORE_OPEN = Statement(
    select(_exception.id)
    .where(_IS_OPEN)
    .order_by(_exception.due_time, _exception.id)
    .offset(parameter("count", Integer))
    .limit(literal_column("1"))
)


@cache
def _counting(filters: frozenset[str]) -> Statement:
    """Counts open exceptions with these filters, at most `count` of them, those that are due first."""
    led: Select[Any]
    if filters & {_FEW, _OF_ORDERS}:
        column, name = (_exception.id, "ids") if _FEW in filters else (_exception.allocation_id, _OF_ORDERS)
        led = select(_exception.id).where(column == any_of(name, Uuid), _IS_OPEN)
    else:
        in_order = (_exception.due_time, _exception.id)
        led = select(_exception.id).where(_IS_OPEN).order_by(*in_order).limit(parameter("count", Integer))
    leading = led.subquery("leading")
    open_count = func.count()
    is_overdue = _exception.due_time <= func.statement_timestamp()
    return Statement(
        select(
            _exception.owner,
            _exception.kind,
            open_count.label("open_count"),
            open_count.filter(is_overdue).label("overdue_count"),
        )
        .select_from(leading.join(exception, _exception.id == leading.c.id))
        .where(*(_CONDITIONS[name] for name in sorted(filters & _CONDITIONS.keys())))
        .group_by(_exception.owner, _exception.kind)
        .order_by(open_count.desc(), _exception.owner, _exception.kind)
    )


async def _of_order(connection: Connection, query: ExceptionsPage) -> ExceptionsPage:
    """The query with the id of its order, if it names one that has arrived."""
    if query.order is None:
        return query
    return replace(query, allocation_id=await order_store.find(connection, *query.order))


async def _filters(connection: Connection, query: ExceptionsPage) -> tuple[frozenset[str], dict[str, Any]]:
    """The filters of a query, and the values of their parameters."""
    states = ["open"] if query.overdue_only else sorted(set(query.states)) or sorted(EXCEPTION_STATES)
    orders = OrderFilter(skus=query.skus, number_part=query.number_part)
    values: dict[str, Any] = {
        **orders.values,
        **{name: getattr(query, name) for name in (*_COLUMNS, "resolutions", "unassigned_only")},
        "states": states,
        "created_from": query.created[0] or limits.EARLIEST,
        "created_before": query.created[1] or limits.LATEST,
        "updated_from": query.updated[0] or limits.EARLIEST,
        "updated_before": query.updated[1] or limits.LATEST,
    }
    names = {name for name in (*_COLUMNS, "resolutions", "unassigned_only", "number_part") if getattr(query, name)}
    names |= {name for name in ("created", "updated") if any(getattr(query, name))}
    if states == ["open"]:
        names.add(_OVERDUE_ONLY if query.overdue_only else _OPEN_ONLY)
    elif query.states:
        names.add("states")
    if query.allocation_id:
        # An order has few exceptions.
        return frozenset(names | {_OF_ORDERS}), {**values, _OF_ORDERS: [query.allocation_id]}
    if query.order:
        # One that has not arrived: adapters may have reported failures about it.
        channel_id, order_id = query.order
        reported = await _REPORTED.rows(connection, channel_id=channel_id, order_id=order_id, count=limits.EXAMINED)
        return frozenset(names | {_FEW}), {**values, "ids": [row["id"] for row in reported]}
    few = await _few(connection, query, orders, values)
    return (frozenset(names), values) if few is None else (frozenset(names | {_FEW}), {**values, "ids": few})


async def _few(
    connection: Connection, query: ExceptionsPage, orders: OrderFilter, values: Mapping[str, Any]
) -> list[UUID] | None:
    """The ids of all exceptions that pass one of the filters, if these are few; None if not."""
    of_number = await few_orders(connection, OrderFilter(number_part=orders.number_part))
    if of_number is not None:
        of_orders = await _at_most(connection, _FIND_OF_ORDERS, {"order_ids": of_number})
        reported = await _at_most(connection, _REPORTED_PART, values)
        return None if of_orders is None or reported is None else sorted({*of_orders, *reported})
    for name in [name for name in _COLUMNS if getattr(query, name)]:
        found = await _at_most(connection, _FIND[name], values)
        if found is None:
            continue
        if name != "skus":
            return found
        # An exception about several products of its order names none of them.
        of_skus = await few_orders(connection, OrderFilter(skus=query.skus))
        of_orders = None if of_skus is None else await _at_most(connection, _FIND_OF_ORDERS, {"order_ids": of_skus})
        if of_orders is not None:
            return sorted({*found, *of_orders})
    return None


async def _at_most(connection: Connection, statement: Statement, values: Mapping[str, Any]) -> list[UUID] | None:
    """The ids that a statement finds, if they are at most `limits.EXAMINED`; None if there are more."""
    rows = await statement.rows(connection, **values, count=limits.EXAMINED + 1)
    return sorted({row["id"] for row in rows}) if len(rows) <= limits.EXAMINED else None
