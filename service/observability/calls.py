"""What one call has spent its time on, filled in by whatever works for it: queue, connection, database, decision."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opentelemetry.trace import Span


class Call:
    """One call, or one transaction that serves several calls. All times are in seconds.

    `queue`: until its transaction or read began. `connection`: for a free connection. `database`: for statements, locks
    and the commit. `decision`: in which it computed. `span` is its span if it is traced.
    """

    __slots__ = ("connection", "database", "decision", "queue", "span")

    def __init__(self) -> None:
        self.queue = 0.0
        self.connection = 0.0
        self.database = 0.0
        self.decision = 0.0
        self.span: Span | None = None

    def decided(self, seconds: float, *, in_transaction: bool) -> None:
        """Counts a decision; one that was made while a transaction was open is no time of the database."""
        self.decision += seconds
        if in_transaction:
            self.database -= seconds

    def share(self, calls: Iterable[Call | None]) -> None:
        """Adds its times to the calls that it served, each of which has waited for all of them."""
        for call in {call for call in calls if call is not None}:
            call.connection += self.connection
            call.database += self.database
            call.decision += self.decision

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
