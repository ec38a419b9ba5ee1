"""Orders as they come, whatever came first: originals, copies, updates, cancellations. `planner` plans them.

An order has one promise, under the original's name. Contents never go back in the channel's time, a sold order stays
sold, and a cancelled one cancelled, so that the same events in any order of arrival end in the same state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from policies.decisions.cancellations import PERMANENT, PendingCancellation, PriorCancellations, cancelled_units
from policies.decisions.promise import same_contents
from policies.domain.channel_statuses import ChannelStatus, channel_status
from policies.domain.model import Commitment, Order
from policies.policy_set import PolicySet
from policies.stock.oversell import UNMAPPED
from service.allocation.amendments import amend, cancel_whole_order, merge_copy
from service.allocation.order_counts import OrderCounts
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import PlanningContext
from service.allocation.unit_of_work import UnitOfWork
from service.database.database import Connection
from service.exceptions import incidents
from service.exceptions.incidents import Incident
from service.orders import order_exceptions, order_identity, pending_cancellations
from service.orders.allocation_record import PROMISING, AllocationRecord
from service.orders.order_identity import CopyLink, LockedOrders, OrderKey
from service.orders.order_requests import OrderRequest
from service.orders.pending_cancellations import CancellationRow

SYNC_FAILED = "sync_failed"


@dataclass(slots=True)
class Intake:
    """The orders that a transaction has locked, by name, and what is known of them; changed as orders arrive.

    Whatever is in `changed_links`, `changed_kept`, `dropped_kept` and `incidents` is to be written afterwards.
    """

    unit_of_work: UnitOfWork
    locked: LockedOrders
    records: dict[OrderKey, AllocationRecord]
    cancellations: dict[OrderKey, list[CancellationRow]] = field(default_factory=dict)
    changed_links: dict[OrderKey, CopyLink] = field(default_factory=dict)
    changed_cancellations: dict[tuple[OrderKey, str, str], CancellationRow] = field(default_factory=dict)
    moved_cancellations: set[OrderKey] = field(default_factory=set)
    incidents: list[Incident] = field(default_factory=list)
    _links: dict[OrderKey, CopyLink] = field(default_factory=dict)

    @classmethod
    def of(cls, unit_of_work: UnitOfWork, names: LockedOrders, kept: Iterable[CancellationRow]) -> Intake:
        """Of orders that have just been read."""
        by_name = {(record.channel_id, record.order_id): record for record in unit_of_work.records.values()}
        made = cls(unit_of_work, names, by_name, _links=dict(names.links))
        for row in kept:
            made.cancellations.setdefault(row.key, []).append(row)
        return made

    def receive(self, request: OrderRequest, context: PlanningContext) -> AllocationChange:
        """Takes in one request and notes what became of its order; the book and the records are changed to match."""
        name, was_known = request.key, request.key in self._links
        original, own = self._identify(request, context)
        record = self._record(original)
        if own is not None:
            self._merge(own, record, request)
        record.copies = sorted(one.key for one in self._links.values() if one.original == original)
        self._apply_channel_status(request, original, context)
        verdict = self._decide(request, record, context, is_sold=own is not None and own.commitment is Commitment.SOLD)
        if not verdict.event and name in self._links and not was_known:
            verdict = replace(verdict, event="linked", description=f"{'/'.join(name)} is a copy of it.")
        self.unit_of_work.record(verdict)
        self._report_unmapped(verdict, context)
        return verdict

    def _record(self, name: OrderKey) -> AllocationRecord:
        """The record of an order, made where there is none yet."""
        known = self.records.get(name)
        if known is not None:
            return known
        now = self.unit_of_work.book.now
        made = AllocationRecord(self.locked.ids[name], *name, create_time=now, update_time=now)
        self.records[name] = made
        self.unit_of_work.add(made)
        return made

    def _merge(self, own: AllocationRecord, record: AllocationRecord, request: OrderRequest) -> None:
        """Takes back the promise that a copy has of its own. Its units are counted once, where that can still be."""
        was, before = self.unit_of_work.before(own), self.unit_of_work.before(record)
        self.unit_of_work.record(merge_copy(self.unit_of_work.book, own, (record.channel_id, record.order_id)))
        # What was to be settled about the copy is to be settled about the order.
        self.unit_of_work.supersede_exceptions(own)
        if not before.sold:
            self.unit_of_work.reset_baseline(record, replace(was, needs_person=before.needs_person or was.needs_person))
            self.unit_of_work.reset_baseline(own, OrderCounts.of(own))
        self._subtract_shipped(own, record, request)

    def _original(self, name: OrderKey) -> OrderKey:
        link = self._links.get(name)
        return link.original if link else name

    def _identify(self, request: OrderRequest, context: PlanningContext) -> tuple[OrderKey, AllocationRecord | None]:
        """The name under which the request's order has its promise, and a promise of its own that a copy had so far."""
        mine = self._original(request.key)
        if request.copy_of is None:
            return mine, None
        original = self._original(request.copy_of)
        if mine == original:
            return mine, None
        if mine != request.key:
            self._report_contradiction(request, mine, context)
            return mine, None
        own = self.records.pop(request.key, None)
        states = original not in self.records
        self._set_link(CopyLink(request.key, original, self.locked.ids[original], provides_contents=states))
        for link in list(self._links.values()):
            if link.original == request.key:
                self._set_link(replace(link, original=original, allocation_id=self.locked.ids[original]))
        self._move_cancellations(request.key, original)
        return original, own

    def _set_link(self, link: CopyLink) -> None:
        self._links[link.key] = self.changed_links[link.key] = link

    def _move_cancellations(self, name: OrderKey, original: OrderKey) -> None:
        rows = self.cancellations.pop(name, [])
        if rows:
            self.moved_cancellations.add(name)
        for row in rows:
            self._store_cancellation(replace(row, key=original))

    def _store_cancellation(self, row: CancellationRow) -> None:
        """Keeps a cancellation, or notes that it was applied."""
        rows = self.cancellations.setdefault(row.key, [])
        same = (row.event_id, row.cancellation.line_id)
        rows[:] = [one for one in rows if (one.event_id, one.cancellation.line_id) != same] + [row]
        self.changed_cancellations[row.key, *same] = row

    def _report_contradiction(self, request: OrderRequest, mine: OrderKey, context: PlanningContext) -> None:
        said, known = "/".join(request.copy_of or ()), "/".join(mine)
        copy, channel = "/".join(request.key), context.of(request.key[0]).channel
        sentence = f"{copy} is known as a copy of {known}, and is now said to be one of {said}; it stays as it is."
        self.incidents.append(Incident(SYNC_FAILED, copy, sentence, channel, channel_id=channel.id))

    def _subtract_shipped(self, own: AllocationRecord, record: AllocationRecord, request: OrderRequest) -> None:
        """What has left for the copy has left for the order: it is not promised once more."""
        lines = record.order_as_stated().lines if record.lines else request.order.lines
        for line in own.lines:
            left = own.shipped_of_line(line.line_id) - own.returned_of_line(line.line_id)
            same = next((one for one in lines if one.sku == line.sku), None)
            if left > 0 and same is not None:
                event_id = f"left as {own.channel_id}/{own.order_id}, line {line.line_id}"
                kept = PendingCancellation(same.line_id, left, PERMANENT)
                name = (record.channel_id, record.order_id)
                self._store_cancellation(CancellationRow(name, event_id, kept))

    def _apply_channel_status(self, request: OrderRequest, original: OrderKey, context: PlanningContext) -> None:
        """What the channel's own word for the order means: one that is cancelled stays so."""
        channel, word = context.of(request.key[0]).channel, request.channel_status
        if word is None or channel.platform is None:
            return
        status = channel_status(channel.platform, word)
        if status is ChannelStatus.CANCELLED:
            event_id = f"status of {'/'.join(request.key)}"
            self._store_cancellation(CancellationRow(original, event_id, PendingCancellation(is_applied=True)))
        elif status is None:
            sentence = (
                f"Order {'/'.join(request.key)} is '{word}', which is no known word of {channel.platform}; "
                "it was taken as its commitment says."
            )
            subject = f"{channel.platform}/{word}"
            self.incidents.append(Incident(SYNC_FAILED, subject, sentence, channel, channel_id=channel.id))

    def _decide(
        self, request: OrderRequest, record: AllocationRecord, context: PlanningContext, *, is_sold: bool
    ) -> AllocationChange:
        name, original = request.key, (record.channel_id, record.order_id)
        stated_time, before = record.channel_update_time, (record.channel_update_time, record.channel_status)
        counts = self._accept_contents(request, record, name)
        rows = self.cancellations.get(original, [])
        is_whole = any(row.cancellation.is_whole for row in rows)
        tells_time = bool(request.update_time or record.copies or is_whole)
        sold = is_sold or request.order.commitment is Commitment.SOLD
        sold = sold or (tells_time and record.commitment is Commitment.SOLD)
        order = _resulting_order(request, record, counts=counts, sold=sold)
        if is_whole:
            verdict = cancel_whole_order(self.unit_of_work.book, record, order)
        elif counts or self._is_affected(record, rows, sold=sold):
            standing = _prior_cancellations(record, order, rows, stated_time, counts=counts)
            kept = [row.cancellation for row in rows]
            time = request.update_time if counts and name == original else record.channel_update_time
            cancelled = cancelled_units(order.lines, kept, time, standing)
            around = context.of(record.channel_id)
            verdict = amend(
                around, self.unit_of_work.book, record, order, cancelled, hold_duration=request.hold_duration
            )
        else:
            return self._with_event(AllocationChange(record), before)
        for row in rows:
            if not row.cancellation.is_applied:
                self._store_cancellation(replace(row, cancellation=replace(row.cancellation, is_applied=True)))
        return self._with_event(verdict, before)

    def _accept_contents(self, request: OrderRequest, record: AllocationRecord, name: OrderKey) -> bool:
        """Whether the contents of a request are the order's from now on; notes when they were stated, and the word."""
        link = self._links.get(name)
        if link is not None:
            if not link.provides_contents or _is_older(request.update_time, link.update_time):
                return False
            self._set_link(replace(link, update_time=request.update_time or link.update_time))
            return True
        for copy in list(self._links.values()):
            if copy.original == name and copy.provides_contents:
                self._set_link(replace(copy, provides_contents=False))
        if _is_older(request.update_time, record.channel_update_time):
            return False
        record.channel_update_time = request.update_time or record.channel_update_time
        record.channel_status = request.channel_status or record.channel_status
        return True

    def _is_affected(self, record: AllocationRecord, rows: Sequence[CancellationRow], *, sold: bool) -> bool:
        """Whether an order changes although its contents do not: it is sold now, or units of it are cancelled."""
        if sold and record.commitment is Commitment.HOLD:
            return True
        waiting = any(not row.cancellation.is_applied for row in rows)
        return waiting and record.state_at(self.unit_of_work.book.now) in PROMISING

    def _with_event(self, verdict: AllocationChange, before: tuple[datetime | None, str | None]) -> AllocationChange:
        """The verdict; what the channel says of an order that does not change is an event of its own."""
        record = verdict.record
        if verdict.event or (record.channel_update_time, record.channel_status) == before:
            return verdict
        word = f": {record.channel_status}" if record.channel_status else ""
        return replace(verdict, event="updated", description=f"The channel says the same contents again{word}.")

    def _report_unmapped(self, verdict: AllocationChange, context: PlanningContext) -> None:
        record = verdict.record
        if verdict.decision is None:
            return
        channel = context.of(record.channel_id).channel
        for sku in sorted({short.sku for short in record.shortages if short.cause == UNMAPPED}):
            sentence = f"{record.channel_id} sells '{sku}', which the catalogue does not have; upsert the product."
            self.incidents.append(
                Incident(
                    order_exceptions.UNMAPPED_PRODUCT, sku, sentence, channel, channel_id=record.channel_id, sku=sku
                )
            )


