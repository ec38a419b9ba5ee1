"""Properties of every explanation: it is of the decision's own plan, and no other plan that it names beats that."""

from dataclasses import replace
from itertools import combinations

from hypothesis import given, settings, strategies as st

from policies.decisions.alternatives.decision_explanation import explain
from policies.decisions.alternatives.plan_comparison import PlanComparison
from policies.decisions.eligibility import WholeOrder
from policies.decisions.planning.plans import Plan
from policies.decisions.routing import RoutedOrder, routed_order
from policies.domain.kits import KitPart
from policies.domain.model import Order, OrderFacts, World
from policies.domain.placement import Placement
from policies.policy_set import PolicySet
from tests.policies.decisions.test_routing_properties import POLICY_SETS, orders, worlds
from tests.policies.small_retailer import TIKTOK, policy, rules

DELIVERY = """
kind: delivery
rules:
  - {name: near, position: 1, when: {location.distance_km: {at_most: 500}}, service: van, transit_days: 1, cost: {per_shipment: 4, per_unit: 1}}
  - {name: far, position: 2, when: {location.distance_km: {at_most: 2000}}, service: post, transit_days: 3, cost: {per_shipment: 6}}
"""  # noqa: E501
SETS = [
    *POLICY_SETS,
    rules(policy(rank="[lowest_cost, nearest]"), DELIVERY),
    rules(policy(rank="[earliest_promise, fewest_shipments]", max_shipments=2), DELIVERY),
    rules(policy(rank="[priority]", max_shipments=1)),
    rules(policy(rank="[fewest_shipments, covers_most]", ship_complete="true")),
    rules(policy(rank="[nearest, fewest_shipments]", split_only_if="{plan.distance_km: {at_most: 1200}}"), DELIVERY),
]


@st.composite
def placed_orders(draw: st.DrawFn) -> Order:
    """Orders some of whose lines ship together, from some locations only, or as a kit that may be split."""
    order = draw(orders())
    placements = st.sampled_from([Placement(), Placement(), Placement(frozenset("abc")), Placement(keep_together="g")])
    lines = [replace(line, placement=draw(placements)) for line in order.lines]
    if draw(st.booleans()) and len({line.sku for line in lines}) > 1:
        kit = KitPart(lines[0].line_id, "KIT", 1, may_split=True)
        first, last = lines[0], next(line for line in lines if line.sku != lines[0].sku)
        count = min(first.unit_count, last.unit_count)
        lines = [replace(line, kit=kit, placement=Placement(), unit_count=count) for line in (first, last)]
    return replace(order, lines=tuple(lines))


def routed(policy_set: PolicySet, snapshot: World, order: Order, whole: WholeOrder | None = None) -> RoutedOrder:
    return routed_order(policy_set, snapshot, TIKTOK, order, whole=whole)


def units(plan: Plan) -> dict[str, int]:
    return {load.location_id: sum(load.units.values()) for load in plan.loads}


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SETS), worlds(), st.one_of(orders(), placed_orders()))
def test_the_explained_plan_is_the_plan_of_the_decision(policy_set: PolicySet, snapshot: World, order: Order) -> None:
    planned = routed(policy_set, snapshot, order)

    explanation, decision = explain(planned), planned.decision()

    promised: dict[str, int] = {}
    for (_, location_id), count in decision.units.items():
        promised[location_id] = promised.get(location_id, 0) + count
    assert {x.location_id: sum(x.units.values()) for x in explanation.chosen.shipments} == promised
    assert [x.location_id for x in explanation.chosen.shipments] == [x.location_id for x in decision.plan]
    assert {x.location_id: x.unit_count for x in explanation.locations if x.unit_count} == promised


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(SETS), worlds(), st.one_of(orders(), placed_orders()), st.data())
def test_no_plan_that_leaves_a_location_out_beats_the_chosen_plan(
    policy_set: PolicySet, snapshot: World, order: Order, data: st.DataObject
) -> None:
    kept = data.draw(st.dictionaries(st.tuples(st.sampled_from(["MUG", "CAP"]), st.sampled_from("ab")), st.just(1)))
    whole = WholeOrder(OrderFacts.of(order), kept) if kept else None
    planned = routed(policy_set, snapshot, order, whole)
    if not planned.plan.searched_exhaustively:
        return
    comparison = PlanComparison(planned)

    for load in planned.plan.loads:
        other = planned.without(frozenset([load.location_id]))

        assert comparison.key(other) > comparison.key(planned.plan)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SETS), worlds(), st.one_of(orders(), placed_orders()))
def test_exactly_one_difference_decides_between_two_plans(policy_set: PolicySet, snapshot: World, order: Order) -> None:
    explanation = explain(routed(policy_set, snapshot, order))

    others = [x.differences for x in (explanation.next_best, explanation.refused) if x is not None]
    for differences in [*others, *[x.differences for x in explanation.locations if x.differences]]:
        assert [difference.decides for difference in differences] == [True] + [False] * (len(differences) - 1)
        assert all(difference.text and difference.chosen != difference.other for difference in differences)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SETS), worlds(), st.one_of(orders(), placed_orders()))
def test_every_location_with_stock_is_ranked_or_dropped(policy_set: PolicySet, snapshot: World, order: Order) -> None:
    planned = routed(policy_set, snapshot, order)

    ranked = {location.location_id for location in explain(planned).locations}
    dropped = {dropped.location_id for dropped in planned.decision().dropped}
    assert ranked | dropped == set(snapshot.locations)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(SETS), worlds(), st.one_of(orders(), placed_orders()))
def test_no_set_of_locations_without_all_of_the_chosen_ones_beats_the_next_best_plan(
    policy_set: PolicySet, snapshot: World, order: Order
) -> None:
    planned = routed(policy_set, snapshot, order)
    explanation, comparison = explain(planned), PlanComparison(planned)
    chosen, ids = set(units(planned.plan)), comparison.ids
    if not chosen or not planned.plan.searched_exhaustively:
        return

    sets = [subset for size in range(1, len(ids) + 1) for subset in combinations(ids, size) if chosen - set(subset)]
    plans = [planned.without(frozenset(ids) - frozenset(subset)) for subset in sets]
    best = min([plan for plan in plans if plan.loads], key=comparison.key, default=None)

    next_best = explanation.next_best
    assert (best is None) == (next_best is None)
    if best is not None and next_best is not None:
        assert units(best) == {x.location_id: sum(x.units.values()) for x in next_best.shipments}
