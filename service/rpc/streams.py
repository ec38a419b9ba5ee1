"""Streams: limited in number, counted, polled for changes, and ended when the service stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

from prometheus_client import Gauge

from service.background import FailureLog, first_of, pause
from service.errors import NotReady, WatchLimitReached

Message = TypeVar("Message")

RETRY_AFTER = timedelta(seconds=5)
"""When a caller may retry after reaching the watch limit."""


class ShutdownSignal:
    """Ends streams when the service stops, so that none waits forever."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self._events: set[asyncio.Event] = set()

    def set(self) -> None:
        """Ends every stream."""
        self.event.set()
        for event in self._events:
            event.set()

    @contextmanager
    def notifying(self, event: asyncio.Event) -> Iterator[None]:
        """During the block, `event` is also set when the service stops."""
        self._events.add(event)
        try:
            yield
        finally:
            self._events.discard(event)

    def raise_if_stopping(self) -> None:
        """Raises NotReady if the service is stopping, so that clients reconnect to another service."""
        if self.event.is_set():
            raise NotReady("the service is stopping")

    async def while_running(self, messages: AsyncIterator[Message]) -> AsyncGenerator[Message, None]:
        """The messages of a caller's stream. Raises NotReady between two messages when the service stops."""
        stopping = asyncio.ensure_future(self.event.wait())
        try:
            while True:
                upcoming = asyncio.ensure_future(anext(messages, None))
                try:
                    await asyncio.wait((upcoming, stopping), return_when=asyncio.FIRST_COMPLETED)
                    self.raise_if_stopping()
                    message = await upcoming
                finally:
                    upcoming.cancel()
                if message is None:
                    return
                yield message
        finally:
            stopping.cancel()


class ChangePoller:
    """Polls for changes while callers watch, and resets its state when the last one leaves."""

    def __init__(
        self, subject: str, seconds: float, poll: Callable[[], Awaitable[None]], reset: Callable[[], None]
    ) -> None:
        self._subject = subject
        self._seconds = seconds
        self._poll = poll
        self._reset = reset
        self._failures = FailureLog()
        self._watchers = 0
        self._is_watched = asyncio.Event()

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Counts a watcher during the block."""
        self._watchers += 1
        self._is_watched.set()
        try:
            yield
        finally:
            self._watchers -= 1

    async def run(self, stop: asyncio.Event) -> None:
        """Polls while anyone watches, until `stop` is set."""
        while not stop.is_set():
            await first_of(self._is_watched, stop)
            while self._watchers and not stop.is_set():
                await self._poll_once()
                await pause(stop, self._seconds)
            if not self._watchers:
                self._is_watched.clear()
                self._reset()

    async def _poll_once(self) -> None:
        try:
            await self._poll()
        except NotReady:
            # The database has logged why it does not answer, and counts this in its next line.
            pass
        except Exception as error:
            self._failures.failed("polling for changes failed and will be retried", error, subject=self._subject)
        else:
            self._failures.worked("polling for changes succeeds again", subject=self._subject)


class SubscriberLimit:
    """Limits how many callers watch one subject at a time; `gauge` shows the current number."""

    def __init__(self, subject: str, limit: int, gauge: Gauge) -> None:
        self._subject = subject
        self._limit = limit
        self._gauge = gauge
        self._watcher_count = 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Occupies a slot during the block. Raises WatchLimitReached if all are taken."""
        if self._watcher_count >= self._limit:
            raise WatchLimitReached(self._subject, self._watcher_count, RETRY_AFTER)
        self._watcher_count += 1
        self._gauge.set(self._watcher_count)
        try:
            yield
        finally:
            self._watcher_count -= 1
            self._gauge.set(self._watcher_count)
