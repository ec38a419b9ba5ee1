"""Differences between two plans, told of the other plan."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from policies.decisions.alternatives.plan_differences import (
    DISTANCE,
    HANDLING_DAY,
    UNITS,
    PlanDifference,
    PlanFigures,
    figures_difference,
    kits_difference,
    location_difference,
)
from policies.decisions.alternatives.step_figures import StepFigure
from policies.policy_set import EARLIEST_PROMISE, FEWEST_SHIPMENTS, LOWEST_COST

FRIDAY, SATURDAY, MONDAY = date(2026, 11, 27), date(2026, 11, 28), date(2026, 11, 30)
OURS = PlanFigures(3, 1, 10.0, Decimal("4.50"), SATURDAY, FRIDAY)


@pytest.mark.parametrize(
    ("step", "theirs", "difference"),
    [
        (UNITS, {"units": 4}, ("3", "4", "1 unit more")),
        (UNITS, {"units": 1}, ("3", "1", "2 units fewer")),
        (FEWEST_SHIPMENTS, {"shipments": 2}, ("1", "2", "1 shipment more")),
        (FEWEST_SHIPMENTS, {"shipments": 0}, ("1", "0", "1 shipment fewer")),
        (FEWEST_SHIPMENTS, {"shipments": 1_002}, ("1", "1002", "1,001 shipments more")),
        (LOWEST_COST, {"cost": Decimal("5.25")}, ("4.50", "5.25", "0.75 dearer to ship")),
        (LOWEST_COST, {"cost": Decimal("4.00")}, ("4.50", "4.00", "0.50 cheaper to ship")),
        (LOWEST_COST, {"cost": None}, ("4.50", "", "shipping cost unknown instead of 4.50")),
        (EARLIEST_PROMISE, {"delivery_day": MONDAY}, ("2026-11-28", "2026-11-30", "delivered 2 days later")),
        (EARLIEST_PROMISE, {"delivery_day": FRIDAY}, ("2026-11-28", "2026-11-27", "delivered 1 day earlier")),
        (
            EARLIEST_PROMISE,
            {"delivery_day": None},
            ("2026-11-28", "", "delivered on an unknown day instead of on 2026-11-28"),
        ),
        (HANDLING_DAY, {"handling_day": SATURDAY}, ("2026-11-27", "2026-11-28", "handled 1 day later")),
        (DISTANCE, {"distance_km": 12.5}, ("10.0 km", "12.5 km", "2.5 km farther")),
        (DISTANCE, {"distance_km": 10.5}, ("10.0 km", "10.5 km", "0.5 km farther")),
        (DISTANCE, {"distance_km": 4.0}, ("10.0 km", "4.0 km", "6.0 km nearer")),
        (DISTANCE, {"distance_km": 30.0, "shipments": 2}, ("10.0 km", "30.0 km", "20.0 km farther in all")),
        (DISTANCE, {"distance_km": None}, ("10.0 km", "", "distance unknown instead of 10.0 km")),
    ],
)
def test_a_figure_that_differs_is_told(step: str, theirs: dict[str, Any], difference: tuple[str, str, str]) -> None:
    found = figures_difference(step, OURS, replace(OURS, **theirs))

    assert found == PlanDifference(step, *difference)
    assert not found.decides


def test_what_is_unknown_of_the_chosen_plan_is_told_as_unknown() -> None:
    unknown = replace(OURS, cost=None, distance_km=None, delivery_day=None)

    texts = [figures_difference(step, unknown, OURS) for step in (LOWEST_COST, DISTANCE, EARLIEST_PROMISE)]
    assert [text and text.text for text in texts] == [
        "shipping cost 4.50 instead of unknown",
        "distance 10.0 km instead of unknown",
        "delivered on 2026-11-28 instead of on an unknown day",
    ]


@pytest.mark.parametrize("step", [UNITS, FEWEST_SHIPMENTS, LOWEST_COST, EARLIEST_PROMISE, HANDLING_DAY, DISTANCE])
def test_equal_figures_are_no_difference(step: str) -> None:
    assert figures_difference(step, OURS, replace(OURS, cost=Decimal("4.5"))) is None


def test_a_step_of_single_locations_has_no_figure_of_a_plan() -> None:
    assert figures_difference("priority", OURS, replace(OURS, units=9)) is None


@pytest.mark.parametrize(
    ("chosen", "other", "text"),
    [
        (0, 1, "1 kit more from several locations"),
        (1, 3, "2 kits more from several locations"),
        (2, 1, "1 kit fewer from several locations"),
    ],
)
def test_kits_from_several_locations_are_counted(chosen: int, other: int, text: str) -> None:
    assert kits_difference(chosen, other) == PlanDifference("split_kits", str(chosen), str(other), text)


@pytest.mark.parametrize(
    ("step", "chosen", "other", "text"),
    [
        ("prefer", "true", "false", "not preferred"),
        ("prefer", "false", "true", "preferred"),
        ("chosen_by_shopper", "true", "false", "not chosen by the shopper"),
        ("chosen_by_shopper", "false", "true", "chosen by the shopper"),
        ("priority", "1", "2", "priority 2 instead of 1"),
        ("most_reliable", "0.9", "0.5", "count confidence 0.5 instead of 0.9"),
    ],
)
def test_two_locations_are_compared_by_a_step(step: str, chosen: str, other: str, text: str) -> None:
    figures = StepFigure(step, chosen), StepFigure(step, other)

    assert location_difference(step, *figures, (None, None)) == PlanDifference(step, chosen, other, text)


@pytest.mark.parametrize(
    ("distances_km", "text"),
    [
        ((10.0, 10.5), "0.5 km farther"),
        ((10.0, 11.0), "1.0 km farther"),
        ((10.0, 9.0), "1.0 km nearer"),
        ((None, 9.0), "distance 9.0 km instead of unknown"),
        ((9.0, None), "distance unknown instead of 9.0 km"),
    ],
)
def test_distances_are_told_by_how_much_they_differ(distances_km: tuple[float | None, float | None], text: str) -> None:
    here, there = [
        StepFigure("nearest", "unknown" if distance is None else f"{distance:.1f}", "km") for distance in distances_km
    ]

    assert location_difference("nearest", here, there, distances_km).text == text
