"""What is known of each account: its encrypted tokens, whether it is paused, when its channel was last heard."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import asyncpg
from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from service.channels.accounts import Account
from service.channels.adapter import RefreshTokens
from service.channels.errors import AuthorizationLost, Away
from service.channels.store.pool import Pool
from service.channels.store.schema import SCHEMA

REFRESH_SHARE = 0.8
"""The part of their life after which tokens are refreshed."""
VERSION = "_version"
"""The number of the stored tokens, beside their values."""
CACHE_SECONDS = 5.0
"""How long a process goes on with the tokens that it read: others may have refreshed them."""

_READ = f"SELECT tokens, token_version FROM {SCHEMA}.accounts WHERE account = $1"
_LOCK = f"{_READ} FOR UPDATE"
_STORE = f"""
INSERT INTO {SCHEMA}.accounts AS known (account, tokens, token_version, token_expire_time, refresh_time, connect_time)
VALUES ($1, $2, 1, $3, now() + least(($3 - now()) * {REFRESH_SHARE}, $4::interval), now())
ON CONFLICT (account) DO UPDATE SET tokens = $2, token_version = known.token_version + 1, token_expire_time = $3,
    refresh_time = now() + least(($3 - now()) * {REFRESH_SHARE}, $4::interval),
    connect_time = coalesce(known.connect_time, now())
RETURNING token_version
"""
_DUE = f"SELECT 1 FROM {SCHEMA}.accounts WHERE account = $1 AND refresh_time <= now() AND pause_reason = ''"
_PAUSE = f"""
INSERT INTO {SCHEMA}.accounts AS known (account, pause_reason, pause_time) VALUES ($1, $2, now())
ON CONFLICT (account) DO UPDATE SET pause_reason = $2, pause_time = now(), is_reported = false
WHERE known.pause_reason = ''
"""
_RESUME = f"""
UPDATE {SCHEMA}.accounts SET pause_reason = '', pause_time = NULL WHERE account = $1 AND pause_reason <> ''
RETURNING account
"""
_START = f"""
UPDATE {SCHEMA}.accounts SET start_time = coalesce(start_time, now()) WHERE account = $1 RETURNING start_time
"""
_REPORTED = f"UPDATE {SCHEMA}.accounts SET is_reported = $2 WHERE account = $1"
_LIST = f"""
SELECT account, tokens IS NOT NULL AS has_tokens, token_expire_time, refresh_time, connect_time, pause_reason,
    pause_time, is_reported, delivery_time, start_time FROM {SCHEMA}.accounts ORDER BY account
