"""Applies new contents and cancellations to one order: amends it, cancels all of it, or merges it into its original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from policies.decisions.cancellations import NO_CAUSE, CancellationCause, CancelledUnits
from policies.decisions.promise import same_contents
from policies.domain.model import Commitment, Order, Outcome
from policies.explanation import unit_count_text
from service.allocation.planner import AllocationChange, decide, release_promises
from service.allocation.planning_context import ChannelContext
from service.orders.allocation_record import CANCELLED, CONFIRMED, RELEASED, AllocationRecord, LineRecord
from service.orders.order_identity import OrderKey
from service.stock.stock_book import Book


def amend(
    channel_context: ChannelContext,
    book: Book,
    record: AllocationRecord,
    order: Order,
    cancelled: Mapping[str, int],
    *,
    hold_duration: timedelta,
) -> AllocationChange:
    """Plans an order's contents less the cancelled units, which stay on the lines; changes the book and the record.

    `cancelled` are units by line.
    """
    previously_cancelled = {line.line_id: line.cancelled for line in record.lines if line.cancelled}
    if not cancelled and not previously_cancelled:
        return decide(channel_context, book, record, order, hold_duration)
    remaining = _without(order, cancelled)
    if remaining is None:
        return cancel_whole_order(book, record, order)
    before = record.lines
    record.lines = [replace(line, unit_count=line.uncancelled, cancelled=0) for line in before if line.uncancelled]
    change = decide(channel_context, book, record, remaining, hold_duration)
    if change.change_refused:
        record.lines = before
        return change
    record.lines = _with_cancelled(order, cancelled, record.lines)
    newly_cancelled = max(0, sum(cancelled.values()) - sum(previously_cancelled.values()))
    sold = record.commitment is Commitment.SOLD
    if not change.event and record.lines != before:
        change = replace(change, event="updated", description="The channel changed the order.")
    return replace(change, cancelled_by_channel=newly_cancelled if sold and change.event else 0)


def cancel_whole_order(
    book: Book, record: AllocationRecord, order: Order, cause: CancellationCause = NO_CAUSE
) -> AllocationChange:
    """Cancels all units of an order that have not shipped; `order` has its contents, new or as stored.

    Contents that give a shipped line another SKU are ignored; the stored contents are cancelled instead.
    """
    if record.shipped_as_other_sku(order):
        order = replace(record.order_as_stated(), commitment=order.commitment)
    if _is_cancelled(record, order):
        return AllocationChange(record)
    before = sum(line.cancelled for line in record.lines)
    # Units of a cart are counted as cancelled only once the order is known to have been sold.
    counted_before = before if record.commitment is Commitment.SOLD else 0
    release_promises(book, record)
    if not record.lines or not same_contents(record.order_as_stated(), order):
        record.replace_contents(order)
    record.commitment = order.commitment
    for line in record.lines:
        line.cancelled = line.unit_count - record.shipped_of_line(line.line_id)
    sold = record.commitment is Commitment.SOLD
    record.state = (CANCELLED if sold else RELEASED) if not any(x.uncancelled for x in record.lines) else CONFIRMED
    # Of an order that is not over, all units have shipped that are not cancelled.
    record.outcome, record.expire_time = Outcome.ALLOCATED, None
    cancelled = sum(line.cancelled for line in record.lines)
    units = max(0, cancelled - before)
    sentence = f"{unit_count_text(units)} cancelled: everything that has not shipped.{cause.sentence()}"
    return AllocationChange(
        record,
        "cancelled",
        sentence,
        cancelled_by_channel=max(0, cancelled - counted_before) if sold else 0,
        cancellation=CancelledUnits(units, cause),
    )


def merge_copy(book: Book, copy: AllocationRecord, original: OrderKey) -> AllocationChange:
    """Releases what was promised to a copy before its link to the original was known; its row stays as history."""
    units = sum(copy.promised().values())
    release_promises(book, copy)
    for line in copy.lines:
        line.cancelled = line.unit_count - copy.shipped_of_line(line.line_id)
    copy.state, copy.expire_time, copy.copies = CANCELLED, None, []
    sentence = f"Merged into order {'/'.join(original)}, of which it is a copy; {unit_count_text(units)} released."
    return AllocationChange(copy, "merged", sentence)


def _is_cancelled(record: AllocationRecord, order: Order) -> bool:
    is_cancelled = bool(record.lines) and all(x.uncancelled <= record.shipped_of_line(x.line_id) for x in record.lines)
    same_commitment = record.commitment is order.commitment
    return is_cancelled and same_commitment and same_contents(record.order_as_stated(), order)


def _without(order: Order, cancelled: Mapping[str, int]) -> Order | None:
    """The order less the cancelled units; None if no units remain."""
    lines = tuple(
        replace(line, unit_count=units)
        for line in order.lines
        if (units := line.unit_count - cancelled.get(line.line_id, 0)) > 0
    )
    return replace(order, lines=lines) if lines else None


def _with_cancelled(order: Order, cancelled: Mapping[str, int], planned: list[LineRecord]) -> list[LineRecord]:
    """The lines as the channel states them, with the planned units of each; planned lines that it leaves out stay."""
    planned_by_id = {line.line_id: line for line in planned}
    lines = []
    for stated in order.lines:
        units = cancelled.get(stated.line_id, 0)
        line = planned_by_id.pop(stated.line_id, None)
        if line is None:
            line = LineRecord.of(stated)
            line.cancelled = units
        else:
            # Units that have shipped stay on the line and cannot be cancelled.
            units = min(units, max(0, stated.unit_count - line.unit_count))
            line = replace(line, unit_count=line.unit_count + units, cancelled=line.cancelled + units)
        lines.append(line)
    return [*lines, *planned_by_id.values()]
