"""Records the parcels that a ShipShipment event reports, and takes them back with the event."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from service import limits
from service.allocation.planner import AllocationChange
from service.errors import InvalidFields, NotFound, TooManyUnits, Violation
from service.fulfillment.shipment_transition import SHIPPED, ShipmentTransition
from service.orders.allocation_record import ShipmentRecord
from service.orders.parcels import ParcelRecord

_LINES_NAMED = 20


def record(transition: ShipmentTransition) -> None:
    """Records the parcels of the request, after its units have shipped; to none changes none.

    Those that the event had reported before are replaced. A parcel that another event reported first stays its own.
    Raises NotFound (line), TooManyUnits, InvalidFields if the shipment would have too many parcels.
    """
    stated, shipment, event_id = transition.request.parcels, transition.shipment, transition.event_id
    if not stated:
        return
    known = {parcel.key: parcel for parcel in shipment.parcels if parcel.event_id != event_id}
    for parcel in stated:
        _check_lines(shipment, parcel)
        owner = known[parcel.key].event_id if parcel.key in known else event_id
        known[parcel.key] = replace(parcel, event_id=owner)
    parcels = _with_rest(shipment, list(known.values()))
    if len(parcels) > limits.SHIPMENT_PARCELS:
        text = f"the shipment would have {len(parcels)}; at most {limits.SHIPMENT_PARCELS} are allowed"
        raise InvalidFields([Violation("parcels", text)])
    _check_units(shipment, parcels)
    if parcels == shipment.parcels:
        return
    shipment.parcels = parcels
    names = ", ".join(" ".join(filter(None, parcel.key)) for parcel in stated)
    sentence = f"Parcels of the shipment from {shipment.location_id}: {names}."
    transition.unit_of_work.record(AllocationChange(transition.record, "parcels", sentence))


def take_back(shipment: ShipmentRecord, event_id: str) -> None:
    """Removes the parcels of an event that was undone, and the latest ones of other events with units of it."""
    kept: list[ParcelRecord] = []
    for parcel in shipment.parcels:
        if parcel.event_id != event_id and _fits(shipment, [*kept, parcel]):
            kept.append(parcel)
    shipment.parcels = kept


def _check_lines(shipment: ShipmentRecord, parcel: ParcelRecord) -> None:
    line_ids = shipment.line_ids
    missing = {f"parcels {parcel.tracking_number}": line_id for line_id in parcel.units if line_id not in line_ids}
    if missing:
        named = ", ".join(sorted(line_ids)[:_LINES_NAMED])
        raise NotFound("line of the shipment", missing, f"its lines are: {named}")


def _with_rest(shipment: ShipmentRecord, parcels: list[ParcelRecord]) -> list[ParcelRecord]:
    """The parcels; one without lines has all shipped units that are in no other parcel."""
    units = _units(parcels)
    rest = {line_id: left for line_id, count in shipment.shipped.items() if (left := count - units.get(line_id, 0)) > 0}
    return [parcel if parcel.units else replace(parcel, units=rest) for parcel in parcels]


def _units(parcels: Iterable[ParcelRecord]) -> dict[str, int]:
    units: dict[str, int] = {}
    for parcel in parcels:
        for line_id, count in parcel.units.items():
            units[line_id] = units.get(line_id, 0) + count
    return units


def _fits(shipment: ShipmentRecord, parcels: Iterable[ParcelRecord]) -> bool:
    return all(count <= shipment.shipped.get(line_id, 0) for line_id, count in _units(parcels).items())


def _check_units(shipment: ShipmentRecord, parcels: Iterable[ParcelRecord]) -> None:
    shipped: Mapping[str, int] = shipment.shipped
    for line_id, count in _units(parcels).items():
        if count > shipped.get(line_id, 0):
            raise TooManyUnits(line_id, count, shipped.get(line_id, 0), f"put into parcels before they are {SHIPPED}")
