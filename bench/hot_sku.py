"""One hot SKU at ten locations, paid orders of one line: the allocation queue beside what else could sell it.

Beside it stand a transaction per order, with all that Truestock does, and the baselines, each of which stores less.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial

from bench.allocators import CONNECTIONS, POOL_SIZES, Allocator, allocation_queue, transaction_per_order
from bench.baselines import redis_lua
from bench.baselines.baseline import Baseline
from bench.baselines.conditional_update import conditional_update
from bench.baselines.plain_for_update import plain_for_update
from bench.baselines.skip_locked import skip_locked
from bench.bench_calls import ALLOCATE, CallStream
from bench.bench_report import Ratio, Report, ratio
from bench.bench_retailer import BenchRetailer, open_retailer
from bench.bench_server import running_server
from bench.call_loops import Call, closed_loop
from bench.collector_settings import collector_of_service
from bench.cpu_meter import CpuMeter, MeteredServer, postgres_meter
from bench.load_generator import running_generator
from bench.rounds import Figures, Pace, Variant, run_in_turns

NAME = "hot"
PACE = Pace(rounds=5, seconds=2.0)
MANY_CALLERS = 256
"""Callers of a viral SKU."""
FEW_CALLERS = (1, 4, 16)
QUEUE_SKU, BASELINE_SKU = "HOT-QUEUE", "HOT-BASELINE"
"""Each allocator has a hot SKU of its own, so that neither is slowed by dead rows of the other."""
PLAIN, REDIS = "plain_for_update", "redis_lua"
SQL_BASELINES: Mapping[str, Callable[[str, int], AbstractAsyncContextManager[Baseline]]] = {
    PLAIN: plain_for_update,
    "conditional_update": conditional_update,
    "skip_locked": skip_locked,
}


class _BaselineRuns:
    """A baseline, and how many of its orders were answered."""

    def __init__(self, baseline: Baseline, meter: CpuMeter) -> None:
        self._baseline = baseline
        self._meter = meter
        self._answered = 0

    async def run(self, seconds: float) -> Figures:
        """Orders of MANY_CALLERS, in this process."""
        return await _in_process(self._meter, self._order, MANY_CALLERS, seconds)

    async def verify(self) -> None:
        """Raises WrongAnswer unless the stock says what was answered."""
        await self._baseline.verify(self._answered)

    async def _order(self) -> None:
        await self._baseline.allocate(uuid.uuid4().hex)
        self._answered += 1


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Allocated orders per second, in process for several numbers of callers, and over gRPC. Raises WrongAnswer."""
    async with open_retailer(url) as retailer, AsyncExitStack() as stack:
        await retailer.add_products([QUEUE_SKU, BASELINE_SKU])
        meter = await postgres_meter(os.getpid(), url)
        pool_sizes = {
            callers: await _best_pool_size(retailer, callers, pace) for callers in (*FEW_CALLERS, MANY_CALLERS)
        }
        baselines = await _baselines(stack, url, meter)
        variants = {
            **await _allocators(stack, retailer, meter, pool_sizes),
            **{name: baseline.run for name, baseline in baselines.items()},
        }
        # The baselines, too: whoever writes one could set the collector so.
        stack.enter_context(collector_of_service())
        figures = await run_in_turns(variants, pace, verify=partial(_verify, retailer, baselines))
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=_ratios(figures),
            settings={
                **await retailer.durability_settings(),
                **{f"baseline_pool_at_{callers}": size for callers, size in pool_sizes.items()},
                REDIS: "measured" if REDIS in baselines else f"skipped: {redis_lua.PROGRAM} is not installed",
            },
            verified=f"{await retailer.verify()}; {', '.join(baselines)}: as many units sold as orders answered",
        )


async def _verify(retailer: BenchRetailer, baselines: Mapping[str, _BaselineRuns]) -> None:
    await retailer.verify()
    for baseline in baselines.values():
        await baseline.verify()


