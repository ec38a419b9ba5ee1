"""Callers that look at what they are told: a process of its own that asks until its input ends, then says what it saw.

What is seen is counted by answer, in one word each: the revision that is said to have decided, and what was decided.
Callers are here too: `Observers` is the other end, in the process that serves.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from grpc import aio

from bench.bench_calls import CHANNEL_ID, sold_order
from bench.rounds import WrongAnswer
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    allocation_service_pb2_grpc as allocation_grpc,
    availability_service_pb2 as availability_pb,
    availability_service_pb2_grpc as availability_grpc,
)

CALLERS = 4
"""Of each kind; each asks again when it has its answer."""
CALL_SECONDS = 10.0
READY = b"ready\n"
ORDERED, CHECKED = "ORDERED", "CHECKED"
"""One product is sold and the other only asked about, so that what can be sold of it depends on rules alone."""


@dataclass(slots=True)
class Seen:
    """How often each answer was seen, by revision and decision, and how often each way of failing."""

    orders: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def answers(self) -> Counter[str]:
        """All that were answered, of both kinds."""
        return self.orders + self.checks


class Observers:
    """Observers that run."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def end(self) -> Seen:
        """Lets every call be answered; returns what was seen."""
        # Without input to write, some versions of Python would leave its end open.
        said, _ = await self._process.communicate(b"")
        return Seen(*(Counter(counted) for counted in json.loads(said)))


@asynccontextmanager
async def observers(address: str) -> AsyncIterator[Observers]:
    """Callers of a server, each of whom has had an answer; they end with the block if not before."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.answer_observers", address),
        cwd=Path(__file__).parent.parent,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        if await process.stdout.readline() != READY:
            raise WrongAnswer("the observers ended; what they said is above")
        yield Observers(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _observe(address: str) -> Seen:
    seen, stop = Seen(), asyncio.Event()
    async with aio.insecure_channel(address) as channel, asyncio.TaskGroup() as tasks:
        asked = [(_order(channel), seen.orders), (_check(channel), seen.checks)]
        for ask, answers in asked:
            answers[await ask()] += 1
        sys.stdout.buffer.write(READY)
        sys.stdout.flush()
        for ask, answers in asked * CALLERS:
            tasks.create_task(_caller(ask, answers, seen.failures, stop))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        stop.set()
    return seen


async def _caller(
    ask: Callable[[], Awaitable[str]], answers: Counter[str], failures: Counter[str], stop: asyncio.Event
) -> None:
    while not stop.is_set():
        try:
            answers[await ask()] += 1
        except aio.AioRpcError as error:
            failures[f"{error.code().name}: {error.details()}"] += 1


def _order(channel: aio.Channel) -> Callable[[], Awaitable[str]]:
    stub = allocation_grpc.AllocationServiceStub(channel)
    run, numbers = uuid.uuid4().hex, itertools.count()

    async def order() -> str:
        request = sold_order(ORDERED, f"{run}-{next(numbers)}")
        answer: allocation_pb.AllocateOrderResponse = await stub.AllocateOrder(request, timeout=CALL_SECONDS)
        decision = answer.allocation.decision
        places = [shipment.location_id for shipment in answer.allocation.shipments]
        rules = sorted({rule.rule for rule in decision.fired_rules})
        return _word(decision.policy_revision, decision.routing_policy, *places, *rules)

    return order


def _check(channel: aio.Channel) -> Callable[[], Awaitable[str]]:
    stub = availability_grpc.AvailabilityServiceStub(channel)
    request = availability_pb.CheckAvailabilityRequest(channel_id=CHANNEL_ID, skus=[CHECKED], include_locations=True)

    async def check() -> str:
        answer: availability_pb.CheckAvailabilityResponse = await stub.CheckAvailability(request, timeout=CALL_SECONDS)
        (found,) = answer.availabilities
        rules = sorted({rule.rule for rule in found.fired_rules})
        held_back = sorted({str(place.buffer_count) for place in found.locations})
        return _word(answer.policy_revision, str(found.sellable_count), *held_back, *rules)

    return check


def _word(*parts: str) -> str:
    return "/".join(parts)


if __name__ == "__main__":
    found = asyncio.run(_observe(sys.argv[1]))
    print(json.dumps([found.orders, found.checks, found.failures]))  # noqa: T201 - what the other end reads
