"""WatchAvailability of a channel's items: their values, every change of them, and changes of their listings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.retailer import Retailer
from truestock.v1 import availability_service_pb2 as availability_pb, listing_pb2 as listing_pb

HUGE = "9223372036854775808123"
"""The id of an item, a number of more than 64 bits."""
Change = tuple[str, str, int, int]


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 20, ("BOWL", "dc"): 9})
    await retailer.list_item("web", HUGE, "MUG", 6)
    return retailer


class Watcher:
    """The latest value of each SKU and item, as a stream tells them."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self.values: dict[str, int] = {}
        self.versions: list[int] = []
        self.unknown: list[str] = []
        self.token = ""

    async def until(self, **values: int) -> None:
        """Reads until these values, of `item_…` and of SKUs, are the latest."""
        async with asyncio.timeout(20):
            while any(self.values.get(name) != value for name, value in values.items()):
                message = await self._call.read()
                self.unknown += message.unknown_item_ids
                self.token = message.resume_token or self.token
                for change in message.changes:
                    self.values[f"item_{change.item_id}" if change.item_id else change.sku] = change.sellable_count
                    assert bool(change.item_id) != bool(change.sku)
                    self.versions.append(change.version)


@asynccontextmanager
async def watching(shop: Retailer, *item_ids: str, **fields: Any) -> AsyncIterator[Watcher]:
    request = availability_pb.WatchAvailabilityRequest(channel_id="web", item_ids=item_ids, **fields)
    request.heartbeat_interval.seconds = 1
    call = shop.availability.WatchAvailability(request)
    try:
        yield Watcher(call)
    finally:
        call.cancel()


async def test_an_item_and_its_sku_are_watched_from_one_pool(shop: Retailer) -> None:
    async with watching(shop, HUGE, skus=["MUG"]) as watcher:
        await watcher.until(MUG=20, **{f"item_{HUGE}": 3})
        await shop.allocate("A-1", {"MUG": 9})
        await watcher.until(MUG=11, **{f"item_{HUGE}": 1})


async def test_a_changed_listing_has_new_values_and_a_deleted_one_none(shop: Retailer) -> None:
    async with watching(shop, HUGE) as watcher:
        await watcher.until(**{f"item_{HUGE}": 3})
        await shop.list_item("web", HUGE, "BOWL", 2)
        await watcher.until(**{f"item_{HUGE}": 4})
        await shop.count({("BOWL", "dc"): 20})
        await watcher.until(**{f"item_{HUGE}": 10})
        await shop.catalog.DeleteListing(listing_pb.DeleteListingRequest(channel_id="web", item_id=HUGE))
        await watcher.until(**{f"item_{HUGE}": 0})

        assert watcher.versions == sorted(set(watcher.versions))
        assert set(watcher.values) == {f"item_{HUGE}"}


async def test_an_item_that_is_not_mapped_is_listed_and_followed_once_it_is(shop: Retailer) -> None:
    async with watching(shop, HUGE, "new") as watcher:
        await watcher.until(**{f"item_{HUGE}": 3})
        assert watcher.unknown == ["new"]
        await shop.list_item("web", "new", "MUG", 10)
        await watcher.until(item_new=2)


async def test_a_watch_of_all_products_has_no_items(shop: Retailer) -> None:
    async with watching(shop, HUGE) as items, watching(shop) as products:
        await items.until(**{f"item_{HUGE}": 3})
        await products.until(MUG=20, BOWL=9)
        await shop.allocate("A-1", {"MUG": 9})
        await items.until(**{f"item_{HUGE}": 1})
        await products.until(MUG=11)

        assert set(products.values) == {"MUG", "BOWL"}


async def test_a_watch_of_items_resumes_by_its_token_and_by_no_other(shop: Retailer) -> None:
    async with watching(shop, HUGE) as watcher:
        await watcher.until(**{f"item_{HUGE}": 3})
        while not watcher.token:
            await watcher.until()
            watcher.token = (await watcher._call.read()).resume_token
    await shop.allocate("A-1", {"MUG": 9})
    async with watching(shop, HUGE, resume_token=watcher.token) as resumed:
        await resumed.until(**{f"item_{HUGE}": 1})
    async with watching(shop, HUGE, "other", resume_token=watcher.token) as other:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await other.until(MUG=1)

    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
