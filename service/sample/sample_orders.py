"""The first orders of the sample retailer, placed through the API like any others: something of each kind to list.

They are the same at every first start. With rules of one's own some may end otherwise, so each step does what it can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import grpc

from service.rpc import proto_values
from service.sample.sample_retailer import KIT, STORES_OUTLET, TUMBLER, TUMBLER_CASE_ID, WAREHOUSE
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    availability_service_pb2 as availability_pb,
    catalog_service_pb2 as catalog_pb,
    channel_figure_pb2 as figure_pb,
    demand_pb2 as demand_pb,
    exception_pb2,
    exception_service_pb2 as exception_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    order_pb2,
    stock_service_pb2 as stock_pb,
)
from truestock.v1.allocation_service_pb2_grpc import AllocationServiceStub
from truestock.v1.availability_service_pb2_grpc import AvailabilityServiceStub
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub
from truestock.v1.exception_service_pb2_grpc import ExceptionServiceStub
from truestock.v1.fulfillment_service_pb2_grpc import FulfillmentServiceStub
from truestock.v1.shipment_pb2 import Parcel, ParcelLine, Shipment
from truestock.v1.stock_service_pb2_grpc import StockServiceStub

TIKTOK, WEB_SHOP, TILLS = "tiktok_shop", "shopify", "pos"
PLATE, BOWL, OTHER_BOWL, BOTTLE = "PEL-1501-CHA", "QLM-1404-MOS", "QLM-1404-PLU", "TRN-1204-MOS-750"
SPICES = "QLM-1411"
"""Food, of which the oldest leaves first: that at Chicago."""
HEAD_TORCH = "DUN-1702-TID"
"""Austin does not carry it."""
SCARCE = "MRW-1603-SAG"
"""Sold out at the warehouse, and a dozen in the stores."""
SOLD, HOLD = order_pb2.COMMITMENT_SOLD, order_pb2.COMMITMENT_HOLD
_PRICE = proto_values.money(Decimal("28.00"), "USD")
_SHOPPERS = {"NY": (40.69, -73.99), "TX": (30.27, -97.74), "CO": (39.76, -104.97), "CA": (34.06, -118.24)}
"""Latitude and longitude of the shoppers, by state: nothing has to be looked up for them."""


async def place_sample_orders(channel: grpc.aio.Channel) -> None:
    """Places the orders at the service behind `channel`. Raises AioRpcError if it does not answer."""
    retailer = _Retailer(channel)
    await retailer.prepare()
    await retailer.place_orders()
    await retailer.ship_and_return()
    await retailer.reject()
    await retailer.request_cancellations()
    await retailer.oversell()
    await retailer.report()
    await retailer.route()


class _Retailer:
    """The people and systems of the sample retailer: channels, stores and the desk."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._availability = AvailabilityServiceStub(channel)
        self._allocations = AllocationServiceStub(channel)
        self._catalog = CatalogServiceStub(channel)
        self._exceptions = ExceptionServiceStub(channel)
        self._fulfillment = FulfillmentServiceStub(channel)
        self._stock = StockServiceStub(channel)

    async def prepare(self) -> None:
        """Declares the till of Denver, whose counts are only compared, and sends tumblers to a store."""
        till = catalog_pb.Feed(source="till-denver", role=catalog_pb.Feed.ROLE_OBSERVER, location_ids=["store-denver"])
        await self._catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[till]))
        units = [stock_pb.TransferUnits(sku=TUMBLER, unit_count=12)]
        dispatch = stock_pb.TransferDispatch(from_location_id=WAREHOUSE, to_location_id="store-seattle", units=units)
        await self._stock.TransferStock(stock_pb.TransferStockRequest(transfer_id="TR-1001", dispatch=dispatch))

    async def place_orders(self) -> None:
        """A cart, a kit, lines with restrictions, an outlet of TikTok Shop, a pickup, and a fraud check."""
        await self._order(WEB_SHOP, "#1001", {BOWL: 2}, "NY", commitment=HOLD)
        await self._order(WEB_SHOP, "#1002", {KIT: 1}, "TX")
        lines = [
            order_pb2.OrderLine(line_id="1", sku=PLATE, unit_count=4, unit_price=_PRICE, keep_together="table"),
            order_pb2.OrderLine(line_id="2", sku=BOWL, unit_count=4, unit_price=_PRICE, keep_together="table"),
            order_pb2.OrderLine(
                line_id="3", sku=BOTTLE, unit_count=1, unit_price=_PRICE, not_location_ids=["store-brooklyn"]
            ),
        ]
        await self._place(WEB_SHOP, "#1003", lines, "NY")
        case = order_pb2.OrderLine(line_id="1", item_id=TUMBLER_CASE_ID, unit_count=1, unit_price=_PRICE)
        await self._place(TIKTOK, "576461413038785001", [case], "TX", outlet_id=STORES_OUTLET)
        pickup = await self._order(
            *(WEB_SHOP, "#1004", {OTHER_BOWL: 1}, "TX"),
            method=order_pb2.FULFILLMENT_METHOD_PICKUP,
            pickup_location_id="store-austin",
        )
        for shipment in pickup.shipments:
            await self._fulfillment.MarkReadyForPickup(
                fulfillment_pb.MarkReadyForPickupRequest(shipment_id=shipment.shipment_id)
            )
        await self._order(WEB_SHOP, "#1005", {BOTTLE: 3}, "CA", hold=order_pb2.OrderHold(reason="fraud check"))

    async def ship_and_return(self) -> None:
        """An order in two parcels, of which a bowl comes back, and one that a store has accepted."""
        shipped = await self._order(WEB_SHOP, "#1006", {BOWL: 2, BOTTLE: 1}, "CO")
        for shipment in shipped.shipments:
            request = fulfillment_pb.ShipShipmentRequest(shipment_id=shipment.shipment_id, event_id="label-1")
            request.parcels.extend(_parcels(shipment))
            shipped = (await self._fulfillment.ShipShipment(request)).allocation
            await self._fulfillment.DeliverShipment(
                fulfillment_pb.DeliverShipmentRequest(shipment_id=shipment.shipment_id)
            )
        if shipped.shipments:
            back = [fulfillment_pb.LineUnits(line_id="1", unit_count=1)]
            await self._fulfillment.RecordReturn(
                fulfillment_pb.RecordReturnRequest(
                    allocation_id=shipped.allocation_id,
                    lines=back,
                    disposition=fulfillment_pb.RETURN_DISPOSITION_INSPECT,
                    location_id=WAREHOUSE,
                )
            )
        accepted = await self._order(WEB_SHOP, "#1007", {PLATE: 2}, "NY")
        for shipment in accepted.shipments:
            await self._accept(shipment)

    async def reject(self) -> None:
        """A store does not find what it should ship: other locations send it, or the order is an exception."""
        order = await self._order(TIKTOK, "576461413038785002", {PLATE: 3}, "CO", outlet_id=STORES_OUTLET)
        for shipment in order.shipments[:1]:
            await self._fulfillment.RejectShipment(
                fulfillment_pb.RejectShipmentRequest(
                    shipment_id=shipment.shipment_id, reason=fulfillment_pb.REJECT_REASON_NOT_FOUND
                )
            )

    async def request_cancellations(self) -> None:
        """One request comes in time; for the other a person has to decide, because the location has begun."""
        await self._order(TIKTOK, "576461413038785003", {OTHER_BOWL: 1}, "CA")
        begun = await self._order(TIKTOK, "576461413038785004", {OTHER_BOWL: 2}, "CA")
        for shipment in begun.shipments:
            await self._accept(shipment)
        for order_id in ("576461413038785003", "576461413038785004"):
            await self._allocations.RequestCancellation(
                allocation_pb.RequestCancellationRequest(
                    order=order_pb2.OrderReference(channel_id=TIKTOK, order_id=order_id),
                    whole_order=True,
                    fault=order_pb2.CANCELLATION_FAULT_BUYER,
                    reason="ordered by mistake",
                )
            )

    async def oversell(self) -> None:
        """TikTok Shop sells more than there is; somebody works on it already. A cart cannot have as many either."""
        await self._order(TIKTOK, "576461413038785005", {SCARCE: 14}, "TX")
        await self._order(WEB_SHOP, "#1008", {SCARCE: 2}, "TX", commitment=HOLD)
        listed = await self._exceptions.ListExceptions(exception_pb.ListExceptionsRequest(kinds=["oversell"]))
        for raised in listed.exceptions[:1]:
            await self._exceptions.AssignException(
                exception_pb.AssignExceptionRequest(exception_id=raised.exception_id, assignee="anna", actor="anna")
            )

    async def report(self) -> None:
        """What TikTok Shop shows, a label that was refused, and a sale that a till missed."""
        question = availability_pb.CheckAvailabilityRequest(channel_id=TIKTOK, skus=[BOWL], include_outlets=True)
        (answer,) = (await self._availability.CheckAvailability(question)).availabilities
        figures = [
            figure_pb.ChannelFigure(
                sku=BOWL, outlet_id=x.outlet_id, shown_count=x.sellable_count + 2 * (x.outlet_id == STORES_OUTLET)
            )
            for x in answer.outlets
            if x.outlet_id
        ]
        await self._availability.RecordChannelFigures(
            figure_pb.RecordChannelFiguresRequest(channel_id=TIKTOK, figures=figures)
        )
        await self._exceptions.ReportSyncFailure(
            exception_pb.ReportSyncFailureRequest(
                source="shop-adapter",
                description="label refused: the postal code does not exist",
                kind=exception_pb2.SYNC_FAILURE_KIND_FULFILLMENT,
                order=order_pb2.OrderReference(channel_id=WEB_SHOP, order_id="#1007"),
            )
        )
        missed = demand_pb.UnmetDemandEvent(
            event_id="till-austin-1",
            kind=demand_pb.DEMAND_KIND_MISSED_SALE,
            channel_id=TILLS,
            location_id="store-austin",
            sku=PLATE,
            wanted_count=12,
            met_count=8,
        )
        missed.demand_time.FromDatetime(datetime.now(UTC))
        await self._availability.RecordUnmetDemand(demand_pb.RecordUnmetDemandRequest(events=[missed]))

    async def route(self) -> None:
        """Food that ships by its age, a pickup that the warehouse sends to the store, and cheap and fast delivery."""
        await self._order(WEB_SHOP, "#1009", {SPICES: 1}, "NY")
        await self._order(
            *(WEB_SHOP, "#1010", {HEAD_TORCH: 1}, "TX"),
            method=order_pb2.FULFILLMENT_METHOD_PICKUP,
            pickup_location_id="store-austin",
        )
        await self._order(WEB_SHOP, "#1011", {BOTTLE: 1}, "CA", tags=["economy"])
        await self._order(WEB_SHOP, "#1012", {PLATE: 1}, "CO", tags=["express"])

    async def _accept(self, shipment: Shipment) -> None:
        await self._fulfillment.AcceptShipment(fulfillment_pb.AcceptShipmentRequest(shipment_id=shipment.shipment_id))

    async def _order(
        self, channel_id: str, order_id: str, units: Mapping[str, int], region: str, **fields: Any
    ) -> allocation_pb.Allocation:
        lines = [
            order_pb2.OrderLine(line_id=str(number), sku=sku, unit_count=count, unit_price=_PRICE)
            for number, (sku, count) in enumerate(units.items(), start=1)
        ]
        return await self._place(channel_id, order_id, lines, region, **fields)

    async def _place(
        self, channel_id: str, order_id: str, lines: Sequence[order_pb2.OrderLine], region: str, **fields: Any
    ) -> allocation_pb.Allocation:
        request = allocation_pb.AllocateOrderRequest(
            channel_id=channel_id,
            order_id=order_id,
            lines=lines,
            **{"commitment": SOLD, **fields},
        )
        request.destination.country, request.destination.region = "US", region
        latitude, longitude = _SHOPPERS[region]
        request.destination.coordinates.latitude, request.destination.coordinates.longitude = latitude, longitude
        allocation: allocation_pb.Allocation = (await self._allocations.AllocateOrder(request)).allocation
        return allocation


def _parcels(shipment: Shipment) -> list[Parcel]:
    """One parcel for each line of a shipment."""
    return [
        Parcel(
            carrier="UPS",
            tracking_number=f"1Z999AA1012345678{number}",
            lines=[ParcelLine(line_id=line.line_id, unit_count=line.unit_count)],
        )
        for number, line in enumerate(shipment.lines)
    ]
