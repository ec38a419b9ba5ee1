"""Reads what is taken of the locations' capacity, and writes what one transaction takes and gives back.

Figures are read without locks. Rows are locked only when they are written, after orders and stock and sorted by
location, day and hour, so that nothing deadlocks. A transaction that finds more taken than it has read begins again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import (
    ColumnElement,
    Date,
    Integer,
    Select,
    Text,
    delete,
    func,
    literal_column,
    select,
    union_all,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from policies.domain.capacity import (
    MAX_DAYS_AHEAD,
    NOTHING_USED,
    Capacity,
    CapacityFigures,
    CapacityPeriod,
    CapacityUse,
)
from policies.domain.handling_times import HandlingTime, first_handling_time
from policies.domain.model import Location
from service.catalog.catalog_store import Catalog
from service.database.database import Connection, RowsBusy, Statement, any_of, parameter, transposed, unnested
from service.database.tables import Moment, allocation, capacity_use, shipment
from service.stock.capacity_ledger import CapacityLedger, ShipmentUse
from service.stock.stock_book import Book

_KEY = {"location_id": Text, "day": Date, "hour": Integer}
_use = capacity_use.c
_days = _use.day.between(parameter("first", Date), parameter("last", Date))
_USED = select(_use.location_id, _use.day, _use.hour, _use.order_count, _use.unit_count).where(
    _use.location_id == any_of("location_ids", Text), _days
)


def expired_uses(now: ColumnElement[Any]) -> Select[Any]:
    """What holds that have expired took, without a number of orders: at the locations of the parameter `location_ids`.

    A hold ends at its expire_time, whether or not the sweeper has given back what it took.
    """
    return (
        select(
            shipment.c.location_id,
            shipment.c.handling_day.label("day"),
            shipment.c.handling_hour.label("hour"),
            literal_column("NULL::integer").label("order_count"),
            shipment.c.handling_units.label("unit_count"),
        )
        .select_from(allocation.join(shipment, shipment.c.allocation_id == allocation.c.id))
        .where(
            allocation.c.state == literal_column("'held'"),
            allocation.c.expire_time <= now,
            shipment.c.location_id == any_of("location_ids", Text),
        )
    )


_READ = Statement(
    union_all(
        _USED,
        expired_uses(parameter("now", Moment)).where(
            shipment.c.handling_day.between(parameter("first", Date), parameter("last", Date))
        ),
    )
)

_locked = unnested("locked", **_KEY)
_LOCK = Statement(
    insert(capacity_use)
    .from_select(
        [*_KEY, "order_count", "unit_count"],
        select(
            *(_locked.c[name] for name in _KEY),
            literal_column("0"),
            literal_column("0"),
        ).order_by(*(_locked.c[name] for name in _KEY)),
    )
    # An update locks a row that exists; DO NOTHING would not.
    .on_conflict_do_update(index_elements=list(_KEY), set_={"order_count": _use.order_count})
)
_delta = unnested("delta", **_KEY, orders=Integer, units=Integer)
# Of a day whose figures were deleted nothing is left to give back.
_CHANGE = Statement(
    update(capacity_use)
    .values(
        order_count=func.greatest(_use.order_count + _delta.c.orders, literal_column("0")),
        unit_count=func.greatest(_use.unit_count + _delta.c.units, literal_column("0")),
    )
    .where(*(_use[name] == _delta.c[name] for name in _KEY))
    .returning(*(_use[name] for name in (*_KEY, "order_count", "unit_count")))
)
_taken = unnested("taken", **_KEY, orders=Integer, units=Integer)
_take = insert(capacity_use).from_select(
    [*_KEY, "order_count", "unit_count"],
    select(*_taken.c).order_by(*(_taken.c[name] for name in _KEY)),
)
TAKEN_COLUMNS = (*_KEY, "order_count", "unit_count")
TAKE = (
    _take.on_conflict_do_update(
        index_elements=list(_KEY),
        set_={
            "order_count": _use.order_count + _take.excluded.order_count,
            "unit_count": _use.unit_count + _take.excluded.unit_count,
        },
    )
).returning(*(_use[name] for name in TAKEN_COLUMNS))
"""Adds to what is taken, by the parameters of `takings`; returns TAKEN_COLUMNS of what is taken then."""
_TAKE = Statement(TAKE)
_TAKEN = Statement(
    select(*(_use[name] for name in TAKEN_COLUMNS))
    .where(_use.location_id == any_of("location_ids", Text), _use.day >= parameter("first", Date), _use.order_count > 0)
    .order_by(*(_use[name] for name in _KEY))
)
KEPT_DAYS = 31
"""Past days whose figures are kept."""
_PASSED = Statement(delete(capacity_use).where(_use.day < func.current_date() - parameter("days", Integer)))


Changes = Mapping[CapacityPeriod, CapacityUse]
"""By how much a transaction changes what is taken."""


class CapacityTaken(RowsBusy):
    """Others have taken what this transaction meant to take; the next attempt reads what is left."""

    def __init__(self, period: CapacityPeriod) -> None:
        super().__init__(())
        self.period = period


async def read_figures(connection: Connection, book: Book, catalog: Catalog) -> None:
    """Reads what is taken at the locations of the book that state a capacity, unless that was read already."""
    if not catalog.limited_ids:
        return
    ledger, now = book.capacity, book.now
    ids = catalog.limited_ids.intersection(location_id for _, location_id in book.levels).difference(ledger.locations)
    missing = [catalog.locations[id] for id in ids]
    if missing:
        ledger.read(missing, await _figures(connection, missing, now))


async def current_figures(connection: Connection, catalog: Catalog, now: datetime) -> CapacityFigures | None:
    """What is taken at all locations that state a capacity; None if none does."""
    if not catalog.limited_ids:
        return None
    limited = [catalog.locations[location_id] for location_id in sorted(catalog.limited_ids)]
    return CapacityFigures(await _figures(connection, limited, now))


async def write_changes(connection: Connection, ledger: CapacityLedger, changes: Changes, now: datetime) -> None:
    """Takes and gives back what the orders of the transaction changed: `CapacityLedger.changes`.

    Raises CapacityTaken if a location would then have taken more than it can handle.
    """
    if not changes:
        return
    values = _values_of(changes)
    gives_back = _gives_back(changes)
    if gives_back:
        await _LOCK.run(connection, **{name: values[name] for name in _KEY})
    stored = await (_CHANGE if gives_back else _TAKE).rows(connection, **values)
    await check_taken(connection, ledger, changes, stored, now)


def takings(changes: Changes) -> dict[str, list[Any]] | None:
    """The parameters of TAKE for `CapacityLedger.changes` that take and give nothing back; None for any others."""
    return None if not changes or _gives_back(changes) else _values_of(changes)


async def check_taken(
    connection: Connection, ledger: CapacityLedger, changes: Changes, stored: Iterable[asyncpg.Record], now: datetime
) -> None:
    """Checks what is taken after the changes, in rows of TAKEN_COLUMNS, of what the transaction took.

    Raises CapacityTaken if that is more than a location can handle.
    """
    locations = ledger.locations
    taken = {_period(row): CapacityUse(row["order_count"], row["unit_count"]) for row in stored}
    rising = [period for period, change in changes.items() if max(change) > 0]
    over = [x for x in rising if _exceeds(locations.get(x.location_id), x, taken[x])]
    if not over:
        return
    # The counts include holds that have expired and that no sweep has released yet.
    live = await _figures(connection, [locations[x.location_id] for x in over], now)
    for period in over:
        if _exceeds(locations.get(period.location_id), period, live.get(period, NOTHING_USED)):
            raise CapacityTaken(period)


async def taken_from(connection: Connection, location_ids: Iterable[str], first: date) -> list[asyncpg.Record]:
    """What is taken of each period from a day on, by location, day and hour."""
    return await _TAKEN.rows(connection, location_ids=list(location_ids), first=first)


async def delete_passed(connection: Connection) -> None:
    """Deletes the figures of days long past: nothing reads them."""
    await _PASSED.run(connection, days=KEPT_DAYS)


async def _figures(
    connection: Connection, locations: Iterable[Location], now: datetime
) -> dict[CapacityPeriod, CapacityUse]:
    known = list(locations)
    first, last = handling_range(known, now)
    rows = await _READ.rows(connection, location_ids=[x.id for x in known], first=first, last=last, now=now)
    return figures_of(rows)


def handling_range(locations: Iterable[Location], now: datetime) -> tuple[date, date]:
    """The first and the last day on which one of the locations could handle an order received now."""
    days = [first.day for x in locations if (first := first_handling_time(x, now)) is not None] or [now.date()]
    return min(days), max(days) + timedelta(days=MAX_DAYS_AHEAD)


def figures_of(rows: Iterable[asyncpg.Record], location: str = "location_id") -> dict[CapacityPeriod, CapacityUse]:
    """What is taken of each period, from rows of what is taken and of `expired_uses`; the column of the location."""
    figures: dict[CapacityPeriod, CapacityUse] = {}
    for row in rows:
        if row["order_count"] is not None:
            period = CapacityPeriod(row[location], row["day"], row["hour"])
            _add(figures, period, row["order_count"], row["unit_count"])
            continue
        use = ShipmentUse(row[location], HandlingTime(row["day"], row["hour"]), row["unit_count"])
        for period in use.periods():
            _add(figures, period, -1, -use.unit_count)
    return figures


def _values_of(changes: Mapping[CapacityPeriod, CapacityUse]) -> dict[str, list[Any]]:
    return transposed([*_KEY, "orders", "units"], [(*period, *use) for period, use in changes.items()])


def _gives_back(changes: Mapping[CapacityPeriod, CapacityUse]) -> bool:
    return any(min(use) < 0 for use in changes.values())


def _add(figures: dict[CapacityPeriod, CapacityUse], period: CapacityPeriod, orders: int, units: int) -> None:
    before = figures.get(period, NOTHING_USED)
    figures[period] = CapacityUse(before.order_count + orders, before.unit_count + units)


def _period(row: asyncpg.Record) -> CapacityPeriod:
    return CapacityPeriod(row["location_id"], row["day"], row["hour"])


def _exceeds(location: Location | None, period: CapacityPeriod, use: CapacityUse) -> bool:
    if location is None or location.capacity is None:
        return False
    orders, units = _limits(location.capacity, period)
    return (orders is not None and use.order_count > orders) or (units is not None and use.unit_count > units)


def _limits(capacity: Capacity, period: CapacityPeriod) -> tuple[int | None, int | None]:
    if period.is_hour:
        return capacity.orders_per_hour, capacity.units_per_hour
    return capacity.orders_per_day, capacity.units_per_day
