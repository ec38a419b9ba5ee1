"""What arrived and what is to be read again. A delivery is taken once; hints of one entity become one read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import asyncpg

from service.channels.adapter import Delivery
from service.channels.store.pool import Pool
from service.channels.store.schema import SCHEMA

LEASE = timedelta(seconds=15)
"""How long after the last sign of a worker another one takes its batch over."""
MOST_ATTEMPTS = 5
"""Attempts at content that fails; then it is parked for a person."""
UNMAPPED_PAUSE = timedelta(seconds=30)
"""How soon what waits for a mapping is looked at again."""
SETTLED = timedelta(seconds=5)
"""A change that a poll finds is known if it was read this much later: channels count in whole seconds."""

_ACCEPT = f"""
WITH stated AS (
    SELECT * FROM unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::timestamptz[])
    AS stated(delivery_key, topic, kind, entity_id, update_time)
), taken AS (
    INSERT INTO {SCHEMA}.deliveries (account, delivery_key, topic)
    SELECT DISTINCT ON (delivery_key) $1, delivery_key, topic FROM stated ORDER BY delivery_key
    ON CONFLICT DO NOTHING RETURNING delivery_key
), hinted AS (
    INSERT INTO {SCHEMA}.entities AS known (account, kind, entity_id, hinted_update_time)
    SELECT $1, kind, entity_id, max(update_time) FROM stated JOIN taken USING (delivery_key)
    WHERE kind <> '' GROUP BY kind, entity_id ORDER BY kind, entity_id
    ON CONFLICT (account, kind, entity_id) DO UPDATE SET
        hint_count = known.hint_count + 1,
        state = 'waiting',
        attempt_count = 0,
        next_attempt_time = now(),
        hinted_update_time = greatest(known.hinted_update_time, excluded.hinted_update_time),
        first_hint_time = CASE WHEN known.read_count < known.hint_count THEN known.first_hint_time ELSE now() END
    WHERE ($7 AND known.state = 'done' AND known.update_time >= excluded.hinted_update_time
           AND known.read_time > known.update_time + $8::interval) IS NOT TRUE
)
SELECT delivery_key FROM taken
"""
_HEARD = f"""
INSERT INTO {SCHEMA}.accounts AS known (account, delivery_time) VALUES ($1, now())
ON CONFLICT (account) DO UPDATE SET delivery_time = now() WHERE known.delivery_time IS NULL
    OR known.delivery_time < now() - interval '5 seconds'
"""
_CLAIM = f"""
UPDATE {SCHEMA}.entities AS entity SET lease = $3, lease_end = now() + $5::interval
FROM (
    SELECT account, kind, entity_id FROM {SCHEMA}.entities
    WHERE account = $1 AND kind = $2 AND state IN ('waiting', 'unmapped') AND next_attempt_time <= now()
        AND (lease_end IS NULL OR lease_end < now())
    ORDER BY next_attempt_time LIMIT $4 FOR UPDATE SKIP LOCKED
) AS due
WHERE (entity.account, entity.kind, entity.entity_id) = (due.account, due.kind, due.entity_id)
RETURNING entity.entity_id, entity.hint_count, entity.read_count, entity.update_time
"""
_FREE = "lease = NULL, lease_end = NULL"
_FINISH = f"""
UPDATE {SCHEMA}.entities SET {_FREE}, attempt_count = 0, failure = '',
    state = CASE WHEN hint_count > $5 THEN 'waiting' ELSE 'done' END, read_count = $5,
    first_hint_time = CASE WHEN hint_count > $5 THEN now() ELSE first_hint_time END,
    next_attempt_time = now(), update_time = greatest(update_time, $6), read_time = $7
WHERE account = $1 AND kind = $2 AND entity_id = $3 AND lease = $4
"""
_KEEP = f"""
UPDATE {SCHEMA}.entities SET lease_end = now() + $4::interval
WHERE account = $1 AND kind = $2 AND state IN ('waiting', 'unmapped') AND lease = $3
"""
_POSTPONE = f"""
UPDATE {SCHEMA}.entities SET {_FREE}, next_attempt_time = now() + $5::interval
WHERE account = $1 AND kind = $2 AND entity_id = $3 AND lease = $4
"""
_FAIL = f"""
UPDATE {SCHEMA}.entities SET {_FREE}, failure = $5, attempt_count = attempt_count + 1,
    -- The exception that is open names this order, and its end must name the same.
    order_id = CASE WHEN is_reported THEN order_id ELSE $6 END,
    state = CASE WHEN hint_count > $8 THEN 'waiting' WHEN $7 THEN 'unmapped'
        WHEN attempt_count + 1 >= {MOST_ATTEMPTS} OR $9 THEN 'parked' ELSE 'waiting' END,
    next_attempt_time = now() + CASE WHEN $7 THEN interval '{UNMAPPED_PAUSE.seconds} seconds'
        ELSE interval '1 second' * power(2, least(attempt_count, 8)) END
