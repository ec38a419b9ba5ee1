"""Forgetting decisions past their time, and the catalogues and rules that none needs any more; in bounded batches.

Decisions are kept for a number of days; of the one that an order's promise rests on only its inputs go. What decisions
need is marked every hour while it is in use, so that what was not marked for longer than that is needed by none.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from sqlalchemy import Integer, Interval, Text, Uuid, delete, exists, func, select, tuple_, update

from service import limits
from service.background import every
from service.database.database import Connection, Database, Statement, any_of, parameter
from service.database.tables import Moment, allocation, decision, decision_catalog, policy_set
from service.metrics import Metrics
from service.policy import policy_store
from service.policy.active_policies import ActivePolicies

PURGE_SECONDS = 600.0
PURGE_DECISIONS = 1_000
"""Decisions that one transaction looks at."""
PURGE_CATALOGS = 100
PURGE_FILES = 1_000
SCAN_INTERVAL = timedelta(days=1)
"""How often everything old is looked at again: what promises rested on then may be free to go."""

_decision = decision.c
_is_current = exists().where(allocation.c.id == _decision.allocation_id, allocation.c.decision_id == _decision.id)
_OLD = Statement(
    select(
        _decision.id,
        _decision.create_time,
        _is_current.label("is_current"),
        _decision.inputs.is_not(None).label("is_whole"),
    )
    .where(
        _decision.create_time < func.clock_timestamp() - parameter("kept", Interval),
        _decision.create_time >= parameter("after_time", Moment),
        tuple_(_decision.create_time, _decision.id)
        > tuple_(parameter("after_time", Moment), parameter("after_id", Uuid)),
    )
    .order_by(_decision.create_time, _decision.id)
    .limit(parameter("count", Integer))
    # Another service on this database may do the same at this moment.
    .with_for_update(skip_locked=True)
)
_DELETE = Statement(delete(decision).where(_decision.id == any_of("ids", Uuid)))
_DROP_INPUTS = Statement(
    update(decision).values(inputs=None, catalog_hash=None).where(_decision.id == any_of("ids", Uuid))
)

_unused_catalogs = (
    select(decision_catalog.c.hash)
    .where(decision_catalog.c.use_time < func.clock_timestamp() - parameter("kept", Interval))
    .order_by(decision_catalog.c.hash)
    .limit(parameter("count", Integer))
    .with_for_update(skip_locked=True)
)
_DELETE_CATALOGS = Statement(
    delete(decision_catalog).where(decision_catalog.c.hash.in_(_unused_catalogs)).returning(decision_catalog.c.hash)
)
_unused_files = (
    select(policy_set.c.revision, policy_set.c.path)
    .where(
        policy_set.c.use_time < func.clock_timestamp() - parameter("kept", Interval),
        policy_set.c.revision != parameter("in_force", Text),
    )
    .order_by(policy_set.c.revision, policy_set.c.path)
    .limit(parameter("count", Integer))
    .with_for_update(skip_locked=True)
)
_DELETE_FILES = Statement(
    delete(policy_set)
    .where(tuple_(policy_set.c.revision, policy_set.c.path).in_(_unused_files))
    .returning(policy_set.c.path)
)

_Position = tuple[datetime, UUID]
_START: _Position = (datetime(1970, 1, 1, tzinfo=UTC), UUID(int=0))


@dataclass(slots=True)
class _ScanProgress:
    """How far everything old has been looked at."""

    place: _Position = _START
    begun: datetime | None = None

    def begin(self, now: datetime) -> None:
        if self.begun is None or now - self.begun >= SCAN_INTERVAL:
            self.place, self.begun = _START, now


class DecisionRetention:
    """Several services on one database may each have one."""

    def __init__(self, database: Database, folder: ActivePolicies, metrics: Metrics, kept: timedelta) -> None:
        self._database = database
        self._folder = folder
        self._metrics = metrics
        self._kept = kept
        self._walk = _ScanProgress()

    async def run(self, stop: asyncio.Event) -> None:
        """Forgets until `stop` is set."""
        await every(PURGE_SECONDS, stop, self.forget)

    async def forget(self) -> None:
        """Forgets everything that is past its time, a batch after the other."""
        await self._database.transaction("renew_policies", self._renew)
        self._walk.begin(datetime.now(UTC))
        while await self._forget_decisions() == PURGE_DECISIONS:
            pass
        while await self._database.transaction("purge_catalogs", self._catalogues) == PURGE_CATALOGS:
            pass
        while await self._database.transaction("purge_rules", self._files) == PURGE_FILES:
            pass

    async def _renew(self, connection: Connection) -> None:
        await policy_store.mark_used(connection, self._folder.current.policy_set.revision)

    async def _forget_decisions(self) -> int:
        """Returns how many were looked at."""
        seen, self._walk.place, forgotten = await self._database.transaction("purge_decisions", self._decisions)
        self._metrics.decisions_purged.inc(forgotten)
        return seen

    async def _decisions(self, connection: Connection) -> tuple[int, _Position, int]:
        """How many were looked at, up to where, and how many were forgotten or lost their inputs."""
        time, last = self._walk.place
        rows = await _OLD.rows(connection, kept=self._kept, after_time=time, after_id=last, count=PURGE_DECISIONS)
        gone = [r["id"] for r in rows if not r["is_current"]]
        bared = [r["id"] for r in rows if r["is_current"] and r["is_whole"]]
        if gone:
            await _DELETE.run(connection, ids=gone)
        if bared:
            await _DROP_INPUTS.run(connection, ids=bared)
        place = (rows[-1]["create_time"], rows[-1]["id"]) if rows else self._walk.place
        return len(rows), place, len(gone) + len(bared)

    async def _catalogues(self, connection: Connection) -> int:
        kept = self._kept + limits.DECISION_GRACE
        return len(await _DELETE_CATALOGS.rows(connection, kept=kept, count=PURGE_CATALOGS))

    async def _files(self, connection: Connection) -> int:
        kept, in_force = self._kept + limits.DECISION_GRACE, self._folder.current.policy_set.revision
        return len(await _DELETE_FILES.rows(connection, kept=kept, in_force=in_force, count=PURGE_FILES))
