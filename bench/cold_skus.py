"""What a viral SKU does to the others: how long orders of cold SKUs take while one is hot, and while none is."""

from __future__ import annotations

from functools import partial
from statistics import median

from bench.allocators import allocator
from bench.bench_calls import ALLOCATE
from bench.bench_report import Report, ratio
from bench.bench_retailer import Shop, open_shop
from bench.bench_server import serving
from bench.load_generator import Generator, Stream, Task, generator
from bench.rounds import Figures, Pace, interleaved

NAME = "cold"
PACE = Pace(rounds=5, seconds=5.0)
HOT = "HOT"
COLD = tuple(f"COLD-{number}" for number in range(200))
COLD_PER_SECOND = 60.0
CALLERS = 256
"""Who find out how many hot orders a second can be answered at most."""


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Open loop at both ends, the hot SKU at half of what was found to be possible. Raises WrongAnswer."""
    async with generator() as caller, open_shop(url) as shop, allocator(shop) as ours, serving(shop, ours) as address:
        await shop.stock([HOT, *COLD])
        capacity = await _capacity(shop, caller, address, pace)
        cold = Stream("cold", ALLOCATE, COLD, per_second=COLD_PER_SECOND)
        hot = Stream("hot", ALLOCATE, [HOT], per_second=capacity / 2)
        found = await interleaved(
            {
                "cold alone": partial(_cold, shop, caller, address, [cold]),
                "cold beside hot": partial(_cold, shop, caller, address, [cold, hot]),
            },
            pace,
        )
        return Report(
            name=NAME,
            pace=pace,
            arms=found,
            ratios=[ratio("cold_p99_ratio", found["cold beside hot"], found["cold alone"], "p99_ms", at_most=2.0)],
            settings={
                **await shop.durability(),
                "hot_capacity_per_second": round(capacity),
                "hot_per_second": round(capacity / 2),
                "cold_per_second": COLD_PER_SECOND,
            },
            proof=await shop.prove(),
        )


async def _capacity(shop: Shop, caller: Generator, address: str, pace: Pace) -> float:
    turns = []
    for _ in range(3):
        task = Task(address, pace.seconds / 2, [Stream("hot", ALLOCATE, [HOT], callers=CALLERS)])
        figures = (await caller.run(task))["hot"]
        shop.sold[HOT] += int(figures["calls"])
        turns.append(figures["calls_per_second"])
    return median(turns)


async def _cold(shop: Shop, caller: Generator, address: str, streams: list[Stream], seconds: float) -> Figures:
    """The cold orders' figures, with what the hot ones came to beside them."""
    found = await caller.run(Task(address, seconds, streams))
    calls = int(found["cold"]["calls"])
    # The generator takes the SKUs in turn, beginning with the first every time.
    for number, sku in enumerate(COLD):
        shop.sold[sku] += calls // len(COLD) + (number < calls % len(COLD))
    if "hot" not in found:
        return found["cold"]
    shop.sold[HOT] += int(found["hot"]["calls"])
    return found["cold"] | {f"hot_{name}": value for name, value in found["hot"].items()}
