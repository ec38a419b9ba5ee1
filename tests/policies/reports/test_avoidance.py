"""What would have avoided an oversell by itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from policies.reports.avoidance import (
    CountedLevel,
    LateLoss,
    OversoldUnits,
    Remedy,
    RemedyKind,
    added_refusals,
    buffer_units,
    remedies,
)
from policies.stock.oversell import OversellEvidence, PublishedFigure

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def evidence(ordered: int, usable: int, told: int, own: int = 0) -> OversellEvidence:
    return OversellEvidence("MUG", ordered, ordered - usable, PublishedFigure(told, NOON, "r1"), own_units=own)


def test_a_channel_that_was_told_5_of_a_mug_that_others_bought_needed_a_buffer_of_5() -> None:
    race = OversoldUnits("MUG", "race", 2, evidence(ordered=2, usable=0, told=5), buffer_rules=("keep two",))

    assert remedies(race) == [Remedy(RemedyKind.BUFFER, 5, rule="keep two")]


def test_no_buffer_helps_against_a_channel_that_sells_more_than_it_is_told() -> None:
    beyond = OversoldUnits("MUG", "not_applied", 2, evidence(ordered=5, usable=3, told=3))

    assert remedies(beyond) == [Remedy(RemedyKind.APPLY_FIGURES, 2)]


def test_a_feed_that_is_as_old_as_the_last_loss_that_it_had_to_know_would_have_helped() -> None:
    stale = OversoldUnits("MUG", "stale_feed", 3, evidence(ordered=3, usable=0, told=4))
    losses = [
        LateLoss("till", NOON - timedelta(minutes=90), 1),
        LateLoss("till", NOON - timedelta(minutes=50, seconds=30), 2),
        LateLoss("till", NOON - timedelta(minutes=5), 9),
    ]

    assert Remedy(RemedyKind.FRESHER_FEED, source="till", max_age_minutes=50) in remedies(stale, losses)
    assert RemedyKind.FRESHER_FEED not in {x.kind for x in remedies(stale, losses[:1])}


def test_a_count_since_the_last_one_would_have_found_what_a_picker_did_not() -> None:
    levels = [CountedLevel("dc", NOON), CountedLevel("soho", NOON - timedelta(days=9))]
    rejected = OversoldUnits("MUG", "rejected", 1, levels=levels)
    never_counted = OversoldUnits("MUG", "rejected", 1, levels=[*levels, CountedLevel("new", None)])

    assert remedies(rejected) == [Remedy(RemedyKind.COUNT, location_id="soho", since=NOON - timedelta(days=9))]
    assert remedies(never_counted) == [Remedy(RemedyKind.COUNT, location_id="new", since=None)]


def test_a_channel_that_was_told_nothing_needs_a_figure() -> None:
    untold = OversoldUnits("MUG", "not_told", 2, OversellEvidence("MUG", 2, 2))

    assert remedies(untold) == [Remedy(RemedyKind.PUBLISH)]


def test_a_buffer_refuses_its_units_once_and_only_as_far_as_the_channel_was_told_less() -> None:
    assert [added_refusals(3, least) for least in (None, 10, 3, 2, 0)] == [0, 0, 0, 1, 3]


@given(st.integers(1, 30), st.integers(0, 30), st.integers(0, 60), st.integers(0, 30))
def test_the_buffer_is_the_least_by_which_the_channel_sells_no_more_than_there_is(
    ordered: int, usable: int, told: int, own: int
) -> None:
    usable = min(usable, ordered - 1)
    needed = buffer_units(evidence(ordered, usable, told, own))

    def sold(buffer: int) -> int:
        return max(0, min(ordered, told - buffer - own))

    if own + ordered <= told:
        assert sold(needed) <= usable < sold(needed - 1)
    else:
        assert needed == 0
