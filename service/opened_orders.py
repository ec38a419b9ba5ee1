"""One order in hand: locked with its stock, planned in its surroundings, written back."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from policies.policy import PolicySet
from service import catalogue, levels, order_writing, orders
from service.allocating import remember
from service.book import Book
from service.catalogue import CatalogueCache
from service.database import Connection
from service.order_writing import Changes
from service.planning import Surroundings, Verdict
from service.record import AllocationRecord


async def open_order(
    connection: Connection, allocation_id: UUID, new_id: Callable[[], UUID]
) -> tuple[Book, AllocationRecord]:
    """The stock and the contents of an order that is locked."""
    locked = await levels.lock(connection, await orders.line_skus(connection, [allocation_id]))
    book = await levels.open_book(connection, locked, new_id)
    return book, (await orders.read(connection, [allocation_id]))[allocation_id]


async def surroundings_of(
    connection: Connection, record: AllocationRecord, cache: CatalogueCache, policy_set: PolicySet
) -> Surroundings:
    """What an order is planned in."""
    version, products = await catalogue.products(connection, {line.sku for line in record.lines})
    known = await cache.at(connection, version)
    return Surroundings(policy_set, known.locations, known.channels[record.channel_id], products)


async def write(connection: Connection, book: Book, verdict: Verdict) -> None:
    """Writes the book, and what became of the order."""
    changes = Changes()
    remember(changes, verdict, book, replaced=True)
    await levels.write(connection, book)
    await order_writing.write(connection, changes)
