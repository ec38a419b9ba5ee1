"""Periodic work, long work in turns, work side by side, waiting for events, and the log of failures that repeat."""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from traceback import walk_tb
from typing import ParamSpec, TypeVar

import structlog
from sqlalchemy.util.concurrency import await_, greenlet_spawn

from policies.domain.model import go_on
from policies.domain.remembered import remember
from service.errors import NotReady
from service.observability.error_text import error_text

log = structlog.get_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

TURN_SECONDS = 0.001
"""How long work may use the event loop at a time while others wait for it."""
TURNS_OF_OTHERS = 4
"""Turns of the event loop that others get then. grpcio takes calls that have arrived one after the other, each of them
in three or four turns (grpcio 1.85): with one, a call waited for as many turns of work. An empty turn takes 10 us.
"""
NEW_OBJECTS = 2_500
"""Objects that long work has created and not yet freed after which Python looks for cycles among them, at the end of a
turn. By itself it looks at more of them at once (service/app/garbage_collector.py), and stops everything for longer."""
SPREAD_SECONDS = 0.2
"""Time over which periodic work starts."""
FIRST_PURGE_SECONDS = 20.0
"""When a service first purges old rows: it has just started, and its callers are waiting for it."""
LINE_SECONDS = 60.0
"""A failure that repeats is logged this often, with how often it happened since the last line."""
TRACEBACK_SECONDS = 3_600.0
"""A failure that repeats is logged with its traceback this often: the first one may have left the log."""
FAILURE_KINDS = 100
"""Kinds of failures that one log tells apart; beyond it, all are forgotten and logged in full again."""


@dataclass(slots=True)
class _Failure:
    """When one kind of failure was logged and with its traceback, and how often it happened since, unlogged."""

    line_time: float
    traceback_time: float
    unlogged_count: int = 0


