"""All that a database holds, readable: every value of every column of every table, also what is stored compressed."""

from __future__ import annotations

import struct
import zlib
from datetime import date
from typing import Any
from uuid import UUID

from service.database.compression import restored
from service.database.tables import metadata
from tests.retailer import Retailer

Value = tuple[str, str, bytes]
"""(Table, column, the value as bytes)."""


async def values_of(retailer: Retailer) -> list[Value]:
    """Every value that is not null, but for ids and times: their digits may be those of anything."""
    values: list[Value] = []
    for table in metadata.sorted_tables:
        for row in await retailer.sql(f'SELECT * FROM "{table.name}"'):
            values += [
                (table.name, column, _bytes(value))
                for column, value in dict(row).items()
                if value is not None and not isinstance(value, date | UUID)
            ]
    return values


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        return str(value).encode()
    try:
        return value + restored(value)
    except (zlib.error, ValueError, IndexError):
        return value


def holding(values: list[Value], *needles: bytes) -> set[tuple[str, str]]:
    """The tables and columns with a value that holds one of these bytes."""
    return {(table, column) for table, column, value in values if any(x in value for x in needles)}


def double(number: float) -> bytes:
    """A number as messages store it."""
    return struct.pack("<d", number)
