"""Allocates a batch of orders in one transaction: claim, lock, read, plan, write. The queue is `allocation_queue`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from sqlalchemy import null, select, union_all

from policies.domain.demand import is_placed_freely
from policies.domain.listings import ItemKey, Listing
from policies.domain.model import Channel, Commitment, Order, Product, StockLevel, World
from policies.policy_set import PolicySet
from service import limits
from service.allocation.allocation_queue import Outcomes, Ticket
from service.allocation.intake import channel_words, ordered_items, ordered_kits
from service.allocation.intake.channel_words import read_status
from service.allocation.intake.order_intake import Intake, write_intake
from service.allocation.order_counts import count_answer
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import ChannelContext, PlanningContext
from service.allocation.replanning import rebalancing
from service.allocation.unit_of_work import UnitOfWork
from service.background import Turn, in_turns
from service.capacity import capacity_store, limited_stock
from service.catalog import catalog_store, listing_store, unknown_records
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection, Statement, transposed
from service.decisions.decision_log import DecisionInputs
from service.dependencies import Dependencies
from service.errors import InvalidFields, NotFound, TruestockError, no_channel, no_location, no_outlet, no_product
from service.observability.calls import current_call, shared_work
from service.orders import order_identity, order_messages, order_store
from service.orders.allocation_record import AllocationRecord
from service.orders.cancellations import cancellation_request_store, pending_cancellations
from service.orders.cancellations.cancellation_request import CancellationRequest
from service.orders.cancellations.pending_cancellations import CancellationRow
from service.orders.order_identity import CopyLink, LockedOrders, OrderKey
from service.orders.order_requests import OrderRequest
from service.replica.replica import Source
from service.rpc import idempotency
from service.rpc.idempotency import StoredAnswer
from service.stock import levels, stock_age
from service.stock.stock_book import Book
from truestock.v1 import allocation_service_pb2 as allocation_pb

_METHOD = "AllocateOrder"
_START = Statement(catalog_store.PRODUCT_ROWS.add_columns(order_identity.KNOWN_POSITIONS.label("known_positions")))
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


@dataclass(slots=True)
class _BatchState:
    """What one transaction has read and decided so far."""

    catalog: Catalog
    products: dict[str, Product]
    listings: dict[ItemKey, Listing] = field(default_factory=dict)
    """The listings of the items that the orders name."""
    known_keys: Set[OrderKey] = frozenset()
    """Keys of which an order, a copy or a cancellation was stored before anything was locked."""
    outcomes: dict[UUID, allocation_pb.Allocation | TruestockError] = field(default_factory=dict)
    changes: dict[UUID, AllocationChange] = field(default_factory=dict)
    """What changed about the orders, by request id."""
    unit_of_work: UnitOfWork | None = None
    receipt_id: UUID | None = None
    """Of the row that shows, after a commit whose confirmation was lost, whether it succeeded."""
    version: int = -1
    """Of the catalog when the products were read."""
    checked_products: dict[str, dict[str, Product]] = field(default_factory=dict)
    """The products with their readiness, by the revision of the rules that ask for it."""
    _context: PlanningContext | None = None
    """The one that was asked for last: most orders of a batch have the same rules."""

    def skus_of(self, tickets: Iterable[Ticket]) -> set[str]:
        """The SKUs that these orders name, those of their items, and the components of those that are kits."""
        skus = {line.sku for ticket in tickets for line in ticket.request.order.lines}
        if self.listings:
            skus |= {listing.sku for listing in self.listings.values()}
        return skus | self.catalog.kits.components_of(skus)

    async def load_products(self, connection: Connection, skus: set[str]) -> None:
        """Reads the products of stored orders that no request names."""
        missing = skus - self.products.keys()
        if missing:
            self.products |= (await catalog_store.products(connection, missing))[1]

    async def check_products(
        self, connection: Connection, cache: CatalogCache, policy_sets: Iterable[PolicySet]
    ) -> None:
        """Finds out which products can be listed, for those of the rules that ask for it."""
        for policy_set in policy_sets:
            if policy_set.reads_readiness and policy_set.revision not in self.checked_products:
                checked = await cache.readiness.added(connection, policy_set, self.version, self.products)
                self.checked_products[policy_set.revision] = checked

    def context(self, policy_set: PolicySet) -> PlanningContext:
        """The rules, catalog and products with which orders are planned."""
        products = self.checked_products.get(policy_set.revision, self.products)
        known = self._context
        if known is None or known.policy_set is not policy_set or known.products is not products:
            known = self._context = PlanningContext(policy_set, self.catalog, products)
        return known


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


class AllocationBatch:
    """Allocates batches of orders. If it raises, nothing has been written."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def decide(self, tickets: Sequence[Ticket]) -> Outcomes:
        """Returns an answer or an error for each ticket, after the commit."""
        with shared_work("allocation", [(ticket.served_call, ticket.arrived) for ticket in tickets]):
            return await self._allocate(tickets)

    async def _allocate(self, tickets: Sequence[Ticket]) -> Outcomes:
        attempts: list[_BatchState] = []
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

    def _count(self, batch: _BatchState) -> None:
        if batch.unit_of_work is not None:
            batch.unit_of_work.count(self._deps.metrics)
            for change in batch.changes.values():
                count_answer(self._deps.metrics, change.record, batch.unit_of_work.book.now)

    async def preview(self, ticket: Ticket) -> tuple[allocation_pb.Allocation, DecisionInputs | None]:
        """The answer that the order would get now, and the inputs of its decision; None if nothing was planned.

        Locks nothing, writes nothing and uses up no request id.
        """

        async def work(connection: Connection) -> tuple[_BatchState, Intake]:
            batch = await self._start(connection, [ticket], self._deps.catalog_cache)
            error = batch.outcomes.get(ticket.claim.id)
            if isinstance(error, TruestockError):
                raise error
            orders = await order_identity.find(connection, _order_keys([ticket]), self._deps.new_id)
            records = (await order_store.read(connection, orders.existing_ids)).values()
            skus = batch.skus_of([ticket]) | {x.sku for r in records for x in r.lines}
            await batch.load_products(connection, skus)
            await batch.check_products(connection, self._deps.catalog_cache, [ticket.policy_set])
            now, stock_levels = await levels.read(connection, skus, len(batch.catalog.locations))
            cancellations = await pending_cancellations.read(connection, {*_order_keys([ticket]), *orders.ids})
            book = Book(now, dict(stock_levels), self._deps.new_id)
            unit_of_work = UnitOfWork(book, self._deps.publication_log)
            unit_of_work.load(records)
            await capacity_store.read_figures(connection, book, batch.catalog)
            await stock_age.read_receipts(connection, book, ticket.policy_set, batch.products)
            waiting = await _waiting_requests(connection, cancellations)
            return batch, Intake.of(unit_of_work, orders, cancellations, batch.listings, waiting)

        batch, intake = await self._deps.database.snapshot("preview", work)
        change = await _decide(intake, ticket, batch.context(ticket.policy_set), in_transaction=False)
        if intake.unit_of_work.has_unexplained_oversells:
            await self._deps.database.unlocked("preview", intake.unit_of_work.explain_oversells)
        answer = await _answer(ticket, change, batch, intake.unit_of_work.book.now)
        return _without_ids(answer, is_new=change.record.id in intake.locked.created), change.inputs

    async def read_new(self, ticket: Ticket, source: Source) -> NewOrder:
        """The order as it would be planned if it came now and had not come before. Locks and writes nothing.

        Raises NotFound and InvalidFields as allocating it would.
        """

        async def work(connection: Connection) -> NewOrder:
            batch = await self._start(connection, [ticket], source.catalog_cache)
            error = batch.outcomes.get(ticket.claim.id)
            if isinstance(error, TruestockError):
                raise error
            skus = batch.skus_of([ticket])
            await batch.load_products(connection, skus)
            await batch.check_products(connection, source.catalog_cache, [ticket.policy_set])
            now, stock_levels = await levels.read(connection, skus, len(batch.catalog.locations))
            record = AllocationRecord(ticket.allocation_id, *ticket.request.key, create_time=now, update_time=now)
            request = ordered_items.expanded(ticket.request, record, batch.listings)
            order = ordered_kits.expanded(request, record, batch.catalog.kits).order
            context = batch.context(ticket.policy_set).of(order.channel_id)
            stock_levels = dict(
                await stock_age.with_receipts(connection, stock_levels, ticket.policy_set, batch.products)
            )
            return NewOrder(order, context, now, stock_levels)

        return await source.database.snapshot("preview", work)

    async def _run(
        self,
        connection: Connection,
        tickets: Sequence[Ticket],
        attempts: list[_BatchState],
        links: Mapping[OrderKey, CopyLink],
    ) -> _BatchState:
        # A commit can succeed although its confirmation is lost. Nothing is left to do then but to answer and to count.
        receipts = {attempt.receipt_id: attempt for attempt in attempts if attempt.receipt_id is not None}
        committed = await idempotency.committed(connection, list(receipts), _METHOD) if receipts else set()
        if committed:
            # Each attempt stores the receipts of those before it, to keep them from committing later: the last counts.
            return [attempt for receipt_id, attempt in receipts.items() if receipt_id in committed][-1]
        batch = await self._start(connection, tickets, self._deps.catalog_cache)
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

    async def _start(self, connection: Connection, tickets: Sequence[Ticket], cache: CatalogCache) -> _BatchState:
        """Reads the catalog and the products; an order that names an unknown record is answered with an error."""
        items = {key for ticket in tickets for key in ordered_items.item_keys(ticket.request.order)}
        listings = await listing_store.read(connection, items) if items else {}
        batch = _BatchState(Catalog(-1, {}, {}), {}, listings)
        keys, skus = _order_keys(tickets), batch.skus_of(tickets)
        rows = await _START.rows(connection, skus=sorted(skus), **transposed(["channel_id", "order_id"], keys))
        version, batch.products = catalog_store.products_of(rows)
        batch.version = version
        known_positions = (rows[0]["known_positions"] if rows else None) or ()
        batch.catalog = await cache.at(connection, version)
        batch.known_keys = {keys[position - 1] for position in known_positions}
        await batch.load_products(connection, batch.catalog.kits.components_of(skus))
        unknown = sorted({sku for ticket in tickets for sku in _unknown_skus(batch, ticket.request).values()})
        near = await unknown_records.near_products(connection, unknown)
        for ticket in tickets:
            error = _request_error(batch, ticket.request, near)
            if error is not None:
                batch.outcomes[ticket.claim.id] = error
        return batch

    async def _plan(
        self, connection: Connection, batch: _BatchState, tickets: Sequence[Ticket], links: Mapping[OrderKey, CopyLink]
    ) -> None:
        # Every writer locks in one order: request ids, then stored orders, then stock levels, then new orders as their
        # rows are inserted, each of them sorted. Two transactions that need the same rows then queue and do not
        # deadlock.
        order_keys, known_keys = _order_keys(tickets), batch.known_keys
        orders = await order_identity.lock_stored(connection, order_keys, links, known_keys, self._deps.new_id)
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
        cancellations = await pending_cancellations.read(connection, {*order_keys, *orders.ids}) if known_keys else []
        waiting = await _waiting_requests(connection, cancellations)
        intake = Intake.of(unit_of_work, orders, cancellations, batch.listings, waiting)
        # Tickets are in order of arrival, so the last one has the newest rules. Backorders that are filled here belong
        # to no ticket and follow those.
        policy_set = tickets[-1].policy_set
        context = rebalancing.LazyPlanningContext(self._deps.catalog_cache, policy_set, batch.context(policy_set))
        if unit_of_work.book.expired_promises:
            await rebalancing.fill(connection, unit_of_work, context)
        turn = Turn(looks_for_cycles=False)
        for ticket in tickets:
            change = await _decide(intake, ticket, batch.context(ticket.policy_set))
            batch.changes[ticket.claim.id] = change
            unit_of_work.principals[change.record.id] = ticket.principal
            # Units that one order releases go to backorders before the next order is planned.
            await rebalancing.fill(connection, unit_of_work, context)
            await turn.end_if_long()
        await unit_of_work.explain_oversells(connection)
        unit_of_work.answer_ended_requests()
        for ticket in tickets:
            change = batch.changes[ticket.claim.id]
            batch.outcomes[ticket.claim.id] = await _answer(ticket, change, batch, unit_of_work.book.now)
            await turn.end_if_long()
        for key, id in intake.unused_keys().items():
            unit_of_work.add_placeholder(id, key)
        await unit_of_work.write(connection, (idempotency.ANSWERS, _answers_of(batch, tickets)), with_capacity=False)
        await self._finish(connection, batch, book, orders, cancellations)
        await write_intake(connection, intake, policy_set)

    async def _finish(
        self,
        connection: Connection,
        batch: _BatchState,
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


async def _waiting_requests(
    connection: Connection, cancellations: Sequence[CancellationRow]
) -> list[CancellationRequest]:
    """The requests to cancel that wait for orders of this transaction."""
    keys = {row.key for row in cancellations if row.is_request and not row.cancellation.is_applied}
    return await cancellation_request_store.waiting(connection, keys) if keys else []


async def _decide(
    intake: Intake, ticket: Ticket, context: PlanningContext, *, in_transaction: bool = True
) -> AllocationChange:
    """What the request changes, with the time that it took to decide."""
    started = time.perf_counter()
    change = await _receive(intake, ticket, context)
    ended, work = time.perf_counter(), current_call.get()
    if work is not None:
        work.decided(ended - started, in_transaction=in_transaction)
        if work.trace is not None:
            of = ticket.served_call.trace if ticket.served_call is not None else None
            work.trace.add("decision", started, ended, _decision_attributes(ticket, change), of=of)
    return change


def _decision_attributes(ticket: Ticket, change: AllocationChange) -> dict[str, str | int]:
    """What a trace says of a decision: nothing that the order's sender wrote."""
    attributes: dict[str, str | int] = {
        "truestock.policy_revision": ticket.policy_set.revision,
        "truestock.lines": ticket.line_count,
    }
    if change.decision is not None:
        attributes["truestock.outcome"] = change.decision.outcome.value
        attributes["truestock.policy"] = change.decision.policy.name
        attributes["truestock.decision_id"] = str(change.record.decision_id)
    return attributes


async def _receive(intake: Intake, ticket: Ticket, context: PlanningContext) -> AllocationChange:
    """What the request changes; a large order is planned in turns with everything else."""
    if _is_large(ticket, context.catalog):
        return await in_turns(intake.receive, ticket.request, context)
    return intake.receive(ticket.request, context)


async def _answer(
    ticket: Ticket, change: AllocationChange, batch: _BatchState, now: datetime
) -> allocation_pb.Allocation:
    """The answer to an order; that to a large one is built in turns with everything else."""
    if _is_large(ticket, batch.catalog):
        return await in_turns(order_messages.allocation, change.record, now, change_refused=change.change_refused)
    return order_messages.allocation(change.record, now, change_refused=change.change_refused)


def _is_large(ticket: Ticket, catalog: Catalog) -> bool:
    return len(ticket.request.order.lines) * len(catalog.locations) > limits.LEVELS_AT_ONCE


def _order_keys(tickets: Sequence[Ticket]) -> list[OrderKey]:
    """The keys of the orders that these requests name, originals of copies included."""
    keys = [ticket.request.key for ticket in tickets]
    return keys + [ticket.request.copy_of for ticket in tickets if ticket.request.copy_of is not None]


def _without_ids(answer: allocation_pb.Allocation, *, is_new: bool) -> allocation_pb.Allocation:
    """Clears the ids of a preview that are not stored."""
    if is_new:
        answer.allocation_id = ""
    answer.decision.decision_id = ""
    for shipment in answer.shipments:
        shipment.shipment_id = ""
    return answer


def _unknown_skus(batch: _BatchState, request: OrderRequest) -> dict[str, str]:
    """By field, the SKUs that refuse the order. A sold order is not refused: its units are short until they exist."""
    if request.order.commitment is not Commitment.HOLD:
        return {}
    return {
        f"lines[{i}].sku": x.sku
        for i, x in enumerate(request.order.lines)
        if x.item is None and x.sku not in batch.products
    }


def _request_error(
    batch: _BatchState, request: OrderRequest, near_skus: Mapping[str, str]
) -> NotFound | InvalidFields | None:
    """The error of an order that its channel does not allow, or that names what is not in the catalog."""
    channels = batch.catalog.channels
    channel_fields = {"channel_id": request.order.channel_id} | (
        {"copy_of.channel_id": request.copy_of[0]} if request.copy_of else {}
    )
    missing_channels = {field: id for field, id in channel_fields.items() if id not in channels}
    if missing_channels:
        return no_channel(missing_channels, channels)
    request = read_status(request, channels[request.order.channel_id]).request
    order, violations = request.order, channel_words.violations(request, channels[request.order.channel_id])
    if violations:
        return InvalidFields(violations)
    missing_skus = _unknown_skus(batch, request)
    if missing_skus:
        return no_product(missing_skus, near_skus)
    error = _unmapped_item(batch, request)
    if error is not None:
        return error
    if order.outlet is not None and order.commitment is Commitment.HOLD:
        # A sold order waits for the outlet.
        known = batch.catalog.outlets.get(order.channel_id, ())
        if order.outlet.id not in {outlet.id for outlet in known}:
            return no_outlet({"outlet_id": order.outlet.id}, order.channel_id, [outlet.id for outlet in known])
    too_many = ordered_kits.too_many_components(order, batch.catalog.kits)
    if too_many is not None:
        return InvalidFields([too_many])
    if order.pickup_location_id and order.pickup_location_id not in batch.catalog.locations:
        return no_location({"pickup_location_id": order.pickup_location_id}, batch.catalog.locations)
    missing_locations = _unknown_line_locations(batch, order)
    if missing_locations:
        return no_location(missing_locations, batch.catalog.locations)
    return None


def _unmapped_item(batch: _BatchState, request: OrderRequest) -> NotFound | None:
    """The error of a new cart with items that are not mapped; a stored one keeps the SKUs that its items were."""
    order = request.order
    if order.commitment is not Commitment.HOLD or request.key in batch.known_keys:
        return None
    return ordered_items.unmapped_error(order, lambda item_id: (order.channel_id, item_id) in batch.listings)


def _unknown_line_locations(batch: _BatchState, order: Order) -> dict[str, str]:
    """By field, the locations of lines that refuse a HOLD. Those of a sold order match no location."""
    if order.commitment is not Commitment.HOLD or is_placed_freely(order):
        return {}
    return {
        f"lines[{index}].{field}": location_id
        for index, line in enumerate(order.lines)
        for field, ids in (
            ("only_location_ids", line.placement.only_location_ids or ()),
            ("not_location_ids", line.placement.not_location_ids),
        )
        for location_id in sorted(ids)
        if location_id not in batch.catalog.locations
    }


def _stored_answer(ticket: Ticket, stored: StoredAnswer) -> allocation_pb.Allocation | TruestockError:
    try:
        idempotency.check_same_request(ticket.claim, stored, ticket.message)
    except TruestockError as error:
        return error
    return allocation_pb.Allocation.FromString(stored.answer)


def _answers_of(batch: _BatchState, tickets: Sequence[Ticket]) -> list[tuple[UUID, bytes]]:
    """The request ids that callers gave, with the answers to store."""
    outcomes = {ticket.claim.id: batch.outcomes[ticket.claim.id] for ticket in tickets if ticket.claim.is_named}
    return [(id, x.SerializeToString()) for id, x in outcomes.items() if isinstance(x, allocation_pb.Allocation)]
