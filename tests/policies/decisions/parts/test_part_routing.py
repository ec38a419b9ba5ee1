"""Decisions about orders whose lines have restrictions or groups: what they keep to, and why units are short."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from hypothesis import given, settings, strategies as st

from policies.decisions.decision import Decision
from policies.decisions.eligibility import WholeOrder
from policies.decisions.routing import route
from policies.decisions.shortages import KEPT_TOGETHER, LINE_RESTRICTED, ShortageKind
from policies.domain.demand import demand_parts
from policies.domain.model import Commitment, Order, OrderFacts, OrderLine, World
from policies.domain.placement import Placement
from policies.explanation import DropReason
from policies.policy_set import PolicySet
from service.decisions.decision_messages import decision_message
from tests.policies.decisions.test_routing_properties import orders, policy_sets, worlds
from tests.policies.small_retailer import ANYWHERE, NOW, TIKTOK, level, policy, rules, store, world

ID = UUID(int=1)
RULES = rules(ANYWHERE)
IN_ORDER = rules(policy(rank="[priority]"))


def placed(order: Order, **placements: Placement) -> Order:
    """The order with placements for some of its lines, as `line_1=...`."""
    lines = tuple(replace(x, placement=placements.get(f"line_{x.line_id}", x.placement)) for x in order.lines)
    return replace(order, lines=lines)


@st.composite
def placed_orders(draw: st.DrawFn) -> Order:
    """An order with restricted lines, lines kept together, and kits."""
    order = draw(orders())
    locations = st.frozensets(st.sampled_from("abcdef"), min_size=1, max_size=4)
    lines = []
    for line in order.lines:
        only, without = draw(st.none() | locations), draw(st.just(frozenset[str]()) | locations)
        kit, size = draw(st.sampled_from([("", 0), ("", 0), ("k", 1), ("k", 2)]))
        placement = Placement(only, without, draw(st.sampled_from(["", "", "set"])), kit, size)
        lines.append(replace(line, placement=placement))
    return replace(order, lines=tuple(lines))


def message(decision: Decision) -> bytes:
    return decision_message(decision, "", ID, NOW).SerializeToString(deterministic=True)


@settings(max_examples=40, deadline=None)
@given(policy_sets, worlds(), orders(), st.booleans())
def test_planning_by_parts_decides_an_order_without_any_as_planning_by_sku(
    policy_set: PolicySet, snapshot: World, order: Order, is_partial: bool
) -> None:
    """A placement that allows everything takes the way of restricted lines: it must come to the same decision."""
    free = replace(order, lines=tuple(replace(line, placement=Placement()) for line in order.lines))
    kept = {key: min(1, stock.held) for key, stock in snapshot.levels.items()}
    whole = WholeOrder(OrderFacts.of(order), kept, has_other_shortages=True) if is_partial else None
    rejected = frozenset(list(snapshot.levels)[:2]) if is_partial else frozenset()

    first = route(policy_set, snapshot, TIKTOK, order, rejected_by=rejected, whole=whole)
    second = route(policy_set, snapshot, TIKTOK, free, rejected_by=rejected, whole=whole)

    assert second == first
    assert message(second) == message(first)


@settings(max_examples=50, deadline=None)
@given(policy_sets, worlds(), placed_orders())
def test_no_decision_breaks_a_restriction_or_a_group(policy_set: PolicySet, snapshot: World, order: Order) -> None:
    decision = route(policy_set, snapshot, TIKTOK, order)

    lines = {line.line_id: line for line in order.lines}
    counts = dict.fromkeys(lines, 0)
    for shipment in decision.plan:
        for line in shipment.lines:
            assert lines[line.line_id].placement.allows(shipment.location_id)
            assert line.sku == lines[line.line_id].sku
            counts[line.line_id] += line.unit_count
    for short in decision.shortages:
        counts[short.line_id] += short.unit_count
    assert counts == {line.line_id: line.unit_count for line in order.lines}
    assert all(count <= snapshot.levels[key].available for key, count in decision.units.items())
    together = [x for x in order.lines if x.placement.keep_together]
    sources = {
        shipment.location_id: sum(x.unit_count for x in shipment.lines if lines[x.line_id] in together)
        for shipment in decision.plan
    }
    assert sorted(filter(None, sources.values())) in ([], [sum(x.unit_count for x in together)])


@settings(max_examples=40, deadline=None)
@given(policy_sets, worlds(), placed_orders())
def test_kits_ship_whole(policy_set: PolicySet, snapshot: World, order: Order) -> None:
    """Of a location's kit lines, no more single units than the order has beyond whole kits are without their mates."""
    decision = route(policy_set, snapshot, TIKTOK, order)

    for part in demand_parts(order):
        if part.set_size == 1 or part.set_count == 1:
            continue
        rests = {line.line_id: line.unit_count for other in demand_parts(order) if other.set_size == 1
                 for line in other.lines}  # fmt: skip
        for shipment in decision.plan:
            units = {line.line_id: line.unit_count for line in shipment.lines}
            counts = [(units.get(x.line_id, 0), rests.get(x.line_id, 0), x.units_per_set) for x in part.lines]
            assert any(
                all(0 <= have - kits * size <= rest for have, rest, size in counts)
                for kits in range(part.set_count + 1)
            )


def order_of(*lines: tuple[str, int, Placement], commitment: Commitment = Commitment.SOLD) -> Order:
    """A sold order with lines 1, 2, ... of these SKUs, units and placements."""
    return Order(
        TIKTOK.id,
        "1",
        tuple(OrderLine(str(n), sku, count, None, placement) for n, (sku, count, placement) in enumerate(lines, 1)),
        commitment,
    )


