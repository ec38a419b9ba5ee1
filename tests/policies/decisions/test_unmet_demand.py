"""Units that a HOLD wanted and did not get: each counts once, whatever it was refused for."""

from __future__ import annotations

from hypothesis import given, strategies as st

from policies.decisions.shortages import Shortage, ShortageKind
from policies.decisions.unmet_demand import UnmetUnits, uncounted, unmet_units
from policies.domain.model import Commitment, Order, OrderLine

SKUS = ("BOWL", "MUG")
counts = st.integers(0, 5)


@st.composite
def short_orders(draw: st.DrawFn) -> tuple[Order, list[Shortage]]:
    """An order, and the shortages of a decision about it: no line lacks more than it has."""
    lines = [
        OrderLine(str(number), draw(st.sampled_from(SKUS)), draw(st.integers(1, 9)))
        for number in range(draw(st.integers(1, 4)))
    ]
    shortages = []
    for line in lines:
        remaining = line.unit_count
        for kind in ShortageKind:
            count = min(draw(counts), remaining)
            remaining -= count
            shortages += [Shortage(line.line_id, line.sku, count, kind)] if count else []
    return Order("web", "A-1", tuple(lines), commitment=Commitment.HOLD), shortages


def units_by_sku(unmet: list[UnmetUnits] | tuple[UnmetUnits, ...]) -> dict[str, int]:
    return {sku: sum(x.unit_count for x in unmet if x.sku == sku) for sku in SKUS}


@given(short_orders(), st.none() | st.dictionaries(st.sampled_from("0123"), counts))
def test_what_is_unmet_and_what_was_got_add_up_to_what_was_wanted(
    order_and_shortages: tuple[Order, list[Shortage]], promised: dict[str, int] | None
) -> None:
    order, shortages = order_and_shortages

    unmet = unmet_units(order, shortages, promised)

    for line in order.lines:
        of_line = [x for x in unmet if x.line_id == line.line_id]
        short = sum(x.unit_count for x in shortages if x.line_id == line.line_id)
        got = line.unit_count - short if promised is None else min(line.unit_count, promised.get(line.line_id, 0))
        assert sum(x.unit_count for x in of_line) == line.unit_count - got
        assert all((x.wanted, x.met) == (line.unit_count, got) for x in of_line)
        assert all(0 < x.unit_count <= x.wanted - x.met for x in of_line)


@given(short_orders(), st.fixed_dictionaries(dict.fromkeys(SKUS, counts)))
def test_units_that_were_counted_before_count_no_more(
    order_and_shortages: tuple[Order, list[Shortage]], counted: dict[str, int]
) -> None:
    unmet = unmet_units(*order_and_shortages)

    new = units_by_sku(uncounted(unmet, counted))

    assert new == {sku: max(0, units - counted[sku]) for sku, units in units_by_sku(unmet).items()}
