"""Runs statements: SQLAlchemy Core writes each SQL text once, asyncpg runs it from a pool. Retries transactions."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Select, Subquery, bindparam, column, func, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY, asyncpg as dialect
from sqlalchemy.sql.expression import ClauseElement, TableValuedAlias
from sqlalchemy.types import TypeEngine

from service.background import FailureLog
from service.database.connection_pool import (
    LOST_STATEMENTS,
    SERVER_SETTINGS,
    STATEMENT_CACHE_SIZE,
    ConnectionCheck,
    ConnectionPool,
    end_statement,
)
from service.database.hosts import CONNECT_SECONDS, Hosts
from service.errors import NotReady
from service.metrics import Metrics
from service.observability.calls import current_call

Connection = Any
"""A connection of asyncpg's pool, which is a proxy without a public type."""
T = TypeVar("T")
Columns = dict[str, Any]
"""Column types by name, for rows that are sent as one list per column."""
_ALL_ROWS = "9223372036854775807"
"""A limit that keeps every row: the largest `bigint`."""

ATTEMPTS = 6
"""Attempts of a transaction before its caller gets NotReady."""
# More than ATTEMPTS, because a count that moves the promises of many orders may find one more of them locked each
# time. It still makes progress: every attempt first locks the orders that earlier attempts found busy.
BUSY_ATTEMPTS = 30
"""Attempts of a transaction that raises RowsBusy: each one locks in order what the attempt before it needed."""

# A transaction is retried as a whole, never one of its statements. It claims its request ids first, so a retry after
# a commit of unknown outcome finds the stored answer and writes nothing twice.
RETRYABLE = (
    asyncpg.PostgresConnectionError,  # SQLSTATE class 08
    asyncpg.ReadOnlySQLTransactionError,  # a standby, after a failover
    asyncpg.UniqueViolationError,  # another transaction recorded the same change id first
    asyncpg.TransactionRollbackError,  # class 40: serialization failures (40001) and deadlocks (40P01)
    asyncpg.InsufficientResourcesError,  # class 53: disk, memory, connections
    asyncpg.LockNotAvailableError,
    asyncpg.OperatorInterventionError,  # class 57: query cancelled, server shutting down or starting
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the connection closed as a statement began
    asyncpg.InvalidCachedStatementError,  # a migration changed what the statement returns
    *LOST_STATEMENTS,  # the session is another one, as behind a connection pooler
    OSError,  # no socket, route, host name or timely answer
)
"""Errors that a new attempt may cure. Its claim of the request id shows whether an earlier attempt committed."""

UNUSABLE = (
    asyncpg.PostgresSystemError,  # class 58: files of the database are missing or cannot be read
    asyncpg.InternalServerError,  # class XX: its data are damaged
    asyncpg.InvalidCatalogNameError,  # the database was dropped
    asyncpg.InvalidAuthorizationSpecificationError,  # class 28: the account may no longer connect
    asyncpg.InsufficientPrivilegeError,
    asyncpg.UndefinedTableError,  # the tables were there at the start: a restore, or a drop, has removed them
)
"""Errors that only the operator of the database can cure; the caller may try again after that."""


NEEDED: ContextVar[frozenset[UUID]] = ContextVar("NEEDED", default=frozenset())
"""Orders that earlier attempts of the current transaction needed; the next attempt locks them with its own."""


class RowsBusy(Exception):
    """Another transaction holds rows that this one needs out of lock order, so waiting could deadlock.

    `keys` are the rows' orders. The next attempt finds them in NEEDED and locks them in lock order.
    """

    def __init__(self, keys: Iterable[UUID]) -> None:
        self.keys = frozenset(keys)
        super().__init__(f"{len(self.keys)} rows are busy")


class Statement:
    """A statement compiled once. Values are passed by name; its constants are bound automatically."""

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
        """Runs a statement and ignores its result."""
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


