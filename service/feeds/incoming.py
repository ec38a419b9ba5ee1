"""Incoming units of announced deliveries, in PostgreSQL. Changed only under the lock of the level that they go to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import Integer, Text, delete, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from service.database.database import Columns, Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, stock_incoming
from service.feeds.change_processing import DeliveryArrival
from service.feeds.stock_change import ReportedIncoming, StockChange

Key = tuple[str, str, str, str]
"""(SKU, location id, reference, source)."""
Deliveries = dict[Key, tuple[int, datetime | None]]
"""(incoming units, expected time) by key."""

_incoming = stock_incoming.c
_READ = Statement(
    select(stock_incoming).where(
        _incoming.sku == any_of("skus", Text),
        _incoming.location_id == any_of("location_ids", Text),
        _incoming.reference == any_of("references", Text),
    )
)
_DELIVERY: Columns = {
    "sku": Text,
    "location_id": Text,
    "reference": Text,
    "source": Text,
    "unit_count": Integer,
    "expect_time": Moment,
}
_delivery = unnested("delivery", **_DELIVERY)
_insert = insert(stock_incoming).from_select(
    [*_DELIVERY, "ingest_time"],
    select(*(_delivery.c[name] for name in _DELIVERY), parameter("now", Moment)).where(
        _delivery.c.unit_count > literal_column("0")
    ),
)
_STORE = Statement(
    _insert.on_conflict_do_update(
        index_elements=["source", "reference", "sku", "location_id"],
        set_={name: _insert.excluded[name] for name in ("unit_count", "expect_time", "ingest_time")},
    )
)
_DELETE_COMPLETE = Statement(
    delete(stock_incoming).where(
        *(_incoming[name] == _delivery.c[name] for name in ("sku", "location_id", "reference", "source")),
        _delivery.c.unit_count == literal_column("0"),
    )
)


async def write(
    connection: Connection, now: datetime, deliveries: Sequence[DeliveryArrival | tuple[StockChange, ReportedIncoming]]
) -> None:
    """Stores announced deliveries and subtracts arrivals from them, in the given order."""
    if not deliveries:
        return
    before = await _read(connection, deliveries)
    after: Deliveries = dict(before)
    for delivery in deliveries:
        if isinstance(delivery, DeliveryArrival):
            _subtract_arrival(after, delivery)
        else:
            change, incoming = delivery
            after[*change.key, incoming.reference, change.source] = (incoming.units, incoming.expect_time)
    rows = [(*key, *entry) for key, entry in sorted(after.items()) if before.get(key) != entry]
    if rows:
        values = transposed(list(_DELIVERY), rows)
        await _STORE.run(connection, now=now, **values)
        await _DELETE_COMPLETE.run(connection, **values)


def _subtract_arrival(deliveries: Deliveries, arrival: DeliveryArrival) -> None:
    """Subtracts units from their delivery, never below 0: first from announcements of the same source."""
    delivery_key = (*arrival.change.key, arrival.reference)
    remaining = arrival.units
    for key in sorted(
        (k for k in deliveries if k[:3] == delivery_key), key=lambda k: (k[3] != arrival.change.source, k)
    ):
        units, expect_time = deliveries[key]
        arrived = min(remaining, units)
        deliveries[key] = (units - arrived, expect_time)
        remaining -= arrived


async def _read(
    connection: Connection, deliveries: Iterable[DeliveryArrival | tuple[StockChange, ReportedIncoming]]
) -> Deliveries:
    delivery_keys = [
        (*delivery.change.key, delivery.reference)
        if isinstance(delivery, DeliveryArrival)
        else (*delivery[0].key, delivery[1].reference)
        for delivery in deliveries
    ]
    skus, location_ids, references = (sorted(set(column)) for column in zip(*delivery_keys, strict=True))
    rows = await _READ.rows(connection, skus=skus, location_ids=location_ids, references=references)
    return {
        (r["sku"], r["location_id"], r["reference"], r["source"]): (r["unit_count"], r["expect_time"]) for r in rows
    }
