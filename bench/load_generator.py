"""The load generator: a process of its own that makes the calls of a task and returns their figures.

A task is one line of JSON on standard input, its result one line on standard output. The process ends with its input.
`LoadGenerator` is the other end, in the process that serves.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import uvloop
from grpc import aio

from bench.bench_calls import CallStream
from bench.call_loops import closed_loop, open_loop
from bench.load_calls import new_call
from bench.module_process import end_process, start_module
from bench.overload_loop import overload_loop
from bench.rounds import Figures, WrongAnswer

CONNECTIONS = 4
"""TCP connections that the calls share, unless a task says otherwise."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Paths of what a caller needs for mutual TLS, and a token."""

    authority: str
    certificate: str
    key: str
    token: str

    def read(self) -> grpc.ChannelCredentials:
        """The credentials of a connection."""
        authority, key, certificate = (Path(path).read_bytes() for path in (self.authority, self.key, self.certificate))
        return grpc.ssl_channel_credentials(authority, key, certificate)


@dataclass(frozen=True, slots=True)
class LoadTask:
    """Streams of calls that run at the same time; without credentials, over connections without TLS."""

    address: str
    seconds: float
    streams: Sequence[CallStream] = field(default_factory=tuple)
    connections: int = CONNECTIONS
    credentials: Credentials | None = None


class LoadGenerator:
    """A running load generator."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    async def run(self, task: LoadTask) -> dict[str, Figures]:
        """The figures of each stream by name, and of the `generator`. Raises WrongAnswer if a call fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(task)).encode() + b"\n")
        self._process.stdin.flush()
        line = await asyncio.to_thread(self._process.stdout.readline)
        if not line:
            raise WrongAnswer("the load generator ended; its error is printed above")
        figures: dict[str, Figures] = json.loads(line)
        return figures


@asynccontextmanager
async def running_generator() -> AsyncIterator[LoadGenerator]:
    """A load generator whose process ends with the block."""
    process = start_module("bench.load_generator")
    try:
        yield LoadGenerator(process)
    finally:
        end_process(process)


async def _run_tasks() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        fields = json.loads(line)
        streams = [CallStream(**stream) for stream in fields.pop("streams")]
        credentials = fields.pop("credentials")
        if credentials is not None:
            credentials = Credentials(**credentials)
        figures = await _run(LoadTask(**fields, streams=streams, credentials=credentials))
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()


async def _run(task: LoadTask) -> dict[str, Figures]:
    # gRPC shares one connection between channels with equal options, so each channel gets an option of its own.
    channels = [_channel(task, number) for number in range(task.connections)]
    start_cpu_seconds = time.process_time()
    try:
        figures = await asyncio.gather(*(_run_stream(task, stream, channels) for stream in task.streams))
    finally:
        for channel in channels:
            await channel.close(None)
    cpu_seconds = time.process_time() - start_cpu_seconds
    names = [stream.name for stream in task.streams]
    return {**dict(zip(names, figures, strict=True)), "generator": {"cpu_seconds": cpu_seconds}}


def _channel(task: LoadTask, number: int) -> Any:
    options = [("bench.number", number)]
    if task.credentials is None:
        return aio.insecure_channel(task.address, options=options)
    return _WithToken(aio.secure_channel(task.address, task.credentials.read(), options=options), task.credentials)


class _WithToken:
    """A channel whose calls carry a token. gRPC's own way asks a plugin in Python for it, which doubles the CPU time of
    the caller, who competes with the server for the machine.
    """

    def __init__(self, channel: aio.Channel, credentials: Credentials) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {credentials.token}"),)
        self.close = channel.close

    def unary_unary(self, *arguments: Any) -> Any:
        """A method, as `grpc.aio.Channel` has it."""
        return partial(self._channel.unary_unary(*arguments), metadata=self._metadata)


async def _run_stream(task: LoadTask, stream: CallStream, channels: Sequence[aio.Channel]) -> Figures:
    if stream.deadline_seconds:
        return await overload_loop(stream, channels, task.seconds)
    call = new_call(stream, channels)
    if stream.callers:
        return await closed_loop(call, stream.callers, task.seconds, calls=stream.calls)
    return await open_loop(call, stream.per_second, task.seconds)


if __name__ == "__main__":
    uvloop.run(_run_tasks())
