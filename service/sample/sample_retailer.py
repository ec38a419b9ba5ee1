"""The sample retailer, an invented outdoor and home shop with a warehouse and six stores; every run makes the same."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from google.type.dayofweek_pb2 import DayOfWeek
from google.type.latlng_pb2 import LatLng
from google.type.timeofday_pb2 import TimeOfDay

from service.rpc import proto_values
from service.sample.sample_products import BRANDS, STYLES, Style
from truestock.v1.catalog_service_pb2 import (
    Capacity,
    Channel,
    CountryList,
    Location,
    PackageDimensions,
    Product,
    WeekdayHours,
    WorkingTime,
)
from truestock.v1.kit_pb2 import Kit, KitComponent
from truestock.v1.listing_pb2 import Listing
from truestock.v1.outlet_pb2 import Outlet, Pool
from truestock.v1.stock_service_pb2 import StockChange, StockCount

SOURCE = "sample-retailer"
"""The source of the sample's stock counts."""
SEED = 20_261_127
WAREHOUSE = "dc-memphis"
KIT = "DUN-1790-KIT"
TUMBLER, TUMBLER_ID, TUMBLER_CASE_ID = "TRN-1205-MOS", "1729583201114820001", "1729583201114820002"
"""A tumbler that TikTok Shop sells alone and in cases of 6, and its ids of both."""
STORES_OUTLET = "7311456789012345602"
"""What TikTok Shop calls all stores together."""


class _City(NamedTuple):
    location_id: str
    name: str
    region: str
    postal_code: str
    latitude: float
    longitude: float
    time_zone: str
    priority: int
    handling_minutes: int


_CENTRAL, _PACIFIC = "America/Chicago", "America/Los_Angeles"
_CITIES = (
    _City(WAREHOUSE, "Memphis distribution center", "TN", "38118", 35.0421, -89.9792, _CENTRAL, 10, 120),
    _City("store-brooklyn", "Brooklyn, Boerum Hill", "NY", "11217", 40.6862, -73.9841, "America/New_York", 20, 90),
    _City("store-chicago", "Chicago, Wicker Park", "IL", "60622", 41.9088, -87.6796, _CENTRAL, 20, 90),
    _City("store-austin", "Austin, South Congress", "TX", "78704", 30.2489, -97.7501, _CENTRAL, 20, 60),
    _City("store-denver", "Denver, LoDo", "CO", "80202", 39.7528, -104.9992, "America/Denver", 20, 60),
    _City("store-seattle", "Seattle, Ballard", "WA", "98107", 47.6687, -122.3847, _PACIFIC, 20, 120),
    _City("store-los-angeles", "Los Angeles, Silver Lake", "CA", "90026", 34.0869, -118.2702, _PACIFIC, 30, 180),
)
_SIZE_POPULARITY = (0.6, 1.0, 1.3, 1.1, 0.7, 0.5, 0.35)
_STORE_SHARES = {
    "store-brooklyn": 1.3,
    "store-chicago": 1.0,
    "store-austin": 0.9,
    "store-denver": 1.1,
    "store-seattle": 1.2,
    "store-los-angeles": 1.0,
}
"""Sales, and therefore stock, of each store relative to an average store."""


STORE_ORDERS_PER_DAY = 40
"""What the people of a store can pack beside serving customers. The warehouse states no limit."""


def sample_locations() -> list[Location]:
    """The warehouse and the six stores, in four time zones."""
    return [_location(city) for city in _CITIES]


def sample_channels() -> list[Channel]:
    """TikTok Shop and Shopify sell from all locations, POS only from the stores."""
    return [
        Channel(
            channel_id="tiktok_shop",
            kind=Channel.KIND_SOCIAL,
            display_name="TikTok Shop",
            platform="tiktok_shop",
            markets=["US"],
        ),
        Channel(
            channel_id="shopify",
            kind=Channel.KIND_WEB,
            display_name="Web shop",
            platform="shopify",
            markets=["CA", "US", "US-AK", "US-HI"],
        ),
        Channel(
            channel_id="pos",
            kind=Channel.KIND_POS,
            display_name="Store tills",
            location_ids=sorted(_STORE_SHARES),
            platform="square",
        ),
    ]


def sample_pools() -> list[Pool]:
    """All stores, and everything that the web shop sells from."""
    return [
        Pool(pool_id="all-stores", display_name="All stores", location_ids=sorted(_STORE_SHARES)),
        Pool(
            pool_id="everywhere", display_name="Warehouse and stores", location_ids=[WAREHOUSE, *sorted(_STORE_SHARES)]
        ),
    ]


