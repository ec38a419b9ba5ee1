"""What a call has worked out leaves memory with it, and does not wait for the collector, which stops all calls."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from tests.retailer import HOLD, SOLD, Retailer

Call = Callable[[Retailer, int], Awaitable[object]]


async def changed_and_cancelled(shop: Retailer, number: int) -> None:
    sold = await shop.allocate(f"A-{number}", {"MUG": 1}, SOLD)
    await shop.allocate(f"A-{number}", {"MUG": 2}, SOLD)
    await shop.cancel(sold.allocation_id, {"1": 1})


async def explained_and_replayed(shop: Retailer, number: int) -> None:
    sold = await shop.allocate(f"A-{number}", {"MUG": 1}, SOLD)
    await shop.explain(sold.decision.decision_id)
    await shop.replay(sold.decision.decision_id)


CALLS: dict[str, Call] = {
    "a sold order": lambda shop, number: shop.allocate(f"A-{number}", {"MUG": 1}, SOLD),
    "a hold": lambda shop, number: shop.allocate(f"A-{number}", {"MUG": 1}, HOLD),
    "a hold of more than there is": lambda shop, number: shop.allocate(f"A-{number}", {"MUG": 9_999}, HOLD),
    "an order that is changed and cancelled": changed_and_cancelled,
    "a decision that is explained and replayed": explained_and_replayed,
    "a question of what can be sold": lambda shop, number: shop.sellable("MUG"),
}


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 100})
    return retailer


@pytest.mark.parametrize("kind", CALLS)
async def test_nothing_that_a_call_worked_out_is_left_to_the_collector(shop: Retailer, kind: str) -> None:
    for number in range(3):
        await CALLS[kind](shop, number)
    gc.collect()
    gc.disable()
    try:
        for number in range(3, 9):
            await CALLS[kind](shop, number)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = Counter(type(item).__module__ for item in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()

    assert {module: count for module, count in left.items() if module.startswith(("policies.", "service."))} == {}
