"""What locations do with shipments, each move in one transaction: lock, read, move, what follows, write."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from uuid import UUID

from sqlalchemy import Uuid, select

from policies.domain.shipments import ShipmentAction
from policies.policy_set import PolicySet
from policies.stock.feeds import Feed, count_includes
from service.allocation import rebalancing
from service.allocation.planning_context import context
from service.allocation.unit_of_work import UnitOfWork
from service.catalog import catalog_store
from service.database.database import Connection, Statement, parameter
from service.database.tables import shipment
from service.dependencies import Dependencies
from service.errors import ADD_LOCATION_FIRST, NotFound, no_allocation
from service.fulfillment import applied_events, reassignment, returns
from service.fulfillment.shipment_moves import ShipmentTransition, effect_of, not_found_levels, perform
from service.fulfillment.shipment_requests import ReturnRequest, ShipmentRequest
from service.orders import order_messages, order_store
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.stock import levels, provenance
from truestock.v1 import allocation_service_pb2 as allocation_pb

_ALLOCATION_OF = Statement(select(shipment.c.allocation_id).where(shipment.c.id == parameter("id", Uuid)))

Work = Callable[[Connection], Awaitable[tuple[allocation_pb.Allocation, UnitOfWork]]]


class FulfillmentOperations:
    """Moves of shipments, and returns. Never shed: what happened has happened."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def perform(self, wanted: ShipmentRequest, asked: IdempotentRequest) -> allocation_pb.Allocation:
        """The order after a move of one of its shipments. Raises NotFound, WrongState, TooManyUnits."""
        policy_set = self._deps.policies()

        async def work(connection: Connection) -> tuple[allocation_pb.Allocation, UnitOfWork]:
            row = await _ALLOCATION_OF.row(connection, id=wanted.shipment_id)
            if row is None:
                raise _no_shipment(wanted.shipment_id)
            unit_of_work, locked = await self._open(connection, row["allocation_id"])
            step = await self._transition(
                connection, unit_of_work, locked, wanted=wanted, asked=asked, policy_set=policy_set
            )
            if wanted.action is ShipmentAction.REASSIGN:
                reassignment.reassign(step)
            else:
                perform(step)
                await provenance.lower_confidence(connection, unit_of_work.book, not_found_levels(step))
            await applied_events.record(connection, step.effects)
            return await self._finish(connection, unit_of_work, row["allocation_id"], policy_set)

        return await self._once_per_request(f"shipment_{wanted.action}", asked, work)

    async def record_return(self, wanted: ReturnRequest, asked: IdempotentRequest) -> allocation_pb.Allocation:
        """The order after units of it came back. Raises NotFound, TooManyUnits."""
        policy_set = self._deps.policies()
        event_id = wanted.event_id or str(asked.key.id)

        async def work(connection: Connection) -> tuple[allocation_pb.Allocation, UnitOfWork]:
            if wanted.location_id and await catalog_store.missing_locations(connection, [wanted.location_id]):
                raise NotFound("location", {"location_id": wanted.location_id}, ADD_LOCATION_FIRST)
            place = wanted.location_id or None
            unit_of_work, locked = await self._open(connection, wanted.allocation_id, place)
            record = unit_of_work.records[wanted.allocation_id]
            shipment_ids = [made.id for made in record.shipments]
            heard = await applied_events.applied_lines(connection, shipment_ids, returns.RETURNED, event_id)
            counted = await self._counted_levels(connection, locked, wanted.event_time)
            effects = returns.record_return(unit_of_work, record, wanted, event_id, heard=heard, is_counted=counted)
            await applied_events.record(connection, effects)
            return await self._finish(connection, unit_of_work, wanted.allocation_id, policy_set)

        return await self._once_per_request("return", asked, work)

    async def _once_per_request(self, operation: str, asked: IdempotentRequest, work: Work) -> allocation_pb.Allocation:
        answer, unit_of_work = await idempotency.once(
            self._deps.database, operation, asked, allocation_pb.Allocation, work
        )
        if unit_of_work is not None:
            unit_of_work.count(self._deps.metrics)
        return answer

    async def _open(
        self, connection: Connection, allocation_id: UUID, new_place: str | None = None
    ) -> tuple[UnitOfWork, set[tuple[str, str]]]:
        """The order and the stock of its products, locked; with a level at a place where there may be none yet."""
        if not await order_store.lock(connection, [allocation_id]):
            raise no_allocation(allocation_id)
        skus = await order_store.line_skus(connection, [allocation_id])
        if new_place:
            known = skus - await catalog_store.missing_products(connection, skus)
            await levels.ensure(connection, {(sku, new_place) for sku in known})
        locked = await levels.lock(connection, skus)
        unit_of_work = UnitOfWork(await levels.open_book(connection, locked, self._deps.new_id))
        unit_of_work.load((await order_store.read(connection, [allocation_id])).values())
        return unit_of_work, locked

    async def _transition(
        self,
        connection: Connection,
        unit_of_work: UnitOfWork,
        locked: set[tuple[str, str]],
        *,
        wanted: ShipmentRequest,
        asked: IdempotentRequest,
        policy_set: PolicySet,
    ) -> ShipmentTransition:
        (record,) = unit_of_work.records.values()
        made = next((one for one in record.shipments if one.id == wanted.shipment_id), None)
        if made is None:
            raise _no_shipment(wanted.shipment_id)
        event_id = wanted.event_id or str(asked.key.id)
        effect = effect_of(wanted.action)
        heard = await applied_events.applied_lines(connection, [made.id], effect, event_id) if effect else set()
        known = await context(connection, self._deps.catalog_cache, policy_set, {line.sku for line in record.lines})
        return ShipmentTransition(
            request=wanted,
            event_id=event_id,
            unit_of_work=unit_of_work,
            channel_context=known.of(record.channel_id),
            record=record,
            shipment=made,
            applied_lines=heard,
            counted_levels=await self._counted_levels(
                connection, locked, wanted.event_time, known.catalog.feeds, made.assign_time
            ),
        )

    async def _counted_levels(
        self,
        connection: Connection,
        locked: Iterable[tuple[str, str]],
        event_time: datetime | None,
        feeds: Mapping[str, Feed] | None = None,
        promised_time: datetime | None = None,
    ) -> dict[tuple[str, str], bool]:
        """By level: whether a count has in already what happened at the event's time to units promised at another."""
        if event_time is None:
            return {}
        anchors = await provenance.anchors(connection, set(locked))
        return {
            key: count_includes((feeds or {}).get(anchor.source), anchor.time, event_time, promised_time)
            for key, anchor in anchors.items()
        }

    async def _finish(
        self, connection: Connection, unit_of_work: UnitOfWork, allocation_id: UUID, policy_set: PolicySet
    ) -> tuple[allocation_pb.Allocation, UnitOfWork]:
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, policy_set)
        await unit_of_work.write(connection)
        return order_messages.allocation(unit_of_work.records[allocation_id], unit_of_work.book.now), unit_of_work


def _no_shipment(shipment_id: UUID) -> NotFound:
    advice = "it may have been planned anew: look at its order with GetAllocation"
    return NotFound("shipment", {"shipment_id": str(shipment_id)}, advice)