"""


class BadTokenKeys(Exception):
    """The keys that encrypt tokens are none."""


def token_cipher(keys: str) -> MultiFernet:
    """A cipher of keys that are separated by commas: the first one encrypts. Raises BadTokenKeys."""
    try:
        return MultiFernet([Fernet(key.strip()) for key in keys.split(",") if key.strip()])
    except ValueError as error:
        raise BadTokenKeys(
            "the token keys are not Fernet keys of 44 characters, separated by commas; make one with "
            "`truestock channels new-key`"
        ) from error


@dataclass(frozen=True, slots=True)
class AccountStates:
    """The states of all accounts. Every method raises Away."""

    pool: Pool

    async def pause(self, account: str, reason: str) -> None:
        """Stops everything of an account until a person connects it again; the first reason stays."""
        await self.pool.rows(_PAUSE, account, reason)

    async def resume(self, account: str) -> bool:
        """Ends a pause; whether there was one."""
        return bool(await self.pool.rows(_RESUME, account))

    async def start(self, account: str) -> datetime:
        """Notes that an account is read from now on, unless it was before; returns since when."""
        time: datetime = (await self.pool.rows(_START, account))[0]["start_time"]
        return time

    async def reported(self, account: str, is_reported: bool) -> None:
        """Notes whether an exception about the pause is open."""
        await self.pool.rows(_REPORTED, account, is_reported)

    async def listed(self) -> list[asyncpg.Record]:
        """All accounts that were ever connected or heard."""
        return await self.pool.rows(_LIST)


class StoredTokens:
    """One account's tokens. A refresh is done by one process at a time, and stored before anybody uses its tokens."""

    def __init__(
        self,
        pool: Pool,
        cipher: MultiFernet,
        account: Account,
        refresh: RefreshTokens,
        *,
        expires: str,
        refresh_after: timedelta | None = None,
    ) -> None:
        """`expires` is the name of the value with the end of the access token, in seconds since 1970.

        They are refreshed at the age of `refresh_after`, at the latest after most of their life.
        """
        self._pool = pool
        self._cipher = cipher
        self._account = account
        self._refresh = refresh
        self._expires = expires
        self._refresh_after = refresh_after
        self._cached: Mapping[str, str] | None = None
        self._cache_end = 0.0
        self._lock = asyncio.Lock()

    async def current(self) -> Mapping[str, str]:
        """What is stored. Raises Away and AuthorizationLost."""
        if self._cached is None or time.monotonic() > self._cache_end:
            rows = await self._pool.rows(_READ, self._account.name)
            self._keep(self._decrypted(rows[0] if rows else None))
        assert self._cached is not None
        return self._cached

    async def store(self, tokens: Mapping[str, str]) -> None:
        """Replaces what is stored. Raises Away."""
        rows = await self._pool.rows(_STORE, *self._stored(tokens))
        self._keep({**tokens, VERSION: str(rows[0]["token_version"])})

    async def renewed(self, stale: Mapping[str, str]) -> Mapping[str, str]:
        """Newer tokens than `stale`: another caller's, or refreshed now. Raises Away and AuthorizationLost."""
        async with self._lock:
            return await self._under_lock(lambda stored: stored[VERSION] == stale.get(VERSION))

    async def refresh_if_due(self) -> None:
        """Refreshes tokens that have lived through most of their life. Raises Away and AuthorizationLost."""
        if await self._pool.rows(_DUE, self._account.name):
            stale = await self.current()
            await self.renewed(stale)

    async def _under_lock(self, is_stale: Callable[[Mapping[str, str]], bool]) -> Mapping[str, str]:
        async with self._pool.transaction() as connection:
            stored = self._decrypted(await connection.fetchrow(_LOCK, self._account.name))
            if is_stale(stored):
                fresh = await self._refresh(self._account, stored)
                values = {name: value for name, value in {**stored, **fresh}.items() if name != VERSION}
                row = await connection.fetchrow(_STORE, *self._stored(values))
                stored = {**values, VERSION: str(row["token_version"])}
        self._keep(stored)
        return stored

    def _keep(self, tokens: Mapping[str, str]) -> None:
        self._cached, self._cache_end = tokens, time.monotonic() + CACHE_SECONDS

    def _stored(self, tokens: Mapping[str, str]) -> tuple[str, bytes, datetime, timedelta | None]:
        values = {name: value for name, value in tokens.items() if name != VERSION}
        expire_time = datetime.fromtimestamp(int(values[self._expires]), UTC)
        encrypted = self._cipher.encrypt(json.dumps(values).encode())
        return self._account.name, encrypted, expire_time, self._refresh_after

    def _decrypted(self, row: asyncpg.Record | None) -> Mapping[str, str]:
        if row is None or row["tokens"] is None:
            name = self._account.name
            raise AuthorizationLost(f"account {name} has no tokens; run `truestock channels connect {name}`")
        try:
            values = json.loads(self._cipher.decrypt(row["tokens"]))
        except InvalidToken as error:
            raise Away(
                f"the tokens of account {self._account.name} were encrypted with a key that is not among the token "
                "keys; add it, or connect the account again"
            ) from error
        return {**values, VERSION: str(row["token_version"])}
