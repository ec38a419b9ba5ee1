"""Purges decisions past their retention, catalogs and rules that no decision refers to, and old candidates of rules.

Decisions are purged by the month, by dropping its partition once all of it is past retention. Of the current decision
of an order only the inputs are purged: it is copied before, in bounded batches, to a table that takes the place of the
partition. Decisions outside the partitions of months, and copies that are no longer current, are purged by the row.
Catalogs and rules in use are marked every hour, so no decision needs those that were not marked within the retention.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import asyncpg
from sqlalchemy import (
    Boolean,
    Integer,
    Interval,
    Text,
    Uuid,
    delete,
    exists,
    func,
    literal_column,
    select,
    tuple_,
    update,
)

from service import limits
from service.background import FIRST_PURGE_SECONDS, every
from service.candidates import candidate_store
from service.database import monthly_partitions
from service.database.database import Connection, Database, Statement, any_of, parameter
from service.database.monthly_partitions import Partition
from service.database.tables import Moment, allocation, decision, decision_batch, decision_catalog, policy_set
from service.decisions import stored_decision
from service.metrics import Metrics
from service.policy import policy_store
from service.policy.active_policies import ActivePolicies
from service.stock import levels

PURGE_SECONDS = 600.0
PARTITION_SECONDS = 3_600.0
"""How often missing partitions of the next months are made."""
PURGE_DECISIONS = 1_000
"""Decisions per transaction."""
PURGE_CATALOGS = 100
PURGE_FILES = 1_000
SCAN_INTERVAL = timedelta(days=1)
"""How often copied decisions are scanned again: one that was current then may have been replaced."""
PARTITIONED = (decision.name, decision_batch.name)

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
        literal_column("(decision.tableoid::regclass::text ~ '_(kept|default)$')", Boolean),
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
    update(decision)
    .values(inputs=None, catalog_hash=None, destination=None, erased_destination=None)
    .where(_decision.id == any_of("ids", Uuid))
)

# {0} is the name of a partition.
_CURRENT = """
SELECT d.id, d.allocation_id, d.create_time, coalesce(d.policy_revision, b.policy_revision) AS policy_revision,
       coalesce(d.software_version, b.software_version) AS software_version,
       d.explanation, d.reference, b.explanations
FROM {0} d
JOIN allocation a ON a.id = d.allocation_id AND a.decision_id = d.id
LEFT JOIN decision_batch b ON b.id = d.batch_id
WHERE d.id > $1 ORDER BY d.id LIMIT $2
"""
_KEEP = """
INSERT INTO {0} (id, allocation_id, create_time, policy_revision, software_version, explanation)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::bytea[])
ON CONFLICT DO NOTHING
"""

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
        """Makes partitions and purges until `stop` is set."""
        await asyncio.gather(
            # At once: the first order may be the first of its month.
            every(PARTITION_SECONDS, stop, self.make_partitions, spread=0.0),
            every(PURGE_SECONDS, stop, self.purge, first_after=FIRST_PURGE_SECONDS),
        )

    async def make_partitions(self) -> None:
        """Makes the partitions of this month and the next ones, if they are missing."""

        async def work(connection: Connection) -> None:
            now = await levels.clock(connection)
            for table in PARTITIONED:
                await monthly_partitions.make_ahead(connection, table, now)

        await self._database.transaction("make_partitions", work)

    async def purge(self) -> None:
        """Purges everything that is past its retention, batch by batch."""
        await self._database.transaction("renew_policies", self._mark_rules_used)
        await self._purge_months()
        self._progress.start(datetime.now(UTC))
        while await self._purge_decision_batch() == PURGE_DECISIONS:
            pass
        while await self._database.transaction("purge_catalogs", self._purge_catalogs) == PURGE_CATALOGS:
            pass
        while await self._database.transaction("purge_rules", self._purge_rules) == PURGE_FILES:
            pass
        await self._database.transaction("purge_rules", policy_store.unlist_deleted)
        await self._database.transaction("purge_candidates", candidate_store.purge)

    async def _mark_rules_used(self, connection: Connection) -> None:
        await policy_store.mark_used(connection, self._active_policies.current.policy_set.revision)

    async def _purge_months(self) -> None:
        decisions, batches = await self._database.transaction("list_partitions", self._old_months)
        for month in decisions:
            await self._database.transaction("keep_decisions", partial(monthly_partitions.make_kept, partition=month))
            position: UUID | None = UUID(int=0)
            while position is not None:
                keep = partial(_keep_current, partition=month, after=position)
                position = await self._database.transaction("keep_decisions", keep)
            replace = partial(monthly_partitions.replace, partition=month)
            await self._database.transaction("drop_decisions", replace, self._metrics.policies.decisions_purged.inc)
        # A batch is newer than its decisions, so the decisions of a month need batches of that month or the next.
        for month in batches:
            await self._database.transaction("drop_decisions", partial(monthly_partitions.drop, partition=month))

    async def _old_months(self, connection: Connection) -> list[list[Partition]]:
        """For each table, the partitions of which every row is past retention."""
        end = monthly_partitions.first_id(await levels.clock(connection) - self._retention)
        return [
            [x for x in await monthly_partitions.partitions(connection, table) if x.high <= end and not x.is_kept]
            for table in PARTITIONED
        ]

    async def _purge_decision_batch(self) -> int:
        """Returns how many were scanned."""
        scanned_count, self._progress.position, _ = await self._database.transaction(
            "purge_decisions",
            self._purge_decisions,
            lambda purged: self._metrics.policies.decisions_purged.inc(purged[2]),
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


async def _keep_current(connection: Connection, partition: Partition, after: UUID) -> UUID | None:
    """Copies current decisions with ids after the given one, without inputs; the last id, None if there are no more."""
    try:
        # A transaction in this one, so that this one goes on after an error.
        async with connection.transaction():
            rows = await connection.fetch(_CURRENT.format(partition.name), after, PURGE_DECISIONS)
    except asyncpg.UndefinedTableError:
        # Another service has put what is kept in the place of the partition since it was listed.
        return None
    kept = [
        (
            *(row["id"], row["allocation_id"], row["create_time"], row["policy_revision"], row["software_version"]),
            stored_decision.explanation(row["id"], row),
        )
        for row in rows
    ]
    if kept:
        await connection.execute(_KEEP.format(partition.kept_name), *map(list, zip(*kept, strict=True)))
    return kept[-1][0] if len(kept) == PURGE_DECISIONS else None
