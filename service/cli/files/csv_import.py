"""`truestock import`: checks a CSV file row by row, then lets the service check it, and only then writes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from service.cli.client import Client, ServiceError
from service.cli.files.import_calls import Advance, ImportReport, batches, located_error
from service.cli.files.import_file import ImportFile, Record
from service.cli.files.stock_import import StockImport, import_stock
from truestock.v1.catalog_service_pb2 import (
    Channel,
    Feed,
    Location,
    Product,
    UpsertChannelsRequest,
    UpsertFeedsRequest,
    UpsertLocationsRequest,
    UpsertProductsRequest,
)
from truestock.v1.kit_pb2 import Kit, UpsertKitsRequest
from truestock.v1.listing_pb2 import Listing, UpsertListingsRequest
from truestock.v1.outlet_pb2 import Outlet, Pool, UpsertOutletsRequest, UpsertPoolsRequest


async def import_file(
    client: Client,
    file: ImportFile,
    *,
    stock: StockImport | None = None,
    now: datetime | None = None,
    advance: Advance = lambda _: None,
) -> ImportReport:
    """Sends all rows of a file or none. Raises CsvError for rows that the service refuses, ServiceError otherwise.

    Each call writes all of its rows or none. A file of several calls is checked whole before the first row is written;
    if the connection breaks between calls, importing the file again completes it.
    """
    if file.name == "stock":
        return await import_stock(client, file, stock or StockImport(), now or datetime.now(UTC), advance)
    return await _import_catalog(client, file, advance)


async def _import_catalog(client: Client, file: ImportFile, advance: Advance) -> ImportReport:
    calls = list(batches(file.records))
    for batch in calls:
        await _upsert(client, file, batch, validate_only=True)
    created = updated = 0
    for batch in calls:
        created_count, updated_count = await _upsert(client, file, batch, validate_only=False)
        created, updated = created + created_count, updated + updated_count
        advance(len(batch))
    return ImportReport(file.table.file, file.name, len(file.records), created=created, updated=updated)


async def _upsert(client: Client, file: ImportFile, batch: Sequence[Record], *, validate_only: bool) -> tuple[int, int]:
    """How many records were created and updated. Raises CsvError with the rows that the service refuses."""
    messages: list[Any] = [record.message for record in batch]
    try:
        response = await _UPSERTS[file.name](client, messages, validate_only)
    except ServiceError as error:
        raise located_error(error, file, batch) from error
    return response.created_count, response.updated_count


async def _upsert_locations(client: Client, locations: list[Location], validate_only: bool) -> Any:
    request = UpsertLocationsRequest(locations=locations, validate_only=validate_only)
    return await client.ask(client.catalog.UpsertLocations, request)


async def _upsert_products(client: Client, products: list[Product], validate_only: bool) -> Any:
    request = UpsertProductsRequest(products=products, validate_only=validate_only)
    return await client.ask(client.catalog.UpsertProducts, request)


async def _upsert_channels(client: Client, channels: list[Channel], validate_only: bool) -> Any:
    request = UpsertChannelsRequest(channels=channels, validate_only=validate_only)
    return await client.ask(client.catalog.UpsertChannels, request)


async def _upsert_listings(client: Client, listings: list[Listing], validate_only: bool) -> Any:
    request = UpsertListingsRequest(listings=listings, validate_only=validate_only)
    return await client.ask(client.catalog.UpsertListings, request)


async def _upsert_pools(client: Client, pools: list[Pool], validate_only: bool) -> Any:
    return await client.ask(client.catalog.UpsertPools, UpsertPoolsRequest(pools=pools, validate_only=validate_only))


async def _upsert_outlets(client: Client, outlets: list[Outlet], validate_only: bool) -> Any:
    request = UpsertOutletsRequest(outlets=outlets, validate_only=validate_only)
    return await client.ask(client.catalog.UpsertOutlets, request)


async def _upsert_kits(client: Client, kits: list[Kit], validate_only: bool) -> Any:
    return await client.ask(client.catalog.UpsertKits, UpsertKitsRequest(kits=kits, validate_only=validate_only))


async def _upsert_feeds(client: Client, feeds: list[Feed], validate_only: bool) -> Any:
    return await client.ask(client.catalog.UpsertFeeds, UpsertFeedsRequest(feeds=feeds, validate_only=validate_only))


_UPSERTS: dict[str, Callable[[Client, list[Any], bool], Awaitable[Any]]] = {
    "locations": _upsert_locations,
    "products": _upsert_products,
    "channels": _upsert_channels,
    "pools": _upsert_pools,
    "outlets": _upsert_outlets,
    "listings": _upsert_listings,
    "kits": _upsert_kits,
    "feeds": _upsert_feeds,
}
