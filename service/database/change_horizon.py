"""Finds rows committed since a reader last looked, by PostgreSQL's snapshots.

Sequence numbers and timestamps do not rise in commit order: a slow transaction commits its row behind newer ones, and
a reader that remembers a number would skip it. So each row stores its transaction id, and a snapshot says exactly which
transactions it includes: a row is new if it is visible now and was not visible in the earlier snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, and_, cast, func, not_, select
from sqlalchemy.types import UserDefinedType

from service.database.database import Connection, Statement, parameter
from service.database.tables import TransactionId


class _Snapshot(UserDefinedType[str]):
    """PostgreSQL's `pg_snapshot`."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name."""
        return "PG_SNAPSHOT"


_current_snapshot = func.pg_current_snapshot()
_HORIZON = Statement(select(cast(_current_snapshot, Text).label("snapshot"), func.clock_timestamp().label("now")))


@dataclass(frozen=True, slots=True)
class Horizon:
    """A reader's snapshot, as PostgreSQL writes it (`xmin:xmax:running,…`), and the time when it was taken."""

    snapshot: str
    now: datetime

    @property
    def oldest(self) -> int:
        """Every transaction before this id has ended: committed and visible, or rolled back."""
        return int(self.snapshot.split(":")[0])

    @property
    def next(self) -> int:
        """No transaction with this id or a later one had begun."""
        return int(self.snapshot.split(":")[1])


async def horizon(connection: Connection) -> Horizon:
    """The snapshot of this connection's transaction, which must be REPEATABLE READ."""
    row = await _HORIZON.row(connection)
    assert row is not None
    return Horizon(row["snapshot"], row["now"])


def committed_since(xid: ColumnElement[Any], name: str = "since") -> ColumnElement[bool]:
    """Whether a row is visible now and was not in the snapshot that is passed as parameter `name`.

    A restored database may hold transaction ids of the future; their rows count as new once those ids have passed.
    """
    before = cast(parameter(name, Text), _Snapshot)
    return and_(
        # The two ranges use the index on xid; pg_visible_in_snapshot cannot, and would test every row of the table.
        # It decides only among transactions that were open at the previous look or began since.
        xid >= func.pg_snapshot_xmin(before),
        xid < func.pg_snapshot_xmax(_current_snapshot),
        not_(func.pg_visible_in_snapshot(xid, before)),
    )


def as_bigint(xid: ColumnElement[Any]) -> ColumnElement[int]:
    """A transaction id as a BIGINT, because drivers do not know xid8."""
    return cast(cast(xid, Text), BigInteger)


def transaction_parameter(name: str) -> ColumnElement[Any]:
    """A parameter: a transaction id, as text."""
    return cast(parameter(name, Text), TransactionId)
