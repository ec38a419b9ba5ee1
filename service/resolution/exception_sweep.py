"""What happens to exceptions as time passes: they escalate, what is late is raised, what has gone on is settled.

Several services on one database may each do it: they skip what another has locked. The database's clock decides.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

import asyncpg
from sqlalchemy import func, literal_column, select

from policies.domain.resolutions import ALLOWED, COMPLETED
from policies.policy_set import PolicySet
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection, Statement
from service.database.tables import exception
from service.dependencies import Dependencies
from service.errors import CannotResolve
from service.exceptions import exception_store, incidents
from service.exceptions.exception_store import OrderTimelineNote
from service.exceptions.incidents import Incident, RaisedException
from service.orders import order_store
from service.orders.allocation_record import AllocationRecord
from service.resolution import lateness
from service.resolution.escalation import escalate
from service.resolution.late_rerouting import late_incident, reroute_late, with_order_facts
from service.resolution.lateness import LATE_SHIPMENT, STUCK_ORDER, LatenessQuery
from service.stock import levels

BATCH = 100
"""Exceptions, shipments or orders of one transaction."""

_OPEN = Statement(
    select(exception.c.kind, exception.c.owner, func.count().label("count"))
    .where(exception.c.state == literal_column("'open'"))
    .group_by(exception.c.kind, exception.c.owner)
)


@dataclass(slots=True)
class _SweepResult:
    """What one transaction did, to be counted after the commit. `manual` are channels of orders, once for each."""

    found_count: int = 0
    raised: list[RaisedException] = field(default_factory=list)
    settled: list[UUID] = field(default_factory=list)
    manual: list[str] = field(default_factory=list)


Describe = Callable[[asyncpg.Record, AllocationRecord, Catalog], Incident]


class ExceptionSweep:
    """Each sweep goes on until nothing is left, in transactions of at most `BATCH`."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps
        self._gauged: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """One sweep over everything."""
        await self._escalate()
        await self._until_done(LATE_SHIPMENT, partial(self._settle, LATE_SHIPMENT, lateness.NOT_LATE))
        await self._until_done(STUCK_ORDER, partial(self._settle, STUCK_ORDER, lateness.NOT_STUCK))
        await self._late_shipments()
        await self._until_done(STUCK_ORDER, partial(self._raise, _stuck_incident, lateness.STUCK))
        await self._gauge()

    async def _until_done(self, kind: str, work: Callable[[Connection], Awaitable[_SweepResult]]) -> None:
        while True:
            done = await self._swept(kind, work)
            # What was found and skipped is somebody else's for now.
            if done.found_count < BATCH or not (done.raised or done.settled):
                return

    async def _swept(self, kind: str, work: Callable[[Connection], Awaitable[_SweepResult]]) -> _SweepResult:
        """One transaction, counted."""
        done = await self._deps.database.transaction("sweep_exceptions", work)
        incidents.count_raised(self._deps.metrics, done.raised)
        incidents.count_resolved(self._deps.metrics, kind, COMPLETED, done.settled)
        for channel_id in done.manual:
            self._deps.metrics.manual_interventions.labels(channel_id, kind).inc()
        return done

    async def _late_shipments(self) -> None:
        """Places what is late elsewhere, where its rule says so, and raises the others for somebody to settle."""
        while True:
            found = await self._deps.database.unlocked("find_late", partial(lateness.LATE.everywhere, count=BATCH))
            rerouted = [shipment for shipment in found if await self._reroute(shipment)]
            tried = frozenset(shipment["id"] for shipment in found)
            raising = partial(self._raise, late_incident, lateness.LATE, among=tried)
            done = await self._swept(LATE_SHIPMENT, raising)
            if len(found) < BATCH or not (done.raised or rerouted):
                return

    async def _reroute(self, shipment: asyncpg.Record) -> bool:
        """Whether policy has placed a late shipment elsewhere."""
        work = partial(
            reroute_late,
            shipment=shipment,
            cache=self._deps.catalog_cache,
            policy_set=self._deps.policies(),
            new_id=self._deps.new_id,
        )
        try:
            done = await self._deps.database.transaction("reroute_late", work)
        except CannotResolve:
            return False
        if done is None:
            return False
        done.count(self._deps.metrics)
        return True

    async def _escalate(self) -> None:
        for rule in self._deps.policies().exceptions:
            if rule.escalate_to:
                self._deps.metrics.exceptions_escalated.labels(rule.escalate_to)
        while True:
            due = await self._deps.database.transaction("escalate", lambda c: escalate(c, BATCH, self._deps.new_id))
            for row in due:
                self._deps.metrics.exceptions_escalated.labels(row["escalate_to"]).inc()
            if len(due) < BATCH:
                return

    async def _raise(
        self, describe: Describe, search: LatenessQuery, connection: Connection, among: frozenset[UUID] | None = None
    ) -> _SweepResult:
        """Raises what a search finds, each on an order, which needs a person from now on.

        `among` are the ids of rows that may be raised by now; None is all.
        """
        found = await search.everywhere(connection, BATCH)
        locked = await order_store.lock_if_free(connection, {row["allocation_id"] for row in found})
        rows = await search.of_orders(connection, locked) if locked else []
        rows = [row for row in rows if among is None or row["id"] in among]
        if not rows:
            return _SweepResult(len(found))
        records = await order_store.read(connection, sorted({row["allocation_id"] for row in rows}))
        version, _ = await catalog_store.products(connection, ())
        known = await self._deps.catalog_cache.at(connection, version)
        now, policy_set = await levels.clock(connection), self._deps.policies()
        wanted = {one.subject: one for one in (describe(r, records[r["allocation_id"]], known) for r in rows)}
        raised = await incidents.raise_all(connection, policy_set, now, wanted.values(), self._deps.new_id)
        notes = [_timeline_note(wanted[one.subject], policy_set) for one in raised]
        manual = await exception_store.note_on_orders(connection, now, notes, self._deps.new_id, needs_person=True)
        return _SweepResult(len(found), raised=raised, manual=manual)

    async def _settle(self, kind: str, search: LatenessQuery, connection: Connection) -> _SweepResult:
        """Settles what was late or stuck and has gone on."""
        found = await search.everywhere(connection, BATCH)
        locked = await order_store.lock_if_free(connection, {row["allocation_id"] for row in found})
        rows = await search.of_orders(connection, locked) if locked else []
        now, sentence = await levels.clock(connection), "It has gone on."
        settled = await incidents.resolve_all(
            connection,
            now,
            kind,
            [row["subject"] for row in rows],
            resolution=COMPLETED,
            description=sentence,
            new_id=self._deps.new_id,
        )
        told = f"{_kind_text(kind)}: {sentence}"
        notes = [
            OrderTimelineNote(row["allocation_id"], "exception_resolved", told, row["policy_revision"])
            for row in rows
            if row["id"] in settled
        ]
        await exception_store.note_on_orders(connection, now, notes, self._deps.new_id, needs_person=False)
        return _SweepResult(len(found), settled=settled)

    async def _gauge(self) -> None:
        """Shows how many are open, by kind and desk; those of which none is left show 0."""
        rows = await self._deps.database.unlocked("count_exceptions", _OPEN.rows)
        counts = {(row["kind"], row["owner"]): row["count"] for row in rows}
        self._gauged |= counts.keys() | {
            (kind, rule.owner) for rule in self._deps.policies().exceptions for kind in ALLOWED
        }
        for kind, owner in self._gauged:
            self._deps.metrics.exceptions_open.labels(kind, owner).set(counts.get((kind, owner), 0))


def _stuck_incident(row: asyncpg.Record, record: AllocationRecord, known: Catalog) -> Incident:
    hours = int(lateness.STUCK_AFTER.total_seconds() // 3600)
    sentence = f"Somebody has something to do about the order, and nothing has happened for {hours} hours."
    return with_order_facts(Incident(STUCK_ORDER, str(record.id), sentence), record, known)


def _timeline_note(one: Incident, policy_set: PolicySet) -> OrderTimelineNote:
    assert one.allocation_id is not None
    return OrderTimelineNote(one.allocation_id, one.kind, one.description, policy_set.revision)


def _kind_text(kind: str) -> str:
    return kind.replace("_", " ").capitalize()
