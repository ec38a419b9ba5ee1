"""Stock levels are read after they are locked."""

from __future__ import annotations

import uuid

import asyncpg

from service.database.database import plain_url
from service.stock import levels
from tests.retailer import Retailer


async def test_a_level_made_after_the_locks_is_not_used(retailer: Retailer) -> None:
    """It is not locked: another transaction that also read it could sell the same units."""
    await retailer.stock({("MUG", "a-store"): 5})
    await retailer.locations("b-store")
    connection = await asyncpg.connect(plain_url(retailer.database_url))
    try:
        async with connection.transaction():
            locked = await levels.lock(connection, ["MUG"])
            await retailer.sql("INSERT INTO stock_level (sku, location_id, on_hand) VALUES ('MUG', 'b-store', 7)")
            book = await levels.open_book(connection, locked, uuid.uuid4)
    finally:
        await connection.close()

    assert {key: level.on_hand for key, level in book.levels.items()} == {("MUG", "a-store"): 5}
