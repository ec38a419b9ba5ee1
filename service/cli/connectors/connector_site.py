"""Opens what the commands of connectors work with: the accounts file, the connectors' tables, an account."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import asyncpg
from sqlalchemy.exc import SQLAlchemyError

from policies.source.problems import render
from service.channels import connectors
from service.channels.accounts import Account, SecretMissing
from service.channels.accounts_file import AccountsFileError, read_accounts
from service.channels.connectors import Setup
from service.channels.errors import ChannelError
from service.channels.platforms import installed_platforms
from service.channels.running_account import RunningAccount
from service.channels.store import schema
from service.channels.store.account_states import BadTokenKeys, token_cipher
from service.channels.store.connector_store import ConnectorStore
from service.cli.client import open_channel
from service.cli.commands.database_commands import check_database, database_url
from service.cli.commands.given_settings import settings_of
from service.cli.console import EXIT_USAGE, UserError
from service.settings import Settings

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class ConnectorSite:
    """An accounts file with its platforms, the database, and the address of Truestock."""

    setup: Setup
    settings: Settings
    server: str

    @classmethod
    def read(cls, path: Path, settings: Settings, server: str) -> ConnectorSite:
        """Reads an accounts file and the keys of its tokens. Raises UserError."""
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}; name an accounts file that exists") from error
        platforms = installed_platforms()
        try:
            accounts = read_accounts(path.name, content, platforms)
            cipher = token_cipher(accounts.token_keys.read())
        except AccountsFileError as error:
            raise UserError(render(error.problems, {path.name: content}).rstrip("\n")) from error
        except (SecretMissing, BadTokenKeys) as error:
            raise UserError(str(error)) from error
        return cls(Setup(accounts, platforms, cipher), settings, server)

    def account(self, name: str) -> Account:
        """An account by its name. Raises UserError."""
        if name not in self.setup.accounts.by_name:
            known = ", ".join(sorted(self.setup.accounts.by_name))
            raise UserError(f"the accounts file has no account '{name}'; it has: {known}", exit_code=EXIT_USAGE)
        return self.setup.accounts.by_name[name]

    @asynccontextmanager
    async def opened(self, account: Account, store: ConnectorStore) -> AsyncIterator[RunningAccount]:
        """An account that can be worked with."""
        async with (
            open_channel(self.server) as channel,
            connectors.opened(account, self.setup, store, channel) as running,
        ):
            yield running


def database_settings(data_dir: Path | None, url: str | None) -> Settings:
    """The database of flags and environment. Raises BadParameter."""
    return settings_of(data_dir=data_dir, database_url=url)


def with_store(
    settings: Settings, work: Callable[[ConnectorStore], Awaitable[Answer]], *, may_make: bool = False
) -> Answer:
    """Runs `work` with the connectors' tables, which are brought up to date before. Raises UserError.

    An embedded database that is not there is made only where that `may_make` sense: a wrong folder would answer that
    nothing waits.
    """
    if not may_make:
        check_database(settings)

    async def run(url: str) -> Answer:
        await schema.migrate(url)
        store = await ConnectorStore.open(url, connections=2)
        try:
            return await work(store)
        finally:
            await store.close()

    with database_url(settings) as url:
        try:
            return asyncio.run(run(url))
        except (ChannelError, SecretMissing, BadTokenKeys) as error:
            raise UserError(str(error)) from error
        except (OSError, asyncpg.PostgresError, SQLAlchemyError) as error:
            raise UserError(f"The connectors' tables cannot be used: {error}") from error
