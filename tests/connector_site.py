"""A fake channel that a connector feeds into a real service, with everything mapped."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import grpc
from cryptography.fernet import Fernet

from service.channels import connectors
from service.channels.accounts_file import read_accounts
from service.channels.adapter import Delivery, Hint
from service.channels.connectors import Listening, Options, Setup
from service.channels.platforms import installed_platforms
from service.channels.store import schema
from service.channels.store.account_states import token_cipher
from service.channels.store.connector_store import ConnectorStore
from service.settings import Address
from tests.fakes.square.merchant import SquareMerchant
from tests.fakes.square.tokens import MERCHANT_ID
from tests.fakes.tiktok_shop.shop import TikTokShop
from tests.retailer import Retailer
from truestock.v1 import listing_pb2, outlet_pb2

ACCOUNT, CHANNEL = "tiktok-us", "tiktok_shop"
PUBLIC_URL = "http://127.0.0.1:8090"
ANY_PORT = Address("127.0.0.1", 0)
TOKEN_KEY = Fernet.generate_key().decode()
WAIT_SECONDS = 300.0


FakeChannel = TikTokShop | SquareMerchant


@dataclass(frozen=True, slots=True)
class Stand:
    """The account of a fake channel: its channel in the catalog is called like its platform."""

    account: str
    channel: str
    shop: str
    secrets: Mapping[str, str]
    code: str
    """What connects it."""

    @property
    def environment(self) -> dict[str, str]:
        """The secrets, as the accounts file says where they are."""
        values = {f"TEST_{name.upper()}": value for name, value in self.secrets.items()}
        return {**values, "TEST_TOKEN_KEYS": TOKEN_KEY}


def stand_of(shop: FakeChannel) -> Stand:
    """The account of a fake channel."""
    if isinstance(shop, SquareMerchant):
        secrets = {
            "application_id": shop.client_id,
            "application_secret": shop.client_secret,
            "signature_key": shop.signature_key,
        }
        return Stand("square-us", "square", MERCHANT_ID, secrets, shop.tokens.code)
    secrets = {"app_key": shop.app_key, "app_secret": shop.app_secret}
    return Stand(ACCOUNT, CHANNEL, shop.shop_id, secrets, shop.tokens.auth_code)


def environment(shop: FakeChannel) -> dict[str, str]:
    """The secrets of the account."""
    return stand_of(shop).environment


def send_webhooks(shop: FakeChannel, url: str) -> None:
    """Sends webhooks to a URL. Square signs them with the address that its subscription has."""
    if isinstance(shop, SquareMerchant):
        shop.subscribe(f"{PUBLIC_URL}/webhooks/{stand_of(shop).account}", leads_to=url)
    else:
        shop.subscribe(url)


def accounts_text(shop: FakeChannel, public_url: str = PUBLIC_URL, returns: str = "dc") -> str:
    """An accounts file with one account, whose secrets are in the environment."""
    stand = stand_of(shop)
    secrets = "\n".join(f"      {name}: {{env: TEST_{name.upper()}}}" for name in stand.secrets)
    return f"""
token_keys: {{env: TEST_TOKEN_KEYS}}
accounts:
  - name: {stand.account}
    platform: {stand.channel}
    channel: {stand.channel}
    shop: "{stand.shop}"
    public_url: {public_url}
    api_url: {shop.address}
    mode: observe
    secrets:
{secrets}
    returns: {{location: {returns}, disposition: inspect}}
"""


async def map_everything(retailer: Retailer, shop: FakeChannel, units: Mapping[str, int]) -> None:
    """Outlets and listings with units of each SKU: one warehouse `dc`, or Square's shops `austin` and `boston`."""
    if isinstance(shop, SquareMerchant):
        places = {name: shop.books.add_location(name.capitalize()).id for name in ("austin", "boston")}
        counted = dict.fromkeys(places.values(), units)
        variations = {
            sku: shop.books.add_variation(sku, {outlet: each[sku] for outlet, each in counted.items()}).id
            for sku in units
        }
    else:
        warehouse = next(iter(shop.books.warehouses), None) or shop.books.add_warehouse("Dallas").id
        places = {"dc": warehouse}
        variations = {sku: shop.books.add_sku(sku, {warehouse: count}).id for sku, count in units.items()}
    await _map(retailer, stand_of(shop).channel, places, variations, units)


