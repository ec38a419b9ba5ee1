"""Waits for what other programs do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable


def wait_until(holds: Callable[[], bool], seconds: float, what: str, *, pause: float = 0.05) -> None:
    """Returns once `holds` returns true, which is asked after each `pause`. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(pause)


async def within(holds: Callable[[], Awaitable[bool]], seconds: float, pause: float = 0.03) -> None:
    """Waits until `holds` returns true, on a quiet machine at most so long.

    Counts how often it asks, not the time: what a service of this process does takes longer on a busy machine, and so
    does each asking.
    """
    for _ in range(round(seconds / pause)):
        if await holds():
            return
        await asyncio.sleep(pause)
    raise AssertionError(f"not within {seconds:g} s of a quiet machine")
