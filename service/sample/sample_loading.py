"""Loads the sample retailer into an empty database, in one transaction."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from policies.policy_set import PolicySet
from service.catalog import catalog_requests, catalog_store, kit_requests, kit_store, listing_requests, listing_store
from service.catalog.catalog_store import CHANNELS, LOCATIONS, POOLS, PRODUCTS, CatalogCache
from service.catalog.outlets import outlet_requests, outlet_store
from service.database.database import Connection, Database
from service.feeds import stock_intake
from service.feeds.stock_requests import record_request
from service.history import catalog_history
from service.sample.sample_retailer import (
    SOURCE,
    sample_channels,
    sample_kits,
    sample_listings,
    sample_locations,
    sample_outlets,
    sample_pools,
    sample_products,
    sample_stock,
)
from service.stock import levels
from truestock.v1.stock_service_pb2 import RecordStockChangesRequest


async def load_sample(database: Database, new_id: Callable[[], UUID], policy_set: PolicySet) -> bool:
    """Loads the sample if the database has no location yet; returns whether it did."""

    async def work(connection: Connection) -> bool:
        # First, so that of services that start at once only one finds the database empty.
        await catalog_store.claim(connection)
        if await LOCATIONS.page(connection, "", 1, {}):
            return False
        catalog_history.CHANGED_BY.set(SOURCE)
        await LOCATIONS.upsert(connection, catalog_requests.location_rows(sample_locations()))
        await PRODUCTS.upsert(connection, catalog_requests.product_rows(sample_products()))
        await CHANNELS.upsert(connection, catalog_requests.channel_rows(sample_channels()))
        await listing_store.upsert(connection, listing_requests.listings(sample_listings()))
        await kit_store.upsert(connection, kit_requests.kit_rows(sample_kits()), validate_only=False)
        await POOLS.upsert(connection, outlet_requests.pool_rows(sample_pools()))
        await outlet_store.upsert(connection, outlet_requests.outlet_rows(sample_outlets()))
        await _record_stock(connection, new_id, policy_set)
        return True

    return await database.transaction("sample", work)


async def _record_stock(connection: Connection, new_id: Callable[[], UUID], policy_set: PolicySet) -> None:
    counts = sample_stock(await levels.clock(connection))
    for start in range(0, len(counts), 1_000):
        request = RecordStockChangesRequest(source=SOURCE, changes=counts[start : start + 1_000])
        changes = record_request(request).changes
        await stock_intake.record(connection, changes, new_id, cache=CatalogCache(), policy_set=policy_set)
