"""Orders of the fake TikTok shop, and what they are called in Truestock."""

from __future__ import annotations

from tests.acceptance.channels.connector_processes import CHANNEL
from tests.fakes.tiktok_shop.records import Order
from tests.fakes.tiktok_shop.shop import TikTokShop


def placed(shop: TikTokShop, units: dict[str, int]) -> Order:
    """An order that is not paid yet."""
    order = shop.books.place_order(units)
    assert order is not None
    return order


def bought(shop: TikTokShop, units: dict[str, int]) -> Order:
    """An order that is paid, and whose remorse hour is over."""
    order = shop.books.buy(units)
    assert order is not None
    return order


def key_of(order: Order) -> str:
    """`channel/order`."""
    return f"{CHANNEL}/{order.id}"
