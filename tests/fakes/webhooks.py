"""Sends webhooks as channels do: signed, again after a failure, twice, late, in another order, or not at all."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

import httpx2
from starlette.applications import Starlette

from tests.fakes.clock import Clock

Sign = Callable[[str, bytes], dict[str, str]]
"""The headers for a URL and a body."""


@dataclass(slots=True)
class Faults:
    """What goes wrong with webhooks; a seed decides with which."""

    duplicates: float = 0.0
    """Share that comes twice although it was answered."""
    losses: float = 0.0
    """Share that never comes."""
    reorder_seconds: float = 0.0
    """How late one may come, of the channel's time; another one may come before it."""


@dataclass(slots=True)
class Delivery:
    """One webhook that is on its way: `body` makes the bytes of an attempt at a time in Unix seconds."""

    url: str
    body: Callable[[float], bytes]
    headers: dict[str, str] = field(default_factory=dict)
    subscription: str = ""
    attempts: int = 0


class WebhookSender:
    """Delivers over real HTTP. `retry_after` has the seconds between one failed attempt and the next."""

    def __init__(
        self, clock: Clock, sign: Sign, *, retry_after: Sequence[float], answer_within: float, seed: int = 1
    ) -> None:
        self.faults = Faults()
        self.results: Counter[str] = Counter()
        """Attempts by result: a status such as "200", or "no answer"; and "lost", "given up"."""
        self.on_given_up: Callable[[Delivery], None] = lambda delivery: None
        self._clock = clock
        self._sign = sign
        self._retry_after = retry_after
        self._answer_within = answer_within
        self._random = Random(seed)
        self._waiting = 0
        self._in_flight = 0
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        clock.on_change = self._wake_up

    def send(self, delivery: Delivery) -> None:
        """Sends a webhook as soon as its time has come."""
        if self._random.random() < self.faults.losses:
            self.results["lost"] += 1
            return
        times = 2 if self._random.random() < self.faults.duplicates else 1
        for _ in range(times):
            self._count(waiting=1)
            copy = Delivery(delivery.url, delivery.body, dict(delivery.headers), delivery.subscription)
            self._at(self._random.uniform(0, self.faults.reorder_seconds), copy)

    def settle(self, timeout: float = 60.0) -> None:
        """Waits until each webhook has been attempted once; further attempts come when their time has.

        Raises TimeoutError where that takes longer.
        """
        self._wait_until(lambda: not self._waiting and not self._in_flight, timeout)

    def pass_time(self, duration: timedelta, timeout: float = 60.0) -> None:
        """Moves the clock ahead by `duration`, and waits for the answer to each attempt that falls due on the way."""
        target = self._clock.seconds() + duration.total_seconds()
        while (due := self._clock.next_due()) is not None and due <= target:
            self._clock.advance(timedelta(seconds=max(0.0, due - self._clock.seconds())))
            self._wait_until(lambda: not self._in_flight, timeout)
        self._clock.advance(timedelta(seconds=max(0.0, target - self._clock.seconds())))

    def _wait_until(self, reached: Callable[[], bool], timeout: float) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout):
                left = self._waiting + self._in_flight
                raise TimeoutError(f"{left} webhooks were not attempted or answered within {timeout:g} s")

    @asynccontextmanager
    async def lifespan(self, app: Starlette) -> AsyncIterator[None]:
        """Delivers while an app is served."""
        sending = asyncio.create_task(self.run())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            # asyncio cancels at the end what anyio 4.16 has not started for an attempt yet: that is never awaited.
            ending = [sending, *self._tasks]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        self._loop = asyncio.get_running_loop()
        async with httpx2.AsyncClient(timeout=self._answer_within, trust_env=False) as client:
            self._client = client
            while True:
                self._wake.clear()
                self._clock.run_due()
                seconds = self._clock.real_seconds_until_due()
                # Not asyncio.wait_for(): in Python 3.11 it forgets a cancellation that comes as the event is set.
                with suppress(TimeoutError):
                    async with asyncio.timeout(seconds):
                        await self._wake.wait()

    def _at(self, seconds: float, delivery: Delivery) -> None:
        self._clock.call_after(seconds, lambda: self._start(delivery))

    def _start(self, delivery: Delivery) -> None:
        # A test's thread moves the clock; only the server's loop may start a task.
        if self._loop is None:
            raise RuntimeError("webhooks are sent only while the channel is served")
        delivery.attempts += 1
        self._count(waiting=-1 if delivery.attempts == 1 else 0, in_flight=1)
        time = self._clock.seconds()
        self._loop.call_soon_threadsafe(self._create_task, delivery, time)

    def _create_task(self, delivery: Delivery, time: float) -> None:
        task = asyncio.get_running_loop().create_task(self._attempt(delivery, time))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _attempt(self, delivery: Delivery, time: float) -> None:
        body = delivery.body(time)
        headers = {"content-type": "application/json", **delivery.headers, **self._sign(delivery.url, body)}
        try:
            response = await self._client.post(delivery.url, content=body, headers=headers)
            result = str(response.status_code)
        except httpx2.HTTPError:
            result = "no answer"
        self.results[result] += 1
        if not result.startswith("2"):
            self._retry(delivery)
        self._count(in_flight=-1)

    def _retry(self, delivery: Delivery) -> None:
        if delivery.attempts > len(self._retry_after):
            self.results["given up"] += 1
            self.on_given_up(delivery)
        else:
            self._at(self._retry_after[delivery.attempts - 1], delivery)

    def _count(self, *, waiting: int = 0, in_flight: int = 0) -> None:
        with self._changed:
            self._waiting += waiting
            self._in_flight += in_flight
            self._changed.notify_all()

    def _wake_up(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)
