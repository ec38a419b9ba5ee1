"""Follows one streaming replica: whether it is there, is still a replica, and lacks nothing older than a stated lag.

How far it is behind is measured by the clock of this process alone: the time since it began to write the newest number
that the replica has (see `heartbeat`). So it is never less than the truth, and while the database does not answer, the
replica is not used either: nobody then knows what it lacks.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import structlog

from service.background import FailureLog, every
from service.catalog.catalog_store import CatalogCache
from service.database.connection_pool import ConnectionCheck
from service.database.database import Database
from service.errors import NotReady
from service.metrics.replica_metrics import ReplicaMetrics
from service.replica import heartbeat
from service.replica.heartbeat import Sighting

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 2.0
"""A replica that takes longer to answer is away."""
NUMBERS_IN_LAG = 4
LONGEST_PERIOD_SECONDS = 1.0
"""So many numbers are written in the time of the stated lag, and one in this time at least."""
FIRST_LOOK_SECONDS = 0.01
"""How soon a number is looked for again that the replica did not have; twice as late each time, up to the period."""
NUMBERS_KEPT = 10_000
CLOSING_SECONDS = 0.1

LOST = (NotReady, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a read from a replica raises that the database may well answer: conflicts with its recovery are among them."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Where a call reads: a database or its replica, and the newest catalog that was read from there.

    They share no catalog. One that came from a replica which has left the database's timeline could have the version
    that a later catalog of the database gets, and promises would be made by it.
    """

    database: Database
    catalog_cache: CatalogCache
    is_replica: bool = False


class OpenDatabase(Protocol):
    """Opens connections to the replica; `check` raises where a new one may not be used."""

    def __call__(self, *, connections: int, check: ConnectionCheck | None = None) -> Coroutine[Any, Any, Database]:
        """Raises what asyncpg raises."""


class ReplicaUnusable(Exception):
    """Why no call reads from the replica at the moment."""


@dataclass(frozen=True, slots=True)
class _Number:
    value: int
    begin_time: float
    """When this process began to write it, by `time.monotonic`."""


