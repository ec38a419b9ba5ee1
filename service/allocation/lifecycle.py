"""Confirms, releases, extends, expires and cancels allocations, each in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from policies.decisions.cancellations import CancellationCause, CancelledUnits
from policies.decisions.promise import MoreThanRemaining, ShipmentShare, cancel_units
from policies.domain.model import Commitment, Outcome
from policies.domain.shipments import OPEN, ShipmentState
from policies.explanation import unit_count_text
from service import limits
from service.allocation.handling_renewal import must_renew
from service.allocation.intake import contradictions
from service.allocation.order_counts import count_answer
from service.allocation.planner import (
    AllocationChange,
    confirm,
    decide,
    is_in_review,
    may_confirm,
    outcome_of,
    release_promises,
    with_review,
)
from service.allocation.planning_context import PlanningContext, context, products_for_dates
from service.allocation.replanning import rebalancing
from service.allocation.shipment_dates import renew_dates
from service.allocation.unit_of_work import UnitOfWork
from service.background import in_turns
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import InvalidFields, NotFound, TooManyUnits, Violation, WrongState, no_allocation
from service.orders import order_identity, order_messages, order_store
from service.orders.allocation_record import CANCELLED, CONFIRMED, EXPIRED, HELD, PROMISING, RELEASED, AllocationRecord
from service.orders.cancellations import pending_cancellations
from service.orders.order_requests import Cancellation, check_hold_duration
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.stock import levels
from service.stock.publication_log import PublicationLog
from service.stock.stock_book import Book
from truestock.v1 import allocation_service_pb2 as allocation_pb

_CONFIRMABLE = (HELD, CONFIRMED, EXPIRED)
"""States of orders that a payment confirms or replans."""
SWEEP_ORDERS = 200
"""Expired holds that the sweeper handles in one transaction."""


Transition = Callable[[Connection, Book, AllocationRecord], Awaitable[AllocationChange]]


class Lifecycle:
    """Changes of existing allocations. Never shed under load: a hold can always be confirmed and released."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def confirm(self, allocation_id: UUID, request: IdempotentRequest) -> allocation_pb.Allocation:
        """Confirms a hold; replans one that has expired, is short, or may no longer use a location of its plan.

        Raises NotFound, WrongState, RequestIdReused.
        """
        policy_set = self._deps.policies()

        async def transition(connection: Connection, book: Book, record: AllocationRecord) -> AllocationChange:
            if record.state_at(book.now) not in _CONFIRMABLE:
                advice = "if the order is paid, send it again with AllocateOrder as SOLD"
                advice = await self._advice(connection, record, otherwise=advice)
                raise WrongState("allocation", str(record.id), record.state, CONFIRMED, advice)
            needs_replanning = _needs_replanning(book, record)
            must_check = must_renew(record) or any(shipment.is_outdated for shipment in record.shipments)
            if not needs_replanning and not must_check and record.outcome is not Outcome.NEEDS_REVIEW:
                return _confirm(book, record)
            channel_context = (
                await context(connection, self._deps.catalog_cache, policy_set, record.skus, book=book)
            ).of(record.channel_id)
            is_usable = record.state_at(book.now) != HELD or may_confirm(channel_context, book, record)
            if not needs_replanning and is_usable:
                return with_review(channel_context, book, _confirm(book, record))
            lines = record.lines
            order = record.order(Commitment.SOLD)
            change = await in_turns(decide, channel_context, book, record, order, timedelta())
            # Only the uncancelled units of each line are planned; cancelled units stay on the stored lines.
            for line, planned in zip((x for x in lines if x.uncancelled), record.lines, strict=True):
                line.cancelled += planned.cancelled
                line.oversold, line.withheld = planned.oversold, planned.withheld
            record.lines = lines
            return change

        async def dated(connection: Connection, book: Book, record: AllocationRecord) -> AllocationChange:
            was_held = record.state == HELD
            change = await transition(connection, book, record)
            # The catalog that was read last will do for dates: a plain confirmation reads it for nothing else.
            catalog = self._deps.catalog_cache.newest
            if was_held and record.state == CONFIRMED and record.channel_id in catalog.channels:
                products = await products_for_dates(connection, policy_set, record.skus)
                renew_dates(PlanningContext(policy_set, catalog, products).of(record.channel_id), record, book.now)
            return change

        return await self._apply(allocation_id, request, "confirm", dated)

    async def release(self, allocation_id: UUID, request: IdempotentRequest) -> allocation_pb.Allocation:
        """Releases a hold. Raises NotFound, WrongState, RequestIdReused."""

        async def transition(_: Connection, book: Book, record: AllocationRecord) -> AllocationChange:
            return _release(book, record)

        return await self._apply(allocation_id, request, "release", transition)

    async def extend(
        self, allocation_id: UUID, request: IdempotentRequest, duration: timedelta
    ) -> allocation_pb.Allocation:
        """Sets a new expiry for a live hold, counted from now.

        Raises NotFound, WrongState, RequestIdReused, InvalidFields (its channel does not allow holds of that length).
        """
        policy_set = self._deps.policies()

        async def transition(connection: Connection, book: Book, record: AllocationRecord) -> AllocationChange:
            if duration > limits.HOLD_LONGEST:
                read = await context(connection, self._deps.catalog_cache, policy_set, ())
                violations = check_hold_duration(duration, read.of(record.channel_id).channel)
                if violations:
                    raise InvalidFields(violations)
            state = record.state_at(book.now)
            if state == HELD:
                return _extend(book, record, duration)
            advice = "a sold order does not expire"
            if state != CONFIRMED:
                advice = await self._advice(connection, record, otherwise="create a new hold with AllocateOrder")
            raise WrongState("allocation", str(record.id), state, HELD, advice)

        return await self._apply(allocation_id, request, "extend", transition)

    async def _advice(self, connection: Connection, record: AllocationRecord, *, otherwise: str) -> str:
        """What can still be done with an order that promises nothing. Reads the database, so it is for errors only."""
        key = (record.channel_id, record.order_id)
        original = (await order_identity.find(connection, [key], self._deps.new_id)).original(key)
        if original != key:
            return f"it was merged into order {'/'.join(original)}, so use that order's allocation_id"
        if not record.is_empty:
            return otherwise
        rows = await pending_cancellations.read(connection, [key])
        return contradictions.advice_after_cancellation(
            [row.cancellation for row in rows if not row.is_request], record.sold_time
        )

    async def sweep(self) -> int:
        """Releases expired holds; returns how many. Queries ignore an expired hold already: this only tidies up."""
        _, expired = await self._deps.database.transaction("sweep", self._sweep, self._count_expired)
        return len(expired)

    def _count_expired(self, swept: tuple[UnitOfWork | None, list[AllocationRecord]]) -> None:
        unit_of_work, expired = swept
        if unit_of_work is not None:
            unit_of_work.count(self._deps.metrics)
        for record in expired:
            self._deps.metrics.orders.expired_holds.labels(record.channel_id).inc()

    async def _apply(
        self, allocation_id: UUID, request: IdempotentRequest, operation: str, transition: Transition
    ) -> allocation_pb.Allocation:
        policy_set = self._deps.policies()

        async def work(connection: Connection) -> tuple[allocation_pb.Allocation, UnitOfWork]:
            if not await order_store.lock(connection, [allocation_id]):
                raise no_allocation(allocation_id)
            skus = await order_store.line_skus(connection, [allocation_id])
            unit_of_work = await open_unit_of_work(
                connection, [allocation_id], skus, self._deps.new_id, self._deps.publication_log
            )
            record = unit_of_work.records[allocation_id]
            unit_of_work.record(await transition(connection, unit_of_work.book, record))
            await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, policy_set)
            await unit_of_work.write(connection)
            return order_messages.allocation(record, unit_of_work.book.now), unit_of_work

        def count(unit_of_work: UnitOfWork) -> None:
            unit_of_work.count(self._deps.metrics)
            if operation == "confirm" and unit_of_work.changes[allocation_id][0].event:
                count_answer(self._deps.metrics, unit_of_work.records[allocation_id], unit_of_work.book.now)

        return await idempotency.once(
            self._deps.database, operation, request, allocation_pb.Allocation, work, count=count
        )

    async def _sweep(self, connection: Connection) -> tuple[UnitOfWork | None, list[AllocationRecord]]:
        ids = await order_store.lock_expired(connection, SWEEP_ORDERS)
        if not ids:
            return None, []
        unit_of_work = await open_unit_of_work(
            connection, ids, await order_store.promised_skus(connection, ids), self._deps.new_id
        )
        expired = [
            record for record in unit_of_work.records.values() if record.state_at(unit_of_work.book.now) == EXPIRED
        ]
        for record in expired:
            unit_of_work.record(_expire(unit_of_work.book, record))
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, self._deps.policies())
        await unit_of_work.write(connection)
        return unit_of_work, expired


