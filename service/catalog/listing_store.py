"""Listings in PostgreSQL. There may be as many as products, so no copy of all of them is kept: each is read by its key.

Edits run under `catalog_store.claim`, like all edits of the catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import ColumnElement, Integer, Select, Text, delete, exists, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from policies.domain.listings import ItemKey, Listing
from service import limits
from service.database.database import (
    Columns,
    Connection,
    Statement,
    any_of,
    parameter,
    parameters,
    transposed,
    unnested,
)
from service.database.keyset import COUNT, first_of_each
from service.database.tables import allocation, listing, order_line, promise, shortage
from service.history.catalog_history import HistoryOf

_KEY: Columns = {"channel_id": Text, "item_id": Text}
_ROW: Columns = {**_KEY, "sku": Text, "unit_count": Integer}
_columns = [listing.c[name] for name in _ROW]
_requested = unnested("requested", **_KEY)
_is_requested = (listing.c.channel_id == _requested.c.channel_id) & (listing.c.item_id == _requested.c.item_id)
_READ = Statement(select(*_columns).join(_requested, _is_requested))
_new = unnested("new", **_ROW)
_insert = insert(listing).from_select(list(_ROW), select(*(_new.c[name] for name in _ROW)))
_UPSERT = Statement(
    _insert.on_conflict_do_update(
        index_elements=list(_KEY),
        set_={
            "sku": _insert.excluded.sku,
            "unit_count": _insert.excluded.unit_count,
            "update_time": func.clock_timestamp(),
        },
    )
)
HISTORY = HistoryOf(listing)
_DELETE = Statement(
    delete(listing).where(
        listing.c.channel_id == parameter("channel_id", Text), listing.c.item_id == parameter("item_id", Text)
    )
)
_newest = (
    select(order_line.c.allocation_id, order_line.c.line_id)
    .where(order_line.c.item_id == parameter("item_id", Text))
    .order_by(order_line.c.allocation_id.desc())
    .limit(parameter("line_count", Integer))
    .subquery("newest")
)
_is_promised = exists().where(
    promise.c.allocation_id == _newest.c.allocation_id,
    promise.c.line_id == _newest.c.line_id,
    promise.c.unit_count > literal_column("0"),
    (promise.c.expire_time.is_(None)) | (promise.c.expire_time > func.statement_timestamp()),
)
_is_short = exists().where(shortage.c.allocation_id == _newest.c.allocation_id, shortage.c.line_id == _newest.c.line_id)
_OPEN_ORDERS = Statement(
    select(allocation.c.id, allocation.c.channel_id, allocation.c.order_id, func.count().over().label("order_count"))
    .join(_newest, _newest.c.allocation_id == allocation.c.id)
    .where(
        allocation.c.channel_id == parameter("channel_id", Text),
        allocation.c.state.in_([literal_column("'held'"), literal_column("'confirmed'")]),
        _is_promised | _is_short,
    )
    .group_by(allocation.c.id, allocation.c.channel_id, allocation.c.order_id)
    .order_by(allocation.c.id.desc())
    .limit(parameter("count", Integer))
)


async def read(connection: Connection, keys: Iterable[ItemKey]) -> dict[ItemKey, Listing]:
    """The listings of those items that have one."""
    rows = await _READ.rows(connection, **transposed(list(_KEY), sorted(set(keys))))
    return {found.key: found for found in map(listing_of, rows)}


async def upsert(connection: Connection, listings: Sequence[Listing]) -> tuple[int, int]:
    """Writes listings, under `catalog_store.claim`; returns (created, updated)."""
    rows = sorted((x.channel_id, x.item_id, x.sku, x.unit_count) for x in listings)
    async with HISTORY.recorded(connection, [x.key for x in listings], "UpsertListings") as existing:
        await _UPSERT.run(connection, **transposed(list(_ROW), rows))
    return len(listings) - len(existing), len(existing)


async def upsert_counts(connection: Connection, listings: Sequence[Listing]) -> tuple[int, int]:
    """How many of these listings an upsert would create, and how many it would update."""
    existing = await read(connection, [listing.key for listing in listings])
    return len(listings) - len(existing), len(existing)


async def remove(connection: Connection, key: ItemKey) -> None:
    """Deletes the listing of an item, under `catalog_store.claim`."""
    async with HISTORY.recorded(connection, [key], "DeleteListing"):
        await _DELETE.run(connection, channel_id=key[0], item_id=key[1])


async def open_orders(connection: Connection, key: ItemKey) -> tuple[int, list[tuple[str, str]]]:
    """How many of an item's newest orders have units promised or short; the newest as (channel id, order id)."""
    rows = await _OPEN_ORDERS.rows(
        connection,
        channel_id=key[0],
        item_id=key[1],
        line_count=limits.LISTING_LINES,
        count=limits.LISTING_ORDERS,
    )
    return rows[0]["order_count"] if rows else 0, [(row["channel_id"], row["order_id"]) for row in rows]


async def page(
    connection: Connection, after: ItemKey, count: int, filters: Mapping[str, Sequence[str]]
) -> list[Listing]:
    """At most `count` listings after a key that pass every filter by one of its entries, by channel, then by item.

    `filters` are those that are set, of `channel_ids`, `item_ids` and `skus`.
    """
    position = {"after_channel_id": after[0], "after_item_id": after[1]}
    values = {name: sorted(set(entries)) for name, entries in filters.items()}
    rows = await _page(frozenset(filters)).rows(connection, count=count, **position, **values)
    return [listing_of(row) for row in rows]


def listing_of(row: asyncpg.Record) -> Listing:
    """A row of `listing` as a value of `policies`."""
    return Listing(row["channel_id"], row["item_id"], row["sku"], row["unit_count"])


@cache
def _page(filters: frozenset[str]) -> Statement:
    """The statement of a page with exactly these filters, which reads no more entries than fit one index each."""
    position = tuple_(parameter("after_channel_id", Text), parameter("after_item_id", Text))
    entries: Select[Any] = (
        select(*_columns)
        .where(tuple_(listing.c.channel_id, listing.c.item_id) > position)
        .order_by(listing.c.channel_id, listing.c.item_id)
    )
    # An item has at most one listing in each channel, so what else is filtered hardly matters.
    leading = ["item_ids"] if "item_ids" in filters else [x for x in ("channel_ids", "skus") if x in filters]
    for name in filters - set(leading):
        entries = entries.where(_column(name) == any_of(name, Text))
    if not leading:
        return Statement(entries.limit(COUNT))
    groups = select(*(func.unnest(parameters(name, Text)).label(name) for name in leading[:1]))
    for name in leading[1:]:
        values = func.unnest(parameters(name, Text)).table_valued(name, name=f"each_{name}").render_derived()
        groups = groups.add_columns(values.c[name])
    group = groups.subquery("groups")
    of_group = entries.where(*(_column(name) == group.c[name] for name in leading))
    return Statement(first_of_each(group, of_group, COUNT, "channel_id", "item_id"))


def _column(filter_name: str) -> ColumnElement[Any]:
    return {"channel_ids": listing.c.channel_id, "item_ids": listing.c.item_id, "skus": listing.c.sku}[filter_name]