def any_of_list(name: str, type_: TypeEngine[Any] | type[TypeEngine[Any]]) -> ColumnElement[Any]:
    """As `any_of`, for a statement that is planned once for lists of every length.

    PostgreSQL plans `any_of` anew for each list, because it expects more of a plan for one that it knows. To look into
    the list takes a subquery, so both plans cost the same, and after five times it keeps one.
    """
    return func.any(func.array(select(func.unnest(parameters(name, type_))).scalar_subquery()))


def unnested(name: str, **columns: TypeEngine[Any] | type[TypeEngine[Any]]) -> TableValuedAlias:
    """Rows from one list parameter per column, all of the same length: many rows in one statement."""
    lists = [parameters(c, t) for c, t in columns.items()]
    shape = [column(c, t() if isinstance(t, type) else t) for c, t in columns.items()]
    return func.unnest(*lists).table_valued(*shape, name=name).render_derived()


def planned_once(rows: TableValuedAlias) -> Subquery:
    """Rows of list parameters that are joined to a table, for a statement that is planned once for every length.

    As with `any_of`, PostgreSQL would plan it anew each time for short lists, because it expects ten rows of a list
    that it does not know. A limit that it does not know makes it expect one row in either case.
    """
    return select(*rows.c).limit(select(literal_column(_ALL_ROWS)).scalar_subquery()).subquery()


def listed(name: str, type_: TypeEngine[Any] | type[TypeEngine[Any]]) -> Select[Any]:
    """For `column.in_(listed('ids', Uuid))`: as `any_of`, for a statement that is planned once: `planned_once`.

    It expects one value, so unlike `any_of_list` it never reads a whole table that was small when it was planned, but
    for one of a few pages.
    """
    values = func.unnest(parameters(name, type_)).table_valued(column("value", type_), name="listed").render_derived()
    return select(planned_once(values).c.value)


def transposed(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, list[Any]]:
    """Rows as the lists, one per column, that `unnested` takes."""
    lists = list(map(list, zip(*rows, strict=True))) if rows else [[] for _ in names]
    return dict(zip(names, lists, strict=True))


