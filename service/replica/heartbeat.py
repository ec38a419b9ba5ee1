"""A number that a reader of a replica writes into the database, and looks for on the replica.

A replica that has the number has all that was committed before it. Neither clocks nor positions of the log say that:
the last replayed commit of an idle database is old on a replica that lacks nothing, and a server that has left the
database's timeline, or belongs to another database, may well be at a later position.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Interval, Uuid, delete, func, literal_column, select
from sqlalchemy.dialects.postgresql import insert

from service.database.database import Connection, Statement, parameter
from service.database.tables import replica_heartbeat

KEPT = timedelta(days=1)
"""How long the number of a reader that has ended is kept."""

_heartbeat = replica_heartbeat.c
_BEAT = Statement(
    insert(replica_heartbeat)
    .values(reader=parameter("reader", Uuid), number=literal_column("1"))
    .on_conflict_do_update(
        index_elements=["reader"], set_={"number": _heartbeat.number + 1, "beat_time": func.clock_timestamp()}
    )
    .returning(_heartbeat.number)
)
_SEEN = Statement(
    select(
        func.pg_is_in_recovery().label("is_replica"),
        # A server that was started anew, or another one, has another time.
        func.pg_postmaster_start_time().label("start_time"),
        select(_heartbeat.number).where(_heartbeat.reader == parameter("reader", Uuid)).scalar_subquery().label("seen"),
    )
)
_PURGE = Statement(
    delete(replica_heartbeat).where(_heartbeat.beat_time < func.clock_timestamp() - parameter("kept", Interval))
)


@dataclass(frozen=True, slots=True)
class Sighting:
    """What a server says of itself: whether it is a replica, since when it runs, and the newest number that it has."""

    is_replica: bool
    start_time: datetime
    number: int


async def beat(connection: Connection, reader: UUID) -> int:
    """Writes the reader's next number, and returns it."""
    row = await _BEAT.row(connection, reader=reader)
    assert row is not None
    return int(row["number"])


async def sighting(connection: Connection, reader: UUID) -> Sighting:
    """What the connection's server is, and which number of the reader it has; 0 if none."""
    row = await _SEEN.row(connection, reader=reader)
    assert row is not None
    return Sighting(row["is_replica"], row["start_time"], row["seen"] or 0)


async def purge(connection: Connection) -> None:
    """Deletes the numbers of readers that ended long ago."""
    await _PURGE.run(connection, kept=KEPT)
