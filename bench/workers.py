"""Reads answered by a service of two workers, beside those of a service of one process.

Two generators make the calls, over so many connections that the kernel gives either worker about half of them. More
calls a second show only where cores are free for two workers, PostgreSQL and the generators; elsewhere the CPU time of
a call and the share of each worker say what they would.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bench.allocators import allocation_queue
from bench.bench_calls import CHECK, CallStream
from bench.bench_report import Ratio, Report, ratio
from bench.bench_retailer import open_retailer
from bench.cpu_meter import cpu_seconds
from bench.load_generator import LoadGenerator, LoadTask, running_generator
from bench.module_process import children_with
from bench.product_server import running_product
from bench.rounds import Figures, Pace, run_in_turns

NAME = "workers"
PACE = Pace(rounds=7, seconds=3.0)
CALLERS, CONNECTIONS = 64, 200
"""Of each of two generators."""
SKUS = tuple(f"SKU-{number}" for number in range(100))
ONE, TWO = "one process", "two workers"
FREE_CORES = 6
"""Cores from which on two workers, PostgreSQL and two generators have one each."""
LARGEST_CPU_RATIO, SMALLEST_SHARE, SMALLEST_SPEED_RATIO = 1.05, 0.4, 1.6


@dataclass(frozen=True, slots=True)
class LoadedService:
    """A service under the load of both generators."""

    generators: Sequence[LoadGenerator]
    address: str
    pids: Sequence[int]
    """Of the processes that answer calls."""
    supervisor: int | None = None

    async def run(self, seconds: float) -> Figures:
        """The figures of both generators together, CPU time, and the smallest share of a process in it."""
        stream = CallStream("calls", CHECK, SKUS[:1], callers=CALLERS)
        task = LoadTask(self.address, seconds, [stream], connections=CONNECTIONS)
        before, supervised = self._cpu_seconds(), self._supervisor_seconds()
        results = await asyncio.gather(*(generator.run(task) for generator in self.generators))
        used = [after - began for after, began in zip(self._cpu_seconds(), before, strict=True)]
        calls = sum(result["calls"]["calls"] for result in results)
        server_seconds = sum(used) + self._supervisor_seconds() - supervised
        return {
            "calls": calls,
            "calls_per_second": sum(result["calls"]["calls_per_second"] for result in results),
            "p99_ms": max(result["calls"]["p99_ms"] for result in results),
            "server_cpu_us_per_call": server_seconds / calls * 1e6,
            "smallest_share": min(used) / sum(used),
        }

    def _cpu_seconds(self) -> list[float]:
        return [cpu_seconds(pid) for pid in self.pids]

    def _supervisor_seconds(self) -> float:
        return 0.0 if self.supervisor is None else cpu_seconds(self.supervisor)


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Answers per second, and the CPU time of the processes of each service. Raises WrongAnswer."""
    async with (
        running_generator() as first,
        running_generator() as second,
        open_retailer(url) as retailer,
        allocation_queue(retailer),
    ):
        await retailer.add_products(SKUS)
        async with running_product(url) as one, running_product(url, workers=2) as two:
            generators = (first, second)
            alone = LoadedService(generators, one.address, [one.pid])
            shared = LoadedService(generators, two.address, _workers_of(two.pid), two.pid)
            variants = {ONE: partial(alone.run), TWO: partial(shared.run)}
            figures = await run_in_turns(variants, pace, verify=retailer.verify)
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=_ratios(figures),
            settings={**await retailer.durability_settings(), "callers": 2 * CALLERS, "connections": 2 * CONNECTIONS},
            verified=await retailer.verify(),
        )


def _ratios(figures: Mapping[str, Sequence[Figures]]) -> list[Ratio]:
    has_free_cores = (os.cpu_count() or 1) >= FREE_CORES
    return [
        ratio(
            "workers_2_vs_1",
            *(figures[TWO], figures[ONE], "calls_per_second"),
            at_least=SMALLEST_SPEED_RATIO if has_free_cores else None,
        ),
        ratio(
            "workers_2_vs_1_cpu",
            *(figures[TWO], figures[ONE], "server_cpu_us_per_call"),
            at_most=LARGEST_CPU_RATIO,
        ),
        Ratio("smallest_share_of_a_worker", tuple(x["smallest_share"] for x in figures[TWO]), SMALLEST_SHARE),
    ]


def _workers_of(supervisor: int) -> list[int]:
    return [child.pid for child in children_with("service.app.workers.worker_process", supervisor)]
