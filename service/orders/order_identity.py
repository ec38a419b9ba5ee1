"""Keys of orders and their copies: an order and its copies are one order, found and locked by the original's key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import (
    Boolean,
    ColumnElement,
    Subquery,
    Table,
    Text,
    Uuid,
    delete,
    func,
    literal_column,
    or_,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from service.database.database import (
    NEEDED,
    Columns,
    Connection,
    Statement,
    any_of,
    parameters,
    planned_once,
    transposed,
    unnested,
)
from service.database.tables import Moment, allocation, allocation_copy, order_cancellation
from service.orders import order_store

T = TypeVar("T")
OrderKey = tuple[str, str]
"""(Channel id, order id)."""

_allocation, _copy = allocation.c, allocation_copy.c
_requested = unnested("requested", channel_id=Text, order_id=Text)
_numbered = planned_once(
    func.unnest(parameters("channel_id", Text), parameters("order_id", Text))
    .table_valued("channel_id", "order_id", with_ordinality="position", name="requested")
    .render_derived()
)
_READ_LINKS = Statement(
    select(allocation_copy, _allocation.channel_id.label("to_channel_id"), _allocation.order_id.label("to_order_id"))
    .join(allocation, _allocation.id == _copy.allocation_id)
    .where(
        or_(
            _copy.allocation_id == any_of("ids", Uuid),
            select(_requested.c.channel_id)
            .where(_requested.c.channel_id == _copy.channel_id, _requested.c.order_id == _copy.order_id)
            .exists(),
        )
    )
)


def _rows_of_keys(*tables: Table) -> Subquery:
    """The position, from 1, of a requested key for each row of it that is stored in one of these tables."""
    parts = [
        select(_numbered.c.position).join_from(
            _numbered,
            table,
            (_channel_of(table) == _numbered.c.channel_id) & (table.c.order_id == _numbered.c.order_id),
        )
        for table in tables
    ]
    return union_all(*parts).subquery("stored")


def _channel_of(table: Table) -> ColumnElement[str]:
    """The channel of a key, such that PostgreSQL finds the rows by the table's index of keys.

    It also has one of orders by channel, and until the table is first analyzed it takes either for as good. With that
    one it would read all orders of the channel; an expression excludes it.
    """
    channel_id = table.c.channel_id
    return channel_id.concat(literal_column("''")) if table is allocation else channel_id


KNOWN_POSITIONS = select(
    func.array_agg(_rows_of_keys(allocation, allocation_copy, order_cancellation).c.position)
).scalar_subquery()
"""The positions, from 1, of keys of which an order, a copy or a cancellation is stored; null if there are none.

The keys are the parameters `channel_id` and `order_id`.
"""

_mentioned = _rows_of_keys(allocation_copy, order_cancellation)
MENTIONS = select(_mentioned.c.position, func.count().label("row_count")).group_by(_mentioned.c.position)
"""How many copies and cancellations of a key are stored, by the position of the key; the parameters are the same."""

_LINK: Columns = {
    "channel_id": Text,
    "order_id": Text,
    "allocation_id": Uuid,
    "provides_contents": Boolean,
    "channel_update_time": Moment,
}
_linked = unnested("linked", **_LINK)
_insert = upsert(allocation_copy).from_select(
    list(_LINK), select(*(_linked.c[name] for name in _LINK)).order_by(_linked.c.channel_id, _linked.c.order_id)
)
_WRITE = Statement(
    _insert.on_conflict_do_update(
        index_elements=["channel_id", "order_id"],
        set_={name: _insert.excluded[name] for name in _LINK if name not in ("channel_id", "order_id")},
    )
)
_DELETE = Statement(delete(allocation).where(_allocation.id == any_of("ids", Uuid)))


@dataclass(frozen=True, slots=True)
class CopyLink:
    """A copy of an order and its original. Until the original arrives, one copy `provides_contents`.

    `update_time` is when that copy was last changed, by the clock of its own channel.
    """

    key: OrderKey
    original: OrderKey
    allocation_id: UUID
    provides_contents: bool = False
    update_time: datetime | None = None


class OrderIdentityChanged(Exception):
    """The locked orders were not all originals: the transaction must start again with these links."""

    def __init__(self, links: Mapping[OrderKey, CopyLink]) -> None:
        super().__init__("an order that was locked is a copy; lock its original")
        self.links = links


@dataclass(frozen=True, slots=True)
class LockedOrders:
    """Locked orders by key. `created` are the ids of new rows, `links` those of all copies of these orders."""

    ids: Mapping[OrderKey, UUID]
    created: frozenset[UUID]
    links: Mapping[OrderKey, CopyLink]

    @property
    def existing_ids(self) -> list[UUID]:
        """The orders that existed before."""
        return [id for id in self.ids.values() if id not in self.created]

    def original(self, key: OrderKey) -> OrderKey:
        """The key of the order that holds the promise: the original's."""
        link = self.links.get(key)
        return link.original if link else key


