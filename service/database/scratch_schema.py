"""A schema with empty tables beside the real ones, for trials that must leave nothing behind.

One service at a time has it, by a lease. What a killed service has left is dropped by the next one that gets the lease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

from sqlalchemy import Interval, Table, Text, Uuid, func, literal_column, or_, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.schema import CreateIndex, CreateTable

from service.database.database import Connection, Statement, parameter
from service.database.tables import lease, metadata

SCRATCH = "truestock_scratch"
LEASE_SECONDS = 60.0
"""How long a service has the schema at most; another one may drop it after this."""
_LOCK_SECONDS = 5
_NAME = "scratch schema"
_insert = insert(lease).from_select(
    ["name", "holder", "expire_time"],
    select(
        parameter("name", Text), parameter("holder", Uuid), func.clock_timestamp() + parameter("duration", Interval)
    ),
)
_TAKE = Statement(
    _insert.on_conflict_do_update(
        index_elements=["name"],
        set_={"holder": _insert.excluded.holder, "expire_time": _insert.excluded.expire_time},
        where=or_(lease.c.holder == _insert.excluded.holder, lease.c.expire_time < func.clock_timestamp()),
    ).returning(literal_column("1"))
)
_GIVE_BACK = "UPDATE lease SET expire_time = clock_timestamp() WHERE name = $1 AND holder = $2"


async def is_allowed(connection: Connection) -> bool:
    """Whether the role may create schemas."""
    allowed: bool = await connection.fetchval("SELECT has_database_privilege(current_database(), 'CREATE')")
    return allowed


async def take(connection: Connection, holder: UUID) -> bool:
    """Gets the lease of the schema; False if another service has it."""
    duration = timedelta(seconds=LEASE_SECONDS)
    return await _TAKE.row(connection, name=_NAME, holder=holder, duration=duration) is not None


async def give_back(connection: Connection, holder: UUID) -> None:
    """Drops the schema, and gives back the lease."""
    await drop(connection)
    await connection.execute(_GIVE_BACK, _NAME, holder)


async def drop(connection: Connection) -> None:
    """Drops the schema with all that is in it, if it is there."""
    if await connection.fetchval("SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", SCRATCH):
        await connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")
        await connection.execute(f"SET LOCAL client_min_messages = warning; DROP SCHEMA {SCRATCH} CASCADE")


async def create(connection: Connection, copied: Mapping[Table, tuple[str, Sequence[str]]]) -> None:
    """Creates the schema with all tables, and copies rows: of each table those with these values in a column."""
    await drop(connection)
    await connection.execute(f"CREATE SCHEMA {SCRATCH}")
    before = await connection.fetchval("SELECT current_setting('search_path')")
    await connection.execute(f"SET LOCAL search_path = {SCRATCH}; {_tables()}")
    await connection.execute("SELECT set_config('search_path', $1, true)", before)
    for table, (column, values) in copied.items():
        names = ", ".join(column.name for column in table.columns)
        await connection.execute(
            f"INSERT INTO {SCRATCH}.{table.name} ({names}) SELECT {names} FROM {table.name} WHERE {column} = ANY($1)",
            list(values),
        )
    await connection.execute(f"INSERT INTO {SCRATCH}.catalog_version (id, version) VALUES (1, 1)")


@cache
def _tables() -> str:
    """The statements that create all tables with their indexes."""
    dialect: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
    statements: list[str] = []
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        statements += [
            str(CreateIndex(index).compile(dialect=dialect))
            for index in sorted(table.indexes, key=lambda x: str(x.name))
        ]
        if table.dialect_options["postgresql"]["partition_by"]:
            statements.append(f"CREATE TABLE {table.name}_default PARTITION OF {table.name} DEFAULT")
    return ";".join(statements)
