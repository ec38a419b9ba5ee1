"""CatalogService: locations, products, channels, pools, outlets, listings and feeds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from google.protobuf.message import Message

from policies.domain.listings import Listing
from policies.stock.feeds import OBSERVER, ownership_conflicts
from service import limits
from service.allocation.intake.mapped_items import MappedItems
from service.capacity import taken_capacity
from service.catalog import (
    catalog_history_pages,
    catalog_messages,
    catalog_pages,
    catalog_requests,
    catalog_store,
    kit_requests,
    kit_store,
    listing_requests,
    listing_store,
    public_holidays,
    unknown_records,
    working_hours,
)
from service.catalog.catalog_pages import CatalogPage
from service.catalog.catalog_requests import Row
from service.catalog.catalog_store import CHANNELS, FEEDS, LOCATIONS, POOLS, PRODUCTS, CatalogTable, feed_of
from service.catalog.kit_store import KITS
from service.catalog.outlets import outlet_edits, outlet_requests, outlet_store
from service.catalog.outlets.outlet_store import OutletKey
from service.catalog.product_check import ProductCheck
from service.database.database import Connection, Database
from service.errors import FeedConflict, no_channel, no_listing
from service.feeds import feed_requests
from service.feeds.quarantine_retry import QuarantineRetry
from service.metrics import Metrics
from service.replica.reads import Reads
from truestock.v1 import (
    catalog_history_pb2 as history_pb,
    catalog_service_pb2 as catalog_pb,
    catalog_service_pb2_grpc as catalog_grpc,
    kit_pb2,
    listing_pb2 as listing_pb,
    order_pb2,
    outlet_pb2,
    product_check_pb2 as check_pb,
)

Context = Any


class CatalogServicer(catalog_grpc.CatalogServiceServicer):
    """An upsert replaces whole records, and writes all records of a call or none."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        quarantine_retry: QuarantineRetry,
        mapped_items: MappedItems,
        *,
        history_retention: timedelta,
        product_check: ProductCheck,
        reads: Reads,
    ) -> None:
        self._reads = reads
        self._product_check = product_check
        self._history_retention = history_retention
        self._database = database
        self._metrics = metrics
        self._quarantine_retry = quarantine_retry
        self._mapped_items = mapped_items

    async def UpsertLocations(
        self, request: catalog_pb.UpsertLocationsRequest, context: Context
    ) -> catalog_pb.UpsertLocationsResponse:
        await public_holidays.load(public_holidays.places_of(request.locations))
        rows = catalog_requests.location_rows(request.locations)
        created, updated = await self._upsert(LOCATIONS, rows, validate_only=request.validate_only)
        if not request.validate_only:
            self._metrics.start_locations(row["id"] for row in rows)
            await self._quarantine_retry.retry_mapped(location_ids=[row["id"] for row in rows])
        return catalog_pb.UpsertLocationsResponse(created_count=created, updated_count=updated)

    async def ListLocations(
        self, request: catalog_pb.ListLocationsRequest, context: Context
    ) -> catalog_pb.ListLocationsResponse:
        messages, token = await self._page(
            LOCATIONS, catalog_pages.locations_page(request), catalog_messages.location_message
        )
        await public_holidays.load(public_holidays.places_of(messages))
        for message in messages:
            if message.working_time.closed_on_public_holidays:
                days = public_holidays.public_holidays_now(message.country, message.region or None)
                message.working_time.public_holidays.extend(working_hours.date_messages(sorted(days)))
        limited = [message for message in messages if message.HasField("capacity")]
        if limited:
            await self._database.unlocked("list", lambda connection: taken_capacity.add(connection, limited))
        return catalog_pb.ListLocationsResponse(locations=messages, next_page_token=token)

    async def UpsertProducts(
        self, request: catalog_pb.UpsertProductsRequest, context: Context
    ) -> catalog_pb.UpsertProductsResponse:
        rows = catalog_requests.product_rows(request.products)
        created, updated = await self._upsert(PRODUCTS, rows, validate_only=request.validate_only)
        if not request.validate_only:
            await self._quarantine_retry.retry_mapped(skus=[row["sku"] for row in rows])
        return catalog_pb.UpsertProductsResponse(created_count=created, updated_count=updated)

    async def ListProducts(
        self, request: catalog_pb.ListProductsRequest, context: Context
    ) -> catalog_pb.ListProductsResponse:
        messages, token = await self._page(
            PRODUCTS, catalog_pages.products_page(request), catalog_messages.product_message
        )
        return catalog_pb.ListProductsResponse(products=messages, next_page_token=token)

    async def CheckProducts(
        self, request: check_pb.CheckProductsRequest, context: Context
    ) -> check_pb.CheckProductsResponse:
        return await self._reads.answer(
            lambda source: self._product_check.check(source.database, source.catalog_cache, request)
        )

    async def UpsertChannels(
        self, request: catalog_pb.UpsertChannelsRequest, context: Context
    ) -> catalog_pb.UpsertChannelsResponse:
        rows = catalog_requests.channel_rows(request.channels)
        created, updated = await self._upsert(CHANNELS, rows, validate_only=request.validate_only)
        if not request.validate_only:
            self._metrics.start_channels(row["id"] for row in rows)
        return catalog_pb.UpsertChannelsResponse(created_count=created, updated_count=updated)

    async def ListChannels(
        self, request: catalog_pb.ListChannelsRequest, context: Context
    ) -> catalog_pb.ListChannelsResponse:
        messages, token = await self._page(
            CHANNELS, catalog_pages.channels_page(request), catalog_messages.channel_message
        )
        return catalog_pb.ListChannelsResponse(channels=messages, next_page_token=token)

    async def UpsertFeeds(
        self, request: catalog_pb.UpsertFeedsRequest, context: Context
    ) -> catalog_pb.UpsertFeedsResponse:
        rows = feed_requests.feed_rows(request.feeds)
        created, updated = await self._upsert(FEEDS, rows, validate_only=request.validate_only)
        if not request.validate_only:
            for row in rows:
                if row["role"] == OBSERVER:
                    self._metrics.stock.start_observer(row["source"], row["location_ids"])
        return catalog_pb.UpsertFeedsResponse(created_count=created, updated_count=updated)

    async def ListFeeds(self, request: catalog_pb.ListFeedsRequest, context: Context) -> catalog_pb.ListFeedsResponse:
        messages, token = await self._page(FEEDS, catalog_pages.unfiltered_page(request), feed_requests.feed_message)
        return catalog_pb.ListFeedsResponse(feeds=messages, next_page_token=token)

    async def UpsertKits(self, request: kit_pb2.UpsertKitsRequest, context: Context) -> kit_pb2.UpsertKitsResponse:
        rows = kit_requests.kit_rows(request.kits)
        created, updated = await self._database.transaction(
            "upsert", lambda connection: kit_store.upsert(connection, rows, validate_only=request.validate_only)
        )
        return kit_pb2.UpsertKitsResponse(created_count=created, updated_count=updated)

    async def ListKits(self, request: kit_pb2.ListKitsRequest, context: Context) -> kit_pb2.ListKitsResponse:
        messages, token = await self._page(KITS, catalog_pages.kits_page(request), kit_requests.kit_message)
        return kit_pb2.ListKitsResponse(kits=messages, next_page_token=token)

    async def DeleteKit(self, request: kit_pb2.DeleteKitRequest, context: Context) -> kit_pb2.DeleteKitResponse:
        sku = kit_requests.kit_sku(request)
        use = await self._database.transaction(
            "delete", lambda connection: kit_store.delete_kit(connection, sku, validate_only=request.validate_only)
        )
        return kit_pb2.DeleteKitResponse(
            kit=kit_requests.kit_message(use.row),
            open_order_count=use.order_count,
            listing_count=use.listing_count,
            orders=[order_pb2.OrderReference(channel_id=c, order_id=o) for c, o in use.orders],
        )

    async def UpsertPools(
        self, request: outlet_pb2.UpsertPoolsRequest, context: Context
    ) -> outlet_pb2.UpsertPoolsResponse:
        rows, validate_only = outlet_requests.pool_rows(request.pools), request.validate_only
        created, updated = await self._database.transaction(
            "upsert", lambda connection: outlet_edits.upsert_pools(connection, rows, validate_only=validate_only)
        )
        return outlet_pb2.UpsertPoolsResponse(created_count=created, updated_count=updated)

    async def ListPools(self, request: outlet_pb2.ListPoolsRequest, context: Context) -> outlet_pb2.ListPoolsResponse:
        messages, token = await self._page(POOLS, outlet_requests.pools_page(request), outlet_requests.pool_message)
        return outlet_pb2.ListPoolsResponse(pools=messages, next_page_token=token)

    async def DeletePool(
        self, request: outlet_pb2.DeletePoolRequest, context: Context
    ) -> outlet_pb2.DeletePoolResponse:
        pool_id, validate_only = outlet_requests.pool_id(request), request.validate_only
        users = await self._database.transaction(
            "delete", lambda connection: outlet_edits.delete_pool(connection, pool_id, validate_only=validate_only)
        )
        orders = await self._database.unlocked("list", lambda connection: _open_orders(connection, users))
        shown = [
            outlet_pb2.OutletReference(channel_id=channel_id, outlet_id=outlet_id)
            for channel_id, outlet_id in users[: limits.OUTLET_USERS]
        ]
        return outlet_pb2.DeletePoolResponse(outlets=shown, outlet_count=len(users), open_order_count=len(orders))

    async def UpsertOutlets(
        self, request: outlet_pb2.UpsertOutletsRequest, context: Context
    ) -> outlet_pb2.UpsertOutletsResponse:
        rows, validate_only = outlet_requests.outlet_rows(request.outlets), request.validate_only
        created, updated = await self._database.transaction(
            "upsert", lambda connection: outlet_edits.upsert_outlets(connection, rows, validate_only=validate_only)
        )
        if not validate_only:
            await self._quarantine_retry.retry_mapped()
        return outlet_pb2.UpsertOutletsResponse(created_count=created, updated_count=updated)

    async def ListOutlets(
        self, request: outlet_pb2.ListOutletsRequest, context: Context
    ) -> outlet_pb2.ListOutletsResponse:
        page = outlet_requests.outlets_page(request)
        rows = await self._database.unlocked(
            "list", lambda connection: outlet_store.page(connection, page.after, page.count + 1, page.filters)
        )
        shown = rows[: page.count]
        token = page.tokens.after(shown[-1]["channel_id"], shown[-1]["id"]) if len(rows) > page.count else ""
        return outlet_pb2.ListOutletsResponse(
            outlets=[*map(outlet_requests.outlet_message, shown)], next_page_token=token
        )

    async def DeleteOutlet(
        self, request: outlet_pb2.DeleteOutletRequest, context: Context
    ) -> outlet_pb2.DeleteOutletResponse:
        key, validate_only = outlet_requests.outlet_key(request), request.validate_only
        await self._database.transaction(
            "delete", lambda connection: outlet_edits.delete_outlet(connection, key, validate_only=validate_only)
        )
        orders = await self._database.unlocked("list", lambda connection: _open_orders(connection, [key]))
        return outlet_pb2.DeleteOutletResponse(open_order_count=len(orders), order_ids=orders[: limits.OUTLET_USERS])

    async def ListTags(self, request: catalog_pb.ListTagsRequest, context: Context) -> catalog_pb.ListTagsResponse:
        page = catalog_pages.unfiltered_page(request)
        tags, token = await self._listed(
            page, lambda connection: catalog_pages.tags(connection, page), "name", catalog_messages.tag_message
        )
        return catalog_pb.ListTagsResponse(tags=tags, next_page_token=token)

    async def ListCategories(
        self, request: catalog_pb.ListCategoriesRequest, context: Context
    ) -> catalog_pb.ListCategoriesResponse:
        page = catalog_pages.unfiltered_page(request)
        categories, token = await self._listed(
            page,
            lambda connection: catalog_pages.categories(connection, page),
            "name",
            catalog_messages.category_message,
        )
        return catalog_pb.ListCategoriesResponse(categories=categories, next_page_token=token)

    async def UpsertListings(
        self, request: listing_pb.UpsertListingsRequest, context: Context
    ) -> listing_pb.UpsertListingsResponse:
        listings = listing_requests.listings(request.listings)

        async def write(connection: Connection) -> tuple[int, int]:
            if not request.validate_only:
                await catalog_store.claim(connection)
            await _check_listed(connection, listings)
            if request.validate_only:
                return await listing_store.upsert_counts(connection, listings)
            return await listing_store.upsert(connection, listings)

        created, updated = await self._database.transaction("upsert", write)
        if not request.validate_only:
            await self._mapped_items.map_now(listings)
            await self._quarantine_retry.retry_mapped(items=[listing.key for listing in listings])
        return listing_pb.UpsertListingsResponse(created_count=created, updated_count=updated)

    async def ListListings(
        self, request: listing_pb.ListListingsRequest, context: Context
    ) -> listing_pb.ListListingsResponse:
        page = listing_requests.listings_page(request)
        listings = await self._database.unlocked(
            "list", lambda connection: listing_store.page(connection, page.after, page.count + 1, page.filters)
        )
        shown = listings[: page.count]
        token = page.tokens.after(*shown[-1].key) if len(listings) > page.count else ""
        messages = [listing_requests.listing_message(listing) for listing in shown]
        return listing_pb.ListListingsResponse(listings=messages, next_page_token=token)

    async def DeleteListing(
        self, request: listing_pb.DeleteListingRequest, context: Context
    ) -> listing_pb.DeleteListingResponse:
        key = listing_requests.deleted_item(request)

        async def remove(connection: Connection) -> listing_pb.DeleteListingResponse:
            if not request.validate_only:
                await catalog_store.claim(connection)
            listing = (await listing_store.read(connection, [key])).get(key)
            if listing is None:
                raise no_listing(key[0], {"item_id": key[1]})
            count, orders = await listing_store.open_orders(connection, key)
            if not request.validate_only:
                await listing_store.remove(connection, key)
            return listing_pb.DeleteListingResponse(
                listing=listing_requests.listing_message(listing),
                open_order_count=count,
                orders=[order_pb2.OrderReference(channel_id=c, order_id=o) for c, o in orders],
            )

        return await self._database.transaction("delete", remove)

    async def ListCatalogHistory(
        self, request: history_pb.ListCatalogHistoryRequest, context: Context
    ) -> history_pb.ListCatalogHistoryResponse:
        return await self._reads.answer(lambda source: catalog_history_pages.listed(source.database, request))

    async def GetCatalogRecord(
        self, request: catalog_pb.GetCatalogRecordRequest, context: Context
    ) -> catalog_pb.GetCatalogRecordResponse:
        return await catalog_history_pages.record_as_of(self._database, request, self._history_retention)

    async def _upsert(self, table: CatalogTable, rows: Sequence[Row], *, validate_only: bool) -> tuple[int, int]:
        """The numbers of records created and updated. Raises NotFound for an unknown location, and FeedConflict."""

        async def write(connection: Connection) -> tuple[int, int]:
            if not validate_only:
                await catalog_store.claim(connection)
            if table in (CHANNELS, FEEDS):
                await _check_locations(connection, "channels" if table is CHANNELS else "feeds", rows)
            if table is FEEDS:
                await _check_owners(connection, rows)
            if validate_only:
                return await table.upsert_counts(connection, rows)
            if table is CHANNELS:
                await catalog_store.recheck_locations_of(connection, rows)
            return await table.upsert(connection, rows)

        return await self._database.transaction("upsert", write)

    async def _page(
        self, table: CatalogTable, page: CatalogPage, message: Callable[[Any], Message]
    ) -> tuple[list[Any], str]:
        async def read(connection: Connection) -> list[Any]:
            filters = dict(page.filters)
            if page.near_skus:
                filters["near_skus"] = await unknown_records.near_candidates(connection, page.near_skus)
            return await table.page(connection, page.after, page.count + 1, filters)

        return await self._listed(page, read, table.key, message)

    async def _listed(
        self,
        page: CatalogPage,
        read: Callable[[Connection], Awaitable[list[Any]]],
        key: str,
        message: Callable[[Any], Message],
    ) -> tuple[list[Any], str]:
        """The messages and the token of a page; `read` returns one row more if another page follows."""
        rows = await self._database.unlocked("list", read)
        shown = rows[: page.count]
        token = page.tokens.after(shown[-1][key]) if len(rows) > page.count else ""
        return [message(row) for row in shown], token


