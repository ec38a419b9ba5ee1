"""`truestock export`: what it writes fills an empty service, and is written again with the same bytes."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.type.date_pb2 import Date
from google.type.dayofweek_pb2 import DayOfWeek
from google.type.latlng_pb2 import LatLng
from google.type.money_pb2 import Money
from google.type.timeofday_pb2 import TimeOfDay

from service.cli.client import Client, call
from service.cli.files.file_kinds import KINDS
from tests.conftest import RULES, new_database, service_settings, service_thread
from tests.retailer import change, movement
from tests.service.cli.test_cli import Run, run  # noqa: F401
from truestock.v1 import (
    catalog_service_pb2 as catalog_pb,
    kit_pb2,
    listing_pb2 as listing_pb,
    outlet_pb2,
    stock_service_pb2 as stock_pb,
)

KINDS_IN_ORDER = ("locations", "products", "channels", "kits", "pools", "outlets", "listings", "stock", "feeds")
ODD = [
    "0042",
    "'0013",
    '="0012"',
    "Ä|ö",
    "a\\b",
    "x, y; z",
    'say "hi"',
    "=1+1",
    "-5",
    "-5x",
    "@home",
    "'=x",
    "👩‍👩‍👧",
    "\u00b7\u00a0\u00b7",
]
YESTERDAY = (datetime.now(UTC) - timedelta(days=1)).replace(microsecond=123456)

LOCATIONS = [
    catalog_pb.Location(location_id="bare", type=catalog_pb.Location.TYPE_SUPPLIER),
    catalog_pb.Location(
        location_id="0-full",
        type=catalog_pb.Location.TYPE_STORE,
        status=catalog_pb.Location.STATUS_PAUSED,
        display_name='\'s-Hertogenbosch | "Zuid", \\ 1',
        tags=ODD,
        country="NL",
        region="'90",
        postal_code="01234",
        coordinates=LatLng(latitude=51.697816, longitude=-0.000001),
        time_zone="Europe/Amsterdam",
        offers_pickup=True,
        handling_minutes=0,
        priority=-3,
        ships_to=catalog_pb.CountryList(countries=["NL", "BE"]),
        working_time=catalog_pb.WorkingTime(
            cut_off=TimeOfDay(hours=0, minutes=0),
            opens=TimeOfDay(hours=9, minutes=30),
            closes=TimeOfDay(hours=24),
            opening_days=[DayOfWeek.MONDAY, DayOfWeek.SUNDAY],
            holidays=[Date(year=2026, month=12, day=25), Date(year=2027, month=1, day=1)],
            weekday_hours=[
                catalog_pb.WeekdayHours(day=DayOfWeek.MONDAY, cut_off=TimeOfDay(hours=0)),
                catalog_pb.WeekdayHours(
                    day=DayOfWeek.SUNDAY,
                    opens=TimeOfDay(hours=0),
                    closes=TimeOfDay(hours=24),
                    cut_off=TimeOfDay(hours=9),
                ),
            ],
        ),
    ),
    catalog_pb.Location(
        location_id="munich",
        type=catalog_pb.Location.TYPE_STORE,
        country="DE",
        region="BY",
        working_time=catalog_pb.WorkingTime(closed_on_public_holidays=True),
        capacity=catalog_pb.Capacity(
            orders_per_day=40, units_per_day=0, orders_per_hour=8, units_per_hour=10_000_000, days_ahead=0
        ),
    ),
    catalog_pb.Location(
        location_id="nowhere",
        type=catalog_pb.Location.TYPE_POP_UP,
        status=catalog_pb.Location.STATUS_CLOSED,
        ships_to=catalog_pb.CountryList(),
        working_time=catalog_pb.WorkingTime(cut_off=TimeOfDay(hours=15)),
    ),
]
PRODUCTS = [
    *(catalog_pb.Product(sku=sku, display_name=sku, category=sku, brand=sku, style=sku, barcode=sku) for sku in ODD),
    catalog_pb.Product(
        sku="FULL",
        status=catalog_pb.Product.STATUS_DISCONTINUED,
        tags=ODD,
        price=Money(currency_code="JPY", units=1234, nanos=560_100_000),
        image_uri="https://example.com/a|b?c=d,e",
        dimensions=catalog_pb.PackageDimensions(weight_grams=1, length_mm=2, width_mm=3, height_mm=1_000_000_000),
        velocity_per_day=0.000001,
    ),
    catalog_pb.Product(
        sku="WEIGHED",
        weight_grams=350,
        images=[
            catalog_pb.ProductImage(uri="https://example.com/a|b%20c", width_px=1, height_px=100_000),
            catalog_pb.ProductImage(uri="https://example.com/b"),
        ],
        attributes={"description": "=one|two\\n\nthree\\", "color": "a=b"},
    ),
    catalog_pb.Product(sku="SLOW", price=Money(currency_code="USD"), velocity_per_day=0),
]
CHANNELS = [
    catalog_pb.Channel(channel_id="bare", kind=catalog_pb.Channel.KIND_POS),
    catalog_pb.Channel(
        channel_id="full",
        kind=catalog_pb.Channel.KIND_SOCIAL,
        display_name="'0012",
        location_ids=["0-full", "bare"],
        cancellation_headroom=1e-7,
        platform="tiktok_shop",
        figure_lag_seconds=30,
        unpaid_order_duration=Duration(seconds=61),
        cancellation_default=catalog_pb.CANCELLATION_DEFAULT_ACCEPT,
        markets=["CA", "US-HI"],
    ),
]
KITS = [
    kit_pb2.Kit(sku="FULL", components=[kit_pb2.KitComponent(sku=sku, unit_count=100) for sku in ODD], may_split=True),
    kit_pb2.Kit(sku="SLOW", components=[kit_pb2.KitComponent(sku="0042", unit_count=1)]),
]
LISTINGS = [
    *(listing_pb.Listing(channel_id="bare", item_id=item_id, sku="FULL", unit_count=10_000) for item_id in ODD),
    listing_pb.Listing(channel_id="full", item_id="9223372036854775808", sku="0042", unit_count=1),
]
POOLS = [
    outlet_pb2.Pool(pool_id="all", display_name="'Alle' | \\", location_ids=["0-full", "nowhere"]),
    outlet_pb2.Pool(pool_id="one", location_ids=["bare"]),
]
OUTLETS = [
    outlet_pb2.Outlet(channel_id="bare", outlet_id="00123", pool_id="all"),
    outlet_pb2.Outlet(channel_id="full", outlet_id="=1+1 | \\", display_name="-5x", pool_id="all"),
    outlet_pb2.Outlet(channel_id="full", outlet_id="gid://shopify/Location/905684977", location_id="bare"),
]
FEEDS = [
    catalog_pb.Feed(source="bare", role=catalog_pb.Feed.ROLE_OBSERVER),
    catalog_pb.Feed(
        source="full",
        role=catalog_pb.Feed.ROLE_OWNER,
        basis=catalog_pb.Feed.BASIS_AVAILABLE,
        open_orders=catalog_pb.Feed.OPEN_ORDERS_NET,
        location_ids=["0-full", "nowhere"],
        skus=ODD,
        cadence_minutes=15,
        tolerance_units=2,
        display_name="A, B",
        computed=True,
    ),
]


def stock_changes() -> list[stock_pb.StockChange]:
    """Counts in every form: by people and programs, with reasons, moved since, sold below 0, and no longer tracked."""
    by_reason = [
        stock_pb.UnavailableUnits(reason=stock_pb.UNAVAILABLE_REASON_DAMAGED, unit_count=2),
        stock_pb.UnavailableUnits(reason=stock_pb.UNAVAILABLE_REASON_DISPLAY, unit_count=1),
    ]
    hour = timedelta(hours=1)
    sold = stock_pb.MOVEMENT_KIND_SOLD
    incoming = stock_pb.IncomingUnits(reference="PO-1", unit_count=5)
    return [
        change("0042", "bare", at=YESTERDAY, count=stock_pb.StockCount(on_hand_count=7)),
        change("0042", "0-full", at=YESTERDAY, count=stock_pb.StockCount(on_hand_count=1_000_000_000, computed=True)),
        change("FULL", "0-full", at=YESTERDAY, count=stock_pb.StockCount(on_hand_count=9, unavailable=by_reason)),
        change("FULL", "bare", at=YESTERDAY, count=stock_pb.StockCount(on_hand_count=4, unavailable_count=4)),
        change("SLOW", "bare", at=YESTERDAY, count=stock_pb.StockCount(on_hand_count=9)),
        change("SLOW", "bare", at=YESTERDAY + hour, movement=movement(sold, 2)),
        change("SLOW", "0-full", at=YESTERDAY, count=stock_pb.StockCount(on_hand_count=1)),
        change("SLOW", "0-full", at=YESTERDAY + hour, movement=movement(sold, 3)),
        change("SLOW", "nowhere", at=YESTERDAY, count=stock_pb.StockCount(on_hand_count=6)),
        change("SLOW", "nowhere", at=YESTERDAY + hour, untracked=stock_pb.Untracked()),
        change("FULL", "nowhere", at=YESTERDAY, incoming=incoming),
    ]


def test_the_records_of_this_test_have_every_field() -> None:
    for records in (LOCATIONS, PRODUCTS, CHANNELS, KITS, POOLS, OUTLETS, LISTINGS, FEEDS):
        stated = {field.name for record in records for field, _ in record.ListFields()}

        assert stated | {"learned_velocity_per_day"} >= set(records[0].DESCRIPTOR.fields_by_name)


@pytest.fixture
def empty_server(postgres_url: str) -> Iterator[str]:
    """A second service, on a database of its own."""
    for url in new_database(postgres_url, "template_truestock"):
        with service_thread(service_settings(url, RULES)) as address:
            yield address


async def catalog(client: Client) -> list[Message]:
    """Every record, so that a field that no column has is missed."""
    calls = client.catalog
    products = await client.ask(calls.ListProducts, catalog_pb.ListProductsRequest())
    for product in products.products:
        # Each service learns it by itself, once a minute and as it starts.
        product.ClearField("learned_velocity_per_day")
    return [
        await client.ask(calls.ListLocations, catalog_pb.ListLocationsRequest()),
        products,
        await client.ask(calls.ListChannels, catalog_pb.ListChannelsRequest()),
        await client.ask(calls.ListKits, kit_pb2.ListKitsRequest()),
        await client.ask(calls.ListListings, listing_pb.ListListingsRequest()),
        await client.ask(calls.ListPools, outlet_pb2.ListPoolsRequest()),
        await client.ask(calls.ListOutlets, outlet_pb2.ListOutletsRequest()),
        await client.ask(calls.ListFeeds, catalog_pb.ListFeedsRequest()),
    ]


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


async def fill(client: Client) -> None:
    await client.ask(client.catalog.UpsertLocations, catalog_pb.UpsertLocationsRequest(locations=LOCATIONS))
    await client.ask(client.catalog.UpsertProducts, catalog_pb.UpsertProductsRequest(products=PRODUCTS))
    await client.ask(client.catalog.UpsertChannels, catalog_pb.UpsertChannelsRequest(channels=CHANNELS))
    await client.ask(client.catalog.UpsertKits, kit_pb2.UpsertKitsRequest(kits=KITS))
    await client.ask(client.catalog.UpsertListings, listing_pb.UpsertListingsRequest(listings=LISTINGS))
    await client.ask(client.catalog.UpsertPools, outlet_pb2.UpsertPoolsRequest(pools=POOLS))
    await client.ask(client.catalog.UpsertOutlets, outlet_pb2.UpsertOutletsRequest(outlets=OUTLETS))
    request = stock_pb.RecordStockChangesRequest(source="counter", changes=stock_changes())
    await client.ask(client.stock.RecordStockChanges, request)
    await client.ask(client.catalog.UpsertFeeds, catalog_pb.UpsertFeedsRequest(feeds=FEEDS))


def test_an_exported_service_fills_an_empty_one_and_is_exported_the_same(
    run: Run,  # noqa: F811
    server_address: str,
    empty_server: str,
    tmp_path: Path,
) -> None:
    call(server_address, fill)
    for kind in KINDS_IN_ORDER:
        first, second = tmp_path / f"{kind}.csv", tmp_path / f"{kind}-again.csv"
        exported = run("export", kind, str(first), "--server", server_address)
        imported = run("import", kind, str(first), "--server", empty_server)
        run("export", kind, str(second), "--server", empty_server)

        assert (exported.code, imported.code) == (0, 0), exported.err + imported.err
        assert second.read_bytes() == first.read_bytes(), kind
        filled = {column for row in rows_of(first) for column, cell in row.items() if cell}
        assert filled == {column.name for column in KINDS[kind].columns if not column.import_only} - _NOT_IN_THE_SHOP
    assert call(empty_server, catalog) == call(server_address, catalog)
    stock = {(row["sku"], row["location_id"]): row for row in rows_of(tmp_path / "stock.csv")}
    assert {row["computed"] for key, row in stock.items() if key in {("0042", "0-full"), ("SLOW", "bare")}} == {"yes"}
    assert [stock["SLOW", "nowhere"]["untracked"], stock["SLOW", "0-full"]["on_hand_count"]] == ["yes", "0"]


_NOT_IN_THE_SHOP = {"unavailable_quality_control", "unavailable_inspection"}


def test_an_export_replaces_a_file_only_when_it_is_whole(run: Run, tmp_path: Path) -> None:  # noqa: F811
    path = tmp_path / "products.csv"
    path.write_text("kept")

    result = run("export", "products", str(path), "--server", "127.0.0.1:1")

    assert result.code == 1
    assert path.read_text() == "kept"
    assert [entry.name for entry in tmp_path.iterdir()] == ["products.csv"]


def test_an_export_into_a_folder_that_is_missing_says_so(run: Run, server_address: str, tmp_path: Path) -> None:  # noqa: F811
    result = run("export", "products", str(tmp_path / "none" / "products.csv"), "--server", server_address)

    folder = run("export", "products", str(tmp_path), "--server", server_address)

    assert (result.code, "cannot be written: No such file or directory" in result.err) == (1, True)
    assert (folder.code, "cannot be written: Is a directory" in folder.err) == (1, True)
