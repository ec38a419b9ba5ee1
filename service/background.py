"""Periodic work, and waiting for events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from service.errors import NotReady

log = structlog.get_logger(__name__)


async def every(seconds: float, stop: asyncio.Event, work: Callable[[], Awaitable[None]]) -> None:
    """Runs `work` every `seconds` until `stop` is set, also after it failed."""
    while not stop.is_set():
        try:
            await work()
        except NotReady:
            # The health probe has logged it once.
            log.debug("a sweep waits for the database")
        except Exception:
            # No answer depends on a sweep, so a failed one is logged and retried instead of ending the service.
            log.exception("a sweep failed and will be tried again")
        await pause(stop, seconds)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Waits `seconds`, or less if `stop` is set before."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


async def first_of(*events: asyncio.Event) -> None:
    """Waits until one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()
