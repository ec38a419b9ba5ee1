"""Periodic cleanup: expires holds, purges old rows, retries backorders, sweeps exceptions and closed locations.

No answer depends on it: a hold expires by the clock in each query, whether or not it was swept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from sqlalchemy import Integer, Interval, delete, func, literal_column, select

from service import limits
from service.allocation.lifecycle import SWEEP_ORDERS, Lifecycle
from service.allocation.replanning.backorders import Backorders
from service.background import FIRST_PURGE_SECONDS, every
from service.capacity import capacity_store
from service.database.database import Connection, Database, Statement, parameter
from service.database.tables import Moment, request
from service.demand import demand_store
from service.history import catalog_history
from service.orders.cancellations import cancellation_request_store, pending_cancellations
from service.policy import policy_history
from service.resolution.cancellation_deadlines import CancellationDeadlines
from service.resolution.exception_sweep import ExceptionSweep
from service.resolution.location_sweep import LocationSweep
from service.settings import Settings
from service.stock import channel_figures, publication_log
from service.watch import watch_marks

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.0
PURGE_SECONDS = 60.0
UNNAMED_SECONDS = 600.0
HISTORY_PURGE_SECONDS = 3600.0
BACKORDER_SECONDS = 2.0
LOCATION_SECONDS = 2.0
"""Time within which orders begin to leave a location that the catalog forbids them."""
EXCEPTION_SECONDS = 10.0
PURGE_BATCH = 5_000
"""Old request ids that one transaction deletes."""

_old = (
    select(request.c.id)
    .where(request.c.create_time < func.clock_timestamp() - parameter("retention", Interval))
    .limit(parameter("count", Integer))
)
_PURGE = Statement(delete(request).where(request.c.id.in_(_old)).returning(request.c.id))
_unnamed = (
    select(request.c.id)
    .where(
        request.c.create_time >= parameter("since", Moment),
        request.c.create_time < parameter("until", Moment),
        request.c.content == literal_column("''::bytea"),
    )
    .limit(parameter("count", Integer))
)
_PURGE_UNNAMED = Statement(delete(request).where(request.c.id.in_(_unnamed)).returning(request.c.id))


class Housekeeping:
    """Each service on a database may run one: it skips rows that another has locked."""

    def __init__(
        self,
        database: Database,
        lifecycle: Lifecycle,
        *,
        backorders: Backorders,
        locations: LocationSweep,
        exceptions: ExceptionSweep,
        settings: Settings,
        cancellation_deadlines: CancellationDeadlines,
    ) -> None:
        self._database = database
        self._lifecycle = lifecycle
        self._backorders = backorders
        self._locations = locations
        self._exceptions = exceptions
        self._settings = settings
        self._cancellation_deadlines = cancellation_deadlines
        self._unnamed_until = datetime.now(UTC) - limits.REQUEST_ID_RETENTION

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until `stop` is set."""
        await asyncio.gather(
            every(SWEEP_SECONDS, stop, self._sweep),
            every(SWEEP_SECONDS, stop, self._cancellation_deadlines.run),
            every(PURGE_SECONDS, stop, self._purge, first_after=FIRST_PURGE_SECONDS),
            every(UNNAMED_SECONDS, stop, self._purge_unnamed, first_after=FIRST_PURGE_SECONDS),
            every(HISTORY_PURGE_SECONDS, stop, self._purge_histories, first_after=FIRST_PURGE_SECONDS),
            every(HISTORY_PURGE_SECONDS, stop, self._purge_channel_figures, first_after=FIRST_PURGE_SECONDS),
            every(BACKORDER_SECONDS, stop, self._backorders.sweep),
            every(LOCATION_SECONDS, stop, self._locations.run),
            every(EXCEPTION_SECONDS, stop, self._exceptions.run),
        )

    async def _sweep(self) -> None:
        while await self._lifecycle.sweep() == SWEEP_ORDERS:
            pass

    async def _purge(self) -> None:
        # A minute of a busy hour leaves more requests than a batch.
        while await self._database.transaction("purge_requests", purge_requests) == PURGE_BATCH:
            pass
        await self._database.transaction("purge_cancellations", pending_cancellations.delete_unclaimed)
        await self._database.transaction("purge_cancellation_requests", cancellation_request_store.delete_unclaimed)
        await self._database.transaction("purge_capacity", capacity_store.delete_passed)
        purge_marks = partial(watch_marks.purge, retention=limits.RESUME_TOKEN_RETENTION)
        await self._database.transaction("purge_watch_marks", purge_marks)

    async def _purge_unnamed(self) -> None:
        """Deletes requests without an id of their caller's: only the call itself can have needed them."""
        until = datetime.now(UTC) - limits.UNNAMED_REQUEST_RETENTION
        purge = partial(purge_unnamed_requests, since=self._unnamed_until, until=until)
        while await self._database.transaction("purge_unnamed_requests", purge) == PURGE_BATCH:
            pass
        # A row of a long transaction appears after its time; a new pass begins before that.
        self._unnamed_until = until - limits.UNNAMED_REQUEST_RETENTION

    async def _purge_channel_figures(self) -> None:
        while (
            await self._database.transaction("purge_channel_figures", channel_figures.purge)
            == channel_figures.PURGE_BATCH
        ):
            pass

    async def _purge_histories(self) -> None:
        settings = self._settings
        for operation, purge, days in (
            ("purge_publications", publication_log.purge, settings.publication_retention_days),
            ("purge_demand", demand_store.purge, settings.demand_retention_days),
            ("purge_policy_history", policy_history.purge, settings.policy_history_retention_days),
            ("purge_catalog_history", catalog_history.purge, settings.catalog_history_retention_days),
        ):
            await self._purge_history(operation, partial(purge, retention=timedelta(days=days)))

    async def _purge_history(self, operation: str, purge: Callable[[Connection], Awaitable[int]]) -> None:
        """Deletes all rows past retention, batch by batch."""
        while await self._database.transaction(operation, purge):
            pass


async def purge_requests(connection: Connection, retention: timedelta = limits.REQUEST_ID_RETENTION) -> int:
    """Deletes request ids older than `retention`, at most PURGE_BATCH; returns how many.

    A retry after that is a new request.
    """
    return len(await _PURGE.rows(connection, retention=retention, count=PURGE_BATCH))


async def purge_unnamed_requests(connection: Connection, *, since: datetime, until: datetime) -> int:
    """Deletes requests of that time that their callers gave no id, at most PURGE_BATCH; returns how many."""
    return len(await _PURGE_UNNAMED.rows(connection, since=since, until=until, count=PURGE_BATCH))
