"""Filling an empty database with the sample retailer, whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from policies.policy import PolicySet
from service import catalogue_requests, levels, stock_changes
from service.catalogue import CHANNELS, LOCATIONS, PRODUCTS, CatalogueCache
from service.database import Connection, Database
from service.sample import SOURCE, sample_channels, sample_locations, sample_products, sample_stock
from service.stock_requests import record_request
from truestock.v1.stock_service_pb2 import RecordStockChangesRequest


async def load_sample(database: Database, new_id: Callable[[], UUID], policy_set: PolicySet) -> bool:
    """Loads the sample where there is no location yet; returns whether it did."""

    async def work(connection: Connection) -> bool:
        if await LOCATIONS.page(connection, "", 1):
            return False
        await LOCATIONS.upsert(connection, catalogue_requests.location_rows(sample_locations()))
        await PRODUCTS.upsert(connection, catalogue_requests.product_rows(sample_products()))
        await CHANNELS.upsert(connection, catalogue_requests.channel_rows(sample_channels()))
        await _record_stock(connection, new_id, policy_set)
        return True

    return await database.transaction("sample", work)


async def _record_stock(connection: Connection, new_id: Callable[[], UUID], policy_set: PolicySet) -> None:
    stock = sample_stock(await levels.clock(connection))
    for start in range(0, len(stock), 1_000):
        request = RecordStockChangesRequest(source=SOURCE, changes=stock[start : start + 1_000])
        changes = record_request(request).changes
        await stock_changes.record(connection, changes, new_id, cache=CatalogueCache(), policy_set=policy_set)
