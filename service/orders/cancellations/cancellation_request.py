"""A shopper's request to cancel units of an order, and the answer to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from policies.decisions.cancellations import NO_CAUSE, CancellationCause

CANCEL_REQUESTED = "cancel_requested"
"""The kind of exception about a request that nobody has answered."""
REQUESTED, ACCEPTED, DECLINED, WITHDRAWN = "requested", "accepted", "declined", "withdrawn"
BY_CHANNEL = "channel"
"""Who answered a request that was withdrawn, or got the answer that its channel takes for granted."""


@dataclass(frozen=True, slots=True)
class RequestedLine:
    """What a request names: so many units of a line, kits if it ordered a kit, or items if it names one."""

    line_id: str
    unit_count: int
    item_id: str = ""

    @property
    def name(self) -> str:
        """What it is called in a sentence."""
        return f"line {self.line_id}" if self.line_id else f"item {self.item_id}"


@dataclass(slots=True)
class CancellationRequest:
    """One request. `lines` are as the channel named them, for the order may arrive or change later; empty is the whole.

    `unit_count` are the requested units, of the whole order those that had not shipped; `cancelled` those that the
    answer cancelled. `is_changed` says that it must be written.
    """

    id: UUID
    channel_id: str
    order_id: str
    event_id: str
    create_time: datetime
    allocation_id: UUID | None = None
    lines: tuple[RequestedLine, ...] = ()
    cause: CancellationCause = NO_CAUSE
    deadline: datetime | None = None
    state: str = REQUESTED
    unit_count: int = 0
    cancelled: int = 0
    answer_time: datetime | None = None
    answered_by: str = ""
    answer_reason: str = ""
    exception_id: UUID | None = None
    is_changed: bool = False
    answer_cause: str = ""
    """What answered it in this transaction, for metrics; empty if nothing did."""

    @property
    def is_open(self) -> bool:
        """Whether it is not answered yet."""
        return self.state == REQUESTED

    def answer(self, state: str, by: str, reason: str, now: datetime, *, cause: str, cancelled: int = 0) -> None:
        """Answers it; `cause` is what answers it, for metrics."""
        self.state, self.answered_by, self.answer_reason, self.answer_time = state, by, reason, now
        self.cancelled, self.answer_cause, self.is_changed = cancelled, cause, True


def shown(requests: Iterable[CancellationRequest]) -> CancellationRequest | None:
    """The request that an order shows: the unanswered one that is due first, or the one that was answered last."""
    known = list(requests)
    waiting = [request for request in known if request.is_open]
    if waiting:
        return min(waiting, key=lambda x: (x.deadline is None, x.deadline or x.create_time, x.create_time, x.id))
    return max(known, key=lambda x: (x.answer_time or x.create_time, x.create_time, x.id), default=None)
