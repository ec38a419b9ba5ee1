"""Calls that last until somebody hangs up: bounded in number, counted, and ended at once when the service stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import structlog
from prometheus_client import Gauge

from service.errors import NotReady, WatchLimitReached

log = structlog.get_logger(__name__)

Message = TypeVar("Message")

RETRY_AFTER = timedelta(seconds=5)
"""When somebody may try again who found every place taken."""


class ShutdownSignal:
    """Whether the service is stopping, for whoever would otherwise wait for ever."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._bells: set[asyncio.Event] = set()

    def set(self) -> None:
        """From now on every stream ends."""
        self.event.set()
        for bell in self._bells:
            bell.set()

    @contextmanager
    def notifying(self, bell: asyncio.Event) -> Iterator[None]:
        """For as long as the block lasts, `bell` is also set when the service stops."""
        self._bells.add(bell)
        try:
            yield
        finally:
            self._bells.discard(bell)

    def raise_if_stopping(self) -> None:
        """Raises NotReady, so that clients go on elsewhere, once the service is stopping."""
        if self.event.is_set():
            raise NotReady("the service is stopping")

    async def while_running(self, messages: AsyncIterator[Message]) -> AsyncIterator[Message]:
        """The messages of a caller, while the service runs. Raises NotReady when it stops, between two messages."""
        stopping = asyncio.ensure_future(self.event.wait())
        try:
            while True:
                coming = asyncio.ensure_future(anext(messages, None))
                try:
                    await asyncio.wait((coming, stopping), return_when=asyncio.FIRST_COMPLETED)
                    self.raise_if_stopping()
                    message = await coming
                finally:
                    coming.cancel()
                if message is None:
                    return
                yield message
        finally:
            stopping.cancel()


class ChangePoller:
    """Looks for changes in short turns while somebody watches, and forgets what it knows when nobody does."""

    def __init__(
        self, what: str, seconds: float, look: Callable[[], Awaitable[None]], forget: Callable[[], None]
    ) -> None:
        self._what = what
        self._seconds = seconds
        self._look = look
        self._forget = forget
        self._watchers = 0
        self._somebody = asyncio.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Somebody watches for as long as the block lasts."""
        self._watchers += 1
        self._somebody.set()
        try:
            yield
        finally:
            self._watchers -= 1

    async def run(self, stop: asyncio.Event) -> None:
        """Looks until `stop`, while somebody watches."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                came = asyncio.ensure_future(self._somebody.wait())
                await asyncio.wait((came, stopping), return_when=asyncio.FIRST_COMPLETED)
                came.cancel()
                while self._watchers and not stop.is_set():
                    await self._look_once()
                    await asyncio.wait((stopping,), timeout=self._seconds)
                if not self._watchers:
                    self._somebody.clear()
                    self._forget()
        finally:
            stopping.cancel()

    async def _look_once(self) -> None:
        try:
            await self._look()
        except NotReady:
            # The pulse has said so, once.
            log.debug("a watch waits for the database", what=self._what)
        except Exception:
            log.exception("looking for changes failed and will be tried again", what=self._what)


class SubscriberLimit:
    """How many may watch something at a time. `gauge` shows how many do."""

    def __init__(self, what: str, limit: int, gauge: Gauge) -> None:
        self._what = what
        self._limit = limit
        self._gauge = gauge
        self._taken = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """A seat for as long as the block lasts. Raises WatchLimitReached where there is none."""
        if self._taken >= self._limit:
            raise WatchLimitReached(self._what, self._taken, RETRY_AFTER)
        self._taken += 1
        self._gauge.set(self._taken)
        try:
            yield
        finally:
            self._taken -= 1
            self._gauge.set(self._taken)
