"""Stock levels and their movements in PostgreSQL: lock, read and write, always in order of (SKU, location)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    Update,
    Uuid,
    exists,
    func,
    literal_column,
    select,
    true,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from policies.decisions.planning.planning_memory import take_stocks
from policies.domain.model import StockLevel
from policies.stock.confidence import ErrorHistory, LastCount, count_confidence
from service.background import Turn
from service.database.database import (
    NEEDED,
    Columns,
    Connection,
    Statement,
    any_of,
    any_of_list,
    parameter,
    parameters,
    transposed,
    unnested,
)
from service.database.row_slices import row_slices
from service.database.row_writes import Row, RowWrite
from service.database.tables import (
    Moment,
    location_count_history,
    order_line,
    promise,
    shortage,
    stock_level,
    stock_movement,
)
from service.stock.stock_book import Book, Key, PromisedUnits

SLICE_ROWS = 400
MANY_ROWS = 1_000
"""Rows of levels that are read at a time where there may be more than MANY_ROWS."""
LOCKED_ROWS = 4_000
MANY_SKUS = 50
"""Rows of keys that are read at a time where levels of more than MANY_SKUS products are locked."""

LockedKeys = Mapping[Key, Key]
"""Keys of locked levels, each by itself, so that the book's levels share it: to free another one takes as long."""

_level = stock_level.c

# Constants, not parameters: PostgreSQL uses a partial index only if the statement contains its condition.
_HELD: ColumnElement[Any] = literal_column("'held'")
_ZERO: ColumnElement[Any] = literal_column("0")
_NO_EVIDENCE: ColumnElement[Any] = literal_column("0.0::float8")

_LOCK = Statement(
    select(_level.sku, _level.location_id)
    .where(_level.sku == any_of_list("skus", Text))
    .order_by(_level.sku, _level.location_id)
    .with_for_update(key_share=True)
)
_SKUS_NEEDED = Statement(select(order_line.c.sku).where(order_line.c.allocation_id == any_of("ids", Uuid)).distinct())

_history = location_count_history.c
_location_history = (
    func.coalesce(_history.errors, _NO_EVIDENCE).label("location_errors"),
    func.coalesce(_history.exposure_days, _NO_EVIDENCE).label("location_exposure_days"),
)
"""How far counts at the location are trusted; part of every row that `level_of` takes, as are the level and `now`."""
_has_history = _history.location_id == _level.location_id

_has_backorder = exists().where(shortage.c.sku == _level.sku, shortage.c.backordered)


def levels_at(moment: FromClause, *, has_expired: ColumnElement[bool] | None = None) -> Select[Any]:
    """The levels of the parameter `skus` and the `now` of a moment, with whether any of their holds has expired.

    Whoever states another `has_expired` says whether any hold may have.
    """
    if has_expired is None:
        has_expired = exists().where(
            promise.c.sku == any_of_list("skus", Text),
            promise.c.state == _HELD,
            promise.c.unit_count > _ZERO,
            promise.c.expire_time <= moment.c.now,
        )
    # The clock is read by the same statement as the levels, and one row is returned even if there is no level. OFFSET
    # keeps PostgreSQL from looking for expired holds once for each level.
    clock = select(moment.c.now, has_expired.label("has_expired")).offset(_ZERO).subquery("clock")
    return select(clock, stock_level, *_location_history, _has_backorder.label("has_backorder")).select_from(
        clock.outerjoin(stock_level, _level.sku == any_of_list("skus", Text), full=False).outerjoin(
            location_count_history, _has_history
        )
    )


_READ = Statement(levels_at(select(func.clock_timestamp().label("now")).subquery("moment")))

# A hold ends at its expire_time by the database clock, whether or not the sweeper has run. Every query applies that
# rule itself, so a sweeper that is late or stopped keeps no units from sale.
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


def _unlocked_levels(expired_skus: ColumnElement[bool]) -> Select[Any]:
    """Levels in one statement, each with its units of holds that have expired by the clock of that statement."""
    # One statement reads levels and expired holds, so both come from one snapshot. Between two statements the sweeper
    # could commit, and an expired hold would be counted twice or not at all.
    clock = select(func.statement_timestamp().label("now")).subquery("clock")
    expired = (
        select(promise.c.sku, promise.c.location_id, func.sum(promise.c.unit_count).label("units"))
        .where(
            expired_skus,
            promise.c.state == _HELD,
            promise.c.unit_count > _ZERO,
            promise.c.expire_time <= func.statement_timestamp(),
        )
        .group_by(promise.c.sku, promise.c.location_id)
        .subquery("expired")
    )
    joined = (
        clock.outerjoin(stock_level, true())
        .outerjoin(expired, (expired.c.sku == _level.sku) & (expired.c.location_id == _level.location_id))
        .outerjoin(location_count_history, _has_history)
    )
    columns = (clock.c.now, stock_level, *_location_history, func.coalesce(expired.c.units, 0).label("expired_units"))
    return select(*columns).select_from(joined)


