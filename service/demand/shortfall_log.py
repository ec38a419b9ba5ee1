"""Questions about availability that wanted more than the channel may sell: merged by minute, and written afterwards.

A question is no order: a page asks again at each view. So of the questions of one channel for one SKU within a minute
only the greatest shortfall counts. It is written at once, and what rises above it within the minute too; how many
questions found no more lacking is written when the minute has ended. Many are written by one statement, after the
answers were sent, so a question costs no round trip more.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import islice
from uuid import uuid4

import asyncpg

from policies.decisions.unmet_demand import KEPT_BY_RULES, OUT_OF_STOCK
from service import limits
from service.background import FailureLog, every
from service.database.database import Connection, Database
from service.demand import demand_store
from service.demand.demand_store import AVAILABILITY
from service.errors import NotReady
from service.metrics import Metrics

WRITE_SECONDS = 0.25
"""How often what has queued is written."""
QUEUED_ROWS = 20_000
"""Rows that wait to be written while the database does not answer; beyond it the oldest are dropped."""
WRITE_BATCH = 1_000
"""Rows of one statement."""
_MINUTE = 60


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One SKU of a question: units wanted, units that the channel may sell, and units available before rules."""

    sku: str
    wanted: int
    sellable: int
    available: int


@dataclass(slots=True)
class _Merged:
    """The questions of one minute for one SKU: the last row of the greatest shortfall, and calls without a row."""

    row: tuple[object, ...]
    unmet: int
    calls: int = 0


class ShortfallLog:
    """The shortfalls of this minute, and the rows that are not written yet. Each service has its own."""

    def __init__(self) -> None:
        self._minute = 0
        self._minute_end = 0.0
        self._rows_of_minute = 0
        self._merged: dict[tuple[str, str, str], _Merged] = {}
        self._queue: deque[tuple[object, ...]] = deque(maxlen=QUEUED_ROWS)
        self._failures = FailureLog()

    def record(
        self, channel_id: str, method: str, policy_revision: str, now: datetime, shortfalls: Iterable[Shortfall]
    ) -> None:
        """Takes note of one question, as of `now`; all its shortfalls are above 0."""
        minute = int(now.timestamp()) // _MINUTE
        if minute != self._minute:
            self._end_minute()
            self._minute, self._minute_end = minute, time.monotonic() + _MINUTE
        for short in shortfalls:
            unmet, key = short.wanted - short.sellable, (channel_id, short.sku, method)
            merged = self._merged.get(key)
            if merged is not None and unmet <= merged.unmet:
                merged.calls += 1
                continue
            if self._rows_of_minute >= limits.SHORTFALLS_A_MINUTE:
                continue
            cause = KEPT_BY_RULES if short.available >= short.wanted else OUT_OF_STOCK
            facts = (now, AVAILABILITY, channel_id, short.sku, short.wanted, short.sellable)
            counted = unmet - (merged.unmet if merged else 0)
            row = (*facts, counted, method, cause, policy_revision, 1, None)
            self._merged[key] = _Merged(row, unmet, merged.calls if merged else 0)
            self._add(row)

    async def run(self, database: Database, metrics: Metrics, stop: asyncio.Event) -> None:
        """Writes and counts what is queued until `stop` is set, and then the rest."""
        await every(WRITE_SECONDS, stop, lambda: self._write_all(database, metrics))
        self._end_minute()
        await self._write_all(database, metrics)

    def _add(self, row: tuple[object, ...]) -> None:
        """Queues a row under an id of its own: an attempt to write it whose commit was not confirmed is repeated."""
        self._rows_of_minute += 1
        self._queue.append((*row, str(uuid4())))

    def _end_minute(self) -> None:
        """Queues how many questions of the minute have no row of their own."""
        for merged in self._merged.values():
            if merged.calls:
                *facts, _, method, cause, revision, _, location = merged.row
                self._add((*facts, 0, method, cause, revision, merged.calls, location))
        self._merged.clear()
        self._rows_of_minute = 0

    async def _write_all(self, database: Database, metrics: Metrics) -> None:
        if self._merged and time.monotonic() >= self._minute_end:
            self._end_minute()
        while self._queue:
            batch = list(islice(self._queue, WRITE_BATCH))
            try:
                written = await database.transaction("unmet_demand", partial(_write, rows=batch))
            except NotReady:
                # The database has logged why it does not answer, and the rows stay in the queue.
                return
            except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                self._failures.failed("unmet demand waits to be written", error, rows=len(self._queue))
                return
            for channel_id, units in written.items():
                metrics.orders.unmet_demand_units.labels(channel_id, AVAILABILITY).inc(units)
            for row in batch:
                if self._queue and self._queue[0] is row:
                    self._queue.popleft()


async def _write(connection: Connection, rows: list[tuple[object, ...]]) -> Mapping[str, int]:
    """Returns the units that were written, by channel."""
    units: dict[str, int] = {}
    for row in await demand_store.write_events(connection, rows):
        units[row["channel_id"]] = units.get(row["channel_id"], 0) + row["unmet_count"]
    return units
