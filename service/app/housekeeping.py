"""Hygiene in the background: holds expire, request ids are forgotten, backorders tried again, lateness raised."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import structlog
from sqlalchemy import Integer, Interval, delete, func, select

from service import limits
from service.allocation.backorders import Backorders
from service.allocation.lifecycle import SWEEP_ORDERS, Lifecycle
from service.background import every
from service.database.database import Connection, Database, Statement, parameter
from service.database.tables import request
from service.orders import pending_cancellations
from service.resolution.exception_sweep import ExceptionSweep

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.0
FORGET_SECONDS = 60.0
BACKORDER_SECONDS = 2.0
EXCEPTION_SECONDS = 10.0
FORGET_REQUESTS = 5_000
"""Old request ids that are forgotten in one transaction."""

_old = (
    select(request.c.id)
    .where(request.c.create_time < func.clock_timestamp() - parameter("kept", Interval))
    .limit(parameter("count", Integer))
)
_FORGET = Statement(delete(request).where(request.c.id.in_(_old)))


class Housekeeping:
    """Several services on one database may each have one: they skip what another has locked."""

    def __init__(
        self, database: Database, lifecycle: Lifecycle, backorders: Backorders, exceptions: ExceptionSweep
    ) -> None:
        self._database = database
        self._lifecycle = lifecycle
        self._backorders = backorders
        self._exceptions = exceptions

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until `stop` is set."""
        await asyncio.gather(
            every(SWEEP_SECONDS, stop, self._sweep),
            every(FORGET_SECONDS, stop, self._forget),
            every(BACKORDER_SECONDS, stop, self._backorders.sweep),
            every(EXCEPTION_SECONDS, stop, self._exceptions.run),
        )

    async def _sweep(self) -> None:
        while await self._lifecycle.sweep() == SWEEP_ORDERS:
            pass

    async def _forget(self) -> None:
        await self._database.transaction("purge_requests", forget_requests)
        await self._database.transaction("purge_cancellations", pending_cancellations.delete_unclaimed)


async def forget_requests(connection: Connection, kept: timedelta = limits.REQUEST_ID_KEPT) -> None:
    """Forgets request ids that no longer make a retry safe."""
    await _FORGET.run(connection, kept=kept, count=FORGET_REQUESTS)