def sample_outlets() -> list[Outlet]:
    """TikTok Shop sees the warehouse and one that stands for all stores, Shopify a single online location."""
    return [
        Outlet(
            channel_id="tiktok_shop", outlet_id="7311456789012345601", display_name="Memphis", location_id=WAREHOUSE
        ),
        Outlet(channel_id="tiktok_shop", outlet_id=STORES_OUTLET, display_name="Our stores", pool_id="all-stores"),
        Outlet(channel_id="shopify", outlet_id="online", display_name="Online", pool_id="everywhere"),
    ]


def sample_products() -> list[Product]:
    """About 300 products: every style in its colors and sizes, and one kit, sorted by SKU.

    As in real catalogs, a few lack dimensions, barcode or picture. New products have no velocity yet.
    """
    kit = Product(
        sku=KIT,
        display_name="Night Walk Kit, lantern and power bank",
        status=Product.STATUS_ACTIVE,
        tags=["gift", "hazardous"],
        category="lighting",
        brand=BRANDS["DUN"],
        price=proto_values.money(Decimal(115), "USD"),
    )
    return sorted([*_stocked_products(), kit], key=lambda product: product.sku)


def _stocked_products() -> list[Product]:
    generator = random.Random(SEED)
    return sorted(
        (product for style in STYLES for product in _variants(style, generator)), key=lambda product: product.sku
    )


def sample_kits() -> list[Kit]:
    """A lantern with its power bank, shipped together."""
    components = [KitComponent(sku="DUN-1701-BLA", unit_count=1), KitComponent(sku="DUN-1709-BLA-10K", unit_count=1)]
    return [Kit(sku=KIT, components=components)]


def sample_listings() -> list[Listing]:
    """TikTok Shop sells a tumbler alone and as a case of 6, under ids of its own."""
    return [
        Listing(channel_id="tiktok_shop", item_id=item_id, sku=TUMBLER, unit_count=units)
        for item_id, units in ((TUMBLER_ID, 1), (TUMBLER_CASE_ID, 6))
    ]


def sample_stock(now: datetime) -> list[StockChange]:
    """Counts of every product at every location that carries it, minutes to days older than `now`.

    A change id depends only on SKU and location, so that recording the counts again changes nothing.
    """
    generator = random.Random(SEED + 1)
    changes = []
    for product in _stocked_products():
        for location in [WAREHOUSE, *_STORE_SHARES]:
            count = (
                _warehouse_count(product, generator)
                if location == WAREHOUSE
                else _store_count(product, location, generator)
            )
            age = _count_age(location, generator)
            if count is not None:
                changes.append(_opening_count(product.sku, location, count, now - age))
    return changes


_STORE_TIME = WorkingTime(
    cut_off=TimeOfDay(hours=10, minutes=30),
    opens=TimeOfDay(hours=9),
    closes=TimeOfDay(hours=20),
    weekday_hours=[WeekdayHours(day=DayOfWeek.SUNDAY, opens=TimeOfDay(hours=10), closes=TimeOfDay(hours=18))],
)
_WAREHOUSE_TIME = WorkingTime(
    cut_off=TimeOfDay(hours=14),
    opening_days=[DayOfWeek.MONDAY, DayOfWeek.TUESDAY, DayOfWeek.WEDNESDAY, DayOfWeek.THURSDAY, DayOfWeek.FRIDAY],
    closed_on_public_holidays=True,
)


def _location(city: _City) -> Location:
    is_store = city.location_id != WAREHOUSE
    return Location(
        location_id=city.location_id,
        type=Location.TYPE_STORE if is_store else Location.TYPE_WAREHOUSE,
        status=Location.STATUS_OPEN,
        display_name=city.name,
        tags=["ship-from-store", "street-level"] if is_store else ["oversize-capable", "licensed"],
        country="US",
        region=city.region,
        postal_code=city.postal_code,
        coordinates=LatLng(latitude=city.latitude, longitude=city.longitude),
        time_zone=city.time_zone,
        offers_pickup=is_store,
        handling_minutes=city.handling_minutes,
        priority=city.priority,
        # Only the warehouse has the documents to ship abroad.
        ships_to=CountryList(countries=["US"]) if is_store else None,
        working_time=_STORE_TIME if is_store else _WAREHOUSE_TIME,
        capacity=Capacity(orders_per_day=STORE_ORDERS_PER_DAY, days_ahead=1) if is_store else None,
    )


