"""Rules that change while orders come: a thousand reloads under load, of two folders that decide differently."""

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

from bench.allocators import allocator
from bench.answer_observers import CHECKED, ORDERED, Seen, observers
from bench.bench_calls import UNITS
from bench.bench_report import Ratio, Report
from bench.bench_retailer import PLACES, Shop, open_shop
from bench.bench_server import serving
from bench.rounds import Figures, Pace, WrongAnswer
from policies.engine.rule_engine import Engine
from policies.reading import rules_reader
from service.policy.active_policies import ActivePolicies
from service.policy.folder_watcher import load_in_thread
from service.policy.rules_folder import RulesFolder, read_folder

NAME = "reload"
PACE = Pace(rounds=10, seconds=5.0)
RELOADS = 100
"""In each round, one after another, spread over its seconds; the first round is what the last is compared with."""
REST_SECONDS = 0.02
"""After each reload at least; what nobody was told of was not under load."""
TICK_SECONDS = 0.005

FOLDERS = {"dc": 2, "store-1": 3}
"""The place that each folder prefers and the units that it keeps at every place."""


async def measure(url: str, pace: Pace = PACE) -> Report:
    """Failed calls, decisions that mix revisions, and memory, while rules change. Raises WrongAnswer."""
    with tempfile.TemporaryDirectory() as folder:
        alternatives = {place: read_folder(made) for place, made in _folders(Path(folder))}
        async with open_shop(url) as shop, _reloading(shop, Path(folder)) as address:
            rounds, seen = await _under_load(shop, address, alternatives, pace)
            shop.sold[ORDERED] += seen.orders.total()
            proof = await shop.prove() if not seen.failures else "calls failed, so orders cannot be compared"
            return Report(
                name=NAME,
                pace=pace,
                arms={"reloads": rounds},
                ratios=[
                    Ratio("failed_calls", (float(seen.failures.total()),), at_most=0.0),
                    Ratio("mixed_decisions", (float(_mixed(seen, alternatives)),), at_most=0.0),
                    Ratio("rss_growth_ratio", (rounds[-1]["rss_mib"] / rounds[0]["rss_mib"],), at_most=1.05),
                    Ratio("threads_growth_ratio", (rounds[-1]["threads"] / rounds[0]["threads"],), at_most=1.0),
                ],
                settings={
                    **await shop.durability(),
                    "reloads": len(rounds) * RELOADS,
                    "orders": seen.orders.total(),
                    "checks": seen.checks.total(),
                    "answers_by_kind": "; ".join(f"{word}: {count:,}" for word, count in sorted(seen.answers.items())),
                    "failures": "; ".join(f"{word}: {count:,}" for word, count in seen.failures.most_common(5)),
                },
                proof=proof,
            )


async def _under_load(
    shop: Shop, address: str, alternatives: Mapping[str, RulesFolder], pace: Pace
) -> tuple[list[Figures], Seen]:
    """The figures of each round, and what callers saw all the while."""
    upcoming = itertools.cycle(alternatives.values())
    async with observers(address) as callers:
        rounds = [await _round(shop.folder, upcoming, pace.seconds) for _ in range(pace.rounds)]
        return rounds, await callers.end()


async def _round(folder: ActivePolicies, upcoming: Iterator[RulesFolder], seconds: float) -> Figures:
    """RELOADS reloads as the service makes them, and how the process is after them."""
    started, times = time.perf_counter(), []
    lags: list[float] = []
    ticking = asyncio.ensure_future(_tick(lags))
    for number in range(1, RELOADS + 1):
        begun = time.perf_counter()
        if not await load_in_thread(folder, next(upcoming)):
            raise WrongAnswer(f"rules that are good were not taken: {folder.current.problems}")
        times.append(time.perf_counter() - begun)
        await asyncio.sleep(max(REST_SECONDS, started + seconds * number / RELOADS - time.perf_counter()))
    ticking.cancel()
    gc.collect()
    process = psutil.Process()
    return {
        "rss_mib": process.memory_info().rss / 2**20,
        "threads": process.num_threads(),
        "engines": sum(isinstance(one, Engine) for one in gc.get_objects()),
        "reload_p50_ms": median(times) * 1e3,
        "reload_max_ms": max(times) * 1e3,
        "stall_p99_ms": quantiles([*lags, 0.0, 0.0], n=100)[-1] * 1e3,
        "stall_max_ms": max(lags, default=0.0) * 1e3,
    }


async def _tick(lags: list[float]) -> None:
    """Notes how much later than asked the event loop comes back, which is how long calls wait besides their work."""
    while True:
        asked = time.perf_counter()
        await asyncio.sleep(TICK_SECONDS)
        lags.append(time.perf_counter() - asked - TICK_SECONDS)


def _mixed(seen: Seen, alternatives: Mapping[str, RulesFolder]) -> int:
    """Answers that are not those of the revision that they name. Raises WrongAnswer where one folder was never seen."""
    right = set()
    for place, found in alternatives.items():
        units, revision = FOLDERS[place], rules_reader.revision(found.files)
        rule, sellable = f"keep-{units}", len(PLACES) * (UNITS - units)
        right |= {f"{revision}/from-{place}/{place}/{rule}", f"{revision}/{sellable}/{units}/{rule}"}
    if not right <= set(seen.answers):
        raise WrongAnswer(f"of {right} callers were only told {seen.answers}")
    return sum(count for word, count in seen.answers.items() if word not in right)


@asynccontextmanager
async def _reloading(shop: Shop, folder: Path) -> AsyncIterator[str]:
    """A service whose rules are those that this measurement makes."""
    shop.folder = ActivePolicies(folder / PLACES[0] / "rules", shop.metrics)
    await shop.stock([ORDERED, CHECKED])
    async with allocator(shop) as ours, serving(shop, ours) as address:
        yield address


def _folders(folder: Path) -> Iterator[tuple[str, Path]]:
    """The folder of each place, by place. What is in force at first comes last."""
    for place, units in reversed(FOLDERS.items()):
        made = folder / place / "rules"
        made.mkdir(parents=True)
        (made / "buffer.yaml").write_text(_buffer(units))
        (made / "routing.yaml").write_text(_routing(place))
        yield place, made


def _buffer(units: int) -> str:
    return f"""kind: buffer
name: everywhere
scope: location
rules:
  - name: keep-{units}
    when: {{channel.kind: social, stock.age_minutes: {{at_least: 0}}}}
    hold_back: {{units: {units}}}
"""


def _routing(place: str) -> str:
    return f"""kind: routing
policies:
  - name: from-{place}
    position: 100
    exclude:
      - {{name: not-working, when: {{location.status: [paused, stocktake]}}}}
    rank: [{{prefer: {{when: {{location.id: {place}}}}}}}]
    otherwise: exception
"""
