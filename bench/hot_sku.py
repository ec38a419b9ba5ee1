"""One hot SKU at ten locations, paid orders of one line: our allocator beside a transaction per order."""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial

from bench.allocators import POOL_SIZES, Orders, allocator, transaction_per_order
from bench.bench_calls import ALLOCATE
from bench.bench_report import Ratio, Report, ratio
from bench.bench_retailer import Shop, open_shop
from bench.bench_server import serving
from bench.call_loops import closed_loop
from bench.load_generator import Generator, Stream, Task, generator
from bench.rounds import Figures, Pace, interleaved

NAME = "hot"
PACE = Pace(rounds=5, seconds=2.0)
MANY = 256
"""Callers of a viral SKU."""
FEW = (1, 4, 16)
OURS, THEIRS = "HOT-OURS", "HOT-THEIRS"
"""Each arm has a hot SKU of its own, so that neither lives with the other's dead rows."""


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Successful orders a second, in process for several numbers of callers, and over gRPC. Raises WrongAnswer."""
    async with generator() as caller, open_shop(url) as shop, AsyncExitStack() as stack:
        await shop.stock([OURS, THEIRS])
        ours = await stack.enter_async_context(allocator(shop))
        pools = {size: await stack.enter_async_context(transaction_per_order(shop, size)) for size in POOL_SIZES}
        best = {callers: await _best_pool(shop, pools, callers, pace) for callers in (*FEW, MANY)}
        arms = {}
        for callers in (*FEW, MANY):
            arms[f"allocator, {callers} callers"] = partial(_in_process, shop, ours, OURS, callers)
            arms[f"transaction, {callers} callers"] = partial(_in_process, shop, pools[best[callers]], THEIRS, callers)
        for name, sku, orders in (("allocator", OURS, ours), ("transaction", THEIRS, pools[best[MANY]])):
            address = await stack.enter_async_context(serving(shop, orders))
            arms[f"{name}, gRPC, {MANY} callers"] = partial(_over_grpc, shop, caller, address, sku)
        found = await interleaved(arms, pace)
        return Report(
            name=NAME,
            pace=pace,
            arms=found,
            ratios=_ratios(found),
            settings={**await shop.durability(), **{f"baseline_pool_at_{n}": size for n, size in best.items()}},
            proof=await shop.prove(),
        )


def _ratios(found: dict[str, list[Figures]]) -> list[Ratio]:
    def of(name: str, arm: str, bar: float) -> Ratio:
        ours, theirs = found[f"allocator, {arm}"], found[f"transaction, {arm}"]
        return ratio(name, ours, theirs, "calls_per_second", at_least=bar)

    few = [of(f"allocator_vs_transaction_{callers}", f"{callers} callers", 0.95) for callers in FEW]
    many = of(f"allocator_vs_transaction_{MANY}", f"{MANY} callers", 8.0)
    return [*few, many, of(f"allocator_vs_transaction_grpc_{MANY}", f"gRPC, {MANY} callers", 3.0)]


async def _best_pool(shop: Shop, pools: dict[int, Orders], callers: int, pace: Pace) -> int:
    """The pool size at which the baseline answers most; the better of two turns, because the machine is noisy."""
    fitting = [size for size in pools if size <= max(callers, min(pools))]
    if len(fitting) == 1:
        return fitting[0]
    turns = Pace(rounds=min(2, pace.rounds), seconds=pace.seconds)
    found = await interleaved({str(s): partial(_in_process, shop, pools[s], THEIRS, callers) for s in fitting}, turns)
    return max(fitting, key=lambda size: max(figures["calls_per_second"] for figures in found[str(size)]))


async def _in_process(shop: Shop, orders: Orders, sku: str, callers: int, seconds: float) -> Figures:
    async def order() -> None:
        await orders.allocate(shop.ticket(sku), deadline=None)
        shop.sold[sku] += 1

    return await closed_loop(order, callers, seconds)


async def _over_grpc(shop: Shop, caller: Generator, address: str, sku: str, seconds: float) -> Figures:
    found = await caller.run(Task(address, seconds, [Stream("hot", ALLOCATE, [sku], callers=MANY)]))
    shop.sold[sku] += int(found["hot"]["calls"])
    return found["hot"] | {"generator_processor_share": found["generator"]["processor_seconds"] / seconds}