_READ_UNLOCKED = Statement(
    _unlocked_levels(promise.c.sku == any_of_list("skus", Text)).where(_level.sku == any_of_list("skus", Text))
)
_CLOCK = Statement(select(func.statement_timestamp().label("now")))
_PAGE = Statement(
    _unlocked_levels(true())
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

_CHANGE: Columns = {
    "sku": Text,
    "location_id": Text,
    "on_hand": Integer,
    "unavailable": Integer,
    "held": Integer,
    "allocated": Integer,
    "movements": Integer,
}


def _change(delta: Mapping[str, ColumnElement[Any]]) -> Update:
    return (
        update(stock_level)
        .values(
            on_hand=_level.on_hand + delta["on_hand"],
            unavailable=_level.unavailable + delta["unavailable"],
            held=_level.held + delta["held"],
            allocated=_level.allocated + delta["allocated"],
            movements_since_count=_level.movements_since_count + delta["movements"],
            version=_level.version + 1,
        )
        .where(_level.sku == delta["sku"], _level.location_id == delta["location_id"])
    )


_CHANGES = RowWrite(stock_level, _CHANGE, _change)

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
    "ingest_time": Moment,
}
_MOVEMENTS = RowWrite(stock_movement, _MOVEMENT)

_emptied = unnested("emptied", shipment_id=Uuid, line_id=Text)
_EMPTY_PROMISES = Statement(
    update(promise)
    .values(unit_count=0)
    .where(promise.c.shipment_id == _emptied.c.shipment_id, promise.c.line_id == _emptied.c.line_id)
)


async def lock(connection: Connection, skus: Iterable[str]) -> LockedKeys:
    """Locks every level of these SKUs, in order, and returns their keys; `open_book` reads the figures afterwards.

    Also locks the levels of all products of the orders that the transaction needs (NEEDED).
    """
    all_skus = set(skus)
    if NEEDED.get():
        all_skus |= {row["sku"] for row in await _SKUS_NEEDED.rows(connection, ids=list(NEEDED.get()))}
    values, is_many = {"skus": sorted(all_skus)}, len(all_skus) > MANY_SKUS
    locked: dict[Key, Key] = {}
    async for rows in row_slices(_LOCK, connection, values, row_count=LOCKED_ROWS, is_many=is_many):
        keys = [(r["sku"], r["location_id"]) for r in rows]
        locked.update(zip(keys, keys, strict=True))
    return locked


async def open_book(connection: Connection, locked: LockedKeys, new_id: Callable[[], UUID]) -> Book:
    """Reads the locked levels and then the clock, and releases the holds that have expired by it.

    A level that was created after the locks is left out: two transactions that both read it would sell it twice.
    """
    # Under READ COMMITTED a statement that waits for locks keeps the snapshot from before the wait. Only a later
    # statement sees what others committed meanwhile; one that locked and read at once returned 13 of 10 units
    # when a sweeper committed during the wait.
    return await read_book(_READ, connection, locked, new_id)


async def read_book(
    statement: Statement,
    connection: Connection,
    locked: LockedKeys,
    new_id: Callable[[], UUID],
    *,
    others: Callable[[asyncpg.Record], bool] = lambda _: False,
    **values: Any,
) -> Book:
    """The book of the locked ones of the rows of `levels_at` that the statement returns, as `open_book` returns it.

    `others` takes each row first and says whether it is another one. `values` are parameters besides the SKUs.
    """
    values["skus"] = skus = await _skus_of(locked)
    is_many = len(locked) > MANY_ROWS
    levels: dict[Key, StockLevel] = {}
    backordered: set[str] = set()
    now: datetime | None = None
    has_expired = False
    async for rows in row_slices(statement, connection, values, row_count=SLICE_ROWS, is_many=is_many):
        for row in rows:
            if others(row):
                continue
            now, has_expired = row["now"], row["has_expired"]
            key = locked.get((row["sku"], row["location_id"]))
            if key is not None:
                levels[key] = level_of(row)
            if row["has_backorder"]:
                backordered.add(row["sku"])
    assert now is not None
    book = Book(now, levels, new_id)
    book.backordered_skus = backordered
    if has_expired:
        expired = await _EXPIRED.rows(connection, skus=skus, now=now)
        book.expire(promised_units(r) for r in expired if (r["sku"], r["location_id"]) in locked)
    return book


