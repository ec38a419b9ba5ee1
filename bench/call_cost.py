"""The cost of CheckAvailability and AllocateOrder beside a bare echo: a bare gRPC server that does nothing."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial

from bench.allocators import allocation_queue
from bench.baselines.bare_echo import running_bare_echo
from bench.bench_calls import ALLOCATE, BATCH, CHECK, ECHO, EMPTY, CallStream
from bench.bench_report import Ratio, Report, ratio
from bench.bench_retailer import open_retailer
from bench.bench_server import running_server
from bench.cpu_meter import CpuMeter, MeteredServer, cpu_ratio, postgres_meter
from bench.load_generator import running_generator
from bench.product_server import running_product
from bench.rounds import Figures, Pace, Variant, run_in_turns

NAME = "calls"
PACE = Pace(rounds=7, seconds=2.0)
CALLERS, MANY_CALLERS = 64, 256
HOT = "HOT"
SKUS = (HOT, *(f"SKU-{number}" for number in range(1, 100)))
BATCHED_ORDERS = 500

ECHO_64, ECHO_256 = "bare echo, 64 callers", "bare echo, 256 callers"
OWN_EMPTY = "empty call of our server, 64 callers"
CHECK_1, CHECK_100 = "CheckAvailability, 64 callers", "CheckAvailability of 100 SKUs, 64 callers"
ALLOCATE_64, ALLOCATE_256 = "AllocateOrder, 64 callers", "AllocateOrder, 256 callers"
BATCH_500 = "BatchAllocateOrders of 500, 1 caller"


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Answers per second to callers in another process, and the CPU time of each side. Raises WrongAnswer."""
    async with (
        running_generator() as generator,
        open_retailer(url) as retailer,
        allocation_queue(retailer) as queue,
        running_server(retailer, queue) as own_address,
        running_bare_echo() as echo_process,
    ):
        await retailer.add_products(SKUS)
        async with running_product(url) as product_process:
            meter = await postgres_meter(product_process.pid, url)
            product = MeteredServer(generator, product_process.address, meter, retailer)
            echo = MeteredServer(generator, echo_process.address, CpuMeter(echo_process.pid))
            own = MeteredServer(generator, own_address, CpuMeter(os.getpid()))
            figures = await run_in_turns(_variants(product, echo, own), pace, verify=retailer.verify)
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=_ratios(figures),
            settings={**await retailer.durability_settings(), "callers": f"{CALLERS} and {MANY_CALLERS}"},
            verified=await retailer.verify(),
        )


def _variants(product: MeteredServer, echo: MeteredServer, own: MeteredServer) -> dict[str, Variant]:
    def stream(method: str, callers: int = CALLERS, skus: Sequence[str] = (HOT,), orders: int = 1) -> CallStream:
        return CallStream("calls", method, skus, callers=callers, orders=orders)

    return {
        ECHO_64: partial(echo.run, stream(ECHO)),
        CHECK_1: partial(product.run, stream(CHECK)),
        ALLOCATE_64: partial(product.run, stream(ALLOCATE)),
        OWN_EMPTY: partial(own.run, stream(EMPTY)),
        CHECK_100: partial(product.run, stream(CHECK, skus=SKUS)),
        ECHO_256: partial(echo.run, stream(ECHO, MANY_CALLERS)),
        ALLOCATE_256: partial(product.run, stream(ALLOCATE, MANY_CALLERS)),
        BATCH_500: partial(product.run, stream(BATCH, 1, orders=BATCHED_ORDERS)),
    }


def _ratios(figures: Mapping[str, Sequence[Figures]]) -> list[Ratio]:
    """The two to the empty call of our own server join the history: until the bare echo, that was the denominator."""

    def speed(name: str, variant: str, denominator: str, at_least: float | None = None, units: int = 1) -> Ratio:
        return ratio(name, _times(figures[variant], units), figures[denominator], "calls_per_second", at_least=at_least)

    return [
        speed("check_availability_vs_empty", CHECK_1, ECHO_64, 0.75),
        speed("check_100_skus_vs_100_calls", CHECK_100, CHECK_1, 20, len(SKUS)),
        speed("allocate_vs_empty", ALLOCATE_64, ECHO_64, 0.25),
        speed("allocate_vs_empty_256", ALLOCATE_256, ECHO_256, 0.38),
        cpu_ratio("allocate_cpu_vs_empty", figures[ALLOCATE_256], figures[ECHO_256], at_most=2.8),
        speed("batch_500_orders_vs_500_calls", BATCH_500, ALLOCATE_64, 3, BATCHED_ORDERS),
        speed("check_availability_vs_own_empty_call", CHECK_1, OWN_EMPTY),
        speed("allocate_vs_own_empty_call", ALLOCATE_64, OWN_EMPTY),
    ]


def _times(rounds: Sequence[Figures], units: int) -> list[Figures]:
    """The rounds with so many units a call: SKUs that are checked, orders that are allocated."""
    return [{"calls_per_second": figures["calls_per_second"] * units} for figures in rounds]
