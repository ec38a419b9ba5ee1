"""The causes of oversells: each one by its evidence, and each pair with the one that wins."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given, strategies as st

from policies.stock.oversell import (
    CAUSES,
    OversellEvidence,
    PublishedFigure,
    evidence_text,
    figure_in_effect,
    is_stale,
    oversell_cause,
)
from tests.policies.small_retailer import NOW, level


def published(units: int, minutes_ago: float = 5) -> PublishedFigure:
    return PublishedFigure(units, NOW - timedelta(minutes=minutes_ago), "4f2a9c81d07e35b6")


def evidence(
    *,
    told: int | None,
    ordered: int,
    short: int,
    own: int = 0,
    others: int = 0,
    stale: bool = False,
    mapped: bool = True,
    event: str = "",
) -> OversellEvidence:
    figure = None if told is None else published(told)
    return OversellEvidence("MUG", ordered, short, figure, own, others, stale, mapped, event)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        # 5 were there and published, 5 went to another channel.
        (evidence(told=5, ordered=5, short=5, others=5), "race"),
        # 5 were there and published, and 8 were sold.
        (evidence(told=5, ordered=8, short=3), "not_applied"),
        # 5 were published, 5 of its own orders got them, and 2 more were sold.
        (evidence(told=5, ordered=2, short=2, own=5), "not_applied"),
        # It was told that there is nothing, and sold.
        (evidence(told=0, ordered=2, short=2), "not_applied"),
        # 5 were published, 3 are there.
        (evidence(told=5, ordered=5, short=2), "over_published"),
        (evidence(told=5, ordered=5, short=2, stale=True), "stale_feed"),
        (evidence(told=None, ordered=5, short=5), "not_told"),
        (evidence(told=None, ordered=5, short=5, event="rejected"), "rejected"),
        (evidence(told=5, ordered=5, short=5, event="count_correction"), "count_correction"),
        (evidence(told=None, ordered=5, short=5, mapped=False), "unmapped"),
    ],
)
def test_each_cause_has_its_evidence(case: OversellEvidence, expected: str) -> None:
    assert oversell_cause(case) == expected


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        # Shares of one shortage: the larger one wins.
        (evidence(told=5, ordered=8, short=8, others=5), "race"),
        (evidence(told=5, ordered=9, short=5, others=1), "not_applied"),
        (evidence(told=9, ordered=9, short=6, others=4), "race"),
        (evidence(told=9, ordered=9, short=6, others=2), "over_published"),
        (evidence(told=5, ordered=9, short=5), "not_applied"),
        (evidence(told=5, ordered=6, short=5), "over_published"),
        # Equal shares: the order of the list.
        (evidence(told=5, ordered=7, short=4, others=2), "race"),
        (evidence(told=5, ordered=5, short=4, others=2), "race"),
        (evidence(told=5, ordered=7, short=4), "over_published"),
        # A race explains the units whether or not the figure was stale; nothing else is known to be right.
        (evidence(told=5, ordered=5, short=5, others=5, stale=True), "race"),
        (evidence(told=5, ordered=8, short=3, stale=True), "stale_feed"),
        (evidence(told=None, ordered=5, short=5, stale=True), "stale_feed"),
        # Events and unknown products come before every figure.
        *[
            (evidence(told=told, ordered=5, short=5, others=others, stale=stale, event=event), event)
            for event, told, others, stale in product(
                ("rejected", "count_correction"), (None, 0, 5, 9), (0, 5), (False, True)
            )
        ],
        *[
            (evidence(told=told, ordered=5, short=5, others=5, stale=stale, event=event, mapped=False), "unmapped")
            for event, told, stale in product(("", "rejected", "count_correction"), (None, 0, 9), (False, True))
        ],
    ],
)
def test_of_two_causes_one_wins(case: OversellEvidence, expected: str) -> None:
    assert oversell_cause(case) == expected


units = st.integers(0, 50)


@given(units, units, units, units, units)
def test_the_shares_are_exactly_the_missing_units(told: int, there: int, ordered: int, own: int, others: int) -> None:
    """Whatever was there when the figure was published, less what others got, is what the order can use."""
    usable = max(0, there - own - others)
    short = ordered - usable
    if short <= 0:
        return
    case = evidence(told=told, ordered=ordered, short=short, own=own, others=others)

    assert case.sold_beyond_figure + case.other_units + case.published_beyond_stock == short
    cause = oversell_cause(case)
    assert cause in CAUSES
    if there >= own + others:
        # Each cause that is named has a share of its own.
        assert {
            "race": others > 0,
            "over_published": told > there,
            "not_applied": own + ordered > told,
        }[cause]


def test_a_channel_goes_by_what_it_can_have_shown() -> None:
    figures = [published(9, 60), published(5, 10), published(0, 1)]

    assert figure_in_effect(figures, NOW, timedelta()) == figures[2]
    assert figure_in_effect(figures, NOW, timedelta(minutes=1)) == figures[2]
    assert figure_in_effect(figures, NOW, timedelta(minutes=2)) == figures[1]
    assert figure_in_effect(figures[1:], NOW, timedelta(minutes=30)) == figures[1]
    assert figure_in_effect([], NOW, timedelta(minutes=2)) is None


@given(st.permutations([published(4, 2), published(9, 2), published(7, 2), published(8, 5), published(3, 5)]))
def test_of_figures_of_one_moment_a_channel_goes_by_the_greatest(figures: list[PublishedFigure]) -> None:
    assert figure_in_effect(figures, NOW, timedelta()) == published(9, 2)
    assert figure_in_effect(figures, NOW, timedelta(minutes=3)) == published(8, 5)
    assert figure_in_effect(figures, NOW, timedelta(minutes=30)) == published(8, 5)


@pytest.mark.parametrize(
    ("ages", "cadence_minutes", "expected"),
    [
        ([23 * 60], None, False),
        ([24 * 60], None, False),
        ([24 * 60 + 1], None, True),
        ([61], 60, True),
        ([60], 60, False),
        ([48 * 60], 3 * 24 * 60, False),
        ([None], None, False),
        ([], None, False),
        ([5, 25 * 60], None, True),
    ],
)
def test_a_figure_is_stale_beyond_its_cadence(
    ages: list[float | None], cadence_minutes: int | None, expected: bool
) -> None:
    levels = [level("MUG", f"s{index}", 5, age_minutes=age, source="till") for index, age in enumerate(ages)]
    cadences = {} if cadence_minutes is None else {"till": timedelta(minutes=cadence_minutes)}

    assert is_stale(levels, cadences, NOW) is expected


def test_an_old_zero_counts_only_where_no_location_has_units() -> None:
    old_zero, fresh = level("MUG", "a", 0, age_minutes=3_000), level("MUG", "b", 4)
    untracked = level("MUG", "c", 4, age_minutes=3_000, tracked=False)

    assert not is_stale([old_zero, fresh, untracked], {}, NOW)
    assert is_stale([old_zero, level("MUG", "b", 0)], {}, NOW)


def test_the_evidence_reads_as_one_sentence() -> None:
    case = evidence(told=5, ordered=8, short=3, others=1)

    assert evidence_text(case, "not_applied", "tiktok_shop") == (
        "MUG: not applied, 5 published to tiktok_shop at 2026-11-27 08:55:00 UTC by rules 4f2a9c81d07e, "
        "since then 8 sold there and 1 elsewhere"
    )
    assert evidence_text(evidence(told=None, ordered=1, short=1), "not_told", "web") == (
        "MUG: not told, no figure was published to web"
    )
