"""The load generator: a process of its own that makes the calls it is told to, and says what they came to.

A task is one line of JSON on standard input, its answer one line on standard output. It ends when its input ends.
Callers are here too: `Generator` is the other end, in the process that serves.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from google.protobuf.empty_pb2 import Empty
from grpc import aio

from bench.bench_calls import ALLOCATE, CHANNEL_ID, CHECK, EMPTY, UNITS, sold_order
from bench.call_loops import Call, closed_loop, open_loop
from bench.rounds import Figures, WrongAnswer
from truestock.v1 import allocation_service_pb2 as allocation_pb, availability_service_pb2 as availability_pb, order_pb2

CHANNELS = 4
"""TCP connections that the calls share."""
CALL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Stream:
    """Calls of one kind: by `callers` who wait for answers, or `per_second` whoever waits."""

    name: str
    method: str
    skus: Sequence[str] = ()
    callers: int = 0
    per_second: float = 0.0


@dataclass(frozen=True, slots=True)
class Task:
    """Streams that run at the same time."""

    address: str
    seconds: float
    streams: Sequence[Stream] = field(default_factory=tuple)


class Generator:
    """A load generator that runs."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, task: Task) -> dict[str, Figures]:
        """The figures of each stream. Raises WrongAnswer where a call failed or was answered wrongly."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asdict(task)).encode() + b"\n")
        line = await self._process.stdout.readline()
        if not line:
            raise WrongAnswer("the load generator ended; what it said is above")
        found: dict[str, Figures] = json.loads(line)
        return found


@asynccontextmanager
async def generator() -> AsyncIterator[Generator]:
    """A load generator's process, which ends with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load_generator",
        cwd=Path(__file__).parent.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield Generator(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def _serve_tasks() -> None:
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        said = json.loads(line)
        streams = [Stream(**stream) for stream in said.pop("streams")]
        found = await _run(Task(**said, streams=streams))
        sys.stdout.write(json.dumps(found) + "\n")
        sys.stdout.flush()


async def _run(task: Task) -> dict[str, Figures]:
    # Distinct options keep gRPC from sharing one connection between the channels.
    channels = [aio.insecure_channel(task.address, options=[("bench.number", i)]) for i in range(CHANNELS)]
    started = time.process_time()
    try:
        found = await asyncio.gather(*(_stream(task, stream, channels) for stream in task.streams))
    finally:
        for channel in channels:
            await channel.close(None)
    spent = time.process_time() - started
    figures = dict(zip([stream.name for stream in task.streams], found, strict=True))
    return {**figures, "generator": {"processor_seconds": spent}}


async def _stream(task: Task, stream: Stream, channels: Sequence[aio.Channel]) -> Figures:
    call = _KINDS[stream.method](stream, channels)
    if stream.callers:
        return await closed_loop(call, stream.callers, task.seconds)
    return await open_loop(call, stream.per_second, task.seconds)


def _allocations(stream: Stream, channels: Sequence[aio.Channel]) -> Call:
    """New orders, each of one unit of the next SKU; every answer must promise that unit."""
    calls = itertools.cycle([_method(channel, ALLOCATE) for channel in channels])
    skus, run = itertools.cycle(stream.skus), uuid.uuid4().hex
    numbers = itertools.count()

    async def allocate() -> None:
        message = sold_order(next(skus), f"{run}-{next(numbers)}")
        raw = await next(calls)(message.SerializeToString(), timeout=CALL_SECONDS)
        answer = allocation_pb.AllocateOrderResponse.FromString(raw)
        if answer.allocation.outcome != order_pb2.OUTCOME_ALLOCATED:
            raise WrongAnswer(f"an order that can be filled was answered with {answer}")

    return allocate


def _checks(stream: Stream, channels: Sequence[aio.Channel]) -> Call:
    calls = itertools.cycle([_method(channel, CHECK) for channel in channels])
    question = availability_pb.CheckAvailabilityRequest(channel_id=CHANNEL_ID, skus=stream.skus).SerializeToString()

    async def check() -> None:
        raw = await next(calls)(question, timeout=CALL_SECONDS)
        count = availability_pb.CheckAvailabilityResponse.FromString(raw).availabilities[0].sellable_count
        if not 0 < count <= 10 * UNITS:
            raise WrongAnswer(f"{count} units are said to be sellable")

    return check


def _empty_calls(stream: Stream, channels: Sequence[aio.Channel]) -> Call:
    calls = itertools.cycle([_method(channel, EMPTY) for channel in channels])

    async def ask() -> None:
        Empty.FromString(await next(calls)(b"", timeout=CALL_SECONDS))

    return ask


_KINDS: dict[str, Callable[[Stream, Sequence[aio.Channel]], Call]] = {
    ALLOCATE: _allocations,
    CHECK: _checks,
    EMPTY: _empty_calls,
}


def _method(channel: aio.Channel, path: str) -> Callable[..., Awaitable[bytes]]:
    """Bytes in, bytes out: the generator should cost as little as it can."""
    call: Callable[..., Awaitable[bytes]] = channel.unary_unary(path, None, None)
    return call


if __name__ == "__main__":
    asyncio.run(_serve_tasks())
