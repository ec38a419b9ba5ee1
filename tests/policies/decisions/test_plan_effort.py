"""How much work the best plan of an order of few products takes, and what it is, on every machine.

Work is counted in pauses: there is one each time that the search goes on to another set of locations. Such orders are
searched in rank order first and, where that takes too long, by size. A change that makes either take longer makes
orders end without the best plan.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from random import Random

from policies.decisions.planning.plan_steps import ShippingEstimate
from policies.decisions.planning.plans import Plan, best_plan
from policies.domain.rate_table import ShippingCost

FRIDAY = date(2026, 11, 27)
RANKINGS = (
    ["nearest", "fewest_shipments"],
    ["fewest_shipments", "nearest"],
    ["lowest_cost", "nearest"],
    ["fewest_shipments", "lowest_cost"],
    ["nearest", "earliest_promise"],
    ["fewest_shipments"],
    ["lowest_cost", "fewest_shipments"],
)
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def planned(number: int) -> tuple[int, Plan]:
    """The plan of a random order, by the number, and the pauses that it took."""
    random = Random(number)
    steps = RANKINGS[number % len(RANKINGS)]
    ids = LETTERS[: random.choice([3, 8, 16, 40])]
    demand = {sku: random.randint(1, 9) for sku in "ABCD"[: random.randint(1, 4)]}
    deepest, share = random.choice([1, 3, 9]), random.choice([0.3, 0.6, 0.9])
    stock = {sku: {key: random.randint(1, deepest) for key in ids if random.random() < share} for sku in demand}
    estimates = {
        key: ShippingEstimate(
            ShippingCost(
                Decimal(random.randint(3, 9)), Decimal(random.randint(0, 3)) / 10, Decimal(random.randint(0, 2))
            ),
            FRIDAY + timedelta(random.randint(0, 3)),
        )
        for key in ids
    }
    pauses: list[None] = []
    plan = best_plan(
        demand,
        stock,
        {key: (float(random.randint(0, 9)),) if "nearest" in steps else () for key in ids},
        steps=steps,
        max_shipments=random.choice([None, None, 2, 4]),
        estimates=estimates,
        weights={sku: random.choice([100, 700, 1_500]) for sku in demand},
        pause=lambda: pauses.append(None),
    )
    return len(pauses), plan


FOUND: list[tuple[int, str, int]] = [
    *((1046, "DmwE", 0), (31, "dfbh", 0), (3, "", 0), (8, "h", 0), (63, "agbchde", 0), (147, "ab", 0), (24, "a", 0)),
    *((192, "jcfamno", 0), (31, "eda", 0), (327, "Bg", 0), (31, "bc", 0), (228, "dCD", 0), (465, "CEFJm", 0)),
    *((464, "bfop", 0), (17, "bac", 0), (17, "ea", 0), (174, "nige", 0), (40, "E", 0), (31, "cega", 0)),
    *((17, "abc", 0), (36, "af", 0), (74, "fgca", 0), (200, "bgcf", 0), (35, "n", 0), (329, "DMnw", 0)),
    *((131, "Bv", 0), (15, "cd", 0), (199, "Lf", 0), (3, "c", 0), (17, "abc", 0), (18, "g", 0), (31, "abc", 0)),
    *((10, "cb", 0), (27, "ab", 0), (258, "dhnp", 0), (66, "hmbc", 0), (0, "b", 0), (10, "ab", 0)),
    *((1774, "Iahms", 0), (57, "chfbgd", 0), (116, "AE", 0), (199, "Gk", 0), (3, "a", 0), (13, "ac", 0), (67, "p", 0)),
    *((132, "dhjo", 0), (26, "ca", 0), (16, "b", 0), (354, "cgij", 0), (15, "ab", 0), (452, "Jpzb", 0), (34, "d", 0)),
    *((180, "efio", 0), (86, "deag", 0), (94, "abdg", 0), (17, "abc", 0), (14, "ca", 0), (13, "ba", 0), (35, "eg", 0)),
    *((8, "d", 0), (67, "kahd", 0), (569, "ABDa", 0), (32, "bh", 0), (319, "ehpG", 0), (40, "q", 0)),
    *((1670, "aydC", 3), (14, "bc", 0), (17, "cba", 0), (102, "AD", 0), (17, "abc", 0), (10, "ca", 0), (30, "iaj", 0)),
    *((10, "ab", 0), (95, "cgh", 0), (17, "abc", 0), (40, "B", 0), (673, "adejl", 0), (122, "gbok", 0), (0, "f", 0)),
    *((53, "hd", 0), (64, "ai", 0), (147, "Iq", 0), (8, "c", 0), (445, "Au", 0), (168, "klmeopbg", 0), (8, "h", 0)),
    *((15, "ac", 0), (8, "f", 0), (67, "G", 0), (17, "abc", 0), (30, "d", 0), (13, "ac", 0)),
    *((7724, "zDGArtyNenBkCHL", 0), (2907, "EzLhAs", 0), (32, "cdh", 0), (53, "edf", 0), (522, "abdfgk", 0)),
    *((93, "acfh", 0), (23, "bj", 0), (133, "BM", 0), (307, "gdac", 0), (58, "cg", 0), (41, "dcgf", 0), (40, "M", 0)),
    *((17, "abc", 0), (16, "f", 0), (40, "F", 0), (69, "adh", 0), (8, "e", 0), (51, "dahj", 0), (40, "D", 0)),
    *((179, "befg", 0), (162, "jnCMdvHr", 0), (10, "bc", 0), (13, "b", 0), (360, "cdhiklmo", 0), (22, "k", 0)),
    *((17, "be", 0), (90, "abdefh", 0), (67, "fi", 0), (64, "hdafg", 0), (10, "b", 0), (96, "ach", 0), (5, "a", 0)),
    *((57, "abc", 0), (31, "cfh", 0), (3, "b", 0), (0, "b", 0), (61, "bd", 0), (16, "g", 0), (128, "Ff", 0)),
    *((44, "af", 0), (211, "eh", 0), (94, "hjp", 0), (128, "AK", 0), (74, "lc", 0), (179, "Ffm", 0), (5, "b", 0)),
    *((85, "abcf", 0), (17, "abc", 0), (10, "ba", 0), (24, "cb", 0), (2732, "jMr", 0), (8, "a", 0)),
    *((447, "CLnptEIJ", 0), (183, "ABCD", 0), (121, "abcg", 0), (116, "hedg", 0), (98, "ey", 0), (5, "a", 0)),
    *((75, "hl", 0), (156, "AH", 0), (1145, "ACEFHIJ", 0), (88, "K", 0), (52, "cd", 0), (336, "hmbo", 0)),
    *((4890, "dqgvwItm", 8), (855, "AEt", 0), (18, "b", 0), (0, "A", 0), (15, "ab", 0)),
]
"""Pauses, locations and, if not all sets were compared, the fewest shipments of any plan, of the orders 0, 1, ..."""


def test_a_search_takes_no_more_and_no_fewer_pauses_than_it_did() -> None:
    plans = [planned(number) for number in range(len(FOUND))]

    assert [
        (pauses, "".join(load.location_id for load in plan.loads), plan.fewest_shipments) for pauses, plan in plans
    ] == FOUND
    assert all(plan.searched_exhaustively == (plan.fewest_shipments == 0) for _, plan in plans)


def test_the_cheapest_of_150_locations_is_found_by_size_without_a_search_in_rank_order() -> None:
    """So many locations have more sets than a search in rank order may try. All have the two mugs; one ships for 3."""
    ids = [f"store-{number:03}" for number in range(150)]
    costs = {key: ShippingCost(Decimal(3 if key == "store-120" else 9)) for key in ids}
    pauses: list[None] = []

    plan = best_plan(
        {"MUG": 2},
        {"MUG": dict.fromkeys(ids, 2)},
        dict.fromkeys(ids, ()),
        steps=["lowest_cost", "fewest_shipments"],
        estimates={key: ShippingEstimate(cost, None) for key, cost in costs.items()},
        pause=lambda: pauses.append(None),
    )

    assert [load.location_id for load in plan.loads] == ["store-120"]
    assert plan.searched_exhaustively
    assert len(pauses) == 458
