"""The end of a service: one deadline for all its parts, of which each gets what remains."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Self

import structlog

log = structlog.get_logger(__name__)

CLOSING_SECONDS = 3.0
"""Beyond the time of the calls in flight: to close what they used, whether or not it answers."""
EXIT_SECONDS = 5.0
"""Beyond the time of the calls in flight: until the process has exited."""

End = Callable[[float], Awaitable[object]]
"""Ends a part within the seconds that it is given. It is cancelled, and no more awaited, once they have passed."""


@dataclass(slots=True)
class _Part:
    name: str
    end: End
    at_once: bool
    needed_seconds: float
    task: asyncio.Task[None] | None = field(default=None)


class Drain:
    """Parts of a service, as an `async with` block: at its end they end, within `seconds` and CLOSING_SECONDS.

    They end in the reverse order of their start. Those that do so at once are all told when the block ends, and then
    waited for in that order; each other part is told when all that started after it have ended. A part gets what
    remains of the time, less what the parts that end after it need in any case.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._parts: list[_Part] = []
        self._deadline = float("inf")

    def add(self, name: str, end: End, *, at_once: bool = False, needed_seconds: float = 0) -> None:
        """Adds a part that has started; `name` is for the log."""
        self._parts.append(_Part(name, end, at_once, needed_seconds))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._deadline = time.monotonic() + self._seconds + CLOSING_SECONDS
        for part in self._parts:
            if part.at_once:
                self._begin(part)
        unfinished = []
        while self._parts:
            part = self._parts.pop()
            if not await self._finish(part):
                unfinished.append(part.name)
        if unfinished:
            log.warning("stopped without waiting for all parts of the service", parts=", ".join(unfinished))

    def _begin(self, part: _Part) -> asyncio.Task[None]:
        if part.task is None:
            part.task = asyncio.ensure_future(_ended(part.name, part.end, self._remaining(part)))
        return part.task

    async def _finish(self, part: _Part) -> bool:
        """Whether the part ended within its time; if not, it is cancelled."""
        task = self._begin(part)
        _, waiting = await asyncio.wait([task], timeout=self._remaining(part))
        # Not awaited: work that waits for a database that hangs may not notice it before the connections are cut.
        return not any(late.cancel() for late in waiting)

    def _remaining(self, part: _Part) -> float:
        """Seconds for a part: those that end after it and are still to come need some too."""
        later = self._parts[: self._parts.index(part)] if part in self._parts else self._parts
        return max(0.0, self._deadline - sum(other.needed_seconds for other in later) - time.monotonic())


async def _ended(name: str, end: End, seconds: float) -> None:
    try:
        await end(seconds)
    except Exception as error:
        # The other parts have to end all the same.
        log.error("a part of the service did not end in order", part=name, exc_info=error)
