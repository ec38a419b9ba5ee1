"""An order whose search for the best locations is cut short says so, and how many fewer shipments there could be."""

from __future__ import annotations

import random
from io import StringIO

import pytest
from rich.console import Console

from service.cli.views.order_views import print_explanation
from tests.retailer import Retailer
from truestock.v1.allocation_service_pb2 import Allocation, GetAllocationResponse
from truestock.v1.decision_pb2 import Decision


def explained(decision: Decision) -> str:
    output = StringIO()
    allocation = Allocation(channel_id="web", order_id="1", decision=decision)
    print_explanation(Console(width=140, file=output), GetAllocationResponse(allocation=allocation))
    return " ".join(output.getvalue().split())


async def test_a_truncated_search_is_stored_and_replayed_with_its_bound(retailer: Retailer) -> None:
    dice = random.Random(1)
    skus = [f"SKU-{number:02}" for number in range(80)]
    stock = {(sku, f"store-{at:02}"): 1 for sku in skus for at in range(60) if dice.random() < 0.1}
    await retailer.stock(stock)

    order = await retailer.allocate("A-1", dict.fromkeys(skus, 1))
    decision = order.decision
    assert decision.search_truncated
    assert 0 < decision.fewest_shipments_bound <= len(order.shipments)
    assert decision.shipments_above_bound == len(order.shipments) - decision.fewest_shipments_bound
    assert (await retailer.decision(decision.decision_id)).decision == decision
    assert (await retailer.replay(decision.decision_id)).identical
    assert f"more than the lower bound of {decision.fewest_shipments_bound}." in explained(decision)


async def test_an_exhaustive_search_states_no_bound(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 2, ("CUP", "high-street"): 1})

    decision = (await retailer.allocate("A-1", {"MUG": 1, "CUP": 1})).decision

    assert not decision.search_truncated
    assert (decision.fewest_shipments_bound, decision.shipments_above_bound) == (0, 0)
    assert "combinations" not in explained(decision)


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (
            Decision(search_truncated=True, fewest_shipments_bound=4, shipments_above_bound=1),
            "This plan has 1 shipment more than the lower bound of 4.",
        ),
        (Decision(search_truncated=True, fewest_shipments_bound=4), "No plan has fewer shipments, but one of other"),
        # Stored before bounds were.
        (Decision(search_truncated=True), "Another plan may be better."),
    ],
)
def test_the_explanation_says_how_much_better_another_plan_may_be(decision: Decision, text: str) -> None:
    assert f"Too many combinations of locations to compare them all. {text}" in explained(decision)
