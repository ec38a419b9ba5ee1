"""Applies requests about orders, in whatever order they arrive: originals, copies, updates. `planner` plans them.

An order has one promise, under the original's key. Older contents never replace newer ones by the channel's time, a
sold order stays sold and a cancelled one cancelled, so the same events in any order of arrival end in the same state.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from policies.decisions.cancellations import PERMANENT, PendingCancellation, PriorCancellations, cancelled_units
from policies.decisions.promise import same_contents
from policies.domain.channel_statuses import ChannelStatus
from policies.domain.model import Commitment, Order
from policies.policy_set import PolicySet
from policies.stock.oversell import UNMAPPED
from service import limits
from service.allocation import hold_release, order_holds, sync_failures
from service.allocation.amendments import amend, cancel_whole_order, merge_copy
from service.allocation.channel_words import ReadRequest, read_status
from service.allocation.excess_units import note_excess
from service.allocation.order_counts import OrderCounts
from service.allocation.order_holds import StatedBefore
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import PlanningContext
from service.allocation.sync_failures import SYNC_FAILED
from service.allocation.unit_of_work import UnitOfWork
from service.database.database import Connection
from service.exceptions import incidents
from service.exceptions.incidents import Incident
from service.orders import order_exceptions, order_identity, pending_cancellations
from service.orders.allocation_record import PROMISING, AllocationRecord
from service.orders.order_identity import CopyLink, LockedOrders, OrderKey
from service.orders.order_requests import OrderRequest
from service.orders.pending_cancellations import CancellationRow


@dataclass(slots=True)
class Intake:
    """The orders that a transaction has locked, by key, with their copies and cancellations; requests change it.

    `write_intake` writes `changed_links`, `changed_cancellations`, `moved_cancellations`, `incidents` and
    resolves the exceptions of `changed_holds`.
    """

    unit_of_work: UnitOfWork
    locked: LockedOrders
    records: dict[OrderKey, AllocationRecord]
    cancellations: dict[OrderKey, list[CancellationRow]] = field(default_factory=dict)
    changed_links: dict[OrderKey, CopyLink] = field(default_factory=dict)
    changed_cancellations: dict[tuple[OrderKey, str, str], CancellationRow] = field(default_factory=dict)
    moved_cancellations: set[OrderKey] = field(default_factory=set)
    incidents: list[Incident] = field(default_factory=list)
    changed_holds: set[UUID] = field(default_factory=set)
    """Orders whose hold was released or changed; it is no longer overdue."""
    _links: dict[OrderKey, CopyLink] = field(default_factory=dict)

    @classmethod
    def of(cls, unit_of_work: UnitOfWork, locked: LockedOrders, cancellations: Iterable[CancellationRow]) -> Intake:
        """Returns an intake of orders that have just been read."""
        records = {(record.channel_id, record.order_id): record for record in unit_of_work.records.values()}
        intake = cls(unit_of_work, locked, records, _links=dict(locked.links))
        for row in cancellations:
            intake.cancellations.setdefault(row.key, []).append(row)
        return intake

    def receive(self, request: OrderRequest, context: PlanningContext) -> AllocationChange:
        """Applies one request to its order, changes the book and the records to match, and returns the change."""
        key, was_linked = request.key, request.key in self._links
        read = read_status(request, context.of(key[0]).channel)
        request = read.request
        original, separate = self._identify(request, context)
        record = self._record(original)
        if separate is not None:
            self._merge(separate, record, request)
            record.hold = record.hold or separate.hold
        record.copies = sorted(link.key for link in self._links.values() if link.original == original)
        before = StatedBefore(record.channel_update_time, record.channel_status)
        is_current = self._is_current(request, record)
        self._apply_channel_status(read, record)
        is_sold = separate is not None and separate.commitment is Commitment.SOLD
        change = self._decide(request, record, context, is_sold=is_sold)
        if not change.event and key in self._links and not was_linked:
            change = replace(change, event="linked", description=f"Linked to its copy {'/'.join(key)}.")
        self.unit_of_work.record(change)
        self._report_unmapped(change, context)
        if is_current:
            self._apply_hold(read, record, before, context)
        if read.meaning.is_failure:
            self._report_failure(read, record, before, context)
        return change

    def _record(self, key: OrderKey) -> AllocationRecord:
        """The record of an order, created if there is none yet."""
        stored = self.records.get(key)
        if stored is not None:
            return stored
        now = self.unit_of_work.book.now
        record = AllocationRecord(self.locked.ids[key], *key, create_time=now, update_time=now)
        self.records[key] = record
        self.unit_of_work.add(record)
        return record

    def _merge(self, copy: AllocationRecord, record: AllocationRecord, request: OrderRequest) -> None:
        """Releases the copy's separate promise. Units of both are counted once if the original was not sold yet."""
        copy_before, before = self.unit_of_work.before(copy), self.unit_of_work.before(record)
        self.unit_of_work.record(merge_copy(self.unit_of_work.book, copy, (record.channel_id, record.order_id)))
        # The original raises exceptions of its own.
        self.unit_of_work.supersede_exceptions(copy)
        if not before.sold:
            needs_person = before.needs_person or copy_before.needs_person
            self.unit_of_work.reset_baseline(record, replace(copy_before, needs_person=needs_person))
            self.unit_of_work.reset_baseline(copy, OrderCounts.of(copy))
        self._subtract_shipped(copy, record, request)

    def _original(self, key: OrderKey) -> OrderKey:
        link = self._links.get(key)
        return link.original if link else key

    def _identify(self, request: OrderRequest, context: PlanningContext) -> tuple[OrderKey, AllocationRecord | None]:
        """The key of the order that holds the promise, and the separate record that a copy had until now."""
        stored_original = self._original(request.key)
        if request.copy_of is None:
            return stored_original, None
        original = self._original(request.copy_of)
        if stored_original == original:
            return stored_original, None
        if stored_original != request.key:
            channel = context.of(request.key[0]).channel
            record = self._record(stored_original)
            self.incidents.append(sync_failures.of_contradiction(request, stored_original, record, channel))
            return stored_original, None
        separate = self.records.pop(request.key, None)
        is_first = original not in self.records
        self._set_link(CopyLink(request.key, original, self.locked.ids[original], provides_contents=is_first))
        for link in list(self._links.values()):
            if link.original == request.key:
                self._set_link(replace(link, original=original, allocation_id=self.locked.ids[original]))
        self._move_cancellations(request.key, original)
        return original, separate

    def _set_link(self, link: CopyLink) -> None:
        self._links[link.key] = self.changed_links[link.key] = link

    def _move_cancellations(self, key: OrderKey, original: OrderKey) -> None:
        rows = self.cancellations.pop(key, [])
        if rows:
            self.moved_cancellations.add(key)
        for row in rows:
            self._store_cancellation(replace(row, key=original))

    def _store_cancellation(self, row: CancellationRow) -> None:
        """Stores a cancellation, or marks it as applied."""
        rows = self.cancellations.setdefault(row.key, [])
        id = (row.event_id, row.cancellation.line_id)
        rows[:] = [x for x in rows if (x.event_id, x.cancellation.line_id) != id] + [row]
        self.changed_cancellations[row.key, *id] = row

    def _subtract_shipped(self, copy: AllocationRecord, record: AllocationRecord, request: OrderRequest) -> None:
        """Cancels, on the original, units that have shipped for the copy, so that they do not ship twice."""
        lines = record.order_as_stated().lines if record.lines else request.order.lines
        for line in copy.lines:
            shipped = copy.shipped_of_line(line.line_id) - copy.returned_of_line(line.line_id)
            same_sku = next((x for x in lines if x.sku == line.sku), None)
            if shipped > 0 and same_sku is not None:
                event_id = f"left as {copy.channel_id}/{copy.order_id}, line {line.line_id}"
                cancellation = PendingCancellation(same_sku.line_id, shipped, PERMANENT)
                key = (record.channel_id, record.order_id)
                self._store_cancellation(CancellationRow(key, event_id, cancellation))

    def _apply_channel_status(self, read: ReadRequest, record: AllocationRecord) -> None:
        """Stores the cancellation that the channel's status means: what has not shipped stays cancelled."""
        if not read.meaning.cancels:
            return
        # Money that is paid back after everything has shipped cancels nothing: it is a refund, or a return will follow.
        is_refund = read.status is ChannelStatus.REFUNDED
        if is_refund and record.lines and not any(_unshipped(record, line.line_id) for line in record.lines):
            return
        event_id = f"status of {'/'.join(read.request.key)}"
        key = (record.channel_id, record.order_id)
        self._store_cancellation(CancellationRow(key, event_id, PendingCancellation(is_applied=True)))

    def _apply_hold(
        self, read: ReadRequest, record: AllocationRecord, before: StatedBefore, context: PlanningContext
    ) -> None:
        """Puts the order on hold or releases it, as the request or the channel's status says."""
        channel_context, now = context.of(record.channel_id), self.unit_of_work.book.now
        was_on_hold = record.hold is not None and record.hold.is_active
        change = order_holds.apply_request(
            record,
            read,
            before,
            now=now,
            locations=channel_context.locations,
            platform=context.of(read.request.key[0]).channel.platform,
        )
        self.unit_of_work.record(change)
        if was_on_hold and change.event:
            self.changed_holds.add(record.id)
        if change.event == order_holds.HOLD_TOO_LATE:
            self.incidents.append(sync_failures.of_late_hold(change, read.request, channel_context.channel))

    def _report_failure(
        self, read: ReadRequest, record: AllocationRecord, before: StatedBefore, context: PlanningContext
    ) -> None:
        """Raises an exception for a status that is unknown, or with which the channel reports a failure."""
        request = read.request
        incident = sync_failures.of_status(read, record, context.of(request.key[0]).channel)
        self.incidents.append(incident)
        is_repeated = request.key in self._links or request.channel_status == before.channel_status
        if record.needs_person and is_repeated:
            return
        record.needs_person = True
        self.unit_of_work.record(AllocationChange(record, SYNC_FAILED, incident.description, intervention=SYNC_FAILED))

    def _decide(
        self, request: OrderRequest, record: AllocationRecord, context: PlanningContext, *, is_sold: bool
    ) -> AllocationChange:
        key, original = request.key, (record.channel_id, record.order_id)
        stated_time, before = record.channel_update_time, (record.channel_update_time, record.channel_status)
        is_accepted = self._accept_contents(request, record, key)
        rows = self.cancellations.get(original, [])
        is_whole = any(row.cancellation.is_whole for row in rows)
        keeps_sale = bool(request.update_time or record.copies or is_whole)
        sold = is_sold or request.order.commitment is Commitment.SOLD
        sold = sold or (keeps_sale and record.commitment is Commitment.SOLD)
        order = _resulting_order(request, record, is_accepted=is_accepted, sold=sold)
        ordered: dict[str, int] = {}
        if is_whole:
            change = cancel_whole_order(self.unit_of_work.book, record, order)
        elif is_accepted or self._is_affected(record, rows, sold=sold):
            prior = _prior_cancellations(record, order, rows, stated_time, is_accepted=is_accepted)
            cancellations = [row.cancellation for row in rows]
            time = request.update_time if is_accepted and key == original else record.channel_update_time
            cancelled = cancelled_units(order.lines, cancellations, time, prior)
            channel_context = context.of(record.channel_id)
            change = amend(
                channel_context,
                self.unit_of_work.book,
                record,
                order,
                cancelled,
                hold_duration=request.hold_duration or limits.HOLD_DEFAULT,
            )
            ordered = {line.line_id: line.unit_count - cancelled.get(line.line_id, 0) for line in order.lines}
        else:
            return self._with_event(AllocationChange(record), before)
        if is_whole or (is_accepted and order.commitment is Commitment.SOLD):
            change = note_excess(context.of(record.channel_id), self.unit_of_work.book, change, ordered)
        for row in rows:
            if not row.cancellation.is_applied:
                self._store_cancellation(replace(row, cancellation=replace(row.cancellation, is_applied=True)))
        return self._with_event(change, before)

    def _is_current(self, request: OrderRequest, record: AllocationRecord) -> bool:
        """Whether a request speaks for its order, and is not older than what the channel said last."""
        link = self._links.get(request.key)
        if link is not None:
            return link.provides_contents and not _is_older(request.update_time, link.update_time)
        return not _is_older(request.update_time, record.channel_update_time)

    def _accept_contents(self, request: OrderRequest, record: AllocationRecord, key: OrderKey) -> bool:
        """Whether a request's contents become the order's; if so, stores the channel's time and status of them."""
        link = self._links.get(key)
        if link is not None:
            if not link.provides_contents or _is_older(request.update_time, link.update_time):
                return False
            self._set_link(replace(link, update_time=request.update_time or link.update_time))
            return True
        for copy in list(self._links.values()):
            if copy.original == key and copy.provides_contents:
                self._set_link(replace(copy, provides_contents=False))
        if _is_older(request.update_time, record.channel_update_time):
            return False
        record.channel_update_time = request.update_time or record.channel_update_time
        record.channel_status = request.channel_status or record.channel_status
        return True

    def _is_affected(self, record: AllocationRecord, rows: Sequence[CancellationRow], *, sold: bool) -> bool:
        """Whether an order changes although its contents do not: it is now sold, or stored cancellations apply."""
        if sold and record.commitment is Commitment.HOLD:
            return True
        has_pending = any(not row.cancellation.is_applied for row in rows)
        return has_pending and record.state_at(self.unit_of_work.book.now) in PROMISING

    def _with_event(self, change: AllocationChange, before: tuple[datetime | None, str | None]) -> AllocationChange:
        """The change, with an event if only the channel's time or status of the order changed."""
        record = change.record
        if change.event or (record.channel_update_time, record.channel_status) == before:
            return change
        status = f"; its status there is {record.channel_status}" if record.channel_status else ""
        sentence = f"The channel sent the order again with the same contents{status}."
        return replace(change, event="updated", description=sentence)

    def _report_unmapped(self, change: AllocationChange, context: PlanningContext) -> None:
        record = change.record
        if change.decision is None:
            return
        channel = context.of(record.channel_id).channel
        for sku in sorted({short.sku for short in record.shortages if short.cause == UNMAPPED}):
            sentence = f"{record.channel_id} sold '{sku}', which is not in the catalog; add the product."
            self.incidents.append(
                Incident(
                    order_exceptions.UNMAPPED_PRODUCT, sku, sentence, channel, channel_id=record.channel_id, sku=sku
                )
            )


