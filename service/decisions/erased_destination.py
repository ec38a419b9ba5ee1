"""A destination that was erased from a stored decision: what was derived from it stays, so that it can be replayed.

What a decision uses of a destination is its country, its region, its distances from locations, and its postal code
where rules compare it. To erase one, a row of `decision` gets `erased` in its column `erased_destination` and null in
`destination`. Distances from several locations together tell where a destination is, so they are as personal as a
postal code; whoever erases may round them if the decision stays the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from policies.domain.geography import great_circle_km
from policies.domain.model import Destination, ErasedPoint, Location
from truestock.v1 import decision_pb2


def erased(
    destination: Destination, locations: Mapping[str, Location], *, keeps_postal_code: bool
) -> decision_pb2.ErasedDestination:
    """What stays of a destination in a decision made among these locations."""
    point = destination.coordinates
    distances = [
        decision_pb2.LocationDistance(location_id=id, distance_km=great_circle_km(location.coordinates, point))
        for id, location in sorted(locations.items())
        if point is not None and location.coordinates is not None
    ]
    return decision_pb2.ErasedDestination(
        country=destination.country or "",
        region=destination.region or "",
        postal_code=(destination.postal_code or "") if keeps_postal_code else "",
        had_coordinates=point is not None,
        distances=distances,
    )


def destination_of(message: decision_pb2.ErasedDestination, locations: Mapping[str, Location]) -> Destination:
    """The destination as far as the decision used it."""
    points = ((locations[x.location_id].coordinates, x.distance_km) for x in message.distances)
    known = tuple((point, distance) for point, distance in points if point is not None)
    return Destination(
        country=message.country or None,
        region=message.region or None,
        postal_code=message.postal_code or None,
        coordinates=ErasedPoint(known) if message.had_coordinates else None,
    )