def _variants(style: Style, generator: random.Random) -> Iterator[Product]:
    colors = style.colors.split("|") if style.colors else [""]
    sizes = style.sizes.split() or [""]
    popularities = [_popularity(color, size, len(sizes)) for color in range(len(colors)) for size in range(len(sizes))]
    for index, popularity in enumerate(popularities):
        color, size = colors[index // len(sizes)], sizes[index % len(sizes)]
        product = _product(style, color, size, sizes.index(size))
        if style.units_per_day:
            product.velocity_per_day = round(style.units_per_day * popularity / sum(popularities), 2)
        _add_details(product, style, sizes.index(size), generator)
        yield product


def _popularity(color_index: int, size_index: int, size_count: int) -> float:
    """Relative sales of a variant: the first colors and the middle sizes sell most."""
    size_popularity = _SIZE_POPULARITY[size_index] if size_count > 2 else 1.0
    return size_popularity / math.pow(color_index + 1, 0.8)


def _product(style: Style, color: str, size: str, size_index: int) -> Product:
    parts = [part for part in (color, size) if part]
    tags = style.tags.split()
    full_price = Decimal(str(style.price + style.price_step * size_index))
    price = (full_price * Decimal("0.6")).quantize(Decimal("0.01")) if "clearance" in tags else full_price
    sku = "-".join([style.brand, str(style.number), *([color[:3].upper()] if color else []), *([size] if size else [])])
    return Product(
        sku=sku,
        display_name=", ".join([style.name, *parts]),
        status=Product.STATUS_ACTIVE,
        tags=tags,
        category=style.category,
        brand=BRANDS[style.brand],
        price=proto_values.money(price, "USD"),
        style=f"{style.brand}-{style.number}",
    )


def _add_details(product: Product, style: Style, size_index: int, generator: random.Random) -> None:
    """Adds dimensions, barcode, picture and texts, and leaves one of them out now and then."""
    weight, length, width, height = style.parcel
    if generator.random() > 0.04:
        product.dimensions.CopyFrom(
            PackageDimensions(
                weight_grams=round(weight * (1 + style.weight_growth * size_index)),
                length_mm=round(length * (1 + style.weight_growth * size_index / 3)),
                width_mm=round(width * (1 + style.weight_growth * size_index / 3)),
                height_mm=height,
            )
        )
    digits = f"2{style.number:05d}{generator.randrange(1_000_000):06d}"
    if generator.random() > 0.03:
        product.barcode = digits + _check_digit(digits)
    if generator.random() > 0.03:
        # The pictures of one brand come from an old shop, and are too small for most marketplaces.
        side = 480 if style.brand == "QLM" else 1_600
        product.images.add(uri=f"https://images.example.com/{product.sku.lower()}.jpg", width_px=side, height_px=side)
    if style.units_per_day:
        # New products have no texts yet.
        product.attributes["description"] = (
            f"{product.display_name} by {product.brand}, of our {style.category} range. Packed by hand, and taken "
            "back for ninety days if it is not what you hoped for."
        )
        product.attributes["bullet_point"] = f"Made by {product.brand} to be mended, not replaced"


def _check_digit(digits: str) -> str:
    """The 13th digit of an EAN-13 code; codes that start with 2 are for use within one company."""
    weighted = sum(int(digit) * (3 if position % 2 else 1) for position, digit in enumerate(digits))
    return str(-weighted % 10)


def _warehouse_count(product: Product, generator: random.Random) -> StockCount:
    """A count of three to ten weeks of sales; now and then 0."""
    velocity = product.velocity_per_day or 1.5
    days = generator.uniform(20, 70)
    units = 0 if generator.random() < 0.06 else math.ceil(velocity * days * generator.uniform(0.5, 1.2))
    damaged = generator.randint(1, 3) if units > 40 and "fragile" in product.tags and generator.random() < 0.3 else 0
    return StockCount(on_hand_count=units, unavailable_count=damaged)


def _store_count(product: Product, location_id: str, generator: random.Random) -> StockCount | None:
    """A count of one to three weeks of the store's sales; None if the store does not carry the product."""
    carry_probability = 0.35 if "oversize" in product.tags else 0.85
    share = _STORE_SHARES[location_id] * 0.08
    if generator.random() > carry_probability:
        return None
    expected = (product.velocity_per_day or 1.5) * share * generator.uniform(7, 21)
    units = 0 if generator.random() < 0.08 else 1 + round(generator.expovariate(1 / (expected + 1)))
    display_units = 1 if units > 2 and generator.random() < 0.1 else 0
    return StockCount(on_hand_count=units, unavailable_count=display_units)


def _count_age(location_id: str, generator: random.Random) -> timedelta:
    """The age of a count: minutes at the warehouse, up to hours at a store, and days for one count in ten there."""
    if location_id == WAREHOUSE:
        return timedelta(minutes=round(generator.uniform(2, 55), 1))
    if generator.random() < 0.1:
        return timedelta(hours=round(generator.uniform(24, 24 * 12), 1))
    return timedelta(minutes=round(math.exp(generator.uniform(math.log(3), math.log(9 * 60))), 1))


def _opening_count(sku: str, location_id: str, count: StockCount, moment: datetime) -> StockChange:
    change = StockChange(change_id=f"opening-{sku}-{location_id}", sku=sku, location_id=location_id, count=count)
    change.effective_time.FromDatetime(moment)
    return change
