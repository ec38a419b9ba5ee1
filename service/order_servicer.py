"""AllocationService and AvailabilityService: what may be sold, and which location fulfils an order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from service import (
    answers,
    availability,
    bounds,
    fulfilment_requests,
    levels,
    order_batches,
    order_pages,
    order_requests,
    orders,
    unmapped,
    watch_requests,
)
from service.allocating import OrderDesk
from service.allocator import Allocator, Ticket
from service.availability import Question, StockReader
from service.availability_watch import AvailabilityWatch
from service.cancelling import CancelDesk
from service.database import Connection, Database
from service.errors import NotFound
from service.fields import Fields
from service.fulfilment import Fulfilment
from service.lifecycle import Lifecycle
from service.order_requests import OrderRequest
from service.order_watch import OrderWatch
from service.policy_folder import PolicyFolder
from service.requests import Asked, Claim
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    allocation_service_pb2_grpc as allocation_grpc,
    availability_service_pb2 as availability_pb,
    availability_service_pb2_grpc as availability_grpc,
)

Context = Any


class AvailabilityServicer(availability_grpc.AvailabilityServiceServicer):
    """Answers from a fresh read, by the rules in force when the call came."""

    def __init__(self, reader: StockReader, folder: PolicyFolder, watch: AvailabilityWatch) -> None:
        self._reader = reader
        self._folder = folder
        self._watch = watch

    async def CheckAvailability(
        self, request: availability_pb.CheckAvailabilityRequest, context: Context
    ) -> availability_pb.CheckAvailabilityResponse:
        question = _question(request)
        policy_set = self._folder.current.policy_set
        snapshot = await self._reader.read(question.skus)
        return availability.answer(policy_set, snapshot, question)

    def WatchAvailability(
        self, request: availability_pb.WatchAvailabilityRequest, context: Context
    ) -> AsyncIterator[availability_pb.WatchAvailabilityResponse]:
        return self._watch.watch(watch_requests.availability_wish(request))


@dataclass(frozen=True, slots=True)
class Desks:
    """Who decides on orders, and who cancels them."""

    orders: OrderDesk
    cancellations: CancelDesk


class AllocationServicer(allocation_grpc.AllocationServiceServicer):
    """Orders go through the allocator's queue; moves of what is promised do not wait in it."""

    def __init__(
        self,
        *,
        allocator: Allocator,
        desks: Desks,
        lifecycle: Lifecycle,
        fulfilment: Fulfilment,
        database: Database,
        folder: PolicyFolder,
        new_id: Callable[[], UUID],
        watch: OrderWatch,
    ) -> None:
        self._watch = watch
        self._allocator = allocator
        self._desk, self._cancel_desk = desks.orders, desks.cancellations
        self._lifecycle = lifecycle
        self._fulfilment = fulfilment
        self._database = database
        self._folder = folder
        self._new_id = new_id

    async def AllocateOrder(
        self, request: allocation_pb.AllocateOrderRequest, context: Context
    ) -> allocation_pb.AllocateOrderResponse:
        asked = order_requests.order_request(request)
        claim = Asked.of("AllocateOrder", request, asked.request_id, self._new_id).claim
        ticket = self._ticket(asked, claim, request)
        if request.validate_only:
            return allocation_pb.AllocateOrderResponse(allocation=await self._desk.preview(ticket))
        allocation = await self._allocator.allocate(ticket, deadline=context.time_remaining())
        return allocation_pb.AllocateOrderResponse(allocation=allocation)

    async def BatchAllocateOrders(
        self, request: allocation_pb.BatchAllocateOrdersRequest, context: Context
    ) -> allocation_pb.BatchAllocateOrdersResponse:
        async def allocate_one(one: allocation_pb.AllocateOrderRequest) -> allocation_pb.Allocation:
            return (await self.AllocateOrder(one, context)).allocation

        return await order_batches.allocate(order_requests.batch_requests(request), allocate_one)

    async def ConfirmAllocation(
        self, request: allocation_pb.ConfirmAllocationRequest, context: Context
    ) -> allocation_pb.ConfirmAllocationResponse:
        allocation_id, request_id = order_requests.allocation_move(request.allocation_id, request.request_id)
        asked = Asked.of("ConfirmAllocation", request, request_id, self._new_id)
        allocation = await self._lifecycle.confirm(allocation_id, asked)
        return allocation_pb.ConfirmAllocationResponse(allocation=allocation)

    async def ReleaseAllocation(
        self, request: allocation_pb.ReleaseAllocationRequest, context: Context
    ) -> allocation_pb.ReleaseAllocationResponse:
        allocation_id, request_id = order_requests.allocation_move(request.allocation_id, request.request_id)
        asked = Asked.of("ReleaseAllocation", request, request_id, self._new_id)
        return allocation_pb.ReleaseAllocationResponse(allocation=await self._lifecycle.release(allocation_id, asked))

    async def ExtendHold(
        self, request: allocation_pb.ExtendHoldRequest, context: Context
    ) -> allocation_pb.ExtendHoldResponse:
        allocation_id, duration, request_id = order_requests.extension(request)
        asked = Asked.of("ExtendHold", request, request_id, self._new_id)
        allocation = await self._lifecycle.extend(allocation_id, asked, duration)
        return allocation_pb.ExtendHoldResponse(allocation=allocation)

    async def CancelOrderLines(
        self, request: allocation_pb.CancelOrderLinesRequest, context: Context
    ) -> allocation_pb.CancelOrderLinesResponse:
        wanted = order_requests.cancel_request(request)
        asked = Asked.of("CancelOrderLines", request, wanted.request_id, self._new_id)
        allocation = await self._cancel_desk.cancel(wanted, asked)
        return allocation_pb.CancelOrderLinesResponse(allocation=allocation)

    async def ReassignShipment(
        self, request: allocation_pb.ReassignShipmentRequest, context: Context
    ) -> allocation_pb.ReassignShipmentResponse:
        wanted = fulfilment_requests.reassignment(request)
        asked = Asked.of("ReassignShipment", request, wanted.request_id, self._new_id)
        return allocation_pb.ReassignShipmentResponse(allocation=await self._fulfilment.move(wanted, asked))

    async def GetAllocation(
        self, request: allocation_pb.GetAllocationRequest, context: Context
    ) -> allocation_pb.GetAllocationResponse:
        named = _named(request)

        async def work(connection: Connection) -> allocation_pb.GetAllocationResponse:
            allocation_id = named if isinstance(named, UUID) else await orders.find(connection, *named)
            found = await orders.read(connection, [allocation_id] if allocation_id else [])
            if not found or allocation_id is None:
                raise _no_allocation(named)
            events = await orders.events(connection, allocation_id)
            raised = await orders.exceptions(connection, allocation_id)
            raised += await unmapped.exceptions(connection, found[allocation_id])
            return allocation_pb.GetAllocationResponse(
                allocation=answers.allocation(found[allocation_id], await levels.clock(connection)),
                timeline=[answers.timeline_event(event) for event in events],
                exceptions=[answers.exception_record(row) for row in raised],
            )

        return await self._database.snapshot("get", work)

    async def ListAllocations(
        self, request: allocation_pb.ListAllocationsRequest, context: Context
    ) -> allocation_pb.ListAllocationsResponse:
        return await order_pages.page(self._database, order_pages.wanted(request))

    def WatchOrders(
        self, request: allocation_pb.WatchOrdersRequest, context: Context
    ) -> AsyncIterator[allocation_pb.WatchOrdersResponse]:
        return self._watch.watch(watch_requests.orders_wish(request))

    def _ticket(self, asked: OrderRequest, claim: Claim, message: Message) -> Ticket:
        return Ticket(asked, claim, message, self._folder.current.policy_set, self._new_id())


