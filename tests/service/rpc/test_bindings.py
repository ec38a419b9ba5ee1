"""Principals that are bound to channels or locations: what they may ask for, and what lists show them."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from service.auth.principals import Principal, Role
from service.errors import NotBound
from service.rpc.bindings import Places, hold_to
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    exception_service_pb2 as exception_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    stock_service_pb2 as stock_pb,
)
from truestock.v1.order_pb2 import OrderReference

SHOP = Principal("shop", frozenset({Role.ADMIN}), channel_ids=frozenset({"shopify"}))
TABLET = Principal("tablet", frozenset({Role.ADMIN}), location_ids=frozenset({"store-1"}))
PLACES = {
    ("allocation_id", "own"): Places("shopify", frozenset({"store-1", "dc"})),
    ("allocation_id", "foreign"): Places("amazon", frozenset({"dc"})),
    ("shipment_id", "own"): Places("shopify", frozenset({"store-1"})),
    ("shipment_id", "foreign"): Places("amazon", frozenset({"dc"})),
}


async def find(field: str, id: str) -> Places | None:
    return PLACES.get((field, id))


async def held(principal: Principal, request: Message) -> Message:
    """The request as it is answered. Raises NotBound."""
    await hold_to(principal, type(request).__name__.removesuffix("Request"), request, find)
    return request


def order(channel_id: str) -> allocation_pb.AllocateOrderRequest:
    return allocation_pb.AllocateOrderRequest(channel_id=channel_id, order_id="1")


def changes(*location_ids: str) -> stock_pb.RecordStockChangesRequest:
    return stock_pb.RecordStockChangesRequest(
        changes=[stock_pb.StockChange(location_id=location_id, sku="MUG") for location_id in location_ids]
    )


@pytest.mark.parametrize(
    ("principal", "request_"),
    [
        (SHOP, order("shopify")),
        (SHOP, allocation_pb.BatchAllocateOrdersRequest(requests=[order("shopify"), order("shopify")])),
        (SHOP, allocation_pb.GetAllocationRequest(order=OrderReference(channel_id="shopify", order_id="1"))),
        (SHOP, allocation_pb.GetAllocationRequest(allocation_id="own")),
        (SHOP, fulfillment_pb.ShipShipmentRequest(shipment_id="own")),
        (SHOP, availability_pb.CheckAvailabilityRequest(channel_id="shopify", skus=["MUG"])),
        (SHOP, changes("dc")),
        (SHOP, catalog_pb.ListProductsRequest()),
        (TABLET, changes("store-1", "store-1")),
        (TABLET, fulfillment_pb.ShipShipmentRequest(shipment_id="own")),
        (TABLET, fulfillment_pb.RecordReturnRequest(allocation_id="foreign", location_id="store-1")),
        (TABLET, availability_pb.CheckAvailabilityRequest(channel_id="shopify", skus=["MUG"])),
    ],
    ids=str,
)
async def test_what_is_its_own_is_answered_unchanged(principal: Principal, request_: Message) -> None:
    before = request_.SerializeToString()

    assert (await held(principal, request_)).SerializeToString() == before


@pytest.mark.parametrize(
    ("principal", "request_"),
    [
        (SHOP, order("amazon")),
        (SHOP, order("")),
        (SHOP, allocation_pb.BatchAllocateOrdersRequest(requests=[order("shopify"), order("amazon")])),
        (SHOP, allocation_pb.GetAllocationRequest(order=OrderReference(channel_id="amazon", order_id="1"))),
        (SHOP, allocation_pb.GetAllocationRequest(allocation_id="foreign")),
        (SHOP, allocation_pb.GetAllocationRequest(allocation_id="none")),
        (SHOP, allocation_pb.ListAllocationsRequest(channel_ids=["shopify", "amazon"])),
        (SHOP, fulfillment_pb.ShipShipmentRequest(shipment_id="foreign")),
        (SHOP, exception_pb.GetExceptionRequest(exception_id="own")),
        (SHOP, allocation_pb.FindIdsRequest(text="abcdef")),
        (TABLET, changes("store-1", "dc")),
        (TABLET, fulfillment_pb.ShipShipmentRequest(shipment_id="foreign")),
        (TABLET, allocation_pb.ReassignShipmentRequest(shipment_id="own", location_id="dc")),
        (TABLET, fulfillment_pb.RecordReturnRequest(allocation_id="own", location_id="dc")),
        (TABLET, stock_pb.TransferStockRequest(transfer_id="T-1")),
        (TABLET, stock_pb.ListTransfersRequest()),
    ],
    ids=str,
)
async def test_what_is_not_its_own_is_refused(principal: Principal, request_: Message) -> None:
    with pytest.raises(NotBound):
        await held(principal, request_)


async def test_the_refusal_of_what_exists_and_of_what_does_not_are_the_same() -> None:
    refusals = []
    for id in ("foreign", "none"):
        with pytest.raises(NotBound) as refused:
            await held(SHOP, allocation_pb.GetAllocationRequest(allocation_id=id))
        refusals.append(str(refused.value))

    assert refusals[0] == refusals[1]
    assert "bound to the channel shopify" in refusals[0]


@pytest.mark.parametrize(
    ("principal", "request_", "field", "shown"),
    [
        (SHOP, allocation_pb.ListAllocationsRequest(), "channel_ids", ["shopify"]),
        (SHOP, allocation_pb.WatchOrdersRequest(), "channel_ids", ["shopify"]),
        (SHOP, exception_pb.ListExceptionsRequest(), "channel_ids", ["shopify"]),
        (SHOP, fulfillment_pb.ListShipmentsRequest(), "channel_ids", ["shopify"]),
        (TABLET, fulfillment_pb.ListShipmentsRequest(), "location_ids", ["store-1"]),
        (TABLET, stock_pb.ListStockLevelsRequest(), "location_ids", ["store-1"]),
        (TABLET, allocation_pb.ListAllocationsRequest(), "location_ids", ["store-1"]),
    ],
    ids=str,
)
async def test_lists_and_watches_that_name_none_show_its_own(
    principal: Principal, request_: Message, field: str, shown: list[str]
) -> None:
    assert getattr(await held(principal, request_), field) == shown
