"""Edits of the catalog: each raises its version once, and a dry run or a refused one changes nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client import CollectorRegistry

from service.app.wiring import new_id
from service.database.database import Database
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.sample.sample_loading import load_sample
from tests.conftest import PLAIN_RULES
from tests.retailer import Retailer, kit_of, refused
from truestock.v1 import catalog_service_pb2 as catalog_pb, kit_pb2, outlet_pb2

LOCATION = catalog_pb.Location(location_id="nyc", type=catalog_pb.Location.TYPE_WAREHOUSE)
CHANNEL = catalog_pb.Channel(channel_id="pop-up", kind=catalog_pb.Channel.KIND_SOCIAL)
POOL = outlet_pb2.Pool(pool_id="east", location_ids=["nyc"])
OUTLET = outlet_pb2.Outlet(channel_id="pop-up", outlet_id="1", pool_id="east")
KIT = kit_of("MUGS", {"MUG": 6})
FEED = catalog_pb.Feed(source="wms", role=catalog_pb.Feed.ROLE_OWNER)


async def version(shop: Retailer) -> int:
    (row,) = await shop.sql("SELECT version FROM catalog_version")
    number: int = row["version"]
    return number


async def test_each_edit_is_one_version(retailer: Retailer) -> None:
    await retailer.stock({("MUG", "dc"): 1, ("MUGS", "dc"): 1})
    catalog, before = retailer.catalog, await version(retailer)
    edits: list[tuple[Any, Any]] = [
        (catalog.UpsertLocations, catalog_pb.UpsertLocationsRequest(locations=[LOCATION])),
        (catalog.UpsertProducts, catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="CUP")])),
        (catalog.UpsertChannels, catalog_pb.UpsertChannelsRequest(channels=[CHANNEL])),
        (catalog.UpsertPools, outlet_pb2.UpsertPoolsRequest(pools=[POOL])),
        (catalog.UpsertOutlets, outlet_pb2.UpsertOutletsRequest(outlets=[OUTLET])),
        (catalog.DeleteOutlet, outlet_pb2.DeleteOutletRequest(channel_id="pop-up", outlet_id="1")),
        (catalog.DeletePool, outlet_pb2.DeletePoolRequest(pool_id="east")),
        (catalog.UpsertKits, kit_pb2.UpsertKitsRequest(kits=[KIT])),
        (catalog.UpsertFeeds, catalog_pb.UpsertFeedsRequest(feeds=[FEED])),
    ]

    for number, (edit, request) in enumerate(edits):
        for validate_only in (True, False):
            request.validate_only = validate_only
            await edit(request)
            assert await version(retailer) == before + number + (not validate_only)

    unknown = catalog_pb.Channel(channel_id="pop-up", kind=catalog_pb.Channel.KIND_SOCIAL, location_ids=["nowhere"])
    await refused(catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[unknown])))
    assert await version(retailer) == before + len(edits)


async def test_a_dry_run_starts_no_metrics(retailer: Retailer) -> None:
    def is_started() -> bool:
        sold = retailer.service.metrics.registry.get_sample_value("truestock_sold_units_total", {"channel": "pop-up"})
        return sold is not None

    for validate_only in (True, False):
        request = catalog_pb.UpsertChannelsRequest(channels=[CHANNEL], validate_only=validate_only)
        await retailer.catalog.UpsertChannels(request)
        assert is_started() != validate_only


async def test_services_that_start_at_once_load_the_sample_once(database_url: str) -> None:
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(database_url, metrics, connections=2)
    policy_set = ActivePolicies(PLAIN_RULES, metrics).current.policy_set

    loaded = await asyncio.gather(*(load_sample(database, new_id, policy_set) for _ in range(2)))

    assert sorted(loaded) == [False, True]
    await database.close()
