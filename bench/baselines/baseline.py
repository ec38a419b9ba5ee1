"""What the baselines have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import asyncpg

from bench.bench_calls import LOCATION_IDS, UNITS
from bench.rounds import WrongAnswer
from service.database.database import plain_url

SKU = "HOT"
TOTAL_UNITS = len(LOCATION_IDS) * UNITS
"""As many units of the one SKU as Truestock has in the same benchmark."""


class Baseline(Protocol):
    """Something that sells units of one hot SKU, and answers when the sale is durable."""

    async def allocate(self, order_id: str) -> None:
        """Sells one unit to a new order. Raises WrongAnswer if there is none."""
        ...

    async def verify(self, order_count: int) -> None:
        """Raises WrongAnswer unless as many units were sold as orders were answered, each from stock."""
        ...


@asynccontextmanager
async def open_tables(url: str, schema: str, tables: str, connections: int) -> AsyncIterator[asyncpg.Pool]:
    """Connections that see the tables of a new schema first."""
    pool = await asyncpg.create_pool(
        plain_url(url), min_size=connections, max_size=connections, server_settings={"search_path": schema}
    )
    await pool.execute(f"CREATE SCHEMA {schema}; {tables}")
    yield pool
    await pool.close()


def compare(name: str, order_count: int, counts: dict[str, int], least_left: int) -> None:
    """Raises WrongAnswer unless every count is the number of answered orders and no stock is below 0."""
    for what, count in counts.items():
        if count != order_count:
            raise WrongAnswer(f"{name}: {order_count} orders of one unit were answered, but there are {count} {what}")
    if least_left < 0:
        raise WrongAnswer(f"{name}: {-least_left} units more were sold at one place than it had")
