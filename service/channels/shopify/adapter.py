"""One Shopify shop: verifies its webhooks, reads and lists what changed, connects the account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from service.background import all_of
from service.channels.accounts import Account
from service.channels.adapter import (
    COUNT,
    Abilities,
    Check,
    Delivery,
    ExternalItem,
    ExternalOutlet,
    Hint,
    Page,
    Platform,
    Tokens,
    scope_check,
    webhook_check,
)
from service.channels.effects import Reading
from service.channels.errors import AuthorizationLost, Unreadable
from service.channels.listed_pages import ListedPages
from service.channels.platform_calls import settled_count
from service.channels.shopify import operations as ask, words
from service.channels.shopify.client import Client, Json, grant, refresh
from service.channels.shopify.signature import WEBHOOK_HEADER, is_genuine

PAGE_SIZE = 100
MOST_PAGES = 10_000
MOST_READ = 10
AT_A_TIME = 2
"""Orders that are read at once: one takes 760 points, most of which come back, and the smallest bucket has 2,000."""
REFUNDS_AT_A_TIME = 4
SOME_REFUNDS = 50
"""As many refunds as an order is read with; an order that has so many may have more."""
MOST_REFUNDS = 250
TOPICS: Mapping[str, Sequence[str]] = {
    "ORDERS_CREATE": ("id", "updated_at"),
    "ORDERS_UPDATED": ("id", "updated_at"),
    "ORDERS_CANCELLED": ("id", "updated_at"),
    "REFUNDS_CREATE": ("id", "order_id", "created_at"),
    "INVENTORY_LEVELS_UPDATE": ("inventory_item_id", "location_id", "updated_at"),
    "FULFILLMENT_ORDERS_PLACED_ON_HOLD": ("fulfillment_order",),
    "FULFILLMENT_ORDERS_HOLD_RELEASED": ("fulfillment_order",),
    "APP_UNINSTALLED": ("id",),
}
"""The webhooks that are subscribed, and the only fields that they bring."""


class ShopifyShop:
    """An `Adapter` of Shopify."""

    def __init__(self, account: Account, tokens: Tokens) -> None:
        self._account, self._tokens = account, tokens
        self._client = Client(account, tokens)
        self._room = asyncio.Semaphore(AT_A_TIME)
        self._location_ids: list[str] = []
        """The shop's locations, as of the first page of the last list of changed counts."""

    async def close(self) -> None:
        """Closes connections."""
        await self._client.close()

    def verify(self, headers: Mapping[str, str], url: str, body: bytes) -> bool:
        """Whether Shopify signed the body, under the current client secret or the previous one."""
        return is_genuine(headers.get(WEBHOOK_HEADER), body, self._account.secret_versions("client_secret"))

    def delivery(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """What a webhook hints at."""
        return words.delivery(headers, body)

    async def read(self, kind: str, entity_ids: Sequence[str]) -> Mapping[str, Reading | Exception]:
        """Reads orders, by their own ids or by those of their fulfillment orders; or counts."""
        if kind == COUNT:
            counts = await all_of(self._count(key) for key in entity_ids)
            return dict(zip(entity_ids, counts, strict=True))
        if kind == words.ORDER:
            readings = await all_of(self._order_reading(order_id) for order_id in entity_ids)
            found = zip(entity_ids, readings, strict=True)
            return {entity_id: reading for entity_id, reading in found if reading is not None}
        return await self._read_fulfillment_orders(entity_ids)

    async def changed(self, kind: str, since: datetime, page: str) -> Page:
        """One page of what changed since a time. A fulfillment order that changed hints at its order.

        Counts come by location in turn.
        """
        if kind == COUNT:
            return await self._changed_counts(since, page)
        operation, name, hint = ask.CHANGED_ORDERS, "orders", words.order_hint
        if kind == words.FULFILLMENT_ORDER:
            operation, name, hint = ask.CHANGED_FULFILLMENT_ORDERS, "fulfillmentOrders", words.fulfillment_order_hint
        data = await self._client.ask(operation, first=PAGE_SIZE, after=page or None, query=_since(since))
        hints: tuple[Hint, ...] = tuple(hint(entry) for entry in data[name]["nodes"])
        return Page(hints, _next_page(data[name]))

    async def connect(self, code: str) -> list[Check]:
        """Gets tokens by the code of the merchant's consent, or by the app's own credentials; subscribes webhooks."""
        form = {"code": code, "expiring": "1"} if code else {"grant_type": "client_credentials"}
        await self._tokens.store(await grant(self._account, form))
        return [Check("authorized by the shop", True), *await self.check()]

    async def check(self) -> list[Check]:
        """Looks whether the tokens are for this shop with all scopes, and subscribes webhooks that are not."""
        data = await self._client.ask(ask.INSTALLATION)
        domain = str(data["shop"]["myshopifyDomain"])
        if domain != self._account.shop:
            raise AuthorizationLost(f"the tokens are for shop {domain}, not for {self._account.shop}")
        granted = {str(scope["handle"]) for scope in data["currentAppInstallation"]["accessScopes"]}
        present = await self._subscriptions()
        checks = [_scope_check(scope, granted) for scope in sorted(ask.SCOPES)]
        subscribed = [await self._subscribe(topic, fields, present) for topic, fields in TOPICS.items()]
        return [*checks, *subscribed]

    async def outlets(self) -> list[ExternalOutlet]:
        """The locations that are switched on."""
        return [
            ExternalOutlet(words.number(location["id"]), str(location["name"]))
            async for location in self._nodes(ask.LOCATIONS, "locations")
            if location["isActive"]
        ]

    async def items(self) -> list[ExternalItem]:
        """All variants."""
        return [
            ExternalItem(words.number(variant["id"]), str(variant.get("sku") or ""))
            async for variant in self._nodes(ask.VARIANTS, "productVariants")
        ]

    async def _changed_counts(self, since: datetime, page: str) -> Page:
        if not page or not self._location_ids:
            self._location_ids = [str(each["id"]) async for each in self._nodes(ask.LOCATIONS, "locations")]
        at, _, cursor = page.partition(":")
        number = int(at or 0)
        if number >= len(self._location_ids):
            return Page(())
        location_id = self._location_ids[number]
        data = await self._client.ask(
            ask.CHANGED_LEVELS, location=location_id, first=PAGE_SIZE, after=cursor or None, query=_since(since)
        )
        # A location that was deleted meanwhile has no levels.
        levels = (data["location"] or {}).get("inventoryLevels")
        hints = tuple(words.count_hint(entry) for entry in levels["nodes"]) if levels else ()
        following = _next_page(levels) if levels else ""
        is_last = number + 1 == len(self._location_ids)
        next_page = f"{number}:{following}" if following else "" if is_last else f"{number + 1}:"
        return Page(hints, next_page, is_sorted=False)

    async def _count(self, key: str) -> Reading | Exception:
        """Raises Away and AuthorizationLost; the rest is of this level alone."""
        item_id, location_id = words.item_and_location(key)
        async with self._room:
            try:
                item = (await self._client.ask(ask.LEVEL, item=item_id, location=location_id))["inventoryItem"]
                return settled_count(words.count_reading(item))
            except Unreadable as error:
                return error

    async def _read_fulfillment_orders(self, entity_ids: Sequence[str]) -> Mapping[str, Reading | Exception]:
        ids = [f"gid://shopify/FulfillmentOrder/{entity_id}" for entity_id in entity_ids]
        nodes = [node for node in (await self._client.ask(ask.FULFILLMENT_ORDERS, ids=ids))["nodes"] if node]
        orders = await self.read(words.ORDER, sorted({words.number(node["orderId"]) for node in nodes}))
        readings: dict[str, Reading | Exception] = {}
        for node in nodes:
            order = orders.get(words.number(node["orderId"]))
            if order is not None:
                readings[words.number(node["id"])] = (
                    words.fulfillment_order_reading(node, order) if isinstance(order, Reading) else order
                )
        return readings

    async def _order_reading(self, order_id: str) -> Reading | Exception | None:
        """None where Shopify has no such order. Raises Away and AuthorizationLost; the rest is of this order alone."""
        async with self._room:
            try:
                return await self._read_order(order_id)
            except Unreadable as error:
                return error

    async def _read_order(self, order_id: str) -> Reading | None:
        global_id = f"gid://shopify/Order/{order_id}"
        order = (await self._client.ask(ask.ORDER, id=global_id)).get("order")
        if order is None:
            return None
        lines, pages = order["lineItems"], ListedPages()
        while page := pages.following(_next_page(lines)):
            lines = (await self._client.ask(ask.ORDER_LINES, id=global_id, after=page))["order"]["lineItems"]
            order["lineItems"]["nodes"] += lines["nodes"]
        parts, pages = order["fulfillmentOrders"], ListedPages()
        while page := pages.following(_next_page(parts)):
            asked = await self._client.ask(ask.ORDER_FULFILLMENT_ORDERS, id=global_id, after=page)
            parts = asked["order"]["fulfillmentOrders"]
            order["fulfillmentOrders"]["nodes"] += parts["nodes"]
        return words.order_reading(order, await self._refunds(order), self._account.copies)

    async def _refunds(self, order: Json) -> list[Json]:
        ids = [str(refund["id"]) for refund in order["refunds"]]
        if len(ids) >= SOME_REFUNDS:
            asked = await self._client.ask(ask.ORDER_REFUNDS, id=order["id"])
            ids = [str(refund["id"]) for refund in asked["order"]["refunds"]]
        if len(ids) >= MOST_REFUNDS:
            # Shopify lists refunds without pages.
            raise Unreadable(f"the order has {MOST_REFUNDS} refunds or more; a person has to record what came back")
        refunds: list[Json] = []
        for start in range(0, len(ids), REFUNDS_AT_A_TIME):
            data = await self._client.ask(ask.REFUNDS, ids=ids[start : start + REFUNDS_AT_A_TIME])
            refunds += [refund for refund in data["nodes"] if refund]
        if any(_next_page(refund["refundLineItems"]) for refund in refunds):
            raise Unreadable("a refund of the order has more than 50 lines; a person has to record what came back")
        return refunds

    async def _nodes(self, operation: str, name: str) -> AsyncIterator[Mapping[str, Any]]:
        page, pages = "", ListedPages()
        for _ in range(MOST_PAGES):
            data = (await self._client.ask(operation, after=page or None))[name]
            for node in data["nodes"]:
                yield node
            page = pages.following(_next_page(data))
            if not page:
                return

    async def _subscriptions(self) -> set[tuple[str, str]]:
        """Topics and addresses that are subscribed with just the fields that we want; others are ended."""
        present = set()
        async for node in self._nodes(ask.WEBHOOK_SUBSCRIPTIONS, "webhookSubscriptions"):
            topic, uri = str(node["topic"]), str(node["uri"])
            if uri == self._account.webhook_url and set(node["includeFields"]) == set(TOPICS.get(topic, ())):
                present.add((topic, uri))
            elif uri == self._account.webhook_url:
                await self._client.ask(ask.UNSUBSCRIBE, id=node["id"])
        return present

    async def _subscribe(self, topic: str, fields: Sequence[str], present: set[tuple[str, str]]) -> Check:
        url = self._account.webhook_url
        if (topic, url) in present:
            return webhook_check(topic)
        try:
            data = await self._client.ask(ask.SUBSCRIBE, topic=topic, uri=url, includeFields=list(fields))
        except Unreadable as error:
            return webhook_check(topic, str(error))
        errors = data["webhookSubscriptionCreate"]["userErrors"]
        return webhook_check(topic, "; ".join(str(error["message"]) for error in errors)[:200])


def _since(time: datetime) -> str:
    return f"updated_at:>='{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}'"


def _scope_check(scope: str, granted: set[str]) -> Check:
    # Who may write something may read it.
    has = scope in granted or scope.replace("read_", "write_", 1) in granted
    return scope_check(scope, "add it to the app, and have the merchant accept it", is_granted=has)


def _next_page(connection: Json) -> str:
    info = connection["pageInfo"]
    return str(info["endCursor"]) if info["hasNextPage"] else ""


PLATFORM = Platform(
    name="shopify",
    abilities=Abilities(
        kinds=(words.ORDER, words.FULFILLMENT_ORDER, COUNT),
        most_read=MOST_READ,
        # 8 attempts; then the subscription is deleted.
        retries_for=timedelta(hours=4),
    ),
    secret_names=("client_id", "client_secret"),
    optional_secret_names=("previous_client_secret",),
    open=ShopifyShop,
    refresh=refresh,
    has_copies=True,
)
