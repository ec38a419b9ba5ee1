"""The sample retailer's first orders: something of each kind that lists show, whatever the rules are."""

from __future__ import annotations

from service.app.application import running
from service.orders import order_messages
from tests.conftest import PLAIN_RULES, RULES, service_settings
from tests.retailer import Retailer
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    channel_figure_pb2 as figure_pb,
    demand_pb2 as demand_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    shipment_pb2,
    stock_service_pb2 as stock_pb,
)

STATES = shipment_pb2.Shipment.State


async def test_every_list_of_the_sample_retailer_shows_something(database_url: str) -> None:
    settings = service_settings(database_url, RULES).model_copy(update={"sample": True})
    async with running(settings) as service, Retailer.connect(service, database_url) as shop:
        orders = (await shop.allocations.ListAllocations(allocation_pb.ListAllocationsRequest())).allocations
        requests = [y for x in orders for y in (await shop.get(x.allocation_id)).cancellation_requests]
        every_state = fulfillment_pb.ListShipmentsRequest(states=order_messages.SHIPMENT_STATES.values())
        shipments = (await shop.fulfillment.ListShipments(every_state)).shipments
        exceptions = await shop.open_exceptions()
        figures = await shop.availability.ListChannelFigures(
            figure_pb.ListChannelFiguresRequest(channel_id="tiktok_shop")
        )
        demand = await shop.availability.ListUnmetDemand(demand_pb.ListUnmetDemandRequest())
        transfers = await shop.stock_service.ListTransfers(stock_pb.ListTransfersRequest())
        feeds = await shop.catalog.ListFeeds(catalog_pb.ListFeedsRequest())
        ledger = await shop.ledger()
    async with running(settings) as service, Retailer.connect(service, database_url) as shop:
        again = (await shop.allocations.ListAllocations(allocation_pb.ListAllocationsRequest())).allocations

    lines = [line for order in orders for line in order.lines]
    numbers = {order.order_id: order for order in orders}
    [spices], [torch] = numbers["#1009"].shipments, numbers["#1010"].shipments
    policies = {order.decision.routing_policy for order in orders}
    assert {STATES.Name(x.state).removeprefix("STATE_") for x in shipments} >= {
        *("ASSIGNED", "ACCEPTED", "READY_FOR_PICKUP", "DELIVERED", "REJECTED", "CANCELLED")
    }
    assert any(len(x.parcels) > 1 for x in shipments)
    assert policies >= {"oldest-first", "economy", "express", "pick-up-in-store", "everything-else"}
    # Chicago is farther than Brooklyn, but has had its spices for longer. Seattle's count is too old to be trusted.
    assert spices.location_id == "store-chicago"
    assert (torch.location_id, torch.transfer_to_location_id) == ("dc-memphis", "store-austin")
    assert any(line.kit_sku for line in lines)
    assert any(line.item_id for line in lines)
    assert any(line.keep_together for line in lines)
    assert any(line.not_location_ids for line in lines)
    assert any(order.outlet_id for order in orders)
    assert any(order.HasField("hold") for order in orders)
    assert [x.state for x in orders].count(allocation_pb.Allocation.STATE_HELD) == 2
    assert len({x.state for x in requests}) == len(requests) == 2
    assert {x.kind for x in exceptions} >= {"oversell", "cancel_requested", "mismatch", "sync_failed"}
    assert all(x.owner for x in exceptions)
    assert any(x.assignee == "anna" for x in exceptions)
    assert all((figures.figures, demand.demands, transfers.transfers, feeds.feeds))
    assert ledger.balanced
    assert [x.allocation_id for x in again] == [x.allocation_id for x in orders]


async def test_the_sample_retailer_starts_with_rules_that_refuse_its_orders(database_url: str) -> None:
    settings = service_settings(database_url, PLAIN_RULES).model_copy(update={"sample": True})
    async with running(settings) as service, Retailer.connect(service, database_url) as shop:
        request = availability_pb.CheckAvailabilityRequest(channel_id="shopify", skus=["TRN-1205-MOS"])
        known = (await shop.availability.CheckAvailability(request)).availabilities
        ledger = await shop.ledger()

    assert known
    assert ledger.balanced
