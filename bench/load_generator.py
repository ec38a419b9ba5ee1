"""The load generator: a process of its own that makes the calls of a task and returns their figures.

A task is one line of JSON on standard input, its result one line on standard output. The process ends with its input.
`LoadGenerator` is the other end, in the process that serves.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

import uvloop
from google.protobuf.empty_pb2 import Empty
from grpc import aio

from bench.bench_calls import ALLOCATE, CHANNEL_ID, CHECK, EMPTY, UNITS, sold_order
from bench.call_loops import Call, closed_loop, open_loop
from bench.module_process import end_process, start_module
from bench.rounds import Figures, WrongAnswer
from truestock.v1 import allocation_service_pb2 as allocation_pb, availability_service_pb2 as availability_pb, order_pb2

CONNECTIONS = 4
"""TCP connections that the calls share."""
CALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class CallStream:
    """Calls of one method: a closed loop of `callers`, or an open loop with `per_second` calls."""

    name: str
    method: str
    skus: Sequence[str] = ()
    callers: int = 0
    per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadTask:
    """Streams of calls that run at the same time."""

    address: str
    seconds: float
    streams: Sequence[CallStream] = field(default_factory=tuple)


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
        figures = await _run(LoadTask(**fields, streams=streams))
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()


async def _run(task: LoadTask) -> dict[str, Figures]:
    # gRPC shares one connection between channels with equal options, so each channel gets an option of its own.
    channels = [aio.insecure_channel(task.address, options=[("bench.number", number)]) for number in range(CONNECTIONS)]
    start_cpu_seconds = time.process_time()
    try:
        figures = await asyncio.gather(*(_run_stream(task, stream, channels) for stream in task.streams))
    finally:
        for channel in channels:
            await channel.close(None)
    cpu_seconds = time.process_time() - start_cpu_seconds
    names = [stream.name for stream in task.streams]
    return {**dict(zip(names, figures, strict=True)), "generator": {"cpu_seconds": cpu_seconds}}


async def _run_stream(task: LoadTask, stream: CallStream, channels: Sequence[aio.Channel]) -> Figures:
    call = _CALLS[stream.method](stream, channels)
    if stream.callers:
        return await closed_loop(call, stream.callers, task.seconds)
    return await open_loop(call, stream.per_second, task.seconds)


def _allocate_order(stream: CallStream, channels: Sequence[aio.Channel]) -> Call:
    """New orders, each of one unit of the next SKU; every answer must allocate that unit."""
    calls = itertools.cycle([_raw_call(channel, ALLOCATE) for channel in channels])
    skus, run_id = itertools.cycle(stream.skus), uuid.uuid4().hex
    order_numbers = itertools.count()

    async def allocate() -> None:
        request = sold_order(next(skus), f"{run_id}-{next(order_numbers)}")
        response_bytes = await next(calls)(request.SerializeToString(), timeout=CALL_SECONDS)
        response = allocation_pb.AllocateOrderResponse.FromString(response_bytes)
        if response.allocation.outcome != order_pb2.OUTCOME_ALLOCATED:
            raise WrongAnswer(f"an order for which stock exists was not allocated: {response}")

    return allocate


def _check_availability(stream: CallStream, channels: Sequence[aio.Channel]) -> Call:
    calls = itertools.cycle([_raw_call(channel, CHECK) for channel in channels])
    request = availability_pb.CheckAvailabilityRequest(channel_id=CHANNEL_ID, skus=stream.skus).SerializeToString()

    async def check() -> None:
        response_bytes = await next(calls)(request, timeout=CALL_SECONDS)
        count = availability_pb.CheckAvailabilityResponse.FromString(response_bytes).availabilities[0].sellable_count
        if not 0 < count <= 10 * UNITS:
            raise WrongAnswer(f"{count} units are reported sellable; expected 1 to {10 * UNITS}")

    return check


def _call_empty(stream: CallStream, channels: Sequence[aio.Channel]) -> Call:
    calls = itertools.cycle([_raw_call(channel, EMPTY) for channel in channels])

    async def call() -> None:
        Empty.FromString(await next(calls)(b"", timeout=CALL_SECONDS))

    return call


_CALLS: dict[str, Callable[[CallStream, Sequence[aio.Channel]], Call]] = {
    ALLOCATE: _allocate_order,
    CHECK: _check_availability,
    EMPTY: _call_empty,
}


def _raw_call(channel: aio.Channel, path: str) -> Callable[..., Awaitable[bytes]]:
    """A call of bytes for bytes, so that the generator itself uses little CPU."""
    call: Callable[..., Awaitable[bytes]] = channel.unary_unary(path, None, None)
    return call


if __name__ == "__main__":
    uvloop.run(_run_tasks())
