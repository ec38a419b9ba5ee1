"""Keeps what counters count of orders and of compared counts, in the transaction that they count after their commit.

Reports read it: a counter is in the memory of one service, and says nothing of any window of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import Boolean, Integer, LargeBinary, Numeric, Text, Uuid

from service.database.database import Columns, Connection
from service.database.row_writes import Row, RowWrite, write_rows
from service.database.tables import Moment, Texts, order_count, stock_comparison

SOLD, OVERSOLD, WITHHELD, CANCELLED, NEEDS_PERSON = "sold", "oversold", "withheld", "cancelled", "needs_person"
"""Kinds of what is counted of orders."""

_ORDER_COUNT: Columns = {
    "count_time": Moment,
    "kind": Text,
    "cause": Text,
    "unit_count": Integer,
    "is_first": Boolean,
    "channel_id": Text,
    "allocation_id": Uuid,
    "policy_revision": Text,
    "rules": Texts,
    "oversold": LargeBinary,
    "priced_units": Integer,
    "value": Numeric,
    "currency": Text,
}
_COMPARISON: Columns = {
    "count_time": Moment,
    "source": Text,
    "location_id": Text,
    "sku": Text,
    "difference": Integer,
    "is_mismatch": Boolean,
}
ORDER_COUNTS = RowWrite(order_count, _ORDER_COUNT)
"""Rows with (time, kind, cause, units, whether the order counts too, channel, allocation, revision, rules, record,
units with a price, their value, its currency)."""
NO_VALUE = (None, None, None)
"""The last three columns of a row without the value of its units."""
_COMPARISONS = RowWrite(stock_comparison, _COMPARISON)


async def write_orders(connection: Connection, rows: Sequence[Row]) -> None:
    """Writes rows of ORDER_COUNTS by themselves."""
    await write_rows(connection, [(ORDER_COUNTS, rows)])


async def write_comparisons(connection: Connection, rows: Iterable[Row]) -> None:
    """Writes (time, source, location id, SKU, difference, whether it exceeds the tolerance) of compared counts."""
    await write_rows(connection, [(_COMPARISONS, list(rows))])
