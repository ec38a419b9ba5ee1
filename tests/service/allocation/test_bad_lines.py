"""One bad line never refuses the good lines of a sold order: its units are short, and its owner learns why."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.type.money_pb2 import Money

from tests.retailer import HOLD, SOLD, Retailer, order_reference, promised, refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, order_pb2, policy_service_pb2 as policy_pb

REPLACED = "\N{REPLACEMENT CHARACTER}"
BAD_SKUS = {
    "S" * 65: "S" * 65,
    "S" * 255: "S" * 255,
    "S" * 300: "S" * 255,
    "\N{SNOWMAN}" * 300: "\N{SNOWMAN}" * 255,
    "": "",
    " ": " ",
    "MUG ": "MUG ",
    " MUG": " MUG",
    "MUG\N{NO-BREAK SPACE}": "MUG\N{NO-BREAK SPACE}",
    "MU\x00G": f"MU{REPLACED}G",
    "MUG\n": f"MUG{REPLACED}",
    "\x1fMUG": f"{REPLACED}MUG",
}
"""SKUs that no product can have, with what is kept of each."""


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 1_000, ("CUP", "dc"): 1_000})
    return retailer


def request(order_id: str, *lines: order_pb2.OrderLine, commitment: int = SOLD, **fields: Any) -> Any:
    return allocation_pb.AllocateOrderRequest(
        channel_id="web",
        order_id=order_id,
        lines=lines,
        commitment=commitment,  # type: ignore[arg-type]
        **fields,
    )


async def send(shop: Retailer, *arguments: Any, **fields: Any) -> allocation_pb.Allocation:
    answer = await shop.allocations.AllocateOrder(request(*arguments, **fields))
    allocation: allocation_pb.Allocation = answer.allocation
    return allocation


async def test_a_line_of_a_sku_that_no_product_can_have_is_short_and_the_others_are_promised(shop: Retailer) -> None:
    orders = [
        request(f"A-{number}", order_pb2.OrderLine(sku="MUG", unit_count=1), order_pb2.OrderLine(sku=sku, unit_count=2))
        for number, sku in enumerate(BAD_SKUS)
    ]
    batch = await shop.allocations.BatchAllocateOrders(allocation_pb.BatchAllocateOrdersRequest(requests=orders))
    listed = (await shop.allocations.ListAllocations(allocation_pb.ListAllocationsRequest())).allocations

    for result, stored, (sku, kept) in zip(batch.results, listed, BAD_SKUS.items(), strict=True):
        allocation = result.allocation
        assert promised(allocation) == {"dc": 1}, result
        assert (allocation.lines[1].sku, allocation.lines[1].backordered_count) == (kept, 2)
        assert [(x.sku, x.unit_count, x.cause) for x in allocation.shortages] == [(kept, 2, "unmapped")]
        assert stored == allocation
        seen = await shop.find_order(f"web/{allocation.order_id}")
        (raised,) = seen.exceptions
        assert (raised.kind, raised.sku) == ("unmapped_product", kept)
        assert "no product can have this SKU (1 to 64 characters" in raised.description
        assert ("left_out" in [event.event for event in seen.timeline]) == (len(sku) > 255)
        replay = policy_pb.ReplayDecisionRequest(decision_id=allocation.decision.decision_id)
        assert (await shop.policies.ReplayDecision(replay)).identical
    assert (await shop.ledger()).balanced


async def test_an_order_with_a_bad_line_lives_on(shop: Retailer) -> None:
    long, empty = "S" * 100, ""
    await shop.channels(shopify="")
    await shop.allocate("A-1", [("MUG", 1), (long, 2), (empty, 3)])
    copy = await shop.allocate(
        "5001", [("MUG", 1), (long, 2), (empty, 3)], channel_id="shopify", copy_of=order_reference("web/A-1")
    )
    cancelled = (await shop.cancel_order("web/A-1", {"2": 1})).allocation
    shipped = await shop.ship(cancelled.shipments[0])
    corrected = await shop.allocate("A-1", [("MUG", 1), ("CUP", 2), ("MUG", 3)])

    assert promised(copy) == {"dc": 1}
    assert [line.cancelled_count for line in cancelled.lines] == [0, 1, 0]
    assert [line.shipped_count for line in shipped.lines] == [1, 0, 0]
    assert [(x.sku, x.promised_count, x.shipped_count) for x in corrected.lines] == [
        ("MUG", 0, 1),
        ("CUP", 2, 0),
        ("MUG", 3, 0),
    ]
    assert not corrected.shortages
    assert (await shop.ledger()).balanced


async def test_a_price_that_cannot_be_used_is_left_out_and_said(shop: Retailer) -> None:
    prices = {
        "negative": [*(Money(currency_code="USD", units=units) for units in (-5, -6, -7, 2))],
        "no-currency": [Money(units=5)],
        "two-currencies": [Money(currency_code="USD", units=5), Money(currency_code="EUR", units=5)],
        "too-much": [Money(currency_code="USD", units=10**13)],
    }
    for order_id, unit_prices in prices.items():
        lines = [order_pb2.OrderLine(sku="MUG", unit_count=1, unit_price=price) for price in unit_prices]
        sold = await send(shop, order_id, *lines, order_value=unit_prices[0])
        timeline = (await shop.find_order(f"web/{order_id}")).timeline
        held = await refused(send(shop, f"hold-{order_id}", *lines, commitment=HOLD))

        assert promised(sold) == {"dc": len(lines)}
        assert [event.event for event in timeline] == ["sold", "left_out"]
        assert "values that cannot be used: lines" in timeline[1].description
        assert timeline[1].description.endswith("; and 1 more.") is (order_id == "negative")
        assert held.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("code", ["\x00", "a\x00b", "\x1f", "X" * 300_000, "\N{SNOWMAN}" * 100_000])
async def test_a_currency_of_any_text_refuses_no_sold_order_and_is_said_in_a_bounded_sentence(
    shop: Retailer, code: str
) -> None:
    odd, plain = Money(currency_code=code, units=5), Money(currency_code="USD", units=5)
    lines = [order_pb2.OrderLine(sku="MUG", unit_count=1, unit_price=price) for price in (odd, plain)]

    for order_id, order_lines in {"odd": lines[:1], "mixed": lines}.items():
        sold = await send(shop, order_id, *order_lines, order_value=odd)
        (said,) = (event for event in (await shop.find_order(f"web/{order_id}")).timeline if event.event == "left_out")

        assert promised(sold) == {"dc": len(order_lines)}
        assert "order_value.currency_code" in said.description
        assert len(said.description) < 1_000


async def test_a_cart_with_a_sku_that_no_product_can_have_is_refused(shop: Retailer) -> None:
    for sku in BAD_SKUS:
        error = await refused(shop.allocate("A-1", [("MUG", 1), (sku, 2)], HOLD))

        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "lines[1].sku" in (error.details() or "")


async def test_what_cannot_be_a_line_is_refused_by_name(shop: Retailer) -> None:
    good = order_pb2.OrderLine(line_id="1", sku="MUG", unit_count=1)
    bad = {
        "lines[1].unit_count": order_pb2.OrderLine(line_id="2", sku="MUG", unit_count=0),
        "lines[1].line_id": order_pb2.OrderLine(line_id="1", sku="CUP", unit_count=1),
    }
    for field, line in bad.items():
        error = await refused(send(shop, "A-1", good, line))

        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert field in (error.details() or "")
    assert not await shop.sql("SELECT FROM allocation")
