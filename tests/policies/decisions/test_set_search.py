"""The search for the best set of locations: every combination of steps, realistic orders, and what it says beyond."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import reduce
from itertools import combinations
from math import inf
from operator import or_
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.planning.plan_steps import UNKNOWN_ESTIMATE, ShippingEstimate
from policies.decisions.planning.plans import Plan, best_plan
from policies.decisions.planning.sets.branch_search import BranchSearch, units_within_reach
from policies.decisions.planning.sets.candidate_pool import CandidatePool
from policies.decisions.planning.sets.candidate_stock import CandidateStock
from policies.decisions.planning.sets.set_comparison import SetComparison
from policies.decisions.planning.sets.set_search import SetSearch
from policies.decisions.planning.sets.subset_tables import StepCounter
from policies.domain.model import go_on
from policies.domain.rate_table import ShippingCost, ShippingRates, WeightBands

STEPS = ["fewest_shipments", "nearest", "prefer", "priority", "lowest_cost", "earliest_promise"]
LOCATION_STEPS = ("nearest", "prefer", "priority")
DAYS = st.none() | st.integers(0, 3).map(lambda days: date(2026, 11, 27) + timedelta(days))
SHIPMENT_COSTS = st.sampled_from(["0", "4.90", "5", "9.90"]).map(Decimal)
KILOGRAM_COSTS = st.sampled_from(["0", "0.10", "0.45", "3"]).map(Decimal)
UNIT_COSTS = st.sampled_from(["0", "0.10", "0.20"]).map(Decimal)


@dataclass(frozen=True)
class Problem:
    demand: Mapping[str, int]
    stock: Mapping[str, Mapping[str, int]]
    ranks: Mapping[str, tuple[float, ...]]
    steps: Sequence[str]
    limit: int | None
    estimates: Mapping[str, ShippingEstimate]
    weights: Mapping[str, float] = field(default_factory=dict)

    def plan(self) -> Plan:
        return best_plan(
            self.demand,
            self.stock,
            self.ranks,
            steps=self.steps,
            max_shipments=self.limit,
            estimates=self.estimates,
            weights=self.weights,
        )

    def candidates(self) -> CandidateStock:
        return CandidateStock.of(self.demand, self.stock, self.ranks, go_on, self.weights)

    def loads(self, chosen: Sequence[str]) -> dict[str, dict[str, int]]:
        """What each location ships if these are filled in rank order."""
        left, loads = dict(self.demand), {}
        for key in chosen:
            units = {sku: min(count, self.stock[sku].get(key, 0)) for sku, count in left.items()}
            left = {sku: left[sku] - units[sku] for sku in left}
            if any(units.values()):
                loads[key] = {sku: count for sku, count in units.items() if count}
        return loads

    def key(self, loads: Mapping[str, Mapping[str, int]]) -> tuple[object, ...]:
        unit_count = sum(sum(counts.values()) for counts in loads.values())
        return (-unit_count, *[self.part(step, loads) for step in self.steps], sorted(loads))

    def part(self, step: str, units: Mapping[str, Mapping[str, int]]) -> object:
        known = {key: self.estimates.get(key, UNKNOWN_ESTIMATE) for key in units}
        if step == "fewest_shipments":
            return len(units)
        if step == "lowest_cost":
            costs = [self.cost(x.cost, units[key]) for key, x in known.items()]
            stated = [cost for cost in costs if cost is not None]
            return sum(stated, Decimal(0)) if len(stated) == len(units) else inf
        if step == "earliest_promise":
            return max([inf if x.arrives is None else x.arrives.toordinal() for x in known.values()], default=0)
        column = [name for name in self.steps if name in LOCATION_STEPS].index(step)
        return sorted(self.ranks[key][column] for key in units)

    def cost(self, rates: ShippingRates | None, units: Mapping[str, int]) -> Decimal | None:
        """What these units cost to ship, by hand."""
        grams = sum(self.weights.get(sku, inf) * count for sku, count in units.items())
        if isinstance(rates, WeightBands):
            rates = next((cost for up_to_grams, cost in rates.bands if grams <= up_to_grams), None)
        if rates is None or (rates.per_kg and grams == inf):
            return None
        by_weight = rates.per_kg * int(grams) / 1000 if rates.per_kg else Decimal(0)
        return rates.per_shipment + rates.per_unit * sum(units.values()) + by_weight

    def best_of_all(self) -> dict[str, dict[str, int]]:
        ids = sorted(self.ranks, key=lambda key: (self.ranks[key], key))
        sizes = range((len(ids) if self.limit is None else min(self.limit, len(ids))) + 1)
        every = [self.loads(chosen) for size in sizes for chosen in combinations(ids, size)]
        return min(every, key=self.key)


@st.composite
def problems(draw: st.DrawFn, most_locations: int = 7) -> Problem:
    ids = draw(
        st.lists(
            st.sampled_from("abcdefghijkl"[: most_locations + 1]), min_size=1, max_size=most_locations, unique=True
        )
    )
    skus = [f"SKU-{number}" for number in range(draw(st.integers(4, 6)))]
    most = draw(st.sampled_from([1, 2, 4, 20, 200]))
    demand = {sku: draw(st.integers(1, most)) for sku in skus}
    random = Random(draw(st.integers(0, 2**32)))
    share, deepest = draw(st.sampled_from([0.2, 0.4, 0.7])), draw(st.sampled_from([1, 2, 15, 120]))
    stock = {sku: {key: random.randint(1, deepest) for key in ids if random.random() < share} for sku in skus}
    steps = draw(st.permutations(STEPS))[: draw(st.integers(1, len(STEPS)))]
    if not set(steps) - set(LOCATION_STEPS):
        steps.append(draw(st.sampled_from(["fewest_shipments", "lowest_cost", "earliest_promise"])))
    columns = sum(step in LOCATION_STEPS for step in steps)
    classes = draw(st.integers(0, 5))
    ranks = {key: tuple(float(random.randint(0, classes)) for _ in range(columns)) for key in ids}
    costs: st.SearchStrategy[ShippingRates | None]
    if draw(st.booleans()):
        per_unit = draw(UNIT_COSTS)
        costs = st.none() | st.builds(ShippingCost, SHIPMENT_COSTS, st.just(per_unit))
    else:
        costs = st.none() | st.builds(ShippingCost, SHIPMENT_COSTS, UNIT_COSTS)
    weights: dict[str, float] = {}
    if draw(st.booleans()):
        costs = st.one_of(costs, weighed_costs(draw))
        weights = {sku: draw(st.sampled_from([100, 250, 250, 1_500, 1_500, inf])) for sku in skus}
    estimates = {key: ShippingEstimate(draw(costs), draw(DAYS)) for key in ids if random.random() < 0.9}
    return Problem(demand, stock, ranks, steps, draw(st.none() | st.integers(1, 5)), estimates, weights)


def weighed_costs(draw: st.DrawFn) -> st.SearchStrategy[ShippingRates]:
    """Costs by weight: the same per kilogram everywhere, or not, or by bands."""
    per_kg = draw(KILOGRAM_COSTS)
    same = st.builds(ShippingCost, SHIPMENT_COSTS, st.just(Decimal("0.10")), st.just(per_kg))
    amounts = st.builds(ShippingCost, SHIPMENT_COSTS, UNIT_COSTS, KILOGRAM_COSTS)
    limits = st.sampled_from([(250.0, 2_000.0), (500.0, 5_000.0), (1_000.0, inf), (inf,)])
    bands = limits.flatmap(lambda ends: st.tuples(*[st.tuples(st.just(end), amounts) for end in ends]))
    return draw(st.sampled_from([same, same | amounts, bands.map(WeightBands) | amounts, bands.map(WeightBands)]))


def check_best(problem: Problem) -> None:
    plan = problem.plan()

    assert plan.searched_exhaustively
    assert {load.location_id: dict(load.units) for load in plan.loads} == problem.best_of_all()


@settings(max_examples=120, deadline=None)
@given(problems())
def test_the_plan_is_the_best_of_all_sets_by_any_steps(problem: Problem) -> None:
    check_best(problem)


@pytest.mark.long
@settings(max_examples=500, deadline=None)
@given(problems(9))
def test_the_plan_is_the_best_of_all_sets_by_any_steps_in_many_cases(problem: Problem) -> None:
    check_best(problem)


@settings(max_examples=60, deadline=None)
@given(problems(12))
def test_a_search_by_size_finds_the_set_that_a_search_in_rank_order_finds(problem: Problem) -> None:
    candidates = problem.candidates()
    limit = len(candidates.ids) if problem.limit is None else problem.limit
    estimates = [problem.estimates.get(key, UNKNOWN_ESTIMATE) for key in candidates.ids]
    by_size = SetSearch(candidates, problem.steps, limit, estimates, go_on)
    in_rank_order = BranchSearch(candidates, problem.steps, limit, estimates, go_on)

    if candidates.ids and by_size.run() and in_rank_order.run():
        assert by_size.best == in_rank_order.best


def realistic_order(seed: int, *, units: int = 1, lines: int = 50, locations: int = 50) -> Problem:
    """Each location has 30 to 60 % of the products of the order, none has all of them."""
    random = Random(seed)
    skus, ids = [f"SKU-{n:02}" for n in range(lines)], [f"store-{n:02}" for n in range(locations)]
    stock: dict[str, dict[str, int]] = {sku: {} for sku in skus}
    for key in ids:
        for sku in random.sample(skus, round(lines * random.uniform(0.3, 0.6))):
            stock[sku][key] = random.randint(1, 10)
    ranks = {key: (random.uniform(1, 4_000),) for key in ids}
    demand = {sku: random.randint(1, units) for sku in skus}
    return Problem(demand, stock, ranks, ["fewest_shipments", "nearest"], None, {})


def first_to_cover(problem: Problem, size: int) -> list[str] | None:
    """The first locations by rank of which so many cover everything, by trying all; None if none do."""
    ids = sorted(problem.ranks, key=lambda key: problem.ranks[key])
    bits = {sku: 1 << number for number, sku in enumerate(problem.demand)}
    has = {key: sum(bit for sku, bit in bits.items() if key in problem.stock[sku]) for key in ids}
    whole = (1 << len(bits)) - 1
    every = combinations(ids, size)
    return next((list(chosen) for chosen in every if reduce(or_, [has[key] for key in chosen]) == whole), None)


@pytest.mark.parametrize("seed", range(4))
def test_a_large_order_ships_from_the_first_of_the_fewest_locations(seed: int) -> None:
    problem = realistic_order(seed)
    plan = problem.plan()

    shipments = [load.location_id for load in plan.loads]
    assert plan.searched_exhaustively
    assert first_to_cover(problem, len(shipments) - 1) is None
    assert first_to_cover(problem, len(shipments)) == shipments


@pytest.mark.parametrize("limit", [2, 3])
@pytest.mark.parametrize("scale", [1, 30])
@pytest.mark.parametrize("seed", range(6))
def test_a_large_order_within_few_shipments_gets_the_most_units_that_any_have(
    seed: int, limit: int, scale: int
) -> None:
    small = realistic_order(seed, units=2, lines=12, locations=14)
    stock = {sku: {key: min(2, count) * scale for key, count in counts.items()} for sku, counts in small.stock.items()}
    demand = {sku: count * scale for sku, count in small.demand.items()}
    ranks = {key: (distance // 1_500,) for key, (distance,) in small.ranks.items()}
    problem = replace(small, demand=demand, stock=stock, ranks=ranks, limit=limit)
    plan = problem.plan()

    ids = sorted(problem.ranks, key=lambda key: (problem.ranks[key], key))
    best = min((problem.loads(chosen) for chosen in combinations(ids, limit)), key=problem.key)
    assert plan.searched_exhaustively
    assert {load.location_id: dict(load.units) for load in plan.loads} == best


def test_where_no_location_may_ship_nothing_is_left_to_supply() -> None:
    candidates = CandidateStock.of({"MUG": 2, "CAP": 1}, {"MUG": {"a": 5}, "CAP": {"a": 5}}, {}, go_on)

    assert (candidates.ids, candidates.demand) == ((), (0, 0))


def test_locations_are_searched_by_their_own_rank_in_each_step() -> None:
    ranks = {"a": (1.0, 2.0, 3.0), "b": (4.0, 5.0, 6.0)}
    candidates = CandidateStock.of({"MUG": 1}, {"MUG": {"a": 1, "b": 1}}, ranks, go_on)
    steps = ["prefer", "fewest_shipments", "priority", "nearest"]
    numbers = SetComparison(candidates, steps, [UNKNOWN_ESTIMATE] * 2).numbers()

    by_step = {step.name: step.numbers for step in numbers if step.compares_members}
    assert by_step == {"prefer": (1, 4), "priority": (2, 5), "nearest": (3, 6), "": (0, 1)}


def test_the_largest_locations_supply_the_most_together() -> None:
    assert units_within_reach([2, 5, 1], 2) == [[0, 5, 7], [0, 5, 6], [0, 1, 1]]


def test_a_location_does_not_count_twice_when_it_is_asked_whether_so_many_are_enough() -> None:
    """MUG takes three locations, CAP and PEN one each; twice the first one would have all mugs."""
    caps, pens = [f"cap-{n}" for n in range(4)], [f"pen-{n}" for n in range(4)]
    stock = {"MUG": {"a": 2, "b": 1, "c": 1}, "CAP": dict.fromkeys(caps, 1), "PEN": dict.fromkeys(pens, 1)}
    ranks = dict.fromkeys(["a", "b", "c", *caps, *pens], (0.0,))
    candidates = CandidateStock.of({"MUG": 4, "CAP": 1, "PEN": 1}, stock, ranks, go_on)
    pool = CandidatePool(candidates, range(len(ranks)), StepCounter(100_000, go_on))

    assert not pool.can_cover(pool.needs, 4)
    assert pool.can_cover(pool.needs, 5)


def test_sets_of_the_same_cost_are_compared_by_the_next_step() -> None:
    """Ten as four and six, or as five and five, which is nearer."""
    cost = {"a": "4", "a2": "4", "a3": "4", "b": "6", "c": "5", "c2": "5", "c3": "5", "d": "5", "most": "50", "x": "50"}
    has = {"a": "12", "b": "34", "c": "13", "d": "24", "m": "123", "x": "1"}
    stock = {f"SKU-{n}": {key: 1 for key in cost if n in has[key[0]]} for n in "1234"}
    ranks = {
        key: (float(number),) for number, key in enumerate(["x", "c", "d", "b", "a", "a2", "a3", "c2", "c3", "most"])
    }
    estimates = {key: ShippingEstimate(ShippingCost(Decimal(amount))) for key, amount in cost.items()}
    steps = ["fewest_shipments", "lowest_cost", "nearest"]

    plan = Problem(dict.fromkeys(stock, 1), stock, ranks, steps, None, estimates).plan()
    assert [load.location_id for load in plan.loads] == ["c", "d"]


@pytest.mark.long
@pytest.mark.parametrize(
    "problem",
    [
        {"units": 1},
        {"units": 3},
        {"units": 6},
        {"units": 3, "lines": 20, "locations": 20},
        {"units": 2, "locations": 100},
    ],
    ids=str,
)
def test_large_orders_on_realistic_stock_are_searched_exhaustively(problem: dict[str, int]) -> None:
    assert sum(realistic_order(seed, **problem).plan().searched_exhaustively for seed in range(40)) >= 38


def test_a_search_beyond_its_steps_says_how_few_shipments_there_might_be() -> None:
    random = Random(1)
    stock = {f"SKU-{n}": {f"store-{at}": 1 for at in range(60) if random.random() < 0.1} for n in range(80)}
    ranks = {f"store-{at}": (float(at),) for at in range(60)}
    problem = Problem(dict.fromkeys(stock, 1), stock, ranks, ["fewest_shipments", "nearest"], None, {})

    plan = problem.plan()
    assert not plan.searched_exhaustively
    assert 0 < plan.fewest_shipments < len(plan.loads)
    assert problem.plan() == plan