def _is_older(one: datetime | None, known: datetime | None) -> bool:
    return one is not None and known is not None and one < known


def _resulting_order(request: OrderRequest, record: AllocationRecord, *, counts: bool, sold: bool) -> Order:
    """What the order asks for after this request, as its channel states it, under the original's name."""
    commitment = Commitment.SOLD if sold else request.order.commitment
    if counts or not record.lines:
        channel_id, order_id = record.channel_id, record.order_id
        return replace(request.order, channel_id=channel_id, order_id=order_id, commitment=commitment)
    stays = record.commitment is Commitment.SOLD
    return replace(record.order_as_stated(), commitment=Commitment.SOLD if sold or stays else record.commitment)


def _prior_cancellations(
    record: AllocationRecord,
    order: Order,
    rows: Sequence[CancellationRow],
    stated_time: datetime | None,
    *,
    counts: bool,
) -> PriorCancellations:
    """What is cancelled and stays so when the same contents are said again. A cart says anew what it asks for."""
    units = {line.line_id: line.cancelled for line in record.lines if line.cancelled}
    if not units:
        return PriorCancellations()
    is_kept = not counts or record.commitment is Commitment.SOLD or bool(rows)
    return (
        PriorCancellations(units, stated_time)
        if is_kept and same_contents(record.order_as_stated(), order)
        else PriorCancellations()
    )


async def write_intake(connection: Connection, intake: Intake, policy_set: PolicySet) -> None:
    """To be called after the orders were written, with all locks held."""
    await order_identity.write(connection, intake.changed_links.values())
    begun = {record.id for record in intake.records.values()}
    await order_identity.delete_empty(connection, intake.locked.created - begun)
    await pending_cancellations.delete_moved(connection, intake.moved_cancellations)
    book = intake.unit_of_work.book
    await pending_cancellations.write(connection, book.now, intake.changed_cancellations.values())
    raised = await incidents.raise_all(connection, policy_set, book.now, intake.incidents, book.new_id)
    intake.unit_of_work.raised += raised
