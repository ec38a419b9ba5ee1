"""CatalogService: locations, products and channels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from service import catalogue, catalogue_requests, unmapped
from service.catalogue import CHANNELS, LOCATIONS, PRODUCTS, Shelf
from service.catalogue_requests import Row
from service.database import Connection, Database
from service.errors import NotFound
from service.metrics import Metrics
from truestock.v1 import catalog_service_pb2 as catalog_pb, catalog_service_pb2_grpc as catalog_grpc

Context = Any


class CatalogServicer(catalog_grpc.CatalogServiceServicer):
    """Upserts take whole records, all of a call or none."""

    def __init__(self, database: Database, metrics: Metrics, new_id: Callable[[], UUID]) -> None:
        self._database = database
        self._metrics = metrics
        self._new_id = new_id

    async def UpsertLocations(
        self, request: catalog_pb.UpsertLocationsRequest, context: Context
    ) -> catalog_pb.UpsertLocationsResponse:
        rows = catalogue_requests.location_rows(request.locations)
        created, updated = await self._upsert(LOCATIONS, rows, validate_only=request.validate_only)
        return catalog_pb.UpsertLocationsResponse(created_count=created, updated_count=updated)

    async def ListLocations(
        self, request: catalog_pb.ListLocationsRequest, context: Context
    ) -> catalog_pb.ListLocationsResponse:
        found, token = await self._page(LOCATIONS, request, catalogue_requests.location_message)
        return catalog_pb.ListLocationsResponse(locations=found, next_page_token=token)

    async def UpsertProducts(
        self, request: catalog_pb.UpsertProductsRequest, context: Context
    ) -> catalog_pb.UpsertProductsResponse:
        rows = catalogue_requests.product_rows(request.products)
        created, updated = await self._upsert(PRODUCTS, rows, validate_only=request.validate_only)
        if created and not request.validate_only:
            # In a transaction of its own: what it misses the sweeper settles.
            await self._database.transaction("mapped", partial(unmapped.settle_mapped, new_id=self._new_id))
        return catalog_pb.UpsertProductsResponse(created_count=created, updated_count=updated)

    async def ListProducts(
        self, request: catalog_pb.ListProductsRequest, context: Context
    ) -> catalog_pb.ListProductsResponse:
        found, token = await self._page(PRODUCTS, request, catalogue_requests.product_message, request.skus)
        return catalog_pb.ListProductsResponse(products=found, next_page_token=token)

    async def UpsertChannels(
        self, request: catalog_pb.UpsertChannelsRequest, context: Context
    ) -> catalog_pb.UpsertChannelsResponse:
        rows = catalogue_requests.channel_rows(request.channels)
        created, updated = await self._upsert(CHANNELS, rows, validate_only=request.validate_only)
        self._metrics.start_channels(row["id"] for row in rows)
        return catalog_pb.UpsertChannelsResponse(created_count=created, updated_count=updated)

    async def ListChannels(
        self, request: catalog_pb.ListChannelsRequest, context: Context
    ) -> catalog_pb.ListChannelsResponse:
        found, token = await self._page(CHANNELS, request, catalogue_requests.channel_message)
        return catalog_pb.ListChannelsResponse(channels=found, next_page_token=token)

    async def _upsert(self, shelf: Shelf, rows: Sequence[Row], *, validate_only: bool) -> tuple[int, int]:
        """Raises NotFound where a channel names a location that does not exist."""

        async def write(connection: Connection) -> tuple[int, int]:
            if shelf is CHANNELS:
                await _check_locations(connection, rows)
            if validate_only:
                return await shelf.known_counts(connection, rows)
            return await shelf.upsert(connection, rows)

        return await self._database.transaction("upsert", write)

    async def _page(
        self, shelf: Shelf, request: Any, message: Callable[[Any], Message], keys: Sequence[str] = ()
    ) -> tuple[list[Any], str]:
        count, after = catalogue_requests.page(request.page_size, request.page_token, keys)
        rows = await self._database.unlocked("list", lambda connection: shelf.page(connection, after, count + 1, keys))
        token = rows[count - 1][shelf.key] if len(rows) > count else ""
        return [message(row) for row in rows[:count]], token


async def _check_locations(connection: Connection, rows: Sequence[Row]) -> None:
    named = {
        f"channels[{i}].location_ids[{j}]": location_id
        for i, row in enumerate(rows)
        for j, location_id in enumerate(row["location_ids"])
    }
    missing = await catalogue.missing_locations(connection, named.values())
    if missing:
        wrong = {field: name for field, name in named.items() if name in missing}
        raise NotFound("location", wrong, "upsert it first with UpsertLocations")