WHERE account = $1 AND kind = $2 AND entity_id = $3 AND lease = $4
"""
_UNREPORTED = f"""
SELECT kind, entity_id, order_id, failure, state FROM {SCHEMA}.entities
WHERE account = $1 AND failure <> '' AND state IN ('unmapped', 'parked')
    AND (NOT is_reported OR reported_failure <> failure) LIMIT 100
"""
_RECOVERED = f"""
SELECT kind, entity_id, order_id, failure, state FROM {SCHEMA}.entities
WHERE account = $1 AND is_reported AND failure = '' LIMIT 100
"""
_REPORTED = f"""
UPDATE {SCHEMA}.entities SET is_reported = $4, reported_failure = $5
WHERE account = $1 AND kind = $2 AND entity_id = $3
"""
_STATE_ANOTHER = f"""
UPDATE {SCHEMA}.entities SET reported_failure = '' WHERE (account, kind, entity_id) IN (
    SELECT account, kind, entity_id FROM {SCHEMA}.entities
    WHERE account = $1 AND kind = ANY($2::text[]) AND order_id = $3 AND is_reported AND failure <> ''
    ORDER BY first_hint_time, entity_id LIMIT 1
) RETURNING 1
"""
_RAISE_AGAIN = f"""
UPDATE {SCHEMA}.entities SET is_reported = false WHERE account = $1 AND order_id = '' AND is_reported AND failure <> ''
"""
_REPLAY = f"""
UPDATE {SCHEMA}.entities SET state = 'waiting', attempt_count = 0, next_attempt_time = now(),
    hint_count = hint_count + 1, first_hint_time = now()
WHERE ($1 = '' OR account = $1) AND ($2 = '' OR entity_id = $2) AND state = ANY($3::text[]) RETURNING entity_id
"""
_END = f"""
UPDATE {SCHEMA}.entities SET {_FREE}, state = 'done', failure = '', attempt_count = 0, read_count = hint_count,
    read_time = now()
WHERE ($1 = '' OR account = $1) AND entity_id = $2 AND state = ANY($3::text[]) RETURNING entity_id
"""
_LIST = f"""
SELECT account, kind, entity_id, state, failure, attempt_count, hint_count, read_count, first_hint_time,
    update_time, read_time, next_attempt_time
FROM {SCHEMA}.entities WHERE ($1 = '' OR account = $1) AND ($2 = '' OR entity_id = $2) AND state = ANY($3::text[])
ORDER BY first_hint_time DESC, entity_id LIMIT $4
"""
_COUNTS = f"""
SELECT account, kind, state, count(*) AS count,
    extract(epoch FROM now() - min(first_hint_time) FILTER (WHERE read_count < hint_count)) AS oldest_seconds
FROM {SCHEMA}.entities WHERE state <> 'done' GROUP BY account, kind, state
"""
_KNOWN = f"SELECT entity_id FROM {SCHEMA}.entities WHERE account = $1 AND kind = $2 AND entity_id = ANY($3::text[])"
_PURGE = (
    f"DELETE FROM {SCHEMA}.deliveries WHERE receive_time < now() - $1::interval",
    f"DELETE FROM {SCHEMA}.entities WHERE state = 'done' AND read_time < now() - $1::interval * 3",
)
FAILED = ("parked", "unmapped")
STATES = ("waiting", *FAILED, "done")


@dataclass(frozen=True, slots=True)
class Claim:
    """One entity that this worker reads. `hint_count` are the hints that the read answers."""

    account: str
    kind: str
    entity_id: str
    lease: UUID
    hint_count: int
    unread_count: int
    update_time: datetime | None
    """The channel's time of what was last applied."""


@dataclass(frozen=True, slots=True)
class Failed:
    """One entity that failed, or that works again."""

    kind: str
    entity_id: str
    order_id: str
    failure: str
    state: str


