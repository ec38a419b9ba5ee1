"""How statements reach PostgreSQL: SQLAlchemy Core writes them once, asyncpg runs them from a pool."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, bindparam, column, func
from sqlalchemy.dialects.postgresql import ARRAY, asyncpg as dialect
from sqlalchemy.sql.expression import ClauseElement, TableValuedAlias
from sqlalchemy.types import TypeEngine

from service.errors import NotReady
from service.metrics import Metrics

Connection = Any
"""A connection of asyncpg's pool, which is a proxy without public type."""
T = TypeVar("T")
Columns = dict[str, Any]
"""The columns of rows that are sent as lists, by name, with their types."""

ATTEMPTS = 6
"""How often a transaction is run before its caller is told that the service is not ready."""
BUSY_ATTEMPTS = 30
"""The same for a transaction that finds rows busy: each attempt has locked what the one before found out it needs."""
CONNECT_SECONDS = 10.0
STATEMENT_SECONDS = 30.0

RETRYABLE = (
    asyncpg.PostgresConnectionError,  # SQLSTATE class 08
    asyncpg.ReadOnlySQLTransactionError,  # a standby, after a failover
    asyncpg.UniqueViolationError,  # somebody else recorded the same change id meanwhile
    asyncpg.TransactionRollbackError,  # class 40: serialization failures and deadlocks
    asyncpg.InsufficientResourcesError,  # class 53: disk, memory, connections
    asyncpg.LockNotAvailableError,
    asyncpg.OperatorInterventionError,  # class 57: cancelled, shut down, starting
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # a connection that ended while a statement began
    OSError,  # no socket, no route, no name, no answer in time
)
"""What another attempt may mend; whether the last one was committed is found out by its request id."""


NEEDED: ContextVar[frozenset[UUID]] = ContextVar("NEEDED", default=frozenset())
"""Orders that earlier attempts of the transaction in hand found out that they need: to be locked with its own."""


class RowsBusy(Exception):
    """Somebody else has rows that a transaction learnt too late that it needs: waiting for them could wait for ever.

    `keys` are theirs. The next attempt finds them in NEEDED and locks them in their turn.
    """

    def __init__(self, keys: Iterable[UUID]) -> None:
        self.keys = frozenset(keys)
        super().__init__(f"{len(self.keys)} rows are busy")


class Statement:
    """A statement compiled once. Values are passed by name; constants in it bind themselves."""

    def __init__(self, element: ClauseElement) -> None:
        compiled = element.compile(dialect=_DIALECT)
        self.sql = str(compiled)
        self._names: list[str] = list(compiled.positiontup or ())  # type: ignore[attr-defined]
        self._constants = {name: value for name, value in compiled.params.items() if value is not None}

    def arguments(self, values: dict[str, Any]) -> list[Any]:
        """The values in the order of the statement's parameters."""
        return [values[name] if name in values else self._constants.get(name) for name in self._names]

    async def rows(self, connection: Connection, **values: Any) -> list[asyncpg.Record]:
        """Every row that the statement returns."""
        rows: list[asyncpg.Record] = await connection.fetch(self.sql, *self.arguments(values))
        return rows

    async def row(self, connection: Connection, **values: Any) -> asyncpg.Record | None:
        """The first row, or None."""
        row: asyncpg.Record | None = await connection.fetchrow(self.sql, *self.arguments(values))
        return row

    async def run(self, connection: Connection, **values: Any) -> None:
        """Runs a statement that returns nothing of interest."""
        await connection.execute(self.sql, *self.arguments(values))

    async def run_for_each(self, connection: Connection, rows: Iterable[dict[str, Any]]) -> None:
        """Runs the statement once for each row, in one round trip."""
        await connection.executemany(self.sql, [self.arguments(row) for row in rows])


_DIALECT = dialect.dialect()  # type: ignore[no-untyped-call]


def parameter(name: str, type_: TypeEngine[Any] | type[TypeEngine[Any]]) -> ColumnElement[Any]:
    """A value that is passed by name when the statement runs."""
    return bindparam(name, type_=type_)


def parameters(name: str, type_: TypeEngine[Any] | type[TypeEngine[Any]]) -> ColumnElement[Any]:
    """A parameter that is a list of values."""
    return bindparam(name, type_=ARRAY(type_))


def any_of(name: str, type_: TypeEngine[Any] | type[TypeEngine[Any]]) -> ColumnElement[Any]:
    """For `column == any_of('skus', Text)`: one of the values in a list parameter."""
    return func.any(parameters(name, type_))


