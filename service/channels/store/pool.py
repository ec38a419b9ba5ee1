"""Connections to PostgreSQL, and what is wrong when it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from service.channels.errors import Away
from service.database.hosts import CONNECT_SECONDS, Hosts

STATEMENT_SECONDS = 30.0
ATTEMPTS = 3

Connection = Any
"""A connection of asyncpg's pool, which is a proxy without a public type."""

AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""The database does not answer now."""
COLLISIONS = (asyncpg.TransactionRollbackError, asyncpg.LockNotAvailableError)
"""Another transaction was in the way."""


class Pool:
    """A pool of connections, without prepared statements, so that a connection pooler may be in between."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record]) -> None:
        self._pool = pool

    @classmethod
    async def open(cls, url: str, *, connections: int = 8) -> Pool:
        """Opens the pool. Raises Away."""
        hosts = Hosts(url.replace("postgresql+asyncpg://", "postgresql://", 1))

        async def connect(*_: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
            connection: asyncpg.Connection[asyncpg.Record] = await hosts.connect(**options)
            return connection

        try:
            pool = await asyncpg.create_pool(
                connect=connect,
                min_size=1,
                max_size=connections,
                statement_cache_size=0,
                timeout=CONNECT_SECONDS,
                command_timeout=STATEMENT_SECONDS,
                server_settings={"application_name": "truestock channels", "timezone": "UTC"},
            )
        except (*AWAY, asyncpg.PostgresError) as error:
            raise Away(f"the database cannot be reached: {error}") from error
        return cls(pool)

    async def close(self) -> None:
        """Closes the connections; statements in flight get a few seconds."""
        try:
            await asyncio.wait_for(self._pool.close(), 5)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """One transaction. Raises Away."""
        try:
            async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection, connection.transaction():
                yield connection
        except (*AWAY, *COLLISIONS) as error:
            raise await self._away(error) from error

    async def rows(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """The rows of one statement, tried again where another transaction was in the way. Raises Away."""
        for attempt in range(ATTEMPTS):
            try:
                return await self._pool.fetch(sql, *arguments, timeout=STATEMENT_SECONDS)
            except COLLISIONS as error:
                if attempt == ATTEMPTS - 1:
                    raise Away(f"the database is too busy: {error}") from error
            except AWAY as error:
                raise await self._away(error) from error
        raise AssertionError("unreachable")

    async def _away(self, error: BaseException) -> Away:
        """The error of a statement that the database failed; the connections of a standby are given up."""
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            await self._pool.expire_connections()
        return Away(f"the database does not answer: {error}")
