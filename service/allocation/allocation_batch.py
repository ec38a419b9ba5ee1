"""One batch of orders in one transaction: claim, lock, read, plan, write. The queue before it is `allocation_queue`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from policies.domain.model import Commitment, Product
from policies.policy_set import PolicySet
from service.allocation import rebalancing
from service.allocation.allocation_queue import Outcomes, Ticket
from service.allocation.order_counts import count_answer
from service.allocation.order_intake import Intake, write_intake
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import PlanningContext
from service.allocation.unit_of_work import UnitOfWork
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import ADD_LOCATION_FIRST, ADD_PRODUCT_FIRST, NotFound, TruestockError
from service.orders import order_identity, order_messages, order_store, pending_cancellations
from service.orders.order_identity import CopyLink, OrderKey
from service.orders.order_requests import OrderRequest
from service.rpc import idempotency
from service.rpc.idempotency import StoredAnswer
from service.stock import levels
from service.stock.stock_book import Book
from truestock.v1 import allocation_service_pb2 as allocation_pb


@dataclass(slots=True)
class _BatchState:
    """What one transaction has found out and decided so far."""

    catalog: Catalog
    products: dict[str, Product]
    outcomes: dict[UUID, allocation_pb.Allocation | TruestockError] = field(default_factory=dict)
    changes: dict[UUID, AllocationChange] = field(default_factory=dict)
    """What became of orders, by request id."""
    unit_of_work: UnitOfWork | None = None
    unacknowledged: _BatchState | None = None
    """An earlier attempt whose commit went through unheard: it is still to be counted."""

    async def load_products(self, connection: Connection, skus: set[str]) -> None:
        """Reads the products of orders that are known, where a request does not name them."""
        unknown = skus - self.products.keys()
        if unknown:
            self.products |= (await catalog_store.products(connection, unknown))[1]

    def context(self, policy_set: PolicySet) -> PlanningContext:
        """What orders are planned in, by these rules."""
        return PlanningContext(policy_set, self.catalog, self.products)


class AllocationBatch:
    """Answers batches of orders; whatever it raises has had no effect."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def decide(self, tickets: Sequence[Ticket]) -> Outcomes:
        """An answer or an error for each ticket, after the commit."""
        tried: list[_BatchState] = []
        batch = await order_identity.retry_until_locked(
            lambda known: self._deps.database.transaction(
                "allocate", lambda connection: self._run(connection, tickets, tried, known)
            )
        )
        for done in (batch, batch.unacknowledged):
            self._count(done)
        return [batch.outcomes[ticket.claim.id] for ticket in tickets]

    def _count(self, batch: _BatchState | None) -> None:
        if batch is None or batch.unit_of_work is None:
            return
        batch.unit_of_work.count(self._deps.metrics)
        for verdict in batch.changes.values():
            count_answer(self._deps.metrics, verdict.record)

    async def preview(self, ticket: Ticket) -> allocation_pb.Allocation:
        """The answer that the order would get now. Locks nothing, writes nothing, uses up no request id."""

        async def work(connection: Connection) -> tuple[_BatchState, Intake]:
            batch = await self._start(connection, [ticket])
            problem = batch.outcomes.get(ticket.claim.id)
            if isinstance(problem, TruestockError):
                raise problem
            found = await order_identity.find(connection, _order_keys([ticket]), self._deps.new_id)
            records = (await order_store.read(connection, found.existing_ids)).values()
            skus = {x.sku for x in ticket.request.order.lines} | {x.sku for r in records for x in r.lines}
            await batch.load_products(connection, skus)
            now, figures = await levels.read(connection, skus)
            kept = await pending_cancellations.read(connection, {*_order_keys([ticket]), *found.ids})
            unit_of_work = UnitOfWork(Book(now, dict(figures), self._deps.new_id))
            unit_of_work.load(records)
            return batch, Intake.of(unit_of_work, found, kept)

        batch, intake = await self._deps.database.snapshot("preview", work)
        verdict = intake.receive(ticket.request, batch.context(ticket.policy_set))
        answer = order_messages.allocation(
            verdict.record, intake.unit_of_work.book.now, change_refused=verdict.change_refused
        )
        return _without_ids(answer, is_new=verdict.record.id in intake.locked.created)

    async def _run(
        self,
        connection: Connection,
        tickets: Sequence[Ticket],
        tried: list[_BatchState],
        known: Mapping[OrderKey, CopyLink],
    ) -> _BatchState:
        batch = await self._start(connection, tickets)
        claimed = [t for t in tickets if t.claim.id not in batch.outcomes]
        stored = await idempotency.claim(connection, [t.claim for t in claimed])
        for ticket in claimed:
            if ticket.claim.id in stored:
                batch.outcomes[ticket.claim.id] = _stored_answer(ticket, stored[ticket.claim.id])
                batch.unacknowledged = batch.unacknowledged or _unacknowledged_attempt(
                    tried, ticket.claim.id, batch.outcomes[ticket.claim.id]
                )
        tried.append(batch)
        fresh = [t for t in claimed if t.claim.id not in stored]
        if fresh:
            await self._plan(connection, batch, fresh, known)
        return batch

    async def _start(self, connection: Connection, tickets: Sequence[Ticket]) -> _BatchState:
        """Finds the catalogue and the products; orders that name something unknown are answered with an error."""
        skus = {line.sku for ticket in tickets for line in ticket.request.order.lines}
        version, products = await catalog_store.products(connection, skus)
        batch = _BatchState(await self._deps.catalog_cache.at(connection, version), products)
        for ticket in tickets:
            problem = _not_found_error(batch, ticket.request)
            if problem is not None:
                batch.outcomes[ticket.claim.id] = problem
        return batch

    async def _plan(
        self, connection: Connection, batch: _BatchState, tickets: Sequence[Ticket], known: Mapping[OrderKey, CopyLink]
    ) -> None:
        named = await order_identity.lock(connection, _order_keys(tickets), known, self._deps.new_id)
        skus = {line.sku for ticket in tickets for line in ticket.request.order.lines}
        skus |= await order_store.line_skus(connection, named.existing_ids) if named.existing_ids else set()
        await batch.load_products(connection, skus)
        locked = await levels.lock(connection, skus)
        unit_of_work = batch.unit_of_work = UnitOfWork(await levels.open_book(connection, locked, self._deps.new_id))
        unit_of_work.load((await order_store.read(connection, named.existing_ids)).values())
        kept = await pending_cancellations.read(connection, {*_order_keys(tickets), *named.ids})
        intake = Intake.of(unit_of_work, named, kept)
        policy_set = tickets[-1].policy_set
        context = rebalancing.LazyPlanningContext(self._deps.catalog_cache, policy_set, batch.context(policy_set))
        if unit_of_work.book.expired_promises:
            await rebalancing.fill(connection, unit_of_work, context)
        for ticket in tickets:
            batch.changes[ticket.claim.id] = intake.receive(ticket.request, batch.context(ticket.policy_set))
            # What one order gives back goes to backorders before the next order sees it.
            await rebalancing.fill(connection, unit_of_work, context)
        for ticket in tickets:
            verdict = batch.changes[ticket.claim.id]
            answer = order_messages.allocation(
                verdict.record, unit_of_work.book.now, change_refused=verdict.change_refused
            )
            batch.outcomes[ticket.claim.id] = answer
        await unit_of_work.write(connection)
        await write_intake(connection, intake, policy_set)
        await idempotency.store_answers(connection, _answers_of(batch, tickets))


