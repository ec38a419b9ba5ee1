"""Filters that lists of orders, shipments and exceptions share: by channel, SKU, part of the order number and status.

Few orders pass most of these filters: their ids are then found by index, and a list sorts exactly these. Where more
orders pass, the list is read in its own order, and the filter is one of its conditions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Text,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
    true,
    union_all,
)

from policies.domain.order_status import OrderStatus
from service import limits
from service.database.database import Connection, Statement, any_of, parameter, parameters
from service.database.tables import (
    IS_ON_HOLD,
    IS_OPEN,
    allocation,
    allocation_copy,
    order_line,
    promise,
    shipment,
    shortage,
)

CLOCK_SLACK = timedelta(minutes=1)
"""How much the time in the id of an order and its create time may differ: the id is made before locks are awaited."""
FIRST_ID, LAST_ID = UUID(int=0), UUID(int=(1 << 128) - 1)
"""Before and after all ids."""

_order, _line, _copy = allocation.c, order_line.c, allocation_copy.c
_COUNT: ColumnElement[Any] = parameter("count", Integer)
_PART: ColumnElement[Any] = parameter("number_part", Text)
_PATTERNS = [parameter(name, Text) for name in ("beginning_pattern", "end_pattern", "middle_pattern")]
_AFTER_ALL: ColumnElement[Any] = literal_column("U&'\\+10FFFF'", Text)
"""The last character there is: what begins with a text is not after the text with this character."""


@dataclass(frozen=True, slots=True)
class OrderFilter:
    """Which orders to list, or the shipments or exceptions of which orders; empty values do not filter."""

    channel_ids: Sequence[str] = ()
    skus: Sequence[str] = ()
    number_part: str = ""

    @property
    def values(self) -> dict[str, Any]:
        """The values of the statements' parameters."""
        return {
            "channel_ids": sorted(set(self.channel_ids)),
            "skus": sorted(set(self.skus)),
            "number_part": self.number_part,
            **self._patterns,
        }

    @property
    def _patterns(self) -> dict[str, str]:
        """The patterns of LIKE that an order number matches one of. A short part is not looked for in the middle."""
        escaped = "".join(f"\\{character}" if character in "\\%_" else character for character in self.number_part)
        is_long = len(self.number_part) >= limits.ORDER_NUMBER_MIDDLE
        return {
            "beginning_pattern": f"{escaped}%",
            "end_pattern": f"%{escaped}",
            "middle_pattern": f"%{escaped}%" if is_long else f"{escaped}%",
        }


