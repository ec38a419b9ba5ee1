"""Takes back a ShipShipment event: a parcel that was scanned by mistake has not left.

Afterwards the figures are as if the event had never been recorded. The reversing movement is effective when the
shipping was. A count made since states what is really there, the parcel included, so on hand stays as counted, and only
the promise comes back. A net count excludes open orders, of which the parcel is one again, so its units are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from policies.domain.model import Outcome
from policies.domain.shipments import ShipmentState
from policies.explanation import unit_count_text
from policies.stock.counting import SHIP_UNDONE
from service.allocation.planner import AllocationChange, is_in_review, outcome_of
from service.errors import CannotUndo, InvalidFields, NotFound, Violation
from service.fulfillment.applied_events import UNDONE, AppliedEvents, Effect
from service.fulfillment.parcel_records import take_back
from service.fulfillment.shipment_requests import ShipmentRequest
from service.fulfillment.shipment_transition import SHIPPED, ShipmentTransition
from service.orders.allocation_record import CONFIRMED, AllocationRecord, LineRecord, ShipmentRecord
from service.stock.stock_book import Occurrence

_EVENTS_NAMED = 10


def event_of(request: ShipmentRequest, shipment: ShipmentRecord, applied: AppliedEvents) -> str:
    """The event to undo: the named one, or the only one that shipped units and is not undone.

    Raises NotFound (event), InvalidFields if several could be meant, CannotUndo if nothing has shipped.
    """
    events = {x.event_id: None for x in applied.effects if x.effect == SHIPPED}
    if request.event_id:
        if request.event_id not in events:
            named = ", ".join(list(events)[:_EVENTS_NAMED])
            advice = f"its events are: {named}" if events else "none of its units was shipped by an event"
            raise NotFound("ShipShipment event of the shipment", {"event_id": request.event_id}, advice)
        return request.event_id
    undone = {x.event_id for x in applied.effects if x.effect == UNDONE}
    open_events = [x for x in events if x not in undone and any(applied.of_event(SHIPPED, x).values())]
    if len(open_events) > 1:
        named = ", ".join(open_events[:_EVENTS_NAMED])
        raise InvalidFields([Violation("event_id", f"must name one of the events that shipped units: {named}")])
    if not open_events and not undone:
        raise CannotUndo(str(shipment.id), shipment.state.value, "no unit of it was shipped by an event", "")
    return open_events[0] if open_events else next(iter(undone))


def shipping_times(
    record: AllocationRecord, shipment: ShipmentRecord, applied: AppliedEvents, event_id: str
) -> dict[tuple[str, str], datetime]:
    """When the event's units left, by level.

    Units that a count included when they left are among them: `undo` leaves on hand as counted for those, whatever
    later counts include. A line that the order does not have any more has no units to take back: its event is undone.
    """
    skus = {line.line_id: line.sku for line in record.lines}
    return {
        (skus[x.line_id], shipment.location_id): x.effective_time
        for x in applied.effects
        if (x.effect, x.event_id) == (SHIPPED, event_id) and x.effective_time is not None and x.line_id in skus
    }


def undo(transition: ShipmentTransition) -> None:
    """Promises the units of the event again, all of them or none; an event that is undone already stays so.

    Units that the order does not include any more are cancelled instead. Raises CannotUndo.
    """
    if transition.applied_units:
        return
    shipped = [x for x in transition.applied.effects if (x.effect, x.event_id) == (SHIPPED, transition.event_id)]
    _check(transition, {x.line_id: x.unit_count for x in shipped})
    record, shipment, in_review = transition.record, transition.shipment, is_in_review(transition.record)
    cancelled = sum(_undo_line(transition, effect) for effect in shipped)
    shipment.state = ShipmentState.ACCEPTED if shipment.units or shipment.shipped else ShipmentState.CANCELLED
    shipment.ship_time, shipment.accept_time = None, shipment.accept_time or transition.book.now
    if shipment.state is ShipmentState.CANCELLED:
        shipment.end_time = transition.book.now
    elif not shipment.units:
        shipment.update_state(transition.book.now, ended=ShipmentState.CANCELLED)
    take_back(shipment, transition.event_id)
    record.cancel_if_empty()
    if cancelled and record.outcome is not Outcome.ALLOCATED:
        # These units may have been all that was shipped or promised of an order that is short of others.
        record.outcome = outcome_of(record, in_review=in_review)
    total = sum(effect.unit_count for effect in shipped)
    sentence = f"Shipping of {unit_count_text(total)} from {shipment.location_id} was undone: they have not left."
    if cancelled:
        sentence += f" {unit_count_text(cancelled)} cancelled, because the order does not include them any more."
    transition.unit_of_work.record(AllocationChange(record, SHIP_UNDONE, sentence, cancelled_by_channel=cancelled))


def _check(transition: ShipmentTransition, units_by_line: Mapping[str, int]) -> None:
    shipment, record = transition.shipment, transition.record
    problem, advice = "", "record a return when its units are back"
    if shipment.state is ShipmentState.DELIVERED:
        problem = "it was delivered"
    elif record.state != CONFIRMED:
        problem = f"its order is {record.state_at(transition.book.now)}"
    elif not any(units_by_line.values()):
        problem, advice = f"event '{transition.event_id}' shipped nothing: its units had left before", "name that event"
    for line_id, units in units_by_line.items():
        parcel = shipment.shipped_units(line_id)
        if not problem and units > parcel.unrefunded:
            problem = f"{unit_count_text(parcel.returned)} of line {line_id} came back since"
            if parcel.refunded:
                verb = "was" if parcel.refunded == 1 else "were"
                problem = f"{unit_count_text(parcel.refunded)} of line {line_id} {verb} refunded since"
    if problem:
        raise CannotUndo(str(shipment.id), shipment.state.value, problem, advice)


def _undo_line(transition: ShipmentTransition, effect: Effect) -> int:
    """Takes one line's units back into the shipment; returns how many of them are cancelled instead."""
    record, shipment, line_id, units = transition.record, transition.shipment, effect.line_id, effect.unit_count
    line = record.line(line_id)
    line_units = record.line_units(shipment, line_id, units)
    is_counted = effect.is_absorbed or transition.counted_levels.get(line_units.key, False)
    occurrence = Occurrence(effect.effective_time or transition.book.now, is_counted)
    transition.book.undo_shipping(line_units, occurrence, reason=transition.event_id)
    cancelled = min(units, record.awaited_of_line(line))
    _remove(shipment.shipped, line_id, units)
    shipment.units[line_id] = shipment.units.get(line_id, 0) + units
    _cancel(transition, line, cancelled)
    line.excess = max(0, line.excess - units)
    transition.effects.append(Effect(shipment.id, line_id, UNDONE, transition.event_id, units))
    return cancelled


def _cancel(transition: ShipmentTransition, line: LineRecord, units: int) -> None:
    if units:
        line_units = transition.record.line_units(transition.shipment, line.line_id, units)
        transition.book.release(line_units, was_held=False, reason="cancelled")
        _remove(transition.shipment.units, line.line_id, units)
        line.cancelled += units


def _remove(units_by_line: dict[str, int], line_id: str, units: int) -> None:
    remaining = units_by_line.pop(line_id) - units
    if remaining:
        units_by_line[line_id] = remaining
