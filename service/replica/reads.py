"""Where reads that promise nothing are answered: by the replica, if there is one that may, else by the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from service.catalog.catalog_store import CatalogCache
from service.errors import NotFound
from service.observability.calls import current_call
from service.replica.replica import LOST, Replica, Source

T = TypeVar("T")

READ_FROM, DATABASE = "truestock-read-from", "database"
"""Metadata of a call that has to see what was written just before it."""


class NotReplicated(Exception):
    """The replica may lack what the call asks about, so that the database is asked."""


class Reads:
    """Answers reads. Without a replica this is a call of a function."""

    def __init__(self, primary: Source) -> None:
        self._primary = primary
        self.replica: Replica | None = None

    async def answer(self, read: Callable[[Source], Awaitable[T]]) -> T:
        """What `read` returns; it only reads, and may be called again with another source.

        Whatever the replica does not answer, or does not find, the database is asked for.
        """
        replica = self.replica
        if replica is None:
            return await read(self._primary)
        source = None if _asks_the_database() else replica.source
        if source is not None:
            try:
                answer = await read(source)
            except (*LOST, NotFound, NotReplicated):
                pass
            else:
                replica.metrics.count("replica")
                return answer
        replica.metrics.count("database")
        return await read(self._primary)

    def catalog_caches(self) -> Iterator[CatalogCache]:
        """The catalogs that are kept: the database's, and the replica's if calls may read from it."""
        yield self._primary.catalog_cache
        if self.replica is not None and self.replica.source is not None:
            yield self.replica.source.catalog_cache


def _asks_the_database() -> bool:
    """Whether the caller of this call wants to see what it has just written."""
    call = current_call.get()
    if call is None or call.rpc is None:
        return False
    _, _, context = call.rpc
    return (READ_FROM, DATABASE) in (tuple(entry) for entry in context.invocation_metadata() or ())