async def _allocators(
    stack: AsyncExitStack, retailer: BenchRetailer, meter: CpuMeter, pool_sizes: Mapping[int, int]
) -> dict[str, Variant]:
    """The queue and a transaction per order, in process and over gRPC."""
    generator = await stack.enter_async_context(running_generator())
    queue = await stack.enter_async_context(allocation_queue(retailer))
    per_order = {
        size: await stack.enter_async_context(transaction_per_order(retailer, size))
        for size in set(pool_sizes.values())
    }
    variants: dict[str, Variant] = {}
    for callers, size in pool_sizes.items():
        queued, one_by_one = _order(retailer, queue, QUEUE_SKU), _order(retailer, per_order[size], BASELINE_SKU)
        variants[f"queue, {callers} callers"] = partial(_in_process, meter, queued, callers)
        variants[f"baseline, {callers} callers"] = partial(_in_process, meter, one_by_one, callers)
    many = per_order[pool_sizes[MANY_CALLERS]]
    for name, sku, allocator in (("queue", QUEUE_SKU, queue), ("baseline", BASELINE_SKU, many)):
        address = await stack.enter_async_context(running_server(retailer, allocator))
        stream = CallStream("hot", ALLOCATE, [sku], callers=MANY_CALLERS)
        server = MeteredServer(generator, address, meter, retailer)
        variants[f"{name}, gRPC, {MANY_CALLERS} callers"] = partial(server.run, stream)
    return variants


async def _baselines(stack: AsyncExitStack, url: str, meter: CpuMeter) -> dict[str, _BaselineRuns]:
    """Those in SQL, with as many connections as the service; where it is installed Redis, with one for each caller."""
    baselines = {
        name: _BaselineRuns(await stack.enter_async_context(opened(url, CONNECTIONS)), meter)
        for name, opened in SQL_BASELINES.items()
    }
    if redis_lua.is_installed():
        redis = await stack.enter_async_context(redis_lua.redis_lua(MANY_CALLERS))
        baselines[REDIS] = _BaselineRuns(redis, CpuMeter(os.getpid(), {"redis": redis.pid}))
    return baselines


def _ratios(figures: Mapping[str, Sequence[Figures]]) -> list[Ratio]:
    def speed(name: str, variant: str, denominator: str, target: float | None = None) -> Ratio:
        return ratio(name, figures[variant], figures[denominator], "calls_per_second", at_least=target)

    def vs_transaction(name: str, load: str, target: float) -> Ratio:
        return speed(f"allocator_vs_transaction_{name}", f"queue, {load}", f"baseline, {load}", target)

    many = MANY_CALLERS
    others = [name for name in (*SQL_BASELINES, REDIS) if name in figures and name != PLAIN]
    return [
        *(vs_transaction(f"{few}", f"{few} callers", 0.95) for few in FEW_CALLERS),
        vs_transaction(f"{many}", f"{many} callers", 8.0),
        vs_transaction(f"grpc_{many}", f"gRPC, {many} callers", 3.0),
        speed(f"allocator_vs_plain_{many}", f"queue, {many} callers", PLAIN, 2.0),
        *(speed(f"allocator_vs_{name}_{many}", f"queue, {many} callers", name) for name in others),
    ]


async def _best_pool_size(retailer: BenchRetailer, callers: int, pace: Pace) -> int:
    """The pool size at which a transaction per order allocates most.

    The better of two rounds counts, because timing is noisy.
    """
    sizes = [size for size in POOL_SIZES if size <= max(callers, min(POOL_SIZES))]
    if len(sizes) == 1:
        return sizes[0]
    async with AsyncExitStack() as stack:
        loads: dict[str, Variant] = {}
        for size in sizes:
            allocator = await stack.enter_async_context(transaction_per_order(retailer, size))
            loads[str(size)] = partial(closed_loop, _order(retailer, allocator, BASELINE_SKU), callers)
        figures = await run_in_turns(loads, Pace(rounds=min(2, pace.rounds), seconds=pace.seconds))
    return max(sizes, key=lambda size: max(turn["calls_per_second"] for turn in figures[str(size)]))


async def _in_process(meter: CpuMeter, order: Call, callers: int, seconds: float) -> Figures:
    return await meter.measure(closed_loop(order, callers, seconds))


def _order(retailer: BenchRetailer, allocator: Allocator, sku: str) -> Call:
    async def order() -> None:
        await allocator.allocate(retailer.new_ticket(sku))
        retailer.sold[sku] += 1

    return order
