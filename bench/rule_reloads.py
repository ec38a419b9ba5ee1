"""A thousand reloads of rules while orders arrive, alternating between two folders that decide differently."""

from __future__ import annotations

import asyncio
import gc
import itertools
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median, quantiles

import psutil

from bench.allocators import allocation_queue
from bench.answer_observers import CHECKED_SKU, ORDERED_SKU, ObservedAnswers, running_observers
from bench.bench_calls import LOCATION_IDS, UNITS
from bench.bench_report import Ratio, Report
from bench.bench_retailer import BenchRetailer, open_retailer
from bench.bench_server import running_server
from bench.loop_delays import recorded_delays
from bench.rounds import Figures, Pace, WrongAnswer
from policies.engine.rule_engine import Engine
from policies.reading import rules_reader
from service.policy.active_policies import ActivePolicies
from service.policy.folder_watcher import load_in_thread
from service.policy.rules_folder import RulesFolder, read_folder

NAME = "reload"
PACE = Pace(rounds=10, seconds=5.0)
RELOADS = 100
"""Reloads in each round, spread over its seconds. Growth compares the last round with the first."""
MIN_PAUSE_SECONDS = 0.02
"""The shortest pause after a reload, so that calls are answered by its rules."""
TICK_SECONDS = 0.005

BUFFER_UNITS = {"dc": 2, "store-1": 3}
"""The location that each folder prefers, and the units that it buffers at every location."""


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Failed calls, decisions that mix revisions, and growth of memory and threads. Raises WrongAnswer."""
    with tempfile.TemporaryDirectory() as folder:
        rules = {location_id: read_folder(rules_folder) for location_id, rules_folder in _write_folders(Path(folder))}
        async with open_retailer(url) as retailer, _running_server(retailer, Path(folder)) as address:
            rounds, observed = await _reload_under_load(retailer, address, rules, pace)
            retailer.sold[ORDERED_SKU] += observed.orders.total()
            verified = "calls failed, so orders cannot be compared" if observed.failures else await retailer.verify()
            return Report(
                name=NAME,
                pace=pace,
                variants={"reloads": rounds},
                ratios=[
                    Ratio("failed_calls", (float(observed.failures.total()),), at_most=0.0),
                    Ratio("mixed_decisions", (float(_mixed_count(observed, rules)),), at_most=0.0),
                    Ratio("rss_growth_ratio", (rounds[-1]["rss_mib"] / rounds[0]["rss_mib"],), at_most=1.05),
                    Ratio("threads_growth_ratio", (rounds[-1]["threads"] / rounds[0]["threads"],), at_most=1.0),
                ],
                settings={
                    **await retailer.durability_settings(),
                    "reloads": len(rounds) * RELOADS,
                    "orders": observed.orders.total(),
                    "checks": observed.checks.total(),
                    "answers_by_kind": "; ".join(f"{word}: {count:,}" for word, count in sorted(observed.all.items())),
                    "failures": "; ".join(f"{word}: {count:,}" for word, count in observed.failures.most_common(5)),
                },
                verified=verified,
            )


async def _reload_under_load(
    retailer: BenchRetailer, address: str, rules: Mapping[str, RulesFolder], pace: Pace
) -> tuple[list[Figures], ObservedAnswers]:
    """The figures of each round, and the answers that callers got meanwhile."""
    next_rules = itertools.cycle(rules.values())
    async with running_observers(address) as observers:
        rounds = [await _round(retailer.policies, next_rules, pace.seconds) for _ in range(pace.rounds)]
        return rounds, await observers.stop()


async def _round(policies: ActivePolicies, next_rules: Iterator[RulesFolder], seconds: float) -> Figures:
    """Reloads RELOADS times as the service does, and then measures the process."""
    round_start, reload_seconds = time.perf_counter(), []
    async with recorded_delays(TICK_SECONDS) as delays:
        for number in range(1, RELOADS + 1):
            reload_start = time.perf_counter()
            if not await load_in_thread(policies, next(next_rules)):
                raise WrongAnswer(f"valid rules were refused: {policies.current.problems}")
            reload_seconds.append(time.perf_counter() - reload_start)
            next_due = round_start + seconds * number / RELOADS
            await asyncio.sleep(max(MIN_PAUSE_SECONDS, next_due - time.perf_counter()))
    gc.collect()
    process = psutil.Process()
    return {
        "rss_mib": process.memory_info().rss / 2**20,
        "threads": process.num_threads(),
        "rule_engines": sum(isinstance(item, Engine) for item in gc.get_objects()),
        "reload_p50_ms": median(reload_seconds) * 1e3,
        "reload_max_ms": max(reload_seconds) * 1e3,
        "event_loop_delay_p99_ms": quantiles([*delays, 0.0, 0.0], n=100)[-1] * 1e3,
        "event_loop_delay_max_ms": max(delays, default=0.0) * 1e3,
    }


def _mixed_count(observed: ObservedAnswers, rules: Mapping[str, RulesFolder]) -> int:
    """Answers that do not follow from the revision that they name. Raises WrongAnswer if a folder decided no answer."""
    expected = set()
    for location_id, folder in rules.items():
        units, revision = BUFFER_UNITS[location_id], rules_reader.revision(folder.files)
        rule, sellable = f"keep-{units}", len(LOCATION_IDS) * (UNITS - units)
        expected |= {
            f"{revision}/from-{location_id}/{location_id}/{rule}",
            f"{revision}/{sellable}/{units}/{rule}",
        }
    if not expected <= set(observed.all):
        raise WrongAnswer(f"callers should have got each of {expected}, but got {observed.all}")
    return sum(count for word, count in observed.all.items() if word not in expected)


@asynccontextmanager
async def _running_server(retailer: BenchRetailer, folder: Path) -> AsyncIterator[str]:
    """A server with the rules of this benchmark."""
    retailer.policies = ActivePolicies(folder / LOCATION_IDS[0] / "rules", retailer.metrics)
    await retailer.add_products([ORDERED_SKU, CHECKED_SKU])
    async with allocation_queue(retailer) as queue, running_server(retailer, queue) as address:
        yield address


def _write_folders(folder: Path) -> Iterator[tuple[str, Path]]:
    """Writes the rules folder of each location, by location id. The rules in force at first come last."""
    for location_id, units in reversed(BUFFER_UNITS.items()):
        rules_folder = folder / location_id / "rules"
        rules_folder.mkdir(parents=True)
        (rules_folder / "buffer.yaml").write_text(_buffer_file(units))
        (rules_folder / "routing.yaml").write_text(_routing_file(location_id))
        yield location_id, rules_folder


def _buffer_file(units: int) -> str:
    return f"""kind: buffer
name: everywhere
scope: location
rules:
  - name: keep-{units}
    when: {{channel.kind: social, stock.age_minutes: {{at_least: 0}}}}
    hold_back: {{units: {units}}}
"""


def _routing_file(location_id: str) -> str:
    return f"""kind: routing
policies:
  - name: from-{location_id}
    position: 100
    exclude:
      - {{name: not-working, when: {{location.status: [paused, stocktake]}}}}
    rank: [{{prefer: {{when: {{location.id: {location_id}}}}}}}]
    otherwise: exception
"""
