"""Stock in many buckets, of which an order takes one that nobody else holds: FOR UPDATE SKIP LOCKED.

No order waits for the lock of another. It stores two facts, in one transaction: how many units are left in each bucket,
and which order took one from which bucket. There are no locations, shipments or movements, and nothing is decided. An
order of several units may find no bucket that has all of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from bench.baselines.baseline import SKU, TOTAL_UNITS, compare, open_tables
from bench.rounds import WrongAnswer

BUCKETS = 100
_TABLES = """
CREATE TABLE bucket (id integer PRIMARY KEY, sku text NOT NULL, left_count integer NOT NULL) WITH (fillfactor = 50);
CREATE TABLE customer_order (id text PRIMARY KEY, bucket_id integer NOT NULL, unit_count integer NOT NULL);
"""


class SkipLocked:
    """Sells from the first bucket that is not locked."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def allocate(self, order_id: str) -> None:
        """Sells one unit."""
        async with self._pool.acquire() as connection, connection.transaction():
            bucket_id = await connection.fetchval(
                "UPDATE bucket SET left_count = left_count - 1 WHERE id = (SELECT id FROM bucket "
                "WHERE sku = $1 AND left_count >= 1 ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING id",
                SKU,
            )
            if bucket_id is None:
                raise WrongAnswer("an order for which stock exists was not allocated")
            await connection.execute("INSERT INTO customer_order VALUES ($1, $2, 1)", order_id, bucket_id)

    async def verify(self, order_count: int) -> None:
        """Compares the answered orders with both tables."""
        left = await self._pool.fetchval("SELECT sum(left_count) FROM bucket")
        counts = {
            "orders": await self._pool.fetchval("SELECT count(*) FROM customer_order"),
            "units sold": TOTAL_UNITS - left,
        }
        compare("skip_locked", order_count, counts, await self._pool.fetchval("SELECT min(left_count) FROM bucket"))


@asynccontextmanager
async def skip_locked(url: str, connections: int) -> AsyncIterator[SkipLocked]:
    """The baseline with all units in buckets of equal size."""
    async with open_tables(url, "skip_locked", _TABLES, connections) as pool:
        rows = [(number, SKU, TOTAL_UNITS // BUCKETS) for number in range(BUCKETS)]
        await pool.executemany("INSERT INTO bucket VALUES ($1, $2, $3)", rows)
        yield SkipLocked(pool)
