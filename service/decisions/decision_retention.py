"""Purges decisions past their retention, and catalogs and rules that no decision refers to; in bounded batches.

Of the current decision of an order only the inputs are purged. Catalogs and rules in use are marked every hour, so no
decision needs those that were not marked within the retention.
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
"""Decisions per transaction."""
PURGE_CATALOGS = 100
PURGE_FILES = 1_000
SCAN_INTERVAL = timedelta(days=1)
"""How often all old decisions are scanned again: a decision that was current then may have been replaced."""

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
        _decision.create_time < func.clock_timestamp() - parameter("retention", Interval),
        _decision.create_time >= parameter("after_time", Moment),
        tuple_(_decision.create_time, _decision.id)
        > tuple_(parameter("after_time", Moment), parameter("after_id", Uuid)),
    )
    .order_by(_decision.create_time, _decision.id)
    .limit(parameter("count", Integer))
    # Another process on this database may purge at the same moment.
    .with_for_update(skip_locked=True)
)
_DELETE = Statement(delete(decision).where(_decision.id == any_of("ids", Uuid)))
_DROP_INPUTS = Statement(
    update(decision).values(inputs=None, catalog_hash=None, destination=None).where(_decision.id == any_of("ids", Uuid))
)

_unused_catalogs = (
    select(decision_catalog.c.hash)
    .where(decision_catalog.c.use_time < func.clock_timestamp() - parameter("retention", Interval))
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
        policy_set.c.use_time < func.clock_timestamp() - parameter("retention", Interval),
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
    """How far the scan of old decisions has come."""

    position: _Position = _START
    started: datetime | None = None

    def start(self, now: datetime) -> None:
        if self.started is None or now - self.started >= SCAN_INTERVAL:
            self.position, self.started = _START, now


class DecisionRetention:
    """Purges old decisions periodically. Several processes on one database may run it."""

    def __init__(
        self, database: Database, active_policies: ActivePolicies, metrics: Metrics, retention: timedelta
    ) -> None:
        self._database = database
        self._active_policies = active_policies
        self._metrics = metrics
        self._retention = retention
        self._progress = _ScanProgress()

    async def run(self, stop: asyncio.Event) -> None:
        """Purges until `stop` is set."""
        await every(PURGE_SECONDS, stop, self.purge)

    async def purge(self) -> None:
        """Purges everything that is past its retention, batch by batch."""
        await self._database.transaction("renew_policies", self._mark_rules_used)
        self._progress.start(datetime.now(UTC))
        while await self._purge_decision_batch() == PURGE_DECISIONS:
            pass
        while await self._database.transaction("purge_catalogs", self._purge_catalogs) == PURGE_CATALOGS:
            pass
        while await self._database.transaction("purge_rules", self._purge_rules) == PURGE_FILES:
            pass

    async def _mark_rules_used(self, connection: Connection) -> None:
        await policy_store.mark_used(connection, self._active_policies.current.policy_set.revision)

    async def _purge_decision_batch(self) -> int:
        """Returns how many were scanned."""
        scanned_count, self._progress.position, _ = await self._database.transaction(
            "purge_decisions", self._purge_decisions, lambda purged: self._metrics.decisions_purged.inc(purged[2])
        )
        return scanned_count

    async def _purge_decisions(self, connection: Connection) -> tuple[int, _Position, int]:
        """How many were scanned, the new position, and how many were deleted or lost their inputs."""
        time, last = self._progress.position
        rows = await _OLD.rows(
            connection, retention=self._retention, after_time=time, after_id=last, count=PURGE_DECISIONS
        )
        deleted_ids = [r["id"] for r in rows if not r["is_current"]]
        stripped_ids = [r["id"] for r in rows if r["is_current"] and r["is_whole"]]
        if deleted_ids:
            await _DELETE.run(connection, ids=deleted_ids)
        if stripped_ids:
            await _DROP_INPUTS.run(connection, ids=stripped_ids)
        position = (rows[-1]["create_time"], rows[-1]["id"]) if rows else self._progress.position
        return len(rows), position, len(deleted_ids) + len(stripped_ids)

    async def _purge_catalogs(self, connection: Connection) -> int:
        retention = self._retention + limits.DECISION_GRACE
        return len(await _DELETE_CATALOGS.rows(connection, retention=retention, count=PURGE_CATALOGS))

    async def _purge_rules(self, connection: Connection) -> int:
        retention, in_force = self._retention + limits.DECISION_GRACE, self._active_policies.current.policy_set.revision
        return len(await _DELETE_FILES.rows(connection, retention=retention, in_force=in_force, count=PURGE_FILES))
