"""What was committed since a reader last looked, told by PostgreSQL's snapshots.

The order in which rows get their numbers, or their times, is not the order in which they are committed: a slow writer's
row appears behind newer ones. Each row therefore names its transaction. A snapshot says exactly which transactions it
has seen, so what is visible now and was not visible then is what is new, whoever wrote it and however long it took.
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


_here = func.pg_current_snapshot()
_HORIZON = Statement(select(cast(_here, Text).label("snapshot"), func.clock_timestamp().label("now")))


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far a reader has seen, as PostgreSQL writes it down (`oldest:next:running,…`), and when it looked."""

    snapshot: str
    now: datetime

    @property
    def oldest(self) -> int:
        """Every transaction before this one is over: committed and seen, or rolled back for good."""
        return int(self.snapshot.split(":")[0])

    @property
    def next(self) -> int:
        """No transaction from this one on had begun."""
        return int(self.snapshot.split(":")[1])


async def horizon(connection: Connection) -> Horizon:
    """How far this connection's transaction sees; it must read all on one state of the database."""
    row = await _HORIZON.row(connection)
    assert row is not None
    return Horizon(row["snapshot"], row["now"])


def committed_since(xid: ColumnElement[Any], name: str = "since") -> ColumnElement[bool]:
    """Whether a row is visible now and was not in the snapshot that is passed under this name.

    A restored database may hold numbers of transactions that are still to come; they are left for then.
    """
    before = cast(parameter(name, Text), _Snapshot)
    return and_(
        xid >= func.pg_snapshot_xmin(before),
        xid < func.pg_snapshot_xmax(_here),
        not_(func.pg_visible_in_snapshot(xid, before)),
    )


def number(xid: ColumnElement[Any]) -> ColumnElement[int]:
    """A transaction's number as drivers understand it."""
    return cast(cast(xid, Text), BigInteger)


def transaction(name: str) -> ColumnElement[Any]:
    """A number of a transaction, as text, that is passed by name."""
    return cast(parameter(name, Text), TransactionId)
