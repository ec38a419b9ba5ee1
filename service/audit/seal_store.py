"""SQL of the hash chain: unsealed events, seals and anchors."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
from sqlalchemy import BigInteger, Integer, Interval, LargeBinary, delete, func, insert, literal_column, select

from service.audit.chain import FIRST_HASH
from service.database.columns import Moment
from service.database.database import Columns, Connection, Statement, any_of, parameter
from service.database.row_writes import RowWrite
from service.database.tables import audit_anchor, audit_event, audit_seal, audit_unsealed

_event, _seal, _anchor = audit_event.c, audit_seal.c, audit_anchor.c
_waiting = audit_unsealed.join(audit_event, _event.id == audit_unsealed.c.event_id)
_now = func.clock_timestamp()
_AGE = Statement(
    select(func.extract("epoch", _now - _event.event_time).label("seconds"))
    .select_from(_waiting)
    .order_by(audit_unsealed.c.event_id)
    .limit(literal_column("1"))
)
_CLOCK = Statement(select(_now.label("now")))
_is_sealed = select(literal_column("1")).where(_seal.event_id == _event.id).exists()
# The limit comes first: what a batch reads must not grow with the events that wait, nor with those that are sealed.
_first = select(audit_unsealed.c.event_id).order_by(audit_unsealed.c.event_id).limit(parameter("count", Integer))
_FIRST = Statement(_first)
_UNSEALED = Statement(
    select(audit_event, _is_sealed.label("is_sealed")).where(_event.id == any_of("ids", BigInteger)).order_by(_event.id)
)
_SEALED = Statement(delete(audit_unsealed).where(audit_unsealed.c.event_id == any_of("ids", BigInteger)))
_LAST_SEAL = Statement(select(_seal.position, _seal.hash).order_by(_seal.position.desc()).limit(literal_column("1")))
_LAST_ANCHOR = Statement(select(audit_anchor).order_by(_anchor.number.desc()).limit(literal_column("1")))
_SEAL: Columns = {
    "position": BigInteger,
    "event_id": BigInteger,
    "hash": LargeBinary,
    "seal_time": Moment,
    "signature": LargeBinary,
}
_SEALS = RowWrite(audit_seal, _SEAL)
_ANCHOR: Columns = {
    "number": BigInteger,
    "position": BigInteger,
    "hash": LargeBinary,
    "event_time": Moment,
    "anchor_time": Moment,
    "signature": LargeBinary,
}
_ADD_ANCHOR = Statement(insert(audit_anchor).values({name: parameter(name, type_) for name, type_ in _ANCHOR.items()}))
_first_seals = (
    select(_seal.position, _seal.hash, _seal.seal_time, _event.event_time)
    .select_from(audit_seal.join(audit_event, _event.id == _seal.event_id))
    .order_by(_seal.position)
    .limit(parameter("count", Integer))
    .subquery("first_seals")
)
_OLD_SEAL = Statement(
    select(_first_seals, func.clock_timestamp().label("now"))
    .where(_first_seals.c.seal_time < func.clock_timestamp() - parameter("retention", Interval))
    .order_by(_first_seals.c.position.desc())
    .limit(literal_column("1"))
)
_DELETE_ANCHORED = Statement(select(func.audit_delete_anchored(parameter("count", Integer)).label("deleted")))


@dataclass(frozen=True, slots=True)
class ChainEnd:
    """The last seal: where the chain goes on from."""

    position: int
    digest: bytes


async def unsealed_age(connection: Connection) -> float | None:
    """Seconds since the first event that is not sealed; None if all are."""
    row = await _AGE.row(connection)
    return None if row is None else max(0.0, float(row["seconds"]))


async def clock(connection: Connection) -> datetime:
    """The time, by the database's clock."""
    row = await _CLOCK.row(connection)
    assert row is not None
    now: datetime = row["now"]
    return now


async def unsealed(connection: Connection, count: int) -> list[asyncpg.Record]:
    """The first `count` events that wait to be sealed, by id; `is_sealed` says that one does not have to wait."""
    ids = [row["event_id"] for row in await _FIRST.rows(connection, count=count)]
    return await _UNSEALED.rows(connection, ids=ids) if ids else []


async def chain_end(connection: Connection) -> ChainEnd:
    """The last seal, or what the last anchor says of it if all seals were deleted."""
    row = await _LAST_SEAL.row(connection) or await _LAST_ANCHOR.row(connection)
    return ChainEnd(row["position"], row["hash"]) if row is not None else ChainEnd(0, FIRST_HASH)


async def add_seals(connection: Connection, rows: list[tuple[object, ...]]) -> None:
    """Writes seals as (position, event id, hash, time, signature)."""
    if rows:
        await _SEALS.run(connection, rows)


async def stop_waiting(connection: Connection, event_ids: list[int]) -> None:
    """Takes sealed events from those that wait."""
    await _SEALED.run(connection, ids=event_ids)


async def last_old_seal(connection: Connection, retention: timedelta, count: int) -> asyncpg.Record | None:
    """Of the first `count` seals the last one that is older than `retention`, with the time of its event."""
    return await _OLD_SEAL.row(connection, retention=retention, count=count)


async def last_anchor_number(connection: Connection) -> int:
    """The number of the newest anchor; 0 without one."""
    row = await _LAST_ANCHOR.row(connection)
    return 0 if row is None else int(row["number"])


async def add_anchor(connection: Connection, **values: object) -> None:
    """Writes an anchor."""
    await _ADD_ANCHOR.run(connection, **values)


async def delete_anchored(connection: Connection, count: int) -> int:
    """Deletes the events and seals that an anchor covers, at most `count` of each; returns how many."""
    row = await _DELETE_ANCHORED.row(connection, count=count)
    assert row is not None
    return int(row["deleted"])
