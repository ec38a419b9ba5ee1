from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from service.channels.tiktok_shop.signature import is_genuine, request_signature
from tests.fakes.receiver import Receiver, receiving
from tests.fakes.tiktok_shop.shop import TikTokShop


class Seller:
    """Calls the API of a shop by our own signatures."""

    def __init__(self, shop: TikTokShop) -> None:
        self.shop = shop
        self.http = httpx2.Client(base_url=shop.address, trust_env=False)
        self.access_token, self.refresh_token = "", ""
        self.token("get", auth_code=shop.tokens.auth_code)

    def token(self, kind: str, **query: str) -> httpx2.Response:
        query |= {"app_key": self.shop.app_key, "app_secret": self.shop.app_secret}
        response = self.http.get(f"/api/v2/token/{kind}", params=query)
        if response.status_code == 200 and response.json()["code"] == 0:
            data = response.json()["data"]
            self.access_token, self.refresh_token = data["access_token"], data["refresh_token"]
        return response

    def call(self, method: str, path: str, body: Any = None, **query: Any) -> httpx2.Response:
        content = b"" if body is None else json.dumps(body).encode()
        parameters: list[tuple[str, Any]] = [(name, str(value)) for name, value in query.items()]
        parameters += [("app_key", self.shop.app_key), ("timestamp", str(int(time.time())))]
        parameters += [("shop_cipher", self.shop.cipher)]
        parameters += [("sign", request_signature(path, parameters, content, self.shop.app_secret))]
        headers = {"x-tts-access-token": self.access_token, "content-type": "application/json"}
        return self.http.request(method, path, params=parameters, content=content, headers=headers)

    def data(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        answer = self.call(method, path, body, **query).json()
        assert answer["code"] == 0, answer
        return answer["data"]


@pytest.fixture
def shop() -> Iterator[TikTokShop]:
    with TikTokShop(seed=7).serving() as shop:
        yield shop


@pytest.fixture
def seller(shop: TikTokShop) -> Iterator[Seller]:
    seller = Seller(shop)
    with closing(seller.http):
        yield seller


@pytest.fixture(scope="module")
def served_receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(served_receiver: Receiver) -> Receiver:
    served_receiver.received.clear()
    served_receiver.status = 200
    return served_receiver


def stocked(shop: TikTokShop, units: int) -> None:
    warehouse = shop.books.add_warehouse("East")
    shop.books.add_sku("MUG", {warehouse.id: units})


def test_shoppers_buy_while_the_number_of_the_channel_is_above_0(shop: TikTokShop) -> None:
    stocked(shop, 2)
    orders = [shop.books.buy({"MUG": 1}) for _ in range(3)]

    assert [order is not None for order in orders] == [True, True, False]
    assert shop.books.sold() == {"MUG": 2}


def test_a_call_that_is_unsigned_or_without_a_token_is_refused(shop: TikTokShop, seller: Seller) -> None:
    assert seller.http.post("/order/202309/orders/search").status_code == 400
    unsigned = {"app_key": shop.app_key, "timestamp": str(int(time.time()))}
    assert seller.http.get("/authorization/202309/shops", params=unsigned).json()["code"] == 106_001

    shop.tokens.expire_access()

    assert seller.call("GET", "/logistics/202309/warehouses").status_code == 401


def test_a_refresh_token_is_replaced_and_its_successor_ends_it(shop: TikTokShop, seller: Seller) -> None:
    first = seller.refresh_token
    shop.conditions.lost_answers = 1

    assert seller.token("refresh", refresh_token=first).status_code == 502
    assert seller.token("refresh", refresh_token=first).json()["code"] == 0
    assert seller.call("GET", "/logistics/202309/warehouses").status_code == 200
    assert seller.token("refresh", refresh_token=first).json()["code"] != 0
    assert shop.tokens.refreshes == 2


def test_orders_come_in_pages_by_the_time_of_their_last_change(shop: TikTokShop, seller: Seller) -> None:
    stocked(shop, 25)
    orders = [shop.books.buy({"MUG": 1}) for _ in range(25)]
    seen: list[str] = []
    token = ""
    while True:
        query = {"page_size": 10, "sort_field": "update_time", "sort_order": "ASC", "page_token": token}
        page = seller.data("POST", "/order/202309/orders/search", {"update_time_ge": 1}, **query)
        seen += [order["id"] for order in page["orders"]]
        token = page["next_page_token"]
        if not token:
            break

    assert sorted(seen) == sorted(order.id for order in orders if order)
    assert page["total_count"] == 25


def test_an_order_has_a_line_for_each_unit_and_hides_its_address_in_the_remorse_hour(
    shop: TikTokShop, seller: Seller
) -> None:
    stocked(shop, 5)
    order = shop.books.place_order({"MUG": 2})
    assert order
    shop.books.pay(order)
    (held,) = seller.data("GET", "/order/202507/orders", ids=order.id)["orders"]
    shop.pass_time(timedelta(hours=1))
    (ready,) = seller.data("GET", "/order/202507/orders", ids=order.id)["orders"]

    assert [line["seller_sku"] for line in held["line_items"]] == ["MUG", "MUG"]
    assert (held["status"], ready["status"]) == ("ON_HOLD", "AWAITING_SHIPMENT")
    assert not any(text in json.dumps(held["recipient_address"]) for text in order.shopper.personal_data())
    assert ready["recipient_address"]["name"] == order.shopper.name


def test_a_request_to_cancel_that_nobody_answers_is_granted_after_a_day(shop: TikTokShop, seller: Seller) -> None:
    stocked(shop, 5)
    answered, unanswered = shop.books.buy({"MUG": 1}), shop.books.buy({"MUG": 1})
    assert answered
    assert unanswered
    rejected = shop.books.request_cancel(answered)
    shop.books.request_cancel(unanswered)
    seller.data("POST", f"/return_refund/202309/cancellations/{rejected.id}/reject", {"reject_reason": "shipped"})

    shop.pass_time(timedelta(days=1))

    assert (answered.status, unanswered.status) == ("AWAITING_SHIPMENT", "CANCELLED")
    assert shop.books.sku("MUG").stock[answered.warehouse_id].available == 4


def test_a_frozen_item_is_an_error_inside_a_success_and_the_others_are_written(
    shop: TikTokShop, seller: Seller
) -> None:
    warehouse = shop.books.add_warehouse("East").id
    mug, bowl = (shop.books.add_sku(name, {warehouse: 1}, product_id="1700000000000000001") for name in ("MUG", "BOWL"))
    bowl.frozen = True
    rows = [{"id": s.id, "inventory": [{"warehouse_id": warehouse, "quantity": 9}]} for s in (mug, bowl)]

    answer = seller.data("POST", f"/product/202309/products/{mug.product_id}/inventory/update", {"skus": rows})

    assert [error["detail"]["sku_id"] for error in answer["errors"]] == [bowl.id]
    assert (mug.stock[warehouse].available, bowl.stock[warehouse].available) == (9, 1)


def test_reads_may_be_older_than_the_books(shop: TikTokShop, seller: Seller) -> None:
    stocked(shop, 5)
    sku = shop.books.sku("MUG")
    shop.pass_time(timedelta(seconds=60))
    shop.conditions.read_age_seconds = 30
    order = shop.books.buy({"MUG": 1})
    assert order

    def seen() -> tuple[int, int]:
        (product,) = seller.data("POST", "/product/202309/inventory/search", {"sku_ids": [sku.id]})["inventory"]
        orders = seller.data("GET", "/order/202507/orders", ids=order.id)["orders"]
        return product["skus"][0]["total_available_quantity"], len(orders)

    assert seen() == (5, 0)
    shop.pass_time(timedelta(seconds=31))
    assert seen() == (4, 1)


def test_calls_above_the_rate_are_throttled_and_told_when_to_come_back(shop: TikTokShop, seller: Seller) -> None:
    shop.conditions.calls_per_second = 2
    statuses = [seller.call("GET", "/logistics/202309/warehouses") for _ in range(6)]

    throttled = [response for response in statuses if response.status_code == 429]
    assert throttled
    assert throttled[0].headers["retry-after"] == "1"


def test_webhooks_are_signed_and_call_a_cancelled_order_by_another_word(shop: TikTokShop, receiver: Receiver) -> None:
    stocked(shop, 5)
    shop.subscribe(receiver.url)
    order = shop.books.buy({"MUG": 1})
    assert order
    shop.books.cancel(order)
    shop.settle()

    assert all(is_genuine(h["authorization"], shop.app_key, body, [shop.app_secret]) for h, body in receiver.received)
    bodies = [json.loads(body) for _, body in receiver.received]
    statuses = {body["data"]["order_status"] for body in bodies if body["type"] == 1}
    assert statuses == {"UNPAID", "ON_HOLD", "AWAITING_SHIPMENT", "CANCEL"}
    assert {body["type"] for body in bodies} == {1, 11}
    assert order.status == "CANCELLED"


def test_a_webhook_that_fails_comes_again_after_2_min_30_min_3_h_and_12_h(receiver: Receiver) -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    with TikTokShop(start=start).serving() as shop:
        stocked(shop, 5)
        shop.subscribe(receiver.url)
        receiver.status = 503
        shop.books.place_order({"MUG": 1})
        shop.settle()
        shop.pass_time(timedelta(days=2))

        bodies = [json.loads(body) for _, body in receiver.received]
        since = [body["timestamp"] - bodies[0]["timestamp"] for body in bodies]
        assert since == pytest.approx([0, 120, 1_920, 12_720, 55_920], abs=60)
        assert len({body["tts_notification_id"] for body in bodies}) == 1
        assert shop.webhooks.results["given up"] == 1


def test_a_seed_decides_which_webhooks_are_lost_come_twice_or_in_another_order(receiver: Receiver) -> None:
    def received(seed: int) -> list[int]:
        receiver.received.clear()
        with TikTokShop(seed=seed).serving() as shop:
            stocked(shop, 100)
            shop.subscribe(receiver.url)
            shop.faults.duplicates, shop.faults.losses, shop.faults.reorder_seconds = 0.3, 0.2, 3_600
            orders = [shop.books.place_order({"MUG": 1}) for _ in range(30)]
            shop.pass_time(timedelta(hours=1))
            numbers = {order.id: number for number, order in enumerate(orders) if order}
            return [numbers[json.loads(body)["data"]["order_id"]] for _, body in receiver.received]

    first = received(3)

    assert received(3) == first != received(4)
    assert len(set(first)) < 30
    assert len(set(first)) < len(first)
    assert sorted(first) != first


def test_nobody_learns_a_shopper_from_a_webhook(shop: TikTokShop, receiver: Receiver) -> None:
    stocked(shop, 5)
    shop.subscribe(receiver.url)
    order = shop.books.buy({"MUG": 1})
    shop.settle()

    assert order
    assert len(shop.personal_data()) == 5
    assert not any(text.encode() in body for _, body in receiver.received for text in shop.personal_data())
