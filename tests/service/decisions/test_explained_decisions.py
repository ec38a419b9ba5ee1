"""A stored decision is explained by its inputs, whatever happened since."""

import grpc
import pytest

from tests.retailer import HOLD, Retailer, order_request, promised
from truestock.v1 import decision_explanation_pb2 as explanation_pb


def shipped(plan: explanation_pb.ComparedPlan) -> dict[str, int]:
    return {x.location_id: sum(units.unit_count for units in x.units) for x in plan.shipments}


async def test_the_next_best_plan_is_that_of_the_moment_of_the_decision(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9, ("MUG", "high-street"): 9})
    order = await retailer.allocate("A-1", {"MUG": 2})
    await retailer.stock({("MUG", "high-street"): 0})

    answer = await retailer.explain(order.decision.decision_id)

    promised = {x.location_id: sum(line.unit_count for line in x.lines) for x in order.shipments}
    explanation = answer.explanation
    assert (answer.identical, answer.decision) == (True, order.decision)
    assert shipped(explanation.chosen) == promised
    assert set(shipped(explanation.next_best)) == {"dc", "high-street"} - set(promised)
    assert explanation.next_best.differences[0].decides
    assert [x.place for x in explanation.locations] == [1, 2]
    assert explanation.ranked_count == 2


async def test_a_decision_of_which_only_a_summary_is_stored_is_not_explained(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 0})
    order = await retailer.allocate("A-1", {"MUG": 1}, HOLD)

    with pytest.raises(grpc.aio.AioRpcError, match="only a summary is stored"):
        await retailer.explain(order.decision.decision_id)


async def test_the_second_decision_of_an_order_is_explained_with_the_units_that_it_has(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 4})
    await retailer.allocate("A-1", {"MUG": 4})
    order = await retailer.allocate("A-1", {"MUG": 3})

    answer = await retailer.explain(order.decision.decision_id)

    assert shipped(answer.explanation.chosen) == {"dc": 3}
    assert not answer.explanation.HasField("next_best")


async def test_an_order_that_is_only_tried_is_explained_and_changes_nothing(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9, ("MUG", "high-street"): 9})
    request = order_request("A-1", {"MUG": 2}, validate_only=True, explain=True)

    tried = await retailer.allocations.AllocateOrder(request)

    order = await retailer.allocate("A-1", {"MUG": 2})
    stored = await retailer.explain(order.decision.decision_id)
    assert tried.explanation == stored.explanation
    assert shipped(tried.explanation.chosen) == promised(tried.allocation)
    assert not (await retailer.allocations.AllocateOrder(order_request("A-2", {"MUG": 1}))).HasField("explanation")


async def test_only_a_tried_order_is_explained_with_its_answer(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 9})

    with pytest.raises(grpc.aio.AioRpcError, match="is only for validate_only"):
        await retailer.allocations.AllocateOrder(order_request("A-1", {"MUG": 2}, explain=True))
