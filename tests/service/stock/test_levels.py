"""Stock levels are read after they are locked."""

from __future__ import annotations

import uuid

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from service.database.database import Connection, Database, plain_url
from service.metrics import Metrics
from service.stock import levels
from service.stock.stock_book import Book
from tests.retailer import Retailer

Figures = dict[tuple[str, str], tuple[int, str | None]]


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


async def test_many_levels_are_read_as_few_are(retailer: Retailer, monkeypatch: pytest.MonkeyPatch) -> None:
    units = {(sku, location): 5 + len(sku) for sku in ("CUP", "MUG", "BOWL") for location in ("a-store", "b-store")}
    await retailer.stock(units)
    database = await Database.open(retailer.database_url, Metrics(CollectorRegistry()), connections=1)
    try:
        few = await locked_and_read(database)
        for name in ("MANY_ROWS", "MANY_SKUS", "SLICE_ROWS", "LOCKED_ROWS"):
            monkeypatch.setattr(levels, name, 2)
        many = await locked_and_read(database)
    finally:
        await database.close()

    stock = {key: (count, "counter") for key, count in units.items()}
    assert few == many
    assert many == (stock, stock)


async def locked_and_read(database: Database) -> tuple[Figures, Figures]:
    """Units on hand, and who counted them, as a transaction and as a call that only reads see them."""
    skus = ["CUP", "MUG", "BOWL"]

    async def lock(connection: Connection) -> Book:
        return await levels.open_book(connection, await levels.lock(connection, skus), uuid.uuid4)

    book = await database.transaction("lock", lock)
    _, read = await database.unlocked("read", lambda connection: levels.read(connection, skus, location_count=2))
    of_book, of_read = ({key: (level.on_hand, level.source) for key, level in x.items()} for x in (book.levels, read))
    return of_book, of_read
