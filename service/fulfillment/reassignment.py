"""A person moves the unshipped units of a shipment to a named location, or lets the rules choose another one."""

from __future__ import annotations

from dataclasses import replace

from policies.decisions.capacity import time_with_room
from policies.domain.capacity import NO_FIGURES
from policies.domain.geography import great_circle_km
from policies.domain.handling_times import HandlingTime
from policies.domain.model import SHIP, Commitment, Context, Location
from policies.domain.shipments import ENDED_BECAUSE, ShipmentState
from policies.explanation import unit_count_text
from policies.facts.measures import serves_destination
from service.allocation.planner import AllocationChange
from service.allocation.replanning.line_groups import held_to_their_locations
from service.allocation.replanning.rerouting import replan_units
from service.allocation.shipment_dates import ShipmentDates
from service.capacity import order_uses
from service.errors import CannotReassign, no_location
from service.fulfillment.shipment_transition import ShipmentTransition
from service.orders.allocation_record import AllocationRecord, ShipmentRecord
from service.stock.stock_book import LineUnits

REASSIGNED = "reassigned"
_NAME_ANOTHER = "name another location"


def reassign(transition: ShipmentTransition) -> None:
    """Moves the units, all of them or none, also from a location that has begun. Raises CannotReassign, NotFound.

    They join the order's shipment at the new location, unless that location has begun with it.
    """
    shipment, record = transition.shipment, transition.record
    _check(transition)
    units = dict(shipment.units)
    for line_id, count in units.items():
        line_units = record.line_units(shipment, line_id, count)
        transition.book.release(line_units, was_held=False, reason=REASSIGNED)
        shipment.remove_units(line_id, count, transition.book.now, ended=ShipmentState.CANCELLED)
    existing = {x.id for x in record.shipments}
    change = _to_location(transition, units) if transition.request.location_id else _by_rules(transition, units)
    _join(record, [x for x in record.shipments if x.id not in existing])
    record.needs_person = True
    transition.unit_of_work.record(replace(change, intervention=REASSIGNED))


def _check(transition: ShipmentTransition) -> None:
    shipment, record, location_id = transition.shipment, transition.record, transition.request.location_id
    if record.commitment is not Commitment.SOLD:
        raise _refused(transition, "its order is not sold yet", "confirm the allocation first")
    if shipment.state in ENDED_BECAUSE:
        raise _refused(transition, ENDED_BECAUSE[shipment.state], "look at its order with GetAllocation")
    if not location_id:
        return
    location = transition.channel_context.locations.get(location_id)
    if location is None:
        raise no_location({"location_id": location_id}, transition.channel_context.locations)
    if location_id == shipment.location_id:
        raise _refused(transition, "it is there already", _NAME_ANOTHER)
    if location.status == "closed":
        raise _refused(transition, f"{location_id} is closed", "name an open location")
    if (shipment.method or record.method) == SHIP:
        _check_destination(transition, location)
    _check_placements(transition, location)
    _check_units(transition, location)


def _check_placements(transition: ShipmentTransition, location: Location) -> None:
    """Refuses a location that a line may not use, and one that parts lines which must ship together."""
    record, shipment = transition.record, transition.shipment
    lines = [record.line(line_id) for line_id in shipment.units]
    for line in lines:
        if not line.placement.allows(location.id):
            raise _refused(transition, f"the order does not let {location.id} ship line {line.line_id}", _NAME_ANOTHER)
    elsewhere = replace(
        record, shipments=[replace(x, units={} if x is shipment else x.units) for x in record.shipments]
    )
    order = record.order_of(tuple(line.ordered(shipment.units[line.line_id]) for line in lines), record.commitment)
    held = held_to_their_locations(elsewhere, order, record.order(record.commitment).lines)
    for part in held.lines:
        if not part.placement.allows(location.id):
            problem = f"line {part.line_id} must ship from where the lines ship that it is kept together with"
            raise _refused(transition, problem, "leave it, or cancel its units")


def _check_destination(transition: ShipmentTransition, location: Location) -> None:
    destination = transition.record.destination
    context = Context(transition.book.now, location=location, destination=destination)
    if serves_destination(context) is False:
        country = destination.country if destination and destination.country else "any destination"
        raise _refused(transition, f"{location.id} does not ship to {country}", _NAME_ANOTHER)


