"""The database of a service: the one that its settings name, or the embedded PostgreSQL, started and migrated."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from dataclasses import dataclass

import asyncpg

from service.app.drain import CLOSING_SECONDS, Drain
from service.app.listening import StartError
from service.database import migrate
from service.database.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from service.settings import Settings

SERVER_SECONDS = 1.8
"""What the embedded PostgreSQL gets of a stop in any case."""


@dataclass(frozen=True, slots=True)
class DatabaseSource:
    """The database: its URL, a description for the start message, and its server if it is the embedded one."""

    url: str
    description: str
    embedded: EmbeddedPostgres | None = None

    @property
    def has_ended(self) -> bool:
        """Whether the embedded server has exited."""
        return self.embedded is not None and not self.embedded.running


async def find_database(settings: Settings, drain: Drain) -> DatabaseSource:
    """The database of the settings, unchanged; without one, the embedded PostgreSQL, started and migrated."""
    if settings.database_url is not None:
        return DatabaseSource(settings.database_url, "the PostgreSQL that --database-url or DATABASE_URL names")
    server = await _start_server(settings)
    drain.add(
        "embedded PostgreSQL", lambda seconds: asyncio.to_thread(server.stop, seconds), needed_seconds=SERVER_SECONDS
    )
    try:
        await migrate.migrate(server.database_url)
    except asyncpg.InvalidPasswordError as error:
        raise StartError(
            f"the password in {server.data_dir}/pgpass is not that of its data, as after a restore of one of them; "
            "remove the file and start again, which sets a new one"
        ) from error
    return DatabaseSource(server.database_url, f"embedded PostgreSQL, data in {server.data_dir}", server)


async def _start_server(settings: Settings) -> EmbeddedPostgres:
    """The embedded PostgreSQL, started in a thread; if this task is cancelled, the server is stopped again first."""
    abandoned = threading.Event()
    starting = asyncio.ensure_future(asyncio.to_thread(EmbeddedPostgres.start, settings.data_dir, abandoned=abandoned))
    try:
        return await asyncio.shield(starting)
    except EmbeddedPostgresError as error:
        raise StartError(str(error)) from error
    except asyncio.CancelledError:
        abandoned.set()
        with suppress(EmbeddedPostgresError):
            # It may have started a moment ago.
            await asyncio.to_thread((await starting).stop, CLOSING_SECONDS)
        raise
