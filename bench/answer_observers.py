"""Callers that record the answers they get: a process of its own that calls until its input ends, then prints counts.

An answer is counted under one word: the policy revision that it names, and what was decided.
`Observers` is the other end, in the process that serves.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvloop
from grpc import aio

from bench.bench_calls import CHANNEL_ID, sold_order
from bench.module_process import end_process, start_module
from bench.rounds import WrongAnswer
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    allocation_service_pb2_grpc as allocation_grpc,
    availability_service_pb2 as availability_pb,
    availability_service_pb2_grpc as availability_grpc,
)

CALLERS = 4
"""Callers of each kind; each calls again when it has its answer."""
CALL_SECONDS = 10.0
READY = b"ready\n"
ORDERED_SKU, CHECKED_SKU = "ORDERED", "CHECKED"
"""One product is sold and the other only checked, so that its sellable units depend on rules alone."""


@dataclass(slots=True)
class ObservedAnswers:
    """Counts of answers by revision and decision, and of failed calls by error."""

    orders: Counter[str] = field(default_factory=Counter)
    checks: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def all(self) -> Counter[str]:
        """Counts of the answers to orders and checks together."""
        return self.orders + self.checks


class Observers:
    """Running observers."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    async def stop(self) -> ObservedAnswers:
        """Waits until every open call is answered; returns what was observed."""
        output, _ = await asyncio.to_thread(self._process.communicate)
        return ObservedAnswers(*(Counter(counts) for counts in json.loads(output)))


@asynccontextmanager
async def running_observers(address: str) -> AsyncIterator[Observers]:
    """Observers of a server that have had their first answers; their process ends with the block."""
    process = start_module("bench.answer_observers", address)
    assert process.stdout is not None
    try:
        if await asyncio.to_thread(process.stdout.readline) != READY:
            raise WrongAnswer("the observers ended; their error is printed above")
        yield Observers(process)
    finally:
        end_process(process)


async def _observe(address: str) -> ObservedAnswers:
    observed, stop = ObservedAnswers(), asyncio.Event()
    async with aio.insecure_channel(address) as channel, asyncio.TaskGroup() as tasks:
        calls = [(_order_call(channel), observed.orders), (_check_call(channel), observed.checks)]
        for call, answers in calls:
            answers[await call()] += 1
        sys.stdout.buffer.write(READY)
        sys.stdout.flush()
        for call, answers in calls * CALLERS:
            tasks.create_task(_call_until(stop, call, answers, observed.failures))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        stop.set()
    return observed


async def _call_until(
    stop: asyncio.Event, call: Callable[[], Awaitable[str]], answers: Counter[str], failures: Counter[str]
) -> None:
    while not stop.is_set():
        try:
            answers[await call()] += 1
        except aio.AioRpcError as error:
            failures[f"{error.code().name}: {error.details()}"] += 1


def _order_call(channel: aio.Channel) -> Callable[[], Awaitable[str]]:
    stub = allocation_grpc.AllocationServiceStub(channel)
    run_id, order_numbers = uuid.uuid4().hex, itertools.count()

    async def order() -> str:
        request = sold_order(ORDERED_SKU, f"{run_id}-{next(order_numbers)}")
        response: allocation_pb.AllocateOrderResponse = await stub.AllocateOrder(request, timeout=CALL_SECONDS)
        decision = response.allocation.decision
        location_ids = [shipment.location_id for shipment in response.allocation.shipments]
        rules = sorted({rule.rule for rule in decision.fired_rules})
        return _word(decision.policy_revision, decision.routing_policy, *location_ids, *rules)

    return order


def _check_call(channel: aio.Channel) -> Callable[[], Awaitable[str]]:
    stub = availability_grpc.AvailabilityServiceStub(channel)
    request = availability_pb.CheckAvailabilityRequest(
        channel_id=CHANNEL_ID, skus=[CHECKED_SKU], include_locations=True
    )

    async def check() -> str:
        response: availability_pb.CheckAvailabilityResponse = await stub.CheckAvailability(
            request, timeout=CALL_SECONDS
        )
        (availability,) = response.availabilities
        rules = sorted({rule.rule for rule in availability.fired_rules})
        buffers = sorted({str(location.buffer_count) for location in availability.locations})
        return _word(response.policy_revision, str(availability.sellable_count), *buffers, *rules)

    return check


def _word(*parts: str) -> str:
    return "/".join(parts)


if __name__ == "__main__":
    observed = uvloop.run(_observe(sys.argv[1]))
    print(json.dumps([observed.orders, observed.checks, observed.failures]))  # noqa: T201 - `Observers.stop` reads it
