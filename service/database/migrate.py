"""Migrates a database to the newest schema, and reads which schema it has."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.exc import DBAPIError

from service.database.connection_pool import STATEMENT_SECONDS
from service.database.database import single_connection
from service.database.roles import Roles

MIGRATIONS = Path(__file__).parent / "migrations"
SERVES_SINCE = "0057"
"""The earliest schema whose version may serve a database with the schema of this version, so that both serve while one
replaces the other. A migration takes nothing away from versions since then; see "How to add a migration"."""
LOCK_SECONDS = 3
"""How long a statement of a migration waits for calls that use its table; later calls wait for it as long."""
ATTEMPTS, PAUSE_SECONDS = 20, 1.0
"""How often a migration is tried that calls were in the way of, and the time in between, in which they go on."""
DATABASE_URL, ROLES = "database_url", "roles"
"""Attributes of Alembic's configuration that `migrations/env.py` reads."""


async def migrate(url: str, roles: Roles | None = None) -> str:
    """Runs all pending migrations; returns the new revision. Makes the roles first, if it is given some.

    Everything is one transaction, which is tried again where calls were in its way. Raises what asyncpg raises, and
    RolesRefused.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            await _migrate_once(url, roles)
            break
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            if attempt == ATTEMPTS:
                raise
            await asyncio.sleep(PAUSE_SECONDS)
    return newest_revision()


async def _migrate_once(url: str, roles: Roles | None) -> None:
    try:
        # migrations/env.py calls asyncio.run, which fails inside a running event loop, so Alembic runs in a thread.
        await asyncio.to_thread(command.upgrade, alembic_config(url, roles), "head")
    except DBAPIError as error:
        # SQLAlchemy raises an error of its own for each of asyncpg's.
        if error.orig is None or error.orig.__cause__ is None:
            raise
        raise error.orig.__cause__ from error


@dataclass(frozen=True, slots=True)
class Schema:
    """The revision of a database, None without tables, and since which revision versions may serve it, if it says."""

    revision: str | None
    serves_since: str | None = None

    @property
    def is_served(self) -> bool:
        """Whether this version may serve it: it is of this version, or of a later one that still allows that."""
        return self.revision == newest_revision() or (self.is_later and self.serves_since <= newest_revision())  # type: ignore[operator]

    @property
    def is_later(self) -> bool:
        """Whether a later version has migrated it."""
        return self.revision not in _known_revisions() and self.serves_since is not None


async def schema(url: str) -> Schema:
    """The schema of a database."""
    found = await revision(url)
    if found is None or found in _known_revisions() - {newest_revision()}:
        return Schema(found)
    async with single_connection(url) as connection, connection.transaction():
        since = await connection.fetchval("SELECT serves_since FROM alembic_version", timeout=STATEMENT_SECONDS)
    return Schema(found, since)


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


@cache
def _known_revisions() -> frozenset[str]:
    return frozenset(script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions())


def alembic_config(url: str, roles: Roles | None = None) -> Config:
    """Alembic's configuration: where the migrations are, the database, and the roles to make."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes[DATABASE_URL], config.attributes[ROLES] = url, roles
    return config
