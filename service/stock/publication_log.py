"""What each channel was told it may sell, and when: kept as history, so that an oversell can be explained.

An answer is queued in memory and written after it was sent, in one statement for all that have queued meanwhile. So a
question costs no round trip more. Until it is written, this process finds it in the queue.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import islice

import asyncpg
import structlog
from sqlalchemy import BigInteger, Integer, Interval, Text, delete, exists, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from policies.stock.oversell import PublishedFigure
from service.database.database import Columns, Connection, Database, Statement, parameter, transposed, unnested
from service.database.tables import Moment, availability_history
from service.errors import NotReady

log = structlog.get_logger(__name__)

Pair = tuple[str, str]
"""(Channel id, SKU)."""

REPEATED_AFTER = timedelta(minutes=15)
"""An unchanged figure is kept again after this time, so that it is known that it still was in effect."""
REMEMBERED_PAIRS = 200_000
"""Pairs whose last figure is remembered; beyond it all are forgotten, and kept once more."""
QUEUED_FIGURES = 200_000
"""Figures that wait to be written while the database does not answer; beyond it the oldest are dropped."""
WRITE_BATCH = 5_000
"""Figures of one statement."""
GATHER_SECONDS = 0.1
"""How long figures gather before they are written: a viral SKU gets a new one with each order."""
RETRY_SECONDS = 1.0
PURGE_BATCH = 5_000
"""Old figures that one transaction deletes."""

_history = availability_history.c
_COLUMNS: Columns = {
    "channel_id": Text,
    "sku": Text,
    "sellable": BigInteger,
    "publish_time": Moment,
    "policy_revision": Text,
}
_new = unnested("new", **_COLUMNS)
_WRITE = Statement(
    insert(availability_history)
    .from_select([*_COLUMNS], select(*(_new.c[name] for name in _COLUMNS)))
    .on_conflict_do_nothing()
)
_later = availability_history.alias("later")
_old = (
    select(_history.channel_id, _history.sku, _history.publish_time)
    .where(
        _history.publish_time < func.clock_timestamp() - parameter("retention", Interval),
        # The last figure of a channel stays in effect, however old it is.
        exists().where(
            _later.c.channel_id == _history.channel_id,
            _later.c.sku == _history.sku,
            _later.c.publish_time > _history.publish_time,
        ),
    )
    .limit(parameter("count", Integer))
)
_PURGE = Statement(
    delete(availability_history)
    .where(tuple_(_history.channel_id, _history.sku, _history.publish_time).in_(_old))
    .returning(_history.sku)
)


class PublicationLog:
    """The figures published by this process that are not written yet, and the last one of each channel and SKU."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Pair, PublishedFigure]] = deque()
        self._last: dict[Pair, PublishedFigure] = {}
        self._wake = asyncio.Event()

    def record(self, channel_id: str, units: Mapping[str, int], time: datetime, policy_revision: str) -> None:
        """Queues sellable units by SKU that were sent to a channel at `time`, as far as they are new."""
        repeated_from = time - REPEATED_AFTER
        for sku, sellable in units.items():
            pair = channel_id, sku
            last = self._last.get(pair)
            if last is not None and last.sellable == sellable and last.publish_time > repeated_from:
                continue
            if len(self._last) >= REMEMBERED_PAIRS:
                self._last.clear()
            figure = self._last[pair] = PublishedFigure(sellable, time, policy_revision)
            self._queue.append((pair, figure))
            self._wake.set()
        while len(self._queue) > QUEUED_FIGURES:
            self._queue.popleft()

    def waiting(self, pairs: Iterable[Pair]) -> dict[Pair, list[PublishedFigure]]:
        """The figures of these pairs that are not written yet."""
        wanted: dict[Pair, list[PublishedFigure]] = {pair: [] for pair in pairs}
        for pair, figure in self._queue:
            if pair in wanted:
                wanted[pair].append(figure)
        return wanted

    async def run(self, database: Database, stop: asyncio.Event) -> None:
        """Writes what is queued until `stop` is set, and then the rest."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                waking = asyncio.ensure_future(self._wake.wait())
                await asyncio.wait([waking, stopping], return_when=asyncio.FIRST_COMPLETED)
                waking.cancel()
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), GATHER_SECONDS)
                self._wake.clear()
                if not await self._write_all(database):
                    self._wake.set()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), RETRY_SECONDS)
        finally:
            stopping.cancel()
        await self._write_all(database)

    async def _write_all(self, database: Database) -> bool:
        """Writes the queue; returns whether the database took it. A figure leaves the queue once it is written."""
        while self._queue:
            batch = list(islice(self._queue, WRITE_BATCH))
            rows = [(*pair, x.sellable, x.publish_time, x.policy_revision) for pair, x in batch]
            try:
                await database.transaction(
                    "publications",
                    lambda connection, rows=rows: _write(connection, rows),  # type: ignore[misc]
                )
            except (NotReady, OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                log.warning("published figures wait to be written", figures=len(self._queue), error=str(error))
                return False
            for entry in batch:
                if self._queue and self._queue[0] is entry:
                    self._queue.popleft()
        return True


async def _write(connection: Connection, rows: list[tuple[object, ...]]) -> None:
    await _WRITE.run(connection, **transposed(list(_COLUMNS), rows))


async def purge(connection: Connection, retention: timedelta) -> int:
    """Deletes at most PURGE_BATCH figures older than `retention` that a later figure has replaced; returns how many."""
    return len(await _PURGE.rows(connection, retention=retention, count=PURGE_BATCH))
