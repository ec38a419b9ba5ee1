"""Why units of restricted lines, of groups and of kits are short: no unit explains the shortage of two others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from policies.decisions.availability.location_availability import LocationAvailability
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.kits.kit_limits import KitLimit
from policies.decisions.order_limits import UsableUnits
from policies.decisions.parts.dropped_lines import dropped_lines
from policies.decisions.parts.part_shortages import part_shortages
from policies.decisions.planning.plans import Load, Plan
from policies.decisions.shortages import (
    KEPT_TOGETHER,
    LINE_RESTRICTED,
    NO_CAPACITY,
    OUTLET_SHORT,
    TOO_LATE,
    ShortageKind,
)
from policies.domain.demand import demand_parts
from policies.domain.kits import Kit, KitPart, of_kit
from policies.domain.model import Order, OrderFacts, OrderLine
from policies.domain.placement import ANYWHERE, Placement
from policies.explanation import DropReason, FiredRule
from policies.source.problems import Source
from tests.policies.small_retailer import TIKTOK, store, world

FREE, ONLY_A, NOT_A = Placement(), Placement(frozenset("a")), Placement(not_location_ids=frozenset("a"))
TOGETHER = Placement(keep_together="set")
UNFILLABLE, OVERSELL = ShortageKind.UNFILLABLE, ShortageKind.OVERSELL
BUFFER, BLOCK = ShortageKind.HELD_BY_BUFFER, ShortageKind.BLOCKED_BY_RULE
SHOPS = world([store("a"), store("b")], [])
Found = list[tuple[str, int, ShortageKind, str]]


def usable(units: Mapping[str, Mapping[str, int]] | None = None, **more: Any) -> UsableUnits:
    return UsableUnits(units=units or {}, **{"limits": {}, "kept_units": {}, "channel_rules": {"MUG": ()}} | more)


def order_of(*lines: tuple[str, int, Placement]) -> Order:
    return Order(TIKTOK.id, "1", tuple(OrderLine(str(n), sku, count, None, placement)
                                       for n, (sku, count, placement) in enumerate(lines, 1)))  # fmt: skip


def short(
    order: Order, offered: UsableUnits, *loads: Load, kits: Mapping[str, KitLimit] | None = None
) -> list[tuple[str, int, ShortageKind, str]]:
    """Line, units, kind, and the cause or the rules, of each shortage."""
    question = RoutingQuestion(SHOPS, TIKTOK, OrderFacts())
    found = part_shortages(demand_parts(order), question, order, offered, Plan(loads), kits=kits or {})
    return [(x.line_id, x.unit_count, x.kind, x.cause or ",".join(x.rules)) for x in found]


TWO_LINES = order_of(("MUG", 3, ONLY_A), ("MUG", 3, NOT_A))
"""Neither line may use what the other may, and each is three mugs short."""

HELD = LocationAvailability("b", "MUG", 4, 4, 0, fired=(FiredRule("floor", Source("x", 1), "b", "MUG", "", None),))
BLOCKED = LocationAvailability("b", "MUG", 4, 0, 0, (FiredRule("safe", Source("x", 1), "b", "MUG", "", None),))


@pytest.mark.parametrize(
    ("offered", "causes"),
    [
        (usable(beyond_capacity={"MUG": {"a": 4}}), (UNFILLABLE, NO_CAPACITY)),
        (usable(outside_outlet={"MUG": 4}), (UNFILLABLE, OUTLET_SHORT)),
        (usable(too_late={"MUG": 4}), (UNFILLABLE, TOO_LATE)),
    ],
)
def test_what_one_line_could_have_had_but_for_a_limit_is_not_what_another_could_have_had(
    offered: UsableUnits, causes: tuple[ShortageKind, str]
) -> None:
    assert short(TWO_LINES, offered) == [("1", 3, *causes), ("2", 1, *causes), ("2", 2, OVERSELL, "")]


@pytest.mark.parametrize(("figure", "kind", "rule"), [(HELD, BUFFER, "floor"), (BLOCKED, BLOCK, "safe")])
def test_units_that_a_rule_keeps_explain_only_what_may_come_from_there(
    figure: LocationAvailability, kind: ShortageKind, rule: str
) -> None:
    """Shop b keeps four mugs: the line that may use shop a alone is oversold."""
    offered = usable({"MUG": {}}, figures=lambda sku: [figure])
    two_more = order_of(("MUG", 3, ONLY_A), ("MUG", 3, NOT_A), ("MUG", 3, Placement(frozenset("b"))))

    assert short(two_more, offered) == [
        ("1", 3, OVERSELL, ""),
        ("2", 3, kind, rule),
        ("3", 1, kind, rule),
        ("3", 2, OVERSELL, ""),
    ]


def test_units_at_other_locations_explain_a_shortage_once() -> None:
    """Four mugs are left at b; the two lines may use a alone, or nothing that there is."""
    lines = order_of(("MUG", 3, ONLY_A), ("MUG", 3, Placement(frozenset("c"))))

    assert short(lines, usable({"MUG": {"b": 4}})) == [
        ("1", 3, UNFILLABLE, LINE_RESTRICTED),
        ("2", 1, UNFILLABLE, LINE_RESTRICTED),
        ("2", 2, OVERSELL, ""),
    ]


def test_units_that_the_plan_ships_explain_no_shortage() -> None:
    """Of five mugs three go to the first line: two are left for the second, which may use them."""
    lines = order_of(("MUG", 3, ONLY_A), ("MUG", 4, FREE))

    assert short(lines, usable({"MUG": {"a": 5}}), Load("a", {"MUG": 3}, {"1": 3})) == [
        ("2", 2, UNFILLABLE, ""),
        ("2", 2, OVERSELL, ""),
    ]


def test_a_limit_of_all_locations_explains_no_more_units_than_it_leaves() -> None:
    """Nine mugs are there, of which the order may use five: what it cannot have of the others a buffer keeps."""
    rules = (FiredRule("half", Source("x", 1), None, "MUG", "", None),)
    offered = usable({"MUG": {"a": 4, "b": 5}}, limits={"MUG": 5}, channel_rules={"MUG": rules})

    assert short(order_of(("MUG", 4, FREE), ("MUG", 6, ONLY_A)), offered) == [
        ("1", 4, UNFILLABLE, ""),
        ("2", 4, BUFFER, "half"),
        ("2", 1, UNFILLABLE, LINE_RESTRICTED),
        ("2", 1, OVERSELL, ""),
    ]


@pytest.mark.parametrize(
    ("placement", "counts", "cause"),
    [(FREE, (2, 0), ""), (TOGETHER, (1, 1), KEPT_TOGETHER), (TOGETHER, (2, 1), KEPT_TOGETHER)],
)
def test_only_lines_that_are_kept_together_are_short_for_that(
    placement: Placement, counts: tuple[int, int], cause: str
) -> None:
    mugs, caps = counts
    lines = order_of(("MUG", mugs, placement), *([("CAP", caps, placement)] if caps else []))

    found = short(lines, usable({"MUG": {"a": 9}, "CAP": {"b": 9}}))

    assert found[0] == ("1", mugs, UNFILLABLE, cause)


# Kits


def lines_of(kit: Kit, count: int, line_id: str = "1") -> tuple[OrderLine, ...]:
    parts = [(sku, KitPart(line_id, kit.sku, size, kit.may_split)) for sku, size in kit.components.items()]
    return tuple(
        OrderLine(f"{line_id}/{sku}", sku, count * part.unit_count, None, of_kit(ANYWHERE, part, None), kit=part)
        for sku, part in parts
    )


PLENTY = usable({"MUG": {"a": 99}, "BOWL": {"a": 99}}, channel_rules={"MUG": (), "BOWL": ()})


@pytest.mark.parametrize("may_split", [False, True])
def test_kits_that_rules_of_the_kit_keep_are_short_for_these_rules_once(may_split: bool) -> None:
    """Rules keep one kit each from two orders' worth of lines; of the other kits not all components are together."""
    kit = Kit("SET", {"MUG": 1, "BOWL": 2}, may_split)
    order = Order(TIKTOK.id, "1", (*lines_of(kit, 2, "1"), *lines_of(kit, 2, "2")))
    limit = KitLimit({}, None, 1, ("floor",), 2, ("safe",))

    found = short(order, PLENTY, kits={"SET": limit})

    assert found == [
        ("1/MUG", 1, BUFFER, "floor"),
        ("1/MUG", 1, BLOCK, "safe"),
        ("1/BOWL", 2, BUFFER, "floor"),
        ("1/BOWL", 2, BLOCK, "safe"),
        ("2/MUG", 1, BLOCK, "safe"),
        ("2/MUG", 1, UNFILLABLE, KEPT_TOGETHER),
        ("2/BOWL", 2, BLOCK, "safe"),
        ("2/BOWL", 2, UNFILLABLE, KEPT_TOGETHER),
    ]


