"""One loop for all periodic work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from service.errors import NotReady

log = structlog.get_logger(__name__)


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
