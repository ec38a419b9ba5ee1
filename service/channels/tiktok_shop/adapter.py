"""One TikTok shop: verifies its webhooks, reads and lists what changed, connects the account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from service.channels.accounts import Account
from service.channels.adapter import (
    Abilities,
    Check,
    Delivery,
    ExternalItem,
    ExternalOutlet,
    Page,
    Platform,
    Tokens,
    scope_check,
    webhook_check,
)
from service.channels.effects import Reading
from service.channels.errors import AuthorizationLost, ChannelError, Unreadable
from service.channels.listed_pages import ListedPages
from service.channels.tiktok_shop import words
from service.channels.tiktok_shop.client import Client, refresh, token_call
from service.channels.tiktok_shop.signature import WEBHOOK_HEADER, is_genuine

PAGE_SIZE = 100
MOST_PAGES = 10_000
TOPICS = (
    "ORDER_STATUS_CHANGE",
    "RECIPIENT_ADDRESS_UPDATE",
    "PACKAGE_UPDATE",
    "CANCELLATION_STATUS_CHANGE",
    "RETURN_STATUS_CHANGE",
    "SELLER_DEAUTHORIZATION",
)
"""The webhooks that are subscribed: none of them says more than ids and states."""

SCOPES = ("seller.order.info", "seller.product.basic", "seller.return_refund.basic")
"""What orders, items, and cancellations and returns ask for; TikTok's name of the last two is the same."""

_LISTS = {
    words.ORDER: ("/order/202309/orders/search", "orders"),
    words.CANCELLATION: ("/return_refund/202602/cancellations/search", "cancellations"),
    words.RETURN: ("/return_refund/202602/returns/search", "return_orders"),
}
"""Where each kind is listed, and under which name."""
_WEBHOOKS = "/event/202309/webhooks"


