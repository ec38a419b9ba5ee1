"""Products carry what channels require of listings, and are checked against it; rules hide those that are not ready."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from service.catalog.catalog_requests import product_rows
from service.errors import InvalidFields
from tests.conftest import RetailerMaker
from tests.retailer import Retailer, refused
from truestock.v1 import catalog_service_pb2 as catalog_pb, product_check_pb2 as check_pb

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
    "exposure.yaml": """
kind: exposure
name: shown
rules: [{name: not-ready, when: {product.ready_for_channel: false}, block: the listing is not complete}]
""",
}
PICTURE = catalog_pb.ProductImage(uri="https://images.example.com/a.jpg", width_px=600, height_px=800)


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    """A retailer with a TikTok shop that sees only products that can be listed there."""
    for name, text in RULES.items():
        (tmp_path / name).write_text(text)
    shop = await retailers.make(tmp_path)
    await shop.stock({("COAT", "a"): 5, ("MUG", "a"): 5})
    await shop.channels(tiktok="tiktok_shop", plain="")
    return shop


async def upsert(shop: Retailer, sku: str, **fields: Any) -> None:
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product(sku, **fields)]))


def product(sku: str, **fields: Any) -> catalog_pb.Product:
    return catalog_pb.Product(
        **{"sku": sku, "barcode": "4006381333931", "images": [PICTURE], "category": "clothing", **fields}
    )


async def check(shop: Retailer, **fields: Any) -> check_pb.CheckProductsResponse:
    request = check_pb.CheckProductsRequest(**{"channel_id": "tiktok", **fields})
    response: check_pb.CheckProductsResponse = await shop.catalog.CheckProducts(request)
    return response


def found(response: check_pb.CheckProductsResponse) -> dict[str, list[str]]:
    return {x.sku: [f"{y.attribute} {y.problem}" for y in x.problems] for x in response.unready}


async def test_what_a_product_lacks_is_listed_and_hides_it_until_it_is_there(shop: Retailer) -> None:
    assert [await shop.sellable("COAT", channel_id) for channel_id in ("tiktok", "plain")] == [0, 5]

    await upsert(shop, "COAT", barcode="123")
    response = await check(shop)

    assert found(response) == {
        "COAT": ["barcode is '123'; it must be a GTIN of 8, 12, 13 or 14 digits", "attributes.material is not stated"],
        "MUG": ["barcode is not stated", "images are not there"],
    }
    assert (response.platform, response.checked_count, response.product_count) == ("tiktok_shop", 2, 2)
    assert {(x.owner, x.source.rpartition("/")[2]) for x in response.unready[0].problems} == {
        ("product-data", "listings.yaml:7"),
        ("product-data", "listings.yaml:9"),
    }
    order = await shop.allocate("A-1", {"COAT": 1}, channel_id="tiktok")
    assert not order.shipments

    await upsert(shop, "COAT", attributes={"material": "wool"})

    assert found(await check(shop, skus=["COAT"])) == {}
    assert [await shop.sellable(sku, "tiktok") for sku in ("COAT", "MUG")] == [5, 0]
    sold = await shop.allocate("A-2", {"COAT": 1}, channel_id="tiktok")
    assert [x.location_id for x in sold.shipments] == ["a"]
    stored = await shop.decision(sold.decision.decision_id)
    assert [list(x.ready_platforms) for x in stored.inputs.products] == [["tiktok_shop"]]
    for allocation in (order, sold):
        assert (await shop.replay(allocation.decision.decision_id)).identical


async def test_pages_check_every_active_product_once(shop: Retailer) -> None:
    await upsert(shop, "OLD", status=catalog_pb.Product.STATUS_DISCONTINUED)
    pages = [await check(shop, page_size=1)]
    while pages[-1].next_page_token:
        pages.append(await check(shop, page_size=1, page_token=pages[-1].next_page_token))

    assert [[x.sku for x in page.unready] for page in pages] == [["COAT"], ["MUG"]]
    assert [page.HasField("product_count") for page in pages] == [True, False]
    assert found(await check(shop, skus=["OLD"])) == {"OLD": ["attributes.material is not stated"]}


async def test_images_and_attributes_are_kept_as_stated(shop: Retailer) -> None:
    stated = product("COAT", images=[PICTURE, catalog_pb.ProductImage(uri="https://x/b.jpg")], attributes={"a": "1\n2"})
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[stated]))

    [listed] = (await shop.catalog.ListProducts(catalog_pb.ListProductsRequest(skus=["COAT"]))).products

    assert (list(listed.images), dict(listed.attributes)) == (list(stated.images), {"a": "1\n2"})
    assert listed.image_uri == PICTURE.uri
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[listed]))


@pytest.mark.parametrize(
    ("fields", "field", "problem"),
    [
        ({"images": [catalog_pb.ProductImage(uri="a b")]}, "products[0].images[0].uri", "write %20 for it"),
        ({"images": [catalog_pb.ProductImage()]}, "products[0].images[0].uri", "must not be empty"),
        (
            {"images": [catalog_pb.ProductImage(uri="x", width_px=1)]},
            "products[0].images[0]",
            "has width_px alone; set both width_px and height_px, or neither",
        ),
        (
            {"images": [catalog_pb.ProductImage(uri="x", width_px=0, height_px=100_001)]},
            "products[0].images[0].width_px",
            "is 0; it must be 1 to 100,000",
        ),
        ({"images": [PICTURE] * 51}, "products[0].images", "has 51 entries; 0 to 50 are allowed"),
        (
            {"images": [PICTURE], "image_uri": "https://other"},
            "products[0].image_uri",
            "is 'https://other', but images[0].uri is 'https://images.example.com/a.jpg'; state one of them",
        ),
        ({"attributes": {"Color": "red"}}, "products[0].attributes", "'Color' must be a name of a-z"),
        ({"attributes": {"color": " "}}, "products[0].attributes.color", "must not be blank; leave it out"),
        ({"attributes": {"color": "r\x00"}}, "products[0].attributes.color", "contains control characters"),
        ({"attributes": {"color": "r" * 10_001}}, "products[0].attributes.color", "has 10,001 characters"),
        (
            {"attributes": {f"a{n}": "x" * 9_000 for n in range(2)}},
            "products[0].attributes",
            "18,000 characters together",
        ),
        ({"attributes": {f"a{n}": "x" for n in range(101)}}, "products[0].attributes", "has 101 entries"),
    ],
)
def test_bad_images_and_attributes_are_refused(fields: dict[str, Any], field: str, problem: str) -> None:
    with pytest.raises(InvalidFields) as error:
        product_rows([product("COAT", **fields)])

    assert [(x.field, problem in x.description) for x in error.value.violations][:1] == [(field, True)]


async def test_a_check_that_cannot_be_answered_says_what_to_do(shop: Retailer) -> None:
    await shop.channels(amazon="amazon")
    token = (await check(shop, page_size=1)).next_page_token
    errors: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
        ({"channel_id": ""}, grpc.StatusCode.INVALID_ARGUMENT, "channel_id"),
        ({"skus": ["COAT"], "page_token": token}, grpc.StatusCode.INVALID_ARGUMENT, "page_token"),
        ({"channel_id": "nowhere"}, grpc.StatusCode.NOT_FOUND, "nowhere"),
        ({"skus": ["COATT"]}, grpc.StatusCode.NOT_FOUND, "COAT"),
        ({"channel_id": "plain"}, grpc.StatusCode.FAILED_PRECONDITION, "channel 'plain' has no platform"),
        ({"channel_id": "amazon"}, grpc.StatusCode.FAILED_PRECONDITION, "add a file with 'kind: listing_requirements'"),
    ]

    for fields, code, problem in errors:
        error = await refused(check(shop, **fields))

        assert error.code() is code
        assert problem in str(error.details())
