"""Applies requests about orders, in whatever order they arrive: originals, copies, updates. `planner` plans them.

An order has one promise, under the original's key. Older contents never replace newer ones by the channel's time, a
sold order stays sold and a cancelled one cancelled, so the same events in any order of arrival end in the same state.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from uuid import UUID

from policies.decisions.cancellations import PERMANENT, CancelledUnits, PendingCancellation, stands
from policies.domain.calendars import local_time
from policies.domain.channel_statuses import ChannelStatus
from policies.domain.listings import ItemKey, Listing
from policies.domain.model import Commitment, Order
from policies.explanation import unit_count_text
from policies.policy_set import PolicySet
from service import limits
from service.allocation import hold_release, order_holds, sync_failures
from service.allocation.cancellations.cancellation_answers import move_requests, take_up
from service.allocation.intake import contradictions, ordered_items, ordered_kits, stated_contents
from service.allocation.intake.amendments import amend, cancel_whole_order, merge_copy
from service.allocation.intake.channel_words import ReadRequest, read_status
from service.allocation.intake.contradictions import IGNORED, PAID_AFTER_CANCELLATION, KnownOrder
from service.allocation.intake.outlet_choice import with_outlet
from service.allocation.intake.stated_contents import OrderUpdate
from service.allocation.order_counts import OrderCounts
from service.allocation.order_holds import StatedBefore
from service.allocation.planner import AllocationChange
from service.allocation.planning_context import ChannelContext, PlanningContext
from service.allocation.replanning.excess_units import note_excess
from service.allocation.sync_failures import SYNC_FAILED
from service.allocation.unit_of_work import UnitOfWork
from service.database.database import Connection
from service.exceptions import order_incidents
from service.exceptions.incidents import Incident
from service.orders import order_exceptions, order_identity
from service.orders.allocation_record import PROMISING, AllocationRecord
from service.orders.cancellations import pending_cancellations
from service.orders.cancellations.cancellation_request import CancellationRequest
from service.orders.cancellations.pending_cancellations import CancellationRow
from service.orders.order_identity import CopyLink, LockedOrders, OrderKey
from service.orders.order_requests import OrderRequest


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
    listings: Mapping[ItemKey, Listing] = field(default_factory=dict)
    """The listings of the items that the requests name."""
    changed_links: dict[OrderKey, CopyLink] = field(default_factory=dict)
    changed_cancellations: dict[tuple[OrderKey, str, str], CancellationRow] = field(default_factory=dict)
    moved_cancellations: set[OrderKey] = field(default_factory=set)
    incidents: list[Incident] = field(default_factory=list)
    waiting_requests: list[CancellationRequest] = field(default_factory=list)
    """Requests to cancel that wait for these orders, oldest first."""
    changed_holds: set[UUID] = field(default_factory=set)
    """Orders whose hold was released or changed; it is no longer overdue."""
    _links: dict[OrderKey, CopyLink] = field(default_factory=dict)
    _notes: list[tuple[str, str, CancelledUnits | None]] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        unit_of_work: UnitOfWork,
        locked: LockedOrders,
        cancellations: Iterable[CancellationRow],
        listings: Mapping[ItemKey, Listing],
        waiting_requests: Sequence[CancellationRequest] = (),
    ) -> Intake:
        """Returns an intake of orders that have just been read."""
        records = {(record.channel_id, record.order_id): record for record in unit_of_work.records.values()}
        intake = cls(unit_of_work, locked, records, listings=listings, _links=dict(locked.links))
        intake.waiting_requests = list(waiting_requests)
        for row in cancellations:
            if not row.is_request:
                intake.cancellations.setdefault(row.key, []).append(row)
        return intake

    def receive(self, request: OrderRequest, context: PlanningContext) -> AllocationChange:
        """Applies one request to its order, changes the book and the records to match, and returns the change."""
        key, was_linked = request.key, request.key in self._links
        read = read_status(request, context.of(key[0]).channel)
        original, separate = self._identify(read.request)
        record = self._record(original)
        request = ordered_items.expanded(read.request, record, self.listings)
        request = ordered_kits.expanded(request, record, context.catalog.kits)
        if request is not read.request:
            read = replace(read, request=request)
        if separate is not None:
            self._merge(separate, record, request)
            record.hold = record.hold or separate.hold
        record.copies = sorted(link.key for link in self._links.values() if link.original == original)
        request = with_outlet(request, record, context, self.unit_of_work.book.now)
        request = stated_contents.with_kept_destination(request, record)
        before = StatedBefore(record.channel_update_time, record.channel_status)
        is_current = self._is_current(request, record)
        self._apply_channel_status(read, record)
        is_sale = request.order.commitment is Commitment.SOLD
        is_sale = is_sale or (separate is not None and separate.commitment is Commitment.SOLD)
        change = self._decide(request, record, context, is_sale=is_sale and not read.meaning.cancels)
        if not change.event and key in self._links and not was_linked:
            change = replace(change, event="linked", description=f"Linked to its copy {'/'.join(key)}.")
        self.unit_of_work.record(change)
        if change.event and request.left_out:
            self._note(contradictions.left_out(request.left_out), event="left_out")
        for event, description, cancellation in self._notes:
            self.unit_of_work.record(AllocationChange(record, event, description, cancellation=cancellation))
        self._notes.clear()
        self._report_unmapped(change, request, context)
        if self.waiting_requests:
            self._take_up_requests(record, context)
        if is_current:
            self._apply_hold(read, record, before, context)
        if read.meaning.is_failure:
            self._report_failure(read, record, before, context)
        if request.copy_of is not None and self._original(request.copy_of) != original:
            channel = context.of(key[0]).channel
            self._raise_failure(sync_failures.of_contradiction(request, original, record, channel), record)
        return change

    def unused_keys(self) -> dict[OrderKey, UUID]:
        """The keys, with the ids meant for them, of copies whose orders have no promise of their own."""
        used = {record.id for record in self.records.values()}
        return {key: id for key, id in self.locked.ids.items() if id in self.locked.created and id not in used}

    def _note(self, description: str, *, event: str = IGNORED, cancellation: CancelledUnits | None = None) -> None:
        """Adds an event to the order's timeline that changes nothing else; none if the description is empty."""
        if description:
            self._notes.append((event, description, cancellation))

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
        move_requests(copy, record)
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

    def _identify(self, request: OrderRequest) -> tuple[OrderKey, AllocationRecord | None]:
        """The key of the order that holds the promise, and the separate record that a copy had until now.

        A copy stays the copy of its first original, whatever it calls itself later.
        """
        stored_original = self._original(request.key)
        if request.copy_of is None:
            return stored_original, None
        original = self._original(request.copy_of)
        if stored_original == original or request.key in self._links:
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

    def _take_up_requests(self, record: AllocationRecord, context: PlanningContext) -> None:
        """Takes up the requests to cancel that have waited for an order, under its own key or a copy's."""
        original = (record.channel_id, record.order_id)
        keys = {original, *(link.key for link in self._links.values() if link.original == original)}
        arrived = [x for x in self.waiting_requests if (x.channel_id, x.order_id) in keys]
        self.waiting_requests = [x for x in self.waiting_requests if x not in arrived]
        for request in arrived:
            marker = pending_cancellations.marker(request, is_applied=True)
            self.changed_cancellations[marker.key, marker.event_id, ""] = marker
            for change in take_up(context.of(record.channel_id), self.unit_of_work.book, record, request):
                self.unit_of_work.record(change)

    def _apply_channel_status(self, read: ReadRequest, record: AllocationRecord) -> None:
        """Stores the cancellation that the channel's status means: what has not shipped stays cancelled."""
        if not read.meaning.cancels:
            return
        # Money that is paid back after everything has shipped cancels nothing: it is a refund, or a return will follow.
        is_refund = read.status is ChannelStatus.REFUNDED
        if (
            is_refund
            and record.lines
            and not any(stated_contents.unshipped(record, line.line_id) for line in record.lines)
        ):
            return
        request, original = read.request, (record.channel_id, record.order_id)
        # Times of a copy are by the clock of another channel, so they say nothing about the original's.
        time = request.update_time if request.key == original else None
        event_id = f"status of {'/'.join(request.key)}" + (f" at {time.isoformat()}" if time else "")
        # The same status of the same time is stored once.
        if all(row.event_id != event_id for row in self.cancellations.get(original, [])):
            latest_time = pending_cancellations.latest_time(time, self.unit_of_work.book.now)
            cancellation = PendingCancellation(cancel_time=time, latest_time=latest_time)
            self._store_cancellation(CancellationRow(original, event_id, cancellation))

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
            channel_context=channel_context,
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
        is_repeated = request.key in self._links or request.channel_status == before.channel_status
        self._raise_failure(incident, record, is_repeated=is_repeated)

    def _raise_failure(self, incident: Incident, record: AllocationRecord, *, is_repeated: bool = True) -> None:
        """Raises an exception, and says so in the order's timeline unless it is repeated and a person knows already."""
        self.incidents.append(incident)
        if record.needs_person and is_repeated:
            return
        record.needs_person = True
        self.unit_of_work.record(AllocationChange(record, SYNC_FAILED, incident.description, intervention=SYNC_FAILED))

    def _decide(
        self, request: OrderRequest, record: AllocationRecord, context: PlanningContext, *, is_sale: bool
    ) -> AllocationChange:
        """Applies the contents and the commitment of a request. `is_sale` says whether it reports a payment."""
        key, original, now = request.key, (record.channel_id, record.order_id), self.unit_of_work.book.now
        rows = self.cancellations.get(original, [])
        was_cancelled = any(row.cancellation.is_applied for row in stated_contents.standing(rows, record))
        known = KnownOrder.of(record, is_cancelled=was_cancelled)
        if self._provides_contents(key):
            contradictions.check_edit(request, known, record.state_at(now))
        is_accepted = self._accept_contents(request, record, context)
        if request.order.commitment is Commitment.SOLD and request.update_time and key == original:
            record.sold_time = max(request.update_time, record.sold_time or request.update_time)
        standing = stated_contents.standing(rows, record)
        order = stated_contents.resulting_order(request, record, is_accepted=is_accepted, sold=is_sale or known.is_sold)
        update = OrderUpdate(request, order, known, is_accepted, was_cancelled and not standing)
        change = self._apply(update, record, rows, context.of(record.channel_id), is_cancelled=bool(standing))
        if is_sale and known.is_cancelled and (standing or record.is_empty):
            cancellations = [row.cancellation for row in standing]
            if contradictions.is_news_of_payment(
                request, known, cancellations, is_accepted=is_accepted, is_original=key == original
            ):
                return self._report_late_payment(change, context)
        if not is_accepted and self._provides_contents(key):
            self._note(contradictions.ignored_contents(request, known, record))
        return self._with_event(change, known)

    def _apply(
        self,
        update: OrderUpdate,
        record: AllocationRecord,
        rows: list[CancellationRow],
        channel_context: ChannelContext,
        *,
        is_cancelled: bool,
    ) -> AllocationChange:
        """Plans the order that a request leads to, less what is cancelled of it by `rows`."""
        order, changes_contents = update.order, update.is_accepted or update.is_reinstated
        ordered: dict[str, int] = {}
        if is_cancelled:
            cause = stated_contents.standing(rows, record)[-1].cancellation.cause
            change = cancel_whole_order(self.unit_of_work.book, record, order, cause)
        elif changes_contents or self._is_affected(record, rows, order):
            cancelled = stated_contents.cancelled_units_of(update, record, rows)
            planned = channel_context, self.unit_of_work.book, record, order, cancelled
            change = amend(*planned, hold_duration=update.request.hold_duration or limits.HOLD_DEFAULT)
            if update.is_reinstated:
                change = replace(change, description=f"Sold after its cancellation. {change.description}")
            ordered = {line.line_id: line.unit_count - cancelled.get(line.line_id, 0) for line in order.lines}
            for units in stated_contents.newly_cancelled(update, record, rows):
                sentence = f"{unit_count_text(units.unit_count)} cancelled by the channel.{units.cause.sentence()}"
                self._note(sentence, event="cancelled", cancellation=units)
        else:
            change = AllocationChange(record)
            rows = [row for row in rows if row.cancellation.is_whole]
        if is_cancelled or (changes_contents and order.commitment is Commitment.SOLD):
            change = note_excess(channel_context, self.unit_of_work.book, change, ordered)
        self._mark_applied(rows, record)
        return change

    def _mark_applied(self, rows: Iterable[CancellationRow], record: AllocationRecord) -> None:
        """Marks cancellations as applied, and notes those that the order's sale overtook before they arrived here."""
        for row in list(rows):
            cancellation = row.cancellation
            if cancellation.is_applied:
                continue
            if cancellation.is_whole and not stands(cancellation, record.sold_time):
                self._note(contradictions.ignored_cancellation(cancellation, record.sold_time))
            self._store_cancellation(replace(row, cancellation=replace(cancellation, is_applied=True)))

    def _report_late_payment(self, change: AllocationChange, context: PlanningContext) -> AllocationChange:
        """Raises an exception for a sale that does not undo the cancellation of its order; it repeats an open one."""
        record = change.record
        record.needs_person = True
        incident = contradictions.paid_after_cancellation(record, context.of(record.channel_id).channel)
        self.incidents.append(incident)
        return replace(
            change, event=incident.kind, description=incident.description, intervention=PAID_AFTER_CANCELLATION
        )

    def _provides_contents(self, key: OrderKey) -> bool:
        """Whether the contents of this order are those of the promise: an original's, or a copy's that came first."""
        link = self._links.get(key)
        return link is None or link.provides_contents

    def _is_current(self, request: OrderRequest, record: AllocationRecord) -> bool:
        """Whether a request speaks for its order, and is not older than what the channel said last."""
        link = self._links.get(request.key)
        time = link.update_time if link is not None else record.channel_update_time
        return self._provides_contents(request.key) and not stated_contents.is_older(request.update_time, time)

    def _accept_contents(self, request: OrderRequest, record: AllocationRecord, context: PlanningContext) -> bool:
        """Whether a request's contents become the order's; if so, stores the channel's time and status of them."""
        link, is_current = self._links.get(request.key), self._is_current(request, record)
        if link is not None:
            if is_current:
                self._set_link(replace(link, update_time=request.update_time or link.update_time))
                self._accept_dates(request, record, context)
            return is_current
        for copy in list(self._links.values()):
            if copy.original == request.key and copy.provides_contents:
                self._set_link(replace(copy, provides_contents=False))
        if not is_current or contradictions.is_late_cart(request, record):
            return False
        record.channel_update_time = request.update_time or record.channel_update_time
        record.channel_status = request.channel_status or record.channel_status
        self._accept_dates(request, record, context)
        return True

    def _accept_dates(self, request: OrderRequest, record: AllocationRecord, context: PlanningContext) -> None:
        """Stores the dates that a request asks for. A number of days counts from the day of the first request."""
        record.ship_by_time = request.order.ship_by_time or record.ship_by_time
        record.deliver_by = request.order.deliver_by or record.deliver_by
        if record.deliver_by is None and request.deliver_within_days is not None:
            today = local_time(self.unit_of_work.book.now, context.policy_set.time_zone).date()
            record.deliver_by = today + timedelta(days=request.deliver_within_days)

    def _is_affected(self, record: AllocationRecord, rows: Sequence[CancellationRow], order: Order) -> bool:
        """Whether an order changes although its contents do not: it is now sold, or stored cancellations apply."""
        if order.commitment is not record.commitment:
            return True
        has_pending = any(not row.cancellation.is_applied for row in rows)
        return has_pending and record.state_at(self.unit_of_work.book.now) in PROMISING

    def _with_event(self, change: AllocationChange, known: KnownOrder) -> AllocationChange:
        """The change, with an event if only the channel's time or status of the order changed."""
        record = change.record
        if change.event or not known.differs_from(record):
            return change
        status = f"; its status there is {record.channel_status}" if record.channel_status else ""
        sentence = f"The channel sent the order again with the same contents{status}."
        return replace(change, event="updated", description=sentence)

    def _report_unmapped(self, change: AllocationChange, request: OrderRequest, context: PlanningContext) -> None:
        record = change.record
        if change.decision is None:
            return
        channel = context.of(record.channel_id).channel
        self.incidents += order_exceptions.unmapped_products(record, channel)
        if record.outlet is not None and not record.outlet.is_known and record.commitment is Commitment.SOLD:
            outlet = (request.order.channel_id, record.outlet.id)
            self.incidents.append(order_exceptions.unmapped_outlet(record, outlet, channel))


async def write_intake(connection: Connection, intake: Intake, policy_set: PolicySet) -> None:
    """Writes copies, cancellations and incidents; to be called after the orders were written, with all locks held."""
    await order_identity.write(connection, intake.changed_links.values())
    await order_identity.delete_empty(connection, intake.unused_keys().values())
    await pending_cancellations.delete_moved(connection, intake.moved_cancellations)
    book = intake.unit_of_work.book
    rows = [*intake.changed_cancellations.values(), *intake.unit_of_work.cancellations_of_new]
    await pending_cancellations.write(connection, book.now, rows)
    raised, _ = await order_incidents.raise_on_orders(
        connection, policy_set, book.now, intake.incidents, book.new_id, changed=intake.unit_of_work.changed_ids
    )
    intake.unit_of_work.raised += raised
    await hold_release.resolve_overdue(connection, intake.unit_of_work, intake.changed_holds)