class FailureLog:
    """Logs failures that repeat: the first of a kind at once and in full, then one line a minute with their number.

    Failures are of one kind if they have the same event and were raised by the same type of error on the same path
    through the code. Every place that goes on after a failure and tries again reports to one of these.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: dict[tuple[object, ...], _Failure] = {}
        self._is_failing = False

    def failed(self, event: str, error: BaseException, *, traceback: bool = True, **values: object) -> None:
        """Logs a failure, or counts it if its kind was logged within LINE_SECONDS.

        Without `traceback`, all failures with this event are of one kind, whatever their error.
        """
        now = self._clock()
        kind = (event, type(error), *_path(error)) if traceback else (event,)
        failure = self._failures.get(kind)
        if failure is None:
            failure = _Failure(now - LINE_SECONDS, now - TRACEBACK_SECONDS)
            remember(self._failures, kind, failure, at_most=FAILURE_KINDS)
        failure.unlogged_count += 1
        if now - failure.line_time < LINE_SECONDS:
            return
        values = {**values, "error": error_text(error), "times": failure.unlogged_count}
        failure.line_time, failure.unlogged_count = now, 0
        self._is_failing = True
        if traceback and now - failure.traceback_time >= TRACEBACK_SECONDS:
            failure.traceback_time = now
            log.error(event, **values, exc_info=error)
        else:
            log.error(event, **values)

    def worked(self, event: str, **values: object) -> None:
        """Logs that what failed works again, with the failures that no line has counted; nothing if none was logged."""
        if not self._is_failing:
            return
        self._is_failing = False
        unlogged_count = sum(failure.unlogged_count for failure in self._failures.values())
        for failure in self._failures.values():
            failure.unlogged_count = 0
        log.warning(event, **values, failures_since=unlogged_count)


async def every(
    seconds: float,
    stop: asyncio.Event,
    work: Callable[[], Awaitable[None]],
    *,
    first_after: float = 0.0,
    spread: float = SPREAD_SECONDS,
) -> None:
    """Runs `work` every `seconds` until `stop` is set, also after it failed.

    The first time is after `first_after` and at most `spread` more: work that starts together would run together
    for as long as the service runs, and take as many connections from calls at once.
    """
    failures = FailureLog()
    name = getattr(work, "__qualname__", repr(work))
    await pause(stop, first_after + random.uniform(0, min(seconds, spread)))
    while not stop.is_set():
        try:
            await work()
        except NotReady:
            # The database has logged why it does not answer, and counts this in its next line.
            pass
        except Exception as error:
            # No answer depends on periodic work, so it is tried again instead of ending the service.
            failures.failed("periodic work failed and will be tried again", error, work=name)
        else:
            failures.worked("periodic work succeeds again", work=name)
        await pause(stop, seconds)


async def all_of(work: Iterable[Awaitable[T]]) -> list[T]:
    """The results of work done side by side, in its order. Raises the first error once all of it has ended.

    asyncio.gather raises at once: the rest goes on, beside whatever its caller does next, without a lease or a client.
    """
    # Its results may be errors themselves, which are told from errors that were raised by the tasks alone.
    tasks = [asyncio.ensure_future(each) for each in work]
    await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() for task in tasks]


class Turn:
    """The time since work has let others use the event loop."""

    __slots__ = ("_looks_for_cycles", "_objects", "_start")

    def __init__(self, *, looks_for_cycles: bool = True) -> None:
        """Work that frees most of its objects at its end spares the looks: they would find them all in use."""
        self._looks_for_cycles = looks_for_cycles
        self._objects = gc.get_count()[0]
        self._start = time.perf_counter()

    @property
    def is_long(self) -> bool:
        """Whether it has taken TURN_SECONDS."""
        return time.perf_counter() - self._start > TURN_SECONDS

    async def end(self) -> None:
        """Lets others run; the next turn begins."""
        if self._looks_for_cycles:
            self._look()
        for _ in range(TURNS_OF_OTHERS):
            await asyncio.sleep(0)
        self._start = time.perf_counter()

    def _look(self) -> None:
        objects = gc.get_count()[0]
        if objects - self._objects >= NEW_OBJECTS:
            gc.collect(1)
            objects = 0
        # Others may have freed some, or Python may have looked at all.
        self._objects = min(self._objects, objects)

    async def end_if_long(self) -> None:
        """Lets others run if it has taken TURN_SECONDS; for the end of each step of a loop."""
        if self.is_long:
            await self.end()


_turn: ContextVar[Turn | None] = ContextVar("_turn", default=None)
"""The turn of the function that `in_turns` runs."""


async def in_turns(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Calls a plain function that computes for long, and lets others run where it calls `let_others_run`.

    The function can stop in the middle because it gets a stack of its own, as SQLAlchemy gives one to what it calls.
    That costs about 10 us, so short work is better called at once. Nobody may change what the function reads meanwhile.
    """
    token = _turn.set(Turn())
    try:
        return await greenlet_spawn(partial(function, *args, **kwargs))
    finally:
        _turn.reset(token)


def pause_of_turn() -> Callable[[], None]:
    """What a decision calls again and again: `let_others_run` within `in_turns`; elsewhere a function that is empty."""
    return go_on if _turn.get() is None else let_others_run


def let_others_run() -> None:
    """Stops the function that `in_turns` runs for a moment if its turn has taken TURN_SECONDS; else does nothing."""
    turn = _turn.get()
    if turn is not None and turn.is_long:
        await_(turn.end())


async def pause(event: asyncio.Event, seconds: float) -> None:
    """Waits `seconds`, or less if `event` is set before."""
    # Not asyncio.wait_for(): in Python 3.11 it forgets a cancellation that comes as the event is set.
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def first_of(*events: asyncio.Event) -> None:
    """Waits until one of the events is set."""
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _path(error: BaseException) -> tuple[tuple[str, int], ...]:
    """The files and lines through which the error was raised."""
    return tuple((frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__))
