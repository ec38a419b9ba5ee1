"""Actions on shipments, each in one transaction: lock, read, apply, rebalance, write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from sqlalchemy import Uuid, select

from policies.domain.shipments import ShipmentAction
from policies.policy_set import PolicySet
from service.allocation.planning_context import context
from service.allocation.replanning import rebalancing
from service.allocation.shipment_counts import counts_of_call
from service.allocation.unit_of_work import UnitOfWork
from service.catalog import catalog_store, unknown_records
from service.database.database import Connection, Statement, parameter
from service.database.tables import shipment
from service.dependencies import Dependencies
from service.errors import NotFound, no_allocation
from service.fulfillment import applied_events, parcel_records, reassignment, returns, shipping_undo
from service.fulfillment.applied_events import UNDONE, AppliedEvents
from service.fulfillment.shipment_moves import not_found_levels, perform
from service.fulfillment.shipment_requests import ReturnRequest, ShipmentRequest
from service.fulfillment.shipment_transition import ShipmentTransition, effect_of
from service.orders import order_messages, order_store
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.stock import count_learning, levels, provenance
from truestock.v1 import allocation_service_pb2 as allocation_pb

_ALLOCATION_OF = Statement(select(shipment.c.allocation_id).where(shipment.c.id == parameter("id", Uuid)))

Work = Callable[[Connection], Awaitable[tuple[allocation_pb.Allocation, UnitOfWork]]]


class FulfillmentOperations:
    """Actions on shipments, and returns. Never shed under load, because they report what has happened already."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def perform(
        self, request: ShipmentRequest, idempotent_request: IdempotentRequest
    ) -> allocation_pb.Allocation:
        """Applies an action to a shipment; returns its order.

        Raises NotFound, WrongState, TooManyUnits, EventIdReused, CannotReassign, CannotUndo.
        """
        policy_set = self._deps.policies()

        async def work(connection: Connection) -> tuple[allocation_pb.Allocation, UnitOfWork]:
            row = await _ALLOCATION_OF.row(connection, id=request.shipment_id)
            if row is None:
                raise _no_shipment(request.shipment_id)
            unit_of_work, locked = await self._open(connection, row["allocation_id"])
            transition = await self._transition(
                connection,
                unit_of_work,
                locked,
                request=request,
                idempotent_request=idempotent_request,
                policy_set=policy_set,
            )
            if request.action is ShipmentAction.REASSIGN:
                reassignment.reassign(transition)
            elif request.action is ShipmentAction.UNDO_SHIP:
                shipping_undo.undo(transition)
            else:
                _perform_counted(transition)
                parcel_records.record(transition)
            failed_picks = not_found_levels(transition)
            locations = await count_learning.record_failed_picks(connection, unit_of_work.book, failed_picks)
            await applied_events.record(connection, transition.effects)
            answer = await self._finish(connection, unit_of_work, row["allocation_id"], policy_set)
            await locations.write(connection)
            return answer

        return await self._once_per_request(f"shipment_record{request.action}", idempotent_request, work)

    async def record_return(
        self, request: ReturnRequest, idempotent_request: IdempotentRequest
    ) -> allocation_pb.Allocation:
        """Records returned units of an order; returns the order. Raises NotFound, TooManyUnits, EventIdReused."""
        policy_set = self._deps.policies()
        event_id = request.event_id or str(idempotent_request.key.id)

        async def work(connection: Connection) -> tuple[allocation_pb.Allocation, UnitOfWork]:
            if request.location_id and await catalog_store.missing_locations(connection, [request.location_id]):
                raise await unknown_records.location_error(connection, {"location_id": request.location_id})
            new_location_id = request.location_id or None
            unit_of_work, locked = await self._open(connection, request.allocation_id, new_location_id)
            record = unit_of_work.records[request.allocation_id]
            shipment_ids = [shipment_record.id for shipment_record in record.shipments]
            applied = await applied_events.read(connection, shipment_ids)
            times = dict.fromkeys(locked, request.event_time) if request.event_time else {}
            counted_levels = await provenance.counted_levels(connection, times)
            units = returns.in_units(record, request)
            effects = returns.record_return(
                unit_of_work, record, units, event_id, applied=applied, counted_levels=counted_levels
            )
            await applied_events.record(connection, effects)
            return await self._finish(connection, unit_of_work, request.allocation_id, policy_set)

        return await self._once_per_request("return", idempotent_request, work)

    async def _once_per_request(
        self, operation: str, idempotent_request: IdempotentRequest, work: Work
    ) -> allocation_pb.Allocation:
        return await idempotency.once(
            self._deps.database,
            operation,
            idempotent_request,
            allocation_pb.Allocation,
            work,
            count=lambda unit_of_work: unit_of_work.count(self._deps.metrics),
        )

    async def _open(
        self, connection: Connection, allocation_id: UUID, new_location_id: str | None = None
    ) -> tuple[UnitOfWork, levels.LockedKeys]:
        """Locks and reads the order and the stock of its products; creates missing levels at `new_location_id`."""
        if not await order_store.lock(connection, [allocation_id]):
            raise no_allocation(allocation_id)
        skus = await order_store.line_skus(connection, [allocation_id])
        if new_location_id:
            known_skus = skus - await catalog_store.missing_products(connection, skus)
            await levels.ensure(connection, {(sku, new_location_id) for sku in known_skus})
        locked = await levels.lock(connection, skus)
        unit_of_work = UnitOfWork(await levels.open_book(connection, locked, self._deps.new_id))
        unit_of_work.load((await order_store.read(connection, [allocation_id])).values())
        return unit_of_work, locked

    async def _transition(
        self,
        connection: Connection,
        unit_of_work: UnitOfWork,
        locked: levels.LockedKeys,
        *,
        request: ShipmentRequest,
        idempotent_request: IdempotentRequest,
        policy_set: PolicySet,
    ) -> ShipmentTransition:
        (record,) = unit_of_work.records.values()
        shipment_record = next(
            (candidate for candidate in record.shipments if candidate.id == request.shipment_id), None
        )
        if shipment_record is None:
            raise _no_shipment(request.shipment_id)
        event_id = request.event_id or str(idempotent_request.key.id)
        has_effect = bool(effect_of(request.action))
        applied = await applied_events.read(connection, [shipment_record.id]) if has_effect else AppliedEvents()
        times = dict.fromkeys(locked, request.event_time) if request.event_time else {}
        if request.action is ShipmentAction.UNDO_SHIP:
            event_id = shipping_undo.event_of(request, shipment_record, applied)
            times = shipping_undo.shipping_times(record, shipment_record, applied, event_id)
        planning_context = await context(
            connection, self._deps.catalog_cache, policy_set, record.skus, book=unit_of_work.book
        )
        return ShipmentTransition(
            request=request,
            event_id=event_id,
            unit_of_work=unit_of_work,
            channel_context=planning_context.of(record.channel_id),
            record=record,
            shipment=shipment_record,
            applied=applied,
            counted_levels=await provenance.counted_levels(
                connection, times, planning_context.catalog.feeds, shipment_record.assign_time
            ),
        )

    async def _finish(
        self, connection: Connection, unit_of_work: UnitOfWork, allocation_id: UUID, policy_set: PolicySet
    ) -> tuple[allocation_pb.Allocation, UnitOfWork]:
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, policy_set)
        await unit_of_work.write(connection)
        return order_messages.allocation(unit_of_work.records[allocation_id], unit_of_work.book.now), unit_of_work


def _perform_counted(transition: ShipmentTransition) -> None:
    shipment_record, book = transition.shipment, transition.book
    state, accepted = shipment_record.state, shipment_record.accept_time is not None
    perform(transition)
    counts = counts_of_call(
        transition.record,
        shipment_record,
        state_before=state,
        accepted_before=accepted,
        was_undone=any(effect.effect == UNDONE for effect in transition.applied.effects),
        now=book.now,
    )
    transition.unit_of_work.shipments.append(counts)


def _no_shipment(shipment_id: UUID) -> NotFound:
    advice = "it may have been replanned; look up its order with GetAllocation or `truestock explain`"
    return NotFound("shipment", {"shipment_id": str(shipment_id)}, advice)
