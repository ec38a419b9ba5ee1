"""A destination that was erased from a stored decision: what was derived from it stays, so that it can be replayed.

What a decision uses of a destination is its country, its region, its distances from locations, and its postal code
where rules compare it. Distances from several locations together tell where a destination is, so they are as personal
as a postal code: both are kept only as exactly as `destination_erasure` finds that the decision needs them.
"""

from __future__ import annotations

from collections.abc import Mapping

from policies.domain.geography import great_circle_km
from policies.domain.model import Coordinates, Destination, ErasedPoint, Location
from truestock.v1 import decision_pb2

EXACTLY = 0
"""A step of distances that rounds none."""


def erased(
    destination: Destination,
    locations: Mapping[str, Location],
    *,
    postal_code_length: int = 0,
    distance_step_km: int = EXACTLY,
) -> decision_pb2.ErasedDestination:
    """What stays of a destination in a decision made among these locations.

    Of its postal code that are the first `postal_code_length` characters, of its distances multiples of
    `distance_step_km`.
    """
    point, postal_code = destination.coordinates, destination.postal_code or ""
    distances = [
        decision_pb2.LocationDistance(
            location_id=id, distance_km=_distance_km(location.coordinates, point, distance_step_km)
        )
        for id, location in sorted(locations.items())
        if point is not None and location.coordinates is not None
    ]
    return decision_pb2.ErasedDestination(
        country=destination.country or "",
        region=destination.region or "",
        postal_code=postal_code[:postal_code_length],
        had_coordinates=point is not None,
        distances=distances,
        distance_step_km=distance_step_km,
        postal_code_shortened=len(postal_code) > postal_code_length,
    )


def _distance_km(start: Coordinates, end: Coordinates | ErasedPoint, step_km: int) -> float:
    distance = great_circle_km(start, end)
    return distance if step_km == EXACTLY else float(step_km * round(distance / step_km))


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
