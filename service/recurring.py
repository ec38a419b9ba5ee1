"""Work that is done again and again until the service stops; what fails is logged and tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from service.errors import NotReady

log = structlog.get_logger(__name__)


async def every(
    seconds: float, stop: asyncio.Event, what: str, work: Callable[[], Awaitable[None]], *, at_once: bool = True
) -> None:
    """Does `work`, named `what` in the log, until `stop` is set: at once and then every so many seconds."""
    if not at_once:
        await _pause(seconds, stop)
    while not stop.is_set():
        try:
            await work()
        except NotReady:
            # The pulse has said so, once.
            log.debug("waits for the database", what=what)
        except Exception:
            # What fails is tried again; no order depends on it, and the log must say so.
            log.exception("failed and will be tried again", what=what)
        await _pause(seconds, stop)


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
