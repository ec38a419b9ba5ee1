"""Hygiene in the background: expired holds are given back, old request ids forgotten."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from sqlalchemy import Integer, Interval, delete, func, select

from service import bounds
from service.database import Connection, Database, Statement, parameter
from service.lifecycle import SWEEP_ORDERS, Lifecycle
from service.recurring import every
from service.tables import request

SWEEP_SECONDS = 1.0
FORGET_SECONDS = 60.0
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

    def __init__(self, database: Database, lifecycle: Lifecycle) -> None:
        self._database = database
        self._lifecycle = lifecycle

    async def run(self, stop: asyncio.Event) -> None:
        """Sweeps until `stop` is set."""
        await asyncio.gather(
            every(SWEEP_SECONDS, stop, "sweeping expired holds", self._sweep),
            every(FORGET_SECONDS, stop, "forgetting old request ids", self._forget),
        )

    async def _sweep(self) -> None:
        while await self._lifecycle.sweep() == SWEEP_ORDERS:
            pass

    async def _forget(self) -> None:
        await self._database.transaction("forget", forget_requests)


async def forget_requests(connection: Connection, kept: timedelta = bounds.REQUEST_ID_KEPT) -> None:
    """Forgets request ids that no longer make a retry safe."""
    await _FORGET.run(connection, kept=kept, count=FORGET_REQUESTS)
