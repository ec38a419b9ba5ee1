"""Measures how long everything else waits for the event loop."""

from __future__ import annotations

import asyncio

from service.background import pause
from service.metrics import Metrics

INTERVAL_SECONDS = 0.1


async def measure_delays(metrics: Metrics, stop: asyncio.Event) -> None:
    """Observes how much later than due a timer runs, ten times a second until `stop` is set."""
    clock = asyncio.get_running_loop().time
    while not stop.is_set():
        due = clock() + INTERVAL_SECONDS
        await pause(stop, INTERVAL_SECONDS)
        if not stop.is_set():
            metrics.service.event_loop_delay.observe(max(0.0, clock() - due))
