"""Collects what one transaction changes about orders, and writes and counts it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from policies.decisions.cancellations import SELLER
from policies.domain.model import Commitment
from policies.explanation import DropReason
from service.allocation import oversell_evidence
from service.allocation.cancellations.ended_cancellation_requests import answer_ended
from service.allocation.order_counts import (
    NO_COUNTS,
    AddedCounts,
    OrderCounts,
    added_counts,
    count_changes,
    count_request,
    counted_rows,
)
from service.allocation.oversell_evidence import UnexplainedOversell
from service.allocation.oversell_records import stored_record
from service.allocation.planner import AllocationChange
from service.allocation.shipment_counts import ShipmentCounts
from service.audit.origin import current_principal
from service.background import Turn, in_turns
from service.capacity import capacity_store, order_uses
from service.database.database import Connection
from service.database.row_writes import Row, RowWrite
from service.decisions import decision_batch
from service.decisions.decision_batch import DecisionWrite
from service.demand import demand_store, hold_demand
from service.demand.hold_demand import UnmetHold
from service.exceptions import incidents
from service.exceptions.incidents import RaisedException, ResolvedException
from service.history import counted_orders
from service.metrics import Metrics
from service.metrics.labels import ORDER
from service.orders import order_writer, shipment_deadlines
from service.orders.allocation_record import EXPIRED, REFUSED, AllocationRecord
from service.orders.cancellations import cancellation_request_store, pending_cancellations
from service.orders.cancellations.cancellation_request import ACCEPTED, CANCEL_REQUESTED, CancellationRequest
from service.orders.cancellations.pending_cancellations import CancellationRow
from service.orders.order_identity import OrderKey
from service.orders.order_writer import OrderWrites
from service.orders.shipment_deadlines import ShipmentDeadline
from service.stock import levels, unavailable_units
from service.stock.publication_log import PublicationLog
from service.stock.stock_book import Book


@dataclass(slots=True)
class UnitOfWork:
    """The orders that a transaction has locked, by id, and the changes to them; written together with the book."""

    book: Book
    publication_log: PublicationLog | None = None
    """Figures that this process has published and not yet written; they are evidence for oversells."""
    principal: str | None = field(default_factory=current_principal)
    """Whose call it is; None for the service itself, and for a batch of orders."""
    principals: dict[object, str | None] = field(default_factory=dict)
    """Who sent the orders of a batch, by id."""
    records: dict[UUID, AllocationRecord] = field(default_factory=dict)
    changes: dict[UUID, list[AllocationChange]] = field(default_factory=dict)
    backordered_skus: set[str] = field(default_factory=set)
    """SKUs that these orders wait for, or waited for before this transaction."""
    filled_movements: int = 0
    """Movements of the book after which backorders have been tried."""
    raised: list[RaisedException] = field(default_factory=list)
    """New exceptions that concern no order's plan."""
    resolved: dict[tuple[str, str], list[ResolvedException]] = field(default_factory=dict)
    """Resolved exceptions that concern no order's plan, by kind and resolution."""
    shipments: list[ShipmentCounts] = field(default_factory=list)
    """What calls of locations count of their shipments."""
    cancellations_of_new: list[CancellationRow] = field(default_factory=list)
    """Cancellations of new orders to write once it is checked that nothing else was stored about them meanwhile."""
    _decided_deadlines: Sequence[ShipmentDeadline] = ()
    """Times of shipments that were kept or missed with this transaction, and not decided before."""
    _decisions: list[DecisionWrite] = field(default_factory=list)
    _unexplained: list[UnexplainedOversell] = field(default_factory=list)
    _before: dict[UUID, OrderCounts] = field(default_factory=dict)
    _new: set[UUID] = field(default_factory=set)
    _unmet: list[UnmetHold] = field(default_factory=list)
    _unmet_rows: list[Row] = field(default_factory=list)
    _superseded: Sequence[str] = ()
    """The kind of each exception that writing superseded."""
    _counted_demand: dict[UUID, dict[str, int]] = field(default_factory=dict)
    """Units of stored HOLDs that their last attempt counted as unmet, by SKU."""
    _added: dict[UUID, AddedCounts] = field(default_factory=dict)
    _writes: OrderWrites = field(default_factory=OrderWrites)

    def load(self, records: Iterable[AllocationRecord]) -> None:
        """Adds orders that are locked and have just been read."""
        for record in records:
            self.records[record.id] = record
            if record.shortages and record.commitment is Commitment.HOLD:
                self._counted_demand[record.id] = record.short_by_sku()
            self._before[record.id] = OrderCounts.of(record)
            self._note_backordered(record)
            order_uses.load(self.book.capacity, record, self.book.now)

    def add(self, record: AllocationRecord) -> None:
        """Adds an order that has just been created."""
        self.records[record.id] = record
        self._before[record.id] = NO_COUNTS
        self._new.add(record.id)

    def add_placeholder(self, id: UUID, key: OrderKey) -> None:
        """Adds a row that locks the key of a copy; the caller deletes it after it has written the link."""
        record = AllocationRecord(id, *key, create_time=self.book.now, update_time=self.book.now)
        self._writes.placeholders.append(record)

    def before(self, record: AllocationRecord) -> OrderCounts:
        """The counts of an order before this transaction."""
        return self._before[record.id]

    def reset_baseline(self, record: AllocationRecord, before: OrderCounts) -> None:
        """Replaces the counts from which an order's changes are counted."""
        self._before[record.id] = before

    def supersede_exceptions(self, record: AllocationRecord) -> None:
        """Supersedes the open exceptions of an order that has been merged into another one."""
        self._writes.replanned.add(record.id)

    def record(self, change: AllocationChange) -> None:
        """Records a change to an order with its decision, event and exceptions; ignores one that has no event."""
        record, now = change.record, self.book.now
        if change.unmet is not None:
            self._unmet.append(change.unmet)
        self.changes.setdefault(record.id, []).append(change)
        if not change.event:
            return
        self._note_backordered(record)
        self._note_capacity(record)
        writes, revision = self._writes, record.decision.policy_revision
        record.version += 1
        # An order that is locked after the clock was read may have changed in between.
        record.update_time = max(record.update_time, now)
        writes.records[record.id] = record
        if record.id not in self._new:
            writes.replaced.add(record.id)
            if change.decision is not None and not change.partial:
                writes.replanned.add(record.id)
        decision_id = record.decision_id if change.decision is not None else None
        event = (self.book.new_id(), record.id, change.event, change.description, revision, now, decision_id)
        writes.events.append((*event, *_cancellation_columns(change)))
        if change.inputs is not None:
            is_summary = record.state == REFUSED
            stored = DecisionWrite(record.decision_id, record.id, record.decision, change.inputs, is_summary)
            self._decisions.append(stored)
        oversell = UnexplainedOversell.of(change, self.book)
        if oversell is not None:
            self._unexplained.append(oversell)

    def answer_ended_requests(self) -> None:
        """Answers requests to cancel of which nothing is left to cancel."""
        for record in self.records.values():
            if record.cancellation_requests:
                for change in answer_ended(record, self.book.now):
                    self.record(change)

    def _note_capacity(self, record: AllocationRecord) -> None:
        """What the order takes of its locations' capacity, for the orders that are planned after it."""
        self.book.capacity.note(record.id, order_uses.taking(record))

    def _note_backordered(self, record: AllocationRecord) -> None:
        self.backordered_skus.update(short.sku for short in record.shortages if short.backordered)

    @property
    def changed_ids(self) -> Collection[UUID]:
        """The orders with a recorded event."""
        return self._writes.records.keys()

    @property
    def has_unexplained_oversells(self) -> bool:
        """Whether units are oversold whose cause is not known yet."""
        return bool(self._unexplained)

    async def explain_oversells(self, connection: Connection) -> None:
        """Finds the causes of oversold units, if there are any; to be called before orders are answered or written."""
        if not self._unexplained:
            return
        unexplained, self._unexplained = self._unexplained, []
        channels = {record.id: record.channel_id for record in self.records.values()}
        explained = await oversell_evidence.explain(connection, self.book, channels, unexplained, self.publication_log)
        for before, after in zip(unexplained, explained, strict=True):
            changes = self.changes[after.record.id]
            changes[:] = [after if change is before.change else change for change in changes]

    async def write(
        self, connection: Connection, *more: tuple[RowWrite, Sequence[Row]], with_capacity: bool = True
    ) -> None:
        """Writes the book and the orders, and more rows with them.

        What they take of the locations' capacity is left to the caller if it is not written `with_capacity`.
        """
        await self.explain_oversells(connection)
        self.answer_ended_requests()
        for id in self._new:
            self._writes.records.setdefault(id, self.records[id])
        self._writes.decisions = await in_turns(
            decision_batch.stored_rows, self._decisions, self.book.now, self.book.new_id
        )
        turn = Turn()
        for allocation_id, changes in self.changes.items():
            for change in changes:
                if change.event:
                    self._writes.raise_exceptions(allocation_id, change.exceptions, self.book.now, self.book.new_id)
        await turn.end_if_long()
        self._remove_expired()
        await levels.release_expired(connection, self.book)
        await unavailable_units.apply(connection, unavailable_units.changes_of(self.book.movements))
        if self._unmet:
            self._unmet_rows = await self._demand_rows(connection)
            more = (*more, (demand_store.HOLDS, self._unmet_rows))
        self._added = {id: added_counts(self._before[id], changes) for id, changes in self.changes.items()}
        await turn.end_if_long()
        self._writes.events = self._events_with_sales()
        more = (*more, (counted_orders.ORDER_COUNTS, self._order_count_rows()))
        self._superseded = await order_writer.write(connection, self._writes, [*levels.changed_rows(self.book), *more])
        for record in self._writes.records.values():
            self._note_capacity(record)
        if with_capacity:
            capacity = self.book.capacity
            await capacity_store.write_changes(connection, capacity, capacity.changes(), self.book.now)
        deadlines = [deadline for counts in self.shipments for deadline in counts.deadlines]
        if deadlines:
            self._decided_deadlines = await shipment_deadlines.record(connection, self.book.now, deadlines)
        requests = [x for record in self.records.values() for x in record.cancellation_requests if x.is_changed]
        if requests:
            await self._write_requests(connection, requests)

    def _remove_expired(self) -> None:
        """Removes the units that the book has released from holds that have expired and are written as they were.

        An order is written whole, as after a request to cancel it. With these units it would give them back twice.
        """
        released = {(promise.shipment_id, promise.line_id) for promise in self.book.expired_promises}
        for record in self._writes.records.values() if released else ():
            if record.state_at(self.book.now) == EXPIRED:
                for shipment in record.shipments:
                    units = shipment.units.items()
                    shipment.units = {x: count for x, count in units if (shipment.id, x) not in released}

    async def _write_requests(self, connection: Connection, requests: Sequence[CancellationRequest]) -> None:
        """Writes requests to cancel, and resolves the exceptions about those that were answered."""
        now, new_id = self.book.now, self.book.new_id
        answered = await cancellation_request_store.write(connection, requests, now, new_id)
        for resolution, exceptions in answered.items():
            self.resolved.setdefault((CANCEL_REQUESTED, resolution), []).extend(exceptions)
        whole = [x for x in requests if self._cancelled_all(x)]
        of_new = [x for x in whole if x.allocation_id in self._new]
        self.cancellations_of_new += map(pending_cancellations.accepted_whole, of_new)
        rows = [pending_cancellations.accepted_whole(x) for x in whole if x not in of_new]
        await pending_cancellations.write(connection, now, rows)

    def _cancelled_all(self, request: CancellationRequest) -> bool:
        """Whether the answer to a request has just cancelled its whole order, or all of it that had not shipped."""
        is_new = request.state == ACCEPTED and bool(request.answer_cause) and request.cancelled > 0
        if not is_new or request.allocation_id is None:
            return False
        record = self.records[request.allocation_id]
        return record.is_empty or (not request.lines and record.has_nothing_to_ship)

    def _events_with_sales(self) -> list[tuple[object, ...]]:
        """The events to write; the last of an order that was sold, or sold more of, says so."""
        events = self._writes.events
        last = {event[1]: index for index, event in enumerate(events)}
        sold = {last[id]: x for id, x in self._added.items() if (x.sold or x.is_sale) and id in last}
        return [
            (*event, *_sale_columns(sold.get(index)), self.principals.get(event[1], self.principal))
            for index, event in enumerate(events)
        ]

    def _order_count_rows(self) -> list[tuple[object, ...]]:
        """What is counted of the orders besides their sales, and sales that no event has."""
        with_events = {event[1] for event in self._writes.events}
        return [
            row
            for id, added in self._added.items()
            for row in counted_rows(
                self.records[id],
                added,
                self.book.now,
                is_sale_written=id in with_events,
                oversold_record=partial(stored_record, self.records[id], self.changes[id], self.book),
            )
        ]

    async def _demand_rows(self, connection: Connection) -> list[Row]:
        """What HOLDs did not get. Only what was counted of a stored order whose demand has risen is read."""
        risen = {
            hold.allocation_id
            for hold in self._unmet
            if hold.allocation_id not in self._new and hold.exceeds(self._counted_demand.get(hold.allocation_id, {}))
        }
        counted = {**self._counted_demand, **{id: {} for id in risen}}
        if risen:
            counted |= await demand_store.counted_units(connection, risen)
        return [*hold_demand.rows(self._unmet, counted, self.book.now)]

    def count(self, metrics: Metrics) -> None:
        """Counts every order that changed and the exceptions raised and resolved; to be called after the commit."""
        incidents.count_raised(metrics, self.raised)
        for (kind, resolution), exceptions in self.resolved.items():
            incidents.count_resolved(metrics, kind, resolution, exceptions)
        for kind in self._superseded:
            metrics.exceptions.superseded.labels(kind).inc()
        hold_demand.count(metrics, self._unmet_rows)
        for allocation_id, changes in self.changes.items():
            count_changes(metrics, self._before[allocation_id], changes, self._added[allocation_id])
            if self.book.capacity.locations:
                _count_full_locations(metrics, changes)
            if any(change.decision is not None for change in changes):
                self._observe_age(metrics, changes[-1].record)
        for shipment in self.shipments:
            shipment.count(metrics)
        shipment_deadlines.count(metrics, self._decided_deadlines)
        for record in self.records.values():
            for request in record.cancellation_requests:
                count_request(metrics, request)

    def _observe_age(self, metrics: Metrics, record: AllocationRecord) -> None:
        """Observes how old the stock figures are from which an order was planned to ship."""
        skus, levels_by_key = {line.line_id: line.sku for line in record.lines}, self.book.levels
        keys = [(skus[line_id], shipment.location_id) for shipment in record.shipments for line_id in shipment.units]
        times = [levels_by_key[key].as_of_time for key in keys if key in levels_by_key]
        metrics.stock.observe_age(ORDER, self.book.now, times)


_NO_CANCELLATION = (None, None, None)


def _sale_columns(added: AddedCounts | None) -> tuple[int | None, bool | None]:
    """What an event says of the units that it sold."""
    return (None, None) if added is None else (added.sold, added.is_sale or None)


def _cancellation_columns(change: AllocationChange) -> tuple[int | None, str | None, str | None]:
    """The units that a change cancelled, whose fault it was and why; a rule cancels what the seller cannot supply."""
    if change.cancellation is not None and change.cancellation.unit_count:
        cause = change.cancellation.cause
        return change.cancellation.unit_count, cause.fault, cause.reason
    return (change.cancelled, SELLER, None) if change.cancelled else _NO_CANCELLATION


def _count_full_locations(metrics: Metrics, changes: Sequence[AllocationChange]) -> None:
    """Counts each location once for each decision that dropped it because it was full."""
    # To look up the member of an enumeration for each location of each order takes longer than all else here.
    is_full = DropReason.CAPACITY
    for change in changes:
        if change.decision is not None:
            for location_id in {x.location_id for x in change.decision.dropped if x.reason is is_full}:
                metrics.capacity.dropped.labels(location_id).inc()
