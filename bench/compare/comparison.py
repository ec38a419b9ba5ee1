"""The same load on the service of the working tree and on that of another revision, in turns."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

from bench.bench_calls import ALLOCATE, CHECK, RECORD, CallStream, zipf_skus
from bench.bench_report import Ratio, Report, ratio
from bench.compare.remote_retailer import RemoteRetailer, remote_retailer
from bench.compare.revision import DEFAULT_REVISION, Tree
from bench.compare.served_tree import ServedTree, StartFailed, serving, wait_until_idle
from bench.cpu_meter import CpuMeter, MeteredServer, cpu_ratio
from bench.load_generator import LoadGenerator, running_generator
from bench.rounds import Figures, Pace, Variant, run_in_turns

NAME = "compare"
PACE = Pace(rounds=9, seconds=2.0)
HOT = "HOT"
SKUS = tuple(f"SKU-{number}" for number in range(1, 501))
FEED_CALLERS = 8
"""Sources that report stock at the same time: warehouses, tills and counts."""

LOADS = {
    "check": CallStream("calls", CHECK, [HOT], callers=64),
    "allocate_64": CallStream("calls", ALLOCATE, [HOT], callers=64),
    "allocate_256": CallStream("calls", ALLOCATE, [HOT], callers=256),
    "hold": CallStream("calls", ALLOCATE, [HOT], callers=64, hold=True),
    "lines": CallStream("calls", ALLOCATE, zipf_skus(SKUS, lines=3), callers=64, lines=3),
    "record": CallStream("calls", RECORD, SKUS, callers=FEED_CALLERS),
}
AT_LEAST = {"check": 1.6, "allocate_64": 1.6, "allocate_256": 2.0, "hold": 1.6, "lines": 1.6, "record": 1.0}
"""How many times as many calls a second as DEFAULT_REVISION the service is to answer."""

Step = Callable[[str], None]
"""Is called with what the comparison does next."""


async def measure(new: Tree, base: Tree, pace: Pace = PACE, *, step: Step = lambda _: None) -> Report:
    """Ratios of the new tree to the base: calls a second, p99, and CPU of server and PostgreSQL a call.

    Raises WrongAnswer, and StartFailed if one of the services does not start.
    """
    _cancel_at_sigterm()
    step(f"Starting the services of {base.name} and {new.name}")
    async with running_generator() as generator, _both_served(new, base) as (served, rules), AsyncExitStack() as stack:
        retailers = []
        for one in served:
            step(f"Seeding {one.tree.name}")
            server = _metered(generator, one)
            retailers.append(await stack.enter_async_context(remote_retailer(one.tree.name, server)))
            await retailers[-1].seed((HOT, *SKUS))
        step("Waiting until both services have done the work that follows their start")
        await asyncio.gather(*map(wait_until_idle, served))
        figures = await run_in_turns(_variants(retailers, step), pace, verify=partial(_verify, retailers))
        return Report(
            name=NAME,
            pace=pace,
            variants=figures,
            ratios=_ratios(figures, new.name, base.name),
            settings={
                "base": base.name,
                "rules": rules,
                "callers": ", ".join(f"{load} {stream.callers}" for load, stream in LOADS.items()),
            },
            verified=await _verify(retailers),
        )


def _cancel_at_sigterm() -> None:
    """Ends services and databases also where this program is terminated, as at Ctrl-C."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


@asynccontextmanager
async def _both_served(new: Tree, base: Tree) -> AsyncIterator[tuple[tuple[ServedTree, ServedTree], str]]:
    """Base and new, with the same rules if both can read them, and which rules those are."""
    choices = [
        (f"both serve those of {new.name}", new.rules, new.rules),
        (f"both serve those of {base.name}, which cannot read those of {new.name}", base.rules, base.rules),
        ("each serves its own, because neither can read those of the other", base.rules, new.rules),
    ]
    for words, base_rules, new_rules in choices:
        async with AsyncExitStack() as stack:
            try:
                served = (
                    await stack.enter_async_context(serving(base, base_rules)),
                    await stack.enter_async_context(serving(new, new_rules)),
                )
            except StartFailed:
                if words == choices[-1][0]:
                    raise
                continue
            yield served, words
            return


def _metered(generator: LoadGenerator, served: ServedTree) -> MeteredServer:
    return MeteredServer(generator, served.address, CpuMeter(served.pid, {"postgres": served.postgres_pid}))


def _variants(retailers: Sequence[RemoteRetailer], step: Step) -> dict[str, Variant]:
    async def run(retailer: RemoteRetailer, load: str, seconds: float) -> Figures:
        step(f"{load}: {retailer.name}")
        return await retailer.server.run(LOADS[load], seconds)

    return {f"{load}, {retailer.name}": partial(run, retailer, load) for load in LOADS for retailer in retailers}


async def _verify(retailers: Sequence[RemoteRetailer]) -> str:
    return "; ".join([await retailer.verify() for retailer in retailers])


def _ratios(figures: Mapping[str, Sequence[Figures]], new: str, base: str) -> list[Ratio]:
    bars = AT_LEAST if base == DEFAULT_REVISION else {}
    ratios = []
    for load in LOADS:
        news, bases = figures[f"{load}, {new}"], figures[f"{load}, {base}"]
        ratios += [
            ratio(f"{load}_vs_base", news, bases, "calls_per_second", at_least=bars.get(load)),
            cpu_ratio(f"{load}_cpu_vs_base", news, bases),
            ratio(f"{load}_p99_vs_base", news, bases, "p99_ms"),
        ]
    return ratios
