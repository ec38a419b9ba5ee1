"""How sets of locations are compared: what is bounded from below is never better than the bound, and may be as good."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from policies.decisions.planning.plan_steps import Branch, ShippingEstimate, plan_steps
from policies.decisions.planning.plans import Load, Plan
from policies.domain.rate_table import ShippingCost

COSTS = [(4, "0.50", "2"), (3, "0.20", "1"), (5, "0.10", "3")]
"""Per shipment, per unit and per kilogram, of three locations."""
FRIDAY = date(2026, 11, 27)
ESTIMATES = [
    ShippingEstimate(ShippingCost(Decimal(shipment), Decimal(unit), Decimal(kg)), FRIDAY.replace(day=27 + number))
    for number, (shipment, unit, kg) in enumerate(COSTS)
]


def bound(name: str, branch: Branch) -> object:
    return plan_steps([name], [(3,), (1,), (2,)], ESTIMATES, [0, 1, 2])[0].bound(branch)


@pytest.mark.parametrize(
    ("start", "fewest", "units", "grams", "least"),
    [
        (2, 1, 10, 0, "6.00"),
        (2, 1, 10, 500, "7.50"),
        (2, 2, 10, 500, "12.50"),
        (0, 1, 10, 2_000, "6.00"),
        (0, 2, 10, 2_000, "9.00"),
        (1, 1, 0, 0, "3"),
    ],
)
def test_more_shipments_cost_at_least_the_lowest_amounts_of_those_that_are_left(
    start: int, fewest: int, units: int, grams: float, least: str
) -> None:
    """Each of the amounts is the lowest of its kind: 3, 0.10 and 1 of all three locations."""
    branch = Branch([], start, fewest, fewest, units, Decimal(7), grams)

    assert bound("lowest_cost", branch) == 7 + Decimal(least)


@pytest.mark.parametrize(
    ("chosen", "start", "last"), [([], 0, 27), ([], 1, 28), ([2], 0, 29), ([0], 2, 29), ([0], 1, 28)]
)
def test_a_set_arrives_with_its_last_parcel(chosen: list[int], start: int, last: int) -> None:
    branch = Branch(chosen, start, 1, 1, 1, Decimal(0))

    assert bound("earliest_promise", branch) == FRIDAY.replace(day=last).toordinal()


def test_a_set_of_no_locations_comes_first() -> None:
    steps = plan_steps(["fewest_shipments", "earliest_promise", "nearest"], [(3,), (1,), (2,)], ESTIMATES, [0, 1, 2])

    assert [step.key_part([], Decimal(0)) for step in steps] == [0, 0, [], []]


@pytest.mark.parametrize(("first", "second", "fewest"), [(0, 0, 0), (0, 2, 4), (1, 0, 3), (1, 2, 3)])
def test_two_plans_as_one_have_as_many_shipments_as_both_at_least(first: int, second: int, fewest: int) -> None:
    """Each has two shipments; of one that was not searched to its end it is known how few there might be."""
    one, other = (
        Plan((Load("a", {"MUG": 1}), Load(key, {"MUG": 1})), not known, known)
        for key, known in (("b", first), ("c", second))
    )
    both = one.joined_by(other)

    assert both.loads == one.loads + other.loads
    assert both.searched_exhaustively == (not first and not second)
    assert both.fewest_shipments == fewest
    assert both.placed("MUG") == 4
