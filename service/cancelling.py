"""Cancellations by allocation or by order, also of orders that have not come yet. What one does to a record is elsewhere.

A cancellation that has a name, a time, or is about a whole order is kept, so that it holds whatever comes after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from uuid import UUID

from policies.cancellations import KeptCancellation
from service import answers, kept_cancellations, levels, names, order_writing, orders, requests
from service.allocating import remember
from service.book import Book
from service.database import Connection, Database
from service.errors import InvalidFields, NotFound, Violation
from service.kept_cancellations import CancellationRow
from service.lifecycle import cancel_lines
from service.metrics import Metrics
from service.names import Link, Name
from service.order_requests import CancelRequest
from service.order_writing import Changes
from service.planning import Verdict
from service.record import AllocationRecord
from service.requests import Asked
from service.takings import cancel_everything
from service.tally import Tally, count_cancelled
from truestock.v1 import allocation_service_pb2 as allocation_pb

Counted = tuple[Tally, AllocationRecord] | None


class CancelDesk:
    """Never shed: what is cancelled can be sold to somebody else."""

    def __init__(self, database: Database, metrics: Metrics, new_id: Callable[[], UUID]) -> None:
        self._database = database
        self._metrics = metrics
        self._new_id = new_id

    async def cancel(self, request: CancelRequest, asked: Asked) -> allocation_pb.Allocation | None:
        """The order as it is then; None where it has not come yet, and the cancellation waits for it.

        Raises NotFound, WrongState, TooManyUnits, InvalidFields, RequestIdReused.
        """

        async def attempt(known: Mapping[Name, Link]) -> tuple[allocation_pb.Allocation, Counted]:
            async def work(connection: Connection) -> tuple[allocation_pb.Allocation, Counted]:
                return await self._work(connection, request, asked, known)

            answer, counted = await requests.once(
                self._database, "cancel", asked, allocation_pb.Allocation, work
            )
            return answer, counted

        answer, counted = await names.until_locked(attempt)
        if counted is not None:
            count_cancelled(self._metrics, *counted)
        return answer if answer.allocation_id else None

    async def _work(
        self, connection: Connection, request: CancelRequest, asked: Asked, known: Mapping[Name, Link]
    ) -> tuple[allocation_pb.Allocation, Counted]:
        name = request.name or await _name_of(connection, request)
        locked = await names.lock(connection, [name], known, self._new_id)
        original = locked.original(name)
        allocation_id = locked.ids[original]
        if allocation_id in locked.made:
            await self._keep_for_later(connection, request, asked, original)
            await names.drop(connection, locked.made)
            return allocation_pb.Allocation(), None
        open_levels = await levels.lock(connection, await orders.line_skus(connection, [allocation_id]))
        book = await levels.open_book(connection, open_levels, self._new_id)
        record = (await orders.read(connection, [allocation_id]))[allocation_id]
        kept = await kept_cancellations.read(connection, [original])
        before = Tally.of(record)
        event_id = _event_id(request, asked)
        if all(row.event_id != event_id for row in kept):
            verdict = _cancelled(book, record, request)
            await self._write(connection, book, verdict)
            if request.event_id or request.cancel_time or request.is_whole:
                rows = _rows(request, original, event_id, book.now, is_applied=True)
                await kept_cancellations.write(connection, book.now, rows)
        return answers.allocation(record, book.now), (before, record)

    async def _write(self, connection: Connection, book: Book, verdict: Verdict) -> None:
        changes = Changes()
        remember(changes, verdict, book, replaced=True)
        await levels.write(connection, book)
        await order_writing.write(connection, changes)

    async def _keep_for_later(
        self, connection: Connection, request: CancelRequest, asked: Asked, name: Name
    ) -> None:
        named = [
            Violation(f"cancellations[{place}].shipment_id", "names a shipment of an order that has not come; leave it out")
            for place, one in enumerate(request.cancellations)
            if one.shipment_id is not None
        ]
        if named:
            raise InvalidFields(named)
        now = await levels.clock(connection)
        rows = _rows(request, name, _event_id(request, asked), now, is_applied=False)
        await kept_cancellations.write(connection, now, rows)


async def _name_of(connection: Connection, request: CancelRequest) -> Name:
    assert request.allocation_id is not None
    found = await orders.read(connection, [request.allocation_id])
    if not found:
        advice = "look it up by its order with GetAllocation or `truestock explain CHANNEL/ORDER`"
        raise NotFound("allocation", {"allocation_id": str(request.allocation_id)}, advice)
    record = found[request.allocation_id]
    return record.channel_id, record.order_id
