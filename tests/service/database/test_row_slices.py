"""Many rows are read in slices, of one snapshot, between which others run."""

from __future__ import annotations

from collections.abc import Sequence

import asyncpg
import pytest
from prometheus_client import CollectorRegistry
from sqlalchemy import Integer, func, select

from service.database import row_slices as module
from service.database.database import Connection, Database, Statement, parameter, plain_url
from service.database.row_slices import row_slices
from service.metrics import Metrics
from tests.retailer import Retailer

NUMBERS = Statement(select(func.generate_series(1, parameter("last", Integer)).label("number")))


async def numbers(database: Database, last: int, *, is_many: bool) -> list[list[int]]:
    """The numbers up to the last one, as they were sliced."""

    async def read(connection: Connection) -> list[list[int]]:
        slices = row_slices(NUMBERS, connection, {"last": last}, row_count=4, is_many=is_many)
        return [[row["number"] for row in rows] async for rows in slices]

    return await database.transaction("read", read)


@pytest.mark.parametrize("last", [0, 3, 4, 9])
async def test_slices_have_every_row_once(retailer: Retailer, last: int) -> None:
    database = await Database.open(retailer.database_url, Metrics(CollectorRegistry()), connections=1)
    try:
        many, few = await numbers(database, last, is_many=True), await numbers(database, last, is_many=False)
    finally:
        await database.close()

    assert [len(rows) for rows in many] == [4] * (last // 4) + [last % 4] * (last % 4 > 0)
    assert flat(many) == flat(few) == list(range(1, last + 1))


async def test_where_statements_are_not_kept_rows_come_at_once_and_are_worked_on_in_slices(
    retailer: Retailer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 5)
    connection = await asyncpg.connect(plain_url(retailer.database_url))
    try:
        slices = row_slices(NUMBERS, connection, {"last": 9}, row_count=4, is_many=True)
        found = [[row["number"] for row in rows] async for rows in slices]
    finally:
        await connection.close()

    assert found == [[1, 2, 3, 4, 5], [6, 7, 8, 9]]


def flat(slices: Sequence[Sequence[int]]) -> list[int]:
    """The numbers of all slices."""
    return [number for numbers in slices for number in numbers]
