"""What orders would get if they came now. Locks and writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from policies.domain.model import Channel, Order, StockLevel, World
from service.allocation.allocation_queue import Ticket
from service.allocation.batch import batch_start, order_decision
from service.allocation.batch.batch_start import order_keys
from service.allocation.batch.batch_state import BatchState
from service.allocation.intake import ordered_items, ordered_kits
from service.allocation.intake.order_intake import Intake
from service.allocation.planning_context import ChannelContext
from service.allocation.unit_of_work import UnitOfWork
from service.capacity import capacity_store
from service.catalog.catalog_store import CatalogCache
from service.database.database import Connection
from service.decisions.decision_log import DecisionInputs
from service.dependencies import Dependencies
from service.errors import TruestockError
from service.orders import order_identity, order_store
from service.orders.allocation_record import AllocationRecord
from service.orders.cancellations import cancellation_request_store, pending_cancellations
from service.orders.cancellations.pending_cancellations import requested_keys
from service.replica.replica import Source
from service.stock import levels, stock_age
from service.stock.stock_book import Book
from truestock.v1 import allocation_service_pb2 as allocation_pb


@dataclass(frozen=True, slots=True)
class NewOrder:
    """An order that the service does not have yet, in units of SKUs, with what deciding it needs. Nothing is locked."""

    order: Order
    context: ChannelContext
    now: datetime
    levels: Mapping[tuple[str, str], StockLevel]

    @property
    def channel(self) -> Channel:
        """The channel of the order."""
        return self.context.channel

    def world(self, pause: Callable[[], None]) -> World:
        """The catalog and the stock from which the order is decided."""
        return World(self.now, self.context.locations, self.context.products, self.levels, pause)


class OrderPreview:
    """Answers for orders as they would be allocated now."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def preview(self, ticket: Ticket) -> tuple[allocation_pb.Allocation, DecisionInputs | None]:
        """The answer that the order would get now, and the inputs of its decision; None if nothing was planned.

        Uses up no request id.
        """
        database = self._deps.database
        batch, intake = await database.snapshot("preview", lambda connection: self._read(connection, ticket))
        change = await order_decision.decide(intake, ticket, batch.context(ticket.policy_set), in_transaction=False)
        if intake.unit_of_work.has_unexplained_oversells:
            await database.unlocked("preview", intake.unit_of_work.explain_oversells)
        answer = await order_decision.answer(ticket, change, batch, intake.unit_of_work.book.now)
        return _without_ids(answer, is_new=change.record.id in intake.locked.created), change.inputs

    async def read_new(self, ticket: Ticket, source: Source) -> NewOrder:
        """The order as it would be planned if it came now and had not come before.

        Raises NotFound and InvalidFields as allocating it would.
        """
        cache = source.catalog_cache
        return await source.database.snapshot("preview", lambda connection: _read_new(connection, ticket, cache))

    async def _read(self, connection: Connection, ticket: Ticket) -> tuple[BatchState, Intake]:
        """What a batch of this one order would read, and the orders that are stored of it."""
        keys, cache, new_id = order_keys([ticket]), self._deps.catalog_cache, self._deps.new_id
        batch = await _start(connection, ticket, cache)
        orders = await order_identity.find(connection, keys, new_id)
        records = (await order_store.read(connection, orders.existing_ids)).values()
        skus = batch.skus_of([ticket]) | {line.sku for record in records for line in record.lines}
        now, stock_levels = await _read_stock(connection, batch, ticket, skus, cache)
        cancellations = await pending_cancellations.read(connection, {*keys, *orders.ids})
        book = Book(now, dict(stock_levels), new_id)
        unit_of_work = UnitOfWork(book, self._deps.publication_log)
        unit_of_work.load(records)
        await capacity_store.read_figures(connection, book, batch.catalog)
        await stock_age.read_receipts(connection, book, ticket.policy_set, batch.products)
        waiting = await cancellation_request_store.waiting(connection, requested_keys(cancellations))
        return batch, Intake.of(unit_of_work, orders, cancellations, batch.listings, waiting)


async def _read_new(connection: Connection, ticket: Ticket, cache: CatalogCache) -> NewOrder:
    batch = await _start(connection, ticket, cache)
    now, stock_levels = await _read_stock(connection, batch, ticket, batch.skus_of([ticket]), cache)
    record = AllocationRecord(ticket.allocation_id, *ticket.request.key, create_time=now, update_time=now)
    request = ordered_items.expanded(ticket.request, record, batch.listings)
    order = ordered_kits.expanded(request, record, batch.catalog.kits).order
    context = batch.context(ticket.policy_set).of(order.channel_id)
    received = await stock_age.with_receipts(connection, stock_levels, ticket.policy_set, batch.products)
    return NewOrder(order, context, now, dict(received))


async def _start(connection: Connection, ticket: Ticket, cache: CatalogCache) -> BatchState:
    """A batch of one order. Raises the error with which the order would be answered, if it is refused."""
    batch = await batch_start.start(connection, [ticket], cache)
    error = batch.outcomes.get(ticket.claim.id)
    if isinstance(error, TruestockError):
        raise error
    return batch


async def _read_stock(
    connection: Connection, batch: BatchState, ticket: Ticket, skus: set[str], cache: CatalogCache
) -> tuple[datetime, Mapping[tuple[str, str], StockLevel]]:
    """The time and the levels of these SKUs; their products are added to the batch."""
    await batch.load_products(connection, skus)
    await batch.check_products(connection, cache, [ticket.policy_set])
    return await levels.read(connection, skus, len(batch.catalog.locations))


def _without_ids(answer: allocation_pb.Allocation, *, is_new: bool) -> allocation_pb.Allocation:
    """Clears the ids of a preview that are not stored."""
    if is_new:
        answer.allocation_id = ""
    answer.decision.decision_id = ""
    for shipment in answer.shipments:
        shipment.shipment_id = ""
    return answer
