"""What the log costs: the same calls on a service that logs as it does by default, and on one that logs no call."""

from __future__ import annotations

import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

from bench.bench_calls import ALLOCATE, CHECK, CallStream
from bench.bench_report import Report
from bench.bench_retailer import open_retailer
from bench.cpu_meter import MeteredServer, cpu_ratio, postgres_meter
from bench.load_generator import running_generator
from bench.product_server import running_product
from bench.rounds import Pace, WrongAnswer, run_in_turns
from service.settings import Settings

NAME = "logs"
PACE = Pace(rounds=9, seconds=2.0)
CALLERS = 64
HOT = "HOT"
LOGGED, SILENT = "logged", "silent"
_CALLS = {"check": CHECK, "allocate": ALLOCATE}
MOST = 1.03
"""What logs may cost of the CPU time of a call."""


async def measure(url: str, pace: Pace = PACE) -> Report:
    """CPU time a call of the service and its PostgreSQL, in turns. Raises WrongAnswer."""
    lines = Settings.model_fields["log_calls_per_second"].default
    async with AsyncExitStack() as stack:
        generator = await stack.enter_async_context(running_generator())
        retailer = await stack.enter_async_context(open_retailer(url))
        await retailer.add_products([HOT])
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        servers = {}
        for name, lines_per_second in ((SILENT, 0.0), (LOGGED, lines)):
            settings = {"log_format": "json", "log_calls_per_second": str(lines_per_second)}
            product = running_product(url, settings=settings, log=folder / name)
            server = await stack.enter_async_context(product)
            servers[name] = MeteredServer(generator, server.address, await postgres_meter(server.pid, url), retailer)
        variants = {
            f"{call}, {name}": partial(server.run, CallStream("calls", method, [HOT], callers=CALLERS))
            for call, method in _CALLS.items()
            for name, server in servers.items()
        }
        figures = await run_in_turns(variants, pace, verify=retailer.verify)
        logged = _count_calls(folder / LOGGED)
        if not logged or _count_calls(folder / SILENT):
            raise WrongAnswer(f"{logged} calls are in the log of the service that logs them, and some in the other's")
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=[
                cpu_ratio(f"{call}_cpu", figures[f"{call}, {LOGGED}"], figures[f"{call}, {SILENT}"], at_most=MOST)
                for call in _CALLS
            ],
            settings={**await retailer.durability_settings(), "callers": CALLERS, "lines_per_second": lines},
            verified=f"{await retailer.verify()}; {logged:,} lines of calls were written",
        )


def _count_calls(log: Path) -> int:
    return sum('"method":' in line for line in log.read_text().splitlines())
