"""How much work the search for locations of parts that share products takes, and what it finds, on every machine.

It is counted in pauses: there is one each time that sets of locations are compared or filled. As with the search for an
order without such parts, a change that makes them more makes large orders end without the best plan.
"""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from math import inf
from random import Random

from policies.decisions.parts.part_plans import PartDemand
from policies.decisions.planning.plan_steps import ShippingEstimate
from policies.decisions.planning.plans import Plan
from policies.domain.demand import DemandPart, PartLine
from policies.domain.placement import Placement
from policies.domain.rate_table import ShippingCost

FRIDAY = date(2026, 11, 27)
RANKINGS = (
    ["fewest_shipments", "nearest"],
    ["nearest"],
    ["nearest", "fewest_shipments"],
    ["fewest_shipments", "lowest_cost"],
    ["lowest_cost", "nearest"],
    ["fewest_shipments", "earliest_promise", "nearest"],
    ["earliest_promise", "lowest_cost"],
)
SKUS = "ABCD"


def part(random: Random, number: int, ids: str) -> DemandPart:
    """Single units or sets of one or two products, some of them only from half of the locations."""
    skus = random.sample(SKUS, random.choice([1, 1, 2]))
    units = {sku: random.randint(1, 2) for sku in skus}
    count = random.randint(1, 4)
    only = frozenset(random.sample(ids, len(ids) // 2)) if random.random() < 0.3 else None
    lines = tuple(PartLine(f"{number}{sku}", sku, size * count, size) for sku, size in units.items())
    return DemandPart(lines, units, count, Placement(only))


def planned(number: int) -> tuple[int, Plan]:
    """The plan of a random order, by the number, and the pauses that it took."""
    random = Random(number)
    ids = "abcdefghijklmnop"[: random.choice([4, 8, 12, 16])]
    parts = [part(random, place, ids) for place in range(random.randint(2, 5))]
    deepest = random.choice([1, 2, 4])
    stock = {sku: {key: random.randint(1, deepest) for key in ids if random.random() < 0.6} for sku in SKUS}
    limits = {"A": random.randint(1, 6)} if random.random() < 0.3 else {}
    demand = PartDemand.of(parts, stock, limits)
    steps = RANKINGS[number % len(RANKINGS)]
    per_kg = random.choice([Decimal(0), Decimal(2)])
    estimates = {
        key: ShippingEstimate(
            ShippingCost(Decimal(random.randint(3, 6)), Decimal(random.randint(0, 2)) / 10, per_kg),
            FRIDAY + timedelta(random.randint(0, 3)),
        )
        for key in ids
        if random.random() < 0.9
    }
    weights = {sku: random.choice([100, 700, 1_500, *[inf] * (random.random() < 0.2)]) for sku in SKUS}
    pauses: list[None] = []
    plan = demand.plan(
        demand.units,
        ranks={key: (float(random.randint(0, 3)),) if "nearest" in steps else () for key in ids},
        steps=steps,
        max_shipments=random.choice([None, None, 2, 4]),
        estimates=estimates,
        weights=weights if per_kg else {},
        pause=lambda: pauses.append(None),
    )
    return len(pauses), plan


FOUND: list[tuple[int, str]] = [
    *((451, "ijnmcd"), (8, "defa"), (21, "cda"), (16, "g"), (196, "acd"), (80, "cfg"), (20, "abc")),
    *((116, "ei"), (9, "bgcdh"), (109, "bgjo"), (26, "abcd"), (84, "bcgimhnof"), (129, "mbagk"), (257, "cefk")),
    *((21, "bc"), (8, "dh"), (69, "dkeja"), (278, "cdik"), (19, "df"), (4, ""), (54, "abcdegh")),
    *((69, "hgbc"), (8, "cgad"), (41, "ehfg"), (68, "ho"), (16, ""), (8, "d"), (78, "c")),
    *((7, "a"), (5, "bcd"), (29, "ef"), (11, "d"), (26, "cdab"), (29, "adbc"), (12, "")),
    *((16, ""), (12, "bcj"), (8, ""), (93, "bd"), (48, "aceg"), (72, "ol"), (55, "l")),
    *((7, "a"), (5, "b"), (50, "gip"), (61, "jl"), (25, "ab"), (12, ""), (76, "cef")),
    *((8, "a"), (20, "bo"), (8, "f"), (17, "h"), (33, "ageb"), (35, "ega"), (18, "ab")),
    *((25, "bcda"), (5, "bcd"), (12, ""), (69, "cfg"), (78, "jghdl"), (210, "cobf"), (20, "fh")),
    *((113, "feghl"), (20, "af"), (63, "elno"), (7, "a"), (8, ""), (64, "bldj"), (11, "ab")),
    *((14, "ad"), (16, "gd"), (18, "adc"), (41, "ab"), (20, "cad"), (186, "ibejnp"), (67, "cdhi")),
    *((44, "gd"), (9, ""), (45, "ebha"), (180, "bcgh"), (443, "nmc"), (29, "acdg"), (249, "clmp")),
    *((57, "afh"), (9, "cde"), (10, "a"), (12, ""), (284, "jl"), (11, "b"), (24, "acf")),
    *((26, "bd"), (17, "kbcdgl"), (94, "ljg"), (12, ""), (42, "bh"), (16, ""), (111, "bcd")),
    *((46, "kl"), (17, "bcjl"), (44, "gdeb"), (67, "abfg"), (37, "fbdeh"), (29, "f"), (15, "bc")),
    *((46, "dfijc"), (16, "mg"), (32, "hd"), (23, "eg"), (182, "bjal"), (57, "cgh"), (15, "c")),
    *((99, "ab"), (5, ""), (18, "ah"), (64, "cfg"), (38, "hc"), (23, "aed"), (42, "gh")),
    *((43, "al"), (9, "bg"), (14, "cd"), (43, "bcgh"), (20, "abc"), (82, "fhe"), (45, "cdfg")),
    *((26, "db"), (4, "ba"), (23, "ehd"), (28, "fhi"), (185, "focm"), (38, "jb"), (79, "ag")),
    *((31, "k"), (19, "ejcdh"), (33, "fkjl"), (68, "ch"), (17, "d"), (97, "hgc"), (15, "bc")),
    *((4, "c"), (8, "cb"), (47, "hn"), (20, "de"), (130, "gk"), (74, "glnmjc"), (12, "")),
    *((84, "cgha"), (17, "cefi"), (18, "ac"), (69, "hi"), (70, "kn"), (27, "k"), (93, "hl")),
]
"""Pauses and locations of the orders 0, 1, ..."""


def test_a_search_takes_no_more_and_no_fewer_pauses_than_it_did() -> None:
    found = [
        (count, "".join(load.location_id for load in plan.loads)) for count, plan in map(planned, range(len(FOUND)))
    ]

    assert found == FOUND
