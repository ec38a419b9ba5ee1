"""What arriving contents and cancellations do to one record: taken with less, cancelled whole, merged into another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

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
    """Decides on an order's contents without the units that are cancelled of them; these stay on the lines.

    `cancelled` are units by line. The book and the record are changed to match.
    """
    was_cancelled = {line.line_id: line.cancelled for line in record.lines if line.cancelled}
    if not cancelled and not was_cancelled:
        return decide(channel_context, book, record, order, hold_duration)
    left = _without(order, cancelled)
    if left is None:
        return cancel_whole_order(book, record, order)
    before = record.lines
    record.lines = [replace(line, unit_count=line.uncancelled, cancelled=0) for line in before if line.uncancelled]
    verdict = decide(channel_context, book, record, left, hold_duration)
    is_kept = order.commitment is Commitment.HOLD and record.commitment is Commitment.SOLD
    if verdict.change_refused or is_kept:
        record.lines = before
        return verdict
    record.lines = _with_cancelled(order, cancelled, record.lines)
    newly = max(0, sum(cancelled.values()) - sum(was_cancelled.values()))
    sold = record.commitment is Commitment.SOLD
    if not verdict.event and record.lines != before:
        verdict = replace(verdict, event="updated", description="The channel's contents are taken over.")
    return replace(verdict, cancelled=verdict.cancelled + (newly if sold and verdict.event else 0))


def cancel_whole_order(book: Book, record: AllocationRecord, order: Order) -> AllocationChange:
    """Cancels all that has not left of an order with these contents, which may be those that it has.

    Contents in which a line that has left is another product's are not taken over.
    """
    if record.shipped_as_other_sku(order):
        order = replace(record.order_as_stated(), commitment=order.commitment)
    if _is_cancelled(record, order):
        return AllocationChange(record)
    before = sum(line.cancelled for line in record.lines)
    release_promises(book, record)
    if not record.lines or not same_contents(record.order_as_stated(), order):
        record.replace_contents(order)
    record.commitment = order.commitment
    for line in record.lines:
        line.cancelled = line.unit_count - record.shipped_of_line(line.line_id)
    sold = record.commitment is Commitment.SOLD
    record.state = (CANCELLED if sold else RELEASED) if not any(x.uncancelled for x in record.lines) else CONFIRMED
    record.outcome, record.expire_time, record.update_time = Outcome.ALLOCATED, None, book.now
    newly = max(0, sum(line.cancelled for line in record.lines) - before)
    sentence = f"{unit_count_text(newly)} cancelled: the whole order, as far as it has not left."
    return AllocationChange(record, "cancelled", sentence, cancelled=newly if sold else 0)


def merge_copy(book: Book, copy: AllocationRecord, original: OrderKey) -> AllocationChange:
    """Gives a promise back that was made to a copy before it was known to be one; its row stays as history."""
    units = sum(copy.promised().values())
    release_promises(book, copy)
    for line in copy.lines:
        line.cancelled = line.unit_count - copy.shipped_of_line(line.line_id)
    copy.state, copy.expire_time, copy.update_time, copy.copies = CANCELLED, None, book.now, []
    released = unit_count_text(units)
    sentence = f"It is a copy of {'/'.join(original)}: {released} given back to that order, which goes on alone."
    return AllocationChange(copy, "merged", sentence)


def _is_cancelled(record: AllocationRecord, order: Order) -> bool:
    done = bool(record.lines) and all(x.uncancelled <= record.shipped_of_line(x.line_id) for x in record.lines)
    same_commitment = record.commitment is order.commitment
    return done and same_commitment and same_contents(record.order_as_stated(), order)


def _without(order: Order, cancelled: Mapping[str, int]) -> Order | None:
    """The order without units of its lines; None where nothing is left."""
    left = tuple(
        replace(line, unit_count=units)
        for line in order.lines
        if (units := line.unit_count - cancelled.get(line.line_id, 0)) > 0
    )
    return replace(order, lines=left) if left else None


def _with_cancelled(order: Order, cancelled: Mapping[str, int], planned: list[LineRecord]) -> list[LineRecord]:
    """The lines as the channel states them; what was planned of each stays, and so do lines that it states no more."""
    known = {line.line_id: line for line in planned}
    lines = []
    for stated in order.lines:
        units = cancelled.get(stated.line_id, 0)
        line = known.pop(stated.line_id, None)
        if line is None:
            line = LineRecord(stated.line_id, stated.sku, stated.unit_count, stated.unit_price)
            line.cancelled = units
        else:
            line = replace(line, unit_count=line.unit_count + units, cancelled=line.cancelled + units)
        lines.append(line)
    return [*lines, *known.values()]
