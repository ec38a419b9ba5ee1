"""What a request to cancel names, as units of the order's lines: as the order is now, not as it was when asked."""

from __future__ import annotations

from datetime import datetime

from policies.decisions.cancellation_requests import cancellable_units
from service.allocation.intake import ordered_items, ordered_kits
from service.errors import InvalidFields
from service.orders.allocation_record import PROMISING, AllocationRecord
from service.orders.cancellations.cancellation_request import CancellationRequest, RequestedLine
from service.orders.order_requests import Cancellation


def units_of_lines(record: AllocationRecord, cancellations: tuple[Cancellation, ...], field: str) -> dict[str, int]:
    """The units by line that cancellations of lines, kits or items mean. Raises InvalidFields, which names `field`."""
    cancellations = ordered_kits.component_cancellations(record, cancellations, field)
    units: dict[str, int] = {}
    for cancellation in ordered_items.cancelled_units(record, cancellations, field):
        units[cancellation.line_id] = units.get(cancellation.line_id, 0) + cancellation.unit_count
    return units


def requested_units(record: AllocationRecord, request: CancellationRequest) -> dict[str, int]:
    """The units by line that a request names; without those of lines and items that the order does not have."""
    units: dict[str, int] = {}
    known = {line.line_id for line in record.lines}
    for line in request.lines:
        for line_id, count in _units(record, line).items():
            if line_id in known:
                units[line_id] = units.get(line_id, 0) + count
    return units


def _units(record: AllocationRecord, line: RequestedLine) -> dict[str, int]:
    named = Cancellation(line.line_id, line.unit_count, None, line.item_id or None)
    try:
        return units_of_lines(record, (named,), "lines")
    except InvalidFields:
        # It was named before its order arrived, or the order has changed since.
        return {}


def open_units(record: AllocationRecord, now: datetime) -> dict[str, int]:
    """The units of each line that are neither shipped nor cancelled, short ones included."""
    if record.state_at(now) not in PROMISING:
        return {}
    return {
        line.line_id: record.promised_of_line(line.line_id)
        + sum(short.unit_count for short in record.shortages if short.line_id == line.line_id)
        for line in record.lines
    }


def cancellable(record: AllocationRecord, request: CancellationRequest, now: datetime) -> dict[str, int]:
    """The units by line that a request cancels if it is accepted now; of requested kits, only whole ones."""
    open_now = open_units(record, now)
    if not request.lines:
        return cancellable_units({}, open_now)
    requested = requested_units(record, request)
    return cancellable_units(requested, _of_whole_kits(record, requested, open_now)) if requested else {}


def _of_whole_kits(record: AllocationRecord, requested: dict[str, int], open_now: dict[str, int]) -> dict[str, int]:
    """The open units, of kits that are requested with all their components only those of kits that can end whole."""
    kits: dict[str, dict[str, int]] = {}
    for line in record.lines:
        if line.kit is not None:
            kits.setdefault(line.kit.line_id, {})[line.line_id] = line.kit.unit_count
    for sizes in kits.values():
        if sizes.keys() <= requested.keys():
            count = min(open_now.get(line_id, 0) // size for line_id, size in sizes.items())
            open_now = open_now | {line_id: count * size for line_id, size in sizes.items()}
    return open_now
