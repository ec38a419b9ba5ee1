"""Properties of every decision, whatever the stock, the rules and the order."""

from dataclasses import replace

from hypothesis import given, settings, strategies as st

from policies.decisions.availability.sellable import assess_availability
from policies.decisions.decision import Decision
from policies.decisions.eligibility import RoutingQuestion
from policies.decisions.order_limits import usable_units
from policies.decisions.planning.planning_memory import PolicyView
from policies.decisions.routing import route
from policies.domain.model import Commitment, Coordinates, Location, Order, OrderLine, World
from policies.policy_set import PolicySet
from tests.policies.small_retailer import ANYWHERE, TIKTOK, TO_OSLO, level, policy, rules, world

SKUS = ("MUG", "CAP", "PEN")
PLACES = "abcdef"

BUFFERS = """
kind: buffer
name: floor
scope: location
combine: sum
rules:
  - {name: two, when: {location.type: store}, hold_back: {units: 2}}
  - {name: tenth, when: {stock.age_minutes: {more_than: 30}}, hold_back: {percent: 10}}
"""
TRUST = """
kind: exposure
name: trust
rules:
  - {name: untrusted, when: {stock.count_confidence: {less_than: 0.5}}, block: not counted}
"""
WHOLE = """
kind: buffer
name: whole
scope: channel
rules:
  - {name: three, hold_back: {units: 3}}
  - {name: few, publish_zero_at_or_below: 1}
  - {name: many, cap: 12}
"""
STRICT = policy(
    rank="[fewest_shipments, {nearest: {band_km: 300}}, {prefer: {when: {location.type: warehouse}}}, deepest_stock]",
    max_shipments=2,
    exclude="[{name: stocktake, when: {location.status: stocktake}}]",
)
LENIENT = policy(rank="[priority, deepest_stock]", sold_may_use="[buffer, blocked]")
TWO = """
kind: routing
policies:
  - {name: one, position: 1, only: {location.type: warehouse}, rank: [nearest], otherwise: next}
  - {name: all, position: 2, rank: [nearest, fewest_shipments], sold_may_use: [buffer]}
"""
POLICY_SETS = [
    rules(BUFFERS, TRUST, WHOLE, STRICT),
    rules(BUFFERS, TRUST, LENIENT),
    rules(BUFFERS, WHOLE, TWO),
    rules(ANYWHERE),
]
WITHOUT_LIMIT = [POLICY_SETS[1], POLICY_SETS[3], rules(BUFFERS, TRUST, WHOLE, ANYWHERE)]

policy_sets = st.sampled_from(POLICY_SETS)
small = st.integers(0, 9)


@st.composite
def places(draw: st.DrawFn, key: str) -> Location:
    at = draw(st.none() | st.builds(Coordinates, st.integers(55, 70), st.integers(5, 20)))
    status = draw(st.sampled_from(["open", "open", "stocktake", "closed"]))
    kind = draw(st.sampled_from(["store", "warehouse"]))
    return Location(key, kind, status, coordinates=at, priority=draw(st.none() | st.integers(0, 2)))


@st.composite
def worlds(draw: st.DrawFn) -> World:
    keys = draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=6, unique=True))
    pairs = draw(st.lists(st.tuples(st.sampled_from(SKUS), st.sampled_from(keys)), unique=True, max_size=18))
    levels = [
        level(
            *pair,
            on_hand=draw(small),
            held=draw(st.integers(0, 2)),
            age_minutes=draw(st.sampled_from([None, 5, 60])),
            count_confidence=draw(st.sampled_from([None, 0.2, 1.0])),
        )
        for pair in pairs
    ]
    return world([draw(places(key)) for key in keys], levels)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    quantities = draw(st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 8)), min_size=1, max_size=4))
    lines = tuple(OrderLine(str(number), sku, count) for number, (sku, count) in enumerate(quantities))
    commitment, destination = draw(st.sampled_from(Commitment)), draw(st.sampled_from([None, TO_OSLO]))
    method, chosen = draw(st.sampled_from([("ship", None), ("pickup", None), ("pickup", "a")]))
    return Order("tiktok_shop", "1", lines, commitment, method, destination, chosen)


