"""The fake TikTok Shop, driven by a client that was made from TikTok's documentation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.fakes.receiver import receiving
from tests.fakes.tiktok_shop.shop import TikTokShop
from tests.vendors.presence import NEEDS_TIKTOK

pytestmark = [pytest.mark.long, NEEDS_TIKTOK]


@pytest.fixture(scope="module")
def shop() -> Iterator[TikTokShop]:
    with TikTokShop(seed=11).serving() as shop:
        warehouse = shop.books.add_warehouse("East")
        shop.books.add_sku("MUG", {warehouse.id: 500})
        yield shop


@pytest.fixture
def client(shop: TikTokShop) -> Iterator[Any]:
    from tiktok_shop_api import TikTokShop as Client
    from tiktok_shop_api.auth import TikTokShopAuth

    auth = TikTokShopAuth(shop.app_key, shop.app_secret, base_url=shop.address)
    tokens = auth.exchange_code(shop.tokens.auth_code)
    with Client(shop.app_key, shop.app_secret, tokens.access_token, base_url=shop.address) as unbound:
        (authorized,) = unbound.authorization.get_authorized_shops().data.shops
        with unbound.with_shop(shop_cipher=authorized.cipher) as bound:
            yield bound


def test_orders_are_read_in_pages_and_one_by_one(shop: TikTokShop, client: Any) -> None:
    from tiktok_shop_api.generated.models import GetOrderListRequest

    order = shop.books.buy({"MUG": 2})
    assert order
    for _ in range(25):
        shop.books.place_order({"MUG": 1})
    first = client.orders.get_order_list(page_size=20, body=GetOrderListRequest(update_time_ge=1)).data
    second = client.orders.get_order_list(
        page_size=20, page_token=first.next_page_token, body=GetOrderListRequest(update_time_ge=1)
    ).data
    (read,) = client.orders.get_order_detail(ids=order.id).data.orders

    assert len({row.id for row in [*first.orders, *second.orders]}) == first.total_count == 26
    assert (read.status, [line.seller_sku for line in read.line_items]) == ("AWAITING_SHIPMENT", ["MUG", "MUG"])
    assert read.recipient_address.postal_code == order.shopper.postal_code


def test_a_request_to_cancel_is_found_with_its_deadline_and_rejected(shop: TikTokShop, client: Any) -> None:
    from tiktok_shop_api.generated.models import RejectCancellationRequest, SearchCancellationsRequest

    order = shop.books.buy({"MUG": 1})
    assert order
    asked = shop.books.request_cancel(order)
    request = SearchCancellationsRequest(order_ids=[order.id])
    (row,) = client.return_and_refund.search_cancellations(body=request).data.cancellations
    client.return_and_refund.reject_cancellation(asked.id, body=RejectCancellationRequest(reject_reason="shipped"))

    assert (row.cancel_status, row.should_replenish_stock) == ("CANCELLATION_REQUEST_PENDING", True)
    assert row.seller_next_action_response[0].deadline == asked.created + 86_400
    assert (asked.status, order.status) == ("CANCELLATION_REQUEST_CANCEL", "AWAITING_SHIPMENT")


def test_returns_are_found_by_order(shop: TikTokShop, client: Any) -> None:
    from tiktok_shop_api.generated.models import SearchReturnsRequest

    order = shop.books.buy({"MUG": 1})
    assert order
    shop.books.ship(order)
    shop.books.set_return(shop.books.request_return(order), "RETURN_OR_REFUND_REQUEST_COMPLETE")
    (row,) = client.return_and_refund.search_returns(body=SearchReturnsRequest(order_ids=[order.id])).data.return_orders

    assert (row.return_type, row.return_status) == ("RETURN_AND_REFUND", "RETURN_OR_REFUND_REQUEST_COMPLETE")
    assert row.return_line_items[0].order_line_item_id == order.lines[0].id


def test_stock_is_read_and_written_by_warehouse(shop: TikTokShop, client: Any) -> None:
    from tiktok_shop_api.generated.models import (
        InventorySearchRequest,
        UpdateInventoryRequest,
        UpdateInventoryRequestSku,
        UpdateInventoryRequestSkuInventory,
    )

    (warehouse,) = client.logistics.get_warehouse_list().data.warehouses
    sku = shop.books.add_sku("BOWL", {warehouse.id: 3})
    row = UpdateInventoryRequestSkuInventory(quantity=7, warehouse_id=warehouse.id)
    body = UpdateInventoryRequest(skus=[UpdateInventoryRequestSku(id=sku.id, inventory=[row])])
    client.products.update_inventory(sku.product_id, body=body)
    (product,) = client.products.inventory_search(body=InventorySearchRequest(sku_ids=[sku.id])).data.inventory

    assert product.skus[0].warehouse_inventory[0].available_quantity == 7
    assert int(product.skus[0].id) > 2**53


def test_an_error_inside_a_success_is_an_error_of_the_client(shop: TikTokShop, client: Any) -> None:
    from tiktok_shop_api import TikTokShopError

    shop.conditions.failures.append((200, 36_009_003, "Internal error"))
    with pytest.raises(TikTokShopError) as raised:
        client.logistics.get_warehouse_list()

    assert (raised.value.code, raised.value.http_status) == (36_009_003, 200)


def test_webhooks_are_subscribed_verified_and_read(shop: TikTokShop, client: Any) -> None:
    from tiktok_shop_api import Webhooks
    from tiktok_shop_api.generated.models import UpdateShopWebhookRequest, UpdateShopWebhookRequestEventType

    with receiving() as receiver:
        for name in ("ORDER_STATUS_CHANGE", "CANCELLATION_STATUS_CHANGE", "RETURN_STATUS_CHANGE"):
            event_type = UpdateShopWebhookRequestEventType(name)
            client.event.update_shop_webhook(body=UpdateShopWebhookRequest(receiver.url, event_type))
        order = shop.books.buy({"MUG": 2})
        assert order
        shop.books.cancel(order, lines=order.lines[:1])
        shop.books.request_return(order)
        shop.pass_time(timedelta(seconds=1))
        shop.settle()
        shop.api.webhooks.clear()

        events = [
            Webhooks.verify_and_parse(
                app_key=shop.app_key, app_secret=shop.app_secret, raw_body=body, signature=headers["authorization"]
            )
            for headers, body in receiver.received
        ]
        names = sorted(type(event).__name__ for event in events)
        assert names == [
            "CancellationStatusChangeWebhook",
            "OrderStatusChangeWebhook",
            "OrderStatusChangeWebhook",
            "OrderStatusChangeWebhook",
            "ReturnStatusChangeWebhook",
        ]


def test_tokens_are_refreshed_by_the_client(shop: TikTokShop) -> None:
    from tiktok_shop_api.auth import TikTokShopAuth

    auth = TikTokShopAuth(shop.app_key, shop.app_secret, base_url=shop.address)
    first = auth.exchange_code(shop.tokens.auth_code)
    second = auth.refresh(first.refresh_token)

    assert second.refresh_token != first.refresh_token
    assert shop.tokens.is_good(second.access_token)
