"""The chance that a stock figure is right now: facts that hold for all counts, times and movements."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from policies.stock.confidence import (
    NEVER_COUNTED,
    NO_HISTORY,
    ErrorHistory,
    LastCount,
    count_confidence,
    count_evidence,
    moves_goods,
)

COUNTED = datetime(2026, 11, 27, 9, tzinfo=UTC)

exposures = st.floats(0, 5_000)
outcomes = st.lists(st.tuples(exposures, st.booleans()), max_size=12)
"""Earlier counts of a level: the days of exposure before each, and whether the figure was wrong."""
histories = st.builds(ErrorHistory, st.floats(0, 1_000), st.floats(0, 1e6))
movements = st.integers(0, 10_000)
failed_picks = st.integers(0, 5)


def after(days: float) -> datetime:
    return COUNTED + timedelta(days=days)


def learned(counts: list[tuple[float, bool]]) -> tuple[ErrorHistory, ErrorHistory]:
    """The histories of a level and its location after counts of that level."""
    level = location = NO_HISTORY
    for exposure_days, is_error in counts:
        of_level, of_location = count_evidence(level, location, exposure_days, is_error=is_error)
        level, location = level.plus(of_level), location.plus(of_location)
    return level, location


def confidence(
    days: float,
    moved: int = 0,
    not_found: int = 0,
    level: ErrorHistory = NO_HISTORY,
    location: ErrorHistory = NO_HISTORY,
) -> float:
    chance = count_confidence(LastCount(COUNTED, moved, not_found), level, location, after(days))
    assert chance is not None
    return chance


@given(exposures, movements, failed_picks, histories, histories)
def test_a_confidence_is_a_share_in_thousandths(
    days: float, moved: int, not_found: int, level: ErrorHistory, location: ErrorHistory
) -> None:
    chance = confidence(days, moved, not_found, level, location)

    assert 0 <= chance <= 1
    assert chance == round(chance, 3)


@given(histories, histories)
def test_a_figure_that_a_person_has_just_counted_is_certain(level: ErrorHistory, location: ErrorHistory) -> None:
    assert confidence(0, level=level, location=location) == 1
    assert confidence(-1 / 24, level=level, location=location) == 1


@given(st.tuples(exposures, exposures), st.tuples(movements, movements), failed_picks, outcomes)
def test_confidence_never_rises_between_counts(
    days: tuple[float, float], moved: tuple[int, int], not_found: int, counts: list[tuple[float, bool]]
) -> None:
    level, location = learned(counts)
    earlier = confidence(min(days), min(moved), not_found, level, location)
    later = confidence(max(days), max(moved), not_found, level, location)

    assert later <= earlier


@given(outcomes, exposures, exposures, movements)
def test_a_wrong_count_never_makes_later_figures_more_certain(
    counts: list[tuple[float, bool]], exposure_days: float, days: float, moved: int
) -> None:
    without = learned(counts)
    with_error = learned([*counts, (exposure_days, True)])
    with_match = learned([*counts, (exposure_days, False)])

    assert confidence(days, moved, 0, *with_error) <= confidence(days, moved, 0, *without)
    assert confidence(days, moved, 0, *without) <= confidence(days, moved, 0, *with_match)


@given(outcomes, st.data(), exposures)
def test_a_level_with_more_wrong_counts_is_never_more_certain(
    counts: list[tuple[float, bool]], data: st.DataObject, days: float
) -> None:
    worse = [(exposure, is_error or data.draw(st.booleans())) for exposure, is_error in counts]

    assert confidence(days, 0, 0, *learned(worse)) <= confidence(days, 0, 0, *learned(counts))


@given(outcomes, exposures, exposures)
def test_a_wrong_count_of_one_product_never_makes_its_location_more_certain(
    counts: list[tuple[float, bool]], exposure_days: float, days: float
) -> None:
    level, before = learned(counts)
    _, evidence = count_evidence(level, before, exposure_days, is_error=True)

    assert confidence(days, location=before.plus(evidence)) <= confidence(days, location=before)


@given(exposures, movements, failed_picks)
def test_each_pick_that_finds_nothing_halves_the_confidence(days: float, moved: int, not_found: int) -> None:
    chance = confidence(days, moved, not_found + 1)

    assert chance == pytest.approx(confidence(days, moved) * 0.5 ** (not_found + 1), abs=0.001)


def test_a_figure_that_nobody_has_counted_is_of_unknown_confidence() -> None:
    assert count_confidence(NEVER_COUNTED, NO_HISTORY, NO_HISTORY, COUNTED) is None
    assert count_confidence(NEVER_COUNTED._replace(movements=7), NO_HISTORY, NO_HISTORY, COUNTED) is None
    assert count_confidence(NEVER_COUNTED._replace(not_found=1), NO_HISTORY, NO_HISTORY, COUNTED) == 0.5


@pytest.mark.parametrize(("movements_per_day", "days"), [(0, 18), (0.5, 12), (1, 9), (5, 3)])
def test_without_evidence_a_store_is_trusted_for_one_to_two_weeks(movements_per_day: float, days: int) -> None:
    assert confidence(days - 1, int(movements_per_day * (days - 1))) >= 0.9
    assert confidence(days + 1, int(movements_per_day * (days + 1))) < 0.9


def test_two_records_of_three_are_wrong_a_year_after_a_count() -> None:
    assert confidence(365, 182) == pytest.approx(0.35, abs=0.002)


def test_a_wrong_count_shortens_the_trust_in_a_level_and_a_right_one_prolongs_it() -> None:
    histories_of_monthly_counts = [
        learned([(30, True)]),
        (NO_HISTORY, NO_HISTORY),
        learned([(30, False)]),
        learned([(30, False)] * 12),
    ]

    after_a_month = [confidence(30, 0, 0, *history) for history in histories_of_monthly_counts]

    assert after_a_month == sorted(after_a_month)
    assert len(set(after_a_month)) == 4
    assert after_a_month[0] < 0.7
    assert after_a_month[-1] > 0.95


def test_the_examples_of_the_planners_guide_are_true() -> None:
    once_wrong = learned([(7 + 3, True)])

    assert [confidence(6, 3), confidence(12, 6), confidence(365, 182)] == [0.946, 0.899, 0.349]
    assert confidence(12, 6, 0, *once_wrong) == 0.705


def test_other_products_of_a_location_learn_a_little_from_each_wrong_count() -> None:
    _, once = learned([(30, True)])
    often = NO_HISTORY
    for _ in range(40):
        often = often.plus(count_evidence(NO_HISTORY, often, 30, is_error=True)[1])

    assert confidence(10) == 0.94
    assert 0.92 < confidence(10, location=once) < 0.94
    assert confidence(10, location=often) < 0.85


@pytest.mark.parametrize(
    ("kind", "delta", "is_handled"),
    [
        ("sold", -1, True),
        ("shipped", -2, True),
        ("received", 5, True),
        ("transferred_out", -1, True),
        ("counted", 3, False),
        ("lost", -1, False),
        ("ship_undone", 2, False),
        ("transfer_cancelled", 1, False),
        ("held", 0, False),
        ("sold", 0, False),
    ],
)
def test_goods_that_come_or_go_can_be_miscounted_and_corrections_cannot(
    kind: str, delta: int, is_handled: bool
) -> None:
    assert moves_goods(kind, delta) is is_handled
