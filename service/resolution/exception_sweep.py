"""Periodic work on exceptions: escalates overdue ones, raises late shipments and stuck orders, resolves them again.

Several processes on one database may run it: each skips what another has locked. The database's clock decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC
from functools import partial
from uuid import UUID

import asyncpg
from sqlalchemy import func, literal_column, select

from policies.domain.resolutions import COMPLETED
from service.allocation.order_holds import HOLD_OVERDUE
from service.allocation.sync_failures import SYNC_FAILED
from service.allocation.unit_of_work import UnitOfWork
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection, Statement
from service.database.tables import exception
from service.dependencies import Dependencies
from service.errors import CannotResolve
from service.exceptions import incidents, order_incidents
from service.exceptions.incidents import Incident, RaisedException, ResolvedException
from service.orders import order_store
from service.orders.allocation_record import AllocationRecord
from service.resolution import arrived_orders, lateness, missed_deadlines
from service.resolution.escalation import escalate
from service.resolution.late_rerouting import late_delivery, late_incident, reroute_late, with_order_facts
from service.resolution.lateness import LATE_SHIPMENT, LOCATION_UNAVAILABLE, STUCK_ORDER, LatenessQuery
from service.stock import levels

BATCH = 100
"""Exceptions, shipments or orders per transaction."""

_OPEN = Statement(
    select(
        exception.c.kind,
        exception.c.owner,
        func.count().label("count"),
        func.count().filter(exception.c.due_time <= func.statement_timestamp()).label("overdue_count"),
    )
    .where(exception.c.state == literal_column("'open'"))
    .group_by(exception.c.kind, exception.c.owner)
)


@dataclass(slots=True)
class _SweepResult:
    """What one transaction did, to be counted after the commit. `manual` has the channel of each order for a person."""

    found_count: int = 0
    raised: list[RaisedException] = field(default_factory=list)
    resolved: list[ResolvedException] = field(default_factory=list)
    manual: list[str] = field(default_factory=list)
    attached: int = 0


Describe = Callable[[asyncpg.Record, AllocationRecord, Catalog], Incident]


class ExceptionSweep:
    """Each sweep runs until no row remains, in transactions of at most `BATCH` rows."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def run(self) -> None:
        """One sweep over everything."""
        # Before any of them is rerouted: its location was late.
        await missed_deadlines.count_missed(self._deps)
        await self._escalate()
        await self._until_done(SYNC_FAILED, self._attach)
        await self._until_done(LATE_SHIPMENT, partial(self._resolve, LATE_SHIPMENT, lateness.NOT_LATE))
        await self._until_done(
            LOCATION_UNAVAILABLE, partial(self._resolve, LOCATION_UNAVAILABLE, lateness.NOT_STRANDED)
        )
        await self._until_done(STUCK_ORDER, partial(self._resolve, STUCK_ORDER, lateness.NOT_STUCK))
        await self._until_done(HOLD_OVERDUE, partial(self._resolve, HOLD_OVERDUE, lateness.NOT_OVERDUE))
        await self._sweep_late_shipments()
        await self._until_done(LATE_SHIPMENT, partial(self._raise, late_delivery, lateness.LATE_DELIVERIES))
        await self._until_done(STUCK_ORDER, partial(self._raise, _stuck_incident, lateness.STUCK))
        await self._until_done(HOLD_OVERDUE, partial(self._raise, _overdue_incident, lateness.OVERDUE_HOLDS))
        await self._set_gauges()

    async def _until_done(self, kind: str, work: Callable[[Connection], Awaitable[_SweepResult]]) -> None:
        while True:
            result = await self._run_counted(kind, work)
            # Rows that were found and skipped are locked by other transactions; a later sweep takes them.
            if result.found_count < BATCH or not (result.raised or result.resolved or result.attached):
                return

    async def _run_counted(self, kind: str, work: Callable[[Connection], Awaitable[_SweepResult]]) -> _SweepResult:
        """Runs one transaction and counts what it did."""

        def count(result: _SweepResult) -> None:
            incidents.count_raised(self._deps.metrics, result.raised)
            incidents.count_resolved(self._deps.metrics, kind, COMPLETED, result.resolved)
            for channel_id in result.manual:
                self._deps.metrics.orders.manual_interventions.labels(channel_id, kind).inc()

        return await self._deps.database.transaction("sweep_exceptions", work, count)

    async def _sweep_late_shipments(self) -> None:
        """Reroutes late shipments whose rule says so, and raises an exception for each of the others."""
        while True:
            candidates = await self._deps.database.unlocked("find_late", partial(lateness.LATE.everywhere, count=BATCH))
            rerouted = [shipment for shipment in candidates if await self._reroute(shipment)]
            tried_ids = frozenset(shipment["id"] for shipment in candidates)
            raising = partial(self._raise, late_incident, lateness.LATE, among=tried_ids)
            result = await self._run_counted(LATE_SHIPMENT, raising)
            if len(candidates) < BATCH or not (result.raised or rerouted):
                return

    async def _reroute(self, shipment: asyncpg.Record) -> bool:
        """Reroutes a late shipment if its rule says so; returns whether it did."""
        work = partial(
            reroute_late,
            shipment=shipment,
            cache=self._deps.catalog_cache,
            policy_set=self._deps.policies(),
            new_id=self._deps.new_id,
        )
        try:
            unit_of_work = await self._deps.database.transaction("reroute_late", work, self._count)
        except CannotResolve:
            return False
        return unit_of_work is not None

    def _count(self, unit_of_work: UnitOfWork | None) -> None:
        if unit_of_work is not None:
            unit_of_work.count(self._deps.metrics)

    async def _escalate(self) -> None:
        while True:
            escalated = await self._deps.database.transaction(
                "escalate", lambda c: escalate(c, BATCH, self._deps.new_id), self._count_escalated
            )
            if len(escalated) < BATCH:
                return

    def _count_escalated(self, escalated: Sequence[asyncpg.Record]) -> None:
        for row in escalated:
            self._deps.metrics.exceptions.escalated.labels(row["escalate_to"]).inc()

    async def _raise(
        self, describe: Describe, query: LatenessQuery, connection: Connection, among: frozenset[UUID] | None = None
    ) -> _SweepResult:
        """Raises an exception for each row of a query and marks its order as needing a person.

        `among` are the ids of the rows that may be raised; None is all.
        """
        candidates = await query.everywhere(connection, BATCH)
        locked = await order_store.lock_if_free(connection, {row["allocation_id"] for row in candidates})
        rows = await query.of_orders(connection, locked) if locked else []
        rows = [row for row in rows if among is None or row["id"] in among]
        if not rows:
            return _SweepResult(len(candidates))
        records = await order_store.read(connection, sorted({row["allocation_id"] for row in rows}))
        version, _ = await catalog_store.products(connection, ())
        catalog = await self._deps.catalog_cache.at(connection, version)
        now, policy_set = await levels.clock(connection), self._deps.policies()
        found = [describe(row, records[row["allocation_id"]], catalog) for row in rows]
        raised, manual = await order_incidents.raise_on_orders(connection, policy_set, now, found, self._deps.new_id)
        return _SweepResult(len(candidates), raised=raised, manual=manual)

    async def _resolve(self, kind: str, query: LatenessQuery, connection: Connection) -> _SweepResult:
        """Resolves exceptions about shipments and orders that are no longer late or stuck."""
        candidates = await query.everywhere(connection, BATCH)
        locked = await order_store.lock_if_free(connection, {row["allocation_id"] for row in candidates})
        rows = await query.of_orders(connection, locked) if locked else []
        now, sentence = await levels.clock(connection), "It no longer needs attention."
        resolved = await order_incidents.resolve_on_orders(
            connection, now, kind, rows, description=sentence, new_id=self._deps.new_id
        )
        return _SweepResult(len(candidates), resolved=resolved)

    async def _attach(self, connection: Connection) -> _SweepResult:
        """Gives exceptions about orders that had not arrived to those that have."""
        found = await arrived_orders.find(connection, BATCH)
        locked = await order_store.lock_if_free(connection, {row["allocation_id"] for row in found})
        now = await levels.clock(connection)
        attached, manual = await arrived_orders.attach(connection, now, found, locked, self._deps.new_id)
        return _SweepResult(len(found), manual=manual, attached=attached)

    async def _set_gauges(self) -> None:
        """Sets how many exceptions are open and overdue by kind and owner, to 0 where there are none."""
        rows = await self._deps.database.unlocked("count_exceptions", _OPEN.rows)
        open_counts, overdue_counts = (
            {(row["kind"], row["owner"]): row[count] for row in rows} for count in ("count", "overdue_count")
        )
        self._deps.metrics.exceptions.set_open(open_counts, overdue_counts)


def _stuck_incident(row: asyncpg.Record, record: AllocationRecord, catalog: Catalog) -> Incident:
    hours = int(lateness.STUCK_AFTER.total_seconds() // 3600)
    sentence = f"The order needs action, and nothing has happened for {hours} hours."
    return with_order_facts(Incident(STUCK_ORDER, str(record.id), sentence), record, catalog)


def _overdue_incident(row: asyncpg.Record, record: AllocationRecord, catalog: Catalog) -> Incident:
    hold = record.active_hold
    reason = f" because of: {hold.reason}" if hold else ""
    by = f" by {hold.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if hold and hold.until else ""
    sentence = f"The order should have been released{by} and is still on hold{reason}; release it, or cancel it."
    return with_order_facts(Incident(HOLD_OVERDUE, str(record.id), sentence), record, catalog)