async def _open_orders(connection: Connection, outlets: Sequence[OutletKey]) -> list[str]:
    """The ids of open orders that chose one of these outlets."""
    return [order for key in outlets for order in await outlet_store.open_orders(connection, key)]


async def _check_owners(connection: Connection, rows: Sequence[Row]) -> None:
    """Raises FeedConflict if two feeds would own the same stock."""
    declared = [feed_of(row) for row in rows]
    for conflict in ownership_conflicts(await catalog_store.feeds(connection), declared):
        index = next(i for i, feed in enumerate(declared) if feed.source == conflict.source)
        raise FeedConflict(f"feeds[{index}]", conflict.source, conflict.owner, conflict.location_id, conflict.sku)


async def _check_listed(connection: Connection, listings: Sequence[Listing]) -> None:
    """Raises NotFound if the channel or the SKU of a listing is not in the catalog."""
    known = await catalog_store.channel_ids(connection)
    unknown = {f"listings[{i}].channel_id": x.channel_id for i, x in enumerate(listings) if x.channel_id not in known}
    if unknown:
        raise no_channel(unknown, known)
    skus = await catalog_store.missing_products(connection, (listing.sku for listing in listings))
    if skus:
        unknown = {f"listings[{i}].sku": x.sku for i, x in enumerate(listings) if x.sku in skus}
        raise await unknown_records.product_error(connection, unknown)


async def _check_locations(connection: Connection, name: str, rows: Sequence[Row]) -> None:
    location_ids = {
        f"{name}[{row_index}].location_ids[{index}]": location_id
        for row_index, row in enumerate(rows)
        for index, location_id in enumerate(row["location_ids"])
    }
    missing = await catalog_store.missing_locations(connection, location_ids.values())
    if missing:
        unknown = {field: location_id for field, location_id in location_ids.items() if location_id in missing}
        raise await unknown_records.location_error(connection, unknown)