def _order_keys(tickets: Sequence[Ticket]) -> list[OrderKey]:
    """Every name that these requests call an order by."""
    found = [ticket.request.key for ticket in tickets]
    return found + [ticket.request.copy_of for ticket in tickets if ticket.request.copy_of is not None]


def _unacknowledged_attempt(
    tried: Sequence[_BatchState], claim_id: UUID, stored: allocation_pb.Allocation | TruestockError
) -> _BatchState | None:
    """The earlier attempt of this call, if any, that the stored answer is of."""
    return next((one for one in tried if claim_id in one.changes and one.outcomes.get(claim_id) == stored), None)


def _without_ids(answer: allocation_pb.Allocation, *, is_new: bool) -> allocation_pb.Allocation:
    """A preview names nothing that is not stored."""
    if is_new:
        answer.allocation_id = ""
    answer.decision.decision_id = ""
    for shipment in answer.shipments:
        shipment.shipment_id = ""
    return answer


def _not_found_error(batch: _BatchState, request: OrderRequest) -> NotFound | None:
    """The error of an order that names a channel, SKU or location that the catalogue does not have.

    A sold order is not refused for its SKU: what was paid for is short until the product is known.
    """
    order, channels = request.order, batch.catalog.channels
    named = {"channel_id": order.channel_id} | ({"copy_of.channel_id": request.copy_of[0]} if request.copy_of else {})
    unknown = {at: channel_id for at, channel_id in named.items() if channel_id not in channels}
    if unknown:
        return NotFound("channel", unknown, f"channels are: {', '.join(sorted(channels)[:10]) or 'none yet'}")
    missing = {f"lines[{i}].sku": x.sku for i, x in enumerate(order.lines) if x.sku not in batch.products}
    if missing and order.commitment is Commitment.HOLD:
        return NotFound("product", missing, ADD_PRODUCT_FIRST)
    if order.pickup_location_id and order.pickup_location_id not in batch.catalog.locations:
        return NotFound("location", {"pickup_location_id": order.pickup_location_id}, ADD_LOCATION_FIRST)
    return None


def _stored_answer(ticket: Ticket, stored: StoredAnswer) -> allocation_pb.Allocation | TruestockError:
    try:
        idempotency.check_same_request(ticket.claim, stored, ticket.message)
    except TruestockError as error:
        return error
    return allocation_pb.Allocation.FromString(stored.answer)


def _answers_of(batch: _BatchState, tickets: Sequence[Ticket]) -> dict[UUID, bytes]:
    """The answers to store, by request id."""
    found = {ticket.claim.id: batch.outcomes[ticket.claim.id] for ticket in tickets}
    return {key: one.SerializeToString() for key, one in found.items() if isinstance(one, allocation_pb.Allocation)}
