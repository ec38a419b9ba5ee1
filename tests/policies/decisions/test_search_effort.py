"""How much work a search for the best set of locations takes, in counted steps: the same on every machine.

What a search passes over without looking is invisible in its answer, which other tests compare with trying everything.
It shows in the steps. A change that makes them more makes large orders end without the best plan.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from math import inf
from random import Random

from policies.decisions.planning.plan_steps import UNKNOWN_ESTIMATE, ShippingEstimate
from policies.decisions.planning.sets.candidate_stock import CandidateStock
from policies.decisions.planning.sets.set_search import MAX_STEPS, SetSearch
from policies.domain.model import go_on
from policies.domain.rate_table import ShippingCost

FRIDAY = date(2026, 11, 27)
NEAREST, PREFER, PRIORITY = "nearest", "prefer", "priority"
FEWEST, CHEAPEST, SOONEST = "fewest_shipments", "lowest_cost", "earliest_promise"
LOCATION_STEPS = (NEAREST, PREFER, PRIORITY)
RANKINGS = (
    [FEWEST, NEAREST],
    [FEWEST, CHEAPEST, NEAREST],
    [CHEAPEST, FEWEST],
    [SOONEST, FEWEST, PRIORITY],
    [PREFER, FEWEST, NEAREST],
    [FEWEST, SOONEST, CHEAPEST],
    [FEWEST, PRIORITY, PREFER],
    [PRIORITY, FEWEST],
)


def search(number: int) -> SetSearch:
    """A search that has run: an order of 6 to 14 products at 9 to 22 locations, all by the number."""
    random = Random(number)
    ids = [f"store-{index:02}" for index in range(random.randint(9, 22))]
    skus = [f"SKU-{index:02}" for index in range(random.randint(6, 14))]
    most, share = random.choice([1, 3, 30]), random.choice([0.25, 0.4, 0.6])
    demand = {sku: random.randint(1, most) for sku in skus}
    stock = {sku: {key: random.randint(1, most + 1) for key in ids if random.random() < share} for sku in skus}
    steps = RANKINGS[number % len(RANKINGS)]
    classes = random.choice([1, 3, 1_000])
    columns = sum(step in LOCATION_STEPS for step in steps)
    ranks = {key: tuple(float(random.randint(0, classes)) for _ in range(columns)) for key in ids}
    per_unit, per_kg = random.choice([[Decimal("0.10")], [Decimal(0), Decimal("0.10"), Decimal("0.20")]]), Decimal(0)
    weights: dict[str, float] = {}
    if random.random() < 0.4:
        per_kg = Decimal("0.45")
        weights = {sku: random.choice([100, 250, 1_500, *[inf] * (random.random() < 0.1)]) for sku in skus}
    estimates = {
        key: ShippingEstimate(
            ShippingCost(Decimal(random.choice(["4.90", "5", "9.90", "7.20"])), random.choice(per_unit), per_kg),
            FRIDAY + timedelta(random.randint(0, 3)),
        )
        for key in ids
        if random.random() < 0.95
    }
    candidates = CandidateStock.of(demand, stock, ranks, go_on, weights)
    limit = random.choice([len(ids), len(ids), 3, 5])
    by_candidate = [estimates.get(key, UNKNOWN_ESTIMATE) for key in candidates.ids]
    found = SetSearch(candidates, steps, limit, by_candidate, go_on)
    found.run()
    return found


STEPS_TAKEN = [
    *(1655, 635, 3230, 557, 1033, 15866, 463, 279),
    *(731, 1233, 1420, 1463, 105, 9362, 1249, 134),
    *(804, 1380, 534, 624, 698, 2666, 491, 176),
    *(3895, 542, 62212, 930, 168, 1035, 13394, 155),
    *(520, 2744, 1654, 1090, 999, 4408, 1214, 7602),
    *(787, 932, 769, 1227, 135, 827, 457, 496),
    *(511, 1166, 825, 1958, 825, 520, 9516, 41),
    *(1702, 544, 320, 1029, 323, 15663, 2206, 234),
    *(554, 502, 1460, 881, 539, 410, 1090, 15140),
    *(398, 1082, 1823, 1565, 1064, 1948, 518, 160),
    *(5241, 849, 5636, 939, 171, 556, 734, 240),
    *(1891, 840, 400, 2003, 573, 6730, 1046, 713),
]
"""Of the searches 0, 1, ...; each row has one for each of RANKINGS."""


def test_a_search_takes_no_more_and_no_fewer_steps_than_it_did() -> None:
    assert [MAX_STEPS - search(number).counter.left for number in range(len(STEPS_TAKEN))] == STEPS_TAKEN
