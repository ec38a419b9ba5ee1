"""Returned units: added to the stock of a location as sellable, to inspect or damaged, each once."""

from __future__ import annotations

from collections.abc import Mapping

from policies.explanation import unit_count_text
from service.allocation.planner import AllocationChange
from service.allocation.unit_of_work import UnitOfWork
from service.errors import NotFound, TooManyUnits
from service.fulfillment.applied_events import Effect
from service.fulfillment.shipment_requests import NOT_RETURNED, ReturnRequest
from service.orders.allocation_record import AllocationRecord
from service.stock.stock_book import LineUnits, Occurrence

RETURNED = "returned"
_UNAVAILABLE_REASONS = {"inspect": "inspection", "damaged": "damaged"}
"""Why returned units are not sellable, by their disposition."""


def record_return(
    unit_of_work: UnitOfWork,
    record: AllocationRecord,
    request: ReturnRequest,
    event_id: str,
    *,
    applied_lines: set[str],
    counted_levels: Mapping[tuple[str, str], bool],
) -> list[Effect]:
    """Records returned units of an order; returns the effects to store. Raises NotFound (line), TooManyUnits."""
    new_units = {line_id: units for line_id, units in request.lines.items() if line_id not in applied_lines}
    if not new_units:
        return []
    _check(record, new_units)
    effects: list[Effect] = []
    for line_id, units in new_units.items():
        effects += _from_shipments(record, request, event_id, line_id, units)
        if request.disposition != NOT_RETURNED:
            key = (record.line(line_id).sku, request.location_id)
            occurrence = Occurrence(request.event_time or unit_of_work.book.now, counted_levels.get(key, False))
            reason = _UNAVAILABLE_REASONS.get(request.disposition)
            unit_of_work.book.receive_return(LineUnits(record.id, line_id, key, units), occurrence, reason=reason)
    record.update_time = unit_of_work.book.now
    unit_of_work.record(AllocationChange(record, *_event(request, sum(new_units.values()))))
    return effects


def _check(record: AllocationRecord, units_by_line: Mapping[str, int]) -> None:
    line_ids = {line.line_id for line in record.lines}
    missing = {
        f"lines[{index}].line_id": line_id for index, line_id in enumerate(units_by_line) if line_id not in line_ids
    }
    if missing:
        raise NotFound("order line", missing, f"lines are: {', '.join(sorted(line_ids)[:20])}")
    for line_id, units in units_by_line.items():
        remaining = record.shipped_of_line(line_id) - record.returned_of_line(line_id)
        if units > remaining:
            raise TooManyUnits(line_id, units, remaining, RETURNED)


def _from_shipments(
    record: AllocationRecord, request: ReturnRequest, event_id: str, line_id: str, units: int
) -> list[Effect]:
    """Assigns returned units to the shipments that they left with, in order."""
    effects = []
    for shipment in record.shipments:
        count = min(units, shipment.shipped.get(line_id, 0) - shipment.returned.get(line_id, 0))
        if count <= 0:
            continue
        units -= count
        if request.disposition != NOT_RETURNED:
            shipment.returned[line_id] = shipment.returned.get(line_id, 0) + count
        effects.append(Effect(shipment.id, line_id, RETURNED, event_id, count))
    return effects


def _event(request: ReturnRequest, units: int) -> tuple[str, str]:
    if request.disposition == NOT_RETURNED:
        return "refunded", f"{unit_count_text(units)} refunded without a return."
    condition = {"sellable": "sellable", "inspect": "awaiting inspection", "damaged": "damaged"}[request.disposition]
    return RETURNED, f"{unit_count_text(units)} returned to {request.location_id}: {condition}."
