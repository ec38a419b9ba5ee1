"""One batch of orders in one transaction: claim, lock, read, plan, write. The queue before it is `allocator`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from policies.model import Commitment, Order, Product
from service import aftermath, answers, catalogue, levels, orders, requests
from service.allocator import Outcomes, Ticket
from service.book import Book
from service.catalogue import Catalogue, CatalogueCache
from service.database import Connection, Database
from service.doings import Doings
from service.errors import NotFound, TruestockError
from service.metrics import Metrics
from service.planning import Verdict, decide
from service.record import AllocationRecord
from service.requests import Stored
from service.surroundings import Scene, Surroundings
from service.tally import count_answer
from truestock.v1 import allocation_service_pb2 as allocation_pb


@dataclass(slots=True)
class _Batch:
    """What one transaction has found out and decided so far."""

    catalogue: Catalogue
    products: Mapping[str, Product]
    outcomes: dict[UUID, allocation_pb.Allocation | TruestockError] = field(default_factory=dict)
    verdicts: dict[UUID, Verdict] = field(default_factory=dict)
    """What became of orders, by request id."""
    doings: Doings | None = None
    unheard: _Batch | None = None
    """An earlier attempt whose commit went through unheard: it is still to be counted."""


class OrderDesk:
    """Answers batches of orders; whatever it raises has had no effect."""

    def __init__(self, database: Database, cache: CatalogueCache, metrics: Metrics, new_id: Callable[[], UUID]) -> None:
        self._database = database
        self._cache = cache
        self._metrics = metrics
        self._new_id = new_id

    async def decide(self, tickets: Sequence[Ticket]) -> Outcomes:
        """An answer or an error for each ticket, after the commit."""
        tried: list[_Batch] = []
        batch = await self._database.transaction("allocate", lambda connection: self._work(connection, tickets, tried))
        for done in (batch, batch.unheard):
            self._count(done)
        return [batch.outcomes[ticket.claim.id] for ticket in tickets]

    def _count(self, batch: _Batch | None) -> None:
        if batch is None or batch.doings is None:
            return
        batch.doings.count(self._metrics)
        for verdict in batch.verdicts.values():
            count_answer(self._metrics, verdict.record)

    async def preview(self, ticket: Ticket) -> allocation_pb.Allocation:
        """The answer that the order would get now. Locks nothing, writes nothing, uses up no request id."""
        order = ticket.request.order

        async def work(connection: Connection) -> tuple[_Batch, Book, AllocationRecord | None]:
            batch = await self._begin(connection, [ticket])
            problem = batch.outcomes.get(ticket.claim.id)
            if isinstance(problem, TruestockError):
                raise problem
            known = await orders.find(connection, order.channel_id, order.order_id)
            found = await orders.read(connection, [known] if known else [])
            skus = {x.sku for x in order.lines} | {x.sku for record in found.values() for x in record.lines}
            now, figures = await levels.read(connection, skus)
            return batch, Book(now, dict(figures), self._new_id), found[known] if known else None

        batch, book, known = await self._database.snapshot("preview", work)
        record = known or _new_record(ticket, book)
        verdict = decide(_surroundings(batch, ticket), book, record, order, ticket.request.hold_duration)
        return _without_ids(
            answers.allocation(record, book.now, change_refused=verdict.change_refused), is_new=not known
        )

    async def _work(self, connection: Connection, tickets: Sequence[Ticket], tried: list[_Batch]) -> _Batch:
        batch = await self._begin(connection, tickets)
        claimed = [t for t in tickets if t.claim.id not in batch.outcomes]
        stored = await requests.claim(connection, [t.claim for t in claimed])
        for ticket in claimed:
            if ticket.claim.id in stored:
                batch.outcomes[ticket.claim.id] = _stored_answer(ticket, stored[ticket.claim.id])
                batch.unheard = batch.unheard or _committed(tried, ticket.claim.id, batch.outcomes[ticket.claim.id])
        tried.append(batch)
        fresh = [t for t in claimed if t.claim.id not in stored]
        if fresh:
            await self._plan(connection, batch, fresh)
        return batch

    async def _begin(self, connection: Connection, tickets: Sequence[Ticket]) -> _Batch:
        """Finds the catalogue and the products; orders that name something unknown are answered with an error."""
        skus = {line.sku for ticket in tickets for line in ticket.request.order.lines}
        version, products = await catalogue.products(connection, skus)
        batch = _Batch(await self._cache.at(connection, version), products)
        for ticket in tickets:
            problem = _unknown(batch, ticket.request.order)
            if problem is not None:
                batch.outcomes[ticket.claim.id] = problem
        return batch

    async def _plan(self, connection: Connection, batch: _Batch, tickets: Sequence[Ticket]) -> None:
        keys = [(t.allocation_id, t.request.order.channel_id, t.request.order.order_id) for t in tickets]
        ids = await orders.lock_or_make(connection, keys)
        known = [ids[channel, order] for made, channel, order in keys if ids[channel, order] != made]
        skus = {line.sku for ticket in tickets for line in ticket.request.order.lines}
        locked = await levels.lock(connection, skus | await orders.promised_skus(connection, known))
        doings = batch.doings = Doings(await levels.open_book(connection, locked, self._new_id))
        doings.know((await orders.read(connection, known)).values())
        stage = aftermath.Stage(
            self._cache, tickets[-1].policy_set, Scene(tickets[-1].policy_set, batch.catalogue, batch.products)
        )
        if doings.book.lapsed:
            await aftermath.fill(connection, doings, stage)
        for ticket in tickets:
            order = ticket.request.order
            record = self._record(doings, ids[order.channel_id, order.order_id], ticket)
            verdict = decide(_surroundings(batch, ticket), doings.book, record, order, ticket.request.hold_duration)
            doings.note(verdict)
            batch.verdicts[ticket.claim.id] = verdict
            # What one order gives back goes to backorders before the next order sees it.
            await aftermath.fill(connection, doings, stage)
        for ticket in tickets:
            verdict = batch.verdicts[ticket.claim.id]
            answer = answers.allocation(verdict.record, doings.book.now, change_refused=verdict.change_refused)
            batch.outcomes[ticket.claim.id] = answer
        await doings.write(connection)
        await requests.answer(connection, _answers_of(batch, tickets))

    def _record(self, doings: Doings, allocation_id: UUID, ticket: Ticket) -> AllocationRecord:
        known = doings.records.get(allocation_id)
        if known is not None:
            return known
        made = _new_record(ticket, doings.book)
        doings.begin(made)
        return made


def _committed(
    tried: Sequence[_Batch], claim_id: UUID, stored: allocation_pb.Allocation | TruestockError
) -> _Batch | None:
    """The earlier attempt of this call, if any, that the stored answer is of."""
    return next((one for one in tried if claim_id in one.verdicts and one.outcomes[claim_id] == stored), None)


def _without_ids(answer: allocation_pb.Allocation, *, is_new: bool) -> allocation_pb.Allocation:
    """A preview names nothing that is not stored."""
    if is_new:
        answer.allocation_id = ""
    answer.decision.decision_id = ""
    for shipment in answer.shipments:
        shipment.shipment_id = ""
    return answer


def _surroundings(batch: _Batch, ticket: Ticket) -> Surroundings:
    channel = batch.catalogue.channels[ticket.request.order.channel_id]
    return Surroundings(ticket.policy_set, batch.catalogue.locations, channel, batch.products)


def _unknown(batch: _Batch, order: Order) -> NotFound | None:
    """The error of an order that names a channel, SKU or location that the catalogue does not have."""
    if order.channel_id not in batch.catalogue.channels:
        known = ", ".join(sorted(batch.catalogue.channels)[:10]) or "none yet"
        return NotFound("channel", {"channel_id": order.channel_id}, f"channels are: {known}")
    missing = {f"lines[{i}].sku": x.sku for i, x in enumerate(order.lines) if x.sku not in batch.products}
    if missing:
        return NotFound("product", missing, "upsert it first with UpsertProducts or `truestock import products`")
    if order.pickup_location_id and order.pickup_location_id not in batch.catalogue.locations:
        return NotFound("location", {"pickup_location_id": order.pickup_location_id})
    return None


def _stored_answer(ticket: Ticket, stored: Stored) -> allocation_pb.Allocation | TruestockError:
    try:
        requests.check_same(ticket.claim, stored, ticket.message)
    except TruestockError as error:
        return error
    return allocation_pb.Allocation.FromString(stored.answer)


def _answers_of(batch: _Batch, tickets: Sequence[Ticket]) -> dict[UUID, bytes]:
    """The answers to store, by request id."""
    found = {ticket.claim.id: batch.outcomes[ticket.claim.id] for ticket in tickets}
    return {key: one.SerializeToString() for key, one in found.items() if isinstance(one, allocation_pb.Allocation)}


def _new_record(ticket: Ticket, book: Book) -> AllocationRecord:
    order = ticket.request.order
    return AllocationRecord(
        id=ticket.allocation_id,
        channel_id=order.channel_id,
        order_id=order.order_id,
        create_time=book.now,
        update_time=book.now,
        commitment=Commitment.HOLD,
    )
