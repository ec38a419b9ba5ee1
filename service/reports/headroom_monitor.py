"""Computes how much of the cancellations that marketplaces allow is left, for rules and for the metric.

The metric also has what channels state themselves.

Orders are added up by hour, so that all but the first computation read the last hours only.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import asyncpg
from sqlalchemy import ColumnElement, Text, Uuid, func, literal_column, select, union_all

from policies.decisions.cancellations import SELLER
from policies.domain.cancellation_limits import CancellationLimit, headroom, limit_of
from service import limits
from service.background import FailureLog, every
from service.catalog import catalog_store
from service.database.database import Connection, Statement, any_of, parameter
from service.database.monthly_partitions import first_id
from service.database.tables import Moment, allocation, order_count, order_event
from service.dependencies import Dependencies
from service.errors import NotReady
from service.history.counted_orders import CANCELLED, SOLD
from service.stock import levels

HEADROOM_SECONDS = 60.0
_SETTLED_AFTER = timedelta(hours=2)
"""Hours that ended so long ago have all their orders: no transaction and no clock is that late."""

_event, _count = order_event.c, order_count.c


def _literal(text: str) -> ColumnElement[Any]:
    return literal_column(f"'{text}'", Text)


_IS_OUR_CANCELLATION = (_count.kind == _literal(CANCELLED)) & (_count.cause == _literal(SELLER))
_COUNTED = Statement(
    union_all(
        select(
            func.date_trunc(_literal("hour"), _event.event_time).label("hour"),
            allocation.c.channel_id,
            _literal(SOLD).label("kind"),
            func.count().label("orders"),
        )
        .join(allocation, allocation.c.id == _event.allocation_id)
        .where(
            _event.id >= parameter("first_id", Uuid),
            _event.event_time >= parameter("since", Moment),
            _event.is_sale,
            allocation.c.channel_id == any_of("channel_ids", Text),
        )
        .group_by(literal_column("1"), literal_column("2")),
        select(
            func.date_trunc(_literal("hour"), _count.count_time).label("hour"),
            _count.channel_id,
            _count.kind,
            func.count().label("orders"),
        )
        .where(
            _count.count_time >= parameter("since", Moment),
            _count.is_first,
            (_count.kind == _literal(SOLD)) | _IS_OUR_CANCELLATION,
            _count.channel_id == any_of("channel_ids", Text),
        )
        .group_by(literal_column("1"), literal_column("2"), literal_column("3")),
    )
)

Hours = dict[datetime, Counter[tuple[str, str]]]
"""Orders by channel and SOLD or CANCELLED, by the hour that they were counted in."""


class HeadroomMonitor:
    """Each service of a database runs one: they read the same rows, and lock nothing."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._hours: Hours = {}
        self._limits: Mapping[str, CancellationLimit] = {}
        """Those that `_hours` were read for, by channel."""
        self._compute_time: float | None = None
        """When `compute_if_due` last computed it, by the clock of the event loop."""
        self._failures = FailureLog()

    async def run(self, stop: asyncio.Event) -> None:
        """Computes the headroom of every channel again and again, until `stop` is set."""
        await every(HEADROOM_SECONDS, stop, self.compute)

    async def compute_if_due(self) -> None:
        """Computes it if that is HEADROOM_SECONDS ago, for a process that runs no work between its calls."""
        now = asyncio.get_running_loop().time()
        if self._compute_time is None or now >= self._compute_time + HEADROOM_SECONDS:
            self._compute_time = now
            await self.compute()

    async def compute(self) -> None:
        """Computes the headroom of channels whose platform has a limit, unless they state it themselves."""
        try:
            headrooms = await self._deps.database.unlocked("cancellation_headroom", self._headrooms)
        except NotReady:
            # The database has logged why it does not answer.
            return
        except asyncpg.QueryCanceledError as error:
            self._failures.failed("reading the cancellations of marketplaces took too long", error, traceback=False)
            return
        for cache in self._deps.reads.catalog_caches():
            cache.set_headrooms(headrooms)
        channels = self._deps.catalog_cache.as_read.channels.values()
        stated = {x.id: x.cancellation_headroom for x in channels if x.cancellation_headroom is not None}
        self._deps.metrics.orders.set_headrooms({**headrooms, **stated})

    async def _headrooms(self, connection: Connection) -> dict[str, float]:
        await self._deps.catalog_cache.at(connection, await catalog_store.version(connection))
        now = await levels.clock(connection)
        measured = {
            channel.id: limit
            for channel in self._deps.catalog_cache.as_read.channels.values()
            if channel.cancellation_headroom is None
            and (limit := limit_of(channel.platform, now.date(), channel.markets)) is not None
        }
        if not measured:
            return {}
        await self._read(connection, measured, now)
        shares = {id: self._headroom(id, limit, now) for id, limit in measured.items()}
        return {id: share for id, share in shares.items() if share is not None}

    async def _read(self, connection: Connection, measured: Mapping[str, CancellationLimit], now: datetime) -> None:
        """Reads the hours that may have changed; all of them if other channels are measured than before."""
        start = now - max(limit.window for limit in measured.values())
        since = start
        if measured == self._limits and self._hours:
            since = max(start, max(self._hours) - _SETTLED_AFTER)
        since = since.replace(minute=0, second=0, microsecond=0)
        rows = await _COUNTED.rows(
            connection, since=since, first_id=first_id(since - 2 * limits.CLOCK_SKEW), channel_ids=list(measured)
        )
        self._hours = {hour: counts for hour, counts in self._hours.items() if start <= hour < since}
        for row in rows:
            self._hours.setdefault(row["hour"], Counter())[row["channel_id"], row["kind"]] += row["orders"]
        self._limits = measured

    def _headroom(self, channel_id: str, limit: CancellationLimit, now: datetime) -> float | None:
        orders: Counter[str] = Counter()
        for hour, counts in self._hours.items():
            if hour > now - limit.window:
                orders += Counter({kind: counts[channel_id, kind] for kind in (SOLD, CANCELLED)})
        return headroom(limit, sold=orders[SOLD], cancelled=orders[CANCELLED])
