"""What settling an exception does to its order: units placed elsewhere, taken off, left to wait, a plan let out.

The record, which is locked, and the book are changed; nothing here reads or writes the database.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from uuid import UUID

from policies.domain.resolutions import APPROVED, BACKORDERED, CANCELLED, REROUTED
from policies.domain.shipments import OPEN, ShipmentState
from policies.explanation import unit_count_text
from service.allocation.lifecycle import cancel_lines
from service.allocation.planner import AllocationChange, is_in_review, outcome_of
from service.allocation.planning_context import ChannelContext
from service.allocation.rerouting import replan_units
from service.errors import CannotResolve
from service.orders import allocation_record
from service.orders.allocation_record import AllocationRecord, ShortageRecord
from service.orders.order_requests import Cancellation
from service.resolution.lateness import LATE_SHIPMENT
from service.stock.stock_book import Book

EXCEPTION_RESOLVED = "exception_resolved"
"""Why units were rerouted that were short: somebody settled an exception so."""


@dataclass(frozen=True, slots=True)
class ResolutionContext:
    """An exception about an order: what it is about, and what its rule says to do.

    `line_ids` empty is all lines. `others_open` are other open exceptions of its kind about the same order.
    """

    id: UUID
    kind: str
    action: str
    line_ids: frozenset[str] = frozenset()
    shipment_id: UUID | None = None
    others_open: int = 0


def apply_resolution(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, case: ResolutionContext, resolution: str
) -> AllocationChange:
    """Does what the resolution says, one of `EFFECTS`. Raises CannotResolve, where the order does not allow it."""
    state = record.state_at(book.now)
    if state != allocation_record.CONFIRMED:
        raise CannotResolve(str(case.id), "open", f"is about an order that is {state}", _RESOLVE_AS_OTHER)
    record.update_time = book.now
    return EFFECTS[resolution](channel_context, book, record, case)


def short_units(record: AllocationRecord, case: ResolutionContext) -> list[ShortageRecord]:
    """The short units that an exception is about: those that do not wait for stock yet.

    Where the rule says `hold` they wait already, and somebody looks after them meanwhile.
    """
    short = [one for one in record.shortages if _concerns(case, one)]
    loose = [one for one in short if not one.backordered]
    return loose or (short if case.action == "hold" else [])


def _approve(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, case: ResolutionContext
) -> AllocationChange:
    """Lets the plan go out, once nobody else has to look at it."""
    if case.others_open or not is_in_review(record):
        return AllocationChange(record)
    record.outcome = outcome_of(record, in_review=False)
    return AllocationChange(record, "approved", "The plan was approved: it goes out as it is.")


def _cancel(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, case: ResolutionContext
) -> AllocationChange:
    """Takes off the units that the exception is about: short ones, a late shipment's, or a reviewed order's."""
    short = short_units(record, case)
    if not short:
        wanted = _promised_units(record, case)
        if not wanted:
            raise _no_units_error(case)
        in_review = is_in_review(record) and case.kind != "review"
        verdict = cancel_lines(book, record, wanted)
        if record.state == allocation_record.CONFIRMED:
            record.outcome = outcome_of(record, in_review=in_review)
        return verdict
    in_review = is_in_review(record)
    _remove_shortages(record, short)
    for one in short:
        record.line(one.line_id).cancelled += one.unit_count
    if record.is_empty:
        record.state = allocation_record.CANCELLED
    else:
        record.outcome = outcome_of(record, in_review=in_review)
    return AllocationChange(record, "cancelled", f"{_unit_count(short)} that were short cancelled.")


def _backorder(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, case: ResolutionContext
) -> AllocationChange:
    """Lets the short units wait for stock."""
    short = short_units(record, case)
    if not short:
        raise _no_units_error(case)
    if all(one.backordered for one in short):
        return AllocationChange(record)
    in_review = is_in_review(record)
    _remove_shortages(record, short)
    for one in short:
        record.add_shortage(replace(one, backordered=True))
    record.outcome = outcome_of(record, in_review=in_review)
    return AllocationChange(record, "backordered", f"{_unit_count(short)} that were short wait for stock.")


def _reroute(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, case: ResolutionContext
) -> AllocationChange:
    """Places the units of the exception elsewhere, all of them."""
    short = short_units(record, case)
    avoid: frozenset[str] = frozenset()
    if case.kind == LATE_SHIPMENT:
        units, avoid = _release_late_shipment(book, record, case)
    else:
        units = _units_by_line((one.line_id, one.unit_count) for one in short)
    if not units:
        raise _no_units_error(case)
    _remove_shortages(record, short)
    cause = LATE_SHIPMENT if case.kind == LATE_SHIPMENT else EXCEPTION_RESOLVED
    verdict = replan_units(channel_context, book, record, units, cause=cause, avoid=avoid)
    shortages = verdict.decision.shortages if verdict.decision else ()
    if shortages:
        missing = sum(one.unit_count for one in shortages)
        why = (
            f"cannot be settled so: {unit_count_text(missing)} of {sum(units.values())} cannot be placed anywhere else"
        )
        raise CannotResolve(str(case.id), "open", why, "let them wait for stock, or take them off the order")
    return verdict


Effect = Callable[[ChannelContext, Book, AllocationRecord, ResolutionContext], AllocationChange]
EFFECTS: Mapping[str, Effect] = {
    APPROVED: _approve,
    CANCELLED: _cancel,
    BACKORDERED: _backorder,
    REROUTED: _reroute,
}
"""What is done to the order, by resolution; the other resolutions only say what was done elsewhere."""

_RESOLVE_AS_OTHER = "settle it as OTHER and say how"


def _concerns(case: ResolutionContext, short: ShortageRecord) -> bool:
    if case.line_ids and short.line_id not in case.line_ids:
        return False
    if case.kind == "rejected":
        return short.cause == "rejected"
    return case.kind in ("stuck_order", short.kind)


def _promised_units(record: AllocationRecord, case: ResolutionContext) -> list[Cancellation]:
    """What is promised, or short, and not short only: of a late shipment, or of an order whose plan is not wanted."""
    if case.kind == LATE_SHIPMENT:
        made = next((one for one in record.shipments if one.id == case.shipment_id), None)
        return [Cancellation(line_id, units, made.id) for line_id, units in made.units.items()] if made else []
    if case.kind not in ("review", "stuck_order"):
        return []
    short = _units_by_line((one.line_id, one.unit_count) for one in record.shortages)
    left = {x.line_id: record.promised_of_line(x.line_id) + short.get(x.line_id, 0) for x in record.lines}
    return [Cancellation(line_id, units, None) for line_id, units in left.items() if units]


def _release_late_shipment(
    book: Book, record: AllocationRecord, case: ResolutionContext
) -> tuple[dict[str, int], frozenset[str]]:
    """Takes what has not left away from a late shipment; returns it by line, and its location."""
    made = next((one for one in record.shipments if one.id == case.shipment_id), None)
    if made is None or made.state not in OPEN:
        return {}, frozenset()
    units = dict(made.units)
    for line_id, count in units.items():
        book.release(record.line_units(made, line_id, count), was_held=False, reason=LATE_SHIPMENT)
        made.remove_units(line_id, count, book.now, ended=ShipmentState.CANCELLED)
    return units, frozenset({made.location_id})


def _remove_shortages(record: AllocationRecord, short: Iterable[ShortageRecord]) -> None:
    gone = list(short)
    record.shortages = [one for one in record.shortages if one not in gone]


def _units_by_line(pairs: Iterable[tuple[str, int]]) -> dict[str, int]:
    units: dict[str, int] = {}
    for line_id, count in pairs:
        units[line_id] = units.get(line_id, 0) + count
    return units


def _unit_count(short: Iterable[ShortageRecord]) -> str:
    return unit_count_text(sum(one.unit_count for one in short))


def _no_units_error(case: ResolutionContext) -> CannotResolve:
    why = "cannot be settled so: no units are left that it is about"
    return CannotResolve(str(case.id), "open", why, _RESOLVE_AS_OTHER)
