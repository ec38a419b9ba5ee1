"""Shipped units that the channel does not order any more: it cancelled or removed them after they had left.

They cannot be cancelled: figures stay as they are. But somebody must stop the parcel or expect it back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from policies.domain.model import Commitment
from policies.explanation import unit_count_text
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import ChannelContext
from service.allocation.replanning.shortages import exception_context, mark_needs_person
from service.orders import order_exceptions
from service.orders.allocation_record import AllocationRecord
from service.orders.order_exceptions import CANCELLED_AFTER_SHIPPING, OrderException
from service.stock.stock_book import Book


def has_shipped(record: AllocationRecord) -> bool:
    """Whether units of a sold order have shipped, so that a change may come too late for them."""
    return record.commitment is Commitment.SOLD and any(shipment.shipped for shipment in record.shipments)


def note_excess(
    channel_context: ChannelContext, book: Book, change: AllocationChange, ordered: Mapping[str, int]
) -> AllocationChange:
    """The change, with an event and an exception about shipped units that are not ordered any more.

    `ordered` are the units by line that the channel orders now, without cancelled ones; a line that is missing has
    none. Units that are back or refunded need nobody. The same message again changes nothing, because each line keeps
    its excess units.
    """
    record = change.record
    if not has_shipped(record):
        return change
    excess_before, awaited_before = {line.line_id: line.excess for line in record.lines}, awaited_units(record)
    for line in record.lines:
        line.excess = max(0, record.shipped_of_line(line.line_id) - ordered.get(line.line_id, 0))
    if {line.line_id: line.excess for line in record.lines} == excess_before:
        return change
    awaited, sentence = awaited_units(record), _sentence(record, excess_before, ordered)
    raised: tuple[OrderException, ...] = ()
    if awaited and awaited != awaited_before:
        raised = mark_needs_person(record, [_exception(channel_context, book, record, awaited, sentence)])
    return replace(
        change,
        event=change.event or ("changed" if any(ordered.values()) else "cancelled"),
        description=f"{change.description} {sentence}".strip(),
        exceptions=(*change.exceptions, *raised),
    )


def awaited_units(record: AllocationRecord) -> dict[str, int]:
    """The excess units by line that are neither back nor refunded; lines without any are omitted."""
    units = {line.line_id: record.awaited_of_line(line) for line in record.lines}
    return {line_id: count for line_id, count in units.items() if count}


def _sentence(record: AllocationRecord, before: Mapping[str, int], ordered: Mapping[str, int]) -> str:
    lines = [line for line in record.lines if line.excess or before[line.line_id]]
    shipped = sum(record.shipped_of_line(line.line_id) for line in lines)
    awaited = sum(awaited_units(record).values())
    should_return = (
        f"{unit_count_text(awaited)} should come back: stop the parcel, or expect the return"
        if awaited
        else "nothing else has to come back"
    )
    if not any(ordered.values()):
        return f"The cancellation came too late for {unit_count_text(shipped)}, which had shipped; {should_return}."
    names = ", ".join(line.line_id for line in lines[:5]) + ("…" if len(lines) > 5 else "")
    wanted = sum(ordered.get(line.line_id, 0) for line in lines)
    of_lines = f"of line {names}" if len(lines) == 1 else f"of lines {names}"
    return f"The order is now for {unit_count_text(wanted)} {of_lines}, and {shipped} have shipped; {should_return}."


def _exception(
    channel_context: ChannelContext, book: Book, record: AllocationRecord, awaited: Mapping[str, int], sentence: str
) -> OrderException:
    shipments = [shipment for shipment in record.shipments if any(shipment.shipped.get(line) for line in awaited)]
    location_ids, skus = {x.location_id for x in shipments}, {record.line(line_id).sku for line_id in awaited}
    context = exception_context(channel_context, book.now, record.order(Commitment.SOLD))
    context = replace(
        context,
        location=channel_context.locations.get(location_ids.pop()) if len(location_ids) == 1 else None,
        product=channel_context.products.get(next(iter(skus))) if len(skus) == 1 else None,
    )
    places = ", ".join(sorted({shipment.location_id for shipment in shipments}))
    return replace(
        order_exceptions.of_kind(
            channel_context.policy_set, context, CANCELLED_AFTER_SHIPPING, f"{sentence} Shipped from {places}."
        ),
        shipment_id=shipments[0].id if len(shipments) == 1 else None,
        line_ids=tuple(awaited),
        sku=next(iter(skus)) if len(skus) == 1 else None,
    )
