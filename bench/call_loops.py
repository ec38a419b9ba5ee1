"""Callers: a closed loop, in which each asks again when it has its answer, and an open one, which waits for nobody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from bench.rounds import Figures
from service.cli.files.order_replay import percentile

Call = Callable[[], Awaitable[object]]

TICK_SECONDS = 0.002
"""The shortest sleep of an open loop; calls that are due by its end go together."""


async def closed_loop(call: Call, callers: int, seconds: float) -> Figures:
    """Every caller calls until the time is over, and then ends its last call: everything that began is counted."""
    latencies: list[float] = []
    started = time.perf_counter()
    end = started + seconds

    async def caller() -> None:
        begun = time.perf_counter()
        while begun < end:
            await call()
            ended = time.perf_counter()
            latencies.append(ended - begun)
            begun = ended

    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller())
    return figures_of(latencies, time.perf_counter() - started)


async def open_loop(call: Call, per_second: float, seconds: float) -> Figures:
    """Calls at a steady rate, whether or not answers come. A latency counts from when its call was due."""
    latencies: list[float] = []
    started = time.perf_counter()

    async def timed(due: float) -> None:
        await call()
        latencies.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as tasks:
        for number in range(max(1, round(per_second * seconds))):
            due = started + number / per_second
            wait = due - time.perf_counter()
            if wait > 0:
                # A little late is no harm, because latencies count from when calls are due; a busy loop is.
                await asyncio.sleep(max(wait, TICK_SECONDS))
            tasks.create_task(timed(due))
    return figures_of(latencies, time.perf_counter() - started)


def figures_of(latencies_seconds: Sequence[float], seconds: float) -> Figures:
    """Calls, calls a second, and percentiles of their time."""
    milliseconds = [latency * 1_000 for latency in latencies_seconds]
    return {
        "calls": len(milliseconds),
        "calls_per_second": len(milliseconds) / seconds,
        "p50_ms": percentile(milliseconds, 0.50) or 0.0,
        "p99_ms": percentile(milliseconds, 0.99) or 0.0,
    }
