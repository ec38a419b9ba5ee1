"""Units that a HOLD wanted and did not get: each counts once, whatever it was refused for."""

from __future__ import annotations

from hypothesis import given, strategies as st

from policies.decisions.shortages import TOO_LATE, Shortage, ShortageKind
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
        for kind in draw(st.lists(st.sampled_from(ShortageKind), unique=True)):
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


def test_each_unmet_unit_tells_its_cause_and_the_rules_that_kept_it() -> None:
    order = Order("web", "A-1", (OrderLine("1", "MUG", 9),), commitment=Commitment.HOLD)
    shortages = [
        Shortage("1", "MUG", 1, ShortageKind.OVERSELL),
        Shortage("1", "MUG", 2, ShortageKind.HELD_BY_BUFFER, ("walk-ins", "spike")),
        Shortage("1", "MUG", 3, ShortageKind.UNFILLABLE, cause=TOO_LATE),
        Shortage("1", "MUG", 1, ShortageKind.UNFILLABLE),
    ]

    assert [(x.unit_count, x.cause, x.rules) for x in unmet_units(order, shortages)] == [
        (1, "out_of_stock", ()),
        (2, "held_by_buffer", ("walk-ins", "spike")),
        (3, TOO_LATE, ()),
        (1, "unfillable", ()),
    ]


def test_an_order_that_was_refused_as_a_whole_lacks_units_that_are_there_as_well() -> None:
    lines = OrderLine("1", "BOWL", 2), OrderLine("2", "MUG", 3)
    order = Order("web", "A-1", lines, commitment=Commitment.HOLD)

    unmet = unmet_units(order, [Shortage("2", "MUG", 1, ShortageKind.OVERSELL)], promised={})

    assert [(x.line_id, x.unit_count, x.cause) for x in unmet] == [
        ("1", 2, "unfillable"),
        ("2", 1, "out_of_stock"),
        ("2", 2, "unfillable"),
    ]


def test_only_units_that_were_not_counted_before_are_new() -> None:
    unmet = [UnmetUnits(line_id, "MUG", 4, 2, 2, "out_of_stock") for line_id in "123"]

    assert uncounted(unmet, {}) == unmet
    assert [(x.line_id, x.unit_count) for x in uncounted(unmet, {"MUG": 2})] == [("2", 2), ("3", 2)]
    assert [(x.line_id, x.unit_count) for x in uncounted(unmet, {"MUG": 3})] == [("2", 1), ("3", 2)]
    assert uncounted(unmet, {"MUG": 6}) == []


@given(short_orders(), st.dictionaries(st.sampled_from(SKUS), counts))
def test_units_that_were_counted_before_count_no_more(
    order_and_shortages: tuple[Order, list[Shortage]], counted: dict[str, int]
) -> None:
    unmet = unmet_units(*order_and_shortages)

    new = units_by_sku(uncounted(unmet, counted))

    assert new == {sku: max(0, units - counted.get(sku, 0)) for sku, units in units_by_sku(unmet).items()}
