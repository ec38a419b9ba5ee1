"""SQL of the revisions of the rules that are kept: those that are or were in force, and candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Integer,
    Interval,
    Text,
    func,
    literal_column,
    select,
    true,
    tuple_,
    union_all,
)

from policies.reading.rules_reader import is_rule_file
from service import limits
from service.candidates import candidate_store
from service.database.database import Connection, Database, Statement, parameter, unnested
from service.database.tables import Moment, policy_candidate, policy_history, policy_revision, policy_set
from service.errors import NotFound
from service.policy import policy_store
from service.policy.policy_history import LOADED, STARTED, STOPPED

Position = tuple[datetime, str]
"""Where a page starts: a time of creation and a revision."""


@dataclass(frozen=True, slots=True)
class Period:
    """A time during which rules were in force on one run of a service; `until` is None if that has not ended."""

    instance: str
    run_id: UUID
    since: datetime
    until: datetime | None


@dataclass(frozen=True, slots=True)
class KeptRevision:
    """A revision that is kept until `expire_time`. `is_candidate`: only because a caller of TestPolicies sent it.

    `periods` are those during which it was in force, newest first, if it is one of a page.
    """

    revision: str
    create_time: datetime
    expire_time: datetime
    file_count: int
    byte_count: int
    is_candidate: bool = False
    periods: tuple[Period, ...] = ()


class KeptRules:
    """The rules of revisions that are kept. `retention` is that of decisions."""

    def __init__(self, database: Database, retention: timedelta) -> None:
        self._database = database
        self._retention = retention

    async def page(self, *, candidates: bool, count: int, after: Position) -> list[KeptRevision]:
        """At most `count` revisions after a position, newest first."""

        async def work(connection: Connection) -> list[KeptRevision]:
            return await _page(connection, candidates=candidates, count=count, after=after, retention=self._retention)

        return await self._database.unlocked("list_policies", work)

    async def find(self, revision: str, field: str = "policy_revision") -> KeptRevision:
        """A revision that is kept; `field` of the request names it. Raises NotFound."""

        async def work(connection: Connection) -> KeptRevision | None:
            return await _find(connection, revision, self._retention)

        kept = await self._database.unlocked("find_policies", work)
        if kept is None:
            raise self._not_found(revision, field)
        return kept

    async def files(self, kept: KeptRevision) -> dict[str, bytes]:
        """The rule files of a revision by path. Raises NotFound if it was dropped since it was found."""
        files = await self._database.unlocked("policy_files", lambda connection: _files(connection, kept))
        if not files:
            raise self._not_found(kept.revision)
        return files

    def _not_found(self, revision: str, field: str = "policy_revision") -> NotFound:
        days = (self._retention + limits.DECISION_GRACE).days
        advice = (
            f"rules that were in force are kept for {days} days after their last use, and those of TestPolicies for "
            f"{limits.CANDIDATE_RETENTION.days} days after they were last sent; `truestock rules revisions` lists them"
        )
        return NotFound("revision of the rules", {field: revision}, advice)


def _literals(*names: str) -> list[ColumnElement[Any]]:
    """Constants of a statement."""
    return [literal_column(f"'{name}'") for name in names]


_kept, _candidate = policy_revision.c, policy_candidate.c
_use_time = select(func.max(policy_set.c.use_time)).where(policy_set.c.revision == _kept.revision).scalar_subquery()
_KEPT = select(
    _kept.revision,
    _kept.create_time,
    (_use_time + parameter("retention", Interval)).label("expire_time"),
    _kept.file_count,
    _kept.byte_count,
    literal_column("false", Boolean).label("is_candidate"),
)
_CANDIDATES = select(
    _candidate.revision,
    _candidate.create_time,
    (_candidate.renew_time + parameter("candidate_retention", Interval)).label("expire_time"),
    _candidate.file_count,
    _candidate.byte_count,
    literal_column("true", Boolean).label("is_candidate"),
).where(_candidate.renew_time > func.clock_timestamp() - parameter("candidate_retention", Interval))
_after = tuple_(parameter("after_time", Moment), parameter("after_revision", Text))
_PAGE_OF_KEPT = Statement(
    _KEPT.where(tuple_(_kept.create_time, _kept.revision) < _after)
    .order_by(_kept.create_time.desc(), _kept.revision.desc())
    .limit(parameter("count", Integer))
)
_PAGE_OF_CANDIDATES = Statement(
    _CANDIDATES.where(tuple_(_candidate.create_time, _candidate.revision) < _after)
    .order_by(_candidate.create_time.desc(), _candidate.revision.desc())
    .limit(parameter("count", Integer))
)
_ONE = Statement(
    union_all(
        _KEPT.where(_kept.revision == parameter("revision", Text)),
        _CANDIDATES.where(_candidate.revision == parameter("revision", Text)),
    ).order_by("is_candidate")
)


_asked = unnested("asked", revision=Text)
_begin = policy_history.alias("begin")
_begins = (
    select(_begin.c.instance, _begin.c.run_id, _begin.c.event_time, _begin.c.id)
    .where(_begin.c.revision == _asked.c.revision, _begin.c.event.in_(_literals(STARTED, LOADED)))
    .order_by(_begin.c.event_time.desc(), _begin.c.id.desc())
    .limit(parameter("periods", Integer))
    .lateral("begins")
)
_next = policy_history.alias("next")
_ends = (
    select(_next.c.event_time)
    .where(
        _next.c.run_id == _begins.c.run_id,
        _next.c.event_time > _begins.c.event_time,
        _next.c.event.in_(_literals(LOADED, STOPPED)),
    )
    .order_by(_next.c.event_time, _next.c.id)
    .limit(literal_column("1"))
    .lateral("ends")
)
_PERIODS = Statement(
    select(
        _asked.c.revision,
        _begins.c.instance,
        _begins.c.run_id,
        _begins.c.event_time.label("since"),
        _ends.c.event_time.label("until"),
    )
    .select_from(_asked.join(_begins, true()).outerjoin(_ends, true()))
    .order_by(_asked.c.revision, _begins.c.event_time.desc(), _begins.c.id.desc())
)


async def _page(
    connection: Connection, *, candidates: bool, count: int, after: Position, retention: timedelta
) -> list[KeptRevision]:
    statement = _PAGE_OF_CANDIDATES if candidates else _PAGE_OF_KEPT
    rows = await statement.rows(
        connection, after_time=after[0], after_revision=after[1], count=count, **_retentions(retention)
    )
    revisions = [row["revision"] for row in rows] if not candidates else []
    periods: dict[str, list[Period]] = {}
    for row in await _PERIODS.rows(connection, revision=revisions, periods=limits.POLICY_PERIODS) if revisions else []:
        period = Period(row["instance"], row["run_id"], row["since"], row["until"])
        periods.setdefault(row["revision"], []).append(period)
    return [replace(_kept_revision(row), periods=tuple(periods.get(row["revision"], ()))) for row in rows]


async def _find(connection: Connection, revision: str, retention: timedelta) -> KeptRevision | None:
    # Of a candidate that was in force too, the first row says so.
    row = await _ONE.row(connection, revision=revision, **_retentions(retention))
    return _kept_revision(row) if row and row["expire_time"] else None


async def _files(connection: Connection, kept: KeptRevision) -> dict[str, bytes]:
    if kept.is_candidate:
        return await candidate_store.files(connection, kept.revision)
    stored = await policy_store.files(connection, kept.revision)
    rules = {path: content for path, content in sorted(stored.items()) if is_rule_file(path)}
    # Files past retention are deleted in batches, and a part of a revision is none.
    return rules if len(rules) == kept.file_count else {}


def _retentions(retention: timedelta) -> Mapping[str, timedelta]:
    return {
        "retention": retention + limits.DECISION_GRACE,
        "candidate_retention": limits.CANDIDATE_RETENTION,
    }


def _kept_revision(row: asyncpg.Record) -> KeptRevision:
    return KeptRevision(**row)
