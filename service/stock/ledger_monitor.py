"""The service proves its own ledger now and then, and tells by metrics what that came to."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import asyncpg
import structlog

from service.background import every
from service.database.database import STATEMENT_SECONDS, Database
from service.metrics import Metrics
from service.stock import ledger_check

log = structlog.get_logger(__name__)

CHECK_SECONDS = STATEMENT_SECONDS - 5
"""What a statement of the proof may take: PostgreSQL gives it up before we give PostgreSQL up."""


class LedgerMonitor:
    """Several services on one database may each have one: a proof reads one snapshot and locks nothing."""

    def __init__(self, database: Database, metrics: Metrics, seconds: float) -> None:
        self._database = database
        self._metrics = metrics
        self._seconds = seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Proves the ledger every so many seconds until `stop` is set; never where that is 0."""
        if not self._seconds:
            return
        # Not at once: a service that has just started has other things to do.
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), self._seconds)
        proving = asyncio.ensure_future(every(self._seconds, stop, self.verify))
        await stop.wait()
        # A service that stops does not wait for a proof that nobody will hear of.
        proving.cancel()
        with suppress(asyncio.CancelledError):
            await proving

    async def verify(self) -> None:
        """Proves the ledger once; what is found is left in the metrics, and in the log where it is bad."""
        try:
            async with self._database.connection("verify_ledger") as connection:
                report = await ledger_check.verify(connection, statement_seconds=CHECK_SECONDS)
        except asyncpg.QueryCanceledError:
            log.warning("the ledger is too large to be proved beside the trade; run `truestock verify-ledger` instead")
            return
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            # The pulse tells that the database is away; the metric's time tells that this proof was not made.
            log.warning("the ledger was not proved", error=str(error))
            return
        self._metrics.ledger_differences.set(report.difference_count)
        self._metrics.ledger_verified.set_to_current_time()
        if not report.balanced:
            log.error("the ledger differs", differences=report.difference_count, first=report.differences[0])