def has_sku(allocation_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether the order has a line of one of `skus`, or a component of a kit with such a SKU."""
    is_of_skus = (_line.sku == any_of("skus", Text)) | (_line.kit_sku == any_of("skus", Text))
    return exists().where(_line.allocation_id == allocation_id, is_of_skus)


def is_of_number(number: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether an order number begins or ends with `number_part`, or contains it if it is long."""
    return or_(*(number.ilike(pattern) for pattern in _PATTERNS))


def has_number_part() -> ColumnElement[bool]:
    """Whether the number of an order, or of a copy of it, is one with `number_part`."""
    of_copy = exists().where(_copy.allocation_id == _order.id, is_of_number(_copy.order_id))
    return is_of_number(_order.order_id) | of_copy


def _of_each(values: str, column: ColumnElement[Any], of_value: Select[Any]) -> Select[Any]:
    """At most `count` order ids, of each of some values in the order of an index."""
    groups = func.unnest(parameters(values, Text)).table_valued("value", name=values).render_derived()
    entries = of_value.where(column == groups.c.value).limit(_COUNT).lateral("entries")
    return select(entries).select_from(groups.join(entries, true())).limit(_COUNT)


def _of_lines(column: ColumnElement[Any]) -> Select[Any]:
    id = _line.allocation_id
    return _of_each("skus", column, select(id.label("id")).order_by(column, id))


_OF_SKUS = Statement(
    select(
        union_all(*(select(_of_lines(column).subquery()) for column in (_line.sku, _line.kit_sku))).subquery("of_skus")
    )
)
_OF_CHANNELS = Statement(
    _of_each(
        "channel_ids",
        _order.channel_id,
        select(_order.id).order_by(_order.channel_id, _order.state, _order.id),
    )
)


def _of_number(id: ColumnElement[Any], number: ColumnElement[Any]) -> list[Select[Any]]:
    """The orders whose number begins, or ends, with the part: each by an index of the numbers in lower case.

    Not by LIKE: PostgreSQL looks a pattern up in an index only where it plans the statement for that very pattern.
    """
    part, found = func.lower(_PART), []
    for key, first in ((func.lower(number), part), (func.reverse(func.lower(number)), func.reverse(part))):
        # These operators compare by characters, as the indexes do, whatever the collation of the database is.
        from_first, to_last = key.bool_op("~>=~")(first), key.bool_op("~<=~")(func.concat(first, _AFTER_ALL))
        found.append(select(id.label("id")).where(from_first, to_last).limit(_COUNT))
    return found


_OF_NUMBER = Statement(
    union_all(
        *(select(x.subquery()) for x in _of_number(_order.id, _order.order_id)),
        *(select(x.subquery()) for x in _of_number(_copy.allocation_id, _copy.order_id)),
    )
)
_newest = (
    select(_order.id, _order.order_id)
    .order_by(_order.id.desc())
    .limit(parameter("searched", Integer))
    .subquery("newest")
)
_WITH_NUMBER = Statement(select(_newest.c.id).where(is_of_number(_newest.c.order_id)).limit(_COUNT))


_OPEN = Statement(select(shipment.c.allocation_id.label("id")).where(IS_OPEN).limit(_COUNT))


async def few_open_orders(connection: Connection) -> list[UUID] | None:
    """The ids of all orders with open shipments, if there are at most `limits.EXAMINED` of these; None if not."""
    rows = await _OPEN.rows(connection, count=limits.EXAMINED + 1)
    return sorted({row["id"] for row in rows}) if len(rows) <= limits.EXAMINED else None


async def few_orders(connection: Connection, orders: OrderFilter) -> list[UUID] | None:
    """The ids of all orders that pass one of the filters, if these are at most `limits.EXAMINED`; None if not.

    They may not pass the others.
    """
    values = {**orders.values, "count": limits.EXAMINED + 1}
    statements = []
    if orders.number_part:
        of_number = await _few_of_number(connection, orders)
        if of_number is not None:
            return of_number
    if orders.skus:
        statements.append(_OF_SKUS)
    if orders.channel_ids:
        statements.append(_OF_CHANNELS)
    for statement in statements:
        rows = await statement.rows(connection, **values)
        if len(rows) <= limits.EXAMINED:
            return sorted({row["id"] for row in rows})
    return None


async def _few_of_number(connection: Connection, orders: OrderFilter) -> list[UUID] | None:
    """The ids of orders by a part of their number, if they are few: of a long part also the newest that contain it."""
    values = {**orders.values, "count": limits.EXAMINED + 1}
    rows = await _OF_NUMBER.rows(connection, **values)
    if len(orders.number_part) >= limits.ORDER_NUMBER_MIDDLE and len(rows) <= limits.EXAMINED:
        rows += await _WITH_NUMBER.rows(connection, searched=limits.NUMBERS_SEARCHED, **values)
    ids = {row["id"] for row in rows}
    return sorted(ids) if len(ids) <= limits.EXAMINED else None


def ids_between(start: datetime | None, end: datetime | None) -> tuple[UUID, UUID]:
    """Bounds of the ids of what was created in a time, both excluded, or at most CLOCK_SLACK outside of it."""
    first = FIRST_ID if start is None else _id_at(start, -CLOCK_SLACK)
    return first, LAST_ID if end is None else _id_at(end, CLOCK_SLACK)


def _id_at(time: datetime, shift: timedelta) -> UUID:
    """The first UUIDv7 of a time that is shifted, also beyond the years that a datetime has."""
    milliseconds = int((time.timestamp() + shift.total_seconds()) * 1000)
    return UUID(int=min(max(0, milliseconds), (1 << 48) - 1) << 80)


# The same as `policies.domain.order_status`, of stored rows; `has_expired` is by the clock.
def status_of_order(has_expired: ColumnElement[bool]) -> ColumnElement[Any]:
    """The status of an order, one of OrderStatus."""

    def any_line(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(_line.allocation_id == _order.id, *conditions).correlate(allocation)

    def any_promise(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(promise.c.allocation_id == _order.id, *conditions).correlate(allocation)

    def any_shortage(*, backordered: bool) -> ColumnElement[bool]:
        flag = shortage.c.backordered if backordered else ~shortage.c.backordered
        return exists().where(shortage.c.allocation_id == _order.id, flag).correlate(allocation)

    def any_shipment(states: Iterable[str], units: ColumnElement[bool], *, among: bool) -> ColumnElement[bool]:
        words = [_text(state) for state in states]
        is_among = shipment.c.state.in_(words) if among else shipment.c.state.not_in(words)
        has_units = exists().where(promise.c.shipment_id == shipment.c.id, units).correlate(shipment)
        return exists().where(shipment.c.allocation_id == _order.id, is_among, has_units).correlate(allocation)

    has_units, has_shipped = promise.c.unit_count > _ZERO, promise.c.shipped > _ZERO
    promised, shipped = any_promise(has_units), any_promise(has_shipped)
    short, backordered = any_shortage(backordered=False), any_shortage(backordered=True)
    is_cancelled = any_line() & ~any_line(_line.cancelled < _line.unit_count)
    is_started = any_shipment(("accepted", "ready_for_pickup"), has_units, among=True)
    after_shipping = case(
        (promised | backordered, _text(OrderStatus.PARTLY_SHIPPED)),
        (~any_promise(promise.c.returned < promise.c.shipped), _text(OrderStatus.RETURNED)),
        (~any_shipment(("delivered", "collected"), has_shipped, among=False), _text(OrderStatus.DELIVERED)),
        else_=_text(OrderStatus.SHIPPED),
    )
    return case(
        (is_cancelled, _text(OrderStatus.CANCELLED)),
        (has_expired, _text(OrderStatus.NOT_PROMISED)),
        (_order.state == _text("held"), _text(OrderStatus.PLACED)),
        (_order.state == _text("cancelled"), _text(OrderStatus.CANCELLED)),
        (_order.state != _text("confirmed"), _text(OrderStatus.NOT_PROMISED)),
        (IS_ON_HOLD & (promised | short | backordered), _text(OrderStatus.ON_HOLD)),
        ((_order.outcome == _text("needs_review")) & promised & ~shipped, _text(OrderStatus.IN_REVIEW)),
        (short, _text(OrderStatus.EXCEPTION)),
        (shipped, after_shipping),
        (backordered, _text(OrderStatus.BACKORDERED)),
        (is_started, _text(OrderStatus.IN_PROGRESS)),
        else_=_text(OrderStatus.READY_TO_FULFILL),
    )


_ZERO: ColumnElement[Any] = literal_column("0")


def _text(word: str) -> ColumnElement[Any]:
    return literal_column(f"'{word}'", Text)
