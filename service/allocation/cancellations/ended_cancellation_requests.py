"""Answers requests to cancel of which nothing is left to cancel, whatever ended it: shipping, cancellation, expiry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from policies.explanation import unit_count_text
from service.allocation.cancellations.requested_units import cancellable, requested_units
from service.allocation.planner import AllocationChange
from service.exceptions.exception_model import POLICY
from service.orders.allocation_record import AllocationRecord
from service.orders.cancellations.cancellation_request import ACCEPTED, DECLINED, CancellationRequest

ANSWER_EVENTS = {ACCEPTED: "cancellation_accepted", DECLINED: "cancellation_declined"}
BY_ORDER = "order"
"""What answers a request of which nothing is left to cancel, in metrics."""


def answer_ended(record: AllocationRecord, now: datetime) -> Iterator[AllocationChange]:
    """Answers the requests of an order of which nothing is left to cancel."""
    for request in record.cancellation_requests:
        if request.is_open and not cancellable(record, request, now):
            yield _answer(record, request, now)


def _answer(record: AllocationRecord, request: CancellationRequest, now: datetime) -> AllocationChange:
    requested = requested_units(record, request)
    line_ids = [line.line_id for line in record.lines if not request.lines or line.line_id in requested]
    shipped = sum(record.shipped_of_line(line_id) for line_id in line_ids)
    if not line_ids:
        state, reason = DECLINED, "The order has none of the lines."
    elif shipped:
        verb = "has" if shipped == 1 else "have"
        state, reason = DECLINED, f"Nothing is left to cancel: {unit_count_text(shipped)} {verb} shipped."
    else:
        state, reason = ACCEPTED, "Nothing is left to cancel: the units are not promised any more."
    request.answer(state, POLICY, reason, now, cause=BY_ORDER)
    return AllocationChange(record, ANSWER_EVENTS[state], f"The shopper's request to cancel was {state}. {reason}")
