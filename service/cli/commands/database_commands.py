"""Commands on the database itself: migrate and verify-ledger."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg

from service.cli.console import UserError, say
from service.database import migrate
from service.database.database import single_connection
from service.database.embedded.location import has_data
from service.database.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from service.settings import Settings
from service.stock import ledger_check
from service.stock.ledger_check import LedgerReport

_UNREACHABLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError)


def migrate_database(settings: Settings) -> None:
    """Migrates the database of the settings to the newest schema. Raises UserError."""
    try:
        with _url(settings) as url:
            asyncio.run(migrate.migrate(url))
    except KeyboardInterrupt:
        say("Stopped before the database was known to be up to date; run `truestock migrate` again.")
        raise
    except _UNREACHABLE as error:
        raise UserError(f"The database cannot be migrated: {error}") from error


def verify_ledger(settings: Settings) -> LedgerReport:
    """Verifies the ledger of the settings' database, also while a service uses it. Raises UserError."""
    if settings.database_url is None and not has_data(settings.data_dir):
        raise UserError(
            f"There is no database in {settings.data_dir}. Name its folder with --data-dir, or an external database "
            "with --database-url."
        )
    with _url(settings) as url:
        try:
            return asyncio.run(_verify(url))
        except _UNREACHABLE as error:
            raise UserError(f"The ledger cannot be read: {error}") from error


async def _verify(url: str) -> LedgerReport:
    if await migrate.revision(url) != migrate.newest_revision():
        raise UserError(
            "The database does not have the schema of this Truestock version; run `truestock migrate` first."
        )
    async with single_connection(url) as connection:
        return await ledger_check.verify(connection)


@contextmanager
def _url(settings: Settings) -> Iterator[str]:
    """The URL of the external database, or of the embedded one, which is started unless a service already runs it."""
    if settings.database_url is not None:
        yield settings.database_url
        return
    running = EmbeddedPostgres.running_url(settings.data_dir)
    if running is not None:
        yield running
        return
    try:
        with EmbeddedPostgres.start(settings.data_dir) as server:
            yield server.database_url
    except EmbeddedPostgresError as error:
        raise UserError(str(error)) from error
