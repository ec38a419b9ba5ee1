"""Checks the audit log beside the running service, and reports the result in metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import asyncpg
import structlog

from service.audit import audit_check
from service.audit.seal_store import ChainEnd
from service.audit.signing import PublicKeys
from service.background import FIRST_PURGE_SECONDS, FailureLog, every
from service.database.database import Database
from service.metrics import Metrics

log = structlog.get_logger(__name__)

CHECK_SECONDS = 60.0
"""How often events that were sealed since are checked, and whether the last one that was checked is still there."""
WHOLE_CHECK_SECONDS = 86_400.0
"""How often the whole log is checked again, as after each start."""


class AuditMonitor:
    """Checks the log of its database, and remembers the end that it saw: whoever cuts it is found by that."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._known: ChainEnd | None = None
        self._whole_check_time: float | None = None
        self._problem = ""
        self._failures = FailureLog()

    async def run(self, stop: asyncio.Event) -> None:
        """Checks until `stop` is set."""
        await every(CHECK_SECONDS, stop, self.check, first_after=FIRST_PURGE_SECONDS)

    async def check(self) -> None:
        """Checks once and sets the metrics; logs an error if the log was changed."""
        now = self._clock()
        is_whole = self._whole_check_time is None or now - self._whole_check_time >= WHOLE_CHECK_SECONDS
        start = None if is_whole or self._problem else self._known
        try:
            async with self._database.session("audit_check") as connection:
                # Signatures of keys that were replaced since are not this service's to check.
                report = await audit_check.check(connection, PublicKeys(), known=self._known, start=start)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            # Health checks report that the database does not answer; the metric of the last check keeps its old time.
            self._failures.failed("the audit log was not checked", error, traceback=False)
            return
        self._metrics.audit.broken.set(bool(report.problem))
        self._metrics.audit.verified.set_to_current_time()
        if report.problem:
            if report.problem != self._problem:
                log.error("the audit log was changed; run `truestock audit verify`", problem=report.problem)
        else:
            self._known = report.end
            self._whole_check_time = now if is_whole else self._whole_check_time
            self._metrics.audit.sealed_events.set(report.end.position)
        self._problem = report.problem