async def _map(
    retailer: Retailer, channel: str, places: Mapping[str, str], items: Mapping[str, str], units: Mapping[str, int]
) -> None:
    """`places` are outlets by location, `items` by SKU, `units` at each location by SKU."""
    await retailer.channels(**{channel: channel})
    await retailer.stock({(sku, place): count for sku, count in units.items() for place in places})
    await retailer.locations(*places, offers_pickup=True)
    outlets = [
        outlet_pb2.Outlet(channel_id=channel, outlet_id=outlet, location_id=place) for place, outlet in places.items()
    ]
    await retailer.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=outlets))
    listings = [listing_pb2.Listing(channel_id=channel, item_id=item, sku=sku) for sku, item in items.items()]
    await retailer.catalog.UpsertListings(listing_pb2.UpsertListingsRequest(listings=listings))


@dataclass(slots=True)
class Site:
    """A shop, a service and the tables of the connectors between them."""

    shop: Any
    """A `FakeChannel`; its books are those of its platform."""
    retailer: Retailer
    store: ConnectorStore
    setup: Setup
    grpc_address: str

    async def connect(self) -> None:
        """Connects the account, as `truestock channels connect` does."""
        async with grpc.aio.insecure_channel(self.grpc_address) as channel:
            account = self.setup.accounts.accounts[0]
            async with connectors.opened(account, self.setup, self.store, channel) as running:
                await running.adapter.connect(stand_of(self.shop).code)

    @asynccontextmanager
    async def running(self, *, subscribe: bool = True, poll_seconds: float = 0.2) -> AsyncIterator[Listening]:
        """A connector process, in this one."""
        stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
        options = Options(ANY_PORT, ANY_PORT, self.retailer.database_url, timedelta(seconds=poll_seconds))
        work = asyncio.create_task(
            connectors.run(
                self.setup,
                options,
                lambda: grpc.aio.insecure_channel(self.grpc_address),
                stop,
                started=started.set_result,
            )
        )
        await asyncio.wait([work, started], return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
        if subscribe:
            send_webhooks(self.shop, f"http://{started.result().webhooks}/webhooks/{stand_of(self.shop).account}")
        try:
            yield started.result()
        finally:
            self.shop.unsubscribe()
            stop.set()
            await work

    async def order(self, order_id: str) -> Any:
        """The order with its timeline and exceptions; None while Truestock does not know it."""
        try:
            return await self.retailer.find_order(f"{stand_of(self.shop).channel}/{order_id}")
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return None

    async def settled(self) -> None:
        """Waits until every hint has been read."""
        await asyncio.to_thread(self.shop.settle)

        async def nothing_waits() -> bool:
            counts = await self.store.inbox.counts()
            return not any(row["count"] for row in counts if row["state"] == "waiting")

        await until(nothing_waits)


async def until(reached: Callable[[], Awaitable[Any]], what: str = "it") -> Any:
    """Waits until something is true, and returns it. Raises AssertionError where it never is."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        if value := await reached():
            return value
        await asyncio.sleep(0.02)
    raise AssertionError(f"{what} did not come true within {WAIT_SECONDS:g} s")


@asynccontextmanager
async def site_of(retailer: Retailer, shop: FakeChannel, grpc_address: str, returns: str = "dc") -> AsyncIterator[Site]:
    """The tables of connectors in the retailer's database, and the account, which is not connected yet."""
    await schema.migrate(retailer.database_url)
    os.environ.update(environment(shop))
    platforms = installed_platforms()
    accounts = read_accounts("channels.yaml", accounts_text(shop, returns=returns).encode(), platforms)
    store = await ConnectorStore.open(retailer.database_url, connections=2)
    try:
        yield Site(shop, retailer, store, Setup(accounts, platforms, token_cipher(TOKEN_KEY)), grpc_address)
    finally:
        await store.close()


async def read_by_a_connector(database_url: str | None, order_id: str, *, failure: str = "") -> None:
    """Leaves an order in the inbox that has been hinted at and read, or that is parked because of a failure."""
    assert database_url is not None
    await schema.migrate(database_url)
    store = await ConnectorStore.open(database_url, connections=1)
    try:
        now = datetime.now(UTC)
        await store.inbox.accept(ACCOUNT, [Delivery(order_id, "type_1", (Hint("order", order_id, now),))])
        for claim in await store.inbox.claim(ACCOUNT, "order", 100):
            if failure:
                await store.inbox.fail(claim, failure, order_id, unmapped=False, final=True)
            else:
                await store.inbox.finish(claim, now, now)
    finally:
        await store.close()


async def channel_tables(database_url: str) -> str:
    """Everything in the connectors' tables, as text."""
    connection = await asyncpg.connect(database_url)
    try:
        tables = ("accounts", "cursors", "deliveries", "entities")
        rows = [row for table in tables for row in await connection.fetch(f"SELECT * FROM {schema.SCHEMA}.{table}")]
        return "\n".join(str(tuple(row)) for row in rows)
    finally:
        await connection.close()
