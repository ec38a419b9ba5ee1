"""What happens to a promise after it was made: confirmed, released, cancelled, expired. Each in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from policies.decisions.promise import MoreThanRemaining, ShipmentShare, cancel_units
from policies.domain.model import Commitment, Outcome
from policies.domain.shipments import OPEN, ShipmentState
from policies.explanation import unit_count_text
from service.allocation import rebalancing
from service.allocation.order_counts import count_answer
from service.allocation.planner import (
    AllocationChange,
    confirm,
    decide,
    is_in_review,
    outcome_of,
    release_promises,
    with_review,
)
from service.allocation.planning_context import context
from service.allocation.unit_of_work import UnitOfWork
from service.database.database import Connection
from service.dependencies import Dependencies
from service.errors import InvalidFields, NotFound, TooManyUnits, Violation, WrongState, no_allocation
from service.orders import order_messages, order_store
from service.orders.allocation_record import CANCELLED, CONFIRMED, EXPIRED, HELD, PROMISING, RELEASED, AllocationRecord
from service.orders.order_requests import Cancellation
from service.rpc import idempotency
from service.rpc.idempotency import IdempotentRequest
from service.stock import levels
from service.stock.stock_book import Book
from truestock.v1 import allocation_service_pb2 as allocation_pb

SWEEP_ORDERS = 200
"""Expired holds of one transaction of the sweeper."""


Transition = Callable[[Connection, Book, AllocationRecord], Awaitable[AllocationChange]]


class Lifecycle:
    """Moves of allocations. Never shed: what is promised can always be confirmed and given back."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def confirm(self, allocation_id: UUID, asked: IdempotentRequest) -> allocation_pb.Allocation:
        """Plans anew what came too late or is not whole. Raises NotFound, WrongState, RequestIdReused."""
        policy_set = self._deps.policies()

        async def move(connection: Connection, book: Book, record: AllocationRecord) -> AllocationChange:
            is_planned_anew = _needs_replanning(book, record)
            if not is_planned_anew and record.outcome is not Outcome.NEEDS_REVIEW:
                return _confirm(book, record)
            skus = {line.sku for line in record.lines}
            channel_context = (await context(connection, self._deps.catalog_cache, policy_set, skus)).of(
                record.channel_id
            )
            if not is_planned_anew:
                return with_review(channel_context, book, _confirm(book, record))
            lines = record.lines
            verdict = decide(channel_context, book, record, record.order(Commitment.SOLD), timedelta())
            # The order asks for what is left of its lines; what was cancelled stays on them.
            for line, planned in zip((x for x in lines if x.uncancelled), record.lines, strict=True):
                line.cancelled += planned.cancelled
                line.oversold = planned.oversold
            record.lines = lines
            return verdict

        return await self._apply(allocation_id, asked, "confirm", move)

    async def release(self, allocation_id: UUID, asked: IdempotentRequest) -> allocation_pb.Allocation:
        """Raises NotFound, WrongState, RequestIdReused."""

        async def move(_: Connection, book: Book, record: AllocationRecord) -> AllocationChange:
            return _release(book, record)

        return await self._apply(allocation_id, asked, "release", move)

    async def extend(
        self, allocation_id: UUID, asked: IdempotentRequest, duration: timedelta
    ) -> allocation_pb.Allocation:
        """Lets a live hold live so long from now on. Raises NotFound, WrongState, RequestIdReused."""

        async def move(_: Connection, book: Book, record: AllocationRecord) -> AllocationChange:
            return _extend(book, record, duration)

        return await self._apply(allocation_id, asked, "extend", move)

    async def sweep(self) -> int:
        """Gives back holds whose time is over; returns how many. The clock has decided already, this is hygiene."""
        unit_of_work, due = await self._deps.database.transaction("sweep", self._sweep)
        if unit_of_work is not None:
            unit_of_work.count(self._deps.metrics)
        for record in due:
            self._deps.metrics.expired_holds.labels(record.channel_id).inc()
        return len(due)

    async def _apply(
        self, allocation_id: UUID, asked: IdempotentRequest, operation: str, move: Transition
    ) -> allocation_pb.Allocation:
        policy_set = self._deps.policies()

        async def work(connection: Connection) -> tuple[allocation_pb.Allocation, UnitOfWork]:
            if not await order_store.lock(connection, [allocation_id]):
                raise no_allocation(allocation_id)
            skus = await order_store.line_skus(connection, [allocation_id])
            unit_of_work = await open_unit_of_work(connection, [allocation_id], skus, self._deps.new_id)
            record = unit_of_work.records[allocation_id]
            unit_of_work.record(await move(connection, unit_of_work.book, record))
            await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, policy_set)
            await unit_of_work.write(connection)
            return order_messages.allocation(record, unit_of_work.book.now), unit_of_work

        answer, unit_of_work = await idempotency.once(
            self._deps.database, operation, asked, allocation_pb.Allocation, work
        )
        if unit_of_work is not None:
            unit_of_work.count(self._deps.metrics)
            if operation == "confirm" and unit_of_work.changes[allocation_id][0].event:
                count_answer(self._deps.metrics, unit_of_work.records[allocation_id])
        return answer

    async def _sweep(self, connection: Connection) -> tuple[UnitOfWork | None, list[AllocationRecord]]:
        ids = await order_store.lock_expired(connection, SWEEP_ORDERS)
        if not ids:
            return None, []
        unit_of_work = await open_unit_of_work(
            connection, ids, await order_store.promised_skus(connection, ids), self._deps.new_id
        )
        due = [record for record in unit_of_work.records.values() if record.state_at(unit_of_work.book.now) == EXPIRED]
        for record in due:
            unit_of_work.record(_expire(unit_of_work.book, record))
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, self._deps.policies())
        await unit_of_work.write(connection)
        return unit_of_work, due


