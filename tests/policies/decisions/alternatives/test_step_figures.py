"""What a planner reads of each step of `rank` at one location."""

from math import inf

import pytest

from policies.decisions.alternatives.step_figures import StepFigure, kilometers, location_figures
from policies.policy_set import LOCATION_STEPS, RankStep
from policies.source.problems import Source


def rank_step(kind: str) -> RankStep:
    return RankStep(kind, Source("routing.yaml", 1))


def figure(step: str, rank: float, *, distance_km: float | None = None, has_choice: bool = True) -> StepFigure:
    found = location_figures((rank_step(step),), (rank,), distance_km, has_choice=has_choice)
    assert len(found) == 1
    assert found[0].step == step
    return found[0]


@pytest.mark.parametrize(
    ("step", "rank", "text"),
    [
        ("priority", 3, "3"),
        ("priority", inf, "none"),
        ("prefer", 0, "true"),
        ("prefer", 1, "false"),
        ("chosen_by_shopper", 0, "true"),
        ("chosen_by_shopper", 1, "false"),
        # The largest come first, so these are ranked by their negative.
        ("deepest_stock", -5, "5 units"),
        ("deepest_stock", -1, "1 unit"),
        ("deepest_stock", 1, "-1 unit"),
        ("deepest_stock", -1.5, "1.5 units"),
        ("deepest_stock", 0, "0 units"),
        ("most_days_of_cover", -12.25, "12.25 days"),
        ("most_days_of_cover", -1, "1 day"),
        ("most_days_of_cover", -inf, "unlimited"),
        ("most_days_of_cover", inf, "unknown"),
        ("oldest_stock", -40, "40 days"),
        ("oldest_stock", inf, "unknown"),
        ("covers_most", -2, "2 products"),
        ("covers_most", -1, "1 product"),
        ("most_reliable", -0.75, "0.75"),
        ("most_reliable", -1, "1"),
        ("least_loaded", 0.25, "25 %"),
        ("least_loaded", 0.01, "1 %"),
        ("least_loaded", inf, "unknown"),
    ],
)
def test_a_figure_is_told_in_words_that_a_planner_can_check(step: str, rank: float, text: str) -> None:
    assert str(figure(step, rank)) == text


@pytest.mark.parametrize("step", LOCATION_STEPS)
def test_every_step_that_ranks_locations_has_a_figure(step: str) -> None:
    assert figure(step, 0, distance_km=0).value


def test_units_of_an_unknown_figure_stay_known_to_programs() -> None:
    assert figure("most_days_of_cover", inf) == StepFigure("most_days_of_cover", "unknown", "days")
    assert figure("most_days_of_cover", -inf) == StepFigure("most_days_of_cover", "unlimited", "days")
    assert figure("least_loaded", inf) == StepFigure("least_loaded", "unknown", "%")


def test_nearest_shows_kilometers_whatever_it_is_ranked_by() -> None:
    assert str(figure("nearest", 7, distance_km=1234.56)) == "1,234.6 km"
    assert str(figure("nearest", inf, distance_km=None)) == "unknown"


def test_where_the_shopper_chose_nothing_no_location_was_left_aside() -> None:
    assert str(figure("chosen_by_shopper", 0, has_choice=False)) == "none chosen"


def test_steps_that_compare_whole_plans_have_no_figure_of_a_location() -> None:
    steps = tuple(map(rank_step, ("fewest_shipments", "priority", "lowest_cost", "deepest_stock")))
    found = location_figures(steps, (2, -9), None, has_choice=False)

    assert [(x.step, str(x)) for x in found] == [("priority", "2"), ("deepest_stock", "9 units")]


@pytest.mark.parametrize(
    ("distance_km", "text"), [(0, "0.0"), (0.0994, "0.099"), (0.1, "0.1"), (12.34, "12.3"), (4321, "4,321.0")]
)
def test_short_distances_are_told_to_the_meter(distance_km: float, text: str) -> None:
    assert kilometers(distance_km) == text
