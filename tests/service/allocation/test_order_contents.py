"""Delivery services are chosen by what an order contains: its weight, and the tags of its products."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cli.files.import_file import read_import
from service.cli.files.product_file import product_cells
from tests.conftest import PLAIN_RULES, RetailerMaker
from tests.retailer import HOLD, Retailer, refused
from truestock.v1 import catalog_service_pb2 as catalog_pb
from truestock.v1.order_pb2 import Destination

DELIVERY = """
kind: delivery
rules:
  - {name: air, position: 10, when: {none: [{order.product_tags: {contains: hazardous}}],
     order.weight_grams: {at_most: 900}}, service: air, transit_days: 1, ships_on: DAYS}
  - {name: road, position: 20, service: road, transit_days: 4, ships_on: DAYS}
"""


@pytest.fixture
async def shop(retailers: RetailerMaker, tmp_path: Path) -> Retailer:
    """A warehouse that works at once, and sends light orders without hazardous goods by air."""
    (tmp_path / "plain.yaml").write_text((PLAIN_RULES / "plain.yaml").read_text())
    (tmp_path / "delivery.yaml").write_text(DELIVERY.replace("DAYS", "[mon, tue, wed, thu, fri, sat, sun]"))
    shop = await retailers.make(tmp_path)
    await shop.stock({("MUG", "dc"): 50, ("GAS", "dc"): 50})
    warehouse = catalog_pb.Location(location_id="dc", type=catalog_pb.Location.TYPE_WAREHOUSE, handling_minutes=0)
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=[warehouse]))
    await upsert(shop, catalog_pb.Product(sku="MUG", weight_grams=400))
    await upsert(shop, catalog_pb.Product(sku="GAS", weight_grams=100, tags=["hazardous"]))
    return shop


async def upsert(shop: Retailer, product: catalog_pb.Product) -> None:
    await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[product]))


async def test_heavy_and_hazardous_orders_take_the_road(shop: Retailer) -> None:
    sold = {
        name: await shop.allocate(name, units, destination=Destination(country="US"))
        for name, units in {"light": {"MUG": 2}, "heavy": {"MUG": 3}, "hazardous": {"MUG": 1, "GAS": 1}}.items()
    }
    days = {name: answer.shipments[0].deliver_date for name, answer in sold.items()}

    assert days["light"] != days["heavy"] == days["hazardous"]
    assert all([(await shop.replay(answer.decision.decision_id)).identical for answer in sold.values()])


async def test_a_confirmed_hold_keeps_the_date_of_the_service_that_carries_it(shop: Retailer) -> None:
    held = await shop.allocate("A-1", {"MUG": 1, "GAS": 1}, HOLD, destination=Destination(country="US"))
    sold = await shop.confirm(held.allocation_id)

    assert sold.shipments[0].deliver_date == held.shipments[0].deliver_date
    assert sold.shipments[0].HasField("deliver_date")


async def test_a_product_can_state_its_weight_without_its_dimensions(shop: Retailer) -> None:
    package = catalog_pb.PackageDimensions(weight_grams=500, length_mm=1, width_mm=2, height_mm=3)
    await upsert(shop, catalog_pb.Product(sku="BOX", dimensions=package))
    await upsert(shop, catalog_pb.Product(sku="BAG"))
    listed = await shop.catalog.ListProducts(catalog_pb.ListProductsRequest())
    products = {product.sku: product for product in listed.products}
    two_weights = catalog_pb.Product(sku="BOX", dimensions=package, weight_grams=501)

    assert {sku: product.weight_grams for sku, product in products.items() if product.HasField("weight_grams")} == {
        "BOX": 500,
        "GAS": 100,
        "MUG": 400,
    }
    assert [sku for sku, product in products.items() if product.HasField("dimensions")] == ["BOX"]
    error = await refused(upsert(shop, two_weights))
    assert "is 501, but dimensions.weight_grams is 500; state one weight" in str(error.details())


def test_a_file_of_products_can_have_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "products.csv"
    path.write_text("sku,weight_grams,length_mm,width_mm,height_mm\nBAG,300,,,\nBOX,500,1,2,3\n")
    messages = [record.message for record in read_import(path, "products").records]
    bag, box = (message for message in messages if isinstance(message, catalog_pb.Product))

    assert (bag.weight_grams, bag.HasField("dimensions")) == (300, False)
    assert box.dimensions.weight_grams == 500
    assert product_cells(bag)["weight_grams"] == "300"
    assert product_cells(box)["length_mm"] == "1"