def test_units_of_a_line_beyond_whole_kits_are_short_where_only_the_kits_ship() -> None:
    """Of five mugs, in kits of two, two kits ship."""
    line = OrderLine("1", "MUG", 5, None, Placement(kit_line_id="1", units_per_kit=2))

    found = short(Order(TIKTOK.id, "1", (line,)), usable({"MUG": {"a": 4}}), Load("a", {"MUG": 4}, {"1": 4}))

    assert found == [("1", 1, OVERSELL, "")]


def test_rules_of_one_kit_explain_what_is_short_of_it_where_another_is_free() -> None:
    """Two kits are kept together, of which only the second has rules."""
    kits = [Kit("FREE", {"MUG": 1}), Kit("SET", {"MUG": 1})]
    lines = tuple(
        OrderLine(str(n), "MUG", 1, None, TOGETHER, kit=KitPart(str(n), kit.sku, 1)) for n, kit in enumerate(kits, 1)
    )

    found = short(Order(TIKTOK.id, "1", lines), PLENTY, kits={"SET": KitLimit({}, None, 1, ("floor",))})

    assert found == [("1", 1, BUFFER, "floor"), ("2", 1, UNFILLABLE, KEPT_TOGETHER)]


# Locations


def test_a_location_is_dropped_for_a_line_that_may_not_use_it_or_that_it_lacks() -> None:
    parts = demand_parts(order_of(("MUG", 1, NOT_A), ("MUG", 2, TOGETHER), ("CAP", 1, TOGETHER)))

    found = dropped_lines(parts, usable({"MUG": {"a": 1, "b": 2}, "CAP": {"b": 1}}))

    assert [(x.location_id, x.sku, x.line_id, x.reason) for x in found] == [
        ("a", "MUG", "1", DropReason.LINE_RESTRICTED),
        ("a", "MUG", "2", DropReason.NOT_WHOLE),
        ("a", "CAP", "3", DropReason.NOT_WHOLE),
    ]


def test_a_location_that_a_group_may_not_use_is_dropped_for_the_lines_that_it_has() -> None:
    not_a = Placement(not_location_ids=frozenset("a"), keep_together="set")
    parts = demand_parts(order_of(("MUG", 1, not_a), ("CAP", 1, not_a)))

    found = dropped_lines(parts, usable({"MUG": {"a": 1}}))

    assert [(x.location_id, x.sku, x.line_id) for x in found] == [("a", "MUG", "1")]
