"""Tables partitioned by month: partitions are made ahead, and replaced or dropped when all that is in them is old.

Their rows have UUIDv7 ids, which begin with their time, so a month is a range of ids. Rows whose month has no partition
go into the default partition: those of a service whose clock is wrong, and any if no partition could be made in time.
Functions of the database change the partitions (migration 0060): the role of a service need not own the tables.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from service.database.database import Connection

MONTHS_AHEAD = 2
"""Months after this one that have partitions, so that a service may be down for weeks."""
_LOCK_MILLISECONDS = 500
"""Statements of other transactions wait for these locks, and for those who wait for them."""
_KEPT = "_kept"
_BOUNDS = re.compile(r"FOR VALUES FROM \((?:MINVALUE|'([0-9a-f-]{36})')\) TO \('([0-9a-f-]{36})'\)")
_PARTITIONS = """
SELECT c.relname AS name, pg_get_expr(c.relpartbound, c.oid) AS bounds
FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = $1::text::regclass ORDER BY c.relname
"""


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition with ids from `low` up to `high`, which is excluded. The first one of a table begins at id 0."""

    table: str
    name: str
    low: UUID
    high: UUID

    @property
    def is_kept(self) -> bool:
        """Whether it has what was kept of a partition that it replaced."""
        return self.name.endswith(_KEPT)

    @property
    def kept_name(self) -> str:
        """The name of the partition that has what is kept of this one."""
        return self.name + _KEPT


def first_id(moment: datetime) -> UUID:
    """The least UUIDv7 that can be made at this moment."""
    return UUID(int=int(moment.timestamp() * 1_000) << 80)


def month_of(moment: datetime) -> datetime:
    """The beginning of a moment's month, in UTC."""
    return moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)


async def partitions(connection: Connection, table: str) -> list[Partition]:
    """The partitions of a table but the default one, by name."""
    rows = await connection.fetch(_PARTITIONS, table)
    # PostgreSQL tells no bounds of a partition that another service has dropped since the snapshot of this statement.
    found = [(row["name"], _BOUNDS.fullmatch(row["bounds"] or "")) for row in rows]
    return [Partition(table, name, UUID(x[1] or "0" * 32), UUID(x[2])) for name, x in found if x is not None]


async def make_ahead(connection: Connection, table: str, now: datetime) -> None:
    """Makes the missing partitions of this month and the next ones. Raises LockNotAvailable of asyncpg."""
    month = month_of(now)
    for _ in range(MONTHS_AHEAD + 1):
        await make(connection, table, month)
        month = _following(month)


async def make(connection: Connection, table: str, month: datetime) -> None:
    """Makes the partition of a month, if there is none, with the rows of the month in the default partition.

    Raises LockNotAvailable of asyncpg.
    """
    await _wait_shortly(connection)
    await connection.execute("SELECT partition_make($1, $2)", table, month.date())


async def make_kept(connection: Connection, partition: Partition) -> None:
    """Makes the table for what is kept of a partition, if there is none."""
    await _wait_shortly(connection)
    await connection.execute("SELECT partition_make_kept($1, $2)", partition.table, partition.name)


async def replace(connection: Connection, partition: Partition) -> int:
    """Puts what is kept in the place of a partition and drops that; returns how many rows it had.

    Returns 0 if another process did it before. Raises LockNotAvailable of asyncpg.
    """
    await _wait_shortly(connection)
    row_count: int = await connection.fetchval("SELECT partition_replace($1, $2)", partition.table, partition.name)
    return row_count


async def drop(connection: Connection, partition: Partition) -> None:
    """Drops a partition with its rows, unless another process did. Raises LockNotAvailable of asyncpg."""
    await _wait_shortly(connection)
    await connection.execute("SELECT partition_drop($1, $2)", partition.table, partition.name)


async def _wait_shortly(connection: Connection) -> None:
    """Bounds how long locks are waited for until the transaction ends."""
    await connection.execute(f"SET LOCAL lock_timeout = {_LOCK_MILLISECONDS}")


def _following(month: datetime) -> datetime:
    return month_of(month + timedelta(days=40))
