"""Hygiene in the background: holds expire, request ids are forgotten, backorders tried again, lateness raised."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta

import structlog
from sqlalchemy import Integer, Interval, delete, func, select

from service import bounds, kept_cancellations
from service.backorders import Backorders
from service.database import Connection, Database, Statement, parameter
from service.errors import NotReady
from service.exception_sweep import ExceptionSweep
from service.lifecycle import SWEEP_ORDERS, Lifecycle
from service.tables import request

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


class Sweeper:
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
        await self._database.transaction("forget", forget_requests)
        await self._database.transaction("forget", kept_cancellations.forget)


async def forget_requests(connection: Connection, kept: timedelta = bounds.REQUEST_ID_KEPT) -> None:
    """Forgets request ids that no longer make a retry safe."""
    await _FORGET.run(connection, kept=kept, count=FORGET_REQUESTS)


async def every(seconds: float, stop: asyncio.Event, work: Callable[[], Awaitable[None]]) -> None:
    """Does something in the background again and again until `stop` is set, whatever becomes of it each time."""
    while not stop.is_set():
        try:
            await work()
        except NotReady:
            # The pulse has said so, once.
            log.debug("a sweep waits for the database")
        except Exception:
            # A sweep that fails is tried again; nothing depends on it but tidiness, and the log must say so.
            log.exception("a sweep failed and will be tried again")
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), seconds)
