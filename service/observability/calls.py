"""What one call has spent its time on, filled in by whatever works for it: queue, connection, database, decision."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service.observability.tracing import Trace


class Call:
    """One call, or one transaction or read that serves several calls. All times are in seconds.

    `queue`: until its transaction or read began. `connection`: for a free connection. `database`: for statements, locks
    and the commit. `decision`: in which it computed. `trace` is None unless it is traced. `rpc` is its method, its
    request and its context in gRPC; None for shared work.
    """

    __slots__ = ("connection", "database", "decision", "queue", "rpc", "trace")

    def __init__(self) -> None:
        self.queue = 0.0
        self.connection = 0.0
        self.database = 0.0
        self.decision = 0.0
        self.trace: Trace | None = None
        self.rpc: tuple[str, Any, Any] | None = None

    def waited(self, since: float, until: float) -> None:
        """Its work, or a part of it, begins now; times are those of `time.perf_counter`."""
        # The longest wait of a call's orders; a batch that is split has waited only once.
        self.queue = max(self.queue, until - since)
        if self.trace is not None:
            self.trace.add("queue", since, until)

    def connected(self, seconds: float, connection_seconds: float) -> None:
        """Counts the use of a connection, and how long it waited for it."""
        self.connection += connection_seconds
        self.database += seconds

    def decided(self, seconds: float, *, in_transaction: bool) -> None:
        """Counts a decision; one that was made while a transaction was open is no time of the database."""
        self.decision += seconds
        if in_transaction:
            self.database -= seconds

    def parts(self) -> dict[str, float]:
        """Seconds by part."""
        return {
            "queue": self.queue,
            "connection": self.connection,
            "database": max(0.0, self.database),
            "decision": self.decision,
        }


current_call: ContextVar[Call | None] = ContextVar("current_call", default=None)
"""The call that the running code works for; None in background work."""


@contextmanager
def shared_work(name: str, waiting: Sequence[tuple[Call | None, float]]) -> Iterator[None]:
    """What this task does in the block it does for all these calls, which have waited since the time beside them.

    Each gets the whole time of the work: it waits for all of it. In traces the work has the name.
    """
    work, now = Call(), time.perf_counter()
    calls = dict.fromkeys(call for call, _ in waiting if call is not None)
    for call, since in waiting:
        if call is not None:
            call.waited(since, now)
    traces = [call.trace for call in calls if call.trace is not None]
    if traces:
        work.trace = traces[0].shared(name, traces[1:])
    token = current_call.set(work)
    try:
        yield
    finally:
        current_call.reset(token)
        if work.trace is not None:
            work.trace.end()
        for call in calls:
            call.connected(work.database, work.connection)
            call.decision += work.decision


def statement_ended(record: Any) -> None:
    """Adds a statement that asyncpg has run to the trace of its call."""
    call = current_call.get()
    if call is not None and call.trace is not None:
        call.trace.add_statement(record.query, record.elapsed, record.exception)
