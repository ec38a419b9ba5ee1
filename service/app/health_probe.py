"""Probes the database every second; gRPC health and /readyz follow, and changes are logged."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import structlog

from service.background import pause
from service.database.database import Database

log = structlog.get_logger(__name__)

PROBE_SECONDS = 1.0
ANSWER_SECONDS = 3.0

Listener = Callable[[bool], Awaitable[None]]


class HealthProbe:
    """Calls `listener` on every change, and on every probe while the database does not answer."""

    def __init__(self, database: Database, listener: Listener) -> None:
        self._database = database
        self._listener = listener
        self._alive = True

    async def run(self, stop: asyncio.Event) -> None:
        """Probes every PROBE_SECONDS until `stop` is set."""
        while not stop.is_set():
            alive = await self._answers()
            if alive is not self._alive:
                log.warning("the database answers again" if alive else "the database does not answer")
            if not (alive and self._alive):
                await self._listener(alive)
            self._alive = alive
            await pause(stop, PROBE_SECONDS)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._database.ping()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return False
        return True