async def open_unit_of_work(
    connection: Connection,
    ids: Sequence[UUID],
    skus: Iterable[str],
    new_id: Callable[[], UUID],
    publication_log: PublicationLog | None = None,
) -> UnitOfWork:
    """Locks the stock levels of these SKUs and reads the orders, which are locked already.

    `publication_log` is needed where orders may be oversold without a cause of their own.
    """
    locked = await levels.lock(connection, skus)
    unit_of_work = UnitOfWork(await levels.open_book(connection, locked, new_id), publication_log)
    unit_of_work.load((await order_store.read(connection, ids)).values())
    return unit_of_work


def _needs_replanning(book: Book, record: AllocationRecord) -> bool:
    state = record.state_at(book.now)
    return state == EXPIRED or (state == HELD and bool(record.shortages))


def _confirm(book: Book, record: AllocationRecord) -> AllocationChange:
    if record.state == CONFIRMED:
        return AllocationChange(record)
    return confirm(book, record)


def _release(book: Book, record: AllocationRecord) -> AllocationChange:
    state = record.state_at(book.now)
    if state == CONFIRMED:
        raise WrongState(
            "allocation", str(record.id), state, RELEASED, "cancel its units with CancelOrderLines instead"
        )
    if state != HELD:
        # No units are promised, so nothing needs to be released.
        return AllocationChange(record)
    units = sum(record.promised().values())
    release_promises(book, record)
    record.state, record.expire_time = RELEASED, None
    return AllocationChange(record, "released", f"{unit_count_text(units)} released on request.")


