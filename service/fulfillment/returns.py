"""Units that come back: to a named location, as what they are now, each once."""

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
    asked: ReturnRequest,
    event_id: str,
    *,
    heard: set[str],
    is_counted: Mapping[tuple[str, str], bool],
) -> list[Effect]:
    """Takes units back that have left; returns the effects. Raises NotFound (line), TooManyUnits."""
    wanted = {line_id: units for line_id, units in asked.lines.items() if line_id not in heard}
    if not wanted:
        return []
    _check(record, wanted)
    effects: list[Effect] = []
    for line_id, units in wanted.items():
        effects += _from_shipments(record, asked, event_id, line_id, units)
        if asked.disposition != NOT_RETURNED:
            key = (record.line(line_id).sku, asked.location_id)
            at = Occurrence(asked.event_time or unit_of_work.book.now, is_counted.get(key, False))
            reason = _UNAVAILABLE_REASONS.get(asked.disposition)
            unit_of_work.book.receive_return(LineUnits(record.id, line_id, key, units), at, reason=reason)
    record.update_time = unit_of_work.book.now
    unit_of_work.record(AllocationChange(record, *_event(asked, sum(wanted.values()))))
    return effects


def _check(record: AllocationRecord, wanted: Mapping[str, int]) -> None:
    known = {line.line_id for line in record.lines}
    missing = {f"lines[{place}].line_id": one for place, one in enumerate(wanted) if one not in known}
    if missing:
        raise NotFound("order line", missing, f"lines are: {', '.join(sorted(known)[:20])}")
    for line_id, units in wanted.items():
        left = record.shipped_of_line(line_id) - record.returned_of_line(line_id)
        if units > left:
            raise TooManyUnits(line_id, units, left, RETURNED)


def _from_shipments(
    record: AllocationRecord, asked: ReturnRequest, event_id: str, line_id: str, units: int
) -> list[Effect]:
    """Books units back on the shipments that they left with, the first first."""
    effects = []
    for made in record.shipments:
        count = min(units, made.shipped.get(line_id, 0) - made.returned.get(line_id, 0))
        if count <= 0:
            continue
        units -= count
        if asked.disposition != NOT_RETURNED:
            made.returned[line_id] = made.returned.get(line_id, 0) + count
        effects.append(Effect(made.id, line_id, RETURNED, event_id, count))
    return effects


def _event(asked: ReturnRequest, units: int) -> tuple[str, str]:
    if asked.disposition == NOT_RETURNED:
        return "refunded", f"{unit_count_text(units)} refunded without coming back."
    what = {"sellable": "sellable again", "inspect": "to be looked at", "damaged": "damaged"}[asked.disposition]
    return RETURNED, f"{unit_count_text(units)} came back to {asked.location_id}, {what}."
