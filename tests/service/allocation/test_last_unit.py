"""Who gets the last unit when several orders want it."""

from __future__ import annotations

import pytest

from tests.retailer import HOLD, SOLD, Retailer, order_request, promised


@pytest.mark.parametrize("commitments", [(HOLD, SOLD), (SOLD, HOLD), (HOLD, HOLD), (SOLD, SOLD)])
async def test_the_first_order_of_a_batch_gets_the_last_unit_whatever_its_commitment_and_priority(
    retailer: Retailer, commitments: tuple[int, int]
) -> None:
    await retailer.stock({("MUG", "dc"): 1})
    first = order_request("A-1", {"MUG": 1}, commitments[0], priority=1)
    second = order_request("A-2", {"MUG": 1}, commitments[1], priority=9)

    answers = await retailer.allocate_together([first, second])

    assert [promised(answer) for answer in answers] == [{"dc": 1}, {}]
    assert (await retailer.ledger()).balanced


@pytest.mark.parametrize("skus", [("SET", "MUG"), ("MUG", "SET")])
async def test_a_kit_and_a_single_get_the_last_component_in_the_order_of_the_batch(
    retailer: Retailer, skus: tuple[str, str]
) -> None:
    await retailer.stock({("MUG", "dc"): 1, ("TRAY", "dc"): 5})
    await retailer.kits({"SET": {"MUG": 1, "TRAY": 1}})

    answers = await retailer.allocate_together([order_request(f"A-{sku}", {sku: 1}) for sku in skus])

    assert [bool(promised(answer)) for answer in answers] == [True, False]
    assert (await retailer.ledger()).balanced
