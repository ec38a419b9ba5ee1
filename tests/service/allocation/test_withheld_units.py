"""Units that are there, but that a rule keeps from a sold order: in answers, exceptions, metrics, and after an edit."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.type.money_pb2 import Money

from tests.conftest import RetailerMaker
from tests.retailer import SOLD, Retailer, promised
from truestock.v1 import allocation_service_pb2 as allocation_pb

RULES = {
    "keep.yaml": """
kind: buffer
name: keep
scope: location
rules:
  - {name: two-on-the-floor, when: {product.sku: MUG}, hold_back: {units: 2}}
""",
    "ready.yaml": """
kind: exposure
name: ready
rules:
  - {name: no-picture, when: {product.sku: CAP, product.has_image: false}, block: the product has no picture}
""",
    "owners.yaml": """
kind: exception
rules:
  - {name: missing, position: 1, when: {exception.kind: oversell}, do: review, owner: care, due_in: 1h}
  - {name: kept, position: 2, when: {exception.kind: held_by_buffer}, do: backorder, owner: care, due_in: 1h}
  - {name: dropped, position: 3, when: {product.sku: CAP, order.value: {at_least: 100}}, do: cancel, owner: care,
     due_in: 1h}
  - {name: everything-else, position: 4, do: review, owner: operations, due_in: 1d}
""",
    "routing.yaml": """
kind: routing
policies:
  - {name: everything, position: 1, rank: [priority], otherwise: exception}
""",
}


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    for name, text in RULES.items():
        (tmp_path / name).write_text(text)
    return await retailers.make(tmp_path)


def reasons(allocation: allocation_pb.Allocation) -> list[tuple[str, int, str, list[str]]]:
    kinds = allocation_pb.Shortage.Kind
    return [
        (kinds.Name(x.kind).removeprefix("KIND_"), x.unit_count, x.cause, list(x.rules)) for x in allocation.shortages
    ]


async def test_a_buffer_that_keeps_units_is_named_and_they_are_not_oversold(shop: Retailer) -> None:
    await shop.stock({("MUG", "austin"): 5})

    sold = await shop.allocate("A-1", {"MUG": 5}, SOLD)

    assert promised(sold) == {"austin": 3}
    assert reasons(sold) == [("HELD_BY_BUFFER", 2, "held_by_buffer", ["two-on-the-floor"])]
    assert sold.shortages[0].backordered
    assert shop.metric("withheld_orders_total", channel="web", cause="held_by_buffer") == 1
    assert shop.metric("withheld_units_total", channel="web", cause="held_by_buffer") == 2
    assert not any(
        shop.metric("oversold_units_total", channel="web", cause=cause) for cause in ("race", "over_published")
    )
    answer = await shop.get(sold.allocation_id)
    assert [x.kind for x in answer.exceptions] == ["held_by_buffer"]
    assert answer.exceptions[0].description == (
        "2 units short: MUG; in stock, but held back by the buffer rule two-on-the-floor"
    )
    assert reasons(answer.allocation) == reasons(sold)


async def test_a_block_is_named_and_goes_to_its_owner(shop: Retailer) -> None:
    await shop.stock({("CAP", "austin"): 5})

    sold = await shop.allocate("A-1", {"CAP": 7}, SOLD)

    assert reasons(sold)[0] == ("BLOCKED_BY_RULE", 5, "blocked_by_rule", ["no-picture"])
    assert reasons(sold)[1][:2] == ("OVERSELL", 2)
    raised = await shop.open_exceptions(kinds=["blocked_by_rule"])
    assert [(x.owner, x.sku) for x in raised] == [("operations", "CAP")]
    assert shop.metric("exceptions_total", kind="blocked_by_rule", channel="web") == 1
    assert shop.metric("manual_interventions_total", channel="web", reason="oversell") == 1


async def test_kept_units_count_once_whatever_happens_to_them(shop: Retailer) -> None:
    await shop.stock({("MUG", "austin"): 2, ("CAP", "austin"): 4})

    await shop.allocate("A-1", {"MUG": 1}, SOLD)
    await shop.allocate("A-1", {"MUG": 2}, SOLD)
    cancelled = await shop.allocate("A-2", {"CAP": 4}, SOLD, order_value=Money(currency_code="USD", units=400))

    assert shop.metric("withheld_units_total", channel="web", cause="held_by_buffer") == 2
    assert not cancelled.shortages
    assert shop.metric("withheld_units_total", channel="web", cause="blocked_by_rule") == 4
