"""Which calls a service may refuse while it has more than it can answer, and how many of them it answers at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from service import limits
from service.errors import Overloaded
from service.rpc.request_bytes import RefusedBytes

_SHED = ("AllocateOrder", "BatchAllocateOrders", "Check", "Explain", "Find", "Get", "List", "Replay", "Test")
"""How the methods begin that take new orders or only read. What was promised is never refused, and neither are its
moves: confirmations, cancellations, shipments and stock changes."""


def may_be_shed(method: str) -> bool:
    """Whether the method, such as "StockService/ListStockLevels", may be refused."""
    return method.rpartition("/")[2].startswith(_SHED)


class CallLimit:
    """Counts the calls in progress that may be refused."""

    def __init__(self) -> None:
        self.count = 0

    @property
    def is_reached(self) -> bool:
        """Whether further calls are to be refused, unread."""
        return self.count >= limits.CALLS_AT_ONCE

    def overloaded(self) -> Overloaded:
        """The error of a refused call."""
        return Overloaded(self.count, timedelta(seconds=1), "calls")

    def refuse(self, content: bytes) -> RefusedBytes:
        """Takes the place of the reader of requests: one that is refused is not worth the time to decode it."""
        return RefusedBytes(self.overloaded())


class LimitedTurns:
    """Lets a few calls do what takes much memory at a time, and a limited number of others wait for their turn."""

    def __init__(self, at_once: int, waiting: int, subject: str) -> None:
        self._running = asyncio.Semaphore(at_once)
        self._most_waiting = waiting
        self._waiting_count = 0
        self._subject = subject

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """One turn. Raises Overloaded if too many calls wait."""
        if self._waiting_count >= self._most_waiting:
            raise Overloaded(self._waiting_count, timedelta(seconds=1), self._subject)
        self._waiting_count += 1
        try:
            await self._running.acquire()
        finally:
            self._waiting_count -= 1
        try:
            yield
        finally:
            self._running.release()
