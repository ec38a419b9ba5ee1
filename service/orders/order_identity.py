"""The names of orders: an order and its copies are one, locked and found under the original's name."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Boolean, Text, Uuid, delete, or_, select
from sqlalchemy.dialects.postgresql import insert as upsert

from service.database.database import Columns, Connection, Statement, any_of, transposed, unnested
from service.database.tables import Moment, allocation, allocation_copy
from service.orders import order_store

T = TypeVar("T")
OrderKey = tuple[str, str]
"""(Channel id, order id)."""

_allocation, _copy = allocation.c, allocation_copy.c
_requested = unnested("wanted", channel_id=Text, order_id=Text)
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
    """A copy of an order. While the original has not come, one copy `provides_contents`.

    `update_time` is when that copy was last changed, by the clock of its own channel.
    """

    key: OrderKey
    original: OrderKey
    allocation_id: UUID
    provides_contents: bool = False
    update_time: datetime | None = None


class OrderIdentityChanged(Exception):
    """Orders were found to have other names than those that were locked: lock anew, knowing these."""

    def __init__(self, links: Mapping[OrderKey, CopyLink]) -> None:
        super().__init__("orders have other names than those that were locked")
        self.links = links


@dataclass(frozen=True, slots=True)
class LockedOrders:
    """Orders that are locked, by name. `made` are rows that are new, `links` those of all copies that are concerned."""

    ids: Mapping[OrderKey, UUID]
    created: frozenset[UUID]
    links: Mapping[OrderKey, CopyLink]

    @property
    def existing_ids(self) -> list[UUID]:
        """The orders that were there before."""
        return [id for id in self.ids.values() if id not in self.created]

    def original(self, name: OrderKey) -> OrderKey:
        """The name under which an order has its promise."""
        link = self.links.get(name)
        return link.original if link else name


async def lock(
    connection: Connection, wanted: Iterable[OrderKey], known: Mapping[OrderKey, CopyLink], new_id: Callable[[], UUID]
) -> LockedOrders:
    """Locks the orders of these keys, or the originals of those that are `known` copies; creates rows for new orders.

    A key without an order is locked by a new row, so that no other transaction can create the order meanwhile;
    `delete_empty` deletes the row if no order is stored in it. Raises OrderIdentityChanged where a key turns out to be
    a copy's: the transaction must start again.
    """
    names = list(dict.fromkeys(wanted))
    targets = [known[name].original if name in known else name for name in names]
    new = {target: new_id() for target in targets}
    ids = await order_store.lock_or_create(connection, [(id, *target) for target, id in new.items()])
    links = await _read_links(connection, names, ids.values())
    # Only now can nobody link these names any more.
    if any((links[name].original if name in links else name) not in ids for name in names):
        raise OrderIdentityChanged(links)
    return LockedOrders(ids, frozenset(id for target, id in ids.items() if new[target] == id), links)


async def retry_until_locked(work: Callable[[Mapping[OrderKey, CopyLink]], Awaitable[T]]) -> T:
    """Runs a transaction that locks names, again with what is known of them by then where they were not the right ones.

    A name becomes a copy's once, or moves on with its original, so that this ends.
    """
    known: dict[OrderKey, CopyLink] = {}
    while True:
        try:
            return await work(known)
        except OrderIdentityChanged as moved:
            known |= moved.links


async def find(connection: Connection, wanted: Iterable[OrderKey], new_id: Callable[[], UUID]) -> LockedOrders:
    """As `lock`, but locks and makes nothing: `made` are the ids that new orders would have."""
    names = list(dict.fromkeys(wanted))
    links = await _read_links(connection, names, [])
    targets = dict.fromkeys(links[name].original if name in links else name for name in names)
    found = {target: await order_store.find(connection, *target) for target in targets}
    ids = {target: id or new_id() for target, id in found.items()}
    links |= await _read_links(connection, names, ids.values())
    return LockedOrders(ids, frozenset(ids[target] for target, id in found.items() if id is None), links)


async def write(connection: Connection, links: Iterable[CopyLink]) -> None:
    """Writes links of orders that are locked, those of their copies' names included."""
    rows = [(*one.key, one.allocation_id, one.provides_contents, one.update_time) for one in links]
    if rows:
        await _WRITE.run(connection, **transposed(list(_LINK), rows))


async def delete_empty(connection: Connection, ids: Iterable[UUID]) -> None:
    """Takes rows away again that were made in this transaction and stay empty."""
    spare = sorted(ids)
    if spare:
        await _DELETE.run(connection, ids=spare)


async def _read_links(
    connection: Connection, names: Iterable[OrderKey], ids: Iterable[UUID]
) -> dict[OrderKey, CopyLink]:
    rows = await _READ_LINKS.rows(connection, ids=list(ids), **transposed(["channel_id", "order_id"], list(names)))
    found = [
        CopyLink(
            (r["channel_id"], r["order_id"]),
            (r["to_channel_id"], r["to_order_id"]),
            r["allocation_id"],
            r["provides_contents"],
            r["channel_update_time"],
        )
        for r in rows
    ]
    return {link.key: link for link in found}