def shipped(decision: Decision) -> dict[str, dict[str, int]]:
    """Units by line, by location."""
    return {x.location_id: {line.line_id: line.unit_count for line in x.lines} for x in decision.plan}


def test_lines_that_no_location_has_whole_are_short_whole() -> None:
    snapshot = world([store("a"), store("b")], [level("MUG", "a", 5), level("CAP", "b", 5)])
    set_of_two = Placement(keep_together="set")
    decision = route(RULES, snapshot, TIKTOK, order_of(("MUG", 2, set_of_two), ("CAP", 1, set_of_two)))

    assert not decision.plan
    assert [(x.line_id, x.unit_count, x.kind, x.cause) for x in decision.shortages] == [
        ("1", 2, ShortageKind.UNFILLABLE, KEPT_TOGETHER),
        ("2", 1, ShortageKind.UNFILLABLE, KEPT_TOGETHER),
    ]
    assert [(x.location_id, x.line_id, x.reason) for x in decision.dropped if x.line_id] == [
        ("a", "2", DropReason.NOT_WHOLE),
        ("b", "1", DropReason.NOT_WHOLE),
    ]


def test_units_of_other_locations_do_not_make_a_restricted_line_an_oversell() -> None:
    snapshot = world([store("a"), store("b")], [level("MUG", "a", 1), level("MUG", "b", 2)])
    only_a = Placement(only_location_ids=frozenset("a"))
    decision = route(RULES, snapshot, TIKTOK, order_of(("MUG", 4, only_a)))

    assert shipped(decision) == {"a": {"1": 1}}
    assert [(x.unit_count, x.kind, x.cause) for x in decision.shortages] == [
        (2, ShortageKind.UNFILLABLE, LINE_RESTRICTED),
        (1, ShortageKind.OVERSELL, ""),
    ]
    assert [(x.location_id, x.reason) for x in decision.dropped if x.line_id] == [("b", DropReason.LINE_RESTRICTED)]


def test_a_restricted_and_a_free_line_share_the_stock_of_their_product() -> None:
    snapshot = world([store("a", priority=1), store("b", priority=2)], [level("MUG", "a", 2), level("MUG", "b", 1)])
    not_b = Placement(not_location_ids=frozenset("b"))
    decision = route(IN_ORDER, snapshot, TIKTOK, order_of(("MUG", 1, Placement()), ("MUG", 2, not_b)))

    assert shipped(decision) == {"a": {"2": 2}, "b": {"1": 1}}


def test_a_location_covers_no_line_that_may_not_ship_from_it() -> None:
    """Both have both products, but a may not ship the mug: b covers more of the order, and ships all of it."""
    snapshot = world([store("a"), store("b")], [level(sku, key, 1) for sku in ("MUG", "CAP") for key in "ab"])
    wanted = order_of(("MUG", 1, Placement(not_location_ids=frozenset({"a"}))), ("CAP", 1, Placement()))

    assert shipped(route(rules(policy(rank="[covers_most]")), snapshot, TIKTOK, wanted)).keys() == {"b"}


def test_two_kits_with_one_component_never_use_it_twice() -> None:
    snapshot = world([store("a")], [level("MUG", "a", 3), level("CAP", "a", 9), level("PEN", "a", 9)])
    first, second = (Placement(kit_line_id=key, units_per_kit=1) for key in "xy")
    decision = route(
        RULES, snapshot, TIKTOK, order_of(("MUG", 2, first), ("CAP", 2, first), ("MUG", 2, second), ("PEN", 2, second))
    )

    assert decision.units == {("MUG", "a"): 3, ("CAP", "a"): 2, ("PEN", "a"): 1}
    assert [(x.line_id, x.unit_count, x.kind) for x in decision.shortages] == [
        ("3", 1, ShortageKind.OVERSELL),
        ("4", 1, ShortageKind.UNFILLABLE),
    ]


def test_kits_may_come_from_two_locations_but_each_from_one() -> None:
    snapshot = world(
        [store("a"), store("b")],
        [level("MUG", "a", 1), level("CAP", "a", 4), level("MUG", "b", 3), level("CAP", "b", 2)],
    )
    kit = [("MUG", 3, Placement(kit_line_id="1", units_per_kit=1)), ("CAP", 6, Placement(kit_line_id="1", units_per_kit=2))]  # fmt: skip  # noqa: E501
    decision = route(RULES, snapshot, TIKTOK, order_of(*kit))

    assert decision.units == {("MUG", "a"): 1, ("CAP", "a"): 2, ("MUG", "b"): 1, ("CAP", "b"): 2}


def test_ship_complete_leaves_an_order_whole_if_a_group_is_short() -> None:
    snapshot = world([store("a")], [level("MUG", "a", 5)])
    complete = rules(policy(ship_complete="true"))
    order = order_of(("MUG", 1, Placement()), ("MUG", 3, Placement(not_location_ids=frozenset("a"))))
    assert not route(complete, snapshot, TIKTOK, order).plan
    assert route(RULES, snapshot, TIKTOK, order).plan


def test_the_next_policy_is_tried_if_the_first_cannot_ship_a_group_whole() -> None:
    text = """
kind: routing
policies:
  - {name: near, position: 1, only: {location.id: a}, rank: [nearest], otherwise: next}
  - {name: all, position: 2, rank: [nearest]}
"""
    snapshot = world([store("a"), store("b")], [level("MUG", "a", 5), level("MUG", "b", 5), level("CAP", "b", 5)])
    together = Placement(keep_together="set")
    decision = route(rules(text), snapshot, TIKTOK, order_of(("MUG", 1, together), ("CAP", 1, together)))
    assert (decision.tried, shipped(decision)) == (("near",), {"b": {"1": 1, "2": 1}})
