"""Everything that one transaction does to orders: what they were, what became of them, and what is to be counted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from uuid import UUID

from service.allocation.order_counts import OrderCounts, count_change
from service.allocation.planner import AllocationChange
from service.database.database import Connection
from service.exceptions import incidents
from service.exceptions.incidents import RaisedException
from service.metrics import Metrics
from service.orders import order_writer
from service.orders.allocation_record import AllocationRecord
from service.orders.order_writer import OrderWrites
from service.stock import levels
from service.stock.stock_book import Book


@dataclass(slots=True)
class UnitOfWork:
    """The orders that a transaction has locked, by id, and the verdicts on them; written together with the book."""

    book: Book
    records: dict[UUID, AllocationRecord] = field(default_factory=dict)
    changes: dict[UUID, list[AllocationChange]] = field(default_factory=dict)
    backordered_skus: set[str] = field(default_factory=set)
    """SKUs that these orders wait for, or waited for."""
    raised: list[RaisedException] = field(default_factory=list)
    """Exceptions that are new and about no order's plan."""
    resolved: dict[tuple[str, str], list[UUID]] = field(default_factory=dict)
    """Exceptions about no order's plan that are over, by their kind and resolution."""
    _before: dict[UUID, OrderCounts] = field(default_factory=dict)
    _new: set[UUID] = field(default_factory=set)
    _writes: OrderWrites = field(default_factory=OrderWrites)

    def load(self, records: Iterable[AllocationRecord]) -> None:
        """Takes in orders that are locked and have just been read."""
        for record in records:
            self.records[record.id] = record
            self._before[record.id] = OrderCounts.of(record)
            self._note_backordered(record)

    def add(self, record: AllocationRecord) -> None:
        """Takes in an order that has just been made."""
        self.records[record.id] = record
        self._before[record.id] = OrderCounts()
        self._new.add(record.id)

    def before(self, record: AllocationRecord) -> OrderCounts:
        """The figures of an order before this transaction."""
        return self._before[record.id]

    def reset_baseline(self, record: AllocationRecord, before: OrderCounts) -> None:
        """Counts an order from other figures than those that it had."""
        self._before[record.id] = before

    def supersede_exceptions(self, record: AllocationRecord) -> None:
        """Overtakes what was to be settled about an order that is no more."""
        self._writes.replanned.add(record.id)

    def record(self, verdict: AllocationChange) -> None:
        """Adds what became of an order, its decision, its event and its exceptions, if anything changed."""
        record, now = verdict.record, self.book.now
        self.changes.setdefault(record.id, []).append(verdict)
        if not verdict.event:
            return
        self._note_backordered(record)
        changes, revision = self._writes, record.decision.policy_revision
        record.version += 1
        changes.records[record.id] = record
        if record.id not in self._new:
            changes.replaced.add(record.id)
            if verdict.decision is not None and not verdict.partial:
                changes.replanned.add(record.id)
        decided = record.decision_id if verdict.decision is not None else None
        event = (self.book.new_id(), record.id, verdict.event, verdict.description, revision, now, decided)
        changes.events.append(event)
        if verdict.inputs is not None:
            changes.add_decision(record, verdict.inputs, now)
        changes.raise_exceptions(record.id, verdict.exceptions, now, self.book.new_id)

    def _note_backordered(self, record: AllocationRecord) -> None:
        self.backordered_skus.update(short.sku for short in record.shortages if short.backordered)

    async def write(self, connection: Connection) -> None:
        """Writes the book and the orders."""
        await levels.write(connection, self.book)
        await order_writer.write(connection, self._writes)

    def count(self, metrics: Metrics) -> None:
        """Counts every order that changed, and what was raised and settled; to be called after the commit."""
        incidents.count_raised(metrics, self.raised)
        for (kind, resolution), ids in self.resolved.items():
            incidents.count_resolved(metrics, kind, resolution, ids)
        for allocation_id, verdicts in self.changes.items():
            count_change(metrics, self._before[allocation_id], verdicts)
