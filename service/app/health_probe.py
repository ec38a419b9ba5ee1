"""Probes the database every second; gRPC health and /readyz follow. The database logs its failures."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from service.background import pause
from service.database.database import Database
from service.errors import NotReady

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
            if alive and not self._alive:
                self._database.answers_again()
            if not (alive and self._alive):
                await self._listener(alive)
            self._alive = alive
            await pause(stop, PROBE_SECONDS)

    async def _answers(self) -> bool:
        try:
            await self._database.ping(ANSWER_SECONDS)
        except NotReady:
            return False
        return True