class Replica:
    """One replica, as one process reads from it."""

    def __init__(
        self,
        open_database: OpenDatabase,
        primary: Source,
        metrics: ReplicaMetrics,
        reader: UUID,
        *,
        max_lag_seconds: float,
        connections: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`reader` is the id of this process, under which it writes its numbers."""
        self._open_database = open_database
        self._primary = primary
        self.metrics = metrics
        self._reader = reader
        self._max_lag_seconds = max_lag_seconds
        self._connections = connections
        self._clock = clock
        self._period_seconds = min(LONGEST_PERIOD_SECONDS, max_lag_seconds / NUMBERS_IN_LAG)
        self._numbers: deque[_Number] = deque(maxlen=NUMBERS_KEPT)
        """Those that were written and not seen on the replica yet."""
        self._written = asyncio.Event()
        self._has_all_before = clock() - max_lag_seconds
        """The replica has everything that was committed before this time; at first none is known."""
        self._watching: Database | None = None
        """A connection of its own: reads that use all others would make the replica look away."""
        self._source: Source | None = None
        self._start_time: datetime | None = None
        """Since when the server of `_source` runs."""
        self._failures = FailureLog()
        self._begin_time = clock()
        self._was_used = False

    @property
    def source(self) -> Source | None:
        """What calls may read from now; None while the replica is away, is none any more, or is too far behind."""
        return self._source if self.lag_seconds < self._max_lag_seconds else None

    @property
    def lag_seconds(self) -> float:
        """How old at most what the replica lacks is."""
        return self._clock() - self._has_all_before

    async def run(self, stop: asyncio.Event) -> None:
        """Follows the replica until `stop` is set; no call reads from it after that."""
        self.metrics.start()
        writing = asyncio.create_task(every(self._period_seconds, stop, self._write, spread=0))
        try:
            await self._follow(stop)
        finally:
            writing.cancel()
            self._leave()
            if self._watching is not None:
                self._watching.cut_off()

    async def _write(self) -> None:
        """Writes the next number into the database."""
        begin_time = self._clock()
        number = await self._primary.database.transaction(
            "replica_heartbeat", partial(heartbeat.beat, reader=self._reader)
        )
        if number == 1:
            await self._primary.database.transaction("replica_heartbeat", heartbeat.purge)
        self._numbers.append(_Number(number, begin_time))
        self._written.set()

    async def _follow(self, stop: asyncio.Event) -> None:
        stopping = asyncio.ensure_future(stop.wait())
        stopping.add_done_callback(lambda _: self._written.set())
        seconds = self._period_seconds
        try:
            while not stop.is_set():
                self._written.clear()
                await self._look()
                # A number that is on its way is there in a moment.
                seconds = min(self._period_seconds, 2 * seconds if self._numbers else FIRST_LOOK_SECONDS)
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds if self._numbers else self._period_seconds):
                        await self._written.wait()
                if self._written.is_set():
                    seconds = FIRST_LOOK_SECONDS / 2
        finally:
            stopping.cancel()

    async def _look(self) -> None:
        """Finds out whether calls may read from the replica."""
        looking = asyncio.ensure_future(self._sighting())
        await asyncio.wait([looking], timeout=ANSWER_SECONDS)
        try:
            if not looking.done():
                await self._abandon(looking)
                raise ReplicaUnusable(f"it did not answer within {ANSWER_SECONDS:g} seconds")
            await self._admit(looking.result())
        except LOST as error:
            self._leave()
            self._log_unused(error, "it does not answer")
        except ReplicaUnusable as error:
            self._leave()
            self._log_unused(error, str(error))
        self.metrics.up.set(self.source is not None)
        self.metrics.lag_seconds.set(self.lag_seconds)

    async def _sighting(self) -> Sighting:
        if self._watching is None:
            self._watching = await self._open_database(connections=1)
        return await self._watching.unlocked("replica_heartbeat", partial(heartbeat.sighting, reader=self._reader))

    async def _abandon(self, looking: asyncio.Task[Sighting]) -> None:
        """Gives up a look at a server that does not answer. A driver that is only cancelled would wait for it."""
        if self._watching is not None:
            self._watching.cut_off()
            self._watching = None
        looking.cancel()
        await asyncio.wait([looking], timeout=CLOSING_SECONDS)

    async def _admit(self, seen: Sighting) -> None:
        """Lets calls read from the server that was seen. Raises ReplicaUnusable."""
        if not seen.is_replica:
            raise ReplicaUnusable("it is no replica, or has been promoted; name one with --read-database-url")
        while self._numbers and self._numbers[0].value <= seen.number:
            self._has_all_before = self._numbers.popleft().begin_time
        if self.lag_seconds >= self._max_lag_seconds:
            # Those that read from it now began in time. At first it has had no time to get a number.
            if self._clock() - self._begin_time >= self._max_lag_seconds:
                reason = "it lacks what was committed earlier than --read-max-lag-seconds ago"
                self._log_unused(ReplicaUnusable(reason), reason)
            return
        if self._source is None or self._start_time != seen.start_time:
            await self._open(seen.start_time)
        if not self._was_used:
            self._was_used = True
            log.info("calls read from the replica", max_lag_seconds=self._max_lag_seconds)
        self._failures.worked("calls read from the replica again")

    def _log_unused(self, error: BaseException, reason: str) -> None:
        event, lag_seconds = "calls do not read from the replica", round(self.lag_seconds, 3)
        self._failures.failed(event, error, traceback=False, reason=reason, lag_seconds=lag_seconds)

    async def _open(self, start_time: datetime) -> None:
        self._leave()

        async def check(connection: asyncpg.Connection[asyncpg.Record]) -> None:
            # The name of a host may lead to several servers, of which only the one that is watched is known.
            if await connection.fetchval("SELECT pg_postmaster_start_time()") != start_time:
                raise asyncpg.InterfaceError("this is another server than the replica that is watched")

        database = await self._open_database(connections=self._connections, check=check)
        cache = CatalogCache()
        cache.set_headrooms(self._primary.catalog_cache.headrooms)
        self._source, self._start_time = Source(database, cache, is_replica=True), start_time

    def _leave(self) -> None:
        """No call reads from the replica from now on; those that do are answered by the database instead."""
        if self._source is not None:
            self._source.database.cut_off()
            self._source = None
