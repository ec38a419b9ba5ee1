"""Load on a server, with the CPU time that each side uses. On a shared machine that says more than the time of day."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass

import asyncpg
import psutil

from bench.bench_calls import CallStream
from bench.load_generator import LoadGenerator, LoadTask
from bench.rounds import Figures
from service.database.database import plain_url


@dataclass(frozen=True, slots=True)
class MeteredServer:
    """A server of this machine under load. `postgres_pid` is the first process of its PostgreSQL, if it has one."""

    generator: LoadGenerator
    address: str
    pid: int
    postgres_pid: int | None = None

    async def run(self, stream: CallStream, seconds: float) -> Figures:
        """The figures of the stream, and the CPU time of server, PostgreSQL and generator in microseconds a call."""
        before = await asyncio.to_thread(self._cpu_seconds)
        results = await self.generator.run(LoadTask(self.address, seconds, [stream]))
        after = await asyncio.to_thread(self._cpu_seconds)
        used = {name: after[name] - before[name] for name in after} | {"generator": results["generator"]["cpu_seconds"]}
        figures = results[stream.name]
        # A server that is overloaded may answer no call at all.
        calls = max(1, figures["calls"])
        return figures | {f"{name}_cpu_us_per_call": used[name] / calls * 1e6 for name in used}

    def _cpu_seconds(self) -> dict[str, float]:
        used = {"server": _cpu_seconds(self.pid)}
        if self.postgres_pid is not None:
            used["postgres"] = _tree_cpu_seconds(self.postgres_pid)
        return used


async def postgres_pid(url: str) -> int:
    """The first process of the PostgreSQL of this database, which runs on this machine."""
    connection = await asyncpg.connect(plain_url(url))
    try:
        return psutil.Process(await connection.fetchval("SELECT pg_backend_pid()")).ppid()
    finally:
        await connection.close()


def _cpu_seconds(pid: int) -> float:
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
            seconds += _cpu_seconds(member.pid) + sum(member.cpu_times()[2:4])
    return seconds
