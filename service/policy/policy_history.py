"""Which rules were in force when, on which service: written as it happens, because nothing else remembers it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

from sqlalchemy import Integer, Interval, Text, Uuid, delete, exists, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from service import limits
from service.audit import audit_log
from service.audit.audit_log import AuditedChange
from service.database.database import Columns, Connection, Database, Statement, parameter, transposed, unnested
from service.database.tables import Moment, policy_history
from service.errors import NotReady
from service.policy.active_policies import ActivePolicies, LoadedPolicies
from service.policy.rules_folder import problems_text

STARTED, LOADED, REFUSED, STOPPED = "started", "loaded", "refused", "stopped"
QUEUED_EVENTS = 1_000
"""Events that wait to be written while the database does not answer; beyond it the oldest are dropped."""
PURGE_BATCH = 5_000
"""Old events that one transaction deletes."""

_history = policy_history.c
_COLUMNS: Columns = {
    "event_time": Moment,
    "instance": Text,
    "run_id": Uuid,
    "event": Text,
    "revision": Text,
    "load_time": Moment,
    "problem_count": Integer,
    "problem": Text,
}
_new = unnested("new", **_COLUMNS)
_WRITE = Statement(
    insert(policy_history)
    .from_select([*_COLUMNS], select(*(_new.c[name] for name in _COLUMNS)).order_by(_new.c.event_time))
    # An attempt whose commit was not confirmed may have written them.
    .on_conflict_do_nothing()
    .returning(_history.event_time)
)
_later = policy_history.alias("later")
_age = func.clock_timestamp() - parameter("retention", Interval)
_old = (
    select(_history.id)
    .where(
        _history.event_time < _age,
        or_(
            # The last event of a service stays, for its rules may be in force still.
            exists().where(
                _later.c.instance == _history.instance,
                _later.c.event_time > _history.event_time,
                _later.c.event_time < _age,
            ),
            _history.event == STOPPED,
            # A service that was killed years ago had its last event long ago too.
            _history.event_time < _age - parameter("retention", Interval),
        ),
    )
    .limit(parameter("count", Integer))
)
_PURGE = Statement(delete(policy_history).where(_history.id.in_(_old)).returning(_history.id))


class PolicyHistory:
    """Records what happens to the rules of one service. `instance` is its name, `run_id` this run of it."""

    def __init__(
        self,
        database: Database,
        active_policies: ActivePolicies,
        *,
        instance: str,
        run_id: UUID,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._database = database
        self._active_policies = active_policies
        self._instance = instance
        self._run_id = run_id
        self._clock = clock
        self._known = active_policies.current
        self._queue: deque[tuple[tuple[object, ...], AuditedChange]] = deque(maxlen=QUEUED_EVENTS)
        """Rows to write, each with its audit event."""

    async def started(self) -> None:
        """Records the start of the service. Raises NotReady."""
        self._known = self._active_policies.current
        self._add(STARTED, self._clock(), self._known)
        await self._write()

    async def reloaded(self) -> None:
        """Records what the last reading of the rules folder changed, and what is still to be written. Raises NotReady.

        To be called after each reading that put rules in force or refused them.
        """
        before, current = self._known, self._active_policies.current
        self._known = current
        if current.load_time != before.load_time:
            self._add(LOADED, current.load_time, current, {"revision": before.policy_set.revision})
        if current.refuse_time is not None and current.refuse_time != before.refuse_time:
            self._add(REFUSED, current.refuse_time, current)
        await self._write()

    async def stopped(self, _: float = 0) -> None:
        """Records the end of the service, if the database answers."""
        self._add(STOPPED, self._clock(), self._active_policies.current)
        with suppress(NotReady, asyncio.CancelledError):
            await self._write()

    def _add(
        self, event: str, time: datetime, loaded: LoadedPolicies, before: Mapping[str, object] | None = None
    ) -> None:
        problems = loaded.problems if event == REFUSED else ()
        files = self._active_policies.last_read.files
        first = problems_text(problems[:1], files)[: limits.HISTORY_PROBLEM_LENGTH] if problems else None
        revision, row = loaded.policy_set.revision, (time, self._instance, self._run_id, event)
        after = {"revision": revision, "service": self._instance, "problem_count": len(problems), "problem": first}
        audited = AuditedChange(audit_log.POLICY, "policy_revision", revision, event, before, after)
        self._queue.append(((*row, revision, loaded.load_time, len(problems), first), audited))

    async def _write(self) -> None:
        entries = list(islice(self._queue, QUEUED_EVENTS))
        if not entries:
            return
        rows = [row for row, _ in entries]

        async def work(connection: Connection) -> None:
            written = await _WRITE.rows(connection, **transposed(list(_COLUMNS), rows))
            times = {row["event_time"] for row in written}
            await audit_log.record(connection, [audited for row, audited in entries if row[0] in times])

        await self._database.transaction("policy_history", work)
        for entry in entries:
            if self._queue and self._queue[0] is entry:
                self._queue.popleft()


async def purge(connection: Connection, retention: timedelta) -> int:
    """Deletes at most PURGE_BATCH events older than `retention`; returns how many.

    The last event of a service that has not stopped stays as long again.
    """
    return len(await _PURGE.rows(connection, retention=retention, count=PURGE_BATCH))
