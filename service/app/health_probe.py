"""Whether the database answers: asked every second, told to health checks and /readyz, logged when it changes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncpg
import structlog

from service.database.database import Database

log = structlog.get_logger(__name__)

BEAT_SECONDS = 1.0
ANSWER_SECONDS = 3.0

Told = Callable[[bool], Awaitable[None]]


class HealthProbe:
    """Asks until it is stopped. `told` hears of every change, and of every beat that is missed."""

    def __init__(self, database: Database, told: Told) -> None:
        self._database = database
        self._told = told
        self._alive = True

    async def run(self, stop: asyncio.Event) -> None:
        """Asks every BEAT_SECONDS until `stop` is set."""
        while not stop.is_set():
            alive = await self._answers()
            if alive is not self._alive:
                log.warning("the database answers again" if alive else "the database does not answer")
            if not (alive and self._alive):
                await self._told(alive)
            self._alive = alive
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), BEAT_SECONDS)

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._database.ping()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            return False
        return True
