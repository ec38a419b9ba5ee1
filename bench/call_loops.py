"""Two ways to load a server: in a closed loop a caller waits for its answer; in an open loop calls start at a rate."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Sequence

from bench.rounds import Figures
from service.cli.replay.order_replay import percentile

Call = Callable[[], Awaitable[object]]

TICK_SECONDS = 0.002
"""The shortest sleep of an open loop; calls that are due by its end start together."""


async def closed_loop(call: Call, callers: int, seconds: float, *, calls: int | None = None) -> Figures:
    """Each caller calls again when it has its answer, and at least once. Open calls are completed.

    With `calls` the loop ends after this many, however long they take.
    """
    latencies: list[float] = []
    turns = itertools.repeat(None) if calls is None else itertools.repeat(None, calls)
    loop_start = time.perf_counter()
    loop_end = loop_start + seconds

    async def caller() -> None:
        call_start = time.perf_counter()
        for _ in turns:
            await call()
            call_end = time.perf_counter()
            latencies.append(call_end - call_start)
            if calls is None and call_end >= loop_end:
                break
            call_start = call_end

    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller())
    return figures_of(latencies, time.perf_counter() - loop_start)


async def open_loop(call: Call, per_second: float, seconds: float) -> Figures:
    """Starts calls at a steady rate without waiting for answers. Latency counts from when a call is due."""
    latencies: list[float] = []
    loop_start = time.perf_counter()

    async def timed_call(due: float) -> None:
        await call()
        latencies.append(time.perf_counter() - due)

    async with asyncio.TaskGroup() as tasks:
        for number in range(max(1, round(per_second * seconds))):
            due = loop_start + number / per_second
            # A call may start a little late, because latency counts from when it is due.
            await sleep_until(due)
            tasks.create_task(timed_call(due))
    return figures_of(latencies, time.perf_counter() - loop_start)


async def sleep_until(due: float) -> None:
    """Returns when a call of an open loop is due, or a little later, because a busy loop takes CPU."""
    wait = due - time.perf_counter()
    if wait > 0:
        await asyncio.sleep(max(wait, TICK_SECONDS))


def figures_of(latencies_seconds: Sequence[float], seconds: float) -> Figures:
    """The number of calls, calls per second, and latency percentiles."""
    milliseconds = [latency * 1_000 for latency in latencies_seconds]
    return {
        "calls": len(milliseconds),
        "calls_per_second": len(milliseconds) / seconds,
        "p50_ms": percentile(milliseconds, 0.50) or 0.0,
        "p99_ms": percentile(milliseconds, 0.99) or 0.0,
    }