def unnested(name: str, **columns: TypeEngine[Any] | type[TypeEngine[Any]]) -> TableValuedAlias:
    """Rows made of list parameters of the same length, one for each column; the set-based way to send many rows."""
    lists = [parameters(c, t) for c, t in columns.items()]
    shape = [column(c, t() if isinstance(t, type) else t) for c, t in columns.items()]
    return func.unnest(*lists).table_valued(*shape, name=name).render_derived()


def transposed(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Rows as the lists that `unnested` takes."""
    lists = list(map(list, zip(*rows, strict=True))) if rows else [[] for _ in names]
    return dict(zip(names, lists, strict=True))


class Database:
    """A pool of connections, with the time spent in it measured."""

    def __init__(self, pool: asyncpg.Pool[asyncpg.Record], metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics

    @classmethod
    async def open(
        cls, url: str, metrics: Metrics, *, connections: int = 10, statement_cache_size: int = 200
    ) -> Database:
        """Connects, or raises what asyncpg raises."""
        pool = await asyncpg.create_pool(
            plain_url(url),
            min_size=1,
            max_size=connections,
            timeout=CONNECT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            statement_cache_size=statement_cache_size,
            server_settings={"application_name": "truestock", "timezone": "UTC"},
        )
        return cls(pool, metrics)

    async def close(self) -> None:
        """Lets statements in flight end, but not for ever."""
        try:
            await asyncio.wait_for(self._pool.close(), timeout=10)
        except TimeoutError:
            self._pool.terminate()

    async def ping(self) -> None:
        """Asks the database for nothing. Raises what asyncpg raises, TimeoutError included."""
        async with self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
            await connection.execute("SELECT 1")

    @asynccontextmanager
    async def connection(self, operation: str) -> AsyncIterator[Connection]:
        """A connection without a transaction of its own: each statement sees what is committed when it starts."""
        async with self._pool.acquire() as connection:
            started = time.perf_counter()
            try:
                yield connection
            finally:
                self._metrics.database_seconds.labels(operation).observe(time.perf_counter() - started)

    async def transaction(self, operation: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work` in one READ COMMITTED transaction, again from the start where that may help.

        `work` must be safe to run again after a commit whose answer was lost: it claims its request ids first.
        Raises NotReady after `ATTEMPTS`, or after `BUSY_ATTEMPTS` that ended with RowsBusy.
        """

        async def attempt() -> T:
            async with self.connection(operation) as connection, connection.transaction():
                return await work(connection)

        needed = NEEDED.set(frozenset())
        try:
            return await self._repeated(operation, lambda: self._with_needed(operation, attempt))
        finally:
            NEEDED.reset(needed)

    async def snapshot(self, operation: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work`, which only reads, on one state of the database, however many statements it takes."""

        async def attempt() -> T:
            async with (
                self.connection(operation) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                return await work(connection)

        return await self._repeated(operation, attempt)

    async def unlocked(self, operation: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work`, which only reads, without a transaction; again where that may help. Raises NotReady."""

        async def attempt() -> T:
            async with self.connection(operation) as connection:
                return await work(connection)

        return await self._repeated(operation, attempt)

    async def _with_needed(self, operation: str, run: Callable[[], Awaitable[T]]) -> T:
        """Runs a transaction until everything that it needs was locked in its turn."""
        for _ in range(BUSY_ATTEMPTS):
            try:
                return await run()
            except RowsBusy as busy:
                self._metrics.database_retries.labels(operation).inc()
                NEEDED.set(NEEDED.get() | busy.keys)
        raise NotReady("too much is happening to the same orders at once")

    async def _repeated(self, operation: str, run: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await run()
            except RETRYABLE as error:
                if isinstance(error, asyncpg.DataError):
                    # A value that PostgreSQL has no room for stays so; asyncpg calls that an InterfaceError too.
                    raise
                self._metrics.database_retries.labels(operation).inc()
                if attempt == ATTEMPTS:
                    raise NotReady("the database did not answer") from error
                await asyncio.sleep(_pause_seconds(attempt))
        raise AssertionError("unreachable")


def plain_url(url: str) -> str:
    """The URL as asyncpg takes it; SQLAlchemy's `postgresql+asyncpg://` is understood too."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def sqlalchemy_url(url: str) -> str:
    """The URL as SQLAlchemy takes it for asyncpg."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+asyncpg://" + url.removeprefix(scheme)
    return url


def _pause_seconds(attempt: int) -> float:
    """Exponential back-off with full jitter, so that two that collided do not collide again."""
    return random.uniform(0, 0.02 * 2**attempt)
