"""What each channel was told it may sell, and when: kept as history, so that an oversell can be explained.

An answer is queued in memory and written after it was sent, in one statement for all that have queued meanwhile. So a
question costs no round trip more. Until it is written, this process finds it in the queue.

Answers from one stock read have one time, and may differ in their destination or method of delivery. The greatest of
their figures is kept: so many units the channel was told that it may sell.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from types import MappingProxyType
from typing import NamedTuple

import asyncpg
from sqlalchemy import BigInteger, Integer, Interval, Text, delete, exists, func, select, tuple_
from sqlalchemy.dialects.postgresql import distinct_on, insert

from policies.stock.oversell import PublishedFigure
from service.background import FailureLog, every, first_of, pause
from service.database.database import Columns, Connection, Database, Statement, parameter, transposed, unnested
from service.database.tables import Moment, availability_history
from service.errors import NotReady

Pair = tuple[str, str]
"""(Channel id, SKU)."""

REPEATED_AFTER = timedelta(minutes=15)
"""An unchanged figure is kept again after this time, so that it is known that it still was in effect."""
FOLLOW_SECONDS = 1.0
"""How often a service looks for figures that others published: one that they replaced is kept again."""
WRITTEN_WITHIN = timedelta(seconds=10)
"""How long after it was sent a figure may be written while the database answers."""
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
NO_UNITS: Mapping[str, int] = MappingProxyType({})
NO_OUTLETS: Mapping[str, Mapping[str, int]] = MappingProxyType({})
"""For channels that were not told the figures of outlets."""

_history = availability_history.c
_COLUMNS: Columns = {
    "channel_id": Text,
    "sku": Text,
    "sellable": BigInteger,
    "publish_time": Moment,
    "policy_revision": Text,
    "outlets": Text,
}
_new = unnested("new", **_COLUMNS)
_insert = insert(availability_history).from_select([*_COLUMNS], select(*(_new.c[name] for name in _COLUMNS)))
_WRITE = Statement(
    _insert.on_conflict_do_update(
        index_elements=["channel_id", "sku", "publish_time"],
        set_={name: _insert.excluded[name] for name in ("sellable", "policy_revision")}
        | {"outlets": func.coalesce(_insert.excluded.outlets, _history.outlets)},
        where=(_insert.excluded.sellable > _history.sellable)
        | ((_insert.excluded.sellable == _history.sellable) & _history.outlets.is_(None)),
    )
)
_RECENT = Statement(
    select(*(_history[name] for name in _COLUMNS))
    .ext(distinct_on(_history.channel_id, _history.sku))
    .where(_history.publish_time > func.clock_timestamp() - parameter("lookback", Interval))
    .order_by(_history.channel_id, _history.sku, _history.publish_time.desc())
)
_later = availability_history.alias("later")
_is_later = (
    (_later.c.channel_id == _history.channel_id)
    & (_later.c.sku == _history.sku)
    & (_later.c.publish_time > _history.publish_time)
)
_old = (
    select(_history.channel_id, _history.sku, _history.publish_time)
    .where(
        _history.publish_time < func.clock_timestamp() - parameter("retention", Interval),
        # The last figure of a channel stays in effect, however old it is, and so does the last one of its outlets.
        exists().where(_is_later),
        _history.outlets.is_(None) | exists().where(_is_later, _later.c.outlets.is_not(None)),
    )
    .limit(parameter("count", Integer))
)
_PURGE = Statement(
    delete(availability_history)
    .where(tuple_(_history.channel_id, _history.sku, _history.publish_time).in_(_old))
    .returning(_history.sku)
)


class _Last(NamedTuple):
    """The last figure of a channel and SKU; of its outlets only a fingerprint is remembered, 0 if it had none."""

    sellable: int
    publish_time: datetime
    outlets: int


class PublicationLog:
    """The figures published by this process that are not written yet, and the last one of each channel and SKU.

    A channel may ask several services on one database, so each takes note of what the others published.
    """

    def __init__(self) -> None:
        self._queue: deque[tuple[Pair, PublishedFigure]] = deque()
        self._last: dict[Pair, _Last] = {}
        self._wake = asyncio.Event()
        self._failures = FailureLog()
        self._follow_time = time.monotonic()

    def record(
        self,
        channel_id: str,
        units: Mapping[str, int],
        publish_time: datetime,
        policy_revision: str,
        outlets: Mapping[str, Mapping[str, int]] = NO_OUTLETS,
    ) -> None:
        """Queues sellable units by SKU that were sent to a channel at `publish_time`, as far as they are new.

        `outlets` are those of each outlet, by SKU, where they were sent too.
        """
        for sku, sellable in units.items():
            pair, by_outlet = (channel_id, sku), outlets.get(sku, NO_UNITS)
            last = self._last.get(pair)
            if last is not None and _is_known(last, sellable, by_outlet, publish_time):
                continue
            if len(self._last) >= REMEMBERED_PAIRS:
                self._last.clear()
            self._last[pair] = _Last(sellable, publish_time, _fingerprint(by_outlet))
            figure = PublishedFigure(sellable, publish_time, policy_revision, by_outlet)
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
        while not stop.is_set():
            await first_of(self._wake, stop)
            await pause(stop, GATHER_SECONDS)
            self._wake.clear()
            if not await self._write_all(database):
                self._wake.set()
                await pause(stop, RETRY_SECONDS)
        await self._write_all(database)

    async def follow(self, database: Database, stop: asyncio.Event) -> None:
        """Takes note of figures that other services publish until `stop` is set."""
        await every(FOLLOW_SECONDS, stop, lambda: self._note_others(database))

    async def _note_others(self, database: Database) -> None:
        began = time.monotonic()
        lookback = timedelta(seconds=began - self._follow_time) + WRITTEN_WITHIN
        rows = await database.unlocked("publications", lambda connection: _RECENT.rows(connection, lookback=lookback))
        for row in rows:
            last = self._last.get((row["channel_id"], row["sku"]))
            if last is not None and last.publish_time < row["publish_time"]:
                outlets = _fingerprint(json.loads(row["outlets"]) if row["outlets"] else NO_UNITS)
                self._last[row["channel_id"], row["sku"]] = _Last(row["sellable"], row["publish_time"], outlets)
        self._follow_time = began

    async def _write_all(self, database: Database) -> bool:
        """Writes the queue; returns whether the database took it. A figure leaves the queue once it is written."""
        while self._queue:
            batch = list(islice(self._queue, WRITE_BATCH))
            rows = _rows(batch)
            try:
                await database.transaction(
                    "publications",
                    lambda connection, rows=rows: _write(connection, rows),  # type: ignore[misc]
                )
            except NotReady:
                # The database has logged why it does not answer, and the figures stay in the queue.
                return False
            except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                self._failures.failed("published figures wait to be written", error, figures=len(self._queue))
                return False
            for entry in batch:
                if self._queue and self._queue[0] is entry:
                    self._queue.popleft()
        return True


def _is_known(last: _Last, sellable: int, outlets: Mapping[str, int], publish_time: datetime) -> bool:
    """Whether the last figure says what this one does: the same lately, or more at the same moment."""
    has_outlets = not outlets or bool(last.outlets)
    if last.publish_time == publish_time:
        return sellable <= last.sellable and has_outlets
    is_same = sellable == last.sellable and (not outlets or _fingerprint(outlets) == last.outlets)
    return is_same and last.publish_time > publish_time - REPEATED_AFTER


def _rows(figures: Iterable[tuple[Pair, PublishedFigure]]) -> list[tuple[object, ...]]:
    """The rows of figures, the greatest of each channel, SKU and moment: a statement writes each row once."""
    greatest: dict[tuple[Pair, datetime], PublishedFigure] = {}
    for pair, figure in figures:
        key = pair, figure.publish_time
        greatest[key] = max(figure, greatest.get(key, figure), key=lambda x: (x.sellable, bool(x.outlets)))
    return [
        (*pair, x.sellable, moment, x.policy_revision, _outlets_text(x.outlets))
        for (pair, moment), x in greatest.items()
    ]


def _outlets_text(units: Mapping[str, int]) -> str | None:
    return json.dumps(dict(units), ensure_ascii=False) if units else None


def _fingerprint(units: Mapping[str, int]) -> int:
    return hash(frozenset(units.items())) if units else 0


async def _write(connection: Connection, rows: list[tuple[object, ...]]) -> None:
    await _WRITE.run(connection, **transposed(list(_COLUMNS), rows))


async def purge(connection: Connection, retention: timedelta) -> int:
    """Deletes at most PURGE_BATCH figures older than `retention` that a later figure has replaced; returns how many."""
    return len(await _PURGE.rows(connection, retention=retention, count=PURGE_BATCH))
