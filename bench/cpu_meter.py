"""Load on a server, with the CPU time that each side uses. On a shared machine that says more than the time of day."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

import psutil

from bench.bench_calls import AnsweredUnits, CallStream
from bench.bench_report import Ratio
from bench.load_generator import Credentials, LoadGenerator, LoadTask
from bench.rounds import Figures
from service.database.database import single_connection


@dataclass(frozen=True, slots=True)
class CpuMeter:
    """The CPU time of a server's process and of its `stores`, by the first process of each, such as PostgreSQL's."""

    server_pid: int
    stores: Mapping[str, int] = field(default_factory=dict)

    async def measure(self, load: Awaitable[Figures]) -> Figures:
        """The figures of the load, and the CPU time of each side in microseconds a call."""
        before = await asyncio.to_thread(self._cpu_seconds)
        figures = await load
        after = await asyncio.to_thread(self._cpu_seconds)
        return figures | {
            f"{name}_cpu_us_per_call": _us_per_call(after[name] - before[name], figures) for name in after
        }

    def _cpu_seconds(self) -> dict[str, float]:
        stores = {name: _tree_cpu_seconds(pid) for name, pid in self.stores.items()}
        return {"server": cpu_seconds(self.server_pid), **stores}


@dataclass(frozen=True, slots=True)
class MeteredServer:
    """A server of this machine under load from the generator. `answers` counts what its calls answered."""

    generator: LoadGenerator
    address: str
    meter: CpuMeter
    answers: AnsweredUnits = field(default_factory=AnsweredUnits)
    credentials: Credentials | None = None

    async def run(self, stream: CallStream, seconds: float) -> Figures:
        """The figures of the stream, and the CPU time of each side in microseconds a call."""
        figures = await self.meter.measure(self._load(stream, seconds))
        self.answers.count_answers(stream, int(figures["calls"]))
        return figures

    async def run_beside(self, stream: CallStream, seconds: float, other: LoadGenerator, load: LoadTask) -> Figures:
        """The figures of the stream while another generator runs its load, and that load's calls as `other_calls`."""
        figures, results = await asyncio.gather(self.run(stream, seconds), other.run(replace(load, seconds=seconds)))
        return figures | {"other_calls": sum(x["calls"] for name, x in results.items() if name != "generator")}

    async def _load(self, stream: CallStream, seconds: float) -> Figures:
        results = await self.generator.run(LoadTask(self.address, seconds, [stream], credentials=self.credentials))
        figures = results[stream.name]
        generator_seconds = results["generator"]["cpu_seconds"]
        return figures | {"generator_cpu_us_per_call": _us_per_call(generator_seconds, figures)}


async def postgres_meter(server_pid: int, url: str) -> CpuMeter:
    """A meter of the server and the PostgreSQL of this database, which runs on this machine."""
    async with single_connection(url) as connection:
        postgres_pid = psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).ppid()
    return CpuMeter(server_pid, {"postgres": postgres_pid})


def cpu_us_per_call(figures: Figures) -> float:
    """CPU time of the server and, if it has one, its PostgreSQL."""
    return figures["server_cpu_us_per_call"] + figures.get("postgres_cpu_us_per_call", 0.0)


def cpu_ratio(
    name: str, numerator: Sequence[Figures], denominator: Sequence[Figures], *, at_most: float | None = None
) -> Ratio:
    """The ratio of CPU time a call, round by round."""
    turns = zip(numerator, denominator, strict=True)
    return Ratio(name, tuple(cpu_us_per_call(x) / cpu_us_per_call(y) for x, y in turns), at_most=at_most)


def _us_per_call(cpu_seconds: float, figures: Figures) -> float:
    # A server that is overloaded may answer no call at all.
    return cpu_seconds / max(1, figures["calls"]) * 1e6


def cpu_seconds(pid: int) -> float:
    """The seconds of CPU that a process has used."""
    if psutil.LINUX:
        # The clock that clock_getcpuclockid(3) returns. What psutil reads has a resolution of 10 ms.
        return time.clock_gettime((~pid << 3) | 2)
    return sum(psutil.Process(pid).cpu_times()[:2])


def _tree_cpu_seconds(pid: int) -> float:
    """The seconds of CPU that a process and its children have used, children that have ended included."""
    process = psutil.Process(pid)
    seconds = 0.0
    for member in (process, *process.children(recursive=True)):
        # A child that ends meanwhile is counted with its parent, at the next reading.
        with suppress(psutil.NoSuchProcess, OSError):
            seconds += cpu_seconds(member.pid) + sum(member.cpu_times()[2:4])
    return seconds
