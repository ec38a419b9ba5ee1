"""The search for the best set of locations, compared with all possible sets."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.planning.plans import Plan, best_plan

Stock = Mapping[str, Mapping[str, int]]
Ranks = Mapping[str, tuple[float, ...]]
LOCATIONS = "abcdef"
SKUS = ("MUG", "CAP", "PEN")


@st.composite
def problems(draw: st.DrawFn) -> tuple[dict[str, int], Stock, Ranks, list[str], int | None]:
    location_ids = draw(st.lists(st.sampled_from(LOCATIONS), min_size=1, max_size=6, unique=True))
    skus = draw(st.lists(st.sampled_from(SKUS), min_size=1, max_size=3, unique=True))
    demand = {sku: draw(st.integers(1, 6)) for sku in skus}
    stock = {sku: {key: draw(st.integers(0, 5)) for key in location_ids} for sku in skus}
    steps = draw(st.permutations(["fewest_shipments", "nearest", "prefer"]))
    ranks = {key: (float(draw(st.integers(0, 3))), float(draw(st.integers(0, 1)))) for key in location_ids}
    return demand, stock, ranks, steps, draw(st.one_of(st.none(), st.integers(1, 4)))


def placed_units(plan: Plan) -> int:
    return sum(sum(load.units.values()) for load in plan.loads)


def filled(chosen: Sequence[str], demand: Mapping[str, int], stock: Stock) -> dict[str, dict[str, int]]:
    remaining, loads = dict(demand), {}
    for key in chosen:
        units = {sku: min(remaining[sku], stock[sku].get(key, 0)) for sku in remaining}
        remaining = {sku: remaining[sku] - units[sku] for sku in remaining}
        if any(units.values()):
            loads[key] = {sku: count for sku, count in units.items() if count}
    return loads


def key_of(loads: Mapping[str, Mapping[str, int]], ranks: Ranks, steps: Sequence[str]) -> tuple[object, ...]:
    parts: list[object] = [-sum(sum(units.values()) for units in loads.values())]
    location_steps = [step for step in steps if step != "fewest_shipments"]
    for step in steps:
        is_count = step == "fewest_shipments"
        parts.append(len(loads) if is_count else sorted(ranks[key][location_steps.index(step)] for key in loads))
    return (*parts, sorted(loads))


def best_of_all(
    demand: Mapping[str, int], stock: Stock, ranks: Ranks, steps: Sequence[str], limit: int | None
) -> dict[str, dict[str, int]]:
    ids = sorted(ranks, key=lambda key: (ranks[key], key))
    sizes = range((len(ids) if limit is None else min(limit, len(ids))) + 1)
    every = (filled(chosen, demand, stock) for size in sizes for chosen in combinations(ids, size))
    return min(every, key=lambda loads: key_of(loads, ranks, steps))


@pytest.mark.thorough
@settings(max_examples=800, deadline=None)
@given(problems())
def test_the_set_found_is_the_best_of_all_sets(
    problem: tuple[dict[str, int], Stock, Ranks, list[str], int | None],
) -> None:
    demand, stock, ranks, steps, limit = problem

    plan = best_plan(demand, stock, ranks, steps=steps, max_shipments=limit)

    assert plan.searched_exhaustively
    assert {load.location_id: dict(load.units) for load in plan.loads} == best_of_all(
        demand, stock, ranks, steps, limit
    )


@settings(max_examples=300, deadline=None)
@given(problems())
def test_without_a_plan_step_locations_are_filled_in_rank_order(
    problem: tuple[dict[str, int], Stock, Ranks, list[str], int | None],
) -> None:
    demand, stock, ranks, _, limit = problem

    plan = best_plan(demand, stock, ranks, steps=["nearest", "prefer"], max_shipments=limit)

    in_order = filled(sorted(ranks, key=lambda key: (ranks[key], key)), demand, stock)
    assert [load.location_id for load in plan.loads] == list(in_order)[:limit]
    assert [dict(load.units) for load in plan.loads] == list(in_order.values())[:limit]


@settings(max_examples=300, deadline=None)
@given(problems(), st.randoms())
def test_the_order_of_candidates_does_not_change_the_plan(
    problem: tuple[dict[str, int], Stock, Ranks, list[str], int | None], random: object
) -> None:
    demand, stock, ranks, steps, limit = problem
    reversed_ranks = {key: ranks[key] for key in reversed(list(ranks))}
    reversed_stock = {sku: dict(reversed(list(levels.items()))) for sku, levels in stock.items()}

    assert best_plan(demand, reversed_stock, reversed_ranks, steps=steps, max_shipments=limit) == best_plan(
        demand, stock, ranks, steps=steps, max_shipments=limit
    )


def test_two_near_stores_are_passed_over_for_one_far_store_that_has_it_all() -> None:
    stock = {"MUG": {"near": 1, "far": 2}, "CAP": {"next-door": 1, "far": 1}}
    ranks = {"near": (0.0,), "next-door": (1.0,), "far": (500.0,)}

    plan = best_plan({"MUG": 2, "CAP": 1}, stock, ranks, steps=["fewest_shipments", "nearest"])

    assert [load.location_id for load in plan.loads] == ["far"]


def test_a_step_before_fewest_shipments_counts_first() -> None:
    stock = {"MUG": {"near": 1, "far": 2}}
    ranks = {"near": (0.0,), "far": (500.0,)}

    plan = best_plan({"MUG": 2}, stock, ranks, steps=["nearest", "fewest_shipments"])

    assert [(load.location_id, load.units) for load in plan.loads] == [("near", {"MUG": 1}), ("far", {"MUG": 1})]


def test_a_search_that_reaches_its_limit_says_so_and_still_covers_the_order() -> None:
    random = Random(1)
    stock = {f"SKU-{n}": {f"store-{at}": 1 for at in range(60) if random.random() < 0.1} for n in range(80)}
    ranks = {f"store-{at}": (0.0,) for at in range(60)}

    plan = best_plan(dict.fromkeys(stock, 1), stock, ranks, steps=["fewest_shipments", "nearest"])

    assert not plan.searched_exhaustively
    assert placed_units(plan) == sum(bool(levels) for levels in stock.values())


@pytest.mark.parametrize(("a", "b"), [((0, 1, 0), (0, 0, 1)), ((0, 0, 1), (0, 0, 0)), ((1, 0, 0), (0, 1, 1))])
def test_each_location_step_compares_its_own_ranks(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    """Location b is better in the first step in which the two differ; of many products, sets are searched by size."""
    skus = [f"SKU-{number}" for number in range(6)]

    plan = best_plan(
        dict.fromkeys(skus, 1),
        {sku: {"a": 1, "b": 1} for sku in skus},
        {"a": a, "b": b},
        steps=["fewest_shipments", "prefer", "priority", "nearest"],
    )

    assert [load.location_id for load in plan.loads] == ["b"]
