"""What capacity costs: paid orders at locations that state how many they can handle, and the same at others."""

from __future__ import annotations

from functools import partial

from bench import bench_catalog
from bench.bench_calls import ALLOCATE, CallStream
from bench.bench_report import Report
from bench.bench_retailer import open_retailer
from bench.cpu_meter import MeteredServer, cpu_ratio, postgres_meter
from bench.load_generator import running_generator
from bench.product_server import running_product
from bench.rounds import Pace, WrongAnswer, run_in_turns
from service.database.database import single_connection

NAME = "capacity"
PACE = Pace(rounds=9, seconds=2.0)
CALLERS = (64, 256)
LIMITED, UNLIMITED = "limited", "unlimited"
"""The kinds of locations, each with a product that only they stock, by whose SKU they are called."""
MOST = 1.05
"""What stating a limit may cost, as a ratio of the CPU time of an order."""


async def measure(url: str, pace: Pace = PACE) -> Report:
    """CPU time an order of the service and its PostgreSQL, gRPC included, in turns. Raises WrongAnswer."""
    async with running_generator() as generator, open_retailer(url) as retailer:
        for name in (UNLIMITED, LIMITED):
            await retailer.add_stocked(bench_catalog.regional(name, is_limited=name == LIMITED), [name])
        async with running_product(url) as process:
            meter = await postgres_meter(process.pid, url)
            server = MeteredServer(generator, process.address, meter, retailer)
            variants = {
                _variant(name, callers): partial(server.run, CallStream("calls", ALLOCATE, [name], callers=callers))
                for callers in CALLERS
                for name in (UNLIMITED, LIMITED)
            }
            figures = await run_in_turns(variants, pace, verify=retailer.verify)
        taken = await _orders_taken(url)
        if taken != retailer.sold[LIMITED]:
            raise WrongAnswer(f"{retailer.sold[LIMITED]} orders were sold at limited locations, {taken} are counted")
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=[
                cpu_ratio(
                    f"limited_cpu_{callers}",
                    figures[_variant(LIMITED, callers)],
                    figures[_variant(UNLIMITED, callers)],
                    at_most=MOST,
                )
                for callers in CALLERS
            ],
            settings={
                **await retailer.durability_settings(),
                "callers": " and ".join(map(str, CALLERS)),
                "orders_per_day": bench_catalog.ORDERS_PER_DAY,
            },
            verified=f"{await retailer.verify()}; {taken:,} orders count towards the days of limited locations",
        )


def _variant(name: str, callers: int) -> str:
    return f"AllocateOrder at {name} locations, {callers} callers"


async def _orders_taken(url: str) -> int:
    """The orders that the days of all locations count."""
    async with single_connection(url) as connection:
        count: int = await connection.fetchval("SELECT coalesce(sum(order_count), 0)::int FROM capacity_use")
        return count
