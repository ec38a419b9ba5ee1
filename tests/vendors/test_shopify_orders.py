"""Orders of a Shopify shop reach Truestock by themselves: a real service, a real connector, a shop over real HTTP."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest

from service.channels import connectors
from service.channels.accounts_file import read_accounts
from service.channels.connectors import Options, Setup
from service.channels.platforms import installed_platforms
from service.channels.store import schema
from service.channels.store.account_states import token_cipher
from service.channels.store.connector_store import ConnectorStore
from tests.connector_site import ANY_PORT, TOKEN_KEY, channel_tables, until
from tests.fakes.shopify.records import Level, Order
from tests.fakes.shopify.shop import ShopifyShop
from tests.retailer import Retailer
from tests.vendors.presence import NEEDS_NPM
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    listing_pb2,
    order_pb2,
    outlet_pb2,
)

pytestmark = [pytest.mark.long, NEEDS_NPM]

State = allocation_pb.Allocation.State
ACCOUNT, CHANNEL = "shopify-us", "shopify"
COUNTS = "channels/shopify-us/counts"
LOCATIONS = ("austin", "boston")
ON_HOLD, READY = order_pb2.ORDER_STATUS_ON_HOLD, order_pb2.ORDER_STATUS_READY_TO_FULFILL


def accounts_text(shop: ShopifyShop) -> str:
    return f"""
token_keys: {{env: TEST_TOKEN_KEYS}}
accounts:
  - name: {ACCOUNT}
    platform: shopify
    channel: {CHANNEL}
    shop: {shop.domain}
    public_url: http://127.0.0.1:8090
    api_url: {shop.address}
    mode: observe
    secrets:
      client_id: {{env: TEST_CLIENT_ID}}
      client_secret: {{env: TEST_CLIENT_SECRET}}
    returns: {{location: austin, disposition: sellable}}
