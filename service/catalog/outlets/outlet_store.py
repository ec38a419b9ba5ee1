"""Outlets in PostgreSQL, with the pools that they are. Both are few, and cached with locations and channels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg
from sqlalchemy import Boolean, ColumnElement, Integer, Text, delete, exists, func, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import insert

from policies.domain.outlets import Outlet, OutletConflict, outlet_conflict
from service import limits
from service.database.database import Connection, Statement, any_of, parameter, transposed, unnested
from service.database.tables import allocation, outlet, pool, promise, shortage
from service.history.catalog_history import HistoryOf

OutletKey = tuple[str, str]
"""(Channel id, outlet id)."""

_OUTLETS = Statement(
    select(outlet, pool.c.location_ids.label("pool_location_ids")).outerjoin(pool, pool.c.id == outlet.c.pool_id)
)
_POOLS = Statement(select(pool.c.id, pool.c.location_ids))
_requested = unnested("requested", channel_id=Text, id=Text)
_EXISTING = Statement(
    select(outlet.c.channel_id, outlet.c.id).where(
        tuple_(outlet.c.channel_id, outlet.c.id).in_(select(_requested.c.channel_id, _requested.c.id))
    )
)
_COLUMNS = ("channel_id", "id", "display_name", "location_id", "pool_id")
_values = insert(outlet).values({name: parameter(name, outlet.c[name].type) for name in _COLUMNS})
_UPSERT = Statement(
    _values.on_conflict_do_update(
        index_elements=["channel_id", "id"],
        set_={name: _values.excluded[name] for name in _COLUMNS[2:]} | {"update_time": func.clock_timestamp()},
    )
)
HISTORY, POOL_HISTORY = HistoryOf(outlet), HistoryOf(pool)
_DELETE_OUTLET = Statement(
    delete(outlet)
    .where(outlet.c.channel_id == parameter("channel_id", Text), outlet.c.id == parameter("id", Text))
    .returning(outlet.c.id)
)
_DELETE_POOL = Statement(delete(pool).where(pool.c.id == parameter("id", Text)).returning(pool.c.id))
_USERS = Statement(
    select(outlet.c.channel_id, outlet.c.id)
    .where(outlet.c.pool_id == parameter("pool_id", Text))
    .order_by(outlet.c.channel_id, outlet.c.id)
)
_FILTERS: Mapping[str, ColumnElement[bool]] = {
    "channels": outlet.c.channel_id == any_of("channels", Text),
    "ids": outlet.c.id == any_of("ids", Text),
    "pools": outlet.c.pool_id == any_of("pools", Text),
}
_pages: dict[frozenset[str], Statement] = {}
_order = allocation.c
_is_promising = literal_column("allocation.state IN ('held', 'confirmed')", Boolean)
_chosen = (
    select(_order.id, _order.order_id)
    .where(_order.channel_id == parameter("channel_id", Text), _order.outlet_id == parameter("id", Text), _is_promising)
    .order_by(_order.id.desc())
    .limit(parameter("searched", Integer))
    .subquery("chosen")
)
_OPEN_ORDERS = Statement(
    select(_chosen.c.order_id)
    .where(
        exists().where(promise.c.allocation_id == _chosen.c.id, promise.c.unit_count > literal_column("0"))
        | exists().where(shortage.c.allocation_id == _chosen.c.id)
    )
    .order_by(_chosen.c.id.desc())
)


async def outlets(connection: Connection) -> dict[str, tuple[Outlet, ...]]:
    """Every outlet by channel id, sorted by its own id."""
    by_channel: dict[str, list[Outlet]] = {}
    for row in await _OUTLETS.rows(connection):
        locations = [row["location_id"]] if row["location_id"] else row["pool_location_ids"] or ()
        by_channel.setdefault(row["channel_id"], []).append(Outlet(row["id"], frozenset(locations)))
    # Databases sort text by the rules of their language; ties between outlets do not.
    return {channel_id: tuple(sorted(found, key=lambda outlet: outlet.id)) for channel_id, found in by_channel.items()}


async def conflict_after(
    connection: Connection,
    *,
    outlet_rows: Sequence[Mapping[str, Any]] = (),
    pool_rows: Sequence[Mapping[str, Any]] = (),
) -> OutletConflict | None:
    """The location that would be in two outlets of one channel once these rows were written; None if there is none."""
    pools = {row["id"]: row["location_ids"] for row in await _POOLS.rows(connection)}
    pools |= {row["id"]: row["location_ids"] for row in pool_rows}
    rows = {(row["channel_id"], row["id"]): row for row in await _OUTLETS.rows(connection)}
    rows |= {(row["channel_id"], row["id"]): row for row in outlet_rows}
    by_channel: dict[str, list[Outlet]] = {}
    for (channel_id, outlet_id), row in rows.items():
        locations = [row["location_id"]] if row["location_id"] else pools.get(row["pool_id"], ())
        by_channel.setdefault(channel_id, []).append(Outlet(outlet_id, frozenset(locations)))
    return outlet_conflict(by_channel)


async def missing_pools(connection: Connection, ids: Iterable[str]) -> tuple[set[str], list[str]]:
    """The ids that no pool has, and the ids of all pools."""
    known = [row["id"] for row in await _POOLS.rows(connection)]
    return set(ids).difference(known), known


async def upsert_counts(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """How many of these outlets an upsert would create, and how many it would update."""
    keys = [(row["channel_id"], row["id"]) for row in rows]
    existing = await _EXISTING.rows(connection, **transposed(["channel_id", "id"], keys))
    return len(rows) - len(existing), len(existing)


async def upsert(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
    """Writes whole outlets, under the claim of the catalog; returns (created, updated)."""
    keys = [(row["channel_id"], row["id"]) for row in rows]
    async with HISTORY.recorded(connection, keys, "UpsertOutlets") as existing:
        await _UPSERT.run_for_each(connection, sorted(map(dict, rows), key=lambda row: (row["channel_id"], row["id"])))
    return len(rows) - len(existing), len(existing)


async def page(
    connection: Connection, after: OutletKey, count: int, filters: Mapping[str, Sequence[str]]
) -> list[asyncpg.Record]:
    """At most `count` outlets after a key that pass every filter by one of its entries, by key."""
    names = frozenset(filters)
    if names not in _pages:
        key = tuple_(outlet.c.channel_id, outlet.c.id)
        after_key = tuple_(parameter("after_channel", Text), parameter("after_id", Text))
        _pages[names] = Statement(
            select(outlet)
            .where(key > after_key, *(_FILTERS[name] for name in sorted(names)))
            .order_by(outlet.c.channel_id, outlet.c.id)
            .limit(parameter("count", Integer))
        )
    entries = {name: list(values) for name, values in filters.items()}
    return await _pages[names].rows(connection, after_channel=after[0], after_id=after[1], count=count, **entries)


async def counts_after(connection: Connection, rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many outlets the channels of these rows would have once the rows were written, by channel id."""
    keys = {(row["channel_id"], row["id"]) for row in await _OUTLETS.rows(connection)}
    keys |= {(row["channel_id"], row["id"]) for row in rows}
    return Counter(channel_id for channel_id, _ in keys)


async def users_of_pool(connection: Connection, pool_id: str) -> list[OutletKey]:
    """The outlets that are this pool, by key."""
    return [(row["channel_id"], row["id"]) for row in await _USERS.rows(connection, pool_id=pool_id)]


async def open_orders(connection: Connection, key: OutletKey) -> list[str]:
    """The ids of orders that chose the outlet and still have units to ship or short, the newest first."""
    rows = await _OPEN_ORDERS.rows(connection, channel_id=key[0], id=key[1], searched=limits.IDS_SEARCHED)
    return [row["order_id"] for row in rows]


async def delete_pool(connection: Connection, pool_id: str) -> None:
    """Deletes a pool, under the claim of the catalog. Its outlets stay, without locations."""
    async with POOL_HISTORY.recorded(connection, [(pool_id,)], "DeletePool"):
        await _DELETE_POOL.run(connection, id=pool_id)


async def delete_outlet(connection: Connection, key: OutletKey) -> None:
    """Deletes an outlet, under the claim of the catalog."""
    async with HISTORY.recorded(connection, [key], "DeleteOutlet"):
        await _DELETE_OUTLET.run(connection, channel_id=key[0], id=key[1])
