"""Orders of Shopify that are longer than one answer: many refunds, many fulfillment orders."""

from __future__ import annotations

import pytest

from service.channels.effects import CancelUnits, Hold, Reading, TakeOrder
from tests.fakes.shopify.records import FulfillmentOrder
from tests.service.channels.conforming_shops import KeptTokens, shopify
from tests.vendors.presence import NEEDS_NPM

pytestmark = [pytest.mark.long, NEEDS_NPM]


async def test_no_refund_and_no_fulfillment_order_of_a_long_order_is_cut_off() -> None:
    with shopify() as shop:
        adapter = shop.platform.open(shop.account, KeptTokens(shop.account, shop.platform))
        await adapter.connect(shop.code)
        books = shop.fake.books
        order = books.place_order({"MUG": 100})
        for _ in range(60):
            books.refund(order, {"MUG": 1}, "CANCEL")
        for _ in range(29):
            order.fulfillment_orders.append(FulfillmentOrder(books.new_id(), order.fulfillment_orders[0].location, {}))
        order.fulfillment_orders[-1].status = "ON_HOLD"
        order.fulfillment_orders[-1].holds.append("INCORRECT_ADDRESS")
        reading = (await adapter.read("order", [str(order.id)]))[str(order.id)]
        await adapter.close()

    assert isinstance(reading, Reading)
    assert sum(isinstance(effect, CancelUnits) for effect in reading.effects) == 60
    (taken,) = [effect for effect in reading.effects if isinstance(effect, TakeOrder)]
    assert [line.count for line in taken.lines] == [40]
    assert taken.hold == Hold("incorrect address")
