"""The two allocators that are compared: the service's allocation queue, and a baseline with a transaction per order.

Both run the same statements, locks and planning; the baseline is how most services allocate.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from bench.bench_retailer import BenchRetailer
from service.allocation.allocation_batch import AllocationBatch
from service.allocation.allocation_queue import AllocationQueue, Ticket
from service.app.wiring import new_id
from service.database.database import Database
from service.dependencies import Dependencies
from service.errors import TruestockError
from service.settings import Settings
from truestock.v1 import allocation_service_pb2 as allocation_pb

CONNECTIONS = Settings.model_fields["database_pool_size"].default
POOL_SIZES = (4, 8, 16, 32)
"""Numbers of connections that the baseline may use; it is measured with the best of them."""


class Allocator(Protocol):
    """Allocates orders: the allocation queue or the baseline."""

    def admit(self, *, orders: int, lines: int, deadline: float | None) -> None:
        """Raises Overloaded if orders cannot be allocated before their deadline, in seconds from now."""
        ...

    async def allocate(self, ticket: Ticket) -> allocation_pb.Allocation:
        """The allocation of one order."""
        ...


class TransactionPerOrder:
    """Locks the stock levels with SELECT … FOR UPDATE for each order, so that orders queue in PostgreSQL."""

    def __init__(self, batches: AllocationBatch) -> None:
        self._batches = batches

    def admit(self, *, orders: int, lines: int, deadline: float | None) -> None:
        """Admits all orders."""

    async def allocate(self, ticket: Ticket) -> allocation_pb.Allocation:
        """The allocation of one order."""
        (outcome,) = await self._batches.decide([ticket])
        if isinstance(outcome, TruestockError):
            raise outcome
        return outcome


@asynccontextmanager
async def allocation_queue(retailer: BenchRetailer) -> AsyncIterator[Allocator]:
    """The allocation queue as the service runs it."""
    database = await Database.open(retailer.url, retailer.metrics, connections=CONNECTIONS)
    deps = _dependencies(retailer, database)
    batches = AllocationBatch(deps)
    queue = AllocationQueue(
        batches.decide,
        retailer.metrics,
        max_in_flight=CONNECTIONS - 2,
        location_count=lambda: deps.catalog_cache.location_count,
        components_of=deps.catalog_cache.components_of,
    )
    yield queue
    await queue.close()
    await database.close()


@asynccontextmanager
async def transaction_per_order(retailer: BenchRetailer, connections: int) -> AsyncIterator[Allocator]:
    """The baseline with a pool of its own."""
    database = await Database.open(retailer.url, retailer.metrics, connections=connections)
    yield TransactionPerOrder(AllocationBatch(_dependencies(retailer, database)))
    await database.close()


def _dependencies(retailer: BenchRetailer, database: Database) -> Dependencies:
    return Dependencies(Settings(), database, retailer.policies, retailer.metrics, new_id)
