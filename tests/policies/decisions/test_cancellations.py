"""Cancellations that were stored apply to an order's contents once, whichever message arrives first."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from policies.decisions.cancellations import (
    PERMANENT,
    CancellationCause,
    PendingCancellation,
    PriorCancellations,
    applies_to,
    cancelled_units,
    stands,
    units_of_lines,
)
from policies.domain.kits import KitPart
from policies.domain.listings import OrderedItem
from policies.domain.model import OrderLine

NINE = datetime(2026, 11, 27, 9, tzinfo=UTC)
LATER = NINE + timedelta(minutes=1)
LINES = (OrderLine("1", "MUG", 5), OrderLine("2", "CUP", 3))
NONE_YET = PriorCancellations()


def cancellation(
    units: int = 2, *, line: str = "1", at: datetime | None = None, is_applied: bool = False
) -> PendingCancellation:
    return PendingCancellation(line, units, at, is_applied)


@pytest.mark.parametrize(
    ("cancel_time", "contents_time", "is_applied", "applies"),
    [
        # Contents stated at or after the cancellation include it.
        (NINE, NINE - timedelta(seconds=1), False, True),
        (NINE, NINE, False, False),
        (NINE, LATER, False, False),
        (NINE, NINE - timedelta(seconds=1), True, True),
        # Without both times it applies to the first contents only.
        (None, NINE, False, True),
        (None, NINE, True, False),
        (NINE, None, False, True),
        (NINE, None, True, False),
        (None, None, True, False),
        # Units that left as another order's never leave again.
        (PERMANENT, NINE, False, True),
        (PERMANENT, LATER, True, True),
        (PERMANENT, None, True, True),
    ],
)
def test_which_contents_a_cancellation_applies_to(
    cancel_time: datetime | None, contents_time: datetime | None, is_applied: bool, applies: bool
) -> None:
    assert applies_to(cancellation(at=cancel_time, is_applied=is_applied), contents_time) is applies


def test_a_cancellation_takes_units_off_its_own_line_and_never_more_than_were_ordered() -> None:
    assert cancelled_units(LINES, [cancellation(2)], None, NONE_YET) == {"1": 2}
    assert cancelled_units(LINES, [cancellation(2), cancellation(2)], None, NONE_YET) == {"1": 4}
    assert cancelled_units(LINES, [cancellation(9)], None, NONE_YET) == {"1": 5}
    assert cancelled_units(LINES, [cancellation(9), cancellation(1, line="2")], None, NONE_YET) == {"1": 5, "2": 1}
    assert cancelled_units(LINES, [cancellation(2, line="9")], None, NONE_YET) == {}


def test_a_whole_order_cancellation_is_not_one_of_a_line() -> None:
    assert cancelled_units(LINES, [PendingCancellation()], None, NONE_YET) == {}


def test_units_cancelled_before_stay_cancelled_in_the_same_contents() -> None:
    prior = PriorCancellations({"1": 1}, NINE)

    assert cancelled_units(LINES, [], LATER, prior) == {"1": 1}
    assert cancelled_units(LINES, [cancellation(2)], LATER, prior) == {"1": 3}


def test_an_applied_cancellation_is_dropped_once_the_contents_include_it() -> None:
    applied = cancellation(2, at=NINE, is_applied=True)
    prior = PriorCancellations({"1": 2}, NINE - timedelta(minutes=5))

    assert cancelled_units(LINES, [applied], NINE - timedelta(minutes=1), prior) == {"1": 2}
    assert cancelled_units(LINES, [applied], LATER, prior) == {}


def test_an_applied_cancellation_that_the_contents_included_is_not_subtracted_from_others() -> None:
    applied = cancellation(2, at=NINE, is_applied=True)
    # The contents of LATER include the cancellation, so the one unit that is cancelled of them is another one.
    prior = PriorCancellations({"1": 1}, LATER)

    assert cancelled_units(LINES, [applied], LATER, prior) == {"1": 1}


def test_an_applied_cancellation_without_a_time_stays_among_those_cancelled_before() -> None:
    applied = cancellation(2, is_applied=True)

    assert cancelled_units(LINES, [applied], LATER, PriorCancellations({"1": 2}, NINE)) == {"1": 2}
    assert cancelled_units(LINES, [applied], LATER, PriorCancellations({"1": 2})) == {"1": 2}


def test_a_new_cancellation_with_a_time_adds_to_those_cancelled_before() -> None:
    new = cancellation(2, at=LATER)

    assert cancelled_units(LINES, [new], NINE, PriorCancellations({"1": 3})) == {"1": 5}


@pytest.mark.parametrize(
    ("sold_time", "does_stand"),
    [(NINE - timedelta(seconds=1), True), (NINE, True), (LATER, False), (None, True)],
)
def test_a_cancelled_order_is_sold_again_only_by_a_newer_sale(sold_time: datetime | None, does_stand: bool) -> None:
    assert stands(PendingCancellation(latest_time=NINE), sold_time) is does_stand
    assert stands(PendingCancellation(), sold_time)


def test_units_that_left_as_another_order_are_subtracted_once_from_all_contents() -> None:
    permanent = cancellation(2, at=PERMANENT, is_applied=True)

    assert cancelled_units(LINES, [permanent], LATER, PriorCancellations({"1": 3}, NINE)) == {"1": 3}
    assert cancelled_units(LINES, [permanent], None, PriorCancellations({"1": 3})) == {"1": 3}
    assert cancelled_units(LINES, [permanent], LATER, NONE_YET) == {"1": 2}


MINUTES = st.integers(0, 9).map(lambda minute: NINE + timedelta(minutes=minute))


@given(
    st.lists(st.builds(cancellation, st.integers(1, 4), line=st.sampled_from("12"), at=MINUTES), max_size=4),
    st.lists(MINUTES, min_size=1, max_size=4, unique=True),
)
def test_contents_in_any_order_of_arrival_have_the_same_cancellations(
    cancellations: list[PendingCancellation], times: list[datetime]
) -> None:
    """The same contents, restated at several times: what is cancelled in the end depends on the last time alone."""
    prior, applied = PriorCancellations(), [replace(each) for each in cancellations]
    for time in sorted(times):
        units = cancelled_units(LINES, applied, time, prior)
        prior = PriorCancellations(units, time)
        applied = [replace(each, is_applied=True) for each in applied]

    expected = {}
    for line in LINES:
        total = sum(x.unit_count for x in cancellations if x.line_id == line.line_id and applies_to(x, max(times)))
        if total:
            expected[line.line_id] = min(line.unit_count, total)
    # A line's count is capped at what was ordered, so that more cancellations than units leave nothing to take back.
    if all(sum(x.unit_count for x in cancellations if x.line_id == line.line_id) <= line.unit_count for line in LINES):
        assert units == expected
    assert all(0 < units[line.line_id] <= line.unit_count for line in LINES if line.line_id in units)


BOX_OF_SIX = OrderedItem("box", 2, 6)
GIFT_SET = "2"
"""The line on which two gift sets were ordered: a bowl and two spoons each."""
KIT_LINES = (
    OrderLine("1", "MUG", 12, item=BOX_OF_SIX),
    OrderLine("2.a", "BOWL", 2, kit=KitPart(GIFT_SET, "GIFT", 1)),
    OrderLine("2.b", "SPOON", 4, kit=KitPart(GIFT_SET, "GIFT", 2)),
    OrderLine("3", "CUP", 5),
)


def test_a_cancelled_item_takes_all_its_units() -> None:
    one_box = PendingCancellation("1", 1, item_id="box")

    assert cancelled_units(KIT_LINES, [one_box], None, NONE_YET) == {"1": 6}
    assert cancelled_units(KIT_LINES, [PendingCancellation("1", 1)], None, NONE_YET) == {"1": 1}
    assert [x.item_id for x in units_of_lines([one_box], KIT_LINES)] == [None]


def test_an_item_of_a_line_that_ordered_none_counts_as_a_unit() -> None:
    cancelled = PendingCancellation("3", 2, item_id="box")

    assert cancelled_units(KIT_LINES, [cancelled], None, NONE_YET) == {"3": 2}


def test_a_cancelled_kit_takes_the_units_of_each_of_its_components() -> None:
    one_kit, two_cups = PendingCancellation(GIFT_SET, 1), PendingCancellation("3", 2)

    assert cancelled_units(KIT_LINES, [one_kit], None, NONE_YET) == {"2.a": 1, "2.b": 2}
    assert cancelled_units(KIT_LINES, [one_kit, two_cups], None, NONE_YET) == {"2.a": 1, "2.b": 2, "3": 2}
    assert cancelled_units(KIT_LINES, [PendingCancellation("2.b", 1)], None, NONE_YET) == {"2.b": 1}


def test_a_cancelled_item_that_is_a_kit_takes_the_units_of_each_of_its_components() -> None:
    lines = (
        OrderLine("1.a", "BOWL", 3, item=OrderedItem("gift", 3, 1), kit=KitPart("1", "GIFT", 1)),
        OrderLine("1.b", "SPOON", 6, item=OrderedItem("gift", 3, 2), kit=KitPart("1", "GIFT", 2)),
    )

    assert cancelled_units(lines, [PendingCancellation("1", 2, item_id="gift")], None, NONE_YET) == {"1.a": 2, "1.b": 4}
    assert cancelled_units(lines, [PendingCancellation("1", 2)], None, NONE_YET) == {"1.a": 2, "1.b": 4}


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (CancellationCause(), ""),
        (CancellationCause("buyer"), " Fault: buyer."),
        (CancellationCause(reason="too late"), " Reason: too late."),
        (CancellationCause("seller", "broken"), " Fault: seller. Reason: broken."),
    ],
)
def test_a_cancellation_tells_whose_fault_it_was_and_why(cause: CancellationCause, sentence: str) -> None:
    assert cause.sentence() == sentence
