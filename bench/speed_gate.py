"""`make check-speed`: fails when a call has become expensive.

The CPU time of each call, server and PostgreSQL together, is divided by that of a bare echo, and compared with its
bound in `speed_bounds.toml`. Each turn makes a fixed number of calls. On a busy machine the same work takes up to three
times the CPU time, and much work suffers more than little, so an echo is measured right before and right after each
call, and the least of the rounds counts.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean
from typing import Annotated

import typer
import uvloop

from bench.baselines.bare_echo import running_bare_echo
from bench.bench_calls import ALLOCATE, CHECK, ECHO, RECORD, CallStream, zipf_skus
from bench.bench_retailer import BenchRetailer, open_retailer
from bench.cpu_meter import CpuMeter, MeteredServer, cpu_us_per_call, postgres_meter
from bench.load_generator import running_generator
from bench.product_server import running_product
from bench.rounds import WrongAnswer
from service.cli.console import add_row, new_table, say, stdout_console
from service.database.embedded.postgres import temporary_postgres

BOUNDS_FILE = Path(__file__).parent / "speed_bounds.toml"
ROUNDS = 6
HOT = "HOT"
SKUS = (HOT, *(f"SKU-{number}" for number in range(1, 200)))
BARE_ECHO = CallStream("bare_echo", ECHO, callers=256, calls=1_000)
# With 256 callers, batches are so large that their own cost hardly matters, however busy the machine is.
CALLS = (
    CallStream("check_availability", CHECK, [HOT], callers=64, calls=500),
    CallStream("check_100_skus", CHECK, SKUS[:100], callers=16, calls=32),
    CallStream("allocate_sold", ALLOCATE, [HOT], callers=256, calls=512),
    CallStream("allocate_hold", ALLOCATE, [HOT], callers=256, calls=512, hold=True),
    CallStream("allocate_3_lines", ALLOCATE, zipf_skus(SKUS, lines=3), callers=256, calls=256, lines=3),
    CallStream("record_stock_changes", RECORD, SKUS[100:], callers=16, calls=64),
)

Ratios = Mapping[str, float]
"""CPU time a call ÷ that of a bare echo, by name of the call."""


def check_speed(
    batch_orders: Annotated[
        int | None, typer.Option(min=1, help="Orders in one transaction; with 1 the gate has to fail.")
    ] = None,
) -> None:
    """Fails if the CPU time of a call is above its bound, in two runs in a row."""
    try:
        too_slow = find_too_slow(lambda: _measure(batch_orders), read_bounds(BOUNDS_FILE))
    except WrongAnswer as error:
        say(f"Wrong answer under load: {error}")
        raise typer.Exit(1) from error
    if too_slow:
        say(
            f"Too slow in two runs in a row: {', '.join(too_slow)}. Make it as fast as it was. Where a feature is "
            f"worth its CPU time, raise the bound in bench/{BOUNDS_FILE.name} and write the reason beside it."
        )
        raise typer.Exit(1)


def read_bounds(file: Path) -> Ratios:
    """The bounds of all calls. Raises ValueError unless each call has a bound above 0."""
    bounds: dict[str, float] = tomllib.loads(file.read_text())
    names = {stream.name for stream in CALLS}
    if bounds.keys() != names or min(bounds.values()) <= 0:
        raise ValueError(f"{file} must have a bound above 0 for each of {', '.join(sorted(names))}, and no other")
    return bounds


def find_too_slow(measure: Callable[[], Ratios], bounds: Ratios) -> list[str]:
    """The calls above their bounds in two runs in a row; there is no second run if none is above in the first."""
    too_slow = _run(measure, bounds)
    if not too_slow:
        return []
    say(f"Above the bound: {', '.join(too_slow)}. Measuring again, because other load may be the cause …")
    again = _run(measure, bounds)
    return [name for name in too_slow if name in again]


def _run(measure: Callable[[], Ratios], bounds: Ratios) -> list[str]:
    ratios = measure()
    table = new_table("CPU time a call ÷ bare echo", "ratio", "bound", "", numbers=("ratio", "bound"))
    for name, bound in bounds.items():
        add_row(table, name, f"{ratios[name]:.2f}", f"{bound:g}", "too slow" if ratios[name] > bound else "")
    stdout_console().print(table)
    return [name for name, bound in bounds.items() if ratios[name] > bound]


def _measure(batch_orders: int | None) -> Ratios:
    with temporary_postgres() as server:
        return uvloop.run(_ratios(server.database_url, batch_orders))


async def _ratios(url: str, batch_orders: int | None) -> Ratios:
    async with running_generator() as generator, open_retailer(url) as retailer, running_bare_echo() as echo_process:
        await retailer.add_products(SKUS)
        async with running_product(url, batch_orders=batch_orders) as process:
            meter = await postgres_meter(process.pid, url)
            product = MeteredServer(generator, process.address, meter, retailer)
            echo = MeteredServer(generator, echo_process.address, CpuMeter(echo_process.pid))
            await _round(retailer, product, echo)
            rounds = [await _round(retailer, product, echo) for _ in range(ROUNDS)]
    return {stream.name: min(ratios[stream.name] for ratios in rounds) for stream in CALLS}


async def _round(retailer: BenchRetailer, product: MeteredServer, echo: MeteredServer) -> Ratios:
    ratios = {}
    echo_before = cpu_us_per_call(await echo.run(BARE_ECHO, 0))
    for stream in CALLS:
        figures = await product.run(stream, 0)
        echo_after = cpu_us_per_call(await echo.run(BARE_ECHO, 0))
        ratios[stream.name] = cpu_us_per_call(figures) / mean((echo_before, echo_after))
        echo_before = echo_after
    await retailer.verify()
    return ratios
