"""A person moves the unshipped units of a shipment to a named location, or lets the rules choose another one."""

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


def reassign(transition: ShipmentTransition) -> None:
    """Moves the units, all of them or none. Raises WrongState, NotFound (location)."""
    shipment, record = transition.shipment, transition.record
    if (
        record.commitment is not Commitment.SOLD
        or check_action(ShipmentAction.REASSIGN, shipment.state) is ActionCheck.REFUSED
    ):
        raise _refused(transition, shipment.state.value, "it has shipped or ended, or its order is not sold")
    if transition.request.location_id and transition.request.location_id not in transition.channel_context.locations:
        raise NotFound("location", {"location_id": transition.request.location_id}, ADD_LOCATION_FIRST)
    if transition.request.location_id == shipment.location_id:
        raise _refused(transition, f"at {shipment.location_id} already", "name another location")
    units, state = dict(shipment.units), shipment.state.value
    for line_id, count in units.items():
        line_units = record.line_units(shipment, line_id, count)
        transition.book.release(line_units, was_held=False, reason=REASSIGNED)
        shipment.remove_units(line_id, count, transition.book.now, ended=ShipmentState.CANCELLED)
    change = (
        _to_location(transition, units, state)
        if transition.request.location_id
        else _by_rules(transition, units, state)
    )
    record.needs_person = True
    record.update_time = transition.book.now
    transition.unit_of_work.record(replace(change, intervention=REASSIGNED))


def _by_rules(transition: ShipmentTransition, units: dict[str, int], state: str) -> AllocationChange:
    current_location = frozenset({transition.shipment.location_id})
    change = replan_units(
        transition.channel_context, transition.book, transition.record, units, cause=REASSIGNED, avoid=current_location
    )
    if change.rerouted < sum(units.values()):
        raise _refused(
            transition,
            state,
            "no other location that the rules allow has all units; name a location, or leave the shipment",
        )
    return change


def _to_location(transition: ShipmentTransition, units: dict[str, int], state: str) -> AllocationChange:
    """Allocates the units at the location that a person names, whatever the rules say, if they are available there."""
    record, location = transition.record, transition.channel_context.locations[transition.request.location_id]
    if location.status == "closed":
        raise _refused(transition, state, f"{location.id} is closed; name an open location")
    for line_id, count in units.items():
        key = (record.line(line_id).sku, location.id)
        level = transition.book.levels.get(key)
        available = max(0, level.available) if level else 0
        if available < count:
            advice = (
                f"{location.id} has {unit_count_text(available)} of {key[0]} available, and the shipment needs {count}"
            )
            raise _refused(transition, state, advice)
        transition.book.allocate(LineUnits(record.id, line_id, key, count))
    coordinates = record.destination.coordinates if record.destination else None
    distance = great_circle_km(location.coordinates, coordinates) if location.coordinates and coordinates else None
    new_shipment = ShipmentRecord(transition.book.new_id(), location.id, distance, ShipmentState.ASSIGNED, units)
    new_shipment.assign_time, new_shipment.ship_by_time = transition.book.now, ship_by(location, transition.book.now)
    new_shipment.catalog_version = transition.channel_context.catalog_version
    record.shipments.append(new_shipment)
    total = sum(units.values())
    current_location_id = transition.shipment.location_id
    sentence = f"{transition.request.actor} moved {unit_count_text(total)} from {current_location_id} to {location.id}."
    return AllocationChange(record, REASSIGNED, sentence, rerouted=total, cause=REASSIGNED)


def _refused(transition: ShipmentTransition, state: str, advice: str) -> WrongState:
    return WrongState("shipment", str(transition.shipment.id), state, REASSIGNED, advice)
