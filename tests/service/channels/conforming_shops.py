"""Every platform with its fake channel, as the tests of adapters see them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from service.channels.accounts import Account, SecretSource
from service.channels.adapter import Platform
from service.channels.platforms import installed_platforms
from tests.connector_site import PUBLIC_URL, send_webhooks, stand_of
from tests.fakes.corner_till import PLATFORM as CORNER_TILL, CornerTill
from tests.fakes.shopify.shop import ShopifyShop
from tests.fakes.square.merchant import SquareMerchant
from tests.fakes.tiktok_shop.shop import TikTokShop


@dataclass(slots=True)
class ConformingShop:
    """A shop that sells 2 mugs at a time, and its account."""

    fake: Any
    platform: Platform
    account: Account
    code: str
    kind: str
    """Of what it sells."""
    buy: Callable[[], str]
    """A shopper buys; the id of what was bought."""
    subscribe: Callable[[str], object]
    expire: Callable[[], object]
    revoke: Callable[[], object]
    refreshes: Callable[[], int]
    personal_data: Callable[[], list[str]]


@dataclass(slots=True)
class KeptTokens:
    """Tokens in memory."""

    account: Account
    platform: Platform
    values: dict[str, str] = field(default_factory=dict)

    async def current(self) -> Mapping[str, str]:
        return self.values

    async def renewed(self, stale: Mapping[str, str]) -> Mapping[str, str]:
        self.values = {**self.values, **await self.platform.refresh(self.account, self.values)}
        return self.values

    async def store(self, tokens: Mapping[str, str]) -> None:
        self.values = dict(tokens)


def _account(platform: str, name: str, shop: str, secrets: Mapping[str, str], address: str) -> Account:
    os.environ.update({f"TEST_{key.upper()}": value for key, value in secrets.items()})
    sources = {key: SecretSource("env", f"TEST_{key.upper()}") for key in secrets}
    return Account(name, platform, platform, shop, PUBLIC_URL, sources, api_url=address)


@contextmanager
def tiktok_shop() -> Iterator[ConformingShop]:
    with TikTokShop().serving() as fake:
        warehouse = fake.books.add_warehouse("Dallas")
        fake.books.add_sku("MUG", {warehouse.id: 1_000})
        yield _of_stand(fake, fake.books.buy, fake.deauthorize)


@contextmanager
def square() -> Iterator[ConformingShop]:
    with SquareMerchant().serving() as fake:
        place = fake.books.add_location("Austin")
        fake.books.add_variation("MUG", {place.id: 1_000})
        yield _of_stand(fake, lambda units: fake.books.sell_at_till(units, place), fake.revoke)


@contextmanager
def shopify() -> Iterator[ConformingShop]:
    with ShopifyShop().serving() as fake:
        place = fake.books.add_location("Austin")
        fake.books.add_item("MUG", {place.id: 1_000})
        secrets = {"client_id": fake.client_id, "client_secret": fake.client_secret}
        account = _account("shopify", "shopify-us", fake.domain, secrets, fake.address)
        yield _shop(fake, account, fake.tokens.code, fake.books.place_order, fake.uninstall, fake.subscribe)


@contextmanager
def corner_till() -> Iterator[ConformingShop]:
    with CornerTill().serving() as fake:
        account = Account("till", "corner_till", "corner_till", "1", PUBLIC_URL, {}, api_url=fake.address)
        yield ConformingShop(
            fake,
            CORNER_TILL,
            account,
            fake.token,
            "sale",
            fake.sell,
            subscribe=lambda url: setattr(fake, "hook", url),
            expire=lambda: setattr(fake, "token", "another"),
            revoke=lambda: setattr(fake, "authorized", False),
            refreshes=lambda: fake.refreshes,
            personal_data=lambda: ["Ysolda", "Quonsett"],
        )


def _of_stand(fake: Any, buy: Callable[[dict[str, int]], Any], revoke: Callable[[], object]) -> ConformingShop:
    stand = stand_of(fake)
    account = _account(stand.channel, stand.account, stand.shop, stand.secrets, fake.address)
    return _shop(fake, account, stand.code, buy, revoke, lambda url: send_webhooks(fake, url))


def _shop(
    fake: Any,
    account: Account,
    code: str,
    buy: Callable[[dict[str, int]], Any],
    revoke: Callable[[], object],
    subscribe: Callable[[str], object],
) -> ConformingShop:
    return ConformingShop(
        fake,
        installed_platforms()[account.platform],
        account,
        code,
        "order",
        lambda: str(buy({"MUG": 2}).id),
        subscribe,
        fake.tokens.expire_access,
        revoke,
        lambda: int(fake.tokens.refreshes),
        fake.personal_data,
    )
