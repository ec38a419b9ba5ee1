"""Answers requests to cancel of which nothing is left to cancel, whatever ended it: shipping, cancellation, expiry."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from policies.decisions.cancellation_requests import cancellable_units
from policies.explanation import unit_count_text
from service.allocation.planner import AllocationChange
from service.exceptions.exception_model import POLICY
from service.orders.allocation_record import PROMISING, AllocationRecord
from service.orders.cancellations.cancellation_request import ACCEPTED, DECLINED, CancellationRequest

ANSWER_EVENTS = {ACCEPTED: "cancellation_accepted", DECLINED: "cancellation_declined"}
BY_ORDER = "order"
"""What answers a request of which nothing is left to cancel, in metrics."""


def open_units(record: AllocationRecord, now: datetime) -> dict[str, int]:
    """The units of each line that are neither shipped nor cancelled, short ones included."""
    if record.state_at(now) not in PROMISING:
        return {}
    return {
        line.line_id: record.promised_of_line(line.line_id)
        + sum(short.unit_count for short in record.shortages if short.line_id == line.line_id)
        for line in record.lines
    }


def answer_ended(record: AllocationRecord, now: datetime) -> Iterator[AllocationChange]:
    """Answers the requests of an order of which nothing is left to cancel."""
    for request in record.cancellation_requests:
        if request.is_open and not cancellable_units(request.units, open_units(record, now)):
            yield _answer(record, request, now)


def _answer(record: AllocationRecord, request: CancellationRequest, now: datetime) -> AllocationChange:
    line_ids = [line.line_id for line in record.lines if not request.units or line.line_id in request.units]
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
