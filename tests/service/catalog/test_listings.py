"""Listings: which item of which channel is how many units of which SKU, as upserted, listed and deleted."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from tests.retailer import Retailer, refused
from truestock.v1 import listing_pb2 as listing_pb

HUGE = "9223372036854775808123"
"""A number of more than 64 bits."""


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    await retailer.stock({("MUG", "dc"): 20, ("BOWL", "dc"): 9})
    await retailer.channels(tiktok="")
    return retailer


async def listed(shop: Retailer, **filters: Any) -> list[tuple[str, str, str, int]]:
    response = await shop.catalog.ListListings(listing_pb.ListListingsRequest(**filters))
    return [(x.channel_id, x.item_id, x.sku, x.unit_count) for x in response.listings]


async def test_listings_are_listed_by_channel_and_item_and_by_every_filter(shop: Retailer) -> None:
    await shop.list_item("web", HUGE, "MUG")
    await shop.list_item("web", "case", "MUG", 6)
    await shop.list_item("tiktok", "case", "BOWL", 4)

    everything = [("tiktok", "case", "BOWL", 4), ("web", HUGE, "MUG", 1), ("web", "case", "MUG", 6)]
    assert await listed(shop) == everything
    assert await listed(shop, channel_ids=["web"]) == everything[1:]
    assert await listed(shop, item_ids=["case"]) == [everything[0], everything[2]]
    assert await listed(shop, skus=["MUG"]) == everything[1:]
    assert await listed(shop, skus=["MUG", "BOWL"], channel_ids=["web", "web", "tiktok"]) == everything
    assert await listed(shop, skus=["BOWL"], item_ids=["case"], channel_ids=["web"]) == []


async def test_an_upsert_replaces_a_listing_and_counts_it(shop: Retailer) -> None:
    created = await shop.list_item("web", "1", "MUG")
    updated = await shop.list_item("web", "1", "BOWL", 12)
    checked = await shop.list_item("web", "1", "MUG", validate_only=True)

    assert (created.created_count, updated.updated_count, checked.updated_count) == (1, 1, 1)
    assert await listed(shop) == [("web", "1", "BOWL", 12)]


@pytest.mark.parametrize(
    ("listing", "code", "field"),
    [
        ({"channel_id": "nowhere", "item_id": "1", "sku": "MUG"}, "NOT_FOUND", "listings[0].channel_id"),
        ({"channel_id": "web", "item_id": "1", "sku": "MUGG"}, "NOT_FOUND", "listings[0].sku"),
        ({"channel_id": "web", "sku": "MUG"}, "INVALID_ARGUMENT", "listings[0].item_id"),
        ({"channel_id": "web", "item_id": "1" * 129, "sku": "MUG"}, "INVALID_ARGUMENT", "listings[0].item_id"),
        (
            {"channel_id": "web", "item_id": "1", "sku": "MUG", "unit_count": 10_001},
            "INVALID_ARGUMENT",
            "listings[0].unit_count",
        ),
        (
            {"channel_id": "web", "item_id": "1", "sku": "MUG", "unit_count": -1},
            "INVALID_ARGUMENT",
            "listings[0].unit_count",
        ),
    ],
)
async def test_a_listing_that_cannot_be_is_refused_with_the_others(
    shop: Retailer, listing: dict[str, Any], code: str, field: str
) -> None:
    good = listing_pb.Listing(channel_id="web", item_id="good", sku="MUG")
    request = listing_pb.UpsertListingsRequest(listings=[listing_pb.Listing(**listing), good])
    error = await refused(shop.catalog.UpsertListings(request))

    assert error.code().name == code
    assert field in str(error.details()) or field in str(error.trailing_metadata())
    assert await listed(shop) == []


async def test_an_item_that_is_twice_in_a_request_is_refused(shop: Retailer) -> None:
    listings = [listing_pb.Listing(channel_id="web", item_id="1", sku=sku) for sku in ("MUG", "BOWL")]
    error = await refused(shop.catalog.UpsertListings(listing_pb.UpsertListingsRequest(listings=listings)))

    assert "listings[1].item_id: '1' is listings[0] too" in str(error.details())


async def test_a_deleted_listing_is_shown_once_more_and_then_missing(shop: Retailer) -> None:
    await shop.list_item("web", "1", "MUG", 6)
    request = listing_pb.DeleteListingRequest(channel_id="web", item_id="1")

    checked = await shop.catalog.DeleteListing(
        listing_pb.DeleteListingRequest(channel_id="web", item_id="1", validate_only=True)
    )
    deleted = await shop.catalog.DeleteListing(request)
    error = await refused(shop.catalog.DeleteListing(request))

    assert checked.listing == deleted.listing
    assert (deleted.listing.sku, deleted.listing.unit_count) == ("MUG", 6)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert await listed(shop) == []
