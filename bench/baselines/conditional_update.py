"""UPDATE … WHERE available >= n, the shortest way to sell from PostgreSQL without overselling.

It stores two facts, in one transaction: how many units are available, and which order took one. There are no locations,
shipments or movements, and nothing is decided.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from bench.baselines.baseline import SKU, TOTAL_UNITS, compare, open_tables
from bench.rounds import WrongAnswer

_TABLES = """
CREATE TABLE stock_level (sku text PRIMARY KEY, available integer NOT NULL);
CREATE TABLE customer_order (id text PRIMARY KEY, sku text NOT NULL, unit_count integer NOT NULL);
"""


class ConditionalUpdate:
    """Sells by a conditional UPDATE."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def allocate(self, order_id: str) -> None:
        """Sells one unit."""
        async with self._pool.acquire() as connection, connection.transaction():
            # The order first, so that the hot row is locked for as short a time as possible.
            await connection.execute("INSERT INTO customer_order VALUES ($1, $2, 1)", order_id, SKU)
            status = await connection.execute(
                "UPDATE stock_level SET available = available - $2 WHERE sku = $1 AND available >= $2", SKU, 1
            )
            if status != "UPDATE 1":
                raise WrongAnswer("an order for which stock exists was not allocated")

    async def verify(self, order_count: int) -> None:
        """Compares the answered orders with both tables."""
        available = await self._pool.fetchval("SELECT available FROM stock_level")
        counts = {
            "orders": await self._pool.fetchval("SELECT count(*) FROM customer_order"),
            "units sold": TOTAL_UNITS - available,
        }
        compare("conditional_update", order_count, counts, available)


@asynccontextmanager
async def conditional_update(url: str, connections: int) -> AsyncIterator[ConditionalUpdate]:
    """The baseline with one row of stock."""
    async with open_tables(url, "conditional_update", _TABLES, connections) as pool:
        await pool.execute("INSERT INTO stock_level VALUES ($1, $2)", SKU, TOTAL_UNITS)
        yield ConditionalUpdate(pool)
