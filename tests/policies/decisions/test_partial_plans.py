"""Some units of an order, planned later than the others, get what they could have got with them, and no more."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

import pytest
from hypothesis import Phase, assume, given, seed, settings, strategies as st

from policies.decisions.decision import Decision
from policies.decisions.eligibility import WholeOrder
from policies.decisions.routing import route
from policies.decisions.shortages import ShortageKind
from policies.domain.model import Commitment, Order, OrderFacts, OrderLine, Product, World
from policies.policy_set import PolicySet
from tests.conftest import seeds
from tests.policies.small_retailer import ANYWHERE, TIKTOK, level, policy, rules, sold, store, warehouse, world
from tests.random_rules import random_rules

Units = Mapping[tuple[str, str], int]

SKUS = ("MUG", "CAP")
LOCATIONS = [store("a", priority=1), store("b", priority=2), warehouse("c", priority=3), warehouse("d", priority=4)]
PRODUCTS = [Product(sku, velocity_per_day=velocity) for sku, velocity in zip(SKUS, (1.5, 6.0), strict=True)]
RULES_PER_TEST = 12
GENERATED = settings(max_examples=15, deadline=None, database=None, phases=[Phase.generate])
"""Not shortened, which would take a minute."""
counts = st.integers(0, 12)


@lru_cache
def policy_set_of(number: int, *, with_limits: bool = True) -> PolicySet:
    return rules(*random_rules(number, with_limits=with_limits).values())


@st.composite
def worlds(draw: st.DrawFn) -> World:
    levels = []
    for sku in SKUS:
        for location in draw(st.lists(st.sampled_from(LOCATIONS), min_size=1, unique=True)):
            age = draw(st.sampled_from([None, 5, 300]))
            confidence = draw(st.sampled_from([None, 0.2, 1.0]))
            on_hand, held = draw(counts), draw(st.integers(0, 2))
            levels.append(level(sku, location.id, on_hand, age_minutes=age, held=held, count_confidence=confidence))
    return world(LOCATIONS, levels, PRODUCTS)


@st.composite
def orders(draw: st.DrawFn) -> Order:
    quantities = draw(st.lists(st.tuples(st.sampled_from(SKUS), st.integers(1, 15)), min_size=1, max_size=3))
    lines = tuple(OrderLine(str(number), sku, count) for number, (sku, count) in enumerate(quantities))
    method, chosen = draw(st.sampled_from([("ship", None), ("ship", None), ("pickup", "a")]))
    return Order("tiktok_shop", "1", lines, draw(st.sampled_from(Commitment)), method, None, chosen)


def after(snapshot: World, units: Units) -> World:
    """The world after these units were promised."""
    levels = dict(snapshot.levels)
    for key, count in units.items():
        levels[key] = replace(levels[key], allocated=levels[key].allocated + count)
    return replace(snapshot, levels=levels)


def short(order: Order, placed: Decision) -> Order | None:
    """The units of the order that a decision leaves short."""
    units = Counter[str]()
    for shortage in placed.shortages:
        units[shortage.line_id] += shortage.unit_count
    lines = tuple(replace(line, unit_count=units[line.line_id]) for line in order.lines if units[line.line_id])
    return replace(order, lines=lines) if lines else None


def rest(
    policy_set: PolicySet,
    snapshot: World,
    order: Order,
    part: Order,
    kept: Units,
    *,
    rejected_by: frozenset[tuple[str, str]] = frozenset(),
) -> Decision:
    """The plan of a part of the order, which keeps these units, in the world after they were promised."""
    whole = WholeOrder(OrderFacts.of(order), kept)
    return route(policy_set, after(snapshot, kept), TIKTOK, part, rejected_by=rejected_by, whole=whole)


def by_sku(*units: Units) -> Counter[str]:
    total = Counter[str]()
    for parts in units:
        for (sku, _), count in parts.items():
            total[sku] += count
    return total


@pytest.mark.parametrize("number", seeds(RULES_PER_TEST, of_long_tests=200))
def test_short_units_that_are_planned_again_get_nothing_while_the_stock_is_the_same(number: int) -> None:
    @seed(number)
    @GENERATED
    @given(worlds(), orders())
    def check(snapshot: World, order: Order) -> None:
        policy_set = policy_set_of(number)
        first = route(policy_set, snapshot, TIKTOK, order)
        part = short(order, first)
        # Whether a policy that passes orders on could supply the order's other products is not looked up again.
        assume(part is not None and (not first.tried or len(order.units_by_sku()) == 1))
        assert part is not None

        again = rest(policy_set, snapshot, order, part, first.units)

        assert again.plan == ()
        if order.commitment is Commitment.SOLD:
            # Units that a rule keeps are still no oversell, and units that are not there still are one.
            assert oversold(again) == oversold(first)

    check()


@pytest.mark.parametrize("number", seeds(RULES_PER_TEST, of_long_tests=200))
def test_the_rest_of_an_order_gets_what_the_whole_order_would_get_if_it_were_planned_again(number: int) -> None:
    @seed(number)
    @GENERATED
    @given(worlds(), worlds(), orders(), st.frozensets(st.sampled_from("abcd"), max_size=1))
    def check(earlier: World, snapshot: World, order: Order, rejecting: frozenset[str]) -> None:
        policy_set = policy_set_of(number, with_limits=False)
        first = route(policy_set, earlier, TIKTOK, order)
        kept = {key: count for key, count in first.units.items() if key in snapshot.levels}
        kept = {key: min(count, max(0, snapshot.levels[key].available)) for key, count in kept.items()}
        missing = Counter(order.units_by_sku()) - by_sku(kept)
        part = of_units(order, missing)
        assume(part is not None)
        assert part is not None
        rejected_by = frozenset((sku, location_id) for sku in SKUS for location_id in rejecting)

        later = rest(policy_set, snapshot, order, part, kept, rejected_by=rejected_by)
        whole = route(policy_set, after(snapshot, kept), TIKTOK, order, kept, rejected_by=rejected_by)

        assert by_sku(later.units, kept) == by_sku(whole.units)
        assert oversold(later) == oversold(whole)

    check()


def of_units(order: Order, units: Mapping[str, int]) -> Order | None:
    """The last units of the order, as many of each SKU."""
    remaining, lines = Counter(units), []
    for line in reversed(order.lines):
        count = min(line.unit_count, remaining[line.sku])
        remaining[line.sku] -= count
        if count:
            lines.append(replace(line, unit_count=count))
    return replace(order, lines=tuple(reversed(lines))) if lines else None


def oversold(decision: Decision) -> Counter[str]:
    units = Counter[str]()
    for shortage in decision.shortages:
        if shortage.kind is ShortageKind.OVERSELL:
            units[shortage.sku] += shortage.unit_count
    return units


def kept_at(**units: int) -> Units:
    return {("MUG", location_id): count for location_id, count in units.items()}


def stocked(**units: int) -> World:
    return world(LOCATIONS, [level("MUG", location_id, count) for location_id, count in units.items()])


def test_shipments_that_the_order_keeps_count_towards_its_limit() -> None:
    kept, order = kept_at(a=5, b=5), sold({"MUG": 14})

    later = rest(rules(policy(max_shipments=2)), stocked(a=5, b=7, c=9), order, sold({"MUG": 4}), kept)

    assert later.units == kept_at(b=2)
    assert [(x.kind, x.unit_count) for x in later.shortages] == [(ShortageKind.UNFILLABLE, 2)]


def test_a_limit_that_is_not_reached_leaves_room_for_another_location() -> None:
    later = rest(
        rules(policy(max_shipments=2)), stocked(a=5, b=7, c=9), sold({"MUG": 14}), sold({"MUG": 9}), kept_at(a=5)
    )

    assert later.units == kept_at(c=9)


def test_a_ship_complete_order_gets_no_part_while_other_units_of_it_are_short() -> None:
    complete, part = rules(policy(ship_complete="true")), sold({"MUG": 2})
    whole = WholeOrder(OrderFacts.of(sold({"MUG": 5})), has_other_shortages=True)

    decision = route(complete, stocked(a=9), TIKTOK, part, whole=whole)

    assert decision.plan == ()
    assert route(complete, stocked(a=9), TIKTOK, part).units == kept_at(a=2)


def test_a_policy_that_could_not_fill_the_whole_order_does_not_fill_the_rest_of_it() -> None:
    passing = """
kind: routing
policies:
  - {name: warehouses, position: 1, only: {location.type: warehouse}, rank: [priority], otherwise: next}
  - {name: stores, position: 2, only: {location.type: store}, rank: [priority]}
"""
    order, part, kept = sold({"MUG": 12}), sold({"MUG": 2}), kept_at(a=10)

    assert rest(rules(passing), stocked(a=10, c=3), order, part, kept).plan == ()
    assert rest(rules(passing), stocked(a=10, c=12), order, part, kept).units == kept_at(c=2)


def test_stock_of_a_location_that_rejected_the_order_covers_the_channel_buffer() -> None:
    whole_buffer = "kind: buffer\nname: whole\nscope: channel\nrules:\n  - {name: five, hold_back: {units: 5}}\n"
    decision = route(
        rules(whole_buffer, ANYWHERE),
        stocked(a=9, b=6),
        TIKTOK,
        sold({"MUG": 6}),
        rejected_by=frozenset({("MUG", "a")}),
    )

    assert decision.units == kept_at(b=6)
