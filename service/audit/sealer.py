"""Seals audit events within seconds of their commit, and deletes sealed ones whose retention has ended."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from service.audit import audit_lease, chain, seal_store
from service.audit.signing import SigningKey
from service.background import FIRST_PURGE_SECONDS, every
from service.database.database import Connection, Database
from service.metrics import Metrics

SEAL_SECONDS = 2.0
"""How often each service looks for events to seal."""
SEAL_BATCH = 200
"""Events that one transaction seals: hashing them takes about as long as one turn of work."""
PURGE_SECONDS = 3_600.0
PURGE_BATCH = 5_000
"""Old events that one transaction deletes, which leaves one anchor."""
RETENTION_STEP = timedelta(days=1)
"""Events are deleted once they are this much older than their retention, so that anchors are at most one a day."""


class Sealer:
    """Each service on a database runs one; a lease lets one of them seal. `signing_key` None signs nothing."""

    def __init__(
        self,
        database: Database,
        metrics: Metrics,
        holder: UUID,
        *,
        signing_key: SigningKey | None = None,
        retention: timedelta | None = None,
    ) -> None:
        """`retention` None keeps events for good, and so does a service without a key to sign what it deletes."""
        self._database = database
        self._metrics = metrics
        self._holder = holder
        self._signing_key = signing_key
        self._retention = retention

    async def run(self, stop: asyncio.Event) -> None:
        """Seals until `stop` is set."""
        await asyncio.gather(
            every(SEAL_SECONDS, stop, self.seal),
            every(PURGE_SECONDS, stop, self.purge, first_after=FIRST_PURGE_SECONDS),
        )

    async def seal(self) -> None:
        """Seals what waits, if no other service does."""
        age_seconds = await self._database.unlocked("audit_age", seal_store.unsealed_age)
        self._metrics.audit.unsealed_seconds.set(age_seconds or 0)
        if age_seconds is None:
            return
        while await self._database.transaction("audit_seal", self._seal_batch) == SEAL_BATCH:
            pass

    async def purge(self) -> None:
        """Deletes sealed events past their retention, if there is a key to sign that with."""
        if self._signing_key is None or self._retention is None:
            return
        while await self._database.transaction("audit_purge", self._purge_batch) == PURGE_BATCH:
            pass

    async def _seal_batch(self, connection: Connection) -> int:
        """Returns how many events it sealed. The lease's row is locked first, so one transaction seals at a time."""
        if not await audit_lease.is_held(connection, self._holder):
            return 0
        events = await seal_store.unsealed(connection, SEAL_BATCH)
        if not events:
            return 0
        end, now = await seal_store.chain_end(connection), await seal_store.clock(connection)
        new = [event for event in events if not event["is_sealed"]]
        await seal_store.add_seals(connection, self._seals(end, new, now) if new else [])
        await seal_store.stop_waiting(connection, [event["id"] for event in events])
        return len(events)

    def _seals(self, end: seal_store.ChainEnd, events: list[asyncpg.Record], now: datetime) -> list[tuple[object, ...]]:
        rows: list[tuple[object, ...]] = []
        position, digest = end.position, end.digest
        for event in events:
            position, digest = position + 1, chain.seal_hash(digest, position + 1, now, event)
            rows.append((position, event["id"], digest, now, None))
        if self._signing_key is not None:
            rows[-1] = (*rows[-1][:-1], self._signing_key.sign(chain.signed_seal(position, digest)))
        return rows

    async def _purge_batch(self, connection: Connection) -> int:
        """Returns how many events it deleted; 0 if another service holds the lease."""
        assert self._signing_key is not None
        assert self._retention is not None
        if not await audit_lease.is_held(connection, self._holder):
            return 0
        step = timedelta() if self._retention < RETENTION_STEP else RETENTION_STEP
        if await seal_store.last_old_seal(connection, self._retention + step, 1) is None:
            return 0
        last = await seal_store.last_old_seal(connection, self._retention, PURGE_BATCH)
        assert last is not None
        number = await seal_store.last_anchor_number(connection) + 1
        anchored = (number, last["position"], last["hash"], last["event_time"], last["now"])
        signature = self._signing_key.sign(chain.signed_anchor(*anchored))
        names = ("number", "position", "hash", "event_time", "anchor_time")
        await seal_store.add_anchor(connection, **dict(zip(names, anchored, strict=True)), signature=signature)
        return await seal_store.delete_anchored(connection, PURGE_BATCH)
