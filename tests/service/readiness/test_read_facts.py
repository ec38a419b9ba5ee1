"""What the checklist reads of products, items, feeds, counts, sales and orders of a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import SOLD, Retailer, change, movement
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    catalog_service_pb2 as catalog_pb,
    order_pb2,
    readiness_service_pb2 as readiness_pb,
)
from truestock.v1.stock_service_pb2 import MOVEMENT_KIND_SOLD

BUFFER = """\
kind: buffer
name: totals
scope: channel
rules:
  - {name: two, when: {channel.kind: web}, hold_back: {units: 2}}
"""


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    (tmp_path / "routing.yaml").write_text((PLAIN_RULES / "plain.yaml").read_text())
    (tmp_path / "buffer.yaml").write_text(BUFFER)
    shop = await retailers.make(tmp_path)
    await shop.stock({("MUG", "dc"): 50, ("BOWL", "dc"): 50, ("MUG", "store"): 50})
    return shop


async def answers(shop: Retailer) -> dict[str, Any]:
    request = readiness_pb.CheckReadinessRequest(channel_id="web")
    found = await shop.readiness.CheckReadiness(request, timeout=60)
    return {answer.question: answer for answer in found.answers}


async def test_each_thing_that_is_wrong_is_read_and_named(shop: Retailer) -> None:
    now = datetime.now(UTC)
    # The till of the store reports a sale of three mugs half an hour late, and another location is silent.
    sale = movement(MOVEMENT_KIND_SOLD, 3)
    await shop.sql(
        "UPDATE stock_level SET as_of_time = as_of_time - interval '2 h', counted_time = now() - interval '2 h'"
    )
    await shop.record(change("MUG", "store", at=now - timedelta(minutes=30), movement=sale), source="till")
    feed = catalog_pb.Feed(source="export", role=catalog_pb.Feed.ROLE_OWNER, location_ids=["dc"])
    feed.cadence_minutes = 10
    await shop.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[feed]))
    await shop.sql("UPDATE feed SET ingest_time = now() - interval '31 min', update_time = now() - interval '31 min'")
    await shop.sql(
        "INSERT INTO stock_comparison (count_time, source, location_id, sku, difference, is_mismatch) "
        "SELECT now(), 'audit', 'store', 'MUG', 1, n <= 5 FROM generate_series(1, 20) n"
    )
    # An item is unknown, another is of a product that is not sold any more.
    await shop.list_item("web", "item-bowl", "BOWL")
    discontinued = catalog_pb.Product(
        sku="BOWL", status=catalog_pb.Product.STATUS_DISCONTINUED, barcode="4006381333931"
    )
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[discontinued]))
    line = order_pb2.OrderLine(line_id="1", item_id="item-new", unit_count=1)
    request = allocation_pb.AllocateOrderRequest(channel_id="web", order_id="1", commitment=SOLD, lines=[line])
    await shop.allocations.AllocateOrder(request)
    await shop.allocate("2", {"MUG": 2}, destination=order_pb2.Destination(country="DE"))

    found = await answers(shop)

    assert list(found["product_data"].details) == [
        "1 product listed and not active: BOWL",
        *(f"1 product without {x}: MUG" for x in ("barcode", "category", "image", "weight", "dimensions")),
    ]
    assert list(found["items_mapped"].details) == [
        "item item-new is not mapped",
        "item item-bowl is mapped to BOWL, which is not active",
    ]
    assert list(found["counts_fresh"].details) == ["dc: feed export has missed three reports"]
    assert list(found["counts_right"].details) == ["store: 5 of 20 counts differed in 30 days"]
    assert found["buffers_wide_enough"].finding == "in the last 14 days 1 of 1 hot hour outran the buffer"
    (outran,) = found["buffers_wide_enough"].details
    assert outran.startswith("MUG at store, ")
    assert outran.endswith("3 units gone within 30 minutes unreported, buffer 2")
    assert "ship to DE (1 order)" in found["destinations_covered"].finding
    assert found["buffers_in_place"].finding == "units of 1 of 1 product kept by two"


async def test_what_a_count_finds_missing_was_unknown_since_the_count_before(shop: Retailer) -> None:
    now = datetime.now(UTC)
    await shop.count({("MUG", "store"): 50}, at=now + timedelta(seconds=1))
    await shop.count({("MUG", "store"): 49}, at=now + timedelta(seconds=2))
    await shop.sql(
        "UPDATE stock_movement SET effective_time = effective_time - interval '4 h' WHERE reported_count = 50"
    )

    found = await answers(shop)

    assert found["buffers_wide_enough"].finding == "in the last 14 days 0 of 1 hot hour outran the buffer"


REQUIREMENTS = """\
kind: listing_requirements
name: tiktok-shop
platform: tiktok_shop
owner: catalog-desk
rules:
  - {name: weight, attribute: weight_grams}
  - {name: title, attribute: display_name, min_length: 10}
"""


async def test_products_of_a_platform_are_compared_with_what_its_listings_require(
    retailers: RetailerMaker, tmp_path: Path
) -> None:
    (tmp_path / "routing.yaml").write_text((PLAIN_RULES / "plain.yaml").read_text())
    (tmp_path / "tiktok.yaml").write_text(REQUIREMENTS)
    shop = await retailers.make(tmp_path)
    channel = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, platform="tiktok_shop")
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[channel]))
    products = [
        catalog_pb.Product(sku="BOWL", display_name="A bowl for soup", weight_grams=400),
        catalog_pb.Product(sku="MUG", display_name="Mug"),
        catalog_pb.Product(sku="PLATE", display_name="A plate for cake"),
    ]
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))

    answer = (await answers(shop))["product_data"]

    title, weight = answer.details
    assert title.startswith("display_name of 1 product, such as MUG: ")
    assert weight == "weight_grams of 2 products, such as MUG: is not stated (catalog-desk)"
