"""An open loop of more orders than a server can allocate, to see how many of them it still answers in time."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence

from grpc import StatusCode, aio

from bench.bench_calls import CallStream
from bench.call_loops import figures_of, sleep_until
from bench.load_calls import allocated_count, new_bytes, raw_calls
from bench.rounds import Figures

_UNANSWERED = (StatusCode.RESOURCE_EXHAUSTED, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED)
"""gRPC cancels a call of which the connection has ended, or whose status it could not send."""


async def overload_loop(stream: CallStream, channels: Sequence[aio.Channel], seconds: float) -> Figures:
    """An open loop in which calls may be refused or stay unanswered. Only answers within the `seconds` count as good.

    Requests are made before the first call: the load generator competes with the server for the CPU.
    """
    calls = raw_calls(channels, stream.method)
    requests = list(itertools.islice(new_bytes(stream), max(1, round(stream.per_second * seconds))))
    loop_start = time.perf_counter()
    outcomes: Counter[str] = Counter()
    latencies: list[float] = []

    async def timed_call(request: bytes) -> None:
        call_start = time.perf_counter()
        try:
            response_bytes = await next(calls)(request, timeout=stream.deadline_seconds)
        except aio.AioRpcError as error:
            if error.code() not in _UNANSWERED:
                raise
            outcomes[error.code().name.lower()] += 1
            return
        call_end = time.perf_counter()
        latencies.append(call_end - call_start)
        order_count = allocated_count(stream, response_bytes)
        outcomes["orders"] += order_count
        if call_end <= loop_start + seconds:
            outcomes["good_orders"] += order_count

    async with asyncio.TaskGroup() as tasks:
        for number, request in enumerate(requests):
            await sleep_until(loop_start + number / stream.per_second)
            tasks.create_task(timed_call(request))
        sent_seconds = time.perf_counter() - loop_start
    return figures_of(latencies, seconds) | {
        "sent_calls": len(requests),
        "sent_calls_per_second": len(requests) / sent_seconds,
        "refused_calls": outcomes["resource_exhausted"],
        "late_calls": outcomes["deadline_exceeded"],
        "cancelled_calls": outcomes["cancelled"],
        "orders": outcomes["orders"],
        "orders_per_second": outcomes["good_orders"] / seconds,
    }
