"""Watching availability: the last value is never missed, versions only rise, and it takes no more than it must."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from tests.conftest import RetailerMaker
from tests.retailer import HOLD, Retailer
from truestock.v1 import availability_service_pb2 as availability_pb

Code = grpc.StatusCode


class Ear:
    """One who watches and keeps what was last told. Fails where a version falls."""

    def __init__(self, call: Any) -> None:
        self.call = call
        self.versions: dict[str, int] = {}
        self.sellable: dict[str, int] = {}
        self.largest: dict[str, int] = {}
        self.token = ""
        self.messages = 0
        self.told = 0

    async def listen(self) -> None:
        async for message in self.call:
            self.hear(message)

    def hear(self, message: availability_pb.WatchAvailabilityResponse) -> None:
        self.messages += 1
        for change in message.changes:
            assert change.version >= self.versions.get(change.sku, 0)
            self.versions[change.sku] = change.version
            self.sellable[change.sku] = change.sellable_count
            self.largest[change.sku] = change.largest_single_order_count
            self.told += 1
        self.token = message.resume_token or self.token

    async def hears(self, figures: dict[str, int], seconds: float = 5.0) -> None:
        """Waits until these figures, and perhaps others, were told last."""
        await self.until(lambda: figures.items() <= self.sellable.items(), seconds, lambda: self.sellable)

    async def until(self, is_true: Any, seconds: float = 5.0, shown: Any = lambda: "") -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while not is_true():
            assert asyncio.get_running_loop().time() < deadline, f"not told in {seconds} s: {shown()}"
            await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(
    shop: Retailer, *skus: str, token: str = "", channel_id: str = "web", into: Ear | None = None
) -> AsyncIterator[Ear]:
    request = availability_pb.WatchAvailabilityRequest(channel_id=channel_id, skus=skus, resume_token=token)
    request.heartbeat_interval.FromSeconds(1)
    call = shop.availability.WatchAvailability(request)
    ear = into or Ear(call)
    ear.call = call
    listening = asyncio.create_task(ear.listen())
    try:
        yield ear
    finally:
        call.cancel()
        await asyncio.wait([listening])
        assert listening.cancelled() or listening.exception() is None or isinstance(
            listening.exception(), grpc.aio.AioRpcError | asyncio.CancelledError
        ), listening.exception()


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 10, ("PAN", "dc"): 5})
    return retailer


async def test_everything_is_told_first_and_then_what_changes(shop: Retailer) -> None:
    async with watching(shop) as ear:
        await ear.hears({"MUG": 10, "PAN": 5})
        await shop.allocate("A-1", {"MUG": 3})
        await ear.hears({"MUG": 7, "PAN": 5})

    assert ear.versions == {"MUG": 2, "PAN": 1}
