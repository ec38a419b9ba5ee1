"""Stock levels and their movements in PostgreSQL: lock, read, write, always in the order of (SKU, location)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ColumnElement,
    Integer,
    Select,
    Text,
    Uuid,
    exists,
    func,
    insert,
    literal_column,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.domain.model import StockLevel
from service.database.database import (
    NEEDED,
    Columns,
    Connection,
    Statement,
    any_of,
    parameter,
    parameters,
    transposed,
    unnested,
)
from service.database.tables import Moment, order_line, promise, shortage, stock_level, stock_movement
from service.stock import unavailable_units
from service.stock.stock_book import Book, Key, PromisedUnits

_level = stock_level.c

# Constants, not parameters: a partial index serves only a statement that states its condition.
_HELD: ColumnElement[Any] = literal_column("'held'")
_ZERO: ColumnElement[Any] = literal_column("0")

_LOCK = Statement(
    select(_level.sku, _level.location_id)
    .where(_level.sku == any_of("skus", Text))
    .order_by(_level.sku, _level.location_id)
    .with_for_update(key_share=True)
)
_SKUS_NEEDED = Statement(select(order_line.c.sku).where(order_line.c.allocation_id == any_of("ids", Uuid)).distinct())

# The clock comes from the same statement as the levels, and a row comes even where there is no level.
_clock = select(func.clock_timestamp().label("now")).subquery("clock")
_waits = exists().where(shortage.c.sku == _level.sku, shortage.c.backordered)
_READ = Statement(
    select(_clock.c.now, stock_level, _waits.label("waits")).select_from(
        _clock.outerjoin(stock_level, _level.sku == any_of("skus", Text), full=False)
    )
)

_EXPIRED = Statement(
    select(promise)
    .where(
        promise.c.sku == any_of("skus", Text),
        promise.c.state == _HELD,
        promise.c.unit_count > _ZERO,
        promise.c.expire_time <= parameter("now", Moment),
    )
    .order_by(promise.c.sku, promise.c.location_id, promise.c.shipment_id, promise.c.line_id)
)


def _unlocked(lapsing_skus: ColumnElement[bool]) -> Select[Any]:
    """Levels as one statement sees them, beside the units of holds that have expired by its own clock."""
    clock = select(func.statement_timestamp().label("now")).subquery("clock")
    lapsed = (
        select(promise.c.sku, promise.c.location_id, func.sum(promise.c.unit_count).label("units"))
        .where(
            lapsing_skus,
            promise.c.state == _HELD,
            promise.c.unit_count > _ZERO,
            promise.c.expire_time <= func.statement_timestamp(),
        )
        .group_by(promise.c.sku, promise.c.location_id)
        .subquery("lapsed")
    )
    joined = clock.outerjoin(stock_level, true()).outerjoin(
        lapsed, (lapsed.c.sku == _level.sku) & (lapsed.c.location_id == _level.location_id)
    )
    columns = (clock.c.now, stock_level, func.coalesce(lapsed.c.units, 0).label("lapsed_units"))
    return select(*columns).select_from(joined)


_READ_UNLOCKED = Statement(_unlocked(promise.c.sku == any_of("skus", Text)).where(_level.sku == any_of("skus", Text)))
_CLOCK = Statement(select(func.statement_timestamp().label("now")))
_PAGE = Statement(
    _unlocked(true())
    .where(
        tuple_(_level.sku, _level.location_id)
        > tuple_(parameter("after_sku", Text), parameter("after_location", Text)),
        (func.cardinality(parameters("skus", Text)) == 0) | (_level.sku == any_of("skus", Text)),
        (func.cardinality(parameters("location_ids", Text)) == 0)
        | (_level.location_id == any_of("location_ids", Text)),
    )
    .order_by(_level.sku, _level.location_id)
    .limit(parameter("count", Integer))
)

_new = unnested("new", sku=Text, location_id=Text)
_ENSURE = Statement(
    upsert(stock_level)
    .from_select(
        ["sku", "location_id"], select(_new.c.sku, _new.c.location_id).order_by(_new.c.sku, _new.c.location_id)
    )
    .on_conflict_do_nothing()
)

_delta = unnested(
    "delta", sku=Text, location_id=Text, on_hand=Integer, unavailable=Integer, held=Integer, allocated=Integer
)
_CHANGE = Statement(
    update(stock_level)
    .values(
        on_hand=_level.on_hand + _delta.c.on_hand,
        unavailable=_level.unavailable + _delta.c.unavailable,
        held=_level.held + _delta.c.held,
        allocated=_level.allocated + _delta.c.allocated,
        version=_level.version + 1,
    )
    .where(_level.sku == _delta.c.sku, _level.location_id == _delta.c.location_id)
)

_MOVEMENT: Columns = {
    "id": Uuid,
    "sku": Text,
    "location_id": Text,
    "kind": Text,
    "result": Text,
    "on_hand_delta": Integer,
    "unavailable_delta": Integer,
    "held_delta": Integer,
    "allocated_delta": Integer,
    "reported_count": Integer,
    "source": Text,
    "change_id": Text,
    "allocation_id": Uuid,
    "line_id": Text,
    "reason": Text,
    "effective_time": Moment,
}
_moved = unnested("moved", **_MOVEMENT)
_APPEND = Statement(
    insert(stock_movement).from_select(
        [*_MOVEMENT, "ingest_time"], select(*(_moved.c[name] for name in _MOVEMENT), parameter("now", Moment))
    )
)

_gone = unnested("gone", shipment_id=Uuid, line_id=Text)
_EMPTY = Statement(
    update(promise)
    .values(unit_count=0)
    .where(promise.c.shipment_id == _gone.c.shipment_id, promise.c.line_id == _gone.c.line_id)
)


async def lock(connection: Connection, skus: Iterable[str]) -> set[Key]:
    """Locks every level of these SKUs, in order, and says which. Figures are read later: by now they may be old.

    Orders that the transaction is known to need (NEEDED) need the levels of all their products.
    """
    wanted = set(skus)
    if NEEDED.get():
        wanted |= {row["sku"] for row in await _SKUS_NEEDED.rows(connection, ids=list(NEEDED.get()))}
    return {(r["sku"], r["location_id"]) for r in await _LOCK.rows(connection, skus=sorted(wanted))}


async def open_book(connection: Connection, locked: set[Key], new_id: Callable[[], UUID]) -> Book:
    """Reads the levels that are locked, with the clock taken after the locks, and gives back what has expired by it.

    A level that somebody made since is left alone: two transactions that both saw it would sell it twice.
    """
    skus = sorted({sku for sku, _ in locked})
    rows = await _READ.rows(connection, skus=skus)
    now: datetime = rows[0]["now"]
    levels = {(r["sku"], r["location_id"]): level_of(r) for r in rows if (r["sku"], r["location_id"]) in locked}
    book = Book(now, levels, new_id)
    book.backordered_skus = {r["sku"] for r in rows if r["waits"]}
    expired = await _EXPIRED.rows(connection, skus=skus, now=now)
    book.expire(promised_units(r) for r in expired if (r["sku"], r["location_id"]) in locked)
    return book


async def read(connection: Connection, skus: Iterable[str]) -> tuple[datetime, dict[Key, StockLevel]]:
    """Levels as one statement sees them, expired holds left out by its clock; for answers that promise nothing."""
    rows = await _READ_UNLOCKED.rows(connection, skus=sorted(set(skus)))
    now = rows[0]["now"] if rows else await clock(connection)
    return now, {(r["sku"], r["location_id"]): level_of(r, r["lapsed_units"]) for r in rows}


async def page(
    connection: Connection, after: Key, count: int, skus: Sequence[str], location_ids: Sequence[str]
) -> tuple[datetime, list[asyncpg.Record]]:
    """At most `count` levels behind the key `after`, in order; empty filters let everything through."""
    values = {"after_sku": after[0], "after_location": after[1], "count": count}
    rows = await _PAGE.rows(connection, skus=list(skus), location_ids=list(location_ids), **values)
    return (rows[0]["now"] if rows else await clock(connection)), rows


async def clock(connection: Connection) -> datetime:
    """The database's clock, the only one that decides."""
    rows = await _CLOCK.rows(connection)
    now: datetime = rows[0]["now"]
    return now


