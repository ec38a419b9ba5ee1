"""Distances between cities, compared with published ones."""

from __future__ import annotations

import pytest

from policies.domain.geography import EARTH_RADIUS_KM, great_circle_km
from policies.domain.model import Coordinates

LONDON, PARIS = Coordinates(51.5074, -0.1278), Coordinates(48.8566, 2.3522)
NEW_YORK, SYDNEY = Coordinates(40.7128, -74.0060), Coordinates(-33.8688, 151.2093)
HALF_ROUND_KM = 3.141592653589793 * EARTH_RADIUS_KM


@pytest.mark.parametrize(
    ("a", "b", "km"), [(LONDON, PARIS, 343.6), (LONDON, NEW_YORK, 5570.2), (NEW_YORK, SYDNEY, 15_989)]
)
def test_cities_are_as_far_apart_as_atlases_say(a: Coordinates, b: Coordinates, km: float) -> None:
    assert great_circle_km(a, b) == pytest.approx(km, rel=1e-3)


def test_distance_is_the_same_in_both_directions() -> None:
    assert great_circle_km(LONDON, SYDNEY) == great_circle_km(SYDNEY, LONDON)


def test_a_point_has_distance_0_to_itself() -> None:
    assert great_circle_km(PARIS, PARIS) == 0


def test_distance_is_measured_across_the_date_line() -> None:
    assert great_circle_km(Coordinates(0, 179.5), Coordinates(0, -179.5)) == pytest.approx(111.2, rel=1e-3)


@pytest.mark.parametrize("latitude", [0.0, 45.0, 51.4778, 90.0])
def test_opposite_points_are_half_the_earth_apart(latitude: float) -> None:
    point, opposite = Coordinates(latitude, 10.0), Coordinates(-latitude, -170.0)

    assert great_circle_km(point, opposite) == pytest.approx(HALF_ROUND_KM)