def _check_units(transition: ShipmentTransition, location: Location) -> None:
    needed: dict[str, int] = {}
    for line_id, count in transition.shipment.units.items():
        sku = transition.record.line(line_id).sku
        needed[sku] = needed.get(sku, 0) + count
    for sku, count in needed.items():
        level = transition.book.levels.get((sku, location.id))
        available = max(0, level.available) if level else 0
        if available < count:
            problem = f"{location.id} has {unit_count_text(available)} of {sku} available, and it needs {count}"
            raise _refused(transition, problem, _NAME_ANOTHER)


def _by_rules(transition: ShipmentTransition, units: dict[str, int]) -> AllocationChange:
    current_location = frozenset({transition.shipment.location_id})
    change = replan_units(
        transition.channel_context, transition.book, transition.record, units, cause=REASSIGNED, avoid=current_location
    )
    total = sum(units.values())
    if change.rerouted < total:
        problem = f"the other locations that the rules allow can supply {change.rerouted} of {unit_count_text(total)}"
        raise _refused(transition, problem, "name a location, or leave the shipment")
    return change


def _to_location(transition: ShipmentTransition, units: dict[str, int]) -> AllocationChange:
    """Allocates the units at the location that a person names, whatever the rules say."""
    record, location = transition.record, transition.channel_context.locations[transition.request.location_id]
    for line_id, count in units.items():
        transition.book.allocate(LineUnits(record.id, line_id, (record.line(line_id).sku, location.id), count))
    coordinates = record.destination.coordinates if record.destination else None
    distance = great_circle_km(location.coordinates, coordinates) if location.coordinates and coordinates else None
    new_shipment = ShipmentRecord(transition.book.new_id(), location.id, distance, ShipmentState.ASSIGNED, units)
    new_shipment.assign_time = transition.book.now
    if location.id != record.pickup_location_id:
        new_shipment.method = transition.shipment.method
    new_shipment.handling = _handling(transition, location, sum(units.values()))
    handled_on = new_shipment.handling.day if new_shipment.handling else None
    dates = ShipmentDates(transition.channel_context, record, transition.book.now)
    new_shipment.promise_dates(dates.at(location.id, handled_on, new_shipment.method))
    new_shipment.catalog_version = transition.channel_context.catalog_version
    record.shipments.append(new_shipment)
    total = sum(units.values())
    current_location_id = transition.shipment.location_id
    sentence = f"{transition.request.actor} moved {unit_count_text(total)} from {current_location_id} to {location.id}."
    return AllocationChange(record, REASSIGNED, sentence, rerouted=total, cause=REASSIGNED)


def _handling(transition: ShipmentTransition, location: Location, unit_count: int) -> HandlingTime | None:
    """When the location handles the units; None without a limit. Raises CannotReassign if it cannot handle them."""
    if location.capacity is None:
        return None
    book, record = transition.book, transition.record
    figures = book.capacity.figures_for(record.id, order_uses.taking(record)) or NO_FIGURES
    found = time_with_room(location, book.now, figures, unit_count, ship_by_time=record.ship_by_time)
    if found is None or not found[1].fits(unit_count):
        raise _refused(transition, f"{location.id} cannot handle {unit_count_text(unit_count)} more", _NAME_ANOTHER)
    return found[0]


def _join(record: AllocationRecord, new: list[ShipmentRecord]) -> None:
    """Adds the units of new shipments to those at the same locations that have not begun: one parcel, not two."""
    for shipment in new:
        if shipment.handling is not None:
            # Each shipment takes of the capacity of its own day.
            continue
        for other in record.shipments:
            is_waiting = other.state is ShipmentState.ASSIGNED and other not in new
            if is_waiting and (other.location_id, other.method) == (shipment.location_id, shipment.method):
                for line_id, units in shipment.units.items():
                    other.units[line_id] = other.units.get(line_id, 0) + units
                record.shipments.remove(shipment)
                break


def _refused(transition: ShipmentTransition, problem: str, advice: str) -> CannotReassign:
    shipment = transition.shipment
    return CannotReassign(str(shipment.id), shipment.location_id, shipment.state.value, problem, advice)
