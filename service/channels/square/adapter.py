"""One Square merchant: verifies its webhooks, reads and lists what changed, connects the account."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from service.channels.accounts import Account, SecretMissing
from service.channels.adapter import (
    COUNT,
    Abilities,
    Check,
    CheckKind,
    Delivery,
    ExternalItem,
    ExternalOutlet,
    Page,
    Platform,
    Tokens,
    scope_check,
)
from service.channels.effects import Reading
from service.channels.errors import AuthorizationLost, ChannelError, NotYet, Unreadable
from service.channels.listed_pages import ListedPages
from service.channels.platform_calls import settled_count
from service.channels.square import subscriptions, words
from service.channels.square.client import Client, Json, grant, refresh
from service.channels.square.signature import WEBHOOK_HEADER, is_genuine

PAGE_SIZE = 200
MOST_PAGES = 10_000
MOST_READ = 50
MOST_SEARCHED_LOCATIONS = 10
"""Locations that one search of orders may name."""
RESTOCK_WAIT = timedelta(seconds=20)
"""How long after a return Square may still say what became of its units."""
_COUNTS = "/v2/inventory/counts/batch-retrieve"
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
SCOPES = ("INVENTORY_READ", "ITEMS_READ", "MERCHANT_PROFILE_READ", "ORDERS_READ", "PAYMENTS_READ")


class SquareMerchant:
    """An `Adapter` of Square."""

    def __init__(self, account: Account, tokens: Tokens) -> None:
        self._account, self._tokens = account, tokens
        self._client = Client(account, tokens)
        self._places: list[str] = []
        """The merchant's locations, as of the first page of the last list of changed orders."""

    async def close(self) -> None:
        """Closes connections."""
        await self._client.close()

    def verify(self, headers: Mapping[str, str], url: str, body: bytes) -> bool:
        """Whether Square signed the URL and the body, by the subscription's key or its previous one."""
        return is_genuine(headers.get(WEBHOOK_HEADER), url, body, self._account.secret_versions("signature_key"))

    def delivery(self, headers: Mapping[str, str], body: bytes) -> Delivery:
        """What a webhook hints at; Square's headers say nothing about it."""
        return words.delivery(body)

    async def read(self, kind: str, entity_ids: Sequence[str]) -> Mapping[str, Reading | Exception]:
        """Reads counts; or orders, those that they return units of, and what became of the units."""
        if kind == COUNT:
            return await self._counts(entity_ids)
        orders = await self._orders(entity_ids)
        sources = await self._orders(sorted({each for order in orders for each in _sources(order)}))
        by_id = {str(order.get("id")): order for order in sources}
        return {str(order.get("id")): await self._reading(order, by_id) for order in orders}

    async def changed(self, kind: str, since: datetime, page: str) -> Page:
        """One page of what changed since a time. Orders come by ten locations in turn, counts the newest first."""
        if kind == COUNT:
            body = {"states": [words.IN_STOCK], "updated_after": since.astimezone(UTC).isoformat(), "limit": PAGE_SIZE}
            answer = await self._client.call("POST", _COUNTS, {**body, **({"cursor": page} if page else {})})
            hints = tuple(words.listed_count_hint(count) for count in answer.get("counts") or ())
            return Page(hints, str(answer.get("cursor") or ""), is_sorted=False)
        return await self._changed_orders(since, page)

    async def _changed_orders(self, since: datetime, page: str) -> Page:
        if not page or not self._places:
            self._places = sorted([place["id"] async for place in self._pages("GET", "/v2/locations", "locations")])
        places = self._places
        number, _, cursor = page.partition(":")
        start = int(number or 0)
        times = {"updated_at": {"start_at": since.astimezone(UTC).isoformat()}}
        body: dict[str, Any] = {
            "location_ids": places[start : start + MOST_SEARCHED_LOCATIONS],
            "limit": PAGE_SIZE,
            "query": {
                "filter": {"date_time_filter": times},
                "sort": {"sort_field": "UPDATED_AT", "sort_order": "ASC"},
            },
        }
        if not body["location_ids"]:
            return Page(())
        answer = await self._client.call(
            "POST", "/v2/orders/search", {**body, **({"cursor": cursor} if cursor else {})}
        )
        hints = tuple(words.order_hint(order) for order in answer.get("orders") or ())
        following, next_cursor = start + MOST_SEARCHED_LOCATIONS, str(answer.get("cursor") or "")
        next_page = f"{start}:{next_cursor}" if next_cursor else f"{following}:" if following < len(places) else ""
        return Page(hints, next_page, is_sorted=len(places) <= MOST_SEARCHED_LOCATIONS)

    async def connect(self, code: str) -> list[Check]:
        """Gets tokens by the code of the merchant's consent, looks at their scopes, subscribes webhooks."""
        if code:
            await self._tokens.store(await grant(self._account, {"grant_type": "authorization_code", "code": code}))
        return [Check("authorized by the merchant", True), *await self.check()]

    async def check(self) -> list[Check]:
        """Looks whether the tokens are for this merchant with all scopes, and subscribes webhooks that are not."""
        status = await self._client.call("POST", "/oauth2/token/status")
        if status.get("merchant_id") != self._account.shop:
            raise AuthorizationLost(
                f"the tokens are for merchant {status.get('merchant_id')}, not for {self._account.shop}"
            )
        granted = {str(scope) for scope in status.get("scopes") or ()}
        checks = [_scope_check(scope, granted) for scope in SCOPES]
        return [*checks, *await self._subscribed()]

    async def outlets(self) -> list[ExternalOutlet]:
        """The locations that are active."""
        return [
            ExternalOutlet(str(place["id"]), str(place.get("name") or ""))
            async for place in self._pages("GET", "/v2/locations", "locations")
            if place.get("status") == "ACTIVE"
        ]

    async def items(self) -> list[ExternalItem]:
        """The variations of all items."""
        return [
            ExternalItem(str(variation["id"]), str((variation.get("item_variation_data") or {}).get("sku") or ""))
            async for item in self._pages("GET", "/v2/catalog/list", "objects", {"types": "ITEM"})
            for variation in (item.get("item_data") or {}).get("variations") or ()
        ]

    async def _subscribed(self) -> list[Check]:
        url = self._account.webhook_url
        try:
            self._account.secret("personal_access_token")
        except SecretMissing:
            return [subscriptions.cannot_look(url)]
        try:
            return await subscriptions.ensured(self._client, url, self._account.secret("signature_key"))
        except Unreadable as error:
            return [Check("webhooks", False, str(error), CheckKind.WEBHOOK)]

    async def _counts(self, keys: Sequence[str]) -> Mapping[str, Reading | Exception]:
        body = {
            "catalog_object_ids": sorted({words.item_of(key) for key in keys}),
            "location_ids": sorted({words.outlet_of(key) for key in keys}),
            "states": [words.IN_STOCK],
        }
        # Square answers nothing of what it does not count.
        readings: dict[str, Reading | Exception] = dict.fromkeys(keys, Reading(_LONG_AGO, left_out="not_counted"))
        async for count in self._pages("POST", _COUNTS, "counts", body):
            if (key := words.count_key(count)) in readings:
                readings[key] = _count(count)
        return readings

    async def _orders(self, order_ids: Sequence[str]) -> Sequence[Json]:
        if not order_ids:
            return ()
        answer = await self._client.call("POST", "/v2/orders/batch-retrieve", {"order_ids": list(order_ids)})
        return answer.get("orders") or ()

    async def _reading(self, order: Json, sources: Mapping[str, Json]) -> Reading | Exception:
        """Raises Away and AuthorizationLost; the rest is of this order alone."""
        try:
            question = words.restock_question(order)
            changes = [] if question is None else [each async for each in self._changes(question)]
            is_settled = question is None or datetime.now(UTC) - question.since > RESTOCK_WAIT
            return words.order_reading(order, sources, changes, is_settled=is_settled)
        except (Unreadable, NotYet) as error:
            return error

    async def _changes(self, question: words.RestockQuestion) -> AsyncIterator[Json]:
        body = {
            "catalog_object_ids": list(question.item_ids),
            "location_ids": [question.outlet_id],
            "types": ["ADJUSTMENT"],
            "updated_after": question.since.isoformat(),
        }
        async for change in self._pages("POST", "/v2/inventory/changes/batch-retrieve", "changes", body):
            yield change

    async def _pages(
        self, method: str, path: str, name: str, asked: Mapping[str, Any] | None = None
    ) -> AsyncIterator[Json]:
        cursor, cursors = "", ListedPages()
        for _ in range(MOST_PAGES):
            question = {**(asked or {}), **({"cursor": cursor} if cursor else {})}
            if method == "GET":
                answer = await self._client.call(method, path, query=question)
            else:
                answer = await self._client.call(method, path, question)
            for entry in answer.get(name) or ():
                yield entry
            cursor = cursors.following(str(answer.get("cursor") or ""))
            if not cursor:
                return


def _count(count: Json) -> Reading | Exception:
    try:
        return settled_count(words.count_reading(count))
    except Unreadable as error:
        return error


def _sources(order: Json) -> Sequence[str]:
    try:
        return words.source_order_ids(order)
    except ChannelError:
        return ()  # What is wrong with it is said when it is read.


def _scope_check(scope: str, granted: set[str]) -> Check:
    return scope_check(scope, "ask for it on the page where the merchant consents", is_granted=scope in granted)


PLATFORM = Platform(
    name="square",
    abilities=Abilities(kinds=(words.ORDER, COUNT), most_read=MOST_READ, retries_for=timedelta(hours=24)),
    secret_names=("application_id", "application_secret", "signature_key"),
    optional_secret_names=("previous_signature_key", "personal_access_token"),
    open=SquareMerchant,
    refresh=refresh,
    # Square recommends to refresh every 7 days or less, though access tokens last 30.
    refresh_after=timedelta(days=7),
)
