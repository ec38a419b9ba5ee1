"""Verifies the ledger of the running service at intervals and reports the result in metrics."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg
import structlog

from service.background import FailureLog, every, pause
from service.database.connection_pool import STATEMENT_SECONDS
from service.database.database import Database
from service.metrics import Metrics
from service.stock import ledger_check

log = structlog.get_logger(__name__)

CHECK_SECONDS = STATEMENT_SECONDS - 5
"""Limit for one statement of the check: PostgreSQL cancels it before our own statement timeout does."""


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """When the ledger was verified, and how many differences it had."""

    time: datetime
    difference_count: int


class LedgerMonitor:
    """Several services on one database may each run one: a check reads one snapshot and locks nothing."""

    def __init__(self, database: Database, metrics: Metrics, seconds: float) -> None:
        self._database = database
        self._metrics = metrics
        self._seconds = seconds
        self._failures = FailureLog()
        self.last: LedgerCheck | None = None
        """The last check that ran to its end."""

    async def run(self, stop: asyncio.Event) -> None:
        """Verifies the ledger at the configured interval until `stop` is set; never if the interval is 0."""
        if not self._seconds:
            return
        # The first check waits one interval, because a service that has just started has other work to do.
        await pause(stop, self._seconds)
        verifying = asyncio.ensure_future(every(self._seconds, stop, self.verify))
        await stop.wait()
        # A service that stops does not wait for a check whose result nobody would see.
        verifying.cancel()
        with suppress(asyncio.CancelledError):
            await verifying

    async def verify(self) -> None:
        """Verifies the ledger once and sets the metrics; logs an error if it differs."""
        try:
            async with self._database.session("verify_ledger") as connection:
                report = await ledger_check.verify(connection, statement_seconds=CHECK_SECONDS)
        except asyncpg.QueryCanceledError as error:
            self._failures.failed(
                "ledger check took too long beside the running service; run `truestock verify-ledger` instead",
                error,
                traceback=False,
            )
            return
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            # Health checks report that the database does not answer; the metric of the last check keeps its old time.
            self._failures.failed("ledger was not verified", error, traceback=False)
            return
        self.last = LedgerCheck(datetime.now(UTC), report.difference_count)
        self._metrics.stock.ledger_differences.set(report.difference_count)
        self._metrics.stock.ledger_verified.set_to_current_time()
        if not report.balanced:
            log.error("ledger has differences", differences=report.difference_count, first=report.differences[0])