async def read(
    connection: Connection, skus: Iterable[str], location_count: int = 0
) -> tuple[datetime, dict[Key, StockLevel]]:
    """The clock and the levels without expired holds, read in one statement without locks; for read-only answers.

    Where the SKUs may have many levels, `location_count` are the locations of the retailer.
    """
    all_skus = sorted(set(skus))
    is_many = len(all_skus) * location_count > MANY_ROWS
    now: datetime | None = None
    levels: dict[Key, StockLevel] = {}
    async with connection.transaction() if is_many and not connection.is_in_transaction() else nullcontext():
        values = {"skus": all_skus}
        async for rows in row_slices(_READ_UNLOCKED, connection, values, row_count=SLICE_ROWS, is_many=is_many):
            now = rows[0]["now"]
            levels.update([((r["sku"], r["location_id"]), level_of(r, r["expired_units"])) for r in rows])
    return now or await clock(connection), levels


async def _skus_of(locked: LockedKeys) -> list[str]:
    """The SKUs of these levels, in order; a large order has a hundred thousand levels."""
    skus: set[str] = set()
    keys, turn = [*locked], Turn()
    for start in range(0, len(keys), LOCKED_ROWS):
        skus.update([sku for sku, _ in keys[start : start + LOCKED_ROWS]])
        await turn.end_if_long()
    return sorted(skus)


async def forget(book: Book) -> None:
    """Frees the levels of a book that is no longer needed, and what was worked out of them.

    In turns where they are many: at once takes 50 ms.
    """
    turn, levels = Turn(), book.levels
    stocks = take_stocks(levels)
    while stocks:
        stocks.pop()
        await turn.end_if_long()
    while len(levels) > MANY_ROWS:
        for _ in range(MANY_ROWS):
            levels.popitem()
        await turn.end_if_long()


async def page(
    connection: Connection, after: Key, count: int, skus: Sequence[str], location_ids: Sequence[str]
) -> tuple[datetime, list[asyncpg.Record]]:
    """At most `count` levels after the key `after`, in order; an empty filter matches everything."""
    values = {"after_sku": after[0], "after_location": after[1], "count": count}
    rows = await _PAGE.rows(connection, skus=list(skus), location_ids=list(location_ids), **values)
    return (rows[0]["now"] if rows else await clock(connection)), rows


async def clock(connection: Connection) -> datetime:
    """The clock of the database, the only clock that decides."""
    rows = await _CLOCK.rows(connection)
    now: datetime = rows[0]["now"]
    return now


async def ensure(connection: Connection, keys: Iterable[Key]) -> None:
    """Creates empty levels that do not exist yet; the products and locations must exist."""
    await _ENSURE.run(connection, **transposed(["sku", "location_id"], sorted(set(keys))))


async def release_expired(connection: Connection, book: Book) -> None:
    """Empties the promises of the book's expired holds; to be called before orders are written."""
    if book.expired_promises:
        rows = [(p.shipment_id, p.line_id) for p in book.expired_promises]
        await _EMPTY_PROMISES.run(connection, **transposed(["shipment_id", "line_id"], rows))


def changed_rows(book: Book) -> list[tuple[RowWrite, Sequence[Row]]]:
    """The rows that the changes of a book write: levels, and movements."""
    movements = book.movements_of_goods()
    changes = [(*key, *sums, movements[key]) for key, sums in book.changes().items() if any(sums) or movements[key]]
    return [(_CHANGES, changes), (_MOVEMENTS, _movement_rows(book))]


def level_of(row: asyncpg.Record, expired_units: int = 0) -> StockLevel:
    """A row of `stock_level` at its `now` as a value of `policies`, without `expired_units` of holds."""
    return StockLevel(
        sku=row["sku"],
        location_id=row["location_id"],
        on_hand=row["on_hand"],
        unavailable=row["unavailable"],
        held=row["held"] - expired_units,
        allocated=row["allocated"],
        as_of_time=row["as_of_time"],
        counted_time=row["counted_time"],
        count_confidence=count_confidence(
            LastCount(row["physical_count_time"], row["movements_since_count"], row["not_found_since_count"]),
            ErrorHistory(row["count_errors"], row["count_exposure_days"]),
            ErrorHistory(row["location_errors"], row["location_exposure_days"]),
            row["now"],
        ),
        source=row["source"],
        tracked=row["tracked"],
        physical_count_time=row["physical_count_time"],
    )


def promised_units(row: asyncpg.Record) -> PromisedUnits:
    """The columns of a row of `promise` that are needed to release it."""
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
            book.now,
        )
        for m in book.movements
    ]
