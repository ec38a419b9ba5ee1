"""One hot SKU at ten locations, paid orders of one line: the allocation queue beside a transaction per order."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from bench.allocators import POOL_SIZES, Allocator, allocation_queue, transaction_per_order
from bench.bench_calls import ALLOCATE, CallStream
from bench.bench_report import Ratio, Report, ratio
from bench.bench_retailer import BenchRetailer, open_retailer
from bench.bench_server import running_server
from bench.call_loops import closed_loop
from bench.load_generator import LoadGenerator, LoadTask, running_generator
from bench.rounds import Figures, Pace, run_in_turns

NAME = "hot"
PACE = Pace(rounds=5, seconds=2.0)
MANY_CALLERS = 256
"""Callers of a viral SKU."""
FEW_CALLERS = (1, 4, 16)
QUEUE_SKU, BASELINE_SKU = "HOT-QUEUE", "HOT-BASELINE"
"""Each allocator has a hot SKU of its own, so that neither is slowed by dead rows of the other."""


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Allocated orders per second, in process for several numbers of callers, and over gRPC. Raises WrongAnswer."""
    async with running_generator() as generator, open_retailer(url) as retailer, AsyncExitStack() as stack:
        await retailer.add_products([QUEUE_SKU, BASELINE_SKU])
        queue = await stack.enter_async_context(allocation_queue(retailer))
        baselines = {
            size: await stack.enter_async_context(transaction_per_order(retailer, size)) for size in POOL_SIZES
        }
        pool_sizes = {
            callers: await _best_pool_size(retailer, baselines, callers, pace)
            for callers in (*FEW_CALLERS, MANY_CALLERS)
        }
        variants = {}
        for callers, size in pool_sizes.items():
            variants[f"queue, {callers} callers"] = partial(_in_process, retailer, queue, QUEUE_SKU, callers)
            variants[f"baseline, {callers} callers"] = partial(
                _in_process, retailer, baselines[size], BASELINE_SKU, callers
            )
        baseline = baselines[pool_sizes[MANY_CALLERS]]
        for name, sku, allocator in (("queue", QUEUE_SKU, queue), ("baseline", BASELINE_SKU, baseline)):
            address = await stack.enter_async_context(running_server(retailer, allocator))
            variants[f"{name}, gRPC, {MANY_CALLERS} callers"] = partial(_over_grpc, retailer, generator, address, sku)
        figures = await run_in_turns(variants, pace)
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=_ratios(figures),
            settings={
                **await retailer.durability_settings(),
                **{f"baseline_pool_at_{callers}": size for callers, size in pool_sizes.items()},
            },
            verified=await retailer.verify(),
        )


def _ratios(figures: dict[str, list[Figures]]) -> list[Ratio]:
    def queue_vs_baseline(name: str, load: str, target: float) -> Ratio:
        queue, baseline = figures[f"queue, {load}"], figures[f"baseline, {load}"]
        return ratio(name, queue, baseline, "calls_per_second", at_least=target)

    many = MANY_CALLERS
    return [
        *(queue_vs_baseline(f"allocator_vs_transaction_{few}", f"{few} callers", 0.95) for few in FEW_CALLERS),
        queue_vs_baseline(f"allocator_vs_transaction_{many}", f"{many} callers", 8.0),
        queue_vs_baseline(f"allocator_vs_transaction_grpc_{many}", f"gRPC, {many} callers", 3.0),
    ]


async def _best_pool_size(retailer: BenchRetailer, baselines: dict[int, Allocator], callers: int, pace: Pace) -> int:
    """The pool size at which the baseline allocates most; the better of two rounds counts, because timing is noisy."""
    sizes = [size for size in baselines if size <= max(callers, min(baselines))]
    if len(sizes) == 1:
        return sizes[0]
    variants = {str(size): partial(_in_process, retailer, baselines[size], BASELINE_SKU, callers) for size in sizes}
    figures = await run_in_turns(variants, Pace(rounds=min(2, pace.rounds), seconds=pace.seconds))
    return max(sizes, key=lambda size: max(turn["calls_per_second"] for turn in figures[str(size)]))


async def _in_process(retailer: BenchRetailer, allocator: Allocator, sku: str, callers: int, seconds: float) -> Figures:
    async def order() -> None:
        await allocator.allocate(retailer.new_ticket(sku))
        retailer.sold[sku] += 1

    return await closed_loop(order, callers, seconds)


async def _over_grpc(
    retailer: BenchRetailer, generator: LoadGenerator, address: str, sku: str, seconds: float
) -> Figures:
    stream = CallStream("hot", ALLOCATE, [sku], callers=MANY_CALLERS)
    figures = await generator.run(LoadTask(address, seconds, [stream]))
    retailer.sold[sku] += int(figures["hot"]["calls"])
    return figures["hot"] | {"generator_cpu_share": figures["generator"]["cpu_seconds"] / seconds}
