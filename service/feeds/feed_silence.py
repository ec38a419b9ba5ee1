"""Stale feeds: records when declared feeds report, and raises an exception once one has missed three cadences."""

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
from service.exceptions.incidents import Incident, RaisedException, ResolvedException
from service.stock import levels

STALE = "stale_feed"
STALE_AFTER_CADENCES = 3
"""A feed is stale once it has not reported for this many times its cadence."""


def _is_stale(columns: FromClause, now: ColumnElement[datetime]) -> ColumnElement[bool]:
    """Whether a feed is stale, counted from its last report, or from its declaration if it never reported."""
    since = func.coalesce(columns.c.ingest_time, columns.c.update_time)
    stale_after = columns.c.cadence_minutes * literal_column(f"interval '{STALE_AFTER_CADENCES} minutes'")
    return func.coalesce(since + stale_after < now, literal_column("false"))


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
    .returning(feed.c.source, _is_stale(_before, parameter("now", Moment)).label("was_stale"))
)

_open = (
    select(exception.c.subject)
    .where(exception.c.state == literal_column("'open'"), exception.c.kind == literal_column(f"'{STALE}'"))
    .subquery("open")
)
_STALE_FEEDS = Statement(
    select(feed.c.source, feed.c.ingest_time, feed.c.cadence_minutes)
    .select_from(feed.outerjoin(_open, _open.c.subject == feed.c.source))
    .where(_is_stale(feed, func.statement_timestamp()), _open.c.subject.is_(None))
    .order_by(feed.c.source)
)
_REPORTING_AGAIN = Statement(
    select(_open.c.subject)
    .select_from(_open.outerjoin(feed, feed.c.source == _open.c.subject))
    .where(func.coalesce(~_is_stale(feed, func.statement_timestamp()), literal_column("true")))
)


async def record_reports(
    connection: Connection, now: datetime, sources: Iterable[str], new_id: Callable[[], UUID]
) -> list[ResolvedException]:
    """Records that declared feeds report and resolves their exceptions. The last write of a transaction.

    Returns the exceptions that are resolved, to be counted after the commit.
    """
    rows = await _RECORD_REPORTS.rows(connection, now=now, sources=sorted(set(sources)))
    reporting_again = [row["source"] for row in rows if row["was_stale"]]
    return await _resolve(connection, now, reporting_again, new_id)


async def check(
    connection: Connection, policy_set: PolicySet, new_id: Callable[[], UUID]
) -> tuple[list[RaisedException], list[ResolvedException]]:
    """Raises one exception for each stale feed and resolves those of feeds that report again.

    Several services may run it at once. Returns the new and the resolved exceptions.
    """
    stale = [
        Incident(STALE, row["source"], _description(row["source"], row["ingest_time"]), source=row["source"])
        for row in await _STALE_FEEDS.rows(connection)
    ]
    reporting_again = [row["subject"] for row in await _REPORTING_AGAIN.rows(connection)]
    if not stale and not reporting_again:
        return [], []
    now = await levels.clock(connection)
    resolved = await _resolve(connection, now, reporting_again, new_id)
    return await incidents.raise_all(connection, policy_set, now, stale, new_id), resolved


async def _resolve(
    connection: Connection, now: datetime, sources: list[str], new_id: Callable[[], UUID]
) -> list[ResolvedException]:
    description = "The feed reports again, or is no longer expected to report."
    return await incidents.resolve_all(
        connection, now, STALE, sources, resolution=COMPLETED, description=description, new_id=new_id
    )


def _description(source: str, ingest_time: datetime | None) -> str:
    since = f"has not reported since {ingest_time:%Y-%m-%d %H:%M} UTC" if ingest_time else "has never reported"
    return f"Feed '{source}' {since}. Check that it still runs; until it reports, its stock levels get older."
