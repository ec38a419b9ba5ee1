"""Twenty thousand products, the most that a readiness check compares with a platform's requirements of listings."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from service.readiness.product_reading import CHECKED_PRODUCTS
from tests.conftest import RetailerMaker
from tests.retailer import Retailer
from truestock.v1 import catalog_service_pb2 as catalog_pb, product_check_pb2 as check_pb
from truestock.v1.readiness_service_pb2 import CheckReadinessRequest

RULES = {
    "routing.yaml": "kind: routing\npolicies: [{name: any, position: 1, rank: [priority]}]\n",
    "listings.yaml": """
kind: listing_requirements
name: tiktok
platform: tiktok_shop
owner: product-data
rules:
  - {name: barcode, attribute: barcode, format: gtin}
  - {name: pictures, attribute: images, min_side_px: 600}
  - {name: material, attribute: attributes.material, when: {product.category: clothing}}
""",
}
COPIES = """
INSERT INTO product
SELECT (jsonb_populate_record(product, jsonb_build_object('sku', 'SKU-' || lpad(n::text, 5, '0')))).*
FROM generate_series(2, $1::int - 1) AS n
JOIN product ON product.sku = CASE WHEN n % 100 = 0 THEN 'SKU-00000' ELSE 'SKU-00001' END
"""
"""Products that are like the first one, each hundredth, or like the second one."""


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    """A retailer whose products can be listed on TikTok Shop, but for each hundredth, whose barcode is wrong."""
    for name, text in RULES.items():
        (tmp_path / name).write_text(text)
    shop = await retailers.make(tmp_path)
    await shop.channels(tiktok="tiktok_shop")
    products = [product("SKU-00000", barcode="123"), product("SKU-00001", barcode="4006381333931")]
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
    await shop.sql(COPIES, CHECKED_PRODUCTS)
    return shop


def product(sku: str, *, barcode: str) -> catalog_pb.Product:
    return catalog_pb.Product(
        sku=sku,
        category="clothing",
        barcode=barcode,
        images=[catalog_pb.ProductImage(uri="https://images.example.com/a.jpg", width_px=600, height_px=800)],
        attributes={"material": "wool"},
    )


async def unready_products(shop: Retailer) -> tuple[int, list[str]]:
    """How many products CheckProducts has checked on all its pages, and those that cannot be listed."""
    request = check_pb.CheckProductsRequest(channel_id="tiktok", page_size=1_000)
    checked, unready = 0, []
    while True:
        page = await shop.catalog.CheckProducts(request)
        checked += page.checked_count
        unready += [x.sku for x in page.unready]
        if not page.next_page_token:
            return checked, unready
        request.page_token = page.next_page_token


@pytest.mark.long
async def test_every_product_is_checked_while_others_are_answered(shop: Retailer) -> None:
    checking = asyncio.ensure_future(shop.readiness.CheckReadiness(CheckReadinessRequest(channel_id="tiktok")))
    answered = 0
    while not checking.done():
        assert await shop.sellable("SKU-00001", "tiktok") == 0
        answered += 1
    answers = {answer.question: answer for answer in (await checking).answers}

    # Other calls take turns with the check, page by page.
    assert answered > 5
    assert answers["product_data"].finding.startswith("20,000 products")
    assert answers["product_data"].details[0].startswith("barcode of 200 products, such as SKU-00000: is '123'")
    assert await unready_products(shop) == (CHECKED_PRODUCTS, [f"SKU-{n:05}" for n in range(0, CHECKED_PRODUCTS, 100)])
