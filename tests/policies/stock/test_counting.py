"""The stock figure from counts and movements, in whatever order they arrive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from policies.stock.counting import (
    MOVEMENT_SIGNS,
    Anchor,
    ChangeResult,
    QuarantineCause,
    assess_count,
    assess_movement,
    assess_setting_aside,
    assess_untracked,
)

NINE = datetime(2026, 11, 27, 9, tzinfo=UTC)


def at(minutes: int) -> datetime:
    return NINE + timedelta(minutes=minutes)


@dataclass(frozen=True)
class Report:
    """A count or a movement at one time."""

    minute: int
    units: int
    is_count: bool
    sequence: int | None = None


class ModelLevel:
    """A plain model of one level and its ledger."""

    def __init__(self) -> None:
        self.on_hand = 0
        self.anchor: Anchor | None = None
        self.movements: list[tuple[datetime, int]] = []
        """All movements, including absorbed ones."""
        self.ledger: list[int] = []

    def apply(self, report: Report) -> None:
        time = at(report.minute)
        if report.is_count:
            since = sum(units for moment, units in self.movements if moment > time)
            counted = Anchor(time, report.units, "wms", report.sequence)
            assessment = assess_count(self.anchor, counted, on_hand=self.on_hand, moved_since=since)
        else:
            assessment = assess_movement(self.anchor, time, report.units)
            self.movements.append((time, report.units))
        self.on_hand += assessment.on_hand_delta
        self.ledger.append(assessment.on_hand_delta)
        self.anchor = assessment.anchor or self.anchor


def level_after(*reports: Report) -> ModelLevel:
    level = ModelLevel()
    for report in reports:
        level.apply(report)
    return level


MINUTES = st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=8)


@st.composite
def report_lists(draw: st.DrawFn) -> list[Report]:
    return [
        Report(minute, draw(st.integers(0, 50)), True)
        if draw(st.booleans())
        else Report(minute, draw(st.integers(-9, 9)), False)
        for minute in draw(MINUTES)
    ]


@given(report_lists(), st.data())
def test_counts_and_movements_give_the_same_figure_in_any_order(reports: list[Report], data: st.DataObject) -> None:
    level = level_after(*data.draw(st.permutations(reports)))

    counts = [report for report in reports if report.is_count]
    last = max(counts, key=lambda report: report.minute, default=Report(-1, 0, True))
    since = sum(report.units for report in reports if not report.is_count and report.minute > last.minute)
    assert level.on_hand == last.units + since == sum(level.ledger)


@given(report_lists(), st.data())
def test_the_highest_sequence_is_the_newest_whatever_the_times(reports: list[Report], data: st.DataObject) -> None:
    numbers = data.draw(st.permutations(range(len(reports))))
    numbered_reports = [
        Report(report.minute, report.units, report.is_count, number)
        for report, number in zip(reports, numbers, strict=True)
    ]
    level = level_after(*data.draw(st.permutations(numbered_reports)))

    counts = [report for report in numbered_reports if report.is_count]
    last = max(counts, key=lambda report: report.sequence or 0, default=Report(-1, 0, True))
    since = sum(report.units for report in numbered_reports if not report.is_count and report.minute > last.minute)
    assert level.on_hand == last.units + since


def test_versions_10_12_11_end_at_12() -> None:
    reports = [Report(10, 100, True, 10), Report(11, 120, True, 12), Report(12, 110, True, 11)]

    assert level_after(*reports).on_hand == 120


def test_two_different_counts_at_one_time_need_a_recount() -> None:
    assessment = assess_count(Anchor(NINE, 8), Anchor(NINE, 9), on_hand=8, moved_since=0)

    assert (assessment.result, assessment.cause) == (ChangeResult.QUARANTINED, QuarantineCause.RECOUNT)


def test_the_same_count_at_the_same_time_changes_nothing() -> None:
    assessment = assess_count(Anchor(NINE, 8), Anchor(NINE, 8), on_hand=5, moved_since=-3)

    assert (assessment.result, assessment.on_hand_delta) == (ChangeResult.ACCEPTED, 0)


def test_units_set_aside_before_a_count_are_included_in_it() -> None:
    assert assess_setting_aside(at(5), at(5), 2, 0).result is ChangeResult.ABSORBED
    assert assess_setting_aside(at(5), at(6), 2, 0).unavailable_delta == 2
    assert assess_setting_aside(None, at(5), 2, 0).unavailable_delta == 2


def test_no_more_units_are_put_back_than_were_set_aside() -> None:
    assessment = assess_setting_aside(None, NINE, -3, 2)

    assert (assessment.result, assessment.cause) == (ChangeResult.QUARANTINED, QuarantineCause.NOT_ASIDE)


def test_a_later_count_supersedes_the_end_of_tracking() -> None:
    assert assess_untracked(Anchor(at(5), 8), Anchor(at(4), 0)).result is ChangeResult.STALE
    assert assess_untracked(Anchor(at(5), 8), Anchor(at(6), 0)).result is ChangeResult.ACCEPTED


def test_a_movement_at_the_very_time_of_the_count_is_in_the_count() -> None:
    assert assess_movement(Anchor(at(5), 8), at(5), -2).on_hand_delta == 0
    assert assess_movement(Anchor(at(5), 8), at(5), -2).result is ChangeResult.ABSORBED
    assert assess_movement(Anchor(at(5), 8), at(5) + timedelta(microseconds=1), -2).on_hand_delta == -2


def test_units_that_arrive_are_added_and_units_that_leave_are_subtracted() -> None:
    assert MOVEMENT_SIGNS == {
        "received": 1,
        "returned": 1,
        "found": 1,
        "adjusted": 1,
        "sold": -1,
        "damaged": -1,
        "lost": -1,
    }
