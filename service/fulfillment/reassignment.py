"""A person takes what has not left a shipment away from its location: to another that is named, or by the rules."""

from __future__ import annotations

from dataclasses import replace

from policies.domain.calendars import ship_by
from policies.domain.geography import great_circle_km
from policies.domain.model import Commitment
from policies.domain.shipments import ActionCheck, ShipmentAction, ShipmentState, check_action
from policies.explanation import unit_count_text
from service.allocation.planner import AllocationChange
from service.allocation.rerouting import replan_units
from service.errors import ADD_LOCATION_FIRST, NotFound, WrongState
from service.fulfillment.shipment_moves import ShipmentTransition
from service.orders.allocation_record import ShipmentRecord
from service.stock.stock_book import LineUnits

REASSIGNED = "reassigned"


def reassign(step: ShipmentTransition) -> None:
    """Moves the units, all of them or none. Raises WrongState, NotFound (location)."""
    shipment, record = step.shipment, step.record
    if (
        record.commitment is not Commitment.SOLD
        or check_action(ShipmentAction.REASSIGN, shipment.state) is ActionCheck.REFUSED
    ):
        raise _refused(step, shipment.state.value, "it has left, or its order is not sold")
    if step.request.location_id and step.request.location_id not in step.channel_context.locations:
        raise NotFound("location", {"location_id": step.request.location_id}, ADD_LOCATION_FIRST)
    if step.request.location_id == shipment.location_id:
        raise _refused(step, f"at {shipment.location_id} already", "name another location")
    units, was = dict(shipment.units), shipment.state.value
    for line_id, count in units.items():
        part = record.line_units(shipment, line_id, count)
        step.book.release(part, was_held=False, reason=REASSIGNED)
        shipment.remove_units(line_id, count, step.book.now, ended=ShipmentState.CANCELLED)
    verdict = _to_location(step, units, was) if step.request.location_id else _by_rules(step, units, was)
    record.needs_person = True
    record.update_time = step.book.now
    step.unit_of_work.record(replace(verdict, intervention=REASSIGNED))


def _by_rules(step: ShipmentTransition, units: dict[str, int], was: str) -> AllocationChange:
    here = frozenset({step.shipment.location_id})
    verdict = replan_units(step.channel_context, step.book, step.record, units, cause=REASSIGNED, avoid=here)
    if verdict.rerouted < sum(units.values()):
        raise _refused(step, was, "no other location that the rules allow has all of it")
    return verdict


def _to_location(step: ShipmentTransition, units: dict[str, int], was: str) -> AllocationChange:
    """Promises the units at a location that a person names, whatever the rules say, where it has them available."""
    record, place = step.record, step.channel_context.locations[step.request.location_id]
    if place.status == "closed":
        raise _refused(step, was, f"{place.id} is closed: name a location that works")
    for line_id, count in units.items():
        key = (record.line(line_id).sku, place.id)
        level = step.book.levels.get(key)
        available = max(0, level.available) if level else 0
        if available < count:
            advice = f"{place.id} has {unit_count_text(available)} of {key[0]} available, and {count} are wanted"
            raise _refused(step, was, advice)
        step.book.allocate(LineUnits(record.id, line_id, key, count))
    there = record.destination.coordinates if record.destination else None
    distance = great_circle_km(place.coordinates, there) if place.coordinates and there else None
    made = ShipmentRecord(step.book.new_id(), place.id, distance, ShipmentState.ASSIGNED, units)
    made.assign_time, made.ship_by_time = step.book.now, ship_by(place, step.book.now)
    record.shipments.append(made)
    total = sum(units.values())
    sentence = f"{step.request.actor} moved {unit_count_text(total)} from {step.shipment.location_id} to {place.id}."
    return AllocationChange(record, REASSIGNED, sentence, rerouted=total, cause=REASSIGNED)


def _refused(step: ShipmentTransition, state: str, advice: str) -> WrongState:
    return WrongState("shipment", str(step.shipment.id), state, REASSIGNED, advice)
