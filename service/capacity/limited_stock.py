"""Opens the book of stock with what is taken of its locations' capacity, in one statement."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import Select, Text, exists, func, literal_column, null, select, union_all

from service.capacity import capacity_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection, Statement, any_of
from service.database.tables import allocation, capacity_use, shipment
from service.stock import levels
from service.stock.stock_book import Book

_PERIOD = "period_location"
_use = capacity_use.c
_moment = select(func.clock_timestamp().label("now")).cte("moment")
_now = select(_moment.c.now).scalar_subquery()
# Somewhere it is still yesterday, and the session's own date may be a day ahead.
_first_day = func.current_date() - literal_column("2")
_levels = levels.levels_at(_moment)
_any_expired = exists().where(allocation.c.state == literal_column("'held'"), allocation.c.expire_time <= _moment.c.now)
_used = select(_use.location_id, _use.day, _use.hour, _use.order_count, _use.unit_count).where(
    _use.location_id == any_of("location_ids", Text), _use.day >= _first_day
)
_expired = capacity_store.expired_uses(_now).where(shipment.c.handling_day >= _first_day)


def _as_level_rows(uses: Select[Any]) -> Any:
    """Rows of uses, with the columns of levels before them, all null, and the location renamed."""
    of = uses.subquery()
    return select(
        *(null().label(column.name) for column in _levels.selected_columns),
        *(of.c.location_id.label(_PERIOD), of.c.day, of.c.hour, of.c.order_count, of.c.unit_count),
    )


_NO_USE = [null().label(name) for name in (_PERIOD, "day", "hour", "order_count", "unit_count")]
_READ = Statement(
    union_all(levels.levels_at(_moment, has_expired=_any_expired).add_columns(*_NO_USE), _as_level_rows(_used))
)
"""As if no hold had expired, and whether one has. PostgreSQL plans it for each batch, in half the time of the other."""
_READ_WITH_EXPIRED = Statement(
    union_all(_levels.add_columns(*_NO_USE), _as_level_rows(_used), _as_level_rows(_expired))
)
"""What is stored and what expired holds took of it must come from one snapshot: a sweep gives that back."""


async def open_book(
    connection: Connection, locked: levels.LockedKeys, new_id: Callable[[], UUID], catalog: Catalog
) -> Book:
    """As `levels.open_book`, and as `capacity_store.read_figures` for the locations of the locked levels.

    Where none of them states a capacity, it is the former alone.
    """
    limited_ids = catalog.limited_ids and sorted(catalog.limited_ids & {location_id for _, location_id in locked})
    if not limited_ids:
        return await levels.open_book(connection, locked, new_id)
    # After the locks, as `levels.open_book` says.
    book, uses, has_expired = await _read(_READ, connection, locked, new_id, limited_ids)
    if has_expired:
        book, uses, _ = await _read(_READ_WITH_EXPIRED, connection, locked, new_id, limited_ids)
    locations = [catalog.locations[location_id] for location_id in limited_ids]
    first, last = capacity_store.handling_range(locations, book.now)
    near = [row for row in uses if first <= row["day"] <= last]
    book.capacity.read(locations, capacity_store.figures_of(near, location=_PERIOD))
    return book


async def _read(
    statement: Statement,
    connection: Connection,
    locked: levels.LockedKeys,
    new_id: Callable[[], UUID],
    location_ids: list[str],
) -> tuple[Book, list[asyncpg.Record], bool]:
    """The book, the rows of uses, and whether any hold may have expired."""
    uses: list[asyncpg.Record] = []
    has_expired = False

    def is_use(row: asyncpg.Record) -> bool:
        nonlocal has_expired
        if row[_PERIOD] is None:
            has_expired = row["has_expired"]
            return False
        uses.append(row)
        return True

    book = await levels.read_book(statement, connection, locked, new_id, others=is_use, location_ids=location_ids)
    return book, uses, has_expired
