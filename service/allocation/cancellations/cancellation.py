"""Cancels by allocation or by order, including orders that have not arrived yet.

A cancellation with an event id or a time, or of a whole order, is stored, so that it also applies to contents that
arrive later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

from policies.decisions.cancellations import PendingCancellation, stands
from service.allocation.intake import contradictions, ordered_items, ordered_kits
from service.allocation.intake.amendments import cancel_whole_order
from service.allocation.intake.contradictions import IGNORED
from service.allocation.lifecycle import cancel_lines, open_unit_of_work
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import context
from service.allocation.replanning import rebalancing
from service.allocation.replanning.excess_units import has_shipped, note_excess
from service.allocation.unit_of_work import UnitOfWork
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import InvalidFields, Violation, no_allocation
from service.orders import order_identity, order_messages, order_store
from service.orders.allocation_record import AllocationRecord
from service.orders.cancellations import pending_cancellations
from service.orders.cancellations.pending_cancellations import CancellationRow
from service.orders.order_identity import CopyLink, OrderKey
from service.orders.order_requests import Cancellation, CancelRequest
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.stock import levels
from truestock.v1 import allocation_service_pb2 as allocation_pb

CancelResult = tuple[allocation_pb.Allocation, UnitOfWork | None]


class CancellationOperations:
    """Cancels units of orders. Never shed under load: cancelled units can be sold again."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def cancel(
        self, request: CancelRequest, idempotent_request: IdempotentRequest
    ) -> allocation_pb.Allocation | None:
        """Returns the order afterwards; None if it has not arrived yet and the cancellation waits for it.

        Raises NotFound, WrongState, TooManyUnits, InvalidFields, RequestIdReused.
        """

        async def attempt(links: Mapping[OrderKey, CopyLink]) -> allocation_pb.Allocation:
            return await idempotency.once(
                self._deps.database,
                "cancel",
                idempotent_request,
                allocation_pb.Allocation,
                lambda connection: self._work(connection, request, str(idempotent_request.key.id), links),
                count=self._count,
            )

        answer = await order_identity.retry_until_locked(attempt)
        return answer if answer.allocation_id else None

    def _count(self, unit_of_work: UnitOfWork | None) -> None:
        if unit_of_work is not None:
            unit_of_work.count(self._deps.metrics)

    async def _work(
        self, connection: Connection, request: CancelRequest, request_id: str, links: Mapping[OrderKey, CopyLink]
    ) -> CancelResult:
        key = request.key or await order_key(connection, request.allocation_id)
        locked = await order_identity.lock(connection, [key], links, self._deps.new_id)
        original, event_id = locked.original(key), request.event_id or request_id
        allocation_id = locked.ids[original]
        if allocation_id in locked.created:
            await _store_early_cancellation(connection, request, original, event_id)
            await order_identity.delete_empty(connection, locked.created)
            return allocation_pb.Allocation(), None
        skus = await order_store.line_skus(connection, [allocation_id])
        unit_of_work = await open_unit_of_work(connection, [allocation_id], skus, self._deps.new_id)
        record, now = unit_of_work.records[allocation_id], unit_of_work.book.now
        stored = await pending_cancellations.read(connection, [original])
        if all(row.event_id != event_id for row in stored):
            cancellations = ordered_kits.component_cancellations(record, request.cancellations)
            units = ordered_items.cancelled_units(record, cancellations)
            change = _cancel(unit_of_work, record, replace(request, cancellations=units))
            request = replace(request, cancellations=_as_stored(cancellations, units))
            if request.is_whole and change.event != IGNORED and has_shipped(record):
                policy_set, cache = self._deps.policies(), self._deps.catalog_cache
                planning_context = await context(connection, cache, policy_set, skus)
                change = note_excess(planning_context.of(record.channel_id), unit_of_work.book, change, {})
            unit_of_work.record(change)
            await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, self._deps.policies())
            await unit_of_work.write(connection)
            if request.event_id or request.cancel_time or request.is_whole:
                rows = _rows(request, original, event_id, is_applied=True)
                await pending_cancellations.write(connection, now, rows)
        return order_messages.allocation(record, now), unit_of_work


def _cancel(unit_of_work: UnitOfWork, record: AllocationRecord, request: CancelRequest) -> AllocationChange:
    """Cancels units of a stored order. Contents that the channel stated at or after the cancellation include it."""
    now, stated = unit_of_work.book.now, record.channel_update_time
    if request.is_whole:
        cancellation = PendingCancellation(
            cancel_time=request.cancel_time, latest_time=pending_cancellations.latest_time(request.cancel_time, now)
        )
        if stands(cancellation, record.sold_time):
            return cancel_whole_order(unit_of_work.book, record, record.order_as_stated(), request.cause)
        return AllocationChange(record, IGNORED, contradictions.ignored_cancellation(cancellation, record.sold_time))
    if request.cancel_time is not None and stated is not None and request.cancel_time <= stated:
        return AllocationChange(record, IGNORED, contradictions.included_cancellation(request.cancel_time, stated))
    return cancel_lines(unit_of_work.book, record, request.cancellations, request.cause)


async def _store_early_cancellation(
    connection: Connection, request: CancelRequest, key: OrderKey, event_id: str
) -> None:
    violations = [
        Violation(f"cancellations[{index}].shipment_id", "must be left out: the order has not arrived yet")
        for index, cancellation in enumerate(request.cancellations)
        if cancellation.shipment_id is not None
    ]
    violations += [
        Violation(f"cancellations[{index}].line_id", "must not be empty: the order has not arrived yet")
        for index, cancellation in enumerate(request.cancellations)
        if not cancellation.line_id
    ]
    if violations:
        raise InvalidFields(violations)
    rows = _rows(request, key, event_id, is_applied=False)
    await pending_cancellations.write(connection, await levels.clock(connection), rows)


def _as_stored(cancellations: Sequence[Cancellation], units: Sequence[Cancellation]) -> tuple[Cancellation, ...]:
    """The cancellations with their items, by the lines of `units`; but as units where a line is cancelled by units too.

    Contents that were stated before the cancellation may arrive later, with items of another number of units.
    """
    by_units = {of_line.line_id for x, of_line in zip(cancellations, units, strict=True) if x.item_id is None}
    return tuple(
        of_line if of_line.line_id in by_units else replace(x, line_id=of_line.line_id)
        for x, of_line in zip(cancellations, units, strict=True)
    )


def _rows(request: CancelRequest, key: OrderKey, event_id: str, *, is_applied: bool) -> list[CancellationRow]:
    """The rows to store of a cancellation: its units by line, over all shipments."""
    units: dict[tuple[str, str | None], int] = {} if not request.is_whole else {("", None): 0}
    for cancellation in request.cancellations:
        line = cancellation.line_id, cancellation.item_id
        units[line] = units.get(line, 0) + cancellation.unit_count
    return [
        CancellationRow(
            key,
            event_id,
            PendingCancellation(line_id, count, request.cancel_time, is_applied, cause=request.cause, item_id=item_id),
        )
        for (line_id, item_id), count in units.items()
    ]


async def order_key(connection: Connection, allocation_id: UUID | None) -> OrderKey:
    """The key of an order that a request names by its allocation. Raises NotFound."""
    assert allocation_id is not None
    # Not the whole record: before the lock another transaction may replan the order between the statements of `read`.
    key = await order_store.key(connection, allocation_id)
    if key is None:
        raise no_allocation(allocation_id)
    return key
