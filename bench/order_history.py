"""Copies of orders in PostgreSQL, earlier in time: a long history within minutes, from orders that were placed.

Every row that an order left in any table is copied as it is, but for its ids and times. UUIDs of version 7 begin with
their time, so ids of copies also sort by the time of their order.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

Connection = Any
"""A connection of asyncpg."""

_OF_ORDER = "allocation_id IN (TABLE copied)"
_TABLES = {
    "allocation": "id IN (TABLE copied)",
    "order_line": _OF_ORDER,
    "shipment": _OF_ORDER,
    "promise": _OF_ORDER,
    "shortage": _OF_ORDER,
    "order_event": _OF_ORDER,
    "decision": _OF_ORDER,
    "decision_batch": "id IN (SELECT batch_id FROM copied_decision)",
    "stock_movement": _OF_ORDER,
    "exception": _OF_ORDER,
    "stock_effect": "shipment_id IN (SELECT id FROM copied_shipment)",
    "exception_event": "exception_id IN (SELECT id FROM copied_exception)",
}
"""Tables with rows of orders, and which rows are of the orders that are copied."""

_NAMES = ("order_id", "event_id", "change_id", "subject")
"""Text columns whose values must differ between two orders."""

EARLIER = """
CREATE OR REPLACE FUNCTION pg_temp.earlier(id uuid, milliseconds bigint) RETURNS uuid
IMMUTABLE STRICT PARALLEL SAFE LANGUAGE sql RETURN (
  lpad(to_hex((('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint - milliseconds) & (1::bigint << 48) - 1),
    12, '0')
  || right(replace(id::text, '-', ''), 20)
)::uuid
"""
"""Gives a connection the function that moves the time of an id back."""

_AT_ONCE = 5_000
"""Orders that one transaction adds, about."""
_COPIED = """
CREATE TEMPORARY TABLE copied AS SELECT id FROM allocation
WHERE NOT needs_person AND state <> 'held' AND NOT EXISTS (
    SELECT FROM shipment
    WHERE allocation_id = allocation.id AND state NOT IN ('delivered', 'collected', 'cancelled', 'rejected')
)
"""
_COLUMNS = """
SELECT column_name AS name, data_type AS type FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = $1 AND is_generated = 'NEVER' ORDER BY ordinal_position
"""
_CORRECT_LEVELS = """
UPDATE stock_level SET on_hand = on_hand + $1 * moved.units
FROM (
    SELECT sku, location_id, sum(on_hand_delta) AS units FROM copied_stock_movement GROUP BY sku, location_id
) AS moved
WHERE (stock_level.sku, stock_level.location_id) = (moved.sku, moved.location_id)
"""


async def copy_orders(
    connection: Connection, copies: int, step: timedelta, done: Callable[[int], None] = lambda _: None
) -> None:
    """Adds `copies` copies of each finished order, `step` apart and before the order itself; corrects stock levels.

    Orders are finished if all that they promised has been delivered or has ended, and nobody has looked after them.
    Calls `done` with the number of orders that were added since the last call.
    """
    await connection.execute(EARLIER)
    await connection.execute(_COPIED)
    count = await connection.fetchval("SELECT count(*) FROM copied")
    statements = [await _copying(connection, table, condition, step) for table, condition in _TABLES.items()]
    oldest = copies
    while oldest > 0:
        newest = max(1, oldest - _AT_ONCE // max(1, count))
        async with connection.transaction():
            for statement in statements:
                await connection.execute(statement, oldest, newest)
        done(count * (oldest - newest + 1))
        oldest = newest - 1
    await connection.execute(_CORRECT_LEVELS, copies)
    await connection.execute("VACUUM ANALYZE")


async def _copying(connection: Connection, table: str, condition: str, step: timedelta) -> str:
    """The statement that adds copies of the rows of a table, from the oldest to the newest of these numbers."""
    columns = await connection.fetch(_COLUMNS, table)
    values = ", ".join(_value(column["name"], column["type"], step) for column in columns)
    names = ", ".join(f'"{column["name"]}"' for column in columns)
    await connection.execute(f"CREATE TEMPORARY TABLE copied_{table} AS SELECT * FROM {table} WHERE {condition}")
    return (
        f"INSERT INTO {table} ({names}) "
        f"SELECT {values} FROM generate_series($1::int, $2::int, -1) AS number, copied_{table} ORDER BY number DESC"
    )


def _value(name: str, type_: str, step: timedelta) -> str:
    milliseconds = round(step / timedelta(milliseconds=1))
    if type_ == "uuid":
        return f"pg_temp.earlier({name}, number * {milliseconds}::bigint)"
    if type_.startswith("timestamp"):
        return f"{name} - number * interval '{milliseconds} milliseconds'"
    if name in _NAMES:
        return f"{name} || '~' || number"
    return name
