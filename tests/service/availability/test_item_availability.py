"""Availability of a channel's items: whole items of the units that the channel may sell, all from one pool."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.retailer import SOLD, Retailer, eventually, refused
from truestock.v1 import allocation_service_pb2 as allocation_pb, availability_service_pb2 as availability_pb, order_pb2

HUGE = "9223372036854775808123"
"""The id of an item, a number of more than 64 bits."""


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """20 mugs at one location, sold alone and as a case of 6; bowls at two."""
    await retailer.stock({("MUG", "dc"): 20, ("BOWL", "dc"): 10, ("BOWL", "store"): 9})
    await retailer.list_item("web", HUGE, "MUG", 6)
    await retailer.list_item("web", "single", "MUG")
    await retailer.list_item("web", "bowls", "BOWL", 6)
    return retailer


async def check(shop: Retailer, *item_ids: str, **fields: Any) -> availability_pb.CheckAvailabilityResponse:
    request = availability_pb.CheckAvailabilityRequest(channel_id="web", item_ids=item_ids, **fields)
    response: availability_pb.CheckAvailabilityResponse = await shop.availability.CheckAvailability(request)
    return response


def figures(response: availability_pb.CheckAvailabilityResponse) -> list[tuple[str, str, int, int]]:
    return [(x.sku, x.item_id, x.sellable_count, x.largest_single_order_count) for x in response.availabilities]


async def test_an_item_is_sellable_as_often_as_its_units_are_there(shop: Retailer) -> None:
    response = await check(shop, HUGE, "single", skus=["MUG"])

    assert figures(response) == [("MUG", "", 20, 20), ("MUG", HUGE, 3, 3), ("MUG", "single", 20, 20)]
    assert [x.units_per_item for x in response.availabilities] == [0, 6, 1]
    assert [x.available_count for x in response.availabilities] == [20, 20, 20]


async def test_items_of_one_product_sell_from_one_pool(shop: Retailer) -> None:
    line = order_pb2.OrderLine(item_id=HUGE, unit_count=2)
    await shop.allocations.AllocateOrder(
        allocation_pb.AllocateOrderRequest(channel_id="web", order_id="A-1", commitment=SOLD, lines=[line])
    )

    assert figures(await check(shop, HUGE, "single")) == [("MUG", HUGE, 1, 1), ("MUG", "single", 8, 8)]


async def test_an_item_comes_whole_from_one_location(shop: Retailer) -> None:
    response = await check(shop, "bowls", include_locations=True)

    assert figures(response) == [("BOWL", "bowls", 2, 2)]
    assert [x.sellable_count for x in response.availabilities[0].locations] == [10, 9]


async def test_items_that_are_not_mapped_are_listed_and_fail_nothing(shop: Retailer) -> None:
    response = await check(shop, "other", HUGE, "MUG", skus=["NEW", "MUG"])

    assert [x.item_id for x in response.availabilities] == ["", HUGE]
    assert list(response.unknown_item_ids) == ["other", "MUG"]
    assert list(response.unknown_skus) == ["NEW"]


async def test_only_unknown_items_are_answered_too(shop: Retailer) -> None:
    assert list((await check(shop, "other")).unknown_item_ids) == ["other"]


async def test_an_item_of_another_channel_is_unknown(shop: Retailer) -> None:
    await shop.channels(tiktok="")
    request = availability_pb.CheckAvailabilityRequest(channel_id="tiktok", item_ids=[HUGE])

    assert list((await shop.availability.CheckAvailability(request)).unknown_item_ids) == [HUGE]


@pytest.mark.parametrize(
    ("item_ids", "skus", "field"),
    [
        ([], [], "skus"),
        ([HUGE, HUGE], [], "item_ids[1]"),
        ([" x"], [], "item_ids[0]"),
        (["1" * 129], [], "item_ids[0]"),
        ([str(n) for n in range(250)], [str(n) for n in range(251)], "skus"),
    ],
)
async def test_what_cannot_be_asked_is_an_invalid_field(
    shop: Retailer, item_ids: list[str], skus: list[str], field: str
) -> None:
    error = await refused(check(shop, *item_ids, skus=skus))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert f"{field}: " in str(error.details())


async def test_what_is_published_of_items_is_kept_in_units_the_most_that_was_shown(shop: Retailer) -> None:
    await check(shop, HUGE, "single")
    await check(shop, "bowls")

    async def is_kept() -> bool:
        kept = await shop.sql("SELECT sku, sellable FROM availability_history ORDER BY sku")
        return [tuple(row) for row in kept] == [("BOWL", 12), ("MUG", 20)]

    await eventually(is_kept)
