"""Takes up requests to cancel, and answers them: by a rule, by a person, or as the channel takes for granted.

Changes the locked record and the stock book in memory; `UnitOfWork` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from policies.domain.cancellation_defaults import default_answer
from policies.domain.model import ACCEPT, CancellationFacts, Channel
from policies.domain.resolutions import CANCELLED
from policies.domain.shipments import ShipmentState
from policies.explanation import unit_count_text
from service.allocation.cancellations.ended_cancellation_requests import ANSWER_EVENTS, answer_ended
from service.allocation.cancellations.requested_units import cancellable, open_units, requested_units
from service.allocation.intake.amendments import cancel_whole_order
from service.allocation.lifecycle import cancel_lines
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import ChannelContext
from service.allocation.replanning.shortages import exception_context, mark_needs_person
from service.exceptions.exception_model import POLICY
from service.orders import order_exceptions
from service.orders.allocation_record import AllocationRecord
from service.orders.cancellations.cancellation_request import (
    ACCEPTED,
    BY_CHANNEL,
    CANCEL_REQUESTED,
    DECLINED,
    WITHDRAWN,
    CancellationRequest,
)
from service.orders.order_exceptions import OrderException
from service.orders.order_requests import Cancellation
from service.stock.stock_book import Book

BY_RULE, BY_PERSON, BY_DEADLINE = "rule", "person", "deadline"
"""What answers a request, in metrics; `ended_cancellation_requests` has one more."""
_NAMED_LINES = 5
_STARTED = (ShipmentState.ACCEPTED, ShipmentState.READY_FOR_PICKUP)


def take_up(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, request: CancellationRequest
) -> Iterator[AllocationChange]:
    """Adds a request to its order; a rule may accept it at once. Yields what changed."""
    request.allocation_id, request.is_changed = record.id, True
    request.channel_id, request.order_id = record.channel_id, record.order_id
    record.cancellation_requests.append(request)
    units = cancellable(record, request, book.now)
    request.unit_count = sum((requested_units(record, request) if request.lines else units).values())
    if not request.is_open:
        # It was withdrawn before its order arrived.
        return
    if not units:
        yield from answer_ended(record, book.now)
        return
    raised = _exception(channel_context, book, record, request, units)
    request.exception_id = raised.id
    is_accepted = raised.handling.action == "cancel"
    if is_accepted:
        rule = raised.rule
        raised = replace(raised, resolution=CANCELLED, note=f"Accepted by rule {rule}.")
    sentence = f"{_request_text(request)}{_by(request.deadline)}"
    exceptions = mark_needs_person(record, [raised])
    yield AllocationChange(record, "cancellation_requested", sentence, exceptions=exceptions)
    if is_accepted:
        yield from accept(book, record, request, POLICY, f"Rule {rule} accepts it.", cause=BY_RULE)


def accept(
    book: Book, record: AllocationRecord, request: CancellationRequest, by: str, reason: str, *, cause: str
) -> Iterator[AllocationChange]:
    """Accepts a request, and cancels what can still be cancelled of its units, of which there must be some."""
    units = cancellable(record, request, book.now)
    is_rest = not request.lines or units == open_units(record, book.now)
    if is_rest and not any(shipment.shipped for shipment in record.shipments):
        yield cancel_whole_order(book, record, record.order_as_stated(), request.cause)
    else:
        cancellations = [Cancellation(line_id, count, None) for line_id, count in units.items()]
        yield cancel_lines(book, record, cancellations, request.cause)
    cancelled = sum(units.values())
    request.answer(ACCEPTED, by, reason, book.now, cancelled=cancelled, cause=cause)
    rest = request.unit_count - cancelled
    part = f"; {unit_count_text(rest)} cannot be cancelled any more" if rest > 0 else ""
    sentence = f"The shopper's request to cancel was accepted by {by}: {unit_count_text(cancelled)} cancelled{part}."
    yield AllocationChange(record, ANSWER_EVENTS[ACCEPTED], f"{sentence} {reason}".strip())


def decline(
    book: Book, record: AllocationRecord, request: CancellationRequest, by: str, reason: str, *, cause: str
) -> AllocationChange:
    """Declines a request: the order goes on."""
    request.answer(DECLINED, by, reason, book.now, cause=cause)
    sentence = f"The shopper's request to cancel was declined by {by}. {reason}".strip()
    return AllocationChange(record, ANSWER_EVENTS[DECLINED], sentence)


def withdraw(book: Book, record: AllocationRecord, request: CancellationRequest) -> AllocationChange:
    """Withdraws a request: the shopper keeps the order."""
    request.answer(WITHDRAWN, BY_CHANNEL, "Withdrawn.", book.now, cause=BY_CHANNEL)
    return AllocationChange(record, "cancellation_withdrawn", "The shopper's request to cancel was withdrawn.")


def answer_due(
    channel: Channel, book: Book, record: AllocationRecord, request: CancellationRequest
) -> Iterator[AllocationChange]:
    """Gives a request that nobody has answered by its deadline the answer that its channel takes for granted."""
    answer, deadline = default_answer(channel), request.deadline
    by = f" by {_utc(deadline)}" if deadline else ""
    reason = f"Nobody answered{by}, and {channel.id} then takes '{answer}' for granted."
    if answer == ACCEPT:
        yield from accept(book, record, request, BY_CHANNEL, reason, cause=BY_DEADLINE)
    else:
        yield decline(book, record, request, BY_CHANNEL, reason, cause=BY_DEADLINE)


def move_requests(copy: AllocationRecord, original: AllocationRecord) -> None:
    """Moves the requests of an order that turned out to be a copy to its original, with their exceptions."""
    for request in copy.cancellation_requests:
        request.allocation_id, request.is_changed = original.id, True
        request.channel_id, request.order_id = original.channel_id, original.order_id
    original.cancellation_requests += copy.cancellation_requests
    copy.cancellation_requests = []


def request_of(record: AllocationRecord, exception_id: UUID) -> CancellationRequest | None:
    """The unanswered request that an exception is about."""
    return next((x for x in record.cancellation_requests if x.exception_id == exception_id and x.is_open), None)


def _exception(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    request: CancellationRequest,
    units: dict[str, int],
) -> OrderException:
    """The exception about a request, due at its deadline at the latest."""
    context = exception_context(channel_context, book.now, record.order(record.commitment))
    facts = CancellationFacts(request.cause.fault, _has_started(record, request))
    skus = {record.line(line_id).sku for line_id in units}
    context = replace(
        context,
        cancellation=facts,
        product=channel_context.products.get(next(iter(skus))) if len(skus) == 1 else None,
    )
    sentence = f"{_request_text(request)}{_by(request.deadline)} Accept it (CANCELLED) or decline it (DECLINED)."
    raised = order_exceptions.of_kind(channel_context.policy_set, context, CANCEL_REQUESTED, sentence)
    return replace(
        raised,
        id=book.new_id(),
        due_time=min(raised.due_time, request.deadline) if request.deadline else raised.due_time,
        line_ids=tuple(units) if request.lines else (),
        sku=next(iter(skus)) if len(skus) == 1 else None,
    )


def _has_started(record: AllocationRecord, request: CancellationRequest) -> bool:
    """Whether a location has accepted or shipped any of the requested units."""
    line_ids = set(requested_units(record, request)) if request.lines else {line.line_id for line in record.lines}
    return any(
        (shipment.state in _STARTED and line_ids & shipment.units.keys()) or line_ids & shipment.shipped.keys()
        for shipment in record.shipments
    )


def _request_text(request: CancellationRequest) -> str:
    names = [line.name for line in request.lines[:_NAMED_LINES]]
    part = f"{unit_count_text(request.unit_count)} of {', '.join(names)}"
    what = part if request.lines else f"the whole order, {unit_count_text(request.unit_count)}"
    return f"The shopper asks to cancel {what}.{request.cause.sentence()}"


def _by(deadline: datetime | None) -> str:
    return f" The channel waits until {_utc(deadline)}." if deadline else ""


def _utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
