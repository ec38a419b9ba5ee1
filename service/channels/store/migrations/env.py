"""How Alembic runs the connectors' migrations, whose tables and version are in a schema of their own."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, text

from service.channels.store.schema import DATABASE_URL, SCHEMA
from service.database.pooled_dialect import pooled_engine

# One process migrates at a time; the number only has to be the same in all of them.
LOCK = 7_318_203_310


def run(connection: Connection) -> None:
    connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    # A role that may not create schemas may own this one, and `CREATE ... IF NOT EXISTS` would refuse it all the same.
    if not connection.scalar(text("SELECT to_regnamespace(:schema) IS NOT NULL"), {"schema": SCHEMA}):
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    context.configure(connection=connection, version_table_schema=SCHEMA)
    with context.begin_transaction():
        context.run_migrations()


async def connect_and_run() -> None:
    url = context.config.attributes.get(DATABASE_URL)
    if url is None:
        raise RuntimeError("no database: migrate with `truestock channels serve`")
    engine = pooled_engine(url)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


asyncio.run(connect_and_run())
