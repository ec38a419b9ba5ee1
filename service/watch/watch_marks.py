"""Marks in the database, by which a watch and its resume tokens know a database that has lost what they have sent.

A restore to a point in time, a failover to a replica that was behind, and a dump that is restored all keep a beginning
of the commits: with a commit they keep all that were visible before it. So a watch commits a mark after it has read
what it sends, and its token names the mark. A database that has the mark has everything that the client was sent; in
one that has not, the client cannot resume. Nothing depends on who restored what, or on anybody saying so.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from uuid import UUID, uuid4

import structlog
from sqlalchemy import BigInteger, Interval, Uuid, delete, func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert

from service.database.database import Connection, Database, Statement, parameter
from service.database.tables import watch_mark
from service.errors import NotReady

T = TypeVar("T")

log = structlog.get_logger(__name__)

# A dump in another cluster brings its marks along, but the transaction ids in its rows mean nothing there.
_cluster = select(literal_column("system_identifier")).select_from(func.pg_control_system()).scalar_subquery()
_number = parameter("number", BigInteger)
_kept = (watch_mark.c.id == parameter("id", Uuid), watch_mark.c.system_identifier == _cluster)
_IS_KEPT = Statement(select(watch_mark.c.number).where(*_kept, watch_mark.c.number >= _number))
_FIRST = Statement(
    insert(watch_mark)
    .values(id=parameter("id", Uuid), number=_number, system_identifier=_cluster)
    .on_conflict_do_update(index_elements=["id"], set_={"number": _number})
    .returning(watch_mark.c.number)
)
_NEXT = Statement(
    update(watch_mark)
    .values(number=_number, write_time=func.clock_timestamp())
    # An attempt whose commit was not acknowledged may have been one all the same.
    .where(*_kept, watch_mark.c.number.between(parameter("acknowledged", BigInteger), _number))
    .returning(watch_mark.c.number)
)
_PURGE = Statement(
    delete(watch_mark).where(watch_mark.c.write_time < func.clock_timestamp() - parameter("retention", Interval))
)


@dataclass(frozen=True, slots=True)
class Mark:
    """The mark of this number, of the watch with this id."""

    id: UUID
    number: int


class MarksLost(NotReady):
    """The database does not have the last mark of this watch: it was restored, or lost its last commits."""

    def __init__(self) -> None:
        super().__init__("the database was restored, or has lost its last commits, so watches start again")


class WatchMarks:
    """The marks of one watch in one process: a row with the number of the last one.

    `is_lost` once the database was found to lack the last mark.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._latest = Mark(uuid4(), 0)
        self._attempted = 0
        self._began = -math.inf
        self.is_lost = False
        self._lock = asyncio.Lock()

    async def after(self, moment: float) -> Mark:
        """A mark whose transaction began after `moment`, by `time.monotonic`; callers at a time share one.

        Raises MarksLost and NotReady.
        """
        async with self._lock:
            self.raise_if_lost()
            if not self.is_after(moment):
                await self._write()
            return self._latest

    def is_after(self, moment: float) -> bool:
        """Whether the last mark's transaction began after `moment`."""
        return self._began > moment

    def raise_if_lost(self) -> None:
        """Raises MarksLost if the database was found to lack the last mark."""
        if self.is_lost:
            raise MarksLost

    async def snapshot(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """What `read` finds in one snapshot of a database that has the last mark. Raises MarksLost and NotReady."""
        self.raise_if_lost()
        latest = self._latest

        async def work(connection: Connection) -> T:
            if latest.number and not await is_kept(connection, latest):
                self._lose()
            return await read(connection)

        return await self._database.snapshot("watch", work)

    async def _write(self) -> None:
        began = time.monotonic()
        self._attempted += 1
        mark = Mark(self._latest.id, self._attempted)

        async def write(connection: Connection) -> None:
            if self._latest.number == 0:
                row = await _FIRST.row(connection, id=mark.id, number=mark.number)
            else:
                row = await _NEXT.row(connection, id=mark.id, number=mark.number, acknowledged=self._latest.number)
            if row is None:
                self._lose()

        await self._database.transaction("watch_mark", write)
        self._latest, self._began = mark, began

    def _lose(self) -> None:
        self.is_lost = True
        log.warning("the database lacks what watches have sent, as after a restore; they start again")
        raise MarksLost


async def is_kept(connection: Connection, mark: Mark) -> bool:
    """Whether the database has the mark, and so everything that was committed before it."""
    return await _IS_KEPT.row(connection, id=mark.id, number=mark.number) is not None


async def purge(connection: Connection, retention: timedelta) -> None:
    """Deletes the marks of watches that wrote none for as long as `retention`: their tokens are no longer accepted."""
    await _PURGE.run(connection, retention=retention)
