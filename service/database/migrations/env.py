"""How Alembic runs Truestock's migrations: with asyncpg, like everything else."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection

from service.database.migrate import DATABASE_URL
from service.database.pooled_dialect import pooled_engine
from service.database.tables import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_run() -> None:
    url = context.config.attributes.get(DATABASE_URL)
    if url is None:
        raise RuntimeError("no database: migrate with `truestock migrate`")
    engine = pooled_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


asyncio.run(connect_and_run())
