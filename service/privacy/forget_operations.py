"""Forgets an order because somebody asked for it, such as its shopper: at once, or as soon as it is finished."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from service.allocation.lifecycle import open_unit_of_work
from service.allocation.planner import AllocationChange
from service.allocation.unit_of_work import UnitOfWork
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import no_allocation, no_order
from service.orders import order_store
from service.orders.order_identity import OrderKey
from service.orders.order_requests import ForgetRequest
from service.privacy import personal_data_store
from service.privacy.personal_data_drop import PersonalDataDrop
from service.privacy.personal_data_store import FORGET_ASKED
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.rpc.proto_values import timestamp
from truestock.v1 import allocation_service_pb2 as allocation_pb


class ForgetOperations:
    """Orders that are to be forgotten: what the service needs until they are finished stays until then."""

    def __init__(self, deps: Dependencies, drop: PersonalDataDrop) -> None:
        self._deps = deps
        self._drop = drop

    async def forget(self, request: ForgetRequest, idempotent: IdempotentRequest) -> allocation_pb.ForgetOrderResponse:
        """Returns what is left to do. Raises NotFound, RequestIdReused."""

        async def work(connection: Connection) -> tuple[allocation_pb.ForgetOrderResponse, UnitOfWork]:
            return await self._ask(connection, request)

        response = await idempotency.once(
            self._deps.database,
            "forget_order",
            idempotent,
            allocation_pb.ForgetOrderResponse,
            work,
            count=lambda unit_of_work: unit_of_work.count(self._deps.metrics),
        )
        # What is open now, also for a request that is sent again.
        id = UUID(response.allocation_id)
        await self._drop.drop(await self._deps.database.unlocked("orders_to_forget", partial(_of_order, id=id)))
        return await self._deps.database.unlocked("forgotten_order", partial(_state, id=id))

    async def _ask(
        self, connection: Connection, request: ForgetRequest
    ) -> tuple[allocation_pb.ForgetOrderResponse, UnitOfWork]:
        id = request.allocation_id or await _allocation_id(connection, request.key)
        if not await order_store.lock(connection, [id]):
            raise no_allocation(id)
        skus = await order_store.line_skus(connection, [id])
        unit_of_work = await open_unit_of_work(connection, [id], skus, self._deps.new_id)
        record = unit_of_work.records[id]
        if not record.is_to_be_forgotten:
            description = f"{request.actor} asked that it is forgotten: its personal data go once it is finished."
            unit_of_work.record(AllocationChange(record, FORGET_ASKED, description))
            await unit_of_work.write(connection)
        await personal_data_store.ask_to_forget(connection, id)
        return allocation_pb.ForgetOrderResponse(allocation_id=str(id)), unit_of_work


async def _allocation_id(connection: Connection, key: OrderKey | None) -> UUID:
    assert key is not None
    found = await order_store.find(connection, *key)
    if found is None:
        raise no_order(key)
    return found


async def _of_order(connection: Connection, id: UUID) -> list[UUID]:
    return [id, *await personal_data_store.copies(connection, id)]


async def _state(connection: Connection, id: UUID) -> allocation_pb.ForgetOrderResponse:
    waits = await personal_data_store.waits_for(connection, id)
    drop_time = await personal_data_store.drop_time(connection, id)
    return allocation_pb.ForgetOrderResponse(
        allocation_id=str(id), drop_time=timestamp(drop_time), waits_for=[] if drop_time else waits
    )
