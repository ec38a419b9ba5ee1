"""What counts and movements come to, in whatever order they arrive."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from hypothesis import given, strategies as st

from policies.stock.confidence import count_accuracy, updated_confidence
from policies.stock.counting import (
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
class Said:
    """A count, or else a movement, of one moment."""

    minute: int
    units: int
    is_count: bool
    sequence: int | None = None


class Shelf:
    """A plain model of one level and its ledger."""

    def __init__(self) -> None:
        self.on_hand = 0
        self.anchor: Anchor | None = None
        self.movements: list[tuple[datetime, int]] = []
        """Every movement that was heard, absorbed ones too."""
        self.ledger: list[int] = []

    def hear(self, said: Said) -> None:
        time = at(said.minute)
        if said.is_count:
            since = sum(units for moment, units in self.movements if moment > time)
            counted = Anchor(time, said.units, "wms", said.sequence)
            found = assess_count(self.anchor, counted, on_hand=self.on_hand, moved_since=since)
        else:
            found = assess_movement(self.anchor, time, said.units)
            self.movements.append((time, said.units))
        self.on_hand += found.on_hand_delta
        self.ledger.append(found.on_hand_delta)
        self.anchor = found.anchor or self.anchor


def shelf_of(*said: Said) -> Shelf:
    shelf = Shelf()
    for one in said:
        shelf.hear(one)
    return shelf


MINUTES = st.lists(st.integers(0, 60), unique=True, min_size=1, max_size=8)


@st.composite
def stories(draw: st.DrawFn) -> list[Said]:
    return [
        Said(minute, draw(st.integers(0, 50)), True)
        if draw(st.booleans())
        else Said(minute, draw(st.integers(-9, 9)), False)
        for minute in draw(MINUTES)
    ]


@given(stories(), st.data())
def test_counts_and_movements_come_to_one_figure_in_any_order(story: list[Said], data: st.DataObject) -> None:
    shelf = shelf_of(*data.draw(st.permutations(story)))

    counts = [one for one in story if one.is_count]
    last = max(counts, key=lambda one: one.minute, default=Said(-1, 0, True))
    since = sum(one.units for one in story if not one.is_count and one.minute > last.minute)
    assert shelf.on_hand == last.units + since == sum(shelf.ledger)


@given(stories(), st.data())
def test_the_highest_sequence_is_the_newest_whatever_the_times(story: list[Said], data: st.DataObject) -> None:
    numbers = data.draw(st.permutations(range(len(story))))
    numbered = [Said(one.minute, one.units, one.is_count, number) for one, number in zip(story, numbers, strict=True)]
    shelf = shelf_of(*data.draw(st.permutations(numbered)))

    counts = [one for one in numbered if one.is_count]
    last = max(counts, key=lambda one: one.sequence or 0, default=Said(-1, 0, True))
    since = sum(one.units for one in numbered if not one.is_count and one.minute > last.minute)
    assert shelf.on_hand == last.units + since


def test_versions_10_12_11_end_at_12() -> None:
    said = [Said(10, 100, True, 10), Said(11, 120, True, 12), Said(12, 110, True, 11)]

    assert shelf_of(*said).on_hand == 120


def test_two_numbers_of_one_moment_ask_for_a_recount() -> None:
    found = assess_count(Anchor(NINE, 8), Anchor(NINE, 9), on_hand=8, moved_since=0)

    assert (found.result, found.cause) == (ChangeResult.QUARANTINED, QuarantineCause.RECOUNT)


def test_the_same_number_of_one_moment_changes_nothing() -> None:
    found = assess_count(Anchor(NINE, 8), Anchor(NINE, 8), on_hand=5, moved_since=-3)

    assert (found.result, found.on_hand_delta) == (ChangeResult.ACCEPTED, 0)


def test_what_was_set_aside_before_a_count_that_says_so_is_in_it() -> None:
    assert assess_setting_aside(at(5), at(5), 2, 0).result is ChangeResult.ABSORBED
    assert assess_setting_aside(at(5), at(6), 2, 0).unavailable_delta == 2
    assert assess_setting_aside(None, at(5), 2, 0).unavailable_delta == 2


def test_no_more_is_put_back_than_was_set_aside() -> None:
    found = assess_setting_aside(None, NINE, -3, 2)

    assert (found.result, found.cause) == (ChangeResult.QUARANTINED, QuarantineCause.NOT_ASIDE)


def test_a_count_that_came_later_outlives_an_untracking() -> None:
    assert assess_untracked(Anchor(at(5), 8), Anchor(at(4), 0)).result is ChangeResult.STALE
    assert assess_untracked(Anchor(at(5), 8), Anchor(at(6), 0)).result is ChangeResult.ACCEPTED


def test_confidence_is_what_people_found_newer_evidence_weighing_more() -> None:
    assert round(updated_confidence(None, count_accuracy(8, 10)), 3) == 0.94
    assert round(updated_confidence(0.8, count_accuracy(10, 10)), 3) == 0.86
    assert round(updated_confidence(0.8, count_accuracy(0, 3)), 3) == 0.56


@given(st.integers(0, 1000), st.integers(-50, 1000))
def test_evidence_is_a_share(counted: int, expected: int) -> None:
    assert 0 <= count_accuracy(counted, expected) <= 1
