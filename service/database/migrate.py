"""Bringing a database to the newest schema, and knowing whether it is there."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from service.database.database import plain_url, sqlalchemy_url

MIGRATIONS = Path(__file__).parent / "migrations"


async def migrate(url: str) -> str:
    """Runs every migration that the database lacks; returns the revision it is at afterwards."""
    await asyncio.to_thread(command.upgrade, alembic_config(url), "head")
    return newest_revision()


async def revision(url: str) -> str | None:
    """The schema revision of a database; None where it has none."""
    connection = await asyncpg.connect(plain_url(url))
    try:
        if await connection.fetchval("SELECT to_regclass('alembic_version')") is None:
            return None
        found: str | None = await connection.fetchval("SELECT version_num FROM alembic_version")
        return found
    finally:
        await connection.close()


def newest_revision() -> str:
    """The schema that this software needs."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    if head is None:
        raise RuntimeError("this installation of Truestock has no migrations")
    return head


def alembic_config(url: str) -> Config:
    """How Alembic finds the migrations and the database."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    # Alembic's configuration takes % for interpolation, and a password may contain it.
    config.set_main_option("sqlalchemy.url", sqlalchemy_url(url).replace("%", "%%"))
    return config
