"""How long one piece of work keeps the event loop from everything else, while many or large orders are allocated."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

from bench.allocators import Allocator, allocation_queue
from bench.bench_report import Ratio, Report
from bench.bench_retailer import BenchRetailer, open_retailer
from bench.collector_settings import collector_of_service
from bench.loop_delays import recorded_delays
from bench.rounds import Figures, Pace, WrongAnswer, run_in_turns
from service.cli.replay.order_replay import percentile
from truestock.v1 import order_pb2

NAME = "loop"
PACE = Pace(rounds=5, seconds=2.0)
HOT = "HOT"
BURST_ORDERS = 128
LINES = 500
"""Lines of the large order, each of a product of its own."""
LOCATIONS = 200
"""Locations that stock each product of the large order."""
TICK_SECONDS = 0.001


async def measure(url: str, pace: Pace = PACE) -> Report:
    """The longest callback in CPU time of its thread, and how late timers run. Raises WrongAnswer.

    Measured in process, on the event loop of asyncio: the callbacks of uvloop, which serves, cannot be wrapped. Both
    run the same code in them.
    """
    return await asyncio.to_thread(_on_a_plain_loop, url, pace)


def _on_a_plain_loop(url: str, pace: Pace) -> Report:
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(_measure(url, pace))


async def _measure(url: str, pace: Pace) -> Report:
    async with open_retailer(url) as retailer, allocation_queue(retailer) as queue:
        await retailer.add_products([HOT])
        with collector_of_service():
            figures = await _bursts_and_large_orders(retailer, queue, pace)
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=[
                Ratio("longest_callback_cpu_ms", _greatest(figures, "longest_callback_cpu_ms"), at_most=10.0),
                Ratio("loop_delay_p999_ms", _greatest(figures, "delay_p999_ms")),
            ],
            settings={
                **await retailer.durability_settings(),
                "burst_orders": BURST_ORDERS,
                "large_order_lines": LINES,
                "large_order_locations": LOCATIONS,
                "event_loop": "asyncio",
            },
            verified=await retailer.verify(),
        )


async def _bursts_and_large_orders(retailer: BenchRetailer, queue: Allocator, pace: Pace) -> dict[str, list[Figures]]:
    bursts = partial(_repeat, partial(_burst, retailer, queue))
    figures = await run_in_turns({"bursts of hot orders": bursts}, pace)
    # Only now, because rules are asked about every location of a channel.
    skus = [f"CHAIN-{number}" for number in range(LINES)]
    await retailer.add_chain(LOCATIONS, skus)
    large = partial(_repeat, partial(_large_order, retailer, queue, skus))
    return figures | await run_in_turns({"one large order": large}, pace)


def _greatest(figures: dict[str, list[Figures]], name: str) -> tuple[float, ...]:
    """The greater figure of the variants, round by round."""
    return tuple(max(figure[name] for figure in rounds) for rounds in zip(*figures.values(), strict=True))


async def _repeat(work: Callable[[], Awaitable[int]], seconds: float) -> Figures:
    """Works again and again, and returns the orders and the figures of the event loop meanwhile."""
    orders, end = 0, time.perf_counter() + seconds
    with _longest_callback() as longest:
        async with recorded_delays(TICK_SECONDS) as delays:
            while not orders or time.perf_counter() < end:
                orders += await work()
    milliseconds = [delay * 1_000 for delay in delays]
    return {
        "orders": orders,
        "longest_callback_cpu_ms": longest[0] * 1_000,
        "delay_p99_ms": percentile(milliseconds, 0.99) or 0.0,
        "delay_p999_ms": percentile(milliseconds, 0.999) or 0.0,
    }


@contextmanager
def _longest_callback() -> Iterator[list[float]]:
    """The CPU seconds of the longest callback of this thread's event loop, in a list of one."""
    longest, run = [0.0], asyncio.Handle._run

    def timed_run(handle: asyncio.Handle) -> None:
        start = time.thread_time()
        run(handle)
        longest[0] = max(longest[0], time.thread_time() - start)

    # Every callback of the event loop goes through this method.
    asyncio.Handle._run = timed_run  # type: ignore[method-assign, assignment]
    try:
        yield longest
    finally:
        asyncio.Handle._run = run  # type: ignore[method-assign]


async def _burst(retailer: BenchRetailer, queue: Allocator) -> int:
    await asyncio.gather(*(_allocate(retailer, queue, HOT) for _ in range(BURST_ORDERS)))
    retailer.sold[HOT] += BURST_ORDERS
    return BURST_ORDERS


async def _large_order(retailer: BenchRetailer, queue: Allocator, skus: list[str]) -> int:
    await _allocate(retailer, queue, *skus)
    retailer.sold.update(skus)
    return 1


async def _allocate(retailer: BenchRetailer, queue: Allocator, *skus: str) -> None:
    allocation = await queue.allocate(retailer.new_ticket(*skus))
    if allocation.outcome != order_pb2.OUTCOME_ALLOCATED:
        raise WrongAnswer(f"an order for which stock exists was not allocated: {allocation}")
