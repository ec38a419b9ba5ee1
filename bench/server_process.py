"""Servers in processes of their own, so that their CPU time is told apart from that of the benchmark."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bench.module_process import end_process, start_module
from bench.rounds import WrongAnswer

_ADDRESS = re.compile(rb"127\.0\.0\.1:\d+")


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A server that accepts calls at the address."""

    address: str
    pid: int


@asynccontextmanager
async def running_module(module: str, *arguments: str) -> AsyncIterator[ServerProcess]:
    """A server that the module runs; its address is the first that it prints. The process ends with the block."""
    process = start_module(module, *arguments)
    assert process.stdout is not None
    try:
        while line := await asyncio.to_thread(process.stdout.readline):
            if found := _ADDRESS.search(line):
                break
        else:
            raise WrongAnswer(f"the server of {module} ended; its error is printed above")
        yield ServerProcess(found[0].decode(), process.pid)
    finally:
        end_process(process)
