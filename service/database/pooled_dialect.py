"""SQLAlchemy's dialect for migrations, which also run through a connection pooler (see `connection_pool`)."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from service.database.database import plain_url
from service.database.hosts import Hosts

CONNECT_ARGUMENTS = {
    "statement_cache_size": 0,
    "prepared_statement_cache_size": 0,
    # An empty name: the statement is replaced by the next one and never looked for in another session.
    "prepared_statement_name_func": str,
}
"""Arguments of a connection that prepares no statement by name."""


class PooledDialect(PGDialect_asyncpg):
    """The dialect without its statements before the first transaction, for which a pooler may change the session."""

    supports_statement_cache = True

    async def setup_asyncpg_json_codec(self, conn: Any) -> None:
        """Does nothing: no migration reads JSON."""

    async def setup_asyncpg_jsonb_codec(self, conn: Any) -> None:
        """Does nothing: no migration reads JSON."""


registry.register("postgresql.truestock", __name__, PooledDialect.__name__)


def pooled_engine(url: str) -> AsyncEngine:
    """An engine without a pool; asyncpg alone reads the URL, of which SQLAlchemy would not know all options."""
    arguments = {**CONNECT_ARGUMENTS, "async_creator_fn": Hosts(plain_url(url)).connect}
    return create_async_engine("postgresql+truestock://", poolclass=NullPool, connect_args=arguments)
