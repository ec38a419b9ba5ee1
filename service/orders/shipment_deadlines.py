"""Whether locations kept the times of their shipments: one row for each shipment and time, written when it is decided.

The first row stands, whatever happens to the shipment later, so a shipment counts once in metrics and reports alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Integer, Text, Uuid, cast, func, literal_column, select, true
from sqlalchemy.dialects.postgresql import insert

from service.database.database import Columns, Connection, Statement, parameter, transposed, unnested
from service.database.tables import Moment, allocation, order_line, promise, shipment_deadline
from service.metrics import IN_TIME, LATE, SHIP_BY, Metrics


@dataclass(frozen=True, slots=True)
class ShipmentDeadline:
    """Whether one shipment kept one time; `deadline` is SHIP_BY or DELIVERY_DAY."""

    shipment_id: UUID
    deadline: str
    channel_id: str
    location_id: str
    is_kept: bool

    @property
    def result(self) -> str:
        """IN_TIME or LATE."""
        return IN_TIME if self.is_kept else LATE


_COLUMNS: Columns = {
    "shipment_id": Uuid,
    "deadline": Text,
    "result": Text,
    "channel_id": Text,
    "location_id": Text,
}
_rows = unnested("deadlines", **_COLUMNS)
_units = promise.c.unit_count + promise.c.shipped + promise.c.rejected
# As `unit_values` has it: a component of a kit has no price of its own.
_unit_price = order_line.c.unit_price / func.coalesce(order_line.c.item_units, literal_column("1"))
_is_priced = (
    allocation.c.currency.is_not(None) & order_line.c.unit_price.is_not(None) & order_line.c.kit_line_id.is_(None)
)


_late = (
    select(
        cast(func.sum(_units), Integer).label("unit_count"),
        cast(func.sum(_units).filter(_is_priced), Integer).label("priced_units"),
        func.round(func.sum(_units * _unit_price).filter(_is_priced), literal_column("4")).label("value"),
        func.min(allocation.c.currency).filter(_is_priced).label("currency"),
    )
    .select_from(
        promise.join(allocation, allocation.c.id == promise.c.allocation_id).join(
            order_line,
            (order_line.c.allocation_id == promise.c.allocation_id) & (order_line.c.line_id == promise.c.line_id),
        )
    )
    .where(
        promise.c.shipment_id == _rows.c.shipment_id,
        _rows.c.result == literal_column(f"'{LATE}'"),
        _rows.c.deadline == literal_column(f"'{SHIP_BY}'"),
    )
    .lateral("late")
)
"""What shipments that were to leave by now were worth, in units and as far as their lines state a price."""
_LATE_COLUMNS = ("unit_count", "priced_units", "value", "currency")
_RECORD = Statement(
    insert(shipment_deadline)
    .from_select(
        [*_COLUMNS, "count_time", *_LATE_COLUMNS],
        select(
            *(_rows.c[name] for name in _COLUMNS),
            parameter("now", Moment),
            *(_late.c[name] for name in _LATE_COLUMNS),
        )
        .select_from(_rows.outerjoin(_late, true()))
        .order_by(_rows.c.shipment_id, _rows.c.deadline),
    )
    .on_conflict_do_nothing()
    .returning(shipment_deadline.c.shipment_id, shipment_deadline.c.deadline)
)


async def record(
    connection: Connection, now: datetime, deadlines: Iterable[ShipmentDeadline]
) -> list[ShipmentDeadline]:
    """Writes which times were kept and missed; returns those that were not decided before, to be counted.

    The caller has locked the orders of the shipments.
    """
    by_key = {(x.shipment_id, x.deadline): x for x in deadlines}
    rows = [(x.shipment_id, x.deadline, x.result, x.channel_id, x.location_id) for x in by_key.values()]
    if not rows:
        return []
    written = await _RECORD.rows(connection, now=now, **transposed(list(_COLUMNS), rows))
    return [by_key[row["shipment_id"], row["deadline"]] for row in written]


def count(metrics: Metrics, deadlines: Iterable[ShipmentDeadline]) -> None:
    """Counts times that were just decided; to be called after the commit."""
    for due in deadlines:
        metrics.shipments.due.labels(due.location_id, due.deadline, due.result).inc()
        metrics.shipments.channel_due.labels(due.channel_id, due.deadline, due.result).inc()
