"""What a resolution does to the order of its exception: reroutes, cancels or backorders units, or approves the plan.

Changes the locked record and the stock book in memory; nothing here reads or writes the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from policies.decisions.cancellations import SELLER, CancellationCause, CancelledUnits
from policies.domain.resolutions import APPROVED, BACKORDERED, CANCELLED, REROUTED
from policies.domain.shipments import OPEN, ShipmentState
from policies.explanation import unit_count_text
from service.allocation.cancellations import cancellation_answers
from service.allocation.cancellations.requested_units import cancellable
from service.allocation.lifecycle import cancel_lines
from service.allocation.order_holds import HOLD_OVERDUE
from service.allocation.planner import AllocationChange, is_in_review, outcome_of
from service.allocation.planning_context import ChannelContext
from service.allocation.replanning.line_groups import short_with
from service.allocation.replanning.rerouting import replan_units
from service.errors import CannotResolve
from service.orders import allocation_record
from service.orders.allocation_record import AllocationRecord, ShortageRecord
from service.orders.cancellations.cancellation_request import CANCEL_REQUESTED
from service.orders.order_requests import Cancellation
from service.orders.short_wholes import with_their_wholes
from service.resolution.lateness import LATE_SHIPMENT, LOCATION_UNAVAILABLE
from service.stock.stock_book import Book

EXCEPTION_RESOLVED = "exception_resolved"
"""The cause of rerouting short units when a person resolves their exception as rerouted."""
_OF_A_SHIPMENT = (LATE_SHIPMENT, LOCATION_UNAVAILABLE)
"""Kinds of exception about the units of one shipment."""


_BY_SELLER = CancellationCause(SELLER)
"""Who cancels what the shop could not supply, or does not want to."""


@dataclass(frozen=True, slots=True)
class ResolutionContext:
    """An exception of an order, with its rule's action.

    Empty `line_ids` is all lines. `others_open` counts other open exceptions of its kind about the same order.
    """

    id: UUID
    kind: str
    action: str
    line_ids: frozenset[str] = frozenset()
    shipment_id: UUID | None = None
    others_open: int = 0


def apply_resolution(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, exception: ResolutionContext, resolution: str
) -> AllocationChange:
    """Applies a resolution, one of `EFFECTS`, to an order. Raises CannotResolve if the order does not allow it."""
    if exception.kind == CANCEL_REQUESTED:
        return next(answer_by_person(book, record, exception.id, resolution, actor="", reason=""))
    state = record.state_at(book.now)
    if state != allocation_record.CONFIRMED:
        raise CannotResolve(str(exception.id), "open", f"is about an order that is {state}", _RESOLVE_AS_OTHER)
    record.update_time = book.now
    return EFFECTS[resolution](channel_context, book, record, exception)


def answer_by_person(
    book: Book, record: AllocationRecord, exception_id: UUID, resolution: str, *, actor: str, reason: str
) -> Iterator[AllocationChange]:
    """Accepts or declines the shopper's request to cancel that an exception is about. Raises CannotResolve."""
    request = cancellation_answers.request_of(record, exception_id)
    if request is None or not cancellable(record, request, book.now):
        problem = "cannot be resolved this way: nothing is left to cancel"
        raise CannotResolve(str(exception_id), "open", problem, "it is answered by itself within seconds")
    if resolution == CANCELLED:
        yield from cancellation_answers.accept(
            book, record, request, actor, reason, cause=cancellation_answers.BY_PERSON
        )
    else:
        yield cancellation_answers.decline(book, record, request, actor, reason, cause=cancellation_answers.BY_PERSON)


def short_units(record: AllocationRecord, exception: ResolutionContext) -> list[ShortageRecord]:
    """The shortages of an exception: those that are not backordered yet, or else, for the action `hold`, all of them.

    With them come the short units that complete their kits and items, of other exceptions too.
    With `hold` the units are backordered at once, and the exception stays open for a person while they wait.
    """
    short = [shortage for shortage in record.shortages if _concerns(exception, shortage)]
    not_waiting = [shortage for shortage in short if not shortage.backordered]
    return with_their_wholes(record, not_waiting or (short if exception.action == "hold" else []))


def _approve(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, exception: ResolutionContext
) -> AllocationChange:
    """Approves the plan, unless other reviews of it are open."""
    if exception.others_open or not is_in_review(record):
        return AllocationChange(record)
    record.outcome = outcome_of(record, in_review=False)
    return AllocationChange(record, "approved", "The plan was approved without changes.")


def _cancel(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, exception: ResolutionContext
) -> AllocationChange:
    """Cancels the units of the exception: short ones, those of its shipment, or those of a reviewed order."""
    short = short_units(record, exception)
    if not short:
        cancellations = _units_to_cancel(record, exception)
        if not cancellations:
            raise _no_units_error(exception)
        in_review = is_in_review(record) and exception.kind != "review"
        order_change = cancel_lines(book, record, cancellations, _BY_SELLER)
        if record.state == allocation_record.CONFIRMED:
            record.outcome = outcome_of(record, in_review=in_review)
        return order_change
    in_review = is_in_review(record)
    _remove_shortages(record, short)
    for shortage in short:
        record.line(shortage.line_id).cancelled += shortage.unit_count
    if record.is_empty:
        record.state = allocation_record.CANCELLED
    else:
        record.outcome = outcome_of(record, in_review=in_review)
    cancellation = CancelledUnits(sum(shortage.unit_count for shortage in short), _BY_SELLER)
    sentence = f"Cancelled {_unit_count(short)} that were short.{_BY_SELLER.sentence()}"
    return AllocationChange(record, "cancelled", sentence, cancellation=cancellation)


