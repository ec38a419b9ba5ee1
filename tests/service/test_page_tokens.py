"""Page tokens of every list: good for the list and the filters that they come from, and for nothing else."""

from __future__ import annotations

import itertools
import socket
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor

from service.rpc.page_tokens import PageTokens
from tests.conftest import RetailerMaker
from tests.retailer import HOLD, Retailer
from tests.service.test_bad_input import refused
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    audit_service_pb2 as audit_pb,
    availability_service_pb2 as availability_pb,
    catalog_history_pb2 as history_pb,
    catalog_service_pb2 as catalog_pb,
    demand_pb2 as demand_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    kit_pb2,
    listing_pb2 as listing_pb,
    outlet_pb2,
    policy_history_pb2 as policy_history_pb,
    policy_service_pb2 as policy_pb,
    stock_service_pb2 as stock_pb,
)

FILES = (allocation_pb, audit_pb, availability_pb, catalog_pb, exception_pb, fulfillment_pb, policy_pb, stock_pb)
LISTS: dict[str, tuple[Any, str, dict[str, Any]]] = {
    "ListAllocations": (allocation_pb.ListAllocationsRequest, "allocations", {"channel_ids": ["web"]}),
    "ListAuditEvents": (audit_pb.ListAuditEventsRequest, "audit", {"areas": ["catalog", "stock"]}),
    "ListCatalogHistory": (history_pb.ListCatalogHistoryRequest, "catalog", {"kinds": ["product", "feed"]}),
    "ListCategories": (catalog_pb.ListCategoriesRequest, "catalog", {}),
    "ListChannels": (catalog_pb.ListChannelsRequest, "catalog", {"channel_ids": ["web", "tiktok"]}),
    "ListExceptions": (
        exception_pb.ListExceptionsRequest,
        "exceptions",
        {"states": [exception_pb2.ExceptionRecord.STATE_OPEN]},
    ),
    "ListFeeds": (catalog_pb.ListFeedsRequest, "catalog", {}),
    "ListKits": (kit_pb2.ListKitsRequest, "catalog", {"component_skus": ["BOWL", "MUG"]}),
    "ListListings": (listing_pb.ListListingsRequest, "catalog", {"skus": ["BOWL", "MUG"]}),
    "ListLocations": (catalog_pb.ListLocationsRequest, "catalog", {"location_ids": ["dc", "store"]}),
    "ListOutlets": (outlet_pb2.ListOutletsRequest, "catalog", {"channel_ids": ["web", "tiktok"]}),
    "ListPools": (outlet_pb2.ListPoolsRequest, "catalog", {"pool_ids": ["all", "east"]}),
    "ListPolicyHistory": (
        policy_history_pb.ListPolicyHistoryRequest,
        "policies",
        {"instances": [socket.gethostname(), "other"]},
    ),
    "ListPolicyRevisions": (policy_pb.ListPolicyRevisionsRequest, "policies", {"candidates": True}),
    "ListProducts": (catalog_pb.ListProductsRequest, "catalog", {"skus": ["BOWL", "MUG"]}),
    "ListShipments": (fulfillment_pb.ListShipmentsRequest, "fulfillment", {"location_ids": ["dc"]}),
    "ListStockLevels": (stock_pb.ListStockLevelsRequest, "stock_service", {"location_ids": ["dc"]}),
    "ListStockMovements": (stock_pb.ListStockMovementsRequest, "stock_service", {"skus": ["BOWL", "MUG"]}),
    "ListTags": (catalog_pb.ListTagsRequest, "catalog", {}),
    "ListUnmetDemand": (demand_pb.ListUnmetDemandRequest, "availability", {"skus": ["BOWL", "MUG"]}),
    "SumUnmetDemand": (demand_pb.SumUnmetDemandRequest, "availability", {"skus": ["BOWL", "MUG"]}),
    "ListTransfers": (stock_pb.ListTransfersRequest, "stock_service", {"in_transit_only": True}),
}
"""By method: its request, the client that has it, and filters that leave at least two entries of the shop."""


def paged_methods(file: FileDescriptor) -> list[MethodDescriptor]:
    return [
        method
        for service in file.services_by_name.values()
        for method in service.methods
        if "page_token" in method.input_type.fields_by_name
    ]


