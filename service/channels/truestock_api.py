"""Sends effects to Truestock through its API. The same effect always has the same request id, so it may be repeated."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID, uuid5

from google.protobuf.message import Message
from grpc import aio

from service.channels.accounts import Account, Disposition
from service.channels.connection_reports import ConnectionReports
from service.channels.count_feed import CountFeed, count_source
from service.channels.effects import (
    CancelUnits,
    CountUnits,
    Effect,
    Fault,
    HandOver,
    ItemUnits,
    RequestToCancel,
    TakeOrder,
    TakeReturn,
    TillMovement,
)
from service.channels.errors import NotArrived, Unlinked, Unmapped
from service.channels.original_search import OriginalSearch
from service.channels.plain_text import plain_line
from service.channels.truestock_calls import CALL_SECONDS, FROM_DATABASE, answer, timestamp
from truestock.v1 import (
    allocation_service_pb2 as allocation,
    fulfillment_service_pb2 as fulfillment,
    order_pb2,
    stock_service_pb2 as stock,
)
from truestock.v1.allocation_service_pb2_grpc import AllocationServiceStub
from truestock.v1.catalog_service_pb2 import Channel, ListChannelsRequest
from truestock.v1.catalog_service_pb2_grpc import CatalogServiceStub
from truestock.v1.exception_pb2 import SyncFailureKind
from truestock.v1.exception_service_pb2 import ReportSyncFailureRequest, ReportSyncRecoveryRequest
from truestock.v1.exception_service_pb2_grpc import ExceptionServiceStub
from truestock.v1.fulfillment_service_pb2_grpc import FulfillmentServiceStub
from truestock.v1.order_pb2 import (
    COMMITMENT_HOLD,
    COMMITMENT_SOLD,
    FULFILLMENT_METHOD_PICKUP,
    ORDER_STATUS_CANCELLED,
    CancellationFault,
    Destination,
    OrderHold,
    OrderLine,
    OrderReference,
)
from truestock.v1.outlet_pb2 import ListOutletsRequest
from truestock.v1.shipment_pb2 import Shipment
from truestock.v1.stock_service_pb2_grpc import StockServiceStub

NAMESPACE = UUID("6d1f9a52-0f0e-5c1c-9f0b-6f0c1a7b2a10")
"""Under which request ids are made; it never changes."""
LONGEST_REASON = 256
PAGE_SIZE = 500
OPEN_STATUSES = (
    order_pb2.ORDER_STATUS_PLACED,
    order_pb2.ORDER_STATUS_IN_REVIEW,
    order_pb2.ORDER_STATUS_READY_TO_FULFILL,
    order_pb2.ORDER_STATUS_IN_PROGRESS,
    order_pb2.ORDER_STATUS_PARTLY_SHIPPED,
    order_pb2.ORDER_STATUS_EXCEPTION,
    order_pb2.ORDER_STATUS_BACKORDERED,
    order_pb2.ORDER_STATUS_ON_HOLD,
)
_OPEN = (Shipment.STATE_ASSIGNED, Shipment.STATE_ACCEPTED, Shipment.STATE_READY_FOR_PICKUP, Shipment.STATE_ON_HOLD)
_FAULTS = {
    Fault.BUYER: CancellationFault.CANCELLATION_FAULT_BUYER,
    Fault.SELLER: CancellationFault.CANCELLATION_FAULT_SELLER,
    Fault.UNKNOWN: CancellationFault.CANCELLATION_FAULT_UNSPECIFIED,
}
_DISPOSITIONS = {
    Disposition.SELLABLE: fulfillment.RETURN_DISPOSITION_SELLABLE,
    Disposition.INSPECT: fulfillment.RETURN_DISPOSITION_INSPECT,
    Disposition.DAMAGED: fulfillment.RETURN_DISPOSITION_DAMAGED,
}


class TruestockApi:
    """Truestock, as one account sees it. Every call raises Away, Unmapped or Unreadable."""

    def __init__(self, connection: aio.Channel, account: Account) -> None:
        self._account = account
        self._allocations: Any = AllocationServiceStub(connection)
        self._fulfillment: Any = FulfillmentServiceStub(connection)
        self._exceptions: Any = ExceptionServiceStub(connection)
        self._catalog: Any = CatalogServiceStub(connection)
        self._stock: Any = StockServiceStub(connection)
        self._originals = OriginalSearch(connection, account)
        self.reports = ConnectionReports(connection, account)
        self.counts = CountFeed(
            count_source(self._source), lambda page: answer(self._catalog.ListFeeds(page, timeout=CALL_SECONDS))
        )

    async def apply(self, entity_id: str, effect: Effect) -> None:
        """Sends one effect of an entity."""
        if isinstance(effect, TakeOrder):
            await self._check_link(effect)
            await self._send(self._allocations.AllocateOrder, entity_id, self._order(effect))
        elif isinstance(effect, CancelUnits):
            await self._send(self._allocations.CancelOrderLines, entity_id, self._cancellation(effect))
        elif isinstance(effect, HandOver):
            await self._hand_over(entity_id, effect)
        elif isinstance(effect, RequestToCancel):
            await self._send(self._allocations.RequestCancellation, entity_id, self._cancel_request(effect))
        elif isinstance(effect, TillMovement):
            await self._send(self._stock.RecordStockChanges, entity_id, await self._till_movement(effect))
        elif isinstance(effect, CountUnits):
            await self._report_count(entity_id, effect)
        else:
            await self._take_back(entity_id, effect)

    async def _check_link(self, effect: TakeOrder) -> None:
        """Raises Unlinked for a copy that does not say of which order, unless it was linked before."""
        if effect.original is None or effect.original.order_id or await self.is_known(effect.order_id):
            return
        likely = await self._originals.likely(effect)
        hint = f"; likely {likely}, which has the same contents" if likely else ""
        raise Unlinked(
            f"a copy that does not say of which order of {effect.original.channel_id}{hint}; nothing is promised; "
            "mend 'copies' in the accounts file and replay it"
        )

    async def is_known(self, order_id: str) -> bool:
        """Whether Truestock has the order."""
        try:
            await self._allocation_id(order_id)
        except NotArrived:
            return False
        return True

    async def channel(self) -> Channel | None:
        """The account's channel in the catalog; None if there is none."""
        request = ListChannelsRequest(channel_ids=[self._account.channel_id])
        response = await answer(self._catalog.ListChannels(request, timeout=CALL_SECONDS))
        return next(iter(response.channels), None)

    async def open_orders(self) -> AsyncIterator[list[str]]:
        """Ids of the channel's orders of which something is still to do, page by page."""
        request = allocation.ListAllocationsRequest(
            channel_ids=[self._account.channel_id], statuses=OPEN_STATUSES, page_size=PAGE_SIZE
        )
        while True:
            response = await answer(
                self._allocations.ListAllocations(request, timeout=CALL_SECONDS, metadata=FROM_DATABASE)
            )
            yield [one.order_id for one in response.allocations]
            request.page_token = response.next_page_token
            if not request.page_token:
                return

    async def report_failure(self, kind: SyncFailureKind.ValueType, description: str, order_id: str = "") -> None:
        """Raises an exception for a person, about an order or about the account as a whole."""
        request = ReportSyncFailureRequest(
            source=self._source,
            description=plain_line(description, LONGEST_REASON),
            kind=kind,
            channel_id=self._account.channel_id,
        )
        if order_id:
            request.order.CopyFrom(self._order_reference(order_id))
        await answer(self._exceptions.ReportSyncFailure(request, timeout=CALL_SECONDS))

    async def report_recovery(self, kind: SyncFailureKind.ValueType, order_id: str = "") -> None:
        """Resolves the exception about what works again."""
        request = ReportSyncRecoveryRequest(source=self._source, kind=kind, channel_id=self._account.channel_id)
        if order_id:
            request.order.CopyFrom(self._order_reference(order_id))
        await answer(self._exceptions.ReportSyncRecovery(request, timeout=CALL_SECONDS))

    @property
    def _source(self) -> str:
        return f"channels/{self._account.name}"[:64]

    async def _send(self, method: Any, entity_id: str, request: Any) -> Any:
        request.request_id = str(_request_id(self._account.name, entity_id, request))
        return await answer(method(request, timeout=CALL_SECONDS))

    async def _take_back(self, entity_id: str, effect: TakeReturn) -> None:
        request = fulfillment.RecordReturnRequest(
            allocation_id=await self._allocation_id(effect.order_id),
            lines=[
                fulfillment.LineUnits(line_id=line.line_id, item_id=line.item_id, unit_count=line.count)
                for line in effect.lines
            ],
            disposition=fulfillment.RETURN_DISPOSITION_NOT_RETURNED,
            event_id=effect.event_id,
            event_time=timestamp(effect.time),
        )
        if effect.has_goods:
            request.disposition = _DISPOSITIONS[self._account.returns_disposition]
            request.location_id = await self._return_location(effect)
        await self._send(self._fulfillment.RecordReturn, entity_id, request)

    async def _hand_over(self, entity_id: str, effect: HandOver) -> None:
        """Ships every shipment that is still open, or has it collected."""
        found = await self._allocation(effect.order_id)
        if found.status == ORDER_STATUS_CANCELLED:
            return
        if not found.shipments:
            raise Unmapped(f"order {effect.order_id} has left its shop, and is promised from nowhere")
        for shipment in found.shipments:
            if shipment.state not in _OPEN:
                continue
            ids, time = (shipment.shipment_id, effect.event_id), timestamp(effect.time)
            if effect.is_collected and not shipment.ship_to_shopper:
                collect = fulfillment.CollectShipmentRequest(shipment_id=ids[0], event_id=ids[1], event_time=time)
                await self._send(self._fulfillment.CollectShipment, entity_id, collect)
            else:
                ship = fulfillment.ShipShipmentRequest(shipment_id=ids[0], event_id=ids[1], event_time=time)
                await self._send(self._fulfillment.ShipShipment, entity_id, ship)

    async def _return_location(self, effect: TakeReturn) -> str:
        if effect.outlet_id:
            return await self._location(effect.outlet_id)
        if self._account.returns_location is None:
            raise Unmapped("units came back, and the account does not say where; state 'returns: {location: ID}'")
        return self._account.returns_location

    async def _location(self, outlet_id: str) -> str:
        """The location that is an outlet of the channel. Raises Unmapped where none is."""
        request = ListOutletsRequest(channel_ids=[self._account.channel_id], outlet_ids=[outlet_id])
        response = await answer(self._catalog.ListOutlets(request, timeout=CALL_SECONDS))
        location_id: str = response.outlets[0].location_id if response.outlets else ""
        if not location_id:
            raise Unmapped(f"outlet {outlet_id} of channel {self._account.channel_id} is not one location")
        return location_id

    async def _till_movement(self, effect: TillMovement) -> stock.RecordStockChangesRequest:
        location_id = await self._location(effect.outlet_id)
        kind = stock.MOVEMENT_KIND_RETURNED if effect.is_return else stock.MOVEMENT_KIND_SOLD
        changes = [
            stock.StockChange(
                change_id=f"{effect.order_id}/{effect.event_id}/{line.line_id}",
                channel_id=self._account.channel_id,
                item_id=line.item_id,
                location_id=location_id,
                movement=stock.StockMovement(kind=kind, unit_count=line.count),
                effective_time=timestamp(effect.time),
            )
            for line in effect.lines
        ]
        return stock.RecordStockChangesRequest(source=self._source, changes=changes)

    async def _report_count(self, entity_id: str, effect: CountUnits) -> None:
        if not await self.counts.is_declared():
            return
        change = stock.StockChange(
            change_id=f"{effect.outlet_id}/{effect.item_id}/{effect.time.isoformat()}",
            channel_id=self._account.channel_id,
            item_id=effect.item_id,
            location_id=await self._location(effect.outlet_id),
            count=stock.StockCount(on_hand_count=effect.count, computed=True),
            effective_time=timestamp(effect.time),
        )
        request = stock.RecordStockChangesRequest(source=self.counts.source, changes=[change])
        await self._send(self._stock.RecordStockChanges, entity_id, request)

    async def _allocation_id(self, order_id: str) -> str:
        allocation_id: str = (await self._allocation(order_id)).allocation_id
        return allocation_id

    async def _allocation(self, order_id: str) -> Any:
        request = allocation.GetAllocationRequest(order=self._order_reference(order_id))
        try:
            response = await answer(self._allocations.GetAllocation(request, timeout=CALL_SECONDS))
        except Unmapped as error:
            raise NotArrived(order_id) from error
        return response.allocation

    def _order(self, effect: TakeOrder) -> allocation.AllocateOrderRequest:
        request = allocation.AllocateOrderRequest(
            channel_id=self._account.channel_id,
            order_id=effect.order_id,
            lines=[
                OrderLine(line_id=line.line_id, item_id=line.item_id, unit_count=line.count) for line in effect.lines
            ],
            commitment=COMMITMENT_SOLD if effect.is_sold else COMMITMENT_HOLD,
            channel_update_time=timestamp(effect.update_time),
            channel_status=effect.status,
            outlet_id=effect.outlet_id,
        )
        if effect.original is not None and effect.original.order_id:
            request.copy_of.CopyFrom(OrderReference(**asdict(effect.original)))
        if effect.is_pickup:
            request.method = FULFILLMENT_METHOD_PICKUP
        if effect.ship_by_time is not None:
            request.ship_by_time.CopyFrom(timestamp(effect.ship_by_time))
        if effect.hold is not None:
            request.hold.CopyFrom(OrderHold(reason=effect.hold.reason))
            if effect.hold.until is not None:
                request.hold.until.CopyFrom(timestamp(effect.hold.until))
        if effect.hold_duration is not None:
            request.hold_duration.FromTimedelta(effect.hold_duration)
        if effect.place is not None:
            place = effect.place
            request.destination.CopyFrom(
                Destination(country=place.country, region=place.region, postal_code=place.postal_code)
            )
        return request

    def _cancellation(self, effect: CancelUnits) -> allocation.CancelOrderLinesRequest:
        return allocation.CancelOrderLinesRequest(
            order=self._order_reference(effect.order_id),
            cancellations=_cancelled(effect.lines),
            whole_order=not effect.lines,
            event_id=effect.event_id,
            channel_update_time=timestamp(effect.update_time),
            fault=_FAULTS[effect.fault],
            reason=plain_line(effect.reason, LONGEST_REASON),
        )

    def _cancel_request(self, effect: RequestToCancel) -> allocation.RequestCancellationRequest:
        request = allocation.RequestCancellationRequest(
            order=self._order_reference(effect.order_id), event_id=effect.event_id, withdraw=effect.is_withdrawn
        )
        if not effect.is_withdrawn:
            request.lines.extend(_cancelled(effect.lines))
            request.whole_order = not effect.lines
            request.reason = plain_line(effect.reason, LONGEST_REASON)
            if effect.deadline is not None:
                request.deadline.CopyFrom(timestamp(effect.deadline))
        return request

    def _order_reference(self, order_id: str) -> OrderReference:
        return OrderReference(channel_id=self._account.channel_id, order_id=order_id)