def _extend(book: Book, record: AllocationRecord, duration: timedelta) -> AllocationChange:
    record.expire_time = book.now + duration
    return AllocationChange(record, "extended", f"The hold now expires at {record.expire_time:%Y-%m-%d %H:%M:%S} UTC.")


def _expire(book: Book, record: AllocationRecord) -> AllocationChange:
    record.shipments, record.shortages = [], []
    record.state = EXPIRED
    return AllocationChange(record, "expired", "The hold expired before it was confirmed; its units were released.")


def cancel_lines(
    book: Book, record: AllocationRecord, cancellations: Sequence[Cancellation], cause: CancellationCause
) -> AllocationChange:
    """Cancels units of lines, all of them or none. Raises NotFound, WrongState, TooManyUnits, InvalidFields."""
    state = record.state_at(book.now)
    if state not in PROMISING:
        raise WrongState("allocation", str(record.id), state, CANCELLED, "it has no promised units")
    _check_lines(record, cancellations)
    in_review = is_in_review(record)
    for cancellation in cancellations:
        _cancel_units(book, record, cancellation)
    if record.commitment is Commitment.HOLD:
        record.shipments = [s for s in record.shipments if s.units]
    if record.is_empty:
        record.state = CANCELLED if record.commitment is Commitment.SOLD else RELEASED
        record.expire_time = None
    elif record.outcome is not Outcome.ALLOCATED:
        record.outcome = outcome_of(record, in_review=in_review)
    units = sum(c.unit_count for c in cancellations)
    sentence = f"{unit_count_text(units)} cancelled.{cause.sentence()}"
    return AllocationChange(record, "cancelled", sentence, cancellation=CancelledUnits(units, cause))


def _check_lines(record: AllocationRecord, cancellations: Sequence[Cancellation]) -> None:
    ids = {line.line_id for line in record.lines}
    missing = {f"cancellations[{i}].line_id": c.line_id for i, c in enumerate(cancellations) if c.line_id not in ids}
    if missing:
        raise NotFound("order line", missing, f"lines are: {', '.join(sorted(ids)[:20])}")


def _cancel_units(book: Book, record: AllocationRecord, cancellation: Cancellation) -> None:
    """Cancels units of one line: short units first, then those of the named shipment, then of the worst-ranked."""
    line = record.line(cancellation.line_id)
    open_shipments = [s for s in record.shipments if s.state in OPEN and line.line_id in s.units]
    shares = [ShipmentShare(str(s.id), s.units[line.line_id]) for s in open_shipments]
    short = sum(s.unit_count for s in record.shortages if s.line_id == line.line_id)
    named = str(cancellation.shipment_id) if cancellation.shipment_id else None
    try:
        partial = cancel_units(shares, short, cancellation.unit_count, shipment_id=named)
    except MoreThanRemaining as error:
        shipped = record.shipped_of_line(line.line_id)
        raise TooManyUnits(line.line_id, error.unit_count, error.remaining, "cancelled", shipped) from error
    except ValueError as error:
        raise InvalidFields([Violation("cancellations.shipment_id", str(error))]) from error
    record.reduce_shortages(line.line_id, partial.short)
    for share in partial.shares:
        shipment = next(s for s in open_shipments if str(s.id) == share.shipment_id)
        line_units = record.line_units(shipment, line.line_id, share.unit_count)
        book.release(line_units, was_held=record.state == HELD, reason="cancelled")
        shipment.remove_units(line.line_id, share.unit_count, book.now, ended=ShipmentState.CANCELLED)
    line.cancelled += cancellation.unit_count