async def open_unit_of_work(
    connection: Connection, ids: Sequence[UUID], skus: Iterable[str], new_id: Callable[[], UUID]
) -> UnitOfWork:
    """The stock of these SKUs and the contents of orders that are locked."""
    locked = await levels.lock(connection, skus)
    unit_of_work = UnitOfWork(await levels.open_book(connection, locked, new_id))
    unit_of_work.load((await order_store.read(connection, ids)).values())
    return unit_of_work


def _needs_replanning(book: Book, record: AllocationRecord) -> bool:
    state = record.state_at(book.now)
    return state == EXPIRED or (state == HELD and bool(record.shortages))


def _confirm(book: Book, record: AllocationRecord) -> AllocationChange:
    state = record.state_at(book.now)
    if state == CONFIRMED:
        return AllocationChange(record)
    if state == HELD:
        return confirm(book, record)
    advice = "if the order is paid, send it again with AllocateOrder as SOLD"
    raise WrongState("allocation", str(record.id), state, CONFIRMED, advice)


def _release(book: Book, record: AllocationRecord) -> AllocationChange:
    state = record.state_at(book.now)
    if state in (CONFIRMED, CANCELLED):
        raise WrongState(
            "allocation", str(record.id), state, RELEASED, "take units off it with CancelOrderLines instead"
        )
    if state != HELD:
        # Nothing is promised, which is what the caller wants.
        return AllocationChange(record)
    units = sum(record.promised().values())
    release_promises(book, record)
    record.state, record.expire_time, record.update_time = RELEASED, None, book.now
    return AllocationChange(record, "released", f"{unit_count_text(units)} given back on request.")


def _extend(book: Book, record: AllocationRecord, duration: timedelta) -> AllocationChange:
    state = record.state_at(book.now)
    if state != HELD:
        advice = "a sold order does not expire" if state == CONFIRMED else "hold it anew with AllocateOrder"
        raise WrongState("allocation", str(record.id), state, HELD, advice)
    record.expire_time, record.update_time = book.now + duration, book.now
    return AllocationChange(record, "extended", f"The hold lives on until {record.expire_time:%Y-%m-%d %H:%M:%S} UTC.")


def _expire(book: Book, record: AllocationRecord) -> AllocationChange:
    record.shipments, record.shortages = [], []
    record.state, record.update_time = EXPIRED, book.now
    return AllocationChange(record, "expired", "Nobody confirmed in time; the units were given back.")


def cancel_lines(book: Book, record: AllocationRecord, cancellations: Sequence[Cancellation]) -> AllocationChange:
    """Takes units off lines, all of them or none. Raises NotFound, WrongState, TooManyUnits, InvalidFields."""
    state = record.state_at(book.now)
    if state not in PROMISING:
        raise WrongState("allocation", str(record.id), state, CANCELLED, "nothing of it is promised any more")
    _check_lines(record, cancellations)
    in_review = is_in_review(record)
    for cancellation in cancellations:
        _cancel_units(book, record, cancellation)
    if record.commitment is Commitment.HOLD:
        record.shipments = [s for s in record.shipments if s.units]
    record.update_time = book.now
    if record.is_empty:
        record.state = CANCELLED if record.commitment is Commitment.SOLD else RELEASED
        record.expire_time = None
    elif record.outcome is not Outcome.ALLOCATED:
        record.outcome = outcome_of(record, in_review=in_review)
    units = sum(c.unit_count for c in cancellations)
    return AllocationChange(record, "cancelled", f"{unit_count_text(units)} cancelled.")


def _check_lines(record: AllocationRecord, cancellations: Sequence[Cancellation]) -> None:
    known = {line.line_id for line in record.lines}
    missing = {f"cancellations[{i}].line_id": c.line_id for i, c in enumerate(cancellations) if c.line_id not in known}
    if missing:
        raise NotFound("order line", missing, f"lines are: {', '.join(sorted(known)[:20])}")


def _cancel_units(book: Book, record: AllocationRecord, cancellation: Cancellation) -> None:
    """Takes units off one line: short ones first, then from the named shipment, else from the worst-ranked."""
    line = record.line(cancellation.line_id)
    open_ones = [s for s in record.shipments if s.state in OPEN and line.line_id in s.units]
    shares = [ShipmentShare(str(s.id), s.units[line.line_id]) for s in open_ones]
    short = sum(s.unit_count for s in record.shortages if s.line_id == line.line_id)
    named = str(cancellation.shipment_id) if cancellation.shipment_id else None
    try:
        cut = cancel_units(shares, short, cancellation.unit_count, shipment_id=named)
    except MoreThanRemaining as error:
        raise TooManyUnits(line.line_id, error.unit_count, error.remaining, "cancelled") from error
    except ValueError as error:
        raise InvalidFields([Violation("cancellations.shipment_id", str(error))]) from error
    record.reduce_shortages(line.line_id, cut.short)
    for share in cut.shares:
        shipment = next(s for s in open_ones if str(s.id) == share.shipment_id)
        part = record.line_units(shipment, line.line_id, share.unit_count)
        book.release(part, was_held=record.state == HELD, reason="cancelled")
        shipment.remove_units(line.line_id, share.unit_count, book.now, ended=ShipmentState.CANCELLED)
    line.cancelled += cancellation.unit_count
