"""Feeds that fall silent: noted when they speak, noticed when they have not for three times as long as they should."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, FromClause, Text, func, literal_column, select, update

from policies.domain.resolutions import COMPLETED
from policies.policy_set import PolicySet
from service.database.database import Connection, Statement, any_of, parameter
from service.database.tables import Moment, exception, feed
from service.exceptions import incidents
from service.exceptions.incidents import Incident, RaisedException
from service.stock import levels

STALE = "stale_feed"
STALE_AFTER_CADENCES = 3
"""A feed is stale once it has not spoken for this many times its cadence."""


def _silent(columns: FromClause, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether a feed has not been heard in time; one that never was, since it was declared."""
    since = func.coalesce(columns.c.ingest_time, columns.c.update_time)
    patience = columns.c.cadence_minutes * literal_column(f"interval '{STALE_AFTER_CADENCES} minutes'")
    return func.coalesce(since + patience < now, literal_column("false"))


_before = (
    select(feed.c.source, feed.c.ingest_time, feed.c.update_time, feed.c.cadence_minutes)
    .where(feed.c.source == any_of("sources", Text))
    .order_by(feed.c.source)
    .with_for_update()
    .cte("before")
)
_RECORD_REPORTS = Statement(
    update(feed)
    .values(ingest_time=func.greatest(feed.c.ingest_time, parameter("now", Moment)))
    .where(feed.c.source == _before.c.source)
    .returning(feed.c.source, _silent(_before, parameter("now", Moment)).label("was_silent"))
)

_open = (
    select(exception.c.subject)
    .where(exception.c.state == literal_column("'open'"), exception.c.kind == literal_column(f"'{STALE}'"))
    .subquery("open")
)
_SILENT = Statement(
    select(feed.c.source, feed.c.ingest_time, feed.c.cadence_minutes)
    .select_from(feed.outerjoin(_open, _open.c.subject == feed.c.source))
    .where(_silent(feed, func.statement_timestamp()), _open.c.subject.is_(None))
    .order_by(feed.c.source)
)
_REPORTING_AGAIN = Statement(
    select(_open.c.subject)
    .select_from(_open.outerjoin(feed, feed.c.source == _open.c.subject))
    .where(func.coalesce(~_silent(feed, func.statement_timestamp()), literal_column("true")))
)


async def record_reports(
    connection: Connection, now: datetime, sources: Iterable[str], new_id: Callable[[], UUID]
) -> list[UUID]:
    """Notes that declared feeds have spoken, and settles that they were silent. The last write of a transaction.

    Returns the exceptions that are settled, to be counted after the commit.
    """
    rows = await _RECORD_REPORTS.rows(connection, now=now, sources=sorted(set(sources)))
    back = [row["source"] for row in rows if row["was_silent"]]
    return await _resolve(connection, now, back, new_id)


async def check(
    connection: Connection, policy_set: PolicySet, new_id: Callable[[], UUID]
) -> tuple[list[RaisedException], list[UUID]]:
    """Raises an exception for each feed that has fallen silent, once, and settles those of feeds that speak again.

    Several services may do so at once. Returns the exceptions that are new, and those that are settled.
    """
    silent = [
        Incident(STALE, row["source"], _description(row["source"], row["ingest_time"]), source=row["source"])
        for row in await _SILENT.rows(connection)
    ]
    back = [row["subject"] for row in await _REPORTING_AGAIN.rows(connection)]
    if not silent and not back:
        return [], []
    now = await levels.clock(connection)
    settled = await _resolve(connection, now, back, new_id)
    return await incidents.raise_all(connection, policy_set, now, silent, new_id), settled


async def _resolve(connection: Connection, now: datetime, sources: list[str], new_id: Callable[[], UUID]) -> list[UUID]:
    description = "The feed speaks again, or is no longer expected to."
    return await incidents.resolve_all(
        connection, now, STALE, sources, resolution=COMPLETED, description=description, new_id=new_id
    )


def _description(source: str, ingest_time: datetime | None) -> str:
    since = f"has said nothing since {ingest_time:%Y-%m-%d %H:%M} UTC" if ingest_time else "has never said anything"
    return f"{source} {since}; see whether it still runs. Figures that rest on it grow old."