def _backorder(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, exception: ResolutionContext
) -> AllocationChange:
    """Backorders the short units."""
    short = short_units(record, exception)
    if not short:
        raise _no_units_error(exception)
    if all(shortage.backordered for shortage in short):
        return AllocationChange(record)
    in_review = is_in_review(record)
    _remove_shortages(record, short)
    for shortage in short:
        record.add_shortage(replace(shortage, backordered=True))
    record.outcome = outcome_of(record, in_review=in_review)
    return AllocationChange(record, "backordered", f"Backordered {_unit_count(short)} that were short.")


def _reroute(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, exception: ResolutionContext
) -> AllocationChange:
    """Allocates all units of the exception to other locations."""
    short = short_with(record, short_units(record, exception))
    avoid: frozenset[str] = frozenset()
    if exception.kind in _OF_A_SHIPMENT:
        units, avoid = _release_shipment(book, record, exception)
    else:
        units = _units_by_line((shortage.line_id, shortage.unit_count) for shortage in short)
    if not units:
        raise _no_units_error(exception)
    _remove_shortages(record, short)
    cause = exception.kind if exception.kind in _OF_A_SHIPMENT else EXCEPTION_RESOLVED
    order_change = replan_units(channel_context, book, record, units, cause=cause, avoid=avoid)
    shortages = order_change.decision.shortages if order_change.decision else ()
    if shortages:
        missing_count = sum(shortage.unit_count for shortage in shortages)
        missing_text = f"{unit_count_text(missing_count)} of {sum(units.values())} cannot be allocated elsewhere"
        problem = f"cannot be resolved this way: {missing_text}"
        raise CannotResolve(str(exception.id), "open", problem, "backorder or cancel them")
    return order_change


Effect = Callable[[ChannelContext, Book, AllocationRecord, ResolutionContext], AllocationChange]
EFFECTS: Mapping[str, Effect] = {
    APPROVED: _approve,
    CANCELLED: _cancel,
    BACKORDERED: _backorder,
    REROUTED: _reroute,
}
"""What is done to the order, by resolution; the other resolutions only record what was done elsewhere."""

_RESOLVE_AS_OTHER = "resolve it as OTHER with a note"


def _concerns(exception: ResolutionContext, short: ShortageRecord) -> bool:
    if exception.line_ids and short.line_id not in exception.line_ids:
        return False
    if exception.kind == "rejected":
        return short.cause == "rejected"
    return exception.kind in ("stuck_order", short.kind)


def _units_to_cancel(record: AllocationRecord, exception: ResolutionContext) -> list[Cancellation]:
    """The units of the exception's shipment, or the promised and short units of an order in review or stuck."""
    if exception.kind in _OF_A_SHIPMENT:
        shipment = next((shipment for shipment in record.shipments if shipment.id == exception.shipment_id), None)
        if shipment is None:
            return []
        return [Cancellation(line_id, units, shipment.id) for line_id, units in shipment.units.items()]
    if exception.kind not in ("review", "stuck_order", HOLD_OVERDUE):
        return []
    short = _units_by_line((shortage.line_id, shortage.unit_count) for shortage in record.shortages)
    units_by_line = {x.line_id: record.promised_of_line(x.line_id) + short.get(x.line_id, 0) for x in record.lines}
    return [Cancellation(line_id, units, None) for line_id, units in units_by_line.items() if units]


def _release_shipment(
    book: Book, record: AllocationRecord, exception: ResolutionContext
) -> tuple[dict[str, int], frozenset[str]]:
    """Removes the unshipped units from the exception's shipment; returns them by line, and its location."""
    shipment = next((shipment for shipment in record.shipments if shipment.id == exception.shipment_id), None)
    if shipment is None or shipment.state not in OPEN:
        return {}, frozenset()
    units = dict(shipment.units)
    for line_id, count in units.items():
        book.release(record.line_units(shipment, line_id, count), was_held=False, reason=exception.kind)
        shipment.remove_units(line_id, count, book.now, ended=ShipmentState.CANCELLED)
    return units, frozenset({shipment.location_id})


def _remove_shortages(record: AllocationRecord, short: Iterable[ShortageRecord]) -> None:
    for shortage in short:
        record.remove_shortage(shortage)


def _units_by_line(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    units: dict[str, int] = {}
    for line_id, count in pairs:
        units[line_id] = units.get(line_id, 0) + count
    return units


def _unit_count(short: Iterable[ShortageRecord]) -> str:
    return unit_count_text(sum(shortage.unit_count for shortage in short))


def _no_units_error(exception: ResolutionContext) -> CannotResolve:
    problem = "cannot be resolved this way: none of its units are open"
    return CannotResolve(str(exception.id), "open", problem, _RESOLVE_AS_OTHER)