def _question(request: availability_pb.CheckAvailabilityRequest) -> Question:
    fields = Fields()
    fields.text("channel_id", request.channel_id, longest=bounds.ID_LENGTH, required=True)
    if fields.size("skus", request.skus, 1, bounds.SKUS):
        seen: dict[str, int] = {}
        for index, sku in enumerate(request.skus):
            fields.sku(f"skus[{index}]", sku)
            if sku in seen:
                fields.wrong(f"skus[{index}]", f"'{sku}' is skus[{seen[sku]}] too")
            seen.setdefault(sku, index)
    method = order_requests.order_method(fields, request.method)
    destination = (
        order_requests.order_destination(fields, request.destination) if request.HasField("destination") else None
    )
    fields.finish()
    return Question(request.channel_id, tuple(request.skus), method, destination, request.include_locations)


def _named(request: allocation_pb.GetAllocationRequest) -> UUID | tuple[str, str]:
    fields = Fields()
    by_order = request.HasField("order")
    allocation_id = fields.uuid("allocation_id", request.allocation_id)
    if by_order == bool(request.allocation_id):
        fields.wrong("allocation_id", "name either allocation_id or order")
    if by_order:
        fields.text("order.channel_id", request.order.channel_id, longest=bounds.ID_LENGTH, required=True)
        fields.text("order.order_id", request.order.order_id, longest=bounds.ORDER_ID_LENGTH, required=True)
    fields.finish()
    return allocation_id or (request.order.channel_id, request.order.order_id)


def _no_allocation(named: UUID | tuple[str, str]) -> NotFound:
    if isinstance(named, UUID):
        return NotFound("allocation", {"allocation_id": str(named)}, "look it up by its order instead")
    return NotFound("order", {"order.order_id": "/".join(named)}, "it has not come through AllocateOrder")
