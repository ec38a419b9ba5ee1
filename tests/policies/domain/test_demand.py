"""Orders become parts: all units of all lines, once each, in sets that the lines' placements ask for."""

from hypothesis import given, strategies as st

from policies.domain.demand import DemandPart, demand_parts, is_placed_freely
from policies.domain.kits import KitPart
from policies.domain.model import Order, OrderLine
from policies.domain.placement import ANYWHERE, Placement

LOCATIONS = st.frozensets(st.sampled_from("abc"), max_size=2)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """An order with plain, restricted and grouped lines and up to two kits, whole or not."""
    kits = {key: draw(st.fixed_dictionaries({sku: st.integers(1, 3) for sku in "ABC"})) for key in ("k1", "k2")}
    lines = []
    for number in range(draw(st.integers(1, 6))):
        sku, kit = draw(st.sampled_from("ABC")), draw(st.sampled_from(["", "", "k1", "k2"]))
        placement = Placement(
            draw(st.none() | LOCATIONS),
            draw(LOCATIONS),
            draw(st.sampled_from(["", "", "g"])),
            kit,
            kits[kit][sku] if kit else 0,
        )
        lines.append(OrderLine(str(number), sku, draw(st.integers(1, 9)), None, placement))
    return Order("shop", "1", tuple(lines))


def parts_of(*lines: OrderLine) -> tuple[DemandPart, ...]:
    """The parts of an order of these lines."""
    return demand_parts(Order("shop", "1", lines))


@given(orders())
def test_the_parts_of_an_order_have_each_unit_of_each_line_once(order: Order) -> None:
    counts: dict[str, int] = {}
    for part in demand_parts(order):
        units = dict[str, int]()
        for line, count in part.line_units(0, part.set_count):
            counts[line.line_id] = counts.get(line.line_id, 0) + count
            units[line.sku] = units.get(line.sku, 0) + count
        assert units == {sku: count * part.set_count for sku, count in part.units.items()}
    assert counts == {line.line_id: line.unit_count for line in order.lines}


@given(orders())
def test_a_part_uses_no_location_that_one_of_its_lines_may_not_use(order: Order) -> None:
    placements = {line.line_id: line.placement for line in order.lines}
    for part in demand_parts(order):
        for line in part.lines:
            allowed = {location_id for location_id in "abc" if part.placement.allows(location_id)}
            assert all(placements[line.line_id].allows(location_id) for location_id in allowed)


def test_lines_of_one_sku_with_the_same_restriction_are_one_part() -> None:
    only = Placement(only_location_ids=frozenset("a"))
    parts = parts_of(OrderLine("1", "A", 2), OrderLine("2", "A", 3, None, only), OrderLine("3", "A", 1))
    assert [([x.line_id for x in part.lines], part.set_count) for part in parts] == [(["1", "3"], 3), (["2"], 3)]
    assert [(line.line_id, count) for line, count in parts[0].line_units(1, 2)] == [("1", 1), ("3", 1)]


def test_lines_that_are_kept_together_are_one_set() -> None:
    together = Placement(keep_together="set")
    (part,) = parts_of(OrderLine("1", "A", 2, None, together), OrderLine("2", "B", 3, None, together))
    assert (part.set_count, part.units, part.set_size) == (1, {"A": 2, "B": 3}, 5)


def test_components_beyond_whole_kits_are_single_units() -> None:
    lines = [OrderLine("1/A", "A", 3, None, Placement(kit_line_id="1", units_per_kit=1))]
    lines.append(OrderLine("1/B", "B", 4, None, Placement(kit_line_id="1", units_per_kit=2)))
    kits, rest = parts_of(*lines)
    assert (kits.set_count, kits.units) == (2, {"A": 1, "B": 2})
    assert (rest.set_count, rest.units) == (1, {"A": 1})


def test_what_is_left_of_an_item_of_several_kits_is_whole_kits() -> None:
    """Items of two kits; after a cancellation two items, a kit, and one loose unit are left."""
    lines = [
        OrderLine("1/A", "A", 6, None, Placement(kit_line_id="1", units_per_kit=2), kit=KitPart("1", "KIT", 1)),
        OrderLine("1/B", "B", 10, None, Placement(kit_line_id="1", units_per_kit=4), kit=KitPart("1", "KIT", 2)),
    ]
    items, kit, rest = parts_of(*lines)
    assert (items.set_count, items.units, items.kits) == (2, {"A": 2, "B": 4}, {"KIT": 2})
    assert (kit.set_count, kit.units, kit.kits) == (1, {"A": 1, "B": 2}, {"KIT": 1})
    assert (rest.set_count, rest.units, rest.kits) == (1, {"A": 1}, {})


def test_an_order_is_placed_freely_if_no_line_has_a_placement() -> None:
    free, kept = OrderLine("1", "A", 1), OrderLine("2", "A", 1, None, Placement(keep_together="set"))
    assert is_placed_freely(Order("shop", "1", (free,)))
    assert not is_placed_freely(Order("shop", "1", (free, kept)))
    assert free.placement is ANYWHERE
