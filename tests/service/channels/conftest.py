"""A TikTok shop whose orders a connector brings; modules of other channels have shops of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.connector_site import Site, map_everything, site_of
from tests.fakes.tiktok_shop.shop import TikTokShop
from tests.retailer import Retailer


@pytest.fixture
def shop() -> Iterator[TikTokShop]:
    # An hour and a few minutes behind, so that an hour can pass without being in the future of the service.
    with TikTokShop(start=datetime.now(UTC) - timedelta(minutes=64)).serving() as shop:
        yield shop


@pytest.fixture
async def site(retailer: Retailer, shop: TikTokShop) -> AsyncIterator[Site]:
    await map_everything(retailer, shop, {"MUG": 10, "TRAY": 5})
    async with site_of(retailer, shop, retailer.service.address) as site:
        await site.connect()
        yield site
