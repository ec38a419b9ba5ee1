"""When the stock on hand came in, by the movements that raised it; read only where rules in force ask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Integer, Text, func, literal_column, select

from policies.domain.model import Product, StockLevel
from policies.policy_set import PolicySet
from service.database.database import Connection, Statement, transposed, unnested
from service.database.tables import stock_movement
from service.stock.stock_book import Book, Key

RECEIPTS = 200
"""The newest receipts of a level that are read. Of units that came in before them only the least age is known."""

_ZERO: ColumnElement[Any] = literal_column("0")
_asked = unnested("asked", sku=Text, location_id=Text, on_hand=Integer)
_movement = stock_movement.c
_newest = (
    select(_movement.effective_time, _movement.id, _movement.on_hand_delta)
    .where(
        _movement.sku == _asked.c.sku,
        _movement.location_id == _asked.c.location_id,
        _movement.on_hand_delta > _ZERO,
    )
    .order_by(_movement.effective_time.desc(), _movement.id.desc())
    .limit(literal_column(str(RECEIPTS)))
    .lateral("newest")
)
_of_level: Any = {"partition_by": (_asked.c.sku, _asked.c.location_id)}
# The oldest units leave first, so what is on hand came in last: receipts are added up, newest first, up to that.
_received = (
    select(
        _asked,
        _newest.c.effective_time,
        func.sum(_newest.c.on_hand_delta)
        .over(**_of_level, order_by=(_newest.c.effective_time.desc(), _newest.c.id.desc()), rows=(None, 0))
        .label("unit_count"),
        func.row_number()
        .over(**_of_level, order_by=(_newest.c.effective_time.desc(), _newest.c.id.desc()))
        .label("number"),
    )
    .select_from(_asked)
    .join(_newest, literal_column("true"))
    .subquery("received")
)
_OLDEST = Statement(
    select(
        _received.c.sku,
        _received.c.location_id,
        func.max(_received.c.effective_time).label("oldest_receipt_time"),
    )
    .where((_received.c.unit_count >= _received.c.on_hand) | (_received.c.number == literal_column(str(RECEIPTS))))
    .group_by(_received.c.sku, _received.c.location_id)
)


async def with_receipts(
    connection: Connection, levels: Mapping[Key, StockLevel], policy_set: PolicySet, products: Mapping[str, Product]
) -> Mapping[Key, StockLevel]:
    """The levels with the time at which the oldest of their units on hand came in, if the rules ask it of the products.

    Whatever raised the units on hand is a receipt: a delivery, a return, a transfer, or a count that found more. The
    time stays unknown where nothing is on hand, or the recorded receipts do not add up to it. Where more than
    `RECEIPTS` would have to be added up, it is the time of the last of these.
    """
    if not policy_set.reads_receipts_of(products.values()):
        return levels
    unread = {key: x for key, x in levels.items() if x.on_hand > 0 and x.oldest_receipt_time is None}
    asked = [(*key, level.on_hand) for key, level in unread.items()]
    if not asked:
        return levels
    rows = await _OLDEST.rows(connection, **transposed(["sku", "location_id", "on_hand"], asked))
    found = {(row["sku"], row["location_id"]): row["oldest_receipt_time"] for row in rows}
    return {**levels, **{key: replace(x, oldest_receipt_time=found.get(key)) for key, x in unread.items()}}


async def read_receipts(
    connection: Connection, book: Book, policy_set: PolicySet, products: Mapping[str, Product]
) -> None:
    """Reads when the stock of the book came in, if the rules ask it of the products."""
    if policy_set.reads_receipts:
        book.levels.update(await with_receipts(connection, book.levels, policy_set, products))
