"""The sample retailer: believable, whole and the same every time."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from policies.domain.outlets import Outlet, outlet_conflict
from service import limits
from service.sample.sample_retailer import (
    sample_channels,
    sample_kits,
    sample_listings,
    sample_locations,
    sample_outlets,
    sample_pools,
    sample_products,
    sample_stock,
)
from truestock.v1.catalog_service_pb2 import Location

NOW = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


def test_the_sample_is_the_same_every_time() -> None:
    assert sample_products() == sample_products()
    assert sample_stock(NOW) == sample_stock(NOW)


def test_there_are_one_warehouse_and_six_stores_in_several_time_zones() -> None:
    locations = sample_locations()

    assert [place.type for place in locations].count(Location.TYPE_WAREHOUSE) == 1
    assert [place.type for place in locations].count(Location.TYPE_STORE) == 6
    assert len({ZoneInfo(place.time_zone) for place in locations}) == 4


def test_every_longitude_lies_in_its_time_zone() -> None:
    for place in sample_locations():
        offset = ZoneInfo(place.time_zone).utcoffset(NOW)
        assert offset is not None
        assert abs(place.coordinates.longitude / 15 - offset.total_seconds() / 3_600) < 1.2


def test_tills_sell_from_the_stores_only() -> None:
    tills = next(channel for channel in sample_channels() if channel.channel_id == "pos")

    assert set(tills.location_ids) == {
        place.location_id for place in sample_locations() if place.type == Location.TYPE_STORE
    }


def test_there_are_about_300_products_with_skus_of_their_own() -> None:
    skus = [product.sku for product in sample_products()]

    assert 280 <= len(skus) <= 320
    assert len(set(skus)) == len(skus)
    assert all(len(sku) <= limits.SKU_LENGTH for sku in skus)


def test_most_products_are_complete_and_a_few_are_not() -> None:
    products = sample_products()
    for lacking in (
        [product for product in products if not product.HasField("dimensions")],
        [product for product in products if not product.barcode],
        [product for product in products if not product.images],
        [product for product in products if not product.HasField("velocity_per_day")],
    ):
        assert 1 <= len(lacking) <= 20


def test_variants_share_a_style_and_brand() -> None:
    brands = defaultdict(set)
    for product in sample_products():
        brands[product.style].add((product.brand, product.category))

    assert all(len(kinds) == 1 for kinds in brands.values())
    assert len(brands) < len(sample_products()) / 3


def test_barcodes_have_a_right_check_digit() -> None:
    for product in sample_products():
        digits = [int(digit) for digit in product.barcode]
        assert sum(digits[0::2]) % 10 == (-3 * sum(digits[1::2])) % 10


def test_sales_have_a_long_tail() -> None:
    velocities = sorted((product.velocity_per_day for product in sample_products()), reverse=True)

    assert sum(velocities[:30]) > sum(velocities) * 0.4


def test_a_kit_consists_of_products_that_are_stocked() -> None:
    (kit,), skus = sample_kits(), {product.sku for product in sample_products()}
    stocked = {change.sku for change in sample_stock(NOW)}

    assert kit.sku in skus - stocked
    assert {component.sku for component in kit.components} <= stocked


def test_tiktok_shop_sells_a_product_alone_and_by_the_case_under_ids_of_its_own() -> None:
    listings, skus = sample_listings(), {product.sku for product in sample_products()}

    assert {listing.channel_id for listing in listings} == {"tiktok_shop"}
    assert sorted(listing.unit_count for listing in listings) == [1, 6]
    assert {listing.sku for listing in listings} < skus
    assert all(int(listing.item_id) > 2**53 for listing in listings)


def test_counts_are_of_known_products_at_known_locations_and_in_the_past() -> None:
    skus = {product.sku for product in sample_products()} - {kit.sku for kit in sample_kits()}
    places = {place.location_id for place in sample_locations()}
    changes = sample_stock(NOW)

    assert {change.sku for change in changes} == skus
    assert {change.location_id for change in changes} == places
    assert all(change.effective_time.ToDatetime(UTC) < NOW for change in changes)
    assert all(change.count.unavailable_count <= change.count.on_hand_count for change in changes)
    assert len({change.change_id for change in changes}) == len(changes)


def test_some_stock_is_gone_and_some_figures_are_days_old() -> None:
    changes = sample_stock(NOW)
    days_old = [change for change in changes if (NOW - change.effective_time.ToDatetime(UTC)).days >= 1]

    assert 0.02 < sum(change.count.on_hand_count == 0 for change in changes) / len(changes) < 0.15
    assert 0.02 < len(days_old) / len(changes) < 0.2


def test_tiktok_sees_one_warehouse_for_all_stores_and_shopify_one_location() -> None:
    pools = {pool.pool_id: frozenset(pool.location_ids) for pool in sample_pools()}
    stores = {place.location_id for place in sample_locations() if place.type == Location.TYPE_STORE}
    outlets: dict[str, list[Outlet]] = defaultdict(list)
    for outlet in sample_outlets():
        locations = pools[outlet.pool_id] if outlet.pool_id else frozenset({outlet.location_id})
        outlets[outlet.channel_id].append(Outlet(outlet.outlet_id, locations))

    assert outlet_conflict(outlets) is None
    assert stores in [outlet.location_ids for outlet in outlets["tiktok_shop"]]
    everywhere = {place.location_id for place in sample_locations()}
    assert [outlet.location_ids for outlet in outlets["shopify"]] == [everywhere]
