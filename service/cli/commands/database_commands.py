"""Commands on the database itself: migrate, verify-ledger and audit verify."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import asyncpg

from service.audit import audit_check
from service.audit.audit_check import AuditReport
from service.audit.seal_store import ChainEnd
from service.audit.signing import AuditKeyError, PublicKeys
from service.cli.console import EXIT_USAGE, UserError, say
from service.database import migrate
from service.database.database import Connection, single_connection
from service.database.embedded.location import has_data
from service.database.embedded.postgres import EmbeddedPostgres, EmbeddedPostgresError
from service.database.roles import Roles, RolesRefused
from service.database.scram import verifier
from service.settings import Settings
from service.stock import ledger_check
from service.stock.ledger_check import LedgerReport

Report = TypeVar("Report")
_DIGEST_DIGITS = 64
_UNREACHABLE = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError)


def migrate_database(settings: Settings, roles: Roles | None = None) -> None:
    """Migrates the database of the settings to the newest schema, and makes the roles. Raises UserError."""
    try:
        with database_url(settings) as url:
            asyncio.run(migrate.migrate(url, roles))
    except KeyboardInterrupt:
        say("Stopped before the database was known to be up to date; run `truestock migrate` again.")
        raise
    except RolesRefused as error:
        raise UserError(f"The roles cannot be made: {error}.") from error
    except _UNREACHABLE as error:
        raise UserError(f"The database cannot be migrated: {error}") from error


def roles_of(owner: str, service: str, owner_password: Path | None, service_password: Path | None) -> Roles:
    """The roles of these names, with the passwords that are all of these files. Raises UserError."""
    try:
        return Roles(owner, service, _verifier(owner_password), _verifier(service_password))
    except ValueError as error:
        raise UserError(f"{error}.") from error


def _verifier(path: Path | None) -> str | None:
    """Of the password in a file; its end of line does not count. Raises UserError."""
    if path is None:
        return None
    try:
        return verifier(path.read_text(encoding="utf-8").rstrip("\r\n"))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError:
        raise UserError(f"{path} must hold one password of printable ASCII characters and nothing else.") from None


def verify_ledger(settings: Settings) -> LedgerReport:
    """Verifies the ledger of the settings' database, also while a service uses it. Raises UserError."""
    return _read(settings, "ledger", ledger_check.verify)


def verify_audit(settings: Settings, public_keys: Sequence[Path], head: str) -> AuditReport:
    """Checks the audit log of the settings' database, also while a service uses it. Raises UserError."""
    known = _head(head) if head else None
    try:
        keys = PublicKeys.read(public_keys)
    except AuditKeyError as error:
        raise UserError(f"{error}.", exit_code=EXIT_USAGE) from error
    report = _read(settings, "audit log", lambda connection: audit_check.check(connection, keys, known=known))
    if report.deleted_count and not keys.keys:
        raise UserError(
            f"The first {report.deleted_count:,} events were deleted. Whether the service did that when their "
            "retention had ended is shown by a signature: give the service's public key as --public-key.",
            exit_code=EXIT_USAGE,
        )
    return report


def _head(text: str) -> ChainEnd:
    position, _, digest = text.partition(":")
    if not position.isdigit() or len(digest) != _DIGEST_DIGITS or set(digest) - set("0123456789abcdef"):
        raise UserError(
            f"'{text}' is no head of the audit log; copy one that `truestock audit verify` printed, such as 12:ab…",
            exit_code=EXIT_USAGE,
        )
    return ChainEnd(int(position), bytes.fromhex(digest))


def _read(settings: Settings, what: str, read: Callable[[Connection], Awaitable[Report]]) -> Report:
    """What `read` finds in the settings' database. Raises UserError."""
    check_database(settings)
    with database_url(settings) as url:
        try:
            return asyncio.run(_read_from(url, read))
        except _UNREACHABLE as error:
            raise UserError(f"The {what} cannot be read: {error}") from error


def check_database(settings: Settings) -> None:
    """Raises UserError if the settings name an embedded database that is not there."""
    if settings.database_url is None and not has_data(settings.data_dir):
        raise UserError(
            f"There is no database in {settings.data_dir}. Name its folder with --data-dir, or an external database "
            "with --database-url."
        )


async def _read_from(url: str, read: Callable[[Connection], Awaitable[Report]]) -> Report:
    if not (await migrate.schema(url)).is_served:
        raise UserError(
            "The database does not have the schema of this Truestock version; run `truestock migrate` first."
        )
    async with single_connection(url) as connection:
        return await read(connection)


@contextmanager
def database_url(settings: Settings) -> Iterator[str]:
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
