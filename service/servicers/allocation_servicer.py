"""AllocationService: which locations fulfill an order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from policies.domain.model import Destination
from service import limits
from service.allocation.allocation_queue import AllocationQueue, Ticket
from service.allocation.cancellations.cancellation import CancellationOperations
from service.allocation.cancellations.cancellation_requests import CancellationRequests
from service.allocation.hold_release import HoldRelease
from service.allocation.lifecycle import Lifecycle
from service.allocation.order_preview import OrderPreview
from service.background import in_turns
from service.candidates.candidate_processes import CandidateProcesses
from service.database.database import Connection, Database
from service.decisions.located_destination import destination_point, set_located
from service.decisions.preview_explanation import explained
from service.errors import TruestockError, no_allocation, no_order
from service.exceptions import exception_messages
from service.fulfillment import shipment_requests
from service.fulfillment.fulfillment_operations import FulfillmentOperations
from service.geocoding.destination_points import DestinationPoints
from service.orders import id_search, order_exceptions, order_messages, order_pages, order_requests, order_store
from service.orders.order_requests import OrderRequest
from service.policy.active_policies import ActivePolicies
from service.privacy.forget_operations import ForgetOperations
from service.replica.reads import Reads
from service.rpc.call_interceptor import internal_error
from service.rpc.call_limit import LimitedTurns
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
    """The operations that cancel orders, release them from a hold, forget them, and preview them.

    `destination_points` finds where their destinations are.
    """

    previews: OrderPreview
    cancellations: CancellationOperations
    hold_release: HoldRelease
    forget: ForgetOperations
    cancellation_requests: CancellationRequests
    candidates: CandidateProcesses
    destination_points: DestinationPoints
    reads: Reads


class AllocationServicer(allocation_grpc.AllocationServiceServicer):
    """Orders wait in the allocation queue; confirm, release, extend, cancel and reassign do not."""

    def __init__(
        self,
        *,
        allocator: AllocationQueue,
        operations: OrderOperations,
        lifecycle: Lifecycle,
        fulfillment: FulfillmentOperations,
        database: Database,
        active_policies: ActivePolicies,
        new_id: Callable[[], UUID],
        watch: OrderWatch,
    ) -> None:
        self._reads = operations.reads
        self._destination_points = operations.destination_points
        self._watch = watch
        self._explanations = LimitedTurns(1, limits.EXPLANATIONS_WAITING, "explanations of previews")
        self._allocator = allocator
        self._previews, self._cancellations = operations.previews, operations.cancellations
        self._hold_release, self._candidates = operations.hold_release, operations.candidates
        self._forget = operations.forget
        self._cancellation_requests = operations.cancellation_requests
        self._lifecycle = lifecycle
        self._fulfillment = fulfillment
        self._database = database
        self._active_policies = active_policies
        self._new_id = new_id

    async def AllocateOrder(
        self, request: allocation_pb.AllocateOrderRequest, context: Context
    ) -> allocation_pb.AllocateOrderResponse:
        if not request.validate_only:
            self._allocator.admit(orders=1, lines=len(request.lines), deadline=context.time_remaining())
        return await self._allocate(request, context)

    async def _allocate(
        self, request: allocation_pb.AllocateOrderRequest, context: Context
    ) -> allocation_pb.AllocateOrderResponse:
        remembered = self._destination_points.remembered
        order_request = await self._located(order_requests.order_request(request, remembered))
        if request.candidate_revision not in ("", self._active_policies.in_force().revision):
            return await self._by_candidate(request, order_request.order.destination)
        key = IdempotentRequest.of("AllocateOrder", request, order_request.request_id, self._new_id).key
        ticket = self._ticket(order_request, key, request, context)
        if request.validate_only:
            return await self._preview(ticket, explains=request.explain)
        return allocation_pb.AllocateOrderResponse(allocation=await self._allocator.allocate(ticket))

    async def _preview(self, ticket: Ticket, *, explains: bool) -> allocation_pb.AllocateOrderResponse:
        allocation, inputs = await self._previews.preview(ticket)
        if not explains or inputs is None:
            return allocation_pb.AllocateOrderResponse(allocation=allocation)
        async with self._explanations.turn():
            explanation = await in_turns(explained, inputs, ticket.policy_set)
        return allocation_pb.AllocateOrderResponse(allocation=allocation, explanation=explanation)

    async def _located(self, order_request: OrderRequest) -> OrderRequest:
        """The order with the coordinates of its destination, which are looked up unless it states them."""
        order = order_request.order
        destination = await self._destination_points.located(order.destination)
        if destination is order.destination:
            return order_request
        return replace(order_request, order=replace(order, destination=destination))

    async def _by_candidate(
        self, request: allocation_pb.AllocateOrderRequest, destination: Destination | None
    ) -> allocation_pb.AllocateOrderResponse:
        """The answer that the order would get by rules that are not in force; `validate_only` is set."""
        question = allocation_pb.AllocateOrderRequest()
        question.CopyFrom(request)
        question.ClearField("candidate_revision")
        set_located(question.destination, destination)
        method, response = "truestock.v1.AllocationService/AllocateOrder", allocation_pb.AllocateOrderResponse
        answer = await self._candidates.answer(request.candidate_revision, method, question, response)
        if (point := destination_point(destination)) is not None:
            answer.allocation.destination_point.CopyFrom(point)
        return answer

    async def BatchAllocateOrders(
        self, request: allocation_pb.BatchAllocateOrdersRequest, context: Context
    ) -> allocation_pb.BatchAllocateOrdersResponse:
        async def allocate_one(order_request: allocation_pb.AllocateOrderRequest) -> allocation_pb.Allocation:
            return (await self._allocate(order_request, context)).allocation

        orders = order_requests.batch_requests(request)
        lines = sum([len(order.lines) for order in orders])
        self._allocator.admit(orders=len(orders), lines=lines, deadline=context.time_remaining())
        return await _allocate_each(orders, allocate_one)

    async def ConfirmAllocation(
        self, request: allocation_pb.ConfirmAllocationRequest, context: Context
    ) -> allocation_pb.ConfirmAllocationResponse:
        allocation_id, request_id = order_requests.allocation_request_ids(request.allocation_id, request.request_id)
        idempotent = IdempotentRequest.of("ConfirmAllocation", request, request_id, self._new_id)
        allocation = await self._lifecycle.confirm(allocation_id, idempotent)
        return allocation_pb.ConfirmAllocationResponse(allocation=allocation)

    async def ReleaseAllocation(
        self, request: allocation_pb.ReleaseAllocationRequest, context: Context
    ) -> allocation_pb.ReleaseAllocationResponse:
        allocation_id, request_id = order_requests.allocation_request_ids(request.allocation_id, request.request_id)
        idempotent = IdempotentRequest.of("ReleaseAllocation", request, request_id, self._new_id)
        return allocation_pb.ReleaseAllocationResponse(
            allocation=await self._lifecycle.release(allocation_id, idempotent)
        )

    async def ExtendHold(
        self, request: allocation_pb.ExtendHoldRequest, context: Context
    ) -> allocation_pb.ExtendHoldResponse:
        allocation_id, duration, request_id = order_requests.extend_request(request)
        idempotent = IdempotentRequest.of("ExtendHold", request, request_id, self._new_id)
        allocation = await self._lifecycle.extend(allocation_id, idempotent, duration)
        return allocation_pb.ExtendHoldResponse(allocation=allocation)

    async def ReleaseOrderHold(
        self, request: allocation_pb.ReleaseOrderHoldRequest, context: Context
    ) -> allocation_pb.ReleaseOrderHoldResponse:
        parsed = order_requests.release_hold_request(request)
        idempotent = IdempotentRequest.of("ReleaseOrderHold", request, parsed.request_id, self._new_id)
        allocation = await self._hold_release.release(parsed, idempotent)
        return allocation_pb.ReleaseOrderHoldResponse(allocation=allocation)

    async def CancelOrderLines(
        self, request: allocation_pb.CancelOrderLinesRequest, context: Context
    ) -> allocation_pb.CancelOrderLinesResponse:
        parsed = order_requests.cancel_request(request)
        idempotent = IdempotentRequest.of("CancelOrderLines", request, parsed.request_id, self._new_id)
        allocation = await self._cancellations.cancel(parsed, idempotent)
        return allocation_pb.CancelOrderLinesResponse(allocation=allocation)

    async def RequestCancellation(
        self, request: allocation_pb.RequestCancellationRequest, context: Context
    ) -> allocation_pb.RequestCancellationResponse:
        parsed = order_requests.requested_cancellation(request)
        idempotent = IdempotentRequest.of("RequestCancellation", request, parsed.request_id, self._new_id)
        return await self._cancellation_requests.receive(parsed, idempotent)

    async def ReassignShipment(
        self, request: allocation_pb.ReassignShipmentRequest, context: Context
    ) -> allocation_pb.ReassignShipmentResponse:
        parsed = shipment_requests.reassignment_request(request)
        idempotent = IdempotentRequest.of("ReassignShipment", request, parsed.request_id, self._new_id)
        return allocation_pb.ReassignShipmentResponse(allocation=await self._fulfillment.perform(parsed, idempotent))

    async def ForgetOrder(
        self, request: allocation_pb.ForgetOrderRequest, context: Context
    ) -> allocation_pb.ForgetOrderResponse:
        parsed = order_requests.forget_request(request)
        idempotent = IdempotentRequest.of("ForgetOrder", request, parsed.request_id, self._new_id)
        return await self._forget.forget(parsed, idempotent)

    async def GetAllocation(
        self, request: allocation_pb.GetAllocationRequest, context: Context
    ) -> allocation_pb.GetAllocationResponse:
        identity = _allocation_identity(request)

        async def work(connection: Connection) -> allocation_pb.GetAllocationResponse:
            allocation_id = identity if isinstance(identity, UUID) else await order_store.find(connection, *identity)
            records = await order_store.read(connection, [allocation_id] if allocation_id else [])
            if not records or allocation_id is None:
                raise no_allocation(identity) if isinstance(identity, UUID) else no_order(identity)
            events = await order_store.events(connection, allocation_id)
            exceptions = await order_store.exceptions(connection, allocation_id)
            exceptions += await order_exceptions.open_unmapped(connection, records[allocation_id])
            return allocation_pb.GetAllocationResponse(
                allocation=order_messages.allocation(records[allocation_id], await levels.clock(connection)),
                timeline=[order_messages.timeline_event(event) for event in events],
                exceptions=[exception_messages.exception_record(row) for row in exceptions],
                cancellation_requests=order_messages.cancellation_requests(records[allocation_id]),
            )

        return await self._database.snapshot("get", work)

    async def ListAllocations(
        self, request: allocation_pb.ListAllocationsRequest, context: Context
    ) -> allocation_pb.ListAllocationsResponse:
        page = order_pages.page_request(request)
        return await self._reads.answer(lambda source: order_pages.page(source.database, page))

    def WatchOrders(
        self, request: allocation_pb.WatchOrdersRequest, context: Context
    ) -> AsyncIterator[allocation_pb.WatchOrdersResponse]:
        return self._watch.watch(watch_requests.order_subscription(request))

    async def FindIds(self, request: allocation_pb.FindIdsRequest, context: Context) -> allocation_pb.FindIdsResponse:
        search = id_search.id_search(request)
        return await self._database.unlocked("find_ids", lambda connection: id_search.find(connection, search))

    def _ticket(self, order_request: OrderRequest, key: IdempotencyKey, message: Message, context: Context) -> Ticket:
        policy_set = self._active_policies.current.policy_set
        return Ticket(order_request, key, message, policy_set, self._new_id(), call=context)


def _allocation_identity(request: allocation_pb.GetAllocationRequest) -> UUID | tuple[str, str]:
    fields = Fields()
    allocation_id, key = order_requests.allocation_or_order(fields, request)
    fields.finish()
    identity = allocation_id or key
    assert identity is not None
    return identity


async def _allocate_each(
    requests: Sequence[allocation_pb.AllocateOrderRequest], allocate_one: AllocateOne
) -> allocation_pb.BatchAllocateOrdersResponse:
    """An allocation or an error for each request, in list order.

    All are queued before the allocator takes its next batch, so that they share one or a few transactions.
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
        # An unexpected error of one order must not fail the other orders of the batch.
        return allocation_pb.BatchAllocateOrdersResult(error=internal_error("BatchAllocateOrders"))
