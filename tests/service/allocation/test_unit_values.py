"""What counted units of an order were worth."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from hypothesis import given, strategies as st

from policies.domain.kits import KitPart
from policies.domain.listings import OrderedItem
from policies.domain.model import Commitment
from service.allocation.unit_values import (
    Price,
    PricedUnits,
    UnitsValue,
    cancelled_value,
    oversold_value,
    priced_lines,
    withheld_value,
)
from service.orders.allocation_record import AllocationRecord, LineRecord

NOW = datetime(2026, 11, 27, tzinfo=UTC)
PRICE = Decimal("2.50")
units = st.integers(0, 9)
prices = st.tuples(st.sampled_from("abc"), st.sampled_from([PRICE, Decimal(4)]))
lines = st.dictionaries(prices, st.builds(PricedUnits, units, units, units, units))


def record(*lines: LineRecord, commitment: Commitment = Commitment.SOLD, currency: str = "USD") -> AllocationRecord:
    return AllocationRecord(
        UUID(int=1), "web", "A-1", NOW, NOW, commitment=commitment, currency=currency, lines=list(lines)
    )


def test_a_unit_of_an_item_costs_its_share_and_a_component_of_a_kit_has_no_price_of_its_own() -> None:
    mug = LineRecord("1", "MUG", 3, PRICE, oversold=1)
    case = LineRecord("2", "CUP", 12, Decimal(24), item=OrderedItem("case", 2, 6))
    saucer = LineRecord("3", "SAUCER", 1, PRICE, kit=KitPart("3", "SET", 1, may_split=False))
    unpriced = LineRecord("4", "BOWL", 1)

    priced = priced_lines(record(mug, case, saucer, unpriced))

    assert priced == {
        ("MUG", PRICE): PricedUnits(oversold=1, uncancelled=3),
        ("CUP", Decimal(4)): PricedUnits(uncancelled=12),
    }


def test_an_order_that_is_not_sold_or_states_no_currency_is_worth_nothing_yet() -> None:
    mug = LineRecord("1", "MUG", 3, PRICE)

    assert not priced_lines(record(mug, commitment=Commitment.HOLD))
    assert not priced_lines(record(mug, currency=""))


def test_what_the_channel_took_out_was_cancelled_at_the_price_that_it_had_whatever_its_lines_are_called() -> None:
    mugs, bowl = LineRecord("1", "MUG", 3, PRICE), LineRecord("2", "BOWL", 1, Decimal(4))
    before = priced_lines(record(mugs, bowl))
    after = priced_lines(record(replace(bowl, line_id="1")))

    assert cancelled_value(before, after, 3) == UnitsValue(3, Decimal("7.50"))


@given(lines, lines, units)
def test_no_more_units_are_worth_something_than_were_counted(
    before: dict[Price, PricedUnits], after: dict[Price, PricedUnits], counted: int
) -> None:
    for value_of in (oversold_value, withheld_value, cancelled_value):
        value = value_of(before, after, counted)

        assert value is None or 1 <= value.unit_count <= counted
        assert value is None or value.unit_count * PRICE <= value.value <= value.unit_count * 4
