"""The retailer of the benchmarks as messages: a warehouse, nine stores, a social channel, and products with stock."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from google.type.latlng_pb2 import LatLng

from bench.bench_calls import CHANNEL_ID, LOCATION_IDS, UNITS
from service.rpc import proto_values
from truestock.v1 import (
    catalog_service_pb2 as catalog_pb,
    stock_service_pb2 as stock_pb,
)

ORDERS_PER_DAY = 1_000_000
"""The limit of locations with one."""


def locations() -> list[catalog_pb.Location]:
    """The warehouse and the stores."""
    return [_location(number, location_id) for number, location_id in enumerate(LOCATION_IDS)]


def stores(count: int) -> list[catalog_pb.Location]:
    """Further stores."""
    return [_location(number, f"chain-{number}") for number in range(1, count + 1)]


def regional(region: str, *, is_limited: bool) -> list[catalog_pb.Location]:
    """A warehouse and nine stores more, as the first ones, which may state a limit that they never reach."""
    made = [_location(number, f"{region}-{number}") for number in range(len(LOCATION_IDS))]
    if is_limited:
        for location in made:
            location.capacity.orders_per_day = ORDERS_PER_DAY
    return made


def channel() -> catalog_pb.Channel:
    """The channel that sells."""
    return catalog_pb.Channel(channel_id=CHANNEL_ID, kind=catalog_pb.Channel.KIND_SOCIAL)


def products(skus: Iterable[str]) -> list[catalog_pb.Product]:
    """A product for each SKU."""
    return [_product(sku) for sku in skus]


def counts(skus: Iterable[str], counted_time: datetime) -> stock_pb.RecordStockChangesRequest:
    """Counts of UNITS of each SKU at every location."""
    changes = [
        stock_pb.StockChange(
            change_id=f"{sku}@{location_id}",
            sku=sku,
            location_id=location_id,
            effective_time=proto_values.timestamp(counted_time),
            count=stock_pb.StockCount(on_hand_count=UNITS),
        )
        for sku in skus
        for location_id in LOCATION_IDS
    ]
    return stock_pb.RecordStockChangesRequest(source="bench", changes=changes)


def _location(number: int, location_id: str) -> catalog_pb.Location:
    is_store = number > 0
    return catalog_pb.Location(
        location_id=location_id,
        type=catalog_pb.Location.TYPE_STORE if is_store else catalog_pb.Location.TYPE_WAREHOUSE,
        country="US",
        coordinates=LatLng(latitude=30 + number % 20, longitude=-80 - 4 * (number % 20)),
        offers_pickup=is_store,
        priority=10 + number,
    )


def _product(sku: str) -> catalog_pb.Product:
    return catalog_pb.Product(
        sku=sku,
        velocity_per_day=3.0,
        dimensions=catalog_pb.PackageDimensions(weight_grams=400, length_mm=200, width_mm=100, height_mm=100),
        image_uri="https://img.example/mug.jpg",
    )
