"""The parcels of a shipment: as records, as stored, and as messages of the API."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from truestock.v1 import shipment_pb2


@dataclass(frozen=True, slots=True)
class ParcelRecord:
    """A parcel with its units by line; `event_id` is the ShipShipment event that reported it first."""

    carrier: str
    tracking_number: str
    units: Mapping[str, int]
    event_id: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the parcel in its shipment."""
        return self.carrier, self.tracking_number


def stored_parcels(parcels: Sequence[ParcelRecord]) -> str | None:
    """The parcels as they are stored; None if there are none."""
    if not parcels:
        return None
    return json.dumps([[x.carrier, x.tracking_number, x.event_id, dict(x.units)] for x in parcels])


def parcels_of(text: str | None) -> list[ParcelRecord]:
    """Parcels from what is stored."""
    if text is None:
        return []
    return [ParcelRecord(carrier, number, units, event_id) for carrier, number, event_id, units in json.loads(text)]


def parcel_message(parcel: ParcelRecord) -> shipment_pb2.Parcel:
    """A parcel as a message."""
    return shipment_pb2.Parcel(
        carrier=parcel.carrier,
        tracking_number=parcel.tracking_number,
        lines=[shipment_pb2.ParcelLine(line_id=key, unit_count=count) for key, count in parcel.units.items()],
        event_id=parcel.event_id,
    )