class Inbox:
    """The deliveries and entities of all accounts. Every method raises Away."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def accept(self, account: str, deliveries: Sequence[Delivery], *, polled: bool = False) -> set[str]:
        """Stores deliveries with their hints, and commits; returns the keys of those that were new.

        What a poll finds and was read since is no hint.
        """
        rows = [
            (delivery.key, delivery.topic, hint.kind, hint.entity_id, hint.update_time)
            for delivery in deliveries
            for hint in delivery.hints
        ]
        rows += [(delivery.key, delivery.topic, "", "", None) for delivery in deliveries if not delivery.hints]
        if not rows:
            return set()
        taken = await self._pool.rows(_ACCEPT, account, *map(list, zip(*rows, strict=True)), polled, SETTLED)
        return {row["delivery_key"] for row in taken}

    async def heard(self, account: str) -> None:
        """Notes that the channel has sent something."""
        await self._pool.rows(_HEARD, account)

    async def claim(self, account: str, kind: str, most: int) -> list[Claim]:
        """Entities that are due, leased to the caller."""
        lease = uuid4()
        rows = await self._pool.rows(_CLAIM, account, kind, lease, most, LEASE)
        return [_claim(account, kind, lease, row) for row in rows]

    async def keep(self, claim: Claim) -> None:
        """Says that the worker of a claim's batch is still at work on what is left of it."""
        await self._pool.rows(_KEEP, claim.account, claim.kind, claim.lease, LEASE)

    async def finish(self, claim: Claim, update_time: datetime | None, read_time: datetime) -> None:
        """Everything that was read is applied. Hints that came since the claim make the entity due again."""
        await self._pool.rows(_FINISH, *_key(claim), claim.hint_count, update_time, read_time)

    async def postpone(self, claim: Claim, pause: timedelta) -> None:
        """Tries again later; no attempt is counted."""
        await self._pool.rows(_POSTPONE, *_key(claim), pause)

    async def fail(self, claim: Claim, failure: str, order_id: str, *, unmapped: bool, final: bool = False) -> None:
        """Counts a failed attempt, or waits for a mapping; parks after MOST_ATTEMPTS, or at once if it is `final`."""
        await self._pool.rows(_FAIL, *_key(claim), failure, order_id, unmapped, claim.hint_count, final)

    async def unreported(self, account: str) -> list[Failed]:
        """Failures that need an exception, or whose exception says what is so no more."""
        return [Failed(**dict(row)) for row in await self._pool.rows(_UNREPORTED, account)]

    async def recovered(self, account: str) -> list[Failed]:
        """What works again, with an exception about it that is still open."""
        return [Failed(**dict(row)) for row in await self._pool.rows(_RECOVERED, account)]

    async def reported(self, account: str, failed: Failed, *, is_open: bool) -> None:
        """Notes whether an exception is open about it, which says what has failed."""
        said = failed.failure if is_open else ""
        await self._pool.rows(_REPORTED, account, failed.kind, failed.entity_id, is_open, said)

    async def state_another(self, account: str, kinds: Sequence[str], order_id: str) -> bool:
        """Has the open exception of these kinds and this order say what else still fails; False where nothing does."""
        return bool(await self._pool.rows(_STATE_ANOTHER, account, list(kinds), order_id))

    async def raise_again(self, account: str) -> None:
        """Has exceptions without an order raised again for what still fails, after all of them were resolved."""
        await self._pool.rows(_RAISE_AGAIN, account)

    async def replay(self, account: str = "", entity_id: str = "", states: Sequence[str] = FAILED) -> int:
        """Makes entities due again; returns how many."""
        return len(await self._pool.rows(_REPLAY, account, entity_id, list(states)))

    async def end(self, account: str, entity_id: str) -> int:
        """Ends what failed, because a person has seen to it; returns how many. A later hint has it read again."""
        return len(await self._pool.rows(_END, account, entity_id, list(FAILED)))

    async def listed(self, account: str, entity_id: str, states: Sequence[str], most: int) -> list[asyncpg.Record]:
        """Entities, the newest hints first."""
        return await self._pool.rows(_LIST, account, entity_id, list(states), most)

    async def known(self, account: str, kind: str, entity_ids: Sequence[str]) -> list[str]:
        """Those entities that the channel has ever hinted at."""
        return [row["entity_id"] for row in await self._pool.rows(_KNOWN, account, kind, list(entity_ids))]

    async def counts(self) -> list[asyncpg.Record]:
        """Entities that are not done, by account, kind and state, with the age of the oldest unread hint."""
        return await self._pool.rows(_COUNTS)

    async def purge(self, kept: timedelta) -> None:
        """Deletes old deliveries, and what was read long ago."""
        for statement in _PURGE:
            await self._pool.rows(statement, kept)


def _key(claim: Claim) -> tuple[str, str, str, UUID]:
    return claim.account, claim.kind, claim.entity_id, claim.lease


def _claim(account: str, kind: str, lease: UUID, row: asyncpg.Record) -> Claim:
    return Claim(
        account,
        kind,
        row["entity_id"],
        lease,
        row["hint_count"],
        row["hint_count"] - row["read_count"],
        row["update_time"],
    )