def decide(policy_set: PolicySet, snapshot: World, order: Order) -> Decision:
    return route(policy_set, snapshot, TIKTOK, order)


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), orders())
def test_placed_and_short_units_add_up_to_the_ordered_units(
    policy_set: PolicySet, snapshot: World, order: Order
) -> None:
    decision = decide(policy_set, snapshot, order)

    for line in order.lines:
        placed = sum(part.unit_count for item in decision.plan for part in item.lines if part.line_id == line.line_id)
        short = sum(item.unit_count for item in decision.shortages if item.line_id == line.line_id)
        assert placed + short == line.unit_count
        assert all(
            part.sku == line.sku for item in decision.plan for part in item.lines if part.line_id == line.line_id
        )


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), orders(), st.data())
def test_units_add_up_also_where_the_order_has_units_or_stock_is_untracked(
    policy_set: PolicySet, snapshot: World, order: Order, data: st.DataObject
) -> None:
    levels = {
        key: replace(stock, on_hand=stock.on_hand + stock.held, tracked=data.draw(st.booleans()))
        for key, stock in snapshot.levels.items()
    }
    own_units = {key: stock.held for key, stock in levels.items()}

    decision = route(policy_set, replace(snapshot, levels=levels), TIKTOK, order, own_units)

    placed, short = sum(decision.units.values()), sum(item.unit_count for item in decision.shortages)
    assert placed + short == sum(line.unit_count for line in order.lines)


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), orders())
def test_no_location_ships_more_than_the_order_may_use_there(
    policy_set: PolicySet, snapshot: World, order: Order
) -> None:
    decision = decide(policy_set, snapshot, order)

    question = RoutingQuestion.of(snapshot, TIKTOK, order, {})
    allowed = usable_units(PolicyView(policy_set, question, decision.policy), order)
    for (sku, location_id), count in decision.units.items():
        assert count <= allowed.units[sku][location_id] <= snapshot.levels[sku, location_id].available
        assert snapshot.locations[location_id].status != "closed"
    assert all(sum(item.unit_count for item in shipment.lines) > 0 for shipment in decision.plan)
    assert len(decision.plan) <= (decision.policy.max_shipments or len(snapshot.locations))


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), orders())
def test_a_hold_never_gets_more_than_was_published(policy_set: PolicySet, snapshot: World, order: Order) -> None:
    hold = replace(order, commitment=Commitment.HOLD)
    decision = decide(policy_set, snapshot, hold)

    for sku in order.units_by_sku():
        published = assess_availability(
            policy_set, snapshot, TIKTOK, sku, method=order.method, destination=order.destination
        )
        if decision.policy != published.policy:
            continue
        figures = {figure.location_id: figure.sellable for figure in published.locations}
        taken = {key: count for (taken_sku, key), count in decision.units.items() if taken_sku == sku}
        assert sum(taken.values()) <= published.sellable
        assert all(count <= figures[key] for key, count in taken.items())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(WITHOUT_LIMIT), worlds(), st.sampled_from(SKUS))
def test_one_hold_can_get_all_published_units(policy_set: PolicySet, snapshot: World, sku: str) -> None:
    published = assess_availability(policy_set, snapshot, TIKTOK, sku)
    if published.sellable == 0:
        return

    decision = decide(policy_set, snapshot, Order("tiktok_shop", "1", (OrderLine("1", sku, published.sellable),)))

    assert published.largest_single_order == published.sellable
    assert decision.shortages == ()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(POLICY_SETS[:2]), worlds(), st.sampled_from(SKUS))
def test_the_largest_single_order_is_the_largest_that_one_hold_gets(
    policy_set: PolicySet, snapshot: World, sku: str
) -> None:
    published = assess_availability(policy_set, snapshot, TIKTOK, sku)

    greedy = decide(policy_set, snapshot, Order("tiktok_shop", "1", (OrderLine("1", sku, 10_000),)))
    assert sum(greedy.units.values()) == published.largest_single_order


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), orders())
def test_the_same_order_again_keeps_its_units(policy_set: PolicySet, snapshot: World, order: Order) -> None:
    first = decide(policy_set, snapshot, order)
    taken = first.units
    after = {key: replace(stock, held=stock.held + taken.get(key, 0)) for key, stock in snapshot.levels.items()}

    again = route(policy_set, replace(snapshot, levels=after), TIKTOK, order, taken)

    assert again.shortages == first.shortages
    # A policy that passed the order on may fill it now from other locations, because the order's own units are usable.
    assert again.units == taken or first.tried


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), orders())
def test_decisions_do_not_depend_on_the_order_of_the_data(policy_set: PolicySet, snapshot: World, order: Order) -> None:
    reversed_order = replace(
        snapshot,
        locations=dict(reversed(list(snapshot.locations.items()))),
        levels=dict(reversed(list(snapshot.levels.items()))),
    )

    assert (
        decide(policy_set, snapshot, order)
        == decide(policy_set, snapshot, order)
        == decide(policy_set, reversed_order, order)
    )


@settings(max_examples=150, deadline=None)
@given(worlds(), orders())
def test_names_and_order_of_rule_files_do_not_matter(snapshot: World, order: Order) -> None:
    decision, reversed_order = decide(POLICY_SETS[0], snapshot, order), decide(REVERSED_FILES, snapshot, order)

    assert (decision.plan, decision.shortages, decision.outcome) == (
        reversed_order.plan,
        reversed_order.shortages,
        reversed_order.outcome,
    )
    assert [rule.name for rule in decision.fired] == [rule.name for rule in reversed_order.fired]


REVERSED_FILES = rules(STRICT, WHOLE, TRUST, BUFFERS)


@settings(max_examples=150, deadline=None)
@given(policy_sets, worlds(), orders())
def test_units_saved_by_the_buffer_were_placed_for_a_sold_order(
    policy_set: PolicySet, snapshot: World, order: Order
) -> None:
    decision = decide(policy_set, snapshot, order)

    placed: dict[str, int] = {}
    for (sku, _), count in decision.units.items():
        placed[sku] = placed.get(sku, 0) + count
    assert all(0 < count <= placed[sku] for sku, count in decision.buffer_saved.items())
    assert not decision.buffer_saved or order.commitment is Commitment.SOLD
