"""Allocates a batch of orders in one transaction: claim, lock, read, plan, write. The queue is `allocation_queue`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from sqlalchemy import null, select, union_all

from service.allocation.allocation_queue import Outcomes, Ticket
from service.allocation.batch import batch_start, order_decision
from service.allocation.batch.batch_start import order_keys
from service.allocation.batch.batch_state import BatchState
from service.allocation.intake.order_intake import Intake, write_intake
from service.allocation.order_counts import count_answer
from service.allocation.replanning import rebalancing
from service.allocation.unit_of_work import UnitOfWork
from service.background import Turn
from service.capacity import capacity_store, limited_stock
from service.database.database import Connection, Statement, transposed
from service.dependencies import Dependencies
from service.errors import TruestockError
from service.observability.calls import shared_work
from service.orders import order_identity, order_store
from service.orders.cancellations import cancellation_request_store, pending_cancellations
from service.orders.cancellations.pending_cancellations import CancellationRow, requested_keys
from service.orders.order_identity import CopyLink, LockedOrders, OrderKey
from service.rpc import idempotency
from service.rpc.idempotency import StoredAnswer
from service.stock import levels, stock_age
from service.stock.stock_book import Book
from truestock.v1 import allocation_service_pb2 as allocation_pb

_METHOD = "AllocateOrder"
_FINISH = Statement(order_identity.MENTIONS.add_cte(idempotency.RECEIPT.cte("receipt")))
"""Stores the receipt of a batch, and reads what is stored about its orders now that their keys are locked."""
_taken = capacity_store.TAKE.cte("taken")
_FINISH_TAKING = Statement(
    union_all(
        order_identity.MENTIONS.add_columns(*(null().label(name) for name in capacity_store.TAKEN_COLUMNS)),
        select(null().label("position"), null().label("row_count"), *_taken.c),
    ).add_cte(idempotency.RECEIPT.cte("receipt"))
)
"""The same for a batch that takes of the capacity of locations: adds it to what is taken, and returns that too."""


class AllocationBatch:
    """Allocates batches of orders. If it raises, nothing has been written."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def decide(self, tickets: Sequence[Ticket]) -> Outcomes:
        """Returns an answer or an error for each ticket, after the commit."""
        with shared_work("allocation", [(ticket.served_call, ticket.arrived) for ticket in tickets]):
            return await self._allocate(tickets)

    async def _allocate(self, tickets: Sequence[Ticket]) -> Outcomes:
        attempts: list[BatchState] = []
        batch = await order_identity.retry_until_locked(
            lambda links: self._deps.database.transaction(
                "allocate", lambda connection: self._run(connection, tickets, attempts, links), self._count
            )
        )
        outcomes = [batch.outcomes[ticket.claim.id] for ticket in tickets]
        book = None if batch.unit_of_work is None else batch.unit_of_work.book
        # Levels are freed in turns only once nothing else refers to them, as the decisions do that saw them.
        attempts.clear()
        del batch
        if book is not None:
            await levels.forget(book)
        return outcomes

    def _count(self, batch: BatchState) -> None:
        if batch.unit_of_work is not None:
            batch.unit_of_work.count(self._deps.metrics)
            for change in batch.changes.values():
                count_answer(self._deps.metrics, change.record, batch.unit_of_work.book.now)

    async def _run(
        self,
        connection: Connection,
        tickets: Sequence[Ticket],
        attempts: list[BatchState],
        links: Mapping[OrderKey, CopyLink],
    ) -> BatchState:
        # A commit can succeed although its confirmation is lost. Nothing is left to do then but to answer and to count.
        receipts = {attempt.receipt_id: attempt for attempt in attempts if attempt.receipt_id is not None}
        committed = await idempotency.committed(connection, list(receipts), _METHOD) if receipts else set()
        if committed:
            # Each attempt stores the receipts of those before it, to keep them from committing later: the last counts.
            return [attempt for receipt_id, attempt in receipts.items() if receipt_id in committed][-1]
        batch = await batch_start.start(connection, tickets, self._deps.catalog_cache)
        # An order that names an unknown record claims no request id, so the same request succeeds once the record
        # exists.
        claimed = [t for t in tickets if t.claim.id not in batch.outcomes]
        named = [t.claim for t in claimed if t.claim.is_named]
        stored = await idempotency.claim(connection, named) if named else {}
        for ticket in claimed:
            if ticket.claim.id in stored:
                batch.outcomes[ticket.claim.id] = _stored_answer(ticket, stored[ticket.claim.id])
        new_tickets = [t for t in claimed if t.claim.id not in stored]
        if new_tickets:
            await self._plan(connection, batch, new_tickets, links)
            attempts.append(batch)
        return batch

    async def _plan(
        self, connection: Connection, batch: BatchState, tickets: Sequence[Ticket], links: Mapping[OrderKey, CopyLink]
    ) -> None:
        # Every writer locks in one order: request ids, then stored orders, then stock levels, then new orders as their
        # rows are inserted, each of them sorted. Two transactions that need the same rows then queue and do not
        # deadlock.
        keys, known_keys = order_keys(tickets), batch.known_keys
        orders = await order_identity.lock_stored(connection, keys, links, known_keys, self._deps.new_id)
        skus = batch.skus_of(tickets)
        skus |= await order_store.line_skus(connection, orders.existing_ids) if orders.existing_ids else set()
        await batch.load_products(connection, skus)
        await batch.check_products(connection, self._deps.catalog_cache, (ticket.policy_set for ticket in tickets))
        locked = await levels.lock(connection, skus)
        book = await limited_stock.open_book(connection, locked, self._deps.new_id, batch.catalog)
        unit_of_work = batch.unit_of_work = UnitOfWork(book, self._deps.publication_log)
        unit_of_work.load((await order_store.read(connection, orders.existing_ids)).values())
        for policy_set in {ticket.policy_set.revision: ticket.policy_set for ticket in tickets}.values():
            await stock_age.read_receipts(connection, book, policy_set, batch.products)
        cancellations = await pending_cancellations.read(connection, {*keys, *orders.ids}) if known_keys else []
        waiting = await cancellation_request_store.waiting(connection, requested_keys(cancellations))
        intake = Intake.of(unit_of_work, orders, cancellations, batch.listings, waiting)
        # Tickets are in order of arrival, so the last one has the newest rules. Backorders that are filled here belong
        # to no ticket and follow those.
        policy_set = tickets[-1].policy_set
        context = rebalancing.LazyPlanningContext(self._deps.catalog_cache, policy_set, batch.context(policy_set))
        if unit_of_work.book.expired_promises:
            await rebalancing.fill(connection, unit_of_work, context)
        turn = Turn(looks_for_cycles=False)
        for ticket in tickets:
            change = await order_decision.decide(intake, ticket, batch.context(ticket.policy_set))
            batch.changes[ticket.claim.id] = change
            unit_of_work.principals[change.record.id] = ticket.principal
            # Units that one order releases go to backorders before the next order is planned.
            await rebalancing.fill(connection, unit_of_work, context)
            await turn.end_if_long()
        await unit_of_work.explain_oversells(connection)
        unit_of_work.answer_ended_requests()
        for ticket in tickets:
            change = batch.changes[ticket.claim.id]
            batch.outcomes[ticket.claim.id] = await order_decision.answer(ticket, change, batch, unit_of_work.book.now)
            await turn.end_if_long()
        for key, id in intake.unused_keys().items():
            unit_of_work.add_placeholder(id, key)
        await unit_of_work.write(connection, (idempotency.ANSWERS, _answers_of(batch, tickets)), with_capacity=False)
        await self._finish(connection, batch, book, orders, cancellations)
        await write_intake(connection, intake, policy_set)

    async def _finish(
        self,
        connection: Connection,
        batch: BatchState,
        book: Book,
        orders: LockedOrders,
        cancellations: Sequence[CancellationRow],
    ) -> None:
        """Stores the receipt and what is taken of the locations' capacity, and checks both what was taken before and
        what is stored about new orders now that their keys are locked.
        """
        batch.receipt_id, keys = self._deps.new_id(), list(orders.ids)
        values = {"receipt_id": batch.receipt_id, "method": _METHOD, **transposed(["channel_id", "order_id"], keys)}
        changes = book.capacity.changes()
        takings = capacity_store.takings(changes)
        finish = _FINISH if takings is None else _FINISH_TAKING
        rows = await finish.rows(connection, **values, **(takings or {}))
        stored_rows = {keys[r["position"] - 1]: r["row_count"] for r in rows if r["position"] is not None}
        order_identity.check_created(orders, [*orders.links, *(row.key for row in cancellations)], stored_rows)
        if takings is None:
            await capacity_store.write_changes(connection, book.capacity, changes, book.now)
        else:
            taken = [row for row in rows if row["position"] is None]
            await capacity_store.check_taken(connection, book.capacity, changes, taken, book.now)


def _stored_answer(ticket: Ticket, stored: StoredAnswer) -> allocation_pb.Allocation | TruestockError:
    try:
        idempotency.check_same_request(ticket.claim, stored, ticket.message)
    except TruestockError as error:
        return error
    return allocation_pb.Allocation.FromString(stored.answer)


def _answers_of(batch: BatchState, tickets: Sequence[Ticket]) -> list[tuple[UUID, bytes]]:
    """The request ids that callers gave, with the answers to store."""
    outcomes = {ticket.claim.id: batch.outcomes[ticket.claim.id] for ticket in tickets if ticket.claim.is_named}
    return [(id, x.SerializeToString()) for id, x in outcomes.items() if isinstance(x, allocation_pb.Allocation)]
