"""Releases an order from its hold on request, and resolves the exception that it was on hold for too long."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from policies.domain.resolutions import COMPLETED
from service.allocation import order_holds
from service.allocation.lifecycle import open_unit_of_work
from service.allocation.order_holds import HOLD_OVERDUE
from service.allocation.planning_context import context
from service.allocation.unit_of_work import UnitOfWork
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import no_allocation, no_order
from service.exceptions import incidents
from service.orders import order_messages, order_store
from service.orders.order_requests import ReleaseHoldRequest
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from truestock.v1 import allocation_service_pb2 as allocation_pb


class HoldRelease:
    """Releases orders from their hold. Never shed under load: locations wait for the work."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def release(self, request: ReleaseHoldRequest, idempotent: IdempotentRequest) -> allocation_pb.Allocation:
        """Returns the order afterwards; one that is not on hold is not changed. Raises NotFound, RequestIdReused."""

        async def work(connection: Connection) -> tuple[allocation_pb.Allocation, UnitOfWork]:
            return await self._release(connection, request)

        return await idempotency.once(
            self._deps.database,
            "release_order_hold",
            idempotent,
            allocation_pb.Allocation,
            work,
            count=lambda unit_of_work: unit_of_work.count(self._deps.metrics),
        )

    async def _release(
        self, connection: Connection, request: ReleaseHoldRequest
    ) -> tuple[allocation_pb.Allocation, UnitOfWork]:
        allocation_id = request.allocation_id or await _allocation_id(connection, request)
        if not await order_store.lock(connection, [allocation_id]):
            raise no_allocation(allocation_id)
        # No stock moves. But an order is written whole, so its levels are locked: it must not expire meanwhile.
        skus = await order_store.line_skus(connection, [allocation_id])
        unit_of_work = await open_unit_of_work(connection, [allocation_id], skus, self._deps.new_id)
        record, now = unit_of_work.records[allocation_id], unit_of_work.book.now
        planning_context = await context(connection, self._deps.catalog_cache, self._deps.policies(), skus)
        cause = f"by {request.actor}" if request.actor else "on request"
        change = order_holds.release(record, now, planning_context.of(record.channel_id), cause, actor=request.actor)
        record.needs_person = record.needs_person or bool(change.intervention)
        unit_of_work.record(change)
        await unit_of_work.write(connection)
        if change.event:
            await resolve_overdue(connection, unit_of_work, [allocation_id])
        return order_messages.allocation(record, now), unit_of_work


async def resolve_overdue(connection: Connection, unit_of_work: UnitOfWork, ids: Iterable[UUID]) -> None:
    """Resolves the exceptions of locked orders that they were on hold for too long, because their hold has changed."""
    resolved = await incidents.resolve_all(
        connection,
        unit_of_work.book.now,
        HOLD_OVERDUE,
        [str(id) for id in ids],
        resolution=COMPLETED,
        description="Its hold was released or changed.",
        new_id=unit_of_work.book.new_id,
    )
    if resolved:
        unit_of_work.resolved.setdefault((HOLD_OVERDUE, COMPLETED), []).extend(resolved)


async def _allocation_id(connection: Connection, request: ReleaseHoldRequest) -> UUID:
    assert request.key is not None
    found = await order_store.find(connection, *request.key)
    if found is None:
        raise no_order(request.key)
    return found
