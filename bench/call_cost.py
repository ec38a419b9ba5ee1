"""What our calls cost beside a call that does nothing, on the same server and through the same interceptor."""

from __future__ import annotations

import time
from functools import partial

from bench.allocators import allocator
from bench.bench_calls import ALLOCATE, CHECK, EMPTY
from bench.bench_report import Report, ratio
from bench.bench_retailer import Shop, open_shop
from bench.bench_server import serving
from bench.load_generator import Generator, Stream, Task, generator
from bench.rounds import Figures, Pace, interleaved

NAME = "calls"
PACE = Pace(rounds=7, seconds=2.0)
CALLERS = 64
SKU = "HOT"


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Answers a second to CALLERS callers in another process. Raises WrongAnswer."""
    async with generator() as caller, open_shop(url) as shop, allocator(shop) as ours, serving(shop, ours) as address:
        await shop.stock([SKU])
        arms = {
            name: partial(_calls, shop, caller, address, method)
            for name, method in (("empty", EMPTY), ("CheckAvailability", CHECK), ("AllocateOrder", ALLOCATE))
        }
        found = await interleaved(arms, pace)
        empty = found["empty"]
        return Report(
            name=NAME,
            pace=pace,
            arms=found,
            ratios=[
                ratio(
                    "check_availability_vs_empty", found["CheckAvailability"], empty, "calls_per_second", at_least=0.7
                ),
                ratio("allocate_vs_empty", found["AllocateOrder"], empty, "calls_per_second", at_least=0.55),
            ],
            settings={**await shop.durability(), "callers": CALLERS},
            proof=await shop.prove(),
        )


async def _calls(shop: Shop, caller: Generator, address: str, method: str, seconds: float) -> Figures:
    """Both ends' processor time is told: on two cores a generator that is the bottleneck hides what a call costs."""
    started = time.process_time()
    found = await caller.run(Task(address, seconds, [Stream("calls", method, [SKU], callers=CALLERS)]))
    spent = time.process_time() - started
    figures = found["calls"]
    if method == ALLOCATE:
        shop.sold[SKU] += int(figures["calls"])
    return figures | {
        "server_processor_us_per_call": spent / figures["calls"] * 1e6,
        "generator_processor_us_per_call": found["generator"]["processor_seconds"] / figures["calls"] * 1e6,
    }
