"""What orders and cancellations name of a channel's items, as units of SKUs: worked out once, when an order arrives.

A line that is sent again keeps the units that it has, whatever became of the listing since. One that states another
item, or another number of them, is what the listing says now, unless some of its units have shipped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from policies.domain.listings import ItemKey, Listing
from policies.domain.model import Commitment, Order, OrderLine
from policies.domain.placement import of_whole_items
from service.errors import InvalidFields, NotFound, Violation, no_listing
from service.orders.allocation_record import AllocationRecord, LineRecord
from service.orders.order_requests import Cancellation, OrderRequest


def item_keys(order: Order) -> set[ItemKey]:
    """The items that the order's lines name."""
    return {(order.channel_id, line.item.item_id) for line in order.lines if line.item is not None}


def expanded(request: OrderRequest, record: AllocationRecord, listings: Mapping[ItemKey, Listing]) -> OrderRequest:
    """The request with the SKUs and units of its items. `listings` are those of them that are mapped now.

    Raises NotFound for a HOLD of an item that is not mapped.
    """
    order = request.order
    if all(line.item is None for line in order.lines):
        return request
    # All components of a kit have the item that was ordered.
    stored = {line.line_id if line.kit is None else line.kit.line_id: line for line in record.lines}
    lines = tuple(_expanded(order.channel_id, x, stored.get(x.line_id), record, listings) for x in order.lines)
    if order.commitment is Commitment.HOLD:
        mapped = {line.item.item_id for line in lines if line.item is not None and line.item.is_mapped}
        error = unmapped_error(order, mapped.__contains__)
        if error is not None:
            raise error
    return replace(request, order=replace(order, lines=lines))


def unmapped_error(order: Order, is_mapped: Callable[[str], bool]) -> NotFound | None:
    """The error about items of an order that are not mapped, if there are any; `is_mapped` says so by item id."""
    missing = {
        f"lines[{index}].item_id": line.item.item_id
        for index, line in enumerate(order.lines)
        if line.item is not None and not is_mapped(line.item.item_id)
    }
    return no_listing(order.channel_id, missing) if missing else None


def _expanded(
    channel_id: str,
    line: OrderLine,
    stored: LineRecord | None,
    record: AllocationRecord,
    listings: Mapping[ItemKey, Listing],
) -> OrderLine:
    item = line.item
    if item is None:
        return line
    before = stored.item if stored is not None else None
    if stored is not None and before is not None and before.is_mapped and before.item_id == item.item_id:
        is_kept = before.count == item.count or _has_shipped(record, line.line_id)
        kept_sku, units_each = stored.sku, before.units_each
        if stored.kit is not None:
            kept_sku, units_each = stored.kit.sku, units_each // stored.kit.unit_count
        if is_kept:
            return as_units(line, kept_sku, units_each)
    listing = listings.get((channel_id, item.item_id))
    return line if listing is None else as_units(line, listing.sku, listing.unit_count)


def _has_shipped(record: AllocationRecord, line_id: str) -> bool:
    """Whether units of a line, or of components of the kits that it ordered, have shipped."""
    lines = (x for x in record.lines if line_id in (x.line_id, x.kit.line_id if x.kit is not None else None))
    return any(record.shipped_of_line(line.line_id) for line in lines)


def as_units(line: OrderLine, sku: str, units_each: int) -> OrderLine:
    """The line of an item that is so many units of a SKU."""
    assert line.item is not None
    item = replace(line.item, units_each=units_each)
    placement = of_whole_items(line.placement, line.line_id, item)
    return replace(line, sku=sku, unit_count=item.units(item.count), placement=placement, item=item)


def cancelled_units(
    record: AllocationRecord, cancellations: Iterable[Cancellation], field: str = "cancellations"
) -> tuple[Cancellation, ...]:
    """The cancellations in units of the order's lines.

    Raises InvalidFields, which names the request's `field`, for an item that its line did not order.
    """
    violations: list[Violation] = []
    converted = []
    for index, cancellation in enumerate(cancellations):
        if cancellation.item_id is None:
            converted.append(cancellation)
            continue
        lines = [line for line in record.lines if cancellation.line_id in ("", line.line_id)]
        lines = [line for line in lines if line.item is not None and line.item.item_id == cancellation.item_id]
        if len(lines) == 1 and lines[0].item is not None:
            units = lines[0].item.units(cancellation.unit_count)
            converted.append(replace(cancellation, line_id=lines[0].line_id, unit_count=units, item_id=None))
        elif lines:
            violations.append(Violation(f"{field}[{index}].line_id", "several lines ordered the item; name one"))
        else:
            where = f"line '{cancellation.line_id}'" if cancellation.line_id else "no line of the order"
            verb = "did not order" if cancellation.line_id else "ordered"
            problem = f"{where} {verb} item '{cancellation.item_id}'"
            violations.append(Violation(f"{field}[{index}].item_id", problem))
    if violations:
        raise InvalidFields(violations)
    return tuple(converted)
