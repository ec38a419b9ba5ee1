"""The baseline: a transaction per order, as most services have it. Same statements and rows, locks and plan as ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from bench.bench_retailer import Shop
from service.allocation.allocation_batch import AllocationBatch
from service.allocation.allocation_queue import AllocationQueue, Ticket
from service.app.wiring import new_id
from service.database.database import Database
from service.dependencies import Dependencies
from service.errors import TruestockError
from service.settings import Settings
from truestock.v1 import allocation_service_pb2 as allocation_pb

CONNECTIONS = Settings.model_fields["connections"].default
POOL_SIZES = (4, 8, 16, 32)
"""Connections that the baseline may have; it is measured with those that suit it best."""


class Orders(Protocol):
    """Whatever answers orders: the allocator, or the baseline."""

    async def allocate(self, ticket: Ticket, *, deadline: float | None) -> allocation_pb.Allocation:
        """The answer to one order. `deadline` is in seconds from now."""
        ...


class TransactionPerOrder:
    """Locks the hot rows with SELECT … FOR UPDATE for each order; PostgreSQL is the queue."""

    def __init__(self, desk: AllocationBatch) -> None:
        self._desk = desk

    async def allocate(self, ticket: Ticket, *, deadline: float | None) -> allocation_pb.Allocation:
        """The answer to one order; nobody is refused for a deadline."""
        (outcome,) = await self._desk.decide([ticket])
        if isinstance(outcome, TruestockError):
            raise outcome
        return outcome


@asynccontextmanager
async def allocator(shop: Shop) -> AsyncIterator[Orders]:
    """Our allocator as the service has it."""
    database = await Database.open(shop.url, shop.metrics, connections=CONNECTIONS)
    made = AllocationQueue(_desk(shop, database).decide, shop.metrics, max_in_flight=CONNECTIONS - 2)
    yield made
    await made.close()
    await database.close()


@asynccontextmanager
async def transaction_per_order(shop: Shop, connections: int) -> AsyncIterator[Orders]:
    """The baseline with a pool of its own."""
    database = await Database.open(shop.url, shop.metrics, connections=connections)
    yield TransactionPerOrder(_desk(shop, database))
    await database.close()


def _desk(shop: Shop, database: Database) -> AllocationBatch:
    return AllocationBatch(Dependencies(Settings(), database, shop.folder, shop.metrics, new_id))
