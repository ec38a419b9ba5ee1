"""Answers requests to cancel whose deadline has passed as their channel takes for granted.

Several processes on one database may do so: each skips orders that another has locked. The database's clock decides,
so a request whose deadline passes while no service runs is answered by the next one that starts.
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

from service.allocation.cancellations.cancellation_answers import answer_due
from service.allocation.lifecycle import open_unit_of_work
from service.allocation.planning_context import context
from service.allocation.replanning import rebalancing
from service.allocation.unit_of_work import UnitOfWork
from service.database.database import Connection
from service.dependencies import Dependencies
from service.orders import order_store
from service.orders.cancellations import cancellation_request_store

BATCH = 100
"""Requests that one sweep looks at."""


class CancellationDeadlines:
    """Each sweep answers what is due, one order in a transaction."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def run(self) -> None:
        """One sweep over all requests."""
        rows = await self._deps.database.unlocked(
            "find_due_requests", partial(cancellation_request_store.due, count=BATCH)
        )
        for allocation_id in dict.fromkeys(row["allocation_id"] for row in rows):
            await self._deps.database.transaction(
                "answer_due_requests", partial(self._answer, allocation_id=allocation_id), self._count
            )

    async def _answer(self, connection: Connection, allocation_id: UUID) -> UnitOfWork | None:
        if not await order_store.lock_if_free(connection, [allocation_id]):
            return None
        skus = await order_store.line_skus(connection, [allocation_id])
        unit_of_work = await open_unit_of_work(connection, [allocation_id], skus, self._deps.new_id)
        record, book, policy_set = unit_of_work.records[allocation_id], unit_of_work.book, self._deps.policies()
        channel = (await context(connection, self._deps.catalog_cache, policy_set, ())).of(record.channel_id).channel
        unit_of_work.answer_ended_requests()
        for request in record.cancellation_requests:
            if request.is_open and request.deadline is not None and request.deadline <= book.now:
                for change in answer_due(channel, book, record, request):
                    unit_of_work.record(change)
                unit_of_work.answer_ended_requests()
        await rebalancing.rebalance(connection, unit_of_work, self._deps.catalog_cache, policy_set)
        await unit_of_work.write(connection)
        return unit_of_work

    def _count(self, unit_of_work: UnitOfWork | None) -> None:
        if unit_of_work is not None:
            unit_of_work.count(self._deps.metrics)
