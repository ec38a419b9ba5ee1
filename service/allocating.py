"""One batch of orders in one transaction: claim, lock, read, plan, write. The queue before it is `allocator`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from policies.model import Commitment, Product
from policies.policy import PolicySet
from service import answers, catalogue, kept_cancellations, levels, names, order_writing, orders, requests
from service.allocator import Outcomes, Ticket
from service.arrival import Arrived, Intake
from service.book import Book
from service.catalogue import Catalogue, CatalogueCache
from service.database import Connection, Database
from service.errors import NotFound, TruestockError
from service.intake_writing import write_intake
from service.metrics import Metrics
from service.names import Link, Name, NamesMoved
from service.order_requests import OrderRequest
from service.order_writing import Changes
from service.planning import Surroundings, Verdict
from service.requests import Stored
from service.tally import count_cancelled, count_order
from service.version import VERSION
from truestock.v1 import allocation_service_pb2 as allocation_pb


@dataclass(slots=True)
class _Batch:
    """What one transaction has found out and decided so far."""

    catalogue: Catalogue
    products: Mapping[str, Product]
    outcomes: dict[UUID, allocation_pb.Allocation | TruestockError] = field(default_factory=dict)
    verdicts: dict[UUID, Arrived] = field(default_factory=dict)
    """What became of orders, by request id."""


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
        known: dict[Name, Link] = {}
        while True:
            try:
                batch = await self._database.transaction(
                    "allocate", lambda connection: self._work(connection, tickets, tried, known)
                )
                break
            except NamesMoved as moved:
                known |= moved.links
        for arrived in batch.verdicts.values():
            _count(self._metrics, arrived)
        return [batch.outcomes[ticket.claim.id] for ticket in tickets]

    async def preview(self, ticket: Ticket) -> allocation_pb.Allocation:
        """The answer that the order would get now. Locks nothing, writes nothing, uses up no request id."""

        async def work(connection: Connection) -> tuple[_Batch, Intake, bool]:
            batch = await self._begin(connection, [ticket])
            problem = batch.outcomes.get(ticket.claim.id)
            if isinstance(problem, TruestockError):
                raise problem
            found = await names.look(connection, _names([ticket]), self._new_id)
            records = await orders.read(connection, [id for id in found.ids.values() if id not in found.made])
            skus = {x.sku for x in ticket.request.order.lines} | {x.sku for r in records.values() for x in r.lines}
            now, figures = await levels.read(connection, skus)
            kept = await kept_cancellations.read(connection, {*_names([ticket]), *found.ids})
            book = Book(now, dict(figures), self._new_id)
            intake = Intake.of(book, found, _surroundings(batch, ticket.policy_set), records.values(), kept)
            return batch, intake, bool(records)

        _, intake, is_known = await self._database.snapshot("preview", work)
        verdict = intake.arrive(ticket.request).verdict
        answer = answers.allocation(verdict.record, intake.book.now, change_refused=verdict.change_refused)
        return _without_ids(answer, is_new=not is_known)

    async def _work(
        self,
        connection: Connection,
        tickets: Sequence[Ticket],
        tried: list[_Batch],
        known: Mapping[Name, Link],
    ) -> _Batch:
        batch = await self._begin(connection, tickets)
        claimed = [t for t in tickets if t.claim.id not in batch.outcomes]
        stored = await requests.claim(connection, [t.claim for t in claimed])
        for ticket in claimed:
            if ticket.claim.id in stored:
                batch.outcomes[ticket.claim.id] = _stored_answer(ticket, stored[ticket.claim.id])
                batch.verdicts.update(_committed_unheard(tried, ticket.claim.id, batch.outcomes[ticket.claim.id]))
        tried.append(batch)
        fresh = [t for t in claimed if t.claim.id not in stored]
        if fresh:
            await self._plan(connection, batch, fresh, known)
        return batch

    async def _begin(self, connection: Connection, tickets: Sequence[Ticket]) -> _Batch:
        """Finds the catalogue and the products; orders that name something unknown are answered with an error."""
        skus = {line.sku for ticket in tickets for line in ticket.request.order.lines}
        version, products = await catalogue.products(connection, skus)
        batch = _Batch(await self._cache.at(connection, version), products)
        for ticket in tickets:
            problem = _unknown(batch, ticket.request)
            if problem is not None:
                batch.outcomes[ticket.claim.id] = problem
        return batch

    async def _plan(
        self, connection: Connection, batch: _Batch, tickets: Sequence[Ticket], known: Mapping[Name, Link]
    ) -> None:
        locked_names = await names.lock(connection, _names(tickets), known, self._new_id)
        ids = [id for id in locked_names.ids.values() if id not in locked_names.made]
        skus = {line.sku for ticket in tickets for line in ticket.request.order.lines}
        locked = await levels.lock(connection, skus | await orders.line_skus(connection, ids))
        book = await levels.open_book(connection, locked, self._new_id)
        kept = await kept_cancellations.read(connection, {*_names(tickets), *locked_names.ids})
        records = await orders.read(connection, ids)
        policy_set = tickets[-1].policy_set
        intake = Intake.of(book, locked_names, _surroundings(batch, policy_set), records.values(), kept)
        changes = Changes()
        for ticket in tickets:
            intake.surroundings_of = _surroundings(batch, ticket.policy_set)
            self._decide_one(batch, intake, changes, ticket, ids)
        await levels.write(connection, book)
        await order_writing.write(connection, changes)
        await write_intake(connection, intake, policy_set)
        await requests.answer(connection, _answers_of(batch, tickets))

    def _decide_one(
        self, batch: _Batch, intake: Intake, changes: Changes, ticket: Ticket, known_ids: Sequence[UUID]
    ) -> None:
        arrived = intake.arrive(ticket.request)
        verdict = arrived.verdict
        remember(changes, verdict, intake.book, replaced=verdict.record.id in known_ids)
        if arrived.merged is not None:
            remember(changes, arrived.merged, intake.book, replaced=True)
            # What was to be settled about the copy is to be settled about the order.
            changes.replanned.add(arrived.merged.record.id)
        batch.verdicts[ticket.claim.id] = arrived
        answer = answers.allocation(verdict.record, intake.book.now, change_refused=verdict.change_refused)
        batch.outcomes[ticket.claim.id] = answer


def _names(tickets: Sequence[Ticket]) -> list[Name]:
    """Every name that these requests call an order by."""
    found = [ticket.request.name for ticket in tickets]
    return found + [ticket.request.copy_of for ticket in tickets if ticket.request.copy_of is not None]


def _count(metrics: Metrics, arrived: Arrived) -> None:
    count_order(metrics, arrived.before, arrived.verdict)
    if arrived.merged is not None and arrived.merged_before is not None:
        count_cancelled(metrics, arrived.merged_before, arrived.merged.record)


def remember(changes: Changes, verdict: Verdict, book: Book, *, replaced: bool) -> None:
    """Adds the record, its decision, its event and its exceptions to what is written, if anything changed."""
    if not verdict.event:
        return
    record, revision, now = verdict.record, verdict.record.decision.policy_revision, book.now
    record.version += 1
    changes.records[record.id] = record
    if replaced:
        changes.replaced.add(record.id)
        if verdict.decision is not None:
            changes.replanned.add(record.id)
    decided = record.decision_id if verdict.decision is not None else None
    changes.events.append((book.new_id(), record.id, verdict.event, verdict.description, revision, now, decided))
    if verdict.decision is not None:
        explained = record.decision.SerializeToString(deterministic=True)
        changes.decisions.append((record.decision_id, record.id, revision, VERSION, explained, now))
    changes.exceptions += [raised.row(book.new_id(), record.id, now) for raised in verdict.exceptions]


def _committed_unheard(
    tried: Sequence[_Batch], claim_id: UUID, stored: allocation_pb.Allocation | TruestockError
) -> dict[UUID, Arrived]:
    """The verdict of an earlier attempt of this call whose commit went through unheard: it is still to be counted."""
    ours = [batch for batch in tried if claim_id in batch.verdicts and batch.outcomes[claim_id] == stored]
    return {claim_id: ours[0].verdicts[claim_id]} if ours else {}


def _without_ids(answer: allocation_pb.Allocation, *, is_new: bool) -> allocation_pb.Allocation:
    """A preview names nothing that is not stored."""
    if is_new:
        answer.allocation_id = ""
    answer.decision.decision_id = ""
    for shipment in answer.shipments:
        shipment.shipment_id = ""
    return answer


def _surroundings(batch: _Batch, policy_set: PolicySet) -> Callable[[str], Surroundings]:
    known = batch.catalogue
    return lambda channel_id: Surroundings(policy_set, known.locations, known.channels[channel_id], batch.products)


def _unknown(batch: _Batch, request: OrderRequest) -> NotFound | None:
    """The error of an order that names a channel, SKU or location that the catalogue does not have.

    A sold order is not refused for its SKU: what was paid for is short until the product is known.
    """
    order, channels = request.order, batch.catalogue.channels
    named = {"channel_id": order.channel_id} | ({"copy_of.channel_id": request.copy_of[0]} if request.copy_of else {})
    unknown = {at: channel_id for at, channel_id in named.items() if channel_id not in channels}
    if unknown:
        return NotFound("channel", unknown, f"channels are: {', '.join(sorted(channels)[:10]) or 'none yet'}")
    missing = {f"lines[{i}].sku": x.sku for i, x in enumerate(order.lines) if x.sku not in batch.products}
    if missing and order.commitment is Commitment.HOLD:
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