async def lock(
    connection: Connection,
    keys: Iterable[OrderKey],
    known_links: Mapping[OrderKey, CopyLink],
    new_id: Callable[[], UUID],
) -> LockedOrders:
    """Locks the orders of these keys, or the originals of copies in `known_links`; creates rows for new orders.

    A key without an order is locked by a new row, so that no other transaction can create the order meanwhile;
    `delete_empty` deletes the row if no order is stored in it. Raises OrderIdentityChanged if a key turns out to be
    a copy's: the transaction must start again.
    """
    return await _lock(order_store.lock_or_create, connection, keys, known_links, new_id)


async def lock_stored(
    connection: Connection,
    keys: Iterable[OrderKey],
    known_links: Mapping[OrderKey, CopyLink],
    known_keys: Collection[OrderKey],
    new_id: Callable[[], UUID],
) -> LockedOrders:
    """As `lock`, but the key of a new order is locked only when its row is inserted, after all other locks.

    `known_keys` are those of KNOWN_POSITIONS. What is stored about a new order may change until its row is
    inserted; the transaction then checks it with `check_created`.
    """
    keys = list(dict.fromkeys(keys))
    if known_keys or known_links or NEEDED.get():
        return await _lock(order_store.lock_stored, connection, keys, known_links, new_id)
    ids = {key: new_id() for key in keys}
    return LockedOrders(ids, frozenset(ids.values()), {})


def check_created(orders: LockedOrders, known_rows: Iterable[OrderKey], stored_rows: Mapping[OrderKey, int]) -> None:
    """Checks, once the rows of new orders are inserted, that nothing was stored about them since it was read.

    `known_rows` has the key of each copy and cancellation that was read, and `stored_rows` counts those that are
    stored now (MENTIONS). Raises OrderIdentityChanged: the transaction must start again.
    """
    known = Counter(known_rows)
    if any(stored_rows.get(key, 0) != known[key] for key, id in orders.ids.items() if id in orders.created):
        raise OrderIdentityChanged({})


async def _lock(
    lock_rows: Callable[[Connection, Sequence[tuple[UUID, str, str]]], Awaitable[dict[OrderKey, UUID]]],
    connection: Connection,
    keys: Iterable[OrderKey],
    known_links: Mapping[OrderKey, CopyLink],
    new_id: Callable[[], UUID],
) -> LockedOrders:
    keys = list(dict.fromkeys(keys))
    originals = [known_links[key].original if key in known_links else key for key in keys]
    new_ids = {original: new_id() for original in originals}
    ids = await lock_rows(connection, [(id, *original) for original, id in new_ids.items()])
    links = await _read_links(connection, keys, ids.values())
    # Links are read after the locks, because a copy may have been linked to its original while we waited. The
    # original cannot be locked now without breaking the lock order, so the whole transaction starts again.
    if any((links[key].original if key in links else key) not in ids for key in keys):
        raise OrderIdentityChanged(links)
    return LockedOrders(ids, frozenset(id for original, id in ids.items() if new_ids[original] == id), links)


async def retry_until_locked(work: Callable[[Mapping[OrderKey, CopyLink]], Awaitable[T]]) -> T:
    """Runs a transaction that locks orders, and again with the links it found, until it locks the originals.

    This ends, because an order becomes a copy only once, or gets another original only when its original does.
    """
    known_links: dict[OrderKey, CopyLink] = {}
    while True:
        try:
            return await work(known_links)
        except OrderIdentityChanged as changed:
            known_links |= changed.links


async def find(connection: Connection, keys: Iterable[OrderKey], new_id: Callable[[], UUID]) -> LockedOrders:
    """As `lock`, but locks and creates nothing: `created` are the ids that new orders would have."""
    keys = list(dict.fromkeys(keys))
    links = await _read_links(connection, keys, [])
    originals = dict.fromkeys(links[key].original if key in links else key for key in keys)
    stored_ids = {original: await order_store.find(connection, *original) for original in originals}
    ids = {original: id or new_id() for original, id in stored_ids.items()}
    links |= await _read_links(connection, keys, ids.values())
    return LockedOrders(ids, frozenset(ids[original] for original, id in stored_ids.items() if id is None), links)


async def write(connection: Connection, links: Iterable[CopyLink]) -> None:
    """Writes links whose copies and originals are locked."""
    rows = [(*link.key, link.allocation_id, link.provides_contents, link.update_time) for link in links]
    if rows:
        await _WRITE.run(connection, **transposed(list(_LINK), rows))


async def delete_empty(connection: Connection, ids: Iterable[UUID]) -> None:
    """Deletes rows that this transaction created and in which no order is stored."""
    empty = sorted(ids)
    if empty:
        await _DELETE.run(connection, ids=empty)


async def _read_links(
    connection: Connection, keys: Iterable[OrderKey], ids: Iterable[UUID]
) -> dict[OrderKey, CopyLink]:
    rows = await _READ_LINKS.rows(connection, ids=list(ids), **transposed(["channel_id", "order_id"], list(keys)))
    links = [
        CopyLink(
            (r["channel_id"], r["order_id"]),
            (r["to_channel_id"], r["to_order_id"]),
            r["allocation_id"],
            r["provides_contents"],
            r["channel_update_time"],
        )
        for r in rows
    ]
    return {link.key: link for link in links}