def failure_kind(kind: str) -> SyncFailureKind.ValueType:
    """What Truestock calls a failure to read an entity of this kind."""
    kinds: dict[str, SyncFailureKind.ValueType] = {
        "order": SyncFailureKind.SYNC_FAILURE_KIND_ORDER,
        "fulfillment_order": SyncFailureKind.SYNC_FAILURE_KIND_ORDER,
        "cancellation": SyncFailureKind.SYNC_FAILURE_KIND_CANCELLATION,
        "return": SyncFailureKind.SYNC_FAILURE_KIND_RETURN,
        "count": SyncFailureKind.SYNC_FAILURE_KIND_STOCK,
    }
    return kinds.get(kind, SyncFailureKind.SYNC_FAILURE_KIND_UNSPECIFIED)


def _request_id(account: str, entity_id: str, request: Message) -> UUID:
    """Made of everything that the request says: the same again is the same id, and other contents never are."""
    content = request.SerializeToString(deterministic=True).hex()
    return uuid5(NAMESPACE, f"{account}/{entity_id}/{type(request).__name__}/{content}")


def _cancelled(lines: Sequence[ItemUnits]) -> list[allocation.LineCancellation]:
    return [
        allocation.LineCancellation(line_id=line.line_id, item_id=line.item_id, unit_count=line.count) for line in lines
    ]
