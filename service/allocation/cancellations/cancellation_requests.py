"""Records shoppers' requests to cancel, also for orders that have not arrived yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from service import limits
from service.allocation.cancellations.cancellation import order_key
from service.allocation.cancellations.cancellation_answers import take_up, withdraw
from service.allocation.cancellations.requested_units import units_of_lines
from service.allocation.lifecycle import open_unit_of_work
from service.allocation.planning_context import context
from service.allocation.replanning import rebalancing
from service.allocation.unit_of_work import UnitOfWork
from service.catalog import catalog_store
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import NotFound, TooManyRequests, TooManyUnits, no_channel
from service.metrics import Metrics
from service.orders import order_identity, order_messages, order_store
from service.orders.allocation_record import AllocationRecord
from service.orders.cancellations import cancellation_request_store, pending_cancellations
from service.orders.cancellations.cancellation_request import (
    BY_CHANNEL,
    WITHDRAWN,
    CancellationRequest,
    RequestedLine,
)
from service.orders.order_identity import CopyLink, OrderKey
from service.orders.order_requests import Cancellation, RequestedCancellation
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.stock import levels
from truestock.v1 import allocation_service_pb2 as allocation_pb

RequestResult = tuple[allocation_pb.RequestCancellationResponse, UnitOfWork | None]


class CancellationRequests:
    """Records requests to cancel. Never shed under load: a channel's deadline runs."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def receive(
        self, request: RequestedCancellation, idempotent: IdempotentRequest
    ) -> allocation_pb.RequestCancellationResponse:
        """Returns the request and, if it has arrived, its order.

        Raises InvalidFields, NotFound, TooManyUnits, TooManyRequests, RequestIdReused.
        """

        async def attempt(links: Mapping[OrderKey, CopyLink]) -> allocation_pb.RequestCancellationResponse:
            return await idempotency.once(
                self._deps.database,
                "request_cancellation",
                idempotent,
                allocation_pb.RequestCancellationResponse,
                lambda connection: self._work(connection, request, str(idempotent.key.id), links),
                count=lambda unit_of_work: _count(self._deps.metrics, unit_of_work),
            )

        return await order_identity.retry_until_locked(attempt)

    async def _work(
        self,
        connection: Connection,
        request: RequestedCancellation,
        request_id: str,
        links: Mapping[OrderKey, CopyLink],
    ) -> RequestResult:
        key = request.key or await order_key(connection, request.allocation_id)
        catalog = await self._deps.catalog_cache.at(connection, await catalog_store.version(connection))
        if request.key and key[0] not in catalog.channels:
            raise no_channel({"order.channel_id": key[0]}, catalog.channels)
        locked = await order_identity.lock(connection, [key], links, self._deps.new_id)
        original, event_id = locked.original(key), request.event_id or request_id
        allocation_id = locked.ids[original]
        if allocation_id in locked.created:
            waiting = await self._store_waiting(connection, request, original, event_id)
            await order_identity.delete_empty(connection, locked.created)
            return _response(waiting), None
        skus = await order_store.line_skus(connection, [allocation_id])
        unit_of_work = await open_unit_of_work(connection, [allocation_id], skus, self._deps.new_id)
        record = unit_of_work.records[allocation_id]
        policy_set = self._deps.policies()
        channel_context = (await context(connection, self._deps.catalog_cache, policy_set, skus)).of(record.channel_id)
        stored = _find(record.cancellation_requests, event_id)
        if stored is None:
            stored = self._new(request, original, event_id, unit_of_work.book.now)
            _check_count(record.cancellation_requests, stored)
            _check_lines(record, request.lines)
            for change in take_up(channel_context, unit_of_work.book, record, stored):
                unit_of_work.record(change)
        elif request.withdraw and stored.is_open:
            unit_of_work.record(withdraw(unit_of_work.book, record, stored))
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, policy_set)
        await unit_of_work.write(connection)
        answer = order_messages.allocation(record, unit_of_work.book.now)
        return _response(stored, answer), unit_of_work

    async def _store_waiting(
        self, connection: Connection, request: RequestedCancellation, key: OrderKey, event_id: str
    ) -> CancellationRequest:
        """Stores a request, or its withdrawal, until its order arrives."""
        now, waiting = await levels.clock(connection), await cancellation_request_store.waiting(connection, [key])
        stored = _find(waiting, event_id)
        if stored is None:
            stored = self._new(request, key, event_id, now)
            _check_count(waiting, stored)
            await pending_cancellations.write(connection, now, [pending_cancellations.marker(stored)])
        elif request.withdraw and stored.is_open:
            stored.answer(WITHDRAWN, BY_CHANNEL, "Withdrawn.", now, cause=BY_CHANNEL)
        else:
            return stored
        await cancellation_request_store.write(connection, [stored], now, self._deps.new_id)
        return stored

    def _new(self, request: RequestedCancellation, key: OrderKey, event_id: str, now: datetime) -> CancellationRequest:
        new = CancellationRequest(
            self._deps.new_id(),
            *key,
            event_id,
            now,
            lines=tuple(RequestedLine(x.line_id, x.unit_count, x.item_id or "") for x in request.lines),
            cause=request.cause,
            deadline=request.deadline,
        )
        if request.withdraw:
            new.answer(WITHDRAWN, BY_CHANNEL, "Withdrawn before it arrived.", now, cause=BY_CHANNEL)
        return new


def _find(requests: Sequence[CancellationRequest], event_id: str) -> CancellationRequest | None:
    return next((request for request in requests if request.event_id == event_id), None)


def _check_count(stored: Sequence[CancellationRequest], new: CancellationRequest) -> None:
    """Raises TooManyRequests if an order can have no more of them."""
    if len(stored) >= limits.CANCELLATION_REQUESTS:
        raise TooManyRequests(new.channel_id, new.order_id, limits.CANCELLATION_REQUESTS)


def _check_lines(record: AllocationRecord, lines: tuple[Cancellation, ...]) -> None:
    """Raises InvalidFields, NotFound or TooManyUnits if an order does not have what a request names."""
    units = units_of_lines(record, lines, "lines")
    ordered = {line.line_id: line.unit_count for line in record.lines}
    names = {line.line_id if line.kit is None else line.kit.line_id for line in record.lines}
    missing = {
        f"lines[{index}].line_id": line.line_id
        for index, line in enumerate(lines)
        if line.line_id and line.line_id not in ordered and line.line_id not in names
    }
    if missing:
        raise NotFound("order line", missing, f"lines are: {', '.join(sorted(names)[:20])}")
    for line_id, count in units.items():
        if count > ordered[line_id]:
            raise TooManyUnits(line_id, count, ordered[line_id], "cancelled", counted="ordered")


def _response(
    request: CancellationRequest, allocation: allocation_pb.Allocation | None = None
) -> allocation_pb.RequestCancellationResponse:
    message = order_messages.cancellation_request(request)
    return allocation_pb.RequestCancellationResponse(allocation=allocation, cancellation_request=message)


def _count(metrics: Metrics, unit_of_work: UnitOfWork | None) -> None:
    if unit_of_work is not None:
        unit_of_work.count(metrics)