async def ensure(connection: Connection, keys: Iterable[Key]) -> None:
    """Makes an empty level where there is none; the product and the location must exist."""
    await _ENSURE.run(connection, **transposed(["sku", "location_id"], sorted(set(keys))))


async def write(connection: Connection, book: Book) -> None:
    """Writes what happened in a book: levels, units by reason, movements and emptied promises."""
    if not book.movements:
        return
    names = ["sku", "location_id", "on_hand", "unavailable", "held", "allocated"]
    changes = [(*key, *sums) for key, sums in book.changes().items() if any(sums)]
    if changes:
        await _CHANGE.run(connection, **transposed(names, changes))
    await unavailable_units.apply(connection, unavailable_units.changes_of(book.movements))
    await _APPEND.run(connection, now=book.now, **transposed(list(_MOVEMENT), _movement_rows(book)))
    if book.expired_promises:
        rows = [(p.shipment_id, p.line_id) for p in book.expired_promises]
        await _EMPTY.run(connection, **transposed(["shipment_id", "line_id"], rows))


def level_of(row: asyncpg.Record, lapsed_units: int = 0) -> StockLevel:
    """A row of `stock_level` in the words of `policies`, without holds that have expired."""
    return StockLevel(
        sku=row["sku"],
        location_id=row["location_id"],
        on_hand=row["on_hand"],
        unavailable=row["unavailable"],
        held=row["held"] - lapsed_units,
        allocated=row["allocated"],
        as_of_time=row["as_of_time"],
        counted_time=row["counted_time"],
        count_confidence=row["count_confidence"],
        source=row["source"],
        tracked=row["tracked"],
        physical_count_time=row["physical_count_time"],
    )


def promised_units(row: asyncpg.Record) -> PromisedUnits:
    """A row of `promise`, as far as giving it back needs."""
    return PromisedUnits(
        shipment_id=row["shipment_id"],
        line_id=row["line_id"],
        allocation_id=row["allocation_id"],
        sku=row["sku"],
        location_id=row["location_id"],
        unit_count=row["unit_count"],
    )


def _movement_rows(book: Book) -> list[tuple[object, ...]]:
    return [
        (
            m.id,
            m.sku,
            m.location_id,
            m.kind,
            m.result,
            m.on_hand,
            m.unavailable,
            m.held,
            m.allocated,
            m.reported_count,
            m.source,
            m.change_id,
            m.allocation_id,
            m.line_id,
            m.reason,
            m.effective_time,
        )
        for m in book.movements
    ]