@pytest.fixture
async def shop(retailer: Retailer, retailers: RetailerMaker) -> Retailer:
    """At least two entries in every list."""
    await retailers.make()
    await retailer.stock({("BOWL", "dc"): 5, ("MUG", "dc"): 10, ("MUG", "store"): 4})
    await retailer.channels(tiktok="")
    products = [catalog_pb.Product(sku=sku, tags=[sku.lower()], category=sku) for sku in ("BOWL", "MUG")]
    await retailer.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=products))
    await retailer.kits({"KIT-1": {"BOWL": 1, "MUG": 2}, "KIT-2": {"BOWL": 1}})
    for item_id, sku in (("1", "BOWL"), ("2", "MUG"), ("3", "MUG")):
        await retailer.list_item("web", item_id, sku)
    owner = catalog_pb.Feed.ROLE_OBSERVER
    feeds = [catalog_pb.Feed(source=source, role=owner) for source in ("till", "wms")]
    await retailer.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=feeds))
    pools = [outlet_pb2.Pool(pool_id=pool_id, location_ids=["dc"]) for pool_id in ("all", "east")]
    await retailer.catalog.UpsertPools(outlet_pb2.UpsertPoolsRequest(pools=pools))
    outlets = [outlet_pb2.Outlet(channel_id=channel, outlet_id="1", pool_id="all") for channel in ("web", "tiktok")]
    await retailer.catalog.UpsertOutlets(outlet_pb2.UpsertOutletsRequest(outlets=outlets))
    for number in range(2):
        columns, values = "(revision, file_count, byte_count, files)", f"('{number}', 1, 1, 'x')"
        await retailer.sql(f"INSERT INTO policy_candidate {columns} VALUES {values}")
        await retailer.sql(f"INSERT INTO policy_set SELECT '{number}', 'rules/a.yaml', 'x'")
        await retailer.sql(f"INSERT INTO policy_revision SELECT '{number}', 1, 1")
        await retailer.allocate(f"A-{number}", {"MUG": 1, "BOWL": 100})
        dispatch = stock_pb.TransferDispatch(
            from_location_id="dc", to_location_id="store", units=[stock_pb.TransferUnits(sku="MUG", unit_count=1)]
        )
        request = stock_pb.TransferStockRequest(transfer_id=f"T-{number}", dispatch=dispatch)
        await retailer.stock_service.TransferStock(request)
    for sku in ("BOWL", "MUG"):
        await retailer.allocate(f"H-{sku}", {sku: 1_000}, HOLD)
    return retailer


async def page(shop: Retailer, name: str, **fields: Any) -> Any:
    request, client, _ = LISTS[name]
    return await getattr(getattr(shop, client), name)(request(**fields))


def test_every_paged_method_is_in_the_table() -> None:
    methods = [method.name for file in FILES for method in paged_methods(file.DESCRIPTOR)]

    # Figures and checks are those of one channel, so that no page of them is without a filter.
    assert sorted(methods) == sorted([*LISTS, "CheckProducts", "ListChannelFigures", "ReplayDecisions"])


async def test_tokens_of_decisions_to_replay_belong_to_their_rules_and_filters(retailer: Retailer) -> None:
    def request(**fields: Any) -> policy_pb.ReplayDecisionsRequest:
        files = [policy_pb.CandidateFile(path="buffers/all.yaml", content=b"")]
        return policy_pb.ReplayDecisionsRequest(files=files, **fields)

    end = datetime(2026, 1, 1, tzinfo=UTC), UUID(int=1)
    other_filters = request(page_token=PageTokens(request(channel_ids=["web"])).after_time(*end))
    other_list = request(page_token=PageTokens(exception_pb.ListExceptionsRequest()).after_time(*end))

    for wrong in (other_filters, other_list):
        error = await refused(retailer.policies.ReplayDecisions(wrong))
        assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "page_token")


async def test_a_token_continues_its_list_with_another_page_size_and_order_of_filters(shop: Retailer) -> None:
    for name, (_, _, filters) in LISTS.items():
        first = await page(shop, name, page_size=1, **filters)
        reordered = {field: value[::-1] if isinstance(value, list) else value for field, value in filters.items()}

        rest = await page(shop, name, page_size=50, page_token=first.next_page_token, **reordered)

        entries = first.DESCRIPTOR.fields[0].name
        assert first.next_page_token, name
        assert (len(getattr(first, entries)), len(getattr(rest, entries)) >= 1) == (1, True), name
        assert getattr(first, entries)[0] not in getattr(rest, entries), name
        assert not rest.next_page_token, name


async def test_a_token_of_other_filters_is_refused(shop: Retailer) -> None:
    for name, (_, _, filters) in LISTS.items():
        if not filters:
            continue
        unfiltered = (await page(shop, name, page_size=1)).next_page_token
        filtered = (await page(shop, name, page_size=1, **filters)).next_page_token

        errors = [
            await refused(page(shop, name, page_token=unfiltered, **filters)),
            await refused(page(shop, name, page_token=filtered)),
        ]

        for error in errors:
            assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "page_token"), name
            assert "belongs to this list with other filters" in error.message, name


async def test_a_token_of_another_list_is_refused(shop: Retailer) -> None:
    tokens = {name: (await page(shop, name, page_size=1)).next_page_token for name in LISTS}
    for name in LISTS:
        for other, token in tokens.items():
            if other != name:
                error = await refused(page(shop, name, page_token=token))

                assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "page_token"), (name, other)
                assert "belongs to another list" in error.message, (name, other)


NO_TOKENS = ["!", "bm8ga2V5", "\x00", "x" * 100_000, "TGlzdExvY2F0aW9uc1JlcXVlc3QfYWJj"]


async def test_what_is_no_token_is_refused(retailer: Retailer) -> None:
    for name, token in itertools.product(LISTS, NO_TOKENS):
        error = await refused(page(retailer, name, page_token=token))

        assert error.is_(grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", "page_token"), (name, token[:50])
