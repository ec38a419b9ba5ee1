"""Distances on the globe, and how exactly it is said where a shopper is."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

from policies.domain.model import Coordinates, ErasedPoint

EARTH_RADIUS_KM = 6371.0
"""Mean radius (IUGG R1, rounded)."""

DESTINATION_DECIMALS = 2
"""Decimals of a destination's degrees: 0.01 degrees are at most 1.1 km, more than a street and its neighbors."""


def as_destination(point: Coordinates) -> Coordinates:
    """Where a destination is taken to be that was stated as this point: within 0.8 km of it, but not at its door."""
    # Adding zero turns a negative zero into zero, so that the same point is always stored as the same bytes.
    latitude, longitude = (round(degrees, DESTINATION_DECIMALS) + 0.0 for degrees in (point.latitude, point.longitude))
    return Coordinates(latitude, longitude)


def great_circle_km(start: Coordinates, end: Coordinates | ErasedPoint) -> float:
    """Kilometers along the surface of a sphere; at most 0.6 % off the true distance.

    From a point that was erased, the distance that was known before.

    Source: the haversine formula, R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984), p. 159.
    """
    if isinstance(end, ErasedPoint):
        return end.km_from(start)
    start_latitude, end_latitude = radians(start.latitude), radians(end.latitude)
    sin_half_latitude = sin((end_latitude - start_latitude) / 2)
    sin_half_longitude = sin(radians(end.longitude - start.longitude) / 2)
    haversine = sin_half_latitude**2 + cos(start_latitude) * cos(end_latitude) * sin_half_longitude**2
    # Rounding can make the haversine of opposite points slightly larger than 1, where asin is undefined.
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, haversine)))
