"""Returned and refunded units, each once: units that come back are added to the stock of a location."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from policies.domain.returns import with_refunded, with_returned
from policies.explanation import unit_count_text
from service.allocation.planner import AllocationChange
from service.allocation.unit_of_work import UnitOfWork
from service.errors import InvalidFields, NotFound, TooManyUnits, Violation
from service.fulfillment.applied_events import AppliedEvents, Effect, check_same_units
from service.fulfillment.shipment_requests import NOT_RETURNED, ReturnRequest
from service.orders.allocation_record import AllocationRecord
from service.stock.stock_book import LineUnits, Occurrence

RETURNED = "returned"
REFUNDED = "refunded"
_UNAVAILABLE_REASONS = {"inspect": "inspection", "damaged": "damaged"}
"""Why returned units are not sellable, by their disposition."""


def record_return(
    unit_of_work: UnitOfWork,
    record: AllocationRecord,
    request: ReturnRequest,
    event_id: str,
    *,
    applied: AppliedEvents,
    counted_levels: Mapping[tuple[str, str], bool],
) -> list[Effect]:
    """Records returned or refunded units of an order; returns the effects to store.

    A refund and the return of the same units may have one event id: a return's number stays the same when the goods
    arrive. Raises NotFound (line), TooManyUnits, EventIdReused.
    """
    earlier_units = applied.of_event(_effect(request), event_id)
    check_same_units(event_id, earlier_units, request.lines)
    new_units = {line_id: units for line_id, units in request.lines.items() if line_id not in earlier_units}
    if not new_units:
        return []
    _check(record, request, new_units)
    effects: list[Effect] = []
    for line_id, units in new_units.items():
        effects += _from_shipments(record, request, event_id, line_id, units)
        if request.disposition != NOT_RETURNED:
            key = (record.line(line_id).sku, request.location_id)
            occurrence = Occurrence(request.event_time or unit_of_work.book.now, counted_levels.get(key, False))
            reason = _UNAVAILABLE_REASONS.get(request.disposition)
            unit_of_work.book.receive_return(LineUnits(record.id, line_id, key, units), occurrence, reason=reason)
    unit_of_work.record(AllocationChange(record, *_event(request, sum(new_units.values()))))
    return effects


def in_units(record: AllocationRecord, request: ReturnRequest) -> ReturnRequest:
    """The return in units of the order's lines. Raises InvalidFields for an item that its line did not order."""
    if not request.items:
        return request
    ordered = {line.line_id: line.item for line in record.lines if line.item is not None}
    units, violations = dict(request.lines), []
    for index, line_id in enumerate(request.lines):
        item_id, item = request.items.get(line_id), ordered.get(line_id)
        if item_id is not None and (item is None or item.item_id != item_id):
            violations.append(Violation(f"lines[{index}].item_id", f"line '{line_id}' did not order item '{item_id}'"))
        elif item_id is not None and item is not None:
            units[line_id] = item.units(units[line_id])
    if violations:
        raise InvalidFields(violations)
    return replace(request, lines=units, items={})


def _effect(request: ReturnRequest) -> str:
    return REFUNDED if request.disposition == NOT_RETURNED else RETURNED


def _check(record: AllocationRecord, request: ReturnRequest, units_by_line: Mapping[str, int]) -> None:
    line_ids = {line.line_id for line in record.lines}
    missing = {
        f"lines[{index}].line_id": line_id for index, line_id in enumerate(units_by_line) if line_id not in line_ids
    }
    if missing:
        raise NotFound("order line", missing, f"lines are: {', '.join(sorted(line_ids)[:20])}")
    for line_id, units in units_by_line.items():
        parcels = [shipment.shipped_units(line_id) for shipment in record.shipments]
        is_refund = request.disposition == NOT_RETURNED
        remaining = sum(parcel.unrefunded if is_refund else parcel.unreturned for parcel in parcels)
        if units > remaining:
            raise TooManyUnits(line_id, units, remaining, _effect(request))


def _from_shipments(
    record: AllocationRecord, request: ReturnRequest, event_id: str, line_id: str, units: int
) -> list[Effect]:
    """Assigns returned or refunded units to the shipments that they left with; see `policies.domain.returns`."""
    shipments = [shipment for shipment in record.shipments if shipment.shipped.get(line_id)]
    before = [shipment.shipped_units(line_id) for shipment in shipments]
    is_refund = request.disposition == NOT_RETURNED
    after = with_refunded(before, units) if is_refund else with_returned(before, units)
    effects = []
    for shipment, old, new in zip(shipments, before, after, strict=True):
        shipment.returned[line_id], shipment.refunded[line_id] = new.returned, new.refunded
        count = new.refunded - old.refunded if is_refund else new.returned - old.returned
        if count:
            effects.append(Effect(shipment.id, line_id, _effect(request), event_id, count))
    return effects


def _event(request: ReturnRequest, units: int) -> tuple[str, str]:
    if request.disposition == NOT_RETURNED:
        return REFUNDED, f"{unit_count_text(units)} refunded without a return."
    condition = {"sellable": "sellable", "inspect": "awaiting inspection", "damaged": "damaged"}[request.disposition]
    return RETURNED, f"{unit_count_text(units)} returned to {request.location_id}: {condition}."
