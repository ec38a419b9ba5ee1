"""When stock came in is known from its receipts, and decides where a policy ranks by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.stock.stock_age import RECEIPTS
from tests.conftest import RetailerMaker
from tests.retailer import Retailer, change, movement
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb

RECEIVED = stock_pb.MOVEMENT_KIND_RECEIVED
NOW = datetime.now(UTC)
OLDEST_FIRST = """
kind: routing
policies:
  - {name: oldest, position: 1, rank: [oldest_stock], otherwise: exception}
"""


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    """Two stores of a retailer that sells its oldest stock first."""
    (tmp_path / "oldest.yaml").write_text(OLDEST_FIRST)
    shop = await retailers.make(tmp_path)
    await shop.stock({("CUP", "a"): 0, ("CUP", "b"): 0})
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="MUG")]))
    return shop


async def receive(shop: Retailer, location_id: str, units: int, days_ago: int) -> None:
    received = change("MUG", location_id, at=NOW - timedelta(days=days_ago), movement=movement(RECEIVED, units))
    [result] = await shop.record(received)
    assert result.result == stock_pb.StockChangeResult.CHANGE_RESULT_ACCEPTED


async def test_an_order_takes_the_stock_that_came_in_first(shop: Retailer) -> None:
    await receive(shop, "a", 5, 10)
    await receive(shop, "b", 3, 40)
    await receive(shop, "b", 3, 2)

    first = [await shop.allocate(f"A-{number}", {"MUG": 1}) for number in range(2)]
    for sold in first:
        await shop.ship(sold.shipments[0])
    preview = await shop.allocate("B-1", {"MUG": 1}, validate_only=True)
    third = await shop.allocate("B-2", {"MUG": 1})
    await shop.ship(third.shipments[0])
    # What is left at b came in two days ago.
    fourth = await shop.allocate("B-3", {"MUG": 1})

    assert [sold.shipments[0].location_id for sold in (*first, preview, third, fourth)] == ["b", "b", "b", "b", "a"]
    stored = await shop.decision(fourth.decision.decision_id)
    ages = {x.location_id: NOW - x.oldest_receipt_time.ToDatetime(UTC) for x in stored.inputs.levels}
    assert {key: age.days for key, age in ages.items()} == {"a": 10, "b": 2}
    assert (await shop.replay(fourth.decision.decision_id)).identical
    assert await shop.sellable("MUG") == 7


async def test_of_very_many_receipts_the_newest_say_how_old_the_stock_is_at_least(shop: Retailer) -> None:
    await receive(shop, "a", 1, 300)
    received = [
        change("MUG", "b", at=NOW - timedelta(days=days), movement=movement(RECEIVED, 1))
        for days in range(RECEIPTS + 50)
    ]
    await shop.record(*received)
    order = await shop.allocate("A-1", {"MUG": 1})

    stored = await shop.decision(order.decision.decision_id)
    ages = {x.location_id: (NOW - x.oldest_receipt_time.ToDatetime(UTC)).days for x in stored.inputs.levels}
    assert ages == {"a": 300, "b": RECEIPTS - 1}
