"""What happens to a promise after it was made: confirmed, released, cancelled, expired. Each in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import timedelta
from uuid import UUID

from policies.model import Commitment, Outcome
from policies.policy import PolicySet
from policies.promise import MoreThanIsLeft, Share, shrink
from policies.reasons import units as counted
from service import answers, catalogue, levels, order_writing, orders, requests
from service.allocating import remember
from service.book import Book
from service.catalogue import CatalogueCache
from service.database import Connection, Database
from service.errors import InvalidFields, NotFound, TooManyUnits, Violation, WrongState
from service.metrics import Metrics
from service.order_requests import Cancellation
from service.order_writing import Changes
from service.planning import Surroundings, Verdict, confirm, decide, give_back, sent_to_review
from service.record import CANCELLED, CONFIRMED, EXPIRED, HELD, PROMISING, RELEASED, AllocationRecord, ShortageRecord
from service.requests import Asked
from service.tally import Tally, count_cancelled, count_order
from truestock.v1 import allocation_service_pb2 as allocation_pb

SWEEP_ORDERS = 200
"""Expired holds of one transaction of the sweeper."""


Move = Callable[[Connection, Book, AllocationRecord], Awaitable[Verdict]]


class Lifecycle:
    """Moves of allocations. Never shed: what is promised can always be confirmed and given back."""

    def __init__(self, database: Database, cache: CatalogueCache, metrics: Metrics, new_id: Callable[[], UUID]) -> None:
        self._database = database
        self._cache = cache
        self._metrics = metrics
        self._new_id = new_id

    async def confirm(self, allocation_id: UUID, asked: Asked, policy_set: PolicySet) -> allocation_pb.Allocation:
        """Plans anew what came too late or is not whole. Raises NotFound, WrongState, RequestIdReused."""

        async def move(connection: Connection, book: Book, record: AllocationRecord) -> Verdict:
            if _is_planned_anew(book, record):
                return await self._plan_anew(connection, book, record, policy_set)
            verdict = _confirm(book, record)
            if record.outcome is not Outcome.NEEDS_REVIEW:
                return verdict
            return sent_to_review(await self._surroundings(connection, record, policy_set), book, verdict)

        return await self._move(allocation_id, asked, "confirm", move)

    async def _plan_anew(
        self, connection: Connection, book: Book, record: AllocationRecord, policy_set: PolicySet
    ) -> Verdict:
        surroundings = await self._surroundings(connection, record, policy_set)
        lines = record.lines
        verdict = decide(surroundings, book, record, record.order(Commitment.SOLD), timedelta())
        # The order asks for what is left of its lines; what was cancelled stays on them.
        record.lines = lines
        return verdict

    async def _surroundings(
        self, connection: Connection, record: AllocationRecord, policy_set: PolicySet
    ) -> Surroundings:
        version, products = await catalogue.products(connection, {line.sku for line in record.lines})
        known = await self._cache.at(connection, version)
        return Surroundings(policy_set, known.locations, known.channels[record.channel_id], products)

    async def release(self, allocation_id: UUID, asked: Asked) -> allocation_pb.Allocation:
        """Raises NotFound, WrongState, RequestIdReused."""

        async def move(_: Connection, book: Book, record: AllocationRecord) -> Verdict:
            return _release(book, record)

        return await self._move(allocation_id, asked, "release", move)

    async def cancel(
        self, allocation_id: UUID, asked: Asked, cancellations: Sequence[Cancellation]
    ) -> allocation_pb.Allocation:
        """Raises NotFound, WrongState, TooManyUnits, InvalidFields, RequestIdReused."""

        async def move(_: Connection, book: Book, record: AllocationRecord) -> Verdict:
            return cancel_units(book, record, cancellations)

        return await self._move(allocation_id, asked, "cancel", move)

    async def sweep(self) -> int:
        """Gives back holds whose time is over; returns how many. The clock has decided already, this is hygiene."""
        records = await self._database.transaction("sweep", self._sweep)
        for record in records:
            self._metrics.expired_holds.labels(record.channel_id).inc()
        return len(records)

    async def _move(self, allocation_id: UUID, asked: Asked, operation: str, move: Move) -> allocation_pb.Allocation:
        async def work(connection: Connection) -> tuple[allocation_pb.Allocation, tuple[Tally, Verdict]]:
            if not await orders.lock(connection, [allocation_id]):
                advice = "look it up by its order with GetAllocation or `truestock explain CHANNEL/ORDER`"
                raise NotFound("allocation", {"allocation_id": str(allocation_id)}, advice)
            skus = await orders.line_skus(connection, [allocation_id])
            book, records = await _open(connection, [allocation_id], skus, self._new_id)
            before = Tally.of(records[0])
            verdict = await move(connection, book, records[0])
            await _write(connection, book, [verdict])
            return answers.allocation(verdict.record, book.now), (before, verdict)

        answer, counted = await requests.once(self._database, operation, asked, allocation_pb.Allocation, work)
        if counted is not None:
            self._count(operation, *counted)
        return answer

    async def _sweep(self, connection: Connection) -> list[AllocationRecord]:
        ids = await orders.lock_expired(connection, SWEEP_ORDERS)
        if not ids:
            return []
        book, records = await _open(connection, ids, await orders.promised_skus(connection, ids), self._new_id)
        due = [record for record in records if record.state_at(book.now) == EXPIRED]
        await _write(connection, book, [_expire(book, record) for record in due])
        return due

    def _count(self, operation: str, before: Tally, verdict: Verdict) -> None:
        if operation == "confirm" and verdict.event:
            count_order(self._metrics, before, verdict)
        if operation == "cancel":
            count_cancelled(self._metrics, before, verdict.record)


async def _open(
    connection: Connection, ids: Sequence[UUID], skus: Iterable[str], new_id: Callable[[], UUID]
) -> tuple[Book, list[AllocationRecord]]:
    """The stock of these SKUs and the contents of orders that are locked."""
    locked = await levels.lock(connection, skus)
    book = await levels.open_book(connection, locked, new_id)
    records = await orders.read(connection, ids)
    return book, [records[allocation_id] for allocation_id in ids]


async def _write(connection: Connection, book: Book, verdicts: Sequence[Verdict]) -> None:
    changes = Changes()
    for verdict in verdicts:
        remember(changes, verdict, book, replaced=True)
    await levels.write(connection, book)
    await order_writing.write(connection, changes)


def _is_planned_anew(book: Book, record: AllocationRecord) -> bool:
    state = record.state_at(book.now)
    return state == EXPIRED or (state == HELD and bool(record.shortages))


def _confirm(book: Book, record: AllocationRecord) -> Verdict:
    state = record.state_at(book.now)
    if state == CONFIRMED:
        return Verdict(record)
    if state == HELD:
        return confirm(book, record)
    advice = "if the order is paid, send it again with AllocateOrder as SOLD"
    raise WrongState(str(record.id), state, CONFIRMED, advice)


def _release(book: Book, record: AllocationRecord) -> Verdict:
    state = record.state_at(book.now)
    if state in (CONFIRMED, CANCELLED):
        raise WrongState(str(record.id), state, RELEASED, "take units off it with CancelOrderLines instead")
    if state != HELD:
        # Nothing is promised, which is what the caller wants.
        return Verdict(record)
    units = sum(record.promised().values())
    give_back(book, record)
    record.state, record.expire_time, record.update_time = RELEASED, None, book.now
    return Verdict(record, "released", f"{counted(units)} given back on request.")


def _expire(book: Book, record: AllocationRecord) -> Verdict:
    record.shipments, record.shortages = [], []
    record.state, record.update_time = EXPIRED, book.now
    return Verdict(record, "expired", "Nobody confirmed in time; the units were given back.")


def cancel_units(book: Book, record: AllocationRecord, cancellations: Sequence[Cancellation]) -> Verdict:
    """Takes units off an order, all of them or none. Raises WrongState, NotFound, TooManyUnits, InvalidFields."""
    state = record.state_at(book.now)
    if state not in PROMISING:
        raise WrongState(str(record.id), state, CANCELLED, "nothing of it is promised any more")
    _check_lines(record, cancellations)
    for cancellation in cancellations:
        _take_off(book, record, cancellation)
    record.shipments = [s for s in record.shipments if s.units]
    record.update_time = book.now
    if all(line.wanted == 0 for line in record.lines):
        record.state = CANCELLED if record.commitment is Commitment.SOLD else RELEASED
        record.expire_time = None
    elif record.outcome is Outcome.PARTLY_ALLOCATED:
        record.outcome = _outcome_left(record)
    units = sum(c.unit_count for c in cancellations)
    return Verdict(record, "cancelled", f"{counted(units)} cancelled.")


def _outcome_left(record: AllocationRecord) -> Outcome:
    """What an order that was partly allocated has come to, by what was cancelled of it."""
    if not record.shortages:
        return Outcome.ALLOCATED
    if record.shipments:
        return Outcome.PARTLY_ALLOCATED
    return Outcome.NEEDS_REVIEW if record.commitment is Commitment.SOLD else Outcome.UNFILLABLE


def _check_lines(record: AllocationRecord, cancellations: Sequence[Cancellation]) -> None:
    known = {line.line_id for line in record.lines}
    missing = {f"cancellations[{i}].line_id": c.line_id for i, c in enumerate(cancellations) if c.line_id not in known}
    if missing:
        raise NotFound("order line", missing, f"lines are: {', '.join(sorted(known)[:20])}")


def _take_off(book: Book, record: AllocationRecord, cancellation: Cancellation) -> None:
    """Takes units off one line: short ones first, then from the named shipment, else from the worst-ranked."""
    line = next(x for x in record.lines if x.line_id == cancellation.line_id)
    shares = [Share(str(s.id), s.units[line.line_id]) for s in record.shipments if line.line_id in s.units]
    short = sum(s.unit_count for s in record.shortages if s.line_id == line.line_id)
    named = str(cancellation.shipment_id) if cancellation.shipment_id else None
    try:
        cut = shrink(shares, short, cancellation.unit_count, named=named)
    except MoreThanIsLeft as error:
        raise TooManyUnits(line.line_id, error.unit_count, error.left) from error
    except ValueError as error:
        raise InvalidFields([Violation("cancellations.shipment_id", str(error))]) from error
    record.shortages = _shortened(record.shortages, line.line_id, cut.short)
    for share in cut.shares:
        shipment = next(s for s in record.shipments if str(s.id) == share.shipment_id)
        shipment.units[line.line_id] -= share.unit_count
        if not shipment.units[line.line_id]:
            del shipment.units[line.line_id]
        key = (line.sku, shipment.location_id)
        book.release(record.id, line.line_id, key, share.unit_count, was_held=record.state == HELD)
    line.cancelled += cancellation.unit_count


def _shortened(shortages: Sequence[ShortageRecord], line_id: str, units: int) -> list[ShortageRecord]:
    left = units
    kept: list[ShortageRecord] = []
    for short in shortages:
        taken = min(left, short.unit_count) if short.line_id == line_id else 0
        left -= taken
        if short.unit_count > taken:
            rest = short.unit_count - taken
            kept.append(ShortageRecord(short.line_id, short.sku, rest, short.kind, short.cause))
    return kept
