"""Migrates a database to the newest schema, and reads which schema it has."""

from __future__ import annotations

import asyncio
from functools import cache, partial
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from service.database.connection_pool import STATEMENT_SECONDS
from service.database.database import single_connection
from service.database.roles import Roles

MIGRATIONS = Path(__file__).parent / "migrations"
DATABASE_URL, ROLES = "database_url", "roles"
"""Attributes of Alembic's configuration that `migrations/env.py` reads."""


async def migrate(url: str, roles: Roles | None = None) -> str:
    """Runs all pending migrations; returns the new revision. Makes the roles first, if it is given some.

    Everything is one transaction. Raises what asyncpg raises, and RolesRefused.
    """
    try:
        # migrations/env.py calls asyncio.run, which fails inside a running event loop, so Alembic runs in a thread.
        await asyncio.to_thread(command.upgrade, alembic_config(url, roles), "head")
    except DBAPIError as error:
        # SQLAlchemy raises an error of its own for each of asyncpg's.
        if error.orig is None or error.orig.__cause__ is None:
            raise
        raise error.orig.__cause__ from error
    return newest_revision()


async def revision(url: str) -> str | None:
    """The schema revision of a database; None if it has no Truestock tables."""
    async with single_connection(url) as connection, connection.transaction():
        read = partial(connection.fetchval, timeout=STATEMENT_SECONDS)
        if await read("SELECT to_regclass('alembic_version')") is None:
            return None
        version: str | None = await read("SELECT version_num FROM alembic_version")
        return version


@cache
def newest_revision() -> str:
    """The schema revision that this version needs."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if head is None:
        raise RuntimeError("this installation of Truestock has no migrations")
    return head


def alembic_config(url: str, roles: Roles | None = None) -> Config:
    """Alembic's configuration: where the migrations are, the database, and the roles to make."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes[DATABASE_URL], config.attributes[ROLES] = url, roles
    return config
