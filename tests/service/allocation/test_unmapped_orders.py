"""A paid order is accepted although its product is not in the catalog yet; a cart is refused."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, SOLD, Retailer, State, bad_fields, order_reference, promised, refused, request_id
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
    policy_service_pb2 as policy_pb,
)


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10})
    return retailer


async def add_products(shop: Retailer, *skus: str) -> None:
    products = [catalog_pb.Product(sku=sku) for sku in skus]
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))


async def incidents(shop: Retailer) -> list[tuple[Any, ...]]:
    rows = await shop.sql("SELECT kind, subject, state, resolution, repeat_count FROM exception ORDER BY create_time")
    return [tuple(row) for row in rows if row["kind"] != "oversell"]


async def test_a_sold_order_of_an_unknown_product_is_accepted_and_waits(shop: Retailer) -> None:
    answer = await shop.allocate("A-1", {"MUG": 2, "NEW": 3})
    short = answer.shortages[0]

    assert answer.state == State.STATE_CONFIRMED
    assert promised(answer) == {"dc": 2}
    assert (short.sku, short.unit_count, short.cause, short.backordered) == ("NEW", 3, "unmapped", True)
    assert short.kind == allocation_pb.Shortage.KIND_OVERSELL
    assert (await shop.ledger()).balanced


async def test_an_order_of_unknown_products_only_waits(shop: Retailer) -> None:
    answer = await shop.allocate("A-1", {"NEW": 3})

    assert (answer.outcome, answer.status) == (order_pb2.OUTCOME_BACKORDERED, order_pb2.ORDER_STATUS_BACKORDERED)


async def test_an_unknown_product_is_one_exception_however_many_orders_have_it(shop: Retailer) -> None:
    for order_id in ("A-1", "A-2", "A-3"):
        await shop.allocate(order_id, {"NEW": 3})

    assert await incidents(shop) == [("unmapped_product", "NEW", "open", None, 2)]


async def test_the_order_shows_what_it_waits_for(shop: Retailer) -> None:
    await shop.allocate("A-1", {"NEW": 3})
    shown = await shop.find_order("web/A-1")

    assert [(exception.kind, exception.sku) for exception in shown.exceptions] == [("unmapped_product", "NEW")]


async def test_units_of_unknown_products_count_as_oversold(shop: Retailer) -> None:
    await shop.allocate("A-1", {"NEW": 3})

    assert shop.metric("oversold_units_total", channel="web", cause="unmapped") == 3
    assert shop.metric("oversold_orders_total", channel="web", cause="unmapped") == 1


async def test_the_exception_is_resolved_when_the_product_is_added(shop: Retailer) -> None:
    await shop.allocate("A-1", {"NEW": 3})
    await add_products(shop, "NEW")

    assert await incidents(shop) == [("unmapped_product", "NEW", "resolved", "mapped", 0)]


async def test_an_order_gets_its_units_when_the_product_and_its_stock_are_added(shop: Retailer) -> None:
    await shop.allocate("A-1", {"MUG": 2, "NEW": 3})
    await add_products(shop, "NEW")
    await shop.count({("NEW", "dc"): 5})

    order = (await shop.find_order("web/A-1")).allocation
    assert promised(order) == {"dc": 5}
    assert (order.outcome, order.status) == (order_pb2.OUTCOME_ALLOCATED, order_pb2.ORDER_STATUS_READY_TO_FULFILL)
    assert await shop.sellable("NEW") == 2
    assert (await shop.ledger()).balanced


async def test_orders_that_wait_for_a_new_product_get_it_before_later_ones(shop: Retailer) -> None:
    await shop.allocate("A-1", {"NEW": 3})
    await add_products(shop, "NEW")
    await shop.count({("NEW", "dc"): 4})

    late = await shop.allocate("A-2", {"NEW": 3})

    assert promised(late) == {"dc": 1}
    assert promised((await shop.find_order("web/A-1")).allocation) == {"dc": 3}


async def test_a_cart_with_an_unknown_product_is_refused(shop: Retailer) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await shop.allocate("A-1", {"NEW": 3}, HOLD)

    assert error.value.code() is grpc.StatusCode.NOT_FOUND
    assert not await shop.sql("SELECT FROM allocation")


async def test_a_sold_order_of_an_unknown_channel_is_refused(shop: Retailer) -> None:
    unknown: dict[str, dict[str, Any]] = {
        "channel_id": {"channel_id": "nowhere"},
        "copy_of.channel_id": {"copy_of": order_reference("nowhere/1")},
    }
    for field, stated in unknown.items():
        error = await refused(shop.allocate("A-1", {"MUG": 3}, SOLD, **stated))

        assert error.code() is grpc.StatusCode.NOT_FOUND
        assert bad_fields(error) == {field}


async def test_units_of_an_unknown_product_can_be_cancelled(shop: Retailer) -> None:
    await shop.allocate("A-1", {"NEW": 3})
    await shop.cancel_order("web/A-1", {"1": 1})
    await add_products(shop, "NEW")
    await shop.count({("NEW", "dc"): 5})

    assert promised((await shop.find_order("web/A-1")).allocation) == {"dc": 2}


async def test_a_preview_with_an_unknown_product_shows_what_would_be_short(shop: Retailer) -> None:
    answer = await shop.allocate("A-1", {"NEW": 3}, validate_only=True)

    assert answer.shortages[0].cause == "unmapped"
    assert not await shop.sql("SELECT FROM exception")


async def test_replaying_a_decision_on_an_unknown_product_is_identical_once_the_product_is_known(
    shop: Retailer,
) -> None:
    answer = await shop.allocate("A-1", {"MUG": 2, "NEW": 3})
    await add_products(shop, "NEW")

    request = policy_pb.ReplayDecisionRequest(decision_id=answer.decision.decision_id)
    replayed = await shop.policies.ReplayDecision(request)

    assert replayed.identical


async def test_no_order_waits_for_a_product_that_is_added_while_orders_arrive(retailers: RetailerMaker) -> None:
    shops = [await retailers.make() for _ in range(2)]
    await shops[0].stock({("MUG", "dc"): 1})

    calls = [shops[n % 2].allocate(f"A-{n}", {"NEW": 1}, request_id=request_id()) for n in range(50)]
    await asyncio.gather(*calls[:5])
    await asyncio.gather(*calls[5:25], add_products(shops[0], "NEW"), *calls[25:])
    await shops[0].count({("NEW", "dc"): 50})

    assert (await shops[0].level("NEW", "dc")).allocated_count >= 5
    assert not await shops[0].sql("SELECT FROM shortage WHERE cause = 'unmapped'")
    assert (await shops[0].ledger()).balanced
