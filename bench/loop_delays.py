"""How late the event loop wakes a task, which is how long calls wait on top of their own work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def recorded_delays(tick_seconds: float) -> AsyncIterator[list[float]]:
    """How late a task that sleeps again and again wakes while the block lasts, in seconds."""
    delays: list[float] = []

    async def tick() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(tick_seconds)
            delays.append(time.perf_counter() - start - tick_seconds)

    ticking = asyncio.create_task(tick())
    try:
        yield delays
    finally:
        ticking.cancel()
