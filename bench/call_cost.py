"""The cost of CheckAvailability and AllocateOrder beside an empty call on the same server and interceptor."""

from __future__ import annotations

import time
from functools import partial

from bench.allocators import allocation_queue
from bench.bench_calls import ALLOCATE, CHECK, EMPTY
from bench.bench_report import Report, ratio
from bench.bench_retailer import BenchRetailer, open_retailer
from bench.bench_server import running_server
from bench.load_generator import CallStream, LoadGenerator, LoadTask, running_generator
from bench.rounds import Figures, Pace, run_in_turns

NAME = "calls"
PACE = Pace(rounds=7, seconds=2.0)
CALLERS = 64
SKU = "HOT"


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Answers per second to CALLERS callers in another process. Raises WrongAnswer."""
    async with (
        running_generator() as generator,
        open_retailer(url) as retailer,
        allocation_queue(retailer) as queue,
        running_server(retailer, queue) as address,
    ):
        await retailer.add_products([SKU])
        variants = {
            name: partial(_call, retailer, generator, address, method)
            for name, method in (("empty", EMPTY), ("CheckAvailability", CHECK), ("AllocateOrder", ALLOCATE))
        }
        figures = await run_in_turns(variants, pace)
        checks, orders, empty = figures["CheckAvailability"], figures["AllocateOrder"], figures["empty"]
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=[
                ratio("check_availability_vs_empty", checks, empty, "calls_per_second", at_least=0.7),
                ratio("allocate_vs_empty", orders, empty, "calls_per_second", at_least=0.55),
            ],
            settings={**await retailer.durability_settings(), "callers": CALLERS},
            verified=await retailer.verify(),
        )


async def _call(
    retailer: BenchRetailer, generator: LoadGenerator, address: str, method: str, seconds: float
) -> Figures:
    """Reports the CPU time of both ends: on two cores, a generator that is the bottleneck hides the cost of a call."""
    start_cpu_seconds = time.process_time()
    results = await generator.run(LoadTask(address, seconds, [CallStream("calls", method, [SKU], callers=CALLERS)]))
    server_cpu_seconds = time.process_time() - start_cpu_seconds
    figures = results["calls"]
    if method == ALLOCATE:
        retailer.sold[SKU] += int(figures["calls"])
    return figures | {
        "server_cpu_us_per_call": server_cpu_seconds / figures["calls"] * 1e6,
        "generator_cpu_us_per_call": results["generator"]["cpu_seconds"] / figures["calls"] * 1e6,
    }