def _unshipped(record: AllocationRecord, line_id: str) -> int:
    return record.line(line_id).uncancelled - record.shipped_of_line(line_id)


def _is_older(time: datetime | None, stored: datetime | None) -> bool:
    return time is not None and stored is not None and time < stored


def _resulting_order(request: OrderRequest, record: AllocationRecord, *, is_accepted: bool, sold: bool) -> Order:
    """The order after this request, as its channel states it, under the original's key."""
    commitment = Commitment.SOLD if sold else request.order.commitment
    if is_accepted or not record.lines:
        channel_id, order_id = record.channel_id, record.order_id
        return replace(request.order, channel_id=channel_id, order_id=order_id, commitment=commitment)
    was_sold = record.commitment is Commitment.SOLD
    return replace(record.order_as_stated(), commitment=Commitment.SOLD if sold or was_sold else record.commitment)


def _prior_cancellations(
    record: AllocationRecord,
    order: Order,
    rows: Sequence[CancellationRow],
    stated_time: datetime | None,
    *,
    is_accepted: bool,
) -> PriorCancellations:
    """Units that stay cancelled when the channel repeats the same contents; a cart that is sent again has none."""
    units = {line.line_id: line.cancelled for line in record.lines if line.cancelled}
    if not units:
        return PriorCancellations()
    stay_cancelled = not is_accepted or record.commitment is Commitment.SOLD or bool(rows)
    return (
        PriorCancellations(units, stated_time)
        if stay_cancelled and same_contents(record.order_as_stated(), order)
        else PriorCancellations()
    )


async def write_intake(connection: Connection, intake: Intake, policy_set: PolicySet) -> None:
    """Writes copies, cancellations and incidents; to be called after the orders were written, with all locks held."""
    await order_identity.write(connection, intake.changed_links.values())
    used = {record.id for record in intake.records.values()}
    await order_identity.delete_empty(connection, intake.locked.created - used)
    await pending_cancellations.delete_moved(connection, intake.moved_cancellations)
    book = intake.unit_of_work.book
    await pending_cancellations.write(connection, book.now, intake.changed_cancellations.values())
    raised = await incidents.raise_all(connection, policy_set, book.now, intake.incidents, book.new_id)
    intake.unit_of_work.raised += raised
    await hold_release.resolve_overdue(connection, intake.unit_of_work, intake.changed_holds)
