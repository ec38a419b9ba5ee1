"""The calls of the demo: orders, counts, deliveries and questions to a running service."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from google.type.money_pb2 import Money

from bench.demo.unit_groups import unit_groups
from service.cli.client import Client
from service.sample.sample_retailer import sample_locations
from truestock.v1.allocation_service_pb2 import (
    AllocateOrderRequest,
    Allocation,
    CancellationRequest,
    ConfirmAllocationRequest,
    GetAllocationRequest,
    GetAllocationResponse,
    RequestCancellationRequest,
    Shortage,
)
from truestock.v1.availability_service_pb2 import Availability, CheckAvailabilityRequest
from truestock.v1.catalog_service_pb2 import Feed, Location, UpsertFeedsRequest, UpsertLocationsRequest
from truestock.v1.exception_pb2 import EXCEPTION_RESOLUTION_CANCELLED, ExceptionRecord
from truestock.v1.exception_service_pb2 import ListExceptionsRequest, ResolveExceptionRequest
from truestock.v1.fulfillment_service_pb2 import (
    REJECT_REASON_NOT_FOUND,
    LineUnits,
    RejectShipmentRequest,
    ShipShipmentRequest,
)
from truestock.v1.order_pb2 import Commitment, Destination, OrderLine
from truestock.v1.shipment_pb2 import Parcel
from truestock.v1.stock_service_pb2 import (
    MOVEMENT_KIND_RECEIVED,
    ListStockLevelsRequest,
    RecordStockChangesRequest,
    StockChange,
    StockCount,
    StockMovement,
)

CHANNEL = "tiktok_shop"
SKU = "TRN-1205-MOS"
"""The moss-green tumbler of the sample retailer."""
LINE = "1"
PRICE = Money(currency_code="USD", units=34)
"""Of one unit, whatever it is."""
SOURCE = "demo"
"""The source of stocktakes and deliveries."""
LOCATION_IDS = tuple(location.location_id for location in sample_locations())
RELOAD_SECONDS = 15.0


class DemoRetailer:
    """The sample retailer at a running service."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._orders = 0

    async def availability(self, *, internal: bool = True) -> Availability:
        """What the channel may sell of SKU, by location. Unless `internal`, the channel has received it."""
        request = CheckAvailabilityRequest(channel_id=CHANNEL, skus=[SKU], include_locations=True, internal=internal)
        return (await self._client.ask(self._client.availability.CheckAvailability, request)).availabilities[0]

    async def unit_groups(self) -> dict[str, int]:
        """Where every unit of SKU is. Raises SumError if the service's answers do not add up."""
        response = await self._client.ask(self._client.stock.ListStockLevels, ListStockLevelsRequest(skus=[SKU]))
        on_hand = {level.location_id: level.on_hand_count for level in response.stock_levels}
        return unit_groups(await self.availability(), on_hand)

    async def on_hand(self, location_id: str) -> int:
        """The units of SKU that a location has."""
        request = ListStockLevelsRequest(skus=[SKU], location_ids=[location_id])
        response = await self._client.ask(self._client.stock.ListStockLevels, request)
        return response.stock_levels[0].on_hand_count

    async def declare_feeds(self, till: str, audit: str, *, location_id: str, cadence_minutes: int) -> None:
        """A till reports the stock of a location this often; an audit only compares."""
        feeds = [
            Feed(source=till, role=Feed.ROLE_OWNER, location_ids=[location_id], cadence_minutes=cadence_minutes),
            Feed(source=audit, role=Feed.ROLE_OBSERVER),
        ]
        await self._client.ask(self._client.catalog.UpsertFeeds, UpsertFeedsRequest(feeds=feeds))

    async def close_location(self, location_id: str) -> None:
        """A location supplies nothing any more."""
        (location,) = [x for x in sample_locations() if x.location_id == location_id]
        location.status = Location.STATUS_CLOSED
        await self._client.ask(self._client.catalog.UpsertLocations, UpsertLocationsRequest(locations=[location]))

    async def count(self, units: Mapping[str, int], *, sku: str = SKU, source: str = SOURCE) -> None:
        """Records a stocktake, or what a till has: units by location."""
        await self._record(
            source,
            [
                StockChange(sku=sku, location_id=location_id, count=StockCount(on_hand_count=number))
                for location_id, number in units.items()
            ],
        )

    async def receive(self, units: Mapping[str, int], *, sku: str = SKU) -> None:
        """Records deliveries: units by location."""
        await self._record(
            SOURCE,
            [
                StockChange(
                    sku=sku,
                    location_id=location_id,
                    movement=StockMovement(kind=MOVEMENT_KIND_RECEIVED, unit_count=number),
                )
                for location_id, number in units.items()
            ],
        )

    async def order(
        self,
        commitment: Commitment.ValueType,
        *,
        units: int = 1,
        hold_seconds: int = 0,
        sku: str = SKU,
        channel_id: str = CHANNEL,
        not_at: Sequence[str] = (),
    ) -> Allocation:
        """Sends an order of one line, which must not ship from `not_at`, and returns its allocation."""
        self._orders += 1
        request = AllocateOrderRequest(
            channel_id=channel_id,
            order_id=f"demo-{self._orders}",
            commitment=commitment,
            lines=[OrderLine(line_id=LINE, sku=sku, unit_count=units, unit_price=PRICE, not_location_ids=not_at)],
            destination=Destination(country="US", region="TX", postal_code="78704"),
            request_id=str(uuid.uuid4()),
        )
        if hold_seconds:
            request.hold_duration.seconds = hold_seconds
        return (await self._client.ask(self._client.allocations.AllocateOrder, request)).allocation

    async def pay(self, held: Allocation) -> Allocation:
        """Confirms a held order."""
        request = ConfirmAllocationRequest(allocation_id=held.allocation_id, request_id=str(uuid.uuid4()))
        return (await self._client.ask(self._client.allocations.ConfirmAllocation, request)).allocation

    async def reject(self, order: Allocation) -> GetAllocationResponse:
        """The location does not find the units of an order's first shipment; returns the order after that."""
        request = RejectShipmentRequest(shipment_id=order.shipments[0].shipment_id, reason=REJECT_REASON_NOT_FOUND)
        await self._client.ask(self._client.fulfillment.RejectShipment, request)
        return await self.current(order)

    async def ship(self, order: Allocation, units: int, tracking_number: str) -> Allocation:
        """Some units of an order's first shipment leave in a parcel."""
        request = ShipShipmentRequest(
            shipment_id=order.shipments[0].shipment_id,
            lines=[LineUnits(line_id=LINE, unit_count=units)],
            parcels=[Parcel(carrier="UPS", tracking_number=tracking_number)],
            event_id=tracking_number,
        )
        return (await self._client.ask(self._client.fulfillment.ShipShipment, request)).allocation

    async def request_cancellation(self, order: Allocation) -> CancellationRequest:
        """The shopper asks, through the channel, to cancel an order."""
        request = RequestCancellationRequest(
            allocation_id=order.allocation_id, whole_order=True, reason="ordered by mistake", event_id="demo-request"
        )
        response = await self._client.ask(self._client.allocations.RequestCancellation, request)
        return response.cancellation_request

    async def open_exceptions(self, kind: str) -> list[ExceptionRecord]:
        """The open exceptions of a kind."""
        request = ListExceptionsRequest(states=[ExceptionRecord.STATE_OPEN], kinds=[kind])
        return list((await self._client.ask(self._client.exceptions.ListExceptions, request)).exceptions)

    async def resolve_by_cancelling(self, exception_id: str, person: str) -> None:
        """A person cancels the units of an exception, or accepts a shopper's request to cancel."""
        request = ResolveExceptionRequest(
            exception_id=exception_id, resolution=EXCEPTION_RESOLUTION_CANCELLED, actor=person
        )
        await self._client.ask(self._client.exceptions.ResolveException, request)

    async def current(self, order: Allocation) -> GetAllocationResponse:
        """The order as it is now."""
        request = GetAllocationRequest(allocation_id=order.allocation_id)
        return await self._client.ask(self._client.allocations.GetAllocation, request)

    async def revision_after(self, revision: str) -> tuple[str, float]:
        """The next rules revision once answers use it, and the seconds that this took. Raises TimeoutError."""
        started = time.perf_counter()
        request = CheckAvailabilityRequest(channel_id=CHANNEL, skus=[SKU], internal=True)
        while (elapsed := time.perf_counter() - started) < RELOAD_SECONDS:
            response = await self._client.ask(self._client.availability.CheckAvailability, request)
            if response.policy_revision != revision:
                return response.policy_revision, elapsed
            await asyncio.sleep(0.02)
        raise TimeoutError(f"the edited rule was not in force after {RELOAD_SECONDS:g} s")

    async def _record(self, source: str, changes: Iterable[StockChange]) -> None:
        request = RecordStockChangesRequest(source=source, changes=changes)
        for change in request.changes:
            change.change_id = str(uuid.uuid4())
            change.effective_time.FromDatetime(datetime.now(UTC))
        await self._client.ask(self._client.stock.RecordStockChanges, request)


def open_locations(order: Allocation) -> str:
    """The locations with units of an order still to ship."""
    return " and ".join(
        shipment.location_id for shipment in order.shipments if any(line.unit_count for line in shipment.lines)
    )


def allocated_units(orders: Iterable[Allocation]) -> int:
    """Units that the orders have at locations."""
    return sum(line.unit_count for order in orders for shipment in order.shipments for line in shipment.lines)


def short_units(orders: Iterable[Allocation]) -> tuple[int, int]:
    """Short units that no permitted location has, and those that are in stock, but that a rule keeps."""
    shortages = [shortage for order in orders for shortage in order.shortages]
    oversold = sum(x.unit_count for x in shortages if x.kind == Shortage.KIND_OVERSELL)
    return oversold, sum(x.unit_count for x in shortages) - oversold
