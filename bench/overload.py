"""How many orders are answered in time when four times as many arrive as the service can allocate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.bench_calls import ALLOCATE, BATCH, CallStream
from bench.bench_report import Report, ratio
from bench.bench_retailer import BenchRetailer, open_retailer
from bench.cpu_meter import MeteredServer, postgres_meter
from bench.load_generator import running_generator
from bench.product_server import running_product
from bench.rounds import Figures, Pace, Variant, run_in_turns

NAME = "overload"
PACE = Pace(rounds=5, seconds=5.0)
SKU = "HOT"
TIMES = 4
DEADLINE_SECONDS = 1.0
ORDERS = CallStream("single orders", ALLOCATE, [SKU], callers=256)
BATCHES = CallStream("batches of 50", BATCH, [SKU], callers=16, orders=50)


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Orders answered per second: in a closed loop, then in an open loop of TIMES as many. Raises WrongAnswer."""
    async with running_generator() as generator, open_retailer(url) as retailer:
        await retailer.add_products([SKU])
        async with running_product(url) as product:
            server = MeteredServer(generator, product.address, await postgres_meter(product.pid, url))
            orders, batches = _Load(retailer, server, ORDERS), _Load(retailer, server, BATCHES)
            variants = {**batches.variants(), **orders.variants()}
            figures = await run_in_turns(variants, pace, verify=retailer.verify)
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=[
                ratio(name, figures[load.overload], figures[load.closed], "orders_per_second", at_least=0.9)
                for name, load in (("goodput_4x_vs_1x", batches), ("goodput_4x_vs_1x_single_orders", orders))
            ],
            settings={**await retailer.durability_settings(), "deadline_seconds": DEADLINE_SECONDS},
            verified=await retailer.verify(),
        )


@dataclass(slots=True)
class _Load:
    """A kind of call. Each round first measures how many orders are answered at most; the overload follows from it."""

    retailer: BenchRetailer
    server: MeteredServer
    stream: CallStream
    calls_per_second: float = 0.0

    @property
    def closed(self) -> str:
        return f"{self.stream.name}, {self.stream.callers} callers"

    @property
    def overload(self) -> str:
        return f"{self.stream.name}, {TIMES} times as many"

    def variants(self) -> dict[str, Variant]:
        return {self.closed: self._run_closed, self.overload: self._run_overload}

    async def _run_closed(self, seconds: float) -> Figures:
        figures = await self.server.run(self.stream, seconds)
        self.retailer.count_answers(self.stream, int(figures["calls"]))
        self.calls_per_second = figures["calls_per_second"]
        return figures | {"orders_per_second": self.calls_per_second * self.stream.orders}

    async def _run_overload(self, seconds: float) -> Figures:
        rate = TIMES * self.calls_per_second
        stream = replace(self.stream, callers=0, per_second=rate, deadline_seconds=DEADLINE_SECONDS)
        figures = await self.server.run(stream, seconds)
        orders = int(figures["orders"])
        self.retailer.sold[SKU] += orders
        self.retailer.unanswered[SKU] += int(figures["sent_calls"]) * self.stream.orders - orders
        return figures
