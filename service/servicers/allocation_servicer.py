"""AllocationService: which location fulfils an order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from service import limits
from service.allocation.allocation_batch import AllocationBatch
from service.allocation.allocation_queue import AllocationQueue, Ticket
from service.allocation.cancellation import CancellationOperations
from service.allocation.lifecycle import Lifecycle
from service.database.database import Connection, Database
from service.errors import NotFound, TruestockError, no_allocation
from service.exceptions import exception_messages
from service.fulfillment import shipment_requests
from service.fulfillment.fulfillment_operations import FulfillmentOperations
from service.orders import order_exceptions, order_messages, order_pages, order_requests, order_store
from service.orders.order_requests import OrderRequest
from service.policy.active_policies import ActivePolicies
from service.rpc.call_interceptor import internal_error
from service.rpc.idempotency import IdempotencyKey, IdempotentRequest
from service.rpc.validation import Fields
from service.stock import levels
from service.watch import watch_requests
from service.watch.order_watch import OrderWatch
from truestock.v1 import (
    allocation_service_pb2 as allocation_pb,
    allocation_service_pb2_grpc as allocation_grpc,
)

Context = Any
AllocateOne = Callable[[allocation_pb.AllocateOrderRequest], Awaitable[allocation_pb.Allocation]]


@dataclass(frozen=True, slots=True)
class OrderOperations:
    """Who decides on orders, and who cancels them."""

    orders: AllocationBatch
    cancellations: CancellationOperations


class AllocationServicer(allocation_grpc.AllocationServiceServicer):
    """Orders go through the allocator's queue; moves of what is promised do not wait in it."""

    def __init__(
        self,
        *,
        allocator: AllocationQueue,
        desks: OrderOperations,
        lifecycle: Lifecycle,
        fulfilment: FulfillmentOperations,
        database: Database,
        folder: ActivePolicies,
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
        claim = IdempotentRequest.of("AllocateOrder", request, asked.request_id, self._new_id).key
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

        return await _allocate_each(order_requests.batch_requests(request), allocate_one)

    async def ConfirmAllocation(
        self, request: allocation_pb.ConfirmAllocationRequest, context: Context
    ) -> allocation_pb.ConfirmAllocationResponse:
        allocation_id, request_id = order_requests.allocation_request_ids(request.allocation_id, request.request_id)
        asked = IdempotentRequest.of("ConfirmAllocation", request, request_id, self._new_id)
        allocation = await self._lifecycle.confirm(allocation_id, asked)
        return allocation_pb.ConfirmAllocationResponse(allocation=allocation)

    async def ReleaseAllocation(
        self, request: allocation_pb.ReleaseAllocationRequest, context: Context
    ) -> allocation_pb.ReleaseAllocationResponse:
        allocation_id, request_id = order_requests.allocation_request_ids(request.allocation_id, request.request_id)
        asked = IdempotentRequest.of("ReleaseAllocation", request, request_id, self._new_id)
        return allocation_pb.ReleaseAllocationResponse(allocation=await self._lifecycle.release(allocation_id, asked))

    async def ExtendHold(
        self, request: allocation_pb.ExtendHoldRequest, context: Context
    ) -> allocation_pb.ExtendHoldResponse:
        allocation_id, duration, request_id = order_requests.extend_request(request)
        asked = IdempotentRequest.of("ExtendHold", request, request_id, self._new_id)
        allocation = await self._lifecycle.extend(allocation_id, asked, duration)
        return allocation_pb.ExtendHoldResponse(allocation=allocation)

    async def CancelOrderLines(
        self, request: allocation_pb.CancelOrderLinesRequest, context: Context
    ) -> allocation_pb.CancelOrderLinesResponse:
        wanted = order_requests.cancel_request(request)
        asked = IdempotentRequest.of("CancelOrderLines", request, wanted.request_id, self._new_id)
        allocation = await self._cancel_desk.cancel(wanted, asked)
        return allocation_pb.CancelOrderLinesResponse(allocation=allocation)

    async def ReassignShipment(
        self, request: allocation_pb.ReassignShipmentRequest, context: Context
    ) -> allocation_pb.ReassignShipmentResponse:
        wanted = shipment_requests.reassignment_request(request)
        asked = IdempotentRequest.of("ReassignShipment", request, wanted.request_id, self._new_id)
        return allocation_pb.ReassignShipmentResponse(allocation=await self._fulfilment.perform(wanted, asked))

    async def GetAllocation(
        self, request: allocation_pb.GetAllocationRequest, context: Context
    ) -> allocation_pb.GetAllocationResponse:
        named = _named(request)

        async def work(connection: Connection) -> allocation_pb.GetAllocationResponse:
            allocation_id = named if isinstance(named, UUID) else await order_store.find(connection, *named)
            found = await order_store.read(connection, [allocation_id] if allocation_id else [])
            if not found or allocation_id is None:
                raise _no_allocation(named)
            events = await order_store.events(connection, allocation_id)
            raised = await order_store.exceptions(connection, allocation_id)
            raised += await order_exceptions.open_unmapped(connection, found[allocation_id])
            return allocation_pb.GetAllocationResponse(
                allocation=order_messages.allocation(found[allocation_id], await levels.clock(connection)),
                timeline=[order_messages.timeline_event(event) for event in events],
                exceptions=[exception_messages.exception_record(row) for row in raised],
            )

        return await self._database.snapshot("get", work)

    async def ListAllocations(
        self, request: allocation_pb.ListAllocationsRequest, context: Context
    ) -> allocation_pb.ListAllocationsResponse:
        return await order_pages.page(self._database, order_pages.page_request(request))

    def WatchOrders(
        self, request: allocation_pb.WatchOrdersRequest, context: Context
    ) -> AsyncIterator[allocation_pb.WatchOrdersResponse]:
        return self._watch.watch(watch_requests.order_subscription(request))

    def _ticket(self, asked: OrderRequest, claim: IdempotencyKey, message: Message) -> Ticket:
        return Ticket(asked, claim, message, self._folder.current.policy_set, self._new_id())


def _named(request: allocation_pb.GetAllocationRequest) -> UUID | tuple[str, str]:
    fields = Fields()
    by_order = request.HasField("order")
    allocation_id = fields.uuid("allocation_id", request.allocation_id)
    if by_order == bool(request.allocation_id):
        fields.wrong("allocation_id", "name either allocation_id or order")
    if by_order:
        fields.text("order.channel_id", request.order.channel_id, longest=limits.ID_LENGTH, required=True)
        fields.text("order.order_id", request.order.order_id, longest=limits.ORDER_ID_LENGTH, required=True)
    fields.finish()
    return allocation_id or (request.order.channel_id, request.order.order_id)


def _no_allocation(named: UUID | tuple[str, str]) -> NotFound:
    if isinstance(named, UUID):
        return no_allocation(named)
    return NotFound("order", {"order.order_id": "/".join(named)}, "it has not come through AllocateOrder")


async def _allocate_each(
    requests: Sequence[allocation_pb.AllocateOrderRequest], allocate_one: AllocateOne
) -> allocation_pb.BatchAllocateOrdersResponse:
    """An answer or an error for each, in the order of the list.

    All are in the allocator's queue before it looks into it again, so that they go in one or few transactions.
    """
    results = await asyncio.gather(*(_result(request, allocate_one) for request in requests))
    return allocation_pb.BatchAllocateOrdersResponse(results=results)


async def _result(
    request: allocation_pb.AllocateOrderRequest, allocate_one: AllocateOne
) -> allocation_pb.BatchAllocateOrdersResult:
    try:
        return allocation_pb.BatchAllocateOrdersResult(allocation=await allocate_one(request))
    except TruestockError as error:
        return allocation_pb.BatchAllocateOrdersResult(error=error.status())
    except Exception:
        # One order's misfortune is not the others'.
        return allocation_pb.BatchAllocateOrdersResult(error=internal_error("BatchAllocateOrders"))
