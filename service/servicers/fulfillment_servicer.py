"""FulfillmentService: what locations do with their shipments, and returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from policies.domain.shipments import ShipmentAction
from service.fulfillment import shipment_requests, work_list
from service.fulfillment.fulfillment_operations import FulfillmentOperations
from service.replica.reads import Reads
from service.rpc.idempotency import IdempotentRequest
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    fulfillment_service_pb2 as fulfillment_pb,
    fulfillment_service_pb2_grpc as fulfillment_grpc,
)

Context = Any


class FulfillmentServicer(fulfillment_grpc.FulfillmentServiceServicer):
    """Every write is one action on one shipment, or one return."""

    def __init__(self, reads: Reads, fulfillment: FulfillmentOperations, new_id: Callable[[], UUID]) -> None:
        self._reads = reads
        self._fulfillment = fulfillment
        self._new_id = new_id

    async def AcceptShipment(
        self, request: fulfillment_pb.AcceptShipmentRequest, context: Context
    ) -> fulfillment_pb.AcceptShipmentResponse:
        allocation = await self._perform(ShipmentAction.ACCEPT, "AcceptShipment", request)
        return fulfillment_pb.AcceptShipmentResponse(allocation=allocation)

    async def RejectShipment(
        self, request: fulfillment_pb.RejectShipmentRequest, context: Context
    ) -> fulfillment_pb.RejectShipmentResponse:
        allocation = await self._perform(ShipmentAction.REJECT, "RejectShipment", request)
        return fulfillment_pb.RejectShipmentResponse(allocation=allocation)

    async def ShipShipment(
        self, request: fulfillment_pb.ShipShipmentRequest, context: Context
    ) -> fulfillment_pb.ShipShipmentResponse:
        allocation = await self._perform(ShipmentAction.SHIP, "ShipShipment", request)
        return fulfillment_pb.ShipShipmentResponse(allocation=allocation)

    async def UndoShipment(
        self, request: fulfillment_pb.UndoShipmentRequest, context: Context
    ) -> fulfillment_pb.UndoShipmentResponse:
        allocation = await self._perform(ShipmentAction.UNDO_SHIP, "UndoShipment", request)
        return fulfillment_pb.UndoShipmentResponse(allocation=allocation)

    async def DeliverShipment(
        self, request: fulfillment_pb.DeliverShipmentRequest, context: Context
    ) -> fulfillment_pb.DeliverShipmentResponse:
        allocation = await self._perform(ShipmentAction.DELIVER, "DeliverShipment", request)
        return fulfillment_pb.DeliverShipmentResponse(allocation=allocation)

    async def MarkReadyForPickup(
        self, request: fulfillment_pb.MarkReadyForPickupRequest, context: Context
    ) -> fulfillment_pb.MarkReadyForPickupResponse:
        allocation = await self._perform(ShipmentAction.MARK_READY, "MarkReadyForPickup", request)
        return fulfillment_pb.MarkReadyForPickupResponse(allocation=allocation)

    async def CollectShipment(
        self, request: fulfillment_pb.CollectShipmentRequest, context: Context
    ) -> fulfillment_pb.CollectShipmentResponse:
        allocation = await self._perform(ShipmentAction.COLLECT, "CollectShipment", request)
        return fulfillment_pb.CollectShipmentResponse(allocation=allocation)

    async def ReturnUncollected(
        self, request: fulfillment_pb.ReturnUncollectedRequest, context: Context
    ) -> fulfillment_pb.ReturnUncollectedResponse:
        allocation = await self._perform(ShipmentAction.RETURN_UNCOLLECTED, "ReturnUncollected", request)
        return fulfillment_pb.ReturnUncollectedResponse(allocation=allocation)

    async def RecordReturn(
        self, request: fulfillment_pb.RecordReturnRequest, context: Context
    ) -> fulfillment_pb.RecordReturnResponse:
        parsed = shipment_requests.return_request(request)
        idempotent = IdempotentRequest.of("RecordReturn", request, parsed.request_id, self._new_id)
        return fulfillment_pb.RecordReturnResponse(allocation=await self._fulfillment.record_return(parsed, idempotent))

    async def ListShipments(
        self, request: fulfillment_pb.ListShipmentsRequest, context: Context
    ) -> fulfillment_pb.ListShipmentsResponse:
        page = shipment_requests.shipments_page(request)
        shipments, next_position = await self._reads.answer(
            lambda source: source.database.snapshot("list", lambda connection: work_list.page(connection, page))
        )
        return fulfillment_pb.ListShipmentsResponse(
            shipments=shipments, next_page_token=page.tokens.after_key(next_position) if next_position else ""
        )

    async def _perform(self, action: ShipmentAction, method: str, request: Message) -> allocation_pb.Allocation:
        parsed = shipment_requests.shipment_request(action, request)
        return await self._fulfillment.perform(
            parsed, IdempotentRequest.of(method, request, parsed.request_id, self._new_id)
        )
