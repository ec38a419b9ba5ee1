"""Connections to PostgreSQL, direct or through a connection pooler such as PgBouncer.

A pooler lends a server's session to a client for one transaction or longer. A statement that a client prepared is then
missing in its next session, and another client's statement may have its place: to run it would be worse than an error.
So behind a pooler no statement is prepared by name, and all statements of an operation are in one transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg
import structlog

from service.database.built_in_types import Connection
from service.database.hosts import CONNECT_SECONDS, Hosts
from service.observability.calls import statement_ended

log = structlog.get_logger(__name__)

STATEMENT_SECONDS = 30.0
STATEMENT_CACHE_SIZE = 200
"""Prepared statements cached per direct connection."""

SERVER_SETTINGS = {"application_name": "truestock", "timezone": "UTC"}
"""Both belong to the few that PgBouncer takes along from one session to the next."""

ConnectionCheck = Callable[[Any], Coroutine[Any, Any, None]]
"""Called with a new connection."""

LOST_CONNECTION = (OSError, TimeoutError, asyncpg.InterfaceError)
"""What a statement raises whose connection does not answer, or is closed."""

LOST_STATEMENTS = (asyncpg.InvalidSQLStatementNameError, asyncpg.DuplicatePreparedStatementError)
"""A prepared statement is missing, or has another's name: the session is not the one in which it was prepared."""


class ConnectionPool:
    """A pool that finds out whether a pooler is between it and PostgreSQL, and then does without named statements."""

    def __init__(
        self, hosts: Hosts, statement_cache_size: int, *, read_only: bool = False, traced: bool = False
    ) -> None:
        self._hosts = hosts
        self._statement_cache_size = statement_cache_size
        self._read_only = read_only
        self._traced = traced
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self.behind_pooler = False
        """Whether sessions may change between two transactions of one connection."""
        self.is_closing = False

    @classmethod
    async def open(
        cls,
        url: str,
        *,
        connections: int,
        statement_cache_size: int = STATEMENT_CACHE_SIZE,
        read_only: bool = False,
        traced: bool = False,
        search_path: str | None = None,
        check: ConnectionCheck | None = None,
    ) -> ConnectionPool:
        """Opens the pool and one connection. Raises what asyncpg raises.

        `check` is called with each new connection, and raises where it may not be used.
        """
        pool = cls(Hosts(url), statement_cache_size, read_only=read_only, traced=traced)
        pool._pool = await asyncpg.create_pool(
            min_size=1,
            max_size=connections,
            connect=pool._connect,
            connection_class=Connection,
            reset=_keep_session,
            init=check,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            server_settings=SERVER_SETTINGS | ({} if search_path is None else {"search_path": search_path}),
        )
        return pool

    def acquire(self, timeout: float | None = None) -> AbstractAsyncContextManager[Any]:
        """A connection for the block, which begins its own transaction; `timeout` in seconds."""
        assert self._pool is not None
        return self._pool.acquire(timeout=timeout)

    async def use_no_names(self) -> None:
        """Uses no named statements from now on, because a session has lost one; connections in use keep theirs."""
        assert self._pool is not None
        if not self.behind_pooler:
            self._note_pooler()
            await self._pool.expire_connections()

    async def distrust(self, connection: Any, *, takes_no_writes: bool) -> None:
        """Drops the connection if its server is a standby now; of several servers, asks this one last from now on.

        A server that has not answered in time may be a primary that another one has replaced: its commits wait for a
        standby that no longer follows it, although it answers everything else.
        """
        assert self._pool is not None
        if self._hosts.are_several:
            self._hosts.ask_last(connection)
            await self._pool.expire_connections()
        if takes_no_writes:
            connection.terminate()

    async def close(self, seconds: float) -> None:
        """Closes the pool; connections in use get `seconds`, and are then cut off, also if the caller is cancelled."""
        assert self._pool is not None
        self.is_closing = True
        try:
            await asyncio.wait_for(self._pool.close(), seconds)
        except TimeoutError:
            self._pool.terminate()

    def cut_off(self) -> None:
        """Cuts off all connections, whatever they do, and opens no more."""
        assert self._pool is not None
        self.is_closing = True
        self._pool.terminate()

    async def _connect(self, *_: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        """What asyncpg's pool calls, without a URL, for each connection."""
        if self.is_closing:
            raise asyncpg.InterfaceError("the pool is closing")
        connection: asyncpg.Connection[asyncpg.Record] = await self._hosts.connect(self._open, **options)
        return connection

    async def _open(self, *args: Any, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
        connection: Any
        expects_direct = not self.behind_pooler
        cached = self._statement_cache_size if expects_direct else 0
        connection = await asyncpg.connect(*args, **options, statement_cache_size=cached)
        try:
            if expects_direct and not await _is_direct(connection):
                self._note_pooler()
                connection.terminate()
                connection = await asyncpg.connect(*args, **options, statement_cache_size=0)
                cached = 0
            connection.keeps_statements = cached > 0
            if self._read_only and not self.behind_pooler:
                # A pooler would lend the session to others, which write.
                await connection.execute("SET default_transaction_read_only = on")
        except BaseException:
            # Nobody else would end the connection of a caller who gave up meanwhile, such as a service that stops.
            connection.terminate()
            raise
        if self._traced:
            # asyncpg calls it in the context of whoever ran the statement.
            connection.add_query_logger(statement_ended)
        return connection  # type: ignore[no-any-return]

    def _note_pooler(self) -> None:
        if not self.behind_pooler:
            self.behind_pooler = True
            log.info("the database is behind a connection pooler, so no statement is prepared by name")


async def end_statement(connection: Any) -> None:
    """Ends what is left of a statement whose caller was cancelled when it had been prepared and not yet run.

    asyncpg does not end the preparation of a statement by itself (it sends Flush, and Sync only with the run), and
    nobody else would: the session would hold the locks on the statement's tables until its next one, and could not
    begin a transaction with a snapshot.
    """
    try:
        await connection.execute("SELECT", timeout=CONNECT_SECONDS)
    except (*LOST_CONNECTION, asyncpg.PostgresError):
        connection.terminate()
    except asyncio.CancelledError:
        connection.terminate()
        raise


async def _keep_session(_: asyncpg.Connection[asyncpg.Record]) -> None:
    """Leaves a session as it is, without asyncpg's round trip: no operation changes more of it than its transaction.

    A transaction that is still open is rolled back all the same.
    """


async def _is_direct(connection: asyncpg.Connection[asyncpg.Record]) -> bool:
    """Whether the connection ends in PostgreSQL: a pooler names a process of its own to cancel statements with."""
    # As text, such a statement is never prepared; its status is all that asyncpg returns of it.
    statement = f"SELECT WHERE pg_backend_pid() = {connection.get_server_pid()}"
    status: str = await connection.execute(statement, timeout=CONNECT_SECONDS)
    return status == "SELECT 1"
