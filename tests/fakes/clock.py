"""The clock of a fake channel: it runs with the real one, and a test may move it ahead.

Retries of webhooks come hours after the first attempt; a test that moves the clock has them at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count


class Clock:
    """Tells a channel's time, and calls what is due. Safe to use from several threads."""

    def __init__(self, start: datetime | None = None, speed: float = 1.0) -> None:
        """Begins at `start` (now, unless stated) and passes `speed` seconds a second."""
        self._start = (start or datetime.now(UTC)).timestamp()
        self._began = time.monotonic()
        self._speed = speed
        self._ahead = 0.0
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._lock = threading.RLock()
        self.on_change: Callable[[], None] = lambda: None
        """Called when something may be due earlier than was known."""

    def seconds(self) -> float:
        """The channel's time in Unix seconds."""
        return self._start + (time.monotonic() - self._began) * self._speed + self._ahead

    def now(self) -> datetime:
        """The channel's time."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def advance(self, by: timedelta) -> None:
        """Moves the clock ahead. What falls due on the way happens in its order, each at its own time."""
        target = self.seconds() + by.total_seconds()
        while (due := self.next_due()) is not None and due <= target:
            self._ahead += max(0.0, due - self.seconds())
            self.run_due()
        self._ahead += max(0.0, target - self.seconds())
        self.on_change()

    def call_after(self, seconds: float, action: Callable[[], None]) -> None:
        """Calls `action` once the channel's time has passed."""
        with self._lock:
            heappush(self._due, (self.seconds() + seconds, next(self._numbers), action))
        self.on_change()

    def next_due(self) -> float | None:
        """When the next action is due, in Unix seconds; None where there is none."""
        with self._lock:
            return self._due[0][0] if self._due else None

    def real_seconds_until_due(self) -> float | None:
        """How long to wait for the next action by the real clock; None where there is none."""
        due = self.next_due()
        return None if due is None else max(0.0, (due - self.seconds()) / self._speed)

    def run_due(self) -> None:
        """Does what is due, in its order."""
        while (action := self._pop()) is not None:
            action()

    def _pop(self) -> Callable[[], None] | None:
        with self._lock:
            if not self._due or self._due[0][0] > self.seconds():
                return None
            return heappop(self._due)[2]
