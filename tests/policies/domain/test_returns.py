"""Each shipped unit comes back once and is refunded once, over any sequence of returns and refunds."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from policies.domain.returns import ShippedUnits, with_refunded, with_returned

parcels = st.lists(st.integers(0, 4), min_size=1, max_size=3)
events = st.lists(st.tuples(st.booleans(), st.integers(1, 5)), max_size=12)


@given(shipped=parcels, received=events)
def test_units_come_back_and_are_refunded_once_in_any_sequence_of_events(
    shipped: list[int], received: list[tuple[bool, int]]
) -> None:
    rows = [ShippedUnits(units) for units in shipped]
    came_back = refunded_at_once = 0
    for is_refund, units in received:
        refundable = sum(row.unrefunded for row in rows)
        may_return = sum(shipped) - came_back
        if is_refund and units <= refundable:
            rows = with_refunded(rows, units)
            refunded_at_once += units
        elif not is_refund and units <= may_return:
            rows = with_returned(rows, units)
            came_back += units
        else:
            with pytest.raises(ValueError, match="units cannot"):
                (with_refunded if is_refund else with_returned)(rows, units)

        assert [row.shipped for row in rows] == shipped
        assert sum(row.returned for row in rows) == came_back <= sum(shipped)
        assert refunded_at_once <= sum(shipped)
        # A unit that was refunded and came back later is counted as a returned one only.
        returned_unrefunded = came_back - (refunded_at_once - sum(row.refunded for row in rows))
        assert returned_unrefunded >= 0
        assert refunded_at_once + returned_unrefunded <= sum(shipped)


def test_a_refunded_unit_that_comes_back_makes_room_for_no_second_refund() -> None:
    (row,) = with_returned(with_refunded([ShippedUnits(2)], 2), 2)

    assert row == ShippedUnits(2, returned=2)
    with pytest.raises(ValueError, match="1 units cannot be refunded"):
        with_refunded([row], 1)


def test_units_that_come_back_are_the_refunded_ones_first() -> None:
    rows = with_refunded([ShippedUnits(2), ShippedUnits(2, returned=1)], 3)

    assert with_returned(rows, 3) == [ShippedUnits(2, returned=2), ShippedUnits(2, returned=2)]


@pytest.mark.parametrize("units", [(-1, 0), (0, -1), (1, 2)])
def test_more_units_than_shipped_are_never_stored(units: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="of 2 shipped units"):
        ShippedUnits(2, *units)
