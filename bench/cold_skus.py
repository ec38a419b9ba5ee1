"""The effect of a hot SKU on the others: the latency of orders of cold SKUs with and without load on the hot one.

Measured as `truestock serve` runs: in the benchmark's process, the collector stopped all calls for 130 ms now and then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import median

from bench.bench_calls import ALLOCATE, CallStream
from bench.bench_report import Report, ratio
from bench.bench_retailer import BenchRetailer, open_retailer
from bench.load_generator import LoadGenerator, LoadTask, running_generator
from bench.product_server import running_product
from bench.rounds import Figures, Pace, run_in_turns

NAME = "cold"
PACE = Pace(rounds=5, seconds=5.0)
HOT = "HOT"
COLD = tuple(f"COLD-{number}" for number in range(200))
ALONE, WITH_HOT = "cold alone", "cold with hot"
COLD_PER_SECOND = 60.0
CALLERS = 256
"""Callers that measure how many orders of the hot SKU can be answered per second at most."""


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Open loop for hot and cold SKUs, the hot one at half of its measured capacity. Raises WrongAnswer."""
    async with running_generator() as generator, open_retailer(url) as retailer:
        await retailer.add_products([HOT, *COLD])
        async with running_product(url) as process:
            capacity, figures = await _in_turns(retailer, generator, process.address, pace)
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=[ratio("cold_p99_ratio", figures[WITH_HOT], figures[ALONE], "p99_ms", at_most=2.0)],
            settings={
                **await retailer.durability_settings(),
                "hot_capacity_per_second": round(capacity),
                "hot_per_second": round(capacity / 2),
                "cold_per_second": COLD_PER_SECOND,
            },
            verified=await retailer.verify(),
        )


async def _in_turns(
    retailer: BenchRetailer, generator: LoadGenerator, address: str, pace: Pace
) -> tuple[float, Mapping[str, Sequence[Figures]]]:
    """The hot SKU's capacity, and the figures of both variants."""
    capacity = await _hot_capacity(retailer, generator, address, pace)
    cold = CallStream("cold", ALLOCATE, COLD, per_second=COLD_PER_SECOND)
    hot = CallStream("hot", ALLOCATE, [HOT], per_second=capacity / 2)
    variants = {
        ALONE: partial(_order, retailer, generator, address, [cold]),
        WITH_HOT: partial(_order, retailer, generator, address, [cold, hot]),
    }
    return capacity, await run_in_turns(variants, pace)


async def _hot_capacity(retailer: BenchRetailer, generator: LoadGenerator, address: str, pace: Pace) -> float:
    """Orders of the hot SKU per second, as the median of three runs."""
    rates = []
    for _ in range(3):
        stream = CallStream("hot", ALLOCATE, [HOT], callers=CALLERS)
        figures = (await generator.run(LoadTask(address, pace.seconds / 2, [stream])))["hot"]
        retailer.count_answers(stream, int(figures["calls"]))
        rates.append(figures["calls_per_second"])
    return median(rates)


async def _order(
    retailer: BenchRetailer, generator: LoadGenerator, address: str, streams: list[CallStream], seconds: float
) -> Figures:
    """The figures of the cold SKUs' orders, and those of the hot SKU as `hot_…` if it is ordered too."""
    figures = await generator.run(LoadTask(address, seconds, streams))
    for stream in streams:
        retailer.count_answers(stream, int(figures[stream.name]["calls"]))
    if "hot" not in figures:
        return figures["cold"]
    return figures["cold"] | {f"hot_{name}": value for name, value in figures["hot"].items()}
