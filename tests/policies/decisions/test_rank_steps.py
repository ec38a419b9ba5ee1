"""Steps of `rank`: how each ranks locations, and the search with plan steps compared with all possible sets."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import combinations
from math import inf

import pytest
from hypothesis import given, settings, strategies as st

from policies.decisions.availability.sellable import assess_availability
from policies.decisions.planning.plan_steps import ShippingEstimate
from policies.decisions.planning.plans import best_plan
from policies.decisions.routing import route
from policies.domain.model import Location, Product, StockLevel
from policies.domain.rate_table import ShippingCost
from policies.policy_set import PLAN_STEPS, PolicySet
from tests.policies.small_retailer import TIKTOK, level, order, policy, rules, sold, store, world

LOCATIONS = [store("a"), store("b"), store("c")]
MUG, CAP, PEN = Product("MUG", velocity_per_day=2), Product("CAP", velocity_per_day=10), Product("PEN")


def ranked(step: str) -> PolicySet:
    return rules(policy(rank=f"[{step}]"))


def first(step: str, demand: Mapping[str, int], levels: Sequence[StockLevel]) -> list[str]:
    """The locations in the order in which they ship units of the demand."""
    snapshot = world(LOCATIONS, levels, [MUG, CAP, PEN])
    return [item.location_id for item in route(ranked(step), snapshot, TIKTOK, sold(demand)).plan]


def test_the_location_with_most_days_of_cover_ships_first() -> None:
    levels = [level("MUG", "a", 4), level("MUG", "b", 6), level("MUG", "c", 5)]

    assert first("most_days_of_cover", {"MUG": 15}, levels) == ["b", "c", "a"]


def test_the_product_with_the_fewest_days_of_cover_decides() -> None:
    levels = [level("MUG", "a", 90), level("CAP", "a", 10), level("MUG", "b", 4)]

    assert first("most_days_of_cover", {"MUG": 94, "CAP": 1}, levels) == ["b", "a"]


def test_a_product_that_is_sold_out_at_a_location_says_nothing_of_its_cover_there() -> None:
    levels = [level("MUG", "a", 90), level("CAP", "a", 1, held=1), level("MUG", "b", 4), level("CAP", "b", 20)]

    assert first("most_days_of_cover", {"MUG": 94, "CAP": 1}, levels) == ["a", "b"]


def test_unknown_days_of_cover_come_last_and_products_without_velocity_are_ignored() -> None:
    levels = [level("PEN", "a", 500), level("PEN", "b", 1), level("MUG", "b", 1)]

    assert first("most_days_of_cover", {"PEN": 501, "MUG": 1}, levels) == ["b", "a"]


def test_days_of_cover_count_available_units_and_not_units_on_hand() -> None:
    levels = [level("MUG", "a", 9, allocated=8), level("MUG", "b", 2)]

    assert first("most_days_of_cover", {"MUG": 3}, levels) == ["b", "a"]


def test_a_product_that_is_sold_out_at_a_location_makes_its_stock_no_deeper() -> None:
    levels = [level("MUG", "a", 1), level("CAP", "a", 1), level("MUG", "b", 2), level("CAP", "b", 0)]

    assert first("deepest_stock", {"MUG": 3, "CAP": 1}, levels) == ["a", "b"]


def test_the_location_with_the_most_reliable_counts_ships_first() -> None:
    levels = [
        level("MUG", "a", 1),
        level("MUG", "b", 1, count_confidence=0.7),
        level("MUG", "c", 1, count_confidence=0.9),
    ]

    assert first("most_reliable", {"MUG": 3}, levels) == ["c", "b", "a"]


def test_the_product_with_the_lowest_count_confidence_decides() -> None:
    levels = [
        level("MUG", "a", 1, count_confidence=1.0),
        level("CAP", "a", 1, count_confidence=0.5),
        level("MUG", "b", 1, count_confidence=0.6),
        level("MUG", "c", 1, count_confidence=1.0),
        level("CAP", "c", 1),
    ]

    assert first("most_reliable", {"MUG": 3, "CAP": 2}, levels) == ["b", "a", "c"]


def test_the_location_that_covers_most_products_in_full_ships_first() -> None:
    levels = [level("MUG", "a", 9), level("CAP", "a", 1), level("MUG", "b", 3), level("CAP", "b", 2)]

    assert first("covers_most", {"MUG": 3, "CAP": 2}, levels) == ["b"]


def test_a_location_without_a_stock_level_covers_nothing() -> None:
    levels = [level("CAP", "a", 9), level("MUG", "b", 9), level("CAP", "b", 1)]

    assert first("covers_most", {"MUG": 1, "CAP": 1}, levels) == ["b"]


def test_held_back_units_do_not_count_as_coverage() -> None:
    buffer = (
        "kind: buffer\nname: f\nscope: location\nrules: [{name: one, when: {location.id: a}, hold_back: {units: 1}}]\n"
    )
    snapshot = world(LOCATIONS, [level("MUG", "a", 2), level("MUG", "b", 2)])

    result = route(rules(policy(rank="[covers_most]"), buffer), snapshot, TIKTOK, order({"MUG": 2}))
    assert [item.location_id for item in result.plan] == ["b"]


@pytest.mark.parametrize("limit", [1, 2])
def test_the_largest_single_order_can_be_filled_under_covers_most(limit: int) -> None:
    policy_set = rules(policy(rank="[covers_most]", max_shipments=limit))
    snapshot = world(LOCATIONS, [level("MUG", "a", 3), level("MUG", "b", 10), level("MUG", "c", 4)])

    largest = assess_availability(policy_set, snapshot, TIKTOK, "MUG").largest_single_order
    assert largest == max(
        count for count in range(1, 18) if not route(policy_set, snapshot, TIKTOK, order({"MUG": count})).shortages
    )


Problem = tuple[
    dict[str, int],
    dict[str, dict[str, int]],
    dict[str, tuple[float, ...]],
    list[str],
    int | None,
    dict[str, ShippingEstimate],
]

DAYS = st.none() | st.integers(0, 4).map(lambda days: date(2026, 11, 27) + timedelta(days))
AMOUNTS = st.sampled_from(["0", "0.10", "0.20", "0.30", "4.90", "5"]).map(Decimal)
COSTS = st.none() | st.builds(ShippingCost, AMOUNTS, AMOUNTS)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    location_ids = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=6, unique=True))
    skus = draw(st.lists(st.sampled_from(["MUG", "CAP", "PEN"]), min_size=1, max_size=3, unique=True))
    demand = {sku: draw(st.integers(1, 6)) for sku in skus}
    stock = {sku: {key: draw(st.integers(0, 5)) for key in location_ids} for sku in skus}
    ranks: dict[str, tuple[float, ...]] = {key: (float(draw(st.integers(0, 2))),) for key in location_ids}
    steps = draw(st.permutations(["fewest_shipments", "lowest_cost", "earliest_promise", "nearest"]))
    dropped = draw(st.sets(st.sampled_from(["fewest_shipments", "lowest_cost", "earliest_promise"]), max_size=2))
    estimates = {key: ShippingEstimate(draw(COSTS), draw(DAYS)) for key in location_ids if draw(st.integers(0, 9))}
    limit = draw(st.none() | st.integers(1, 4))
    return demand, stock, ranks, [step for step in steps if step not in dropped], limit, estimates


def filled(
    chosen: Sequence[str], demand: Mapping[str, int], stock: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    remaining, loads = dict(demand), {}
    for key in chosen:
        units = {sku: min(remaining[sku], stock[sku][key]) for sku in remaining}
        remaining = {sku: remaining[sku] - units[sku] for sku in remaining}
        if any(units.values()):
            loads[key] = {sku: count for sku, count in units.items() if count}
    return loads


def part_of(step: str, loads: Mapping[str, Mapping[str, int]], problem: Problem) -> object:
    _, _, ranks, _, _, estimates = problem
    known_estimates = [estimates.get(key, ShippingEstimate()) for key in loads]
    match step:
        case "fewest_shipments":
            return len(loads)
        case "lowest_cost":
            priced = [
                (item.cost, sum(units.values())) for item, units in zip(known_estimates, loads.values(), strict=True)
            ]
            costs = [cost.of(count) for cost, count in priced if cost is not None]
            return sum(costs, Decimal(0)) if len(costs) == len(loads) else inf
        case "earliest_promise":
            return max(
                [inf if item.arrives is None else item.arrives.toordinal() for item in known_estimates], default=0
            )
        case _:
            return sorted(ranks[key][0] for key in loads)


def key_of(loads: Mapping[str, Mapping[str, int]], problem: Problem) -> tuple[object, ...]:
    given = sum(sum(units.values()) for units in loads.values())
    return (-given, *[part_of(step, loads, problem) for step in problem[3]], sorted(loads))


@pytest.mark.long
@settings(max_examples=1_000, deadline=None)
@given(problems())
def test_with_every_plan_step_the_set_found_is_the_best_of_all_sets(problem: Problem) -> None:
    demand, stock, ranks, steps, limit, estimates = problem
    ids = sorted(ranks, key=lambda key: (ranks[key], key))
    sizes = range((len(ids) if limit is None else min(limit, len(ids))) + 1)
    every = [filled(chosen, demand, stock) for size in sizes for chosen in combinations(ids, size)]

    result = best_plan(demand, stock, ranks, steps=steps, max_shipments=limit, estimates=estimates)

    assert any(step in PLAN_STEPS for step in steps)
    assert result.searched_exhaustively
    loads = {load.location_id: dict(load.units) for load in result.loads}
    assert loads == min(every, key=lambda loads: key_of(loads, problem))


def test_costs_are_added_without_rounding_errors() -> None:
    costs = {
        key: ShippingEstimate(ShippingCost(Decimal(amount)))
        for key, amount in {"a": "0.1", "b": "0.2", "c": "0.3"}.items()
    }
    stock = {"MUG": {"a": 1, "b": 1, "c": 2}}
    ranks = {"a": (0.0,), "b": (0.0,), "c": (1.0,)}

    result = best_plan({"MUG": 2}, stock, ranks, steps=["lowest_cost", "nearest"], estimates=costs)
    assert [load.location_id for load in result.loads] == ["a", "b"]


def test_many_locations_are_searched_within_the_limit() -> None:
    ids = [f"store-{number:02}" for number in range(40)]
    costs = {key: ShippingEstimate(ShippingCost(Decimal(5), Decimal(number % 7))) for number, key in enumerate(ids)}
    stock = {sku: {key: (number + offset) % 3 for number, key in enumerate(ids)} for offset, sku in enumerate("XYZ")}

    result = best_plan(
        dict.fromkeys("XYZ", 4),
        stock,
        dict.fromkeys(ids, ()),
        steps=["fewest_shipments", "lowest_cost"],
        estimates=costs,
    )
    assert sum(sum(load.units.values()) for load in result.loads) == 12


def test_any_rank_step_keeps_a_location_sellable() -> None:
    location = Location("a", "store")

    assert (
        assess_availability(ranked("most_reliable"), world([location], [level("MUG", "a", 3)]), TIKTOK, "MUG").sellable
        == 3
    )
