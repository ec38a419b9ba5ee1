"""Distances on the globe."""

from __future__ import annotations

from math import asin, cos, radians, sin, sqrt

from policies.domain.model import Coordinates

EARTH_RADIUS_KM = 6371.0
"""Mean radius (IUGG R1, rounded)."""


def great_circle_km(a: Coordinates, b: Coordinates) -> float:
    """Kilometres along the surface of a sphere; at most 0.6 % off the real Earth.

    Source: the haversine formula, R. W. Sinnott, "Virtues of the Haversine", Sky and Telescope 68 (1984), p. 159.
    """
    latitude_a, latitude_b = radians(a.latitude), radians(b.latitude)
    half_rise = sin((latitude_b - latitude_a) / 2)
    half_turn = sin(radians(b.longitude - a.longitude) / 2)
    haversine = half_rise**2 + cos(latitude_a) * cos(latitude_b) * half_turn**2
    # Rounding can lift the haversine of opposite points a hair above 1, where asin has no value.
    return 2 * EARTH_RADIUS_KM * asin(sqrt(min(1.0, haversine)))
