"""How Alembic runs Truestock's migrations: with asyncpg, like everything else, and as the owner of the tables."""

from __future__ import annotations

import asyncio

from alembic import context
from sqlalchemy import Connection, text

from service.database import roles
from service.database.migrate import DATABASE_URL, LOCK_SECONDS, ROLES, SERVES_SINCE, newest_revision
from service.database.pooled_dialect import pooled_engine
from service.database.tables import metadata


def run(connection: Connection) -> None:
    context.configure(connection=connection, target_metadata=metadata, compare_type=True)
    with context.begin_transaction():
        wanted = context.config.attributes.get(ROLES)
        if wanted is not None:
            roles.make(connection, wanted)
        owner = roles.owner(connection) if wanted is None else wanted.owner
        if owner is not None:
            roles.become_owner(connection, owner)
        # A statement that waits for a lock lets all later ones of its table wait too.
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'"))
        context.run_migrations()
        if context.get_context().get_current_revision() == newest_revision():
            connection.execute(text("UPDATE alembic_version SET serves_since = :since"), {"since": SERVES_SINCE})
        for service in [*roles.service_roles(connection), *([wanted.service] if wanted is not None else [])]:
            roles.grant(connection, service)


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
