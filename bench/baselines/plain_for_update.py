"""A transaction of plain statements for each order: SELECT … FOR UPDATE of a stock level, then six facts are written.

It stores what Truestock stores of an order: order, line, shipment, promise, stock movement and stock level. It decides
nothing: there are no rules, buffers, ranks or channels, the first location with stock supplies the order, and nothing
is kept from which a decision could be explained or replayed.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from bench.baselines.baseline import SKU, compare, open_tables
from bench.bench_calls import LOCATION_IDS, UNITS
from bench.rounds import WrongAnswer

_TABLES = """
CREATE TABLE stock_level (
    sku text, location_id text, on_hand integer NOT NULL, allocated integer NOT NULL, PRIMARY KEY (sku, location_id));
CREATE TABLE customer_order (id text PRIMARY KEY, country text, region text, postal_code text,
    create_time timestamptz NOT NULL DEFAULT now());
CREATE TABLE order_line (order_id text, line_id text, sku text, unit_count integer, PRIMARY KEY (order_id, line_id));
CREATE TABLE shipment (id uuid PRIMARY KEY, order_id text, location_id text, state text);
CREATE TABLE promise (shipment_id uuid, line_id text, sku text, location_id text, unit_count integer,
    PRIMARY KEY (shipment_id, line_id));
CREATE TABLE stock_movement (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, sku text, location_id text,
    order_id text, kind text, unit_count integer, create_time timestamptz NOT NULL DEFAULT now());
"""


class PlainForUpdate:
    """Sells by a transaction for each order."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def allocate(self, order_id: str) -> None:
        """Sells one unit of the first location that has one."""
        shipment_id = uuid.uuid4()
        async with self._pool.acquire() as connection, connection.transaction():
            location_id = await connection.fetchval(
                "SELECT location_id FROM stock_level WHERE sku = $1 AND on_hand - allocated >= 1 "
                "ORDER BY location_id LIMIT 1 FOR UPDATE",
                SKU,
            )
            if location_id is None:
                raise WrongAnswer("an order for which stock exists was not allocated")
            await connection.execute(
                "INSERT INTO customer_order (id, country, region, postal_code) VALUES ($1, 'US', 'TX', '78704')",
                order_id,
            )
            await connection.execute("INSERT INTO order_line VALUES ($1, '1', $2, 1)", order_id, SKU)
            await connection.execute(
                "INSERT INTO shipment VALUES ($1, $2, $3, 'assigned')", shipment_id, order_id, location_id
            )
            await connection.execute("INSERT INTO promise VALUES ($1, '1', $2, $3, 1)", shipment_id, SKU, location_id)
            await connection.execute(
                "INSERT INTO stock_movement (sku, location_id, order_id, kind, unit_count) "
                "VALUES ($1, $2, $3, 'allocated', 1)",
                SKU,
                location_id,
                order_id,
            )
            await connection.execute(
                "UPDATE stock_level SET allocated = allocated + 1 WHERE sku = $1 AND location_id = $2", SKU, location_id
            )

    async def verify(self, order_count: int) -> None:
        """Compares the answered orders with every table."""
        tables = ("customer_order", "order_line", "shipment", "promise", "stock_movement")
        counts = {table: await self._pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables}
        counts["units allocated"] = await self._pool.fetchval("SELECT sum(allocated) FROM stock_level")
        least_left = await self._pool.fetchval("SELECT min(on_hand - allocated) FROM stock_level")
        compare("plain_for_update", order_count, counts, least_left)


@asynccontextmanager
async def plain_for_update(url: str, connections: int) -> AsyncIterator[PlainForUpdate]:
    """The baseline with a stock level for each location."""
    async with open_tables(url, "plain_for_update", _TABLES, connections) as pool:
        rows = [(SKU, location_id, UNITS, 0) for location_id in LOCATION_IDS]
        await pool.executemany("INSERT INTO stock_level VALUES ($1, $2, $3, $4)", rows)
        yield PlainForUpdate(pool)
