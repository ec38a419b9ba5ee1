"""How far each account's polls have come. One process polls an account's kind at a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg

from service.channels.store.pool import Pool
from service.channels.store.schema import SCHEMA

LEASE = timedelta(seconds=15)
"""How long after the last sign of a process another one does its poll."""

_START = f"""
INSERT INTO {SCHEMA}.cursors (account, kind, position, next_poll_time) VALUES ($1, $2, $3, now() + $4::interval)
ON CONFLICT DO NOTHING
"""
_CLAIM = f"""
UPDATE {SCHEMA}.cursors SET lease = $3, lease_end = now() + $4::interval
WHERE account = $1 AND kind = $2 AND next_poll_time <= now() AND (lease_end IS NULL OR lease_end < now())
RETURNING position
"""
_MOVE = f"""
UPDATE {SCHEMA}.cursors SET position = greatest(position, $4), lease_end = now() + $5::interval
WHERE account = $1 AND kind = $2 AND lease = $3
"""
_KEEP = f"UPDATE {SCHEMA}.cursors SET lease_end = now() + $4::interval WHERE account = $1 AND kind = $2 AND lease = $3"
_FINISH = f"""
UPDATE {SCHEMA}.cursors SET lease = NULL, lease_end = NULL, next_poll_time = now() + $4::interval,
    poll_time = CASE WHEN $5 THEN now() ELSE poll_time END
WHERE account = $1 AND kind = $2 AND lease = $3
"""
_LIST = f"""
SELECT account, kind, position, poll_time, extract(epoch FROM now() - next_poll_time) AS behind_seconds
FROM {SCHEMA}.cursors ORDER BY account, kind
"""


@dataclass(frozen=True, slots=True)
class Poll:
    """One poll that this process does; everything up to `position` is stored."""

    account: str
    kind: str
    lease: UUID
    position: datetime


class Cursors:
    """The cursors of all accounts. Every method raises Away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def start(
        self, account: str, kind: str, position: datetime, *, first_after: timedelta = timedelta(0)
    ) -> None:
        """Begins a cursor, which is due `first_after` from now; one that exists stays where it is."""
        await self._pool.rows(_START, account, kind, position, first_after)

    async def claim(self, account: str, kind: str) -> Poll | None:
        """A poll that is due; None if none is, or another process does it."""
        lease = uuid4()
        rows = await self._pool.rows(_CLAIM, account, kind, lease, LEASE)
        return Poll(account, kind, lease, rows[0]["position"]) if rows else None

    async def move(self, poll: Poll, position: datetime) -> None:
        """Everything up to `position` is stored."""
        await self._pool.rows(_MOVE, poll.account, poll.kind, poll.lease, position, LEASE)

    async def keep(self, poll: Poll) -> None:
        """Says that the poll is still being done."""
        await self._pool.rows(_KEEP, poll.account, poll.kind, poll.lease, LEASE)

    async def finish(self, poll: Poll, pause: timedelta, *, worked: bool) -> None:
        """Ends the poll; the next one is due after a pause."""
        await self._pool.rows(_FINISH, poll.account, poll.kind, poll.lease, pause, worked)

    async def listed(self) -> list[asyncpg.Record]:
        """All cursors."""
        return await self._pool.rows(_LIST)
