"""What a Square merchant sells reaches Truestock by itself: a real service, a real connector, tills over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.connector_site import Site, map_everything, site_of, until
from tests.fakes.square.merchant import SquareMerchant
from tests.retailer import Retailer
from truestock.v1 import order_pb2
from truestock.v1.shipment_pb2 import Shipment

READY = order_pb2.ORDER_STATUS_READY_TO_FULFILL


@pytest.fixture
def merchant() -> Iterator[SquareMerchant]:
    with SquareMerchant(seed=5).serving() as merchant:
        yield merchant


@pytest.fixture
async def site(retailer: Retailer, merchant: SquareMerchant) -> AsyncIterator[Site]:
    await map_everything(retailer, merchant, {"MUG": 10})
    async with site_of(retailer, merchant, retailer.service.address) as site:
        await site.connect()
        yield site


async def test_a_sale_at_the_till_and_an_order_to_collect_take_stock_of_their_shop(site: Site) -> None:
    books = site.shop.books
    austin = next(iter(books.locations.values()))
    async with site.running():
        books.sell_at_till({"MUG": 2}, austin)
        order = books.place_order({"MUG": 1}, austin)
        ready = await until(lambda: _with_status(site, order.id, READY))
        await until(lambda: _has(site, "austin", on_hand=8))
        books.set_fulfillment(order, "COMPLETED")
        await until(lambda: _has(site, "austin", on_hand=7))
        collected = await site.order(order.id)

    assert [shipment.location_id for shipment in ready.allocation.shipments] == ["austin"]
    assert [shipment.state for shipment in collected.allocation.shipments] == [Shipment.STATE_COLLECTED]
    assert (await site.retailer.ledger()).balanced


async def _with_status(site: Site, order_id: str, status: int) -> Any:
    found = await site.order(order_id)
    return found if found is not None and found.allocation.status == status else None


async def _has(site: Site, location_id: str, *, on_hand: int) -> bool:
    return (await site.retailer.level("MUG", location_id)).on_hand_count == on_hand