class TikTokShop:
    """An `Adapter` of TikTok Shop."""

    def __init__(self, account: Account, tokens: Tokens) -> None:
        self._account = account
        self._tokens = tokens
        self._client = Client(account, tokens)

    async def close(self) -> None:
        """Closes connections."""
        await self._client.close()

    def verify(self, headers: Mapping[str, str], url: str, body: bytes) -> bool:
        """Whether TikTok Shop signed the body, under the current app secret or the previous one."""
        secrets = self._account.secret_versions("app_secret")
        return is_genuine(headers.get(WEBHOOK_HEADER), self._account.secret("app_key"), body, secrets)

    def delivery(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """What a webhook hints at; TikTok's headers say nothing about it."""
        return words.delivery(body)

    async def read(self, kind: str, entity_ids: Sequence[str]) -> Mapping[str, Reading | Exception]:
        """Reads orders, cancellations or returns in one call."""
        if kind == words.ORDER:
            data = await self._client.call("GET", "/order/202507/orders", {"ids": ",".join(entity_ids)})
            return _readings(data.get("orders"), "id", words.order_reading)
        path, name = _LISTS[kind]
        ids, read = ("cancel_id", words.cancellation_reading), ("return_id", words.return_reading)
        id_name, reading = ids if kind == words.CANCELLATION else read
        query = {"page_size": str(PAGE_SIZE)}
        data = await self._client.call("POST", path, query, {f"{id_name}s": list(entity_ids)})
        return _readings(data.get(name), id_name, reading)

    async def changed(self, kind: str, since: datetime, page: str) -> Page:
        """One page of what changed since a time."""
        path, name = _LISTS[kind]
        query = {"page_size": str(PAGE_SIZE), "sort_field": "update_time", "sort_order": "ASC"}
        if page:
            query["page_token"] = page
        data = await self._client.call("POST", path, query, {"update_time_ge": int(since.timestamp())})
        entries = data.get(name) or []
        hints = tuple(hint for entry in entries for hint in words.changed_hints(kind, entry))
        return Page(hints, str(data.get("next_page_token") or ""))

    async def connect(self, code: str) -> list[Check]:
        """Gets tokens with the code of TikTok's authorization page, finds the shop, subscribes webhooks."""
        if code:
            query = {"auth_code": code, "grant_type": "authorized_code"}
            await self._tokens.store(await token_call(self._account, "get", query))
        await self._find_shop()
        return [Check("authorized by the shop", True), *await self.check()]

    async def check(self) -> list[Check]:
        """Looks at the scopes that came with the tokens, and subscribes webhooks that are not, or elsewhere."""
        scopes = _scope_checks(await self._tokens.current())
        data = await self._client.call("GET", _WEBHOOKS)
        present = {
            str(each["event_type"])
            for each in data.get("webhooks") or ()
            if each.get("address") == self._account.webhook_url
        }
        webhooks = [webhook_check(topic) if topic in present else await self._subscribe(topic) for topic in TOPICS]
        return [*scopes, *webhooks]

    async def outlets(self) -> list[ExternalOutlet]:
        """The warehouses that TikTok Shop sells from."""
        data = await self._client.call("GET", "/logistics/202309/warehouses")
        return [
            ExternalOutlet(str(warehouse["id"]), str(warehouse.get("name", "")))
            for warehouse in data.get("warehouses") or ()
            if warehouse.get("type", "SALES_WAREHOUSE") == "SALES_WAREHOUSE"
        ]

    async def items(self) -> list[ExternalItem]:
        """The SKUs of all products that are not deleted."""
        return [
            ExternalItem(str(sku["id"]), str(sku.get("seller_sku") or ""))
            async for product in self._pages("/product/202502/products/search", "products")
            for sku in product.get("skus") or ()
        ]

    async def _pages(self, path: str, name: str) -> AsyncIterator[Mapping[str, Any]]:
        page, pages = "", ListedPages()
        for _ in range(MOST_PAGES):
            query = {"page_size": str(PAGE_SIZE), **({"page_token": page} if page else {})}
            data = await self._client.call("POST", path, query, {})
            for entry in data.get(name) or ():
                yield entry
            page = pages.following(str(data.get("next_page_token") or ""))
            if not page:
                return

    async def _find_shop(self) -> None:
        """Stores the shop's cipher, which every later call names."""
        tokens = {**await self._tokens.current(), "shop_cipher": ""}
        await self._tokens.store(tokens)
        data = await self._client.call("GET", "/authorization/202309/shops")
        shops = {str(shop["id"]): str(shop["cipher"]) for shop in data.get("shops") or ()}
        if self._account.shop not in shops:
            known = ", ".join(sorted(shops)) or "none"
            raise AuthorizationLost(f"the code is not for shop {self._account.shop}, but for these shops: {known}")
        await self._tokens.store({**await self._tokens.current(), "shop_cipher": shops[self._account.shop]})

    async def _subscribe(self, topic: str) -> Check:
        body = {"address": self._account.webhook_url, "event_type": topic}
        try:
            await self._client.call("PUT", _WEBHOOKS, body=body)
        except Unreadable as error:
            return webhook_check(topic, str(error))
        return webhook_check(topic)


def _scope_checks(tokens: Mapping[str, str]) -> list[Check]:
    """What is missing of `SCOPES`; nothing where the tokens came without scopes, which does not mean that all are."""
    granted = set(tokens.get("scopes", "").split())
    todo = "enable it for the app in TikTok Shop's Partner Center, and let the shop authorize the app again"
    return [scope_check(scope, todo, is_granted=scope in granted) for scope in SCOPES] if granted else []


def _readings(
    entries: Sequence[Mapping[str, Any]] | None, id_name: str, read: Callable[[Mapping[str, Any]], Reading]
) -> Mapping[str, Reading | Exception]:
    readings: dict[str, Reading | Exception] = {}
    for entry in entries or ():
        try:
            readings[str(entry.get(id_name))] = read(entry)
        except ChannelError as error:
            readings[str(entry.get(id_name))] = error
    return readings


PLATFORM = Platform(
    name="tiktok_shop",
    abilities=Abilities(
        kinds=(words.ORDER, words.CANCELLATION, words.RETURN),
        most_read=50,
        # Attempts come after 2 minutes, 30 minutes, 3 hours and 12 hours.
        retries_for=timedelta(hours=15, minutes=32),
    ),
    secret_names=("app_key", "app_secret"),
    optional_secret_names=("previous_app_secret",),
    open=TikTokShop,
    refresh=refresh,
)
