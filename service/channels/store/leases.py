"""Keeps a lease while its work goes on, so that a lease can be short: what a killed process had, others do soon."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from service.channels.errors import Away

KEEP_SECONDS = 5.0


@asynccontextmanager
async def kept(keep: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """Calls `keep` every few seconds until the block ends.

    A lease that ends meanwhile, because the database is away, does no harm: the work is done twice, with the same
    request ids.
    """
    keeping = asyncio.create_task(_keep(keep))
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


async def _keep(keep: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(KEEP_SECONDS)
        with suppress(Away):
            await keep()