"""


@dataclass(slots=True)
class ShopifySite:
    """A shop, a service and the tables of the connectors between them."""

    shop: ShopifyShop
    retailer: Retailer
    store: ConnectorStore
    setup: Setup

    async def connect(self, code: str = "") -> list[Any]:
        async with grpc.aio.insecure_channel(self.retailer.service.address) as channel:
            account = self.setup.accounts.accounts[0]
            async with connectors.opened(account, self.setup, self.store, channel) as running:
                return await running.adapter.connect(code)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """A connector process, in this one; webhooks come to where it listens."""
        stop, started = asyncio.Event(), asyncio.get_running_loop().create_future()
        options = Options(ANY_PORT, ANY_PORT, self.retailer.database_url, timedelta(seconds=0.2))
        address = self.retailer.service.address
        connect = lambda: grpc.aio.insecure_channel(address)  # noqa: E731
        work = asyncio.create_task(connectors.run(self.setup, options, connect, stop, started=started.set_result))
        await asyncio.wait([work, started], return_when=asyncio.FIRST_COMPLETED)
        for subscription in self.shop.operations.subscriptions.values():
            subscription.uri = f"http://{started.result().webhooks}/webhooks/{ACCOUNT}"
        try:
            yield
        finally:
            stop.set()
            await work

    async def order(self, order: Order) -> Any:
        try:
            return await self.retailer.find_order(f"{CHANNEL}/{order.id}")
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return None

    async def with_status(self, order: Order, status: Any) -> Any:
        found = await self.order(order)
        return found if found is not None and found.allocation.status == status else None

    async def ready(self, order: Order) -> Any:
        """The order, once it may be fulfilled."""
        return await until(lambda: self.with_status(order, READY))

    async def on_hand(self, sku: str) -> dict[str, int]:
        return {name: (await self.retailer.level(sku, name)).on_hand_count for name in LOCATIONS}

    def buy(self, units: Mapping[str, int], **details: Any) -> Order:
        order = self.shop.books.place_order(units, **details)
        assert order
        return order


@pytest.fixture
def shop() -> Iterator[ShopifyShop]:
    with ShopifyShop(seed=5).serving() as shop:
        yield shop


@pytest.fixture
async def site(retailer: Retailer, shop: ShopifyShop) -> AsyncIterator[ShopifySite]:
    """Two stores with 10 mugs each, which the shop and Truestock know alike."""
    os.environ.update(TEST_CLIENT_ID=shop.client_id, TEST_CLIENT_SECRET=shop.client_secret, TEST_TOKEN_KEYS=TOKEN_KEY)
    places = {shop.books.add_location(name.capitalize()).id: name for name in LOCATIONS}
    item = shop.books.add_item("MUG", dict.fromkeys(places, 10))
    await retailer.channels(**{CHANNEL: "shopify"})
    await retailer.stock({("MUG", name): 10 for name in LOCATIONS})
    outlets = [
        outlet_pb2.Outlet(channel_id=CHANNEL, outlet_id=str(number), location_id=name)
        for number, name in places.items()
    ]
    await retailer.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=outlets))
    listing = listing_pb2.Listing(channel_id=CHANNEL, item_id=str(item.variant_id), sku="MUG")
    await retailer.catalog.UpsertListings(listing_pb2.UpsertListingsRequest(listings=[listing]))
    await schema.migrate(retailer.database_url)
    platforms = installed_platforms()
    accounts = read_accounts("channels.yaml", accounts_text(shop).encode(), platforms)
    store = await ConnectorStore.open(retailer.database_url, connections=2)
    try:
        yield ShopifySite(shop, retailer, store, Setup(accounts, platforms, token_cipher(TOKEN_KEY)))
    finally:
        await store.close()


async def test_connecting_says_what_works_and_subscribes_only_to_ids(site: ShopifySite) -> None:
    first = await site.connect()
    again = await site.connect(site.shop.tokens.code)

    assert [check.what for check in first if not check.works] == []
    assert [check.what for check in again if not check.works] == []
    subscriptions = site.shop.operations.subscriptions.values()
    assert sorted(each.topic for each in subscriptions) == sorted({each.topic for each in subscriptions})
    fields = {field for each in subscriptions for field in each.include_fields}
    levels = {"inventory_item_id", "location_id"}
    assert fields == {"id", "updated_at", "order_id", "created_at", "fulfillment_order", *levels}


async def test_an_order_is_promised_held_released_changed_and_cancelled(site: ShopifySite) -> None:
    await site.connect()
    books = site.shop.books
    async with site.running():
        order = site.buy({"MUG": 3}, note="leave it at the door")
        ready = await site.ready(order)
        books.hold(order, "INCORRECT_ADDRESS")
        held = await until(lambda: site.with_status(order, ON_HOLD))
        books.release(order)
        await site.ready(order)
        books.edit(order, {"MUG": 2})

        async def has_two() -> bool:
            found = await site.order(order)
            return [line.promised_count for line in found.allocation.lines] == [2]

        await until(has_two)
        books.cancel(order)
        cancelled = await until(lambda: _cancelled(site, order))

    assert [line.promised_count for line in ready.allocation.lines] == [3]
    assert held.allocation.hold.reason == "incorrect address"
    assert cancelled.allocation.state == State.STATE_CANCELLED
    tables = await channel_tables(site.retailer.database_url)
    assert not any(text in tables for text in [*site.shop.personal_data(), "leave it at the door"])
    assert (await site.retailer.ledger()).balanced


async def test_a_sale_at_a_register_is_taken_off_its_store_once_and_comes_back_elsewhere(site: ShopifySite) -> None:
    await site.connect()
    books = site.shop.books
    austin, boston = books.locations.values()
    async with site.running():
        sale = books.sell_at_till({"MUG": 2}, austin)
        await until(lambda: _has(site, {"austin": 8, "boston": 10}))
        books.refund(sale, {"MUG": 1}, "RETURN", boston)
        await until(lambda: _has(site, {"austin": 8, "boston": 11}))

    assert await site.order(sale) is None
    assert (await site.retailer.ledger()).balanced
    level: Level = books.level("MUG", boston)
    assert level.quantity("on_hand") == 11


async def test_counts_are_read_only_once_somebody_declares_what_they_mean(site: ShopifySite) -> None:
    await site.connect()
    books = site.shop.books
    austin, boston = books.locations.values()
    async with site.running():
        books.set_on_hand("MUG", austin, 7)
        await site.ready(site.buy({"MUG": 1}))
        before, reads = await site.on_hand("MUG"), site.shop.operations.level_reads
        feed = catalog_pb.Feed(source=COUNTS, role=catalog_pb.Feed.ROLE_OWNER, computed=True, location_ids=LOCATIONS)
        await site.retailer.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[feed]))
        # The count from before the declaration comes with a poll, later ones by webhooks or polls.
        await until(lambda: _has(site, {"austin": 7, "boston": 10}))
        site.shop.faults.losses = 1.0
        books.set_on_hand("MUG", boston, 4)
        await until(lambda: _has(site, {"austin": 7, "boston": 4}))

    assert (before, reads) == ({"austin": 10, "boston": 10}, 0)
    assert (await site.retailer.ledger()).balanced


async def test_orders_that_no_webhook_brought_come_with_the_next_poll(site: ShopifySite) -> None:
    await site.connect()
    site.shop.faults.losses = 1.0
    async with site.running():
        orders = [site.buy({"MUG": 1}) for _ in range(5)]
        for order in orders:
            await site.ready(order)


async def test_a_token_that_died_is_replaced_and_nothing_is_lost(site: ShopifySite) -> None:
    await site.connect(site.shop.tokens.code)
    async with site.running():
        await site.ready(site.buy({"MUG": 1}))
        site.shop.tokens.expire_access()
        orders = [site.buy({"MUG": 1}) for _ in range(6)]
        for order in orders:
            await site.ready(order)

    assert site.shop.tokens.refreshes == 1


async def _cancelled(site: ShopifySite, order: Order) -> Any:
    found = await site.order(order)
    return found if found.allocation.state == State.STATE_CANCELLED else None


async def _has(site: ShopifySite, wanted: Mapping[str, int]) -> bool:
    return await site.on_hand("MUG") == wanted