class Database:
    """A pool of connections that measures the time of each operation."""

    def __init__(
        self, pool: ConnectionPool, metrics: Metrics, *, attempts: int = ATTEMPTS, name: str = "database"
    ) -> None:
        """`attempts` are those of an operation before its caller gets NotReady; `name` is for the log."""
        self._pool = pool
        self._metrics = metrics
        self._attempts = attempts
        self._name = name
        self._failures = FailureLog()

    @classmethod
    async def open(
        cls,
        url: str,
        metrics: Metrics,
        *,
        connections: int = 10,
        statement_cache_size: int = STATEMENT_CACHE_SIZE,
        read_only: bool = False,
        traced: bool = False,
        search_path: str | None = None,
    ) -> Database:
        """Opens the pool; sessions that are `read_only` write nothing. Raises what asyncpg raises.

        `search_path` is the schema of the tables, that of the role if it is None; no pooler keeps it.

        If it is `traced`, statements are added to the traces of calls.
        """
        pool = await ConnectionPool.open(
            plain_url(url),
            connections=connections,
            statement_cache_size=statement_cache_size,
            read_only=read_only,
            traced=traced,
            search_path=search_path,
        )
        return cls(pool, metrics)

    @classmethod
    async def open_replica(
        cls,
        url: str,
        metrics: Metrics,
        *,
        connections: int,
        statement_cache_size: int = STATEMENT_CACHE_SIZE,
        traced: bool = False,
        check: ConnectionCheck | None = None,
    ) -> Database:
        """Opens a pool of sessions that write nothing, also if the replica is promoted. Raises what asyncpg raises.

        An operation has one attempt: what a replica does not answer at once, the database answers. `check` raises where
        a new connection may not be used.
        """
        pool = await ConnectionPool.open(
            plain_url(url),
            connections=connections,
            statement_cache_size=statement_cache_size,
            read_only=True,
            traced=traced,
            check=check,
        )
        return cls(pool, metrics, attempts=1, name="replica")

    @property
    def behind_pooler(self) -> bool:
        """Whether a connection pooler is between the service and PostgreSQL, as far as is known."""
        return self._pool.behind_pooler

    async def close(self, seconds: float = 10) -> None:
        """Closes the pool; statements in flight get `seconds`."""
        await self._pool.close(seconds)

    def cut_off(self) -> None:
        """Cuts off all connections: who waits for one gets NotReady, and so does every later call."""
        self._pool.cut_off()

    async def ping(self, seconds: float) -> None:
        """Runs an empty query within `seconds`. Raises NotReady."""
        try:
            async with asyncio.timeout(seconds), self._pool.acquire(timeout=CONNECT_SECONDS) as connection:
                await connection.execute("SELECT 1")
        except (*RETRYABLE, asyncpg.PostgresError) as error:
            raise self._not_ready("ping", error) from error

    async def takes_writes(self) -> bool:
        """Whether the server is a primary that is not read-only by its settings. Raises NotReady."""

        async def read(connection: Connection) -> bool:
            setting: str = await connection.fetchval("SELECT current_setting('transaction_read_only')")
            return setting == "off"

        return await self.unlocked("start", read)

    def answers_again(self) -> None:
        """Logs that the database answers again, if it was logged that it did not."""
        self._failures.worked(f"the {self._name} answers again")

    @asynccontextmanager
    async def session(self, operation: str) -> AsyncIterator[Connection]:
        """A connection for work that begins its transactions itself: a pooler may change the session between them."""
        asked = time.perf_counter()
        async with self._pool.acquire() as connection:
            started = time.perf_counter()
            try:
                yield connection
            except (asyncpg.ReadOnlySQLTransactionError, TimeoutError) as error:
                await self._pool.distrust(connection, takes_no_writes=not isinstance(error, TimeoutError))
                raise
            except asyncio.CancelledError:
                await end_statement(connection)
                raise
            finally:
                ended = time.perf_counter()
                self._metrics.service.database_seconds.labels(operation).observe(ended - started)
                call = current_call.get()
                if call is not None:
                    call.connected(ended - started, started - asked)

    async def transaction(
        self,
        operation: str,
        work: Callable[[Connection], Awaitable[T]],
        after_commit: Callable[[T], None] = lambda _: None,
    ) -> T:
        """Runs `work` in one READ COMMITTED transaction, and again from the start after a retryable error.

        `work` must be safe to repeat after a commit whose acknowledgment was lost: it claims its request ids first.
        `after_commit` gets the result, to count it. A caller that is cancelled before the first commit begins has the
        transaction rolled back. From then on it is cancelled only once all has run to its end: the commit, the attempts
        that follow one whose acknowledgment was lost, and `after_commit`.
        Raises NotReady after `ATTEMPTS`, or after `BUSY_ATTEMPTS` that raised RowsBusy.
        """
        commit_begun = False

        async def attempt() -> T:
            nonlocal commit_begun
            # READ COMMITTED on purpose: statements after the locks see what others committed while this one waited. The
            # snapshot of a REPEATABLE READ transaction would date from before the locks. It is asked for because a
            # database may have another default.
            async with (
                self.session(operation) as connection,
                connection.transaction(isolation="read_committed"),
            ):
                result = await work(connection)
                commit_begun = True
            return result

        async def run() -> T:
            NEEDED.set(frozenset())
            result = await self._retried(operation, lambda: self._with_needed_locks(operation, attempt))
            after_commit(result)
            return result

        return await cancelled_only_before(lambda: commit_begun, run())

    async def snapshot(self, operation: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work`, which only reads, in one snapshot: all its statements see the same state."""

        async def attempt() -> T:
            async with (
                self.session(operation) as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                return await work(connection)

        return await self._retried(operation, attempt)

    async def unlocked(self, operation: str, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work`, which only reads; each of its statements sees what was committed when it began.

        Runs it again after a retryable error. Raises NotReady.
        """

        async def attempt() -> T:
            async with (
                self.session(operation) as connection,
                # A transaction costs two round trips, which only a pooler makes necessary: it keeps the session.
                connection.transaction() if self._pool.behind_pooler else nullcontext(),
            ):
                return await work(connection)

        return await self._retried(operation, attempt)

    async def _with_needed_locks(self, operation: str, run: Callable[[], Awaitable[T]]) -> T:
        """Repeats a transaction until it has locked everything that it needs, in lock order."""
        for _ in range(BUSY_ATTEMPTS):
            try:
                return await run()
            except RowsBusy as busy:
                self._metrics.service.database_retries.labels(operation).inc()
                NEEDED.set(NEEDED.get() | busy.keys)
        raise NotReady("too many calls change the same orders at once")

    async def _retried(self, operation: str, run: Callable[[], Awaitable[T]]) -> T:
        for attempt in range(1, self._attempts + 1):
            try:
                return await run()
            except UNUSABLE as error:
                raise self._not_ready(operation, error) from error
            except RETRYABLE as error:
                if isinstance(error, asyncpg.DataError):
                    # An out-of-range value fails again; asyncpg raises it as an InterfaceError too.
                    raise
                self._metrics.service.database_retries.labels(operation).inc()
                if isinstance(error, LOST_STATEMENTS):
                    await self._pool.use_no_names()
                if attempt == self._attempts or self._pool.is_closing:
                    raise self._not_ready(operation, error) from error
                await asyncio.sleep(_pause_seconds(attempt))
        raise AssertionError("unreachable")

    def _not_ready(self, operation: str, error: BaseException) -> NotReady:
        """The error of an operation that the database failed. All of them share one line a minute in the log."""
        if self._pool.is_closing:
            return NotReady("the service is stopping")
        self._failures.failed(f"the {self._name} does not answer", error, traceback=False, operation=operation)
        if isinstance(error, UNUSABLE):
            return NotReady("the database cannot be used, and the log of the service says why")
        return NotReady("the database did not answer")


async def cancelled_only_before(begun: Callable[[], bool], work: Coroutine[Any, Any, T]) -> T:
    """Runs `work`; if the caller is cancelled once `begun()` is true, `work` is finished first.

    A deadline that cut a call between its commit and its counting would leave the metrics short of what the database
    has, forever.
    """
    task = asyncio.ensure_future(work)
    cancellation: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancellation = error
            if not begun():
                task.cancel()
    if cancellation is not None:
        if not task.cancelled():
            # Marks an error of the task as seen: nobody waits for it any more.
            task.exception()
        raise cancellation
    return task.result()


@asynccontextmanager
async def single_connection(url: str) -> AsyncIterator[Connection]:
    """A connection of its own for a few statements, each of them in a transaction that the caller begins.

    Raises what asyncpg raises, TimeoutError too.
    """
    # No statement is prepared by name, as behind a pooler: a connection that is soon closed would gain nothing by it.
    connection = await Hosts(plain_url(url)).connect(statement_cache_size=0, server_settings=SERVER_SETTINGS)
    try:
        yield connection
    except BaseException:
        # A server that hangs would not answer a polite end either.
        connection.terminate()
        raise
    await connection.close(timeout=CONNECT_SECONDS)


def plain_url(url: str) -> str:
    """The URL in asyncpg's form; also accepts SQLAlchemy's `postgresql+asyncpg://`."""
    return url.replace("postgresql+asyncpg://", "postgresql://", 1)


def _pause_seconds(attempt: int) -> float:
    """Exponential backoff with full jitter, so that two transactions that collided do not collide again."""
    return random.uniform(0, 0.02 * 2**attempt)
