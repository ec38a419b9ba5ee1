"""Edits of pools and outlets. After each, a location is in at most one outlet of a channel, also through pools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service import limits
from service.catalog import catalog_store, unknown_records
from service.catalog.catalog_requests import Row
from service.catalog.catalog_store import POOLS
from service.catalog.outlets import outlet_store
from service.catalog.outlets.outlet_store import OutletKey
from service.database.database import Connection
from service.errors import InvalidFields, SharedLocation, Violation, no_channel, no_outlet, no_pool


async def upsert_pools(connection: Connection, rows: Sequence[Row], *, validate_only: bool) -> tuple[int, int]:
    """The numbers of pools created and updated. Raises NotFound for an unknown location, and SharedLocation."""
    if not validate_only:
        await catalog_store.claim(connection)
    location_ids = {
        f"pools[{row_index}].location_ids[{index}]": location_id
        for row_index, row in enumerate(rows)
        for index, location_id in enumerate(row["location_ids"])
    }
    await _check_locations(connection, location_ids)
    conflict = await outlet_store.conflict_after(connection, pool_rows=rows)
    if conflict is not None:
        # One of the two outlets is a pool of this call: the stored ones have no location in common.
        index = next(i for i, row in enumerate(rows) if conflict.location_id in row["location_ids"])
        raise SharedLocation(conflict, f"pools[{index}].location_ids", f"pool '{rows[index]['id']}'")
    return await (POOLS.upsert_counts if validate_only else POOLS.upsert)(connection, rows)


async def upsert_outlets(connection: Connection, rows: Sequence[Row], *, validate_only: bool) -> tuple[int, int]:
    """The numbers of outlets created and updated.

    Raises NotFound for an unknown channel, location or pool, SharedLocation, and InvalidFields for too many outlets.
    """
    if not validate_only:
        await catalog_store.claim(connection)
    await _check_sources(connection, rows)
    counts = await outlet_store.counts_after(connection, rows)
    for index, row in enumerate(rows):
        if counts[row["channel_id"]] > limits.OUTLETS:
            problem = f"channel '{row['channel_id']}' would have {counts[row['channel_id']]} outlets"
            raise InvalidFields([Violation(f"outlets[{index}]", f"{problem}; it may have {limits.OUTLETS}")])
    conflict = await outlet_store.conflict_after(connection, outlet_rows=rows)
    if conflict is not None:
        index = next(
            i
            for i, row in enumerate(rows)
            if row["channel_id"] == conflict.channel_id and row["id"] in (conflict.outlet_id, conflict.other_outlet_id)
        )
        raise SharedLocation(conflict, f"outlets[{index}]", f"outlet '{rows[index]['id']}'")
    return await (outlet_store.upsert_counts if validate_only else outlet_store.upsert)(connection, rows)


async def delete_pool(connection: Connection, pool_id: str, *, validate_only: bool) -> list[OutletKey]:
    """The outlets that are the pool, which stay without locations. Raises NotFound."""
    if not validate_only:
        await catalog_store.claim(connection)
    missing, known = await outlet_store.missing_pools(connection, [pool_id])
    if missing:
        raise no_pool({"pool_id": pool_id}, known)
    users = await outlet_store.users_of_pool(connection, pool_id)
    if not validate_only:
        await outlet_store.delete_pool(connection, pool_id)
    return users


async def delete_outlet(connection: Connection, key: OutletKey, *, validate_only: bool) -> None:
    """Deletes an outlet. Raises NotFound."""
    if not validate_only:
        await catalog_store.claim(connection)
    known = (await outlet_store.outlets(connection)).get(key[0], ())
    if key[1] not in {outlet.id for outlet in known}:
        raise no_outlet({"outlet_id": key[1]}, key[0], [outlet.id for outlet in known])
    if not validate_only:
        await outlet_store.delete_outlet(connection, key)


async def _check_sources(connection: Connection, rows: Sequence[Row]) -> None:
    """Raises NotFound for a channel, pool or location that the catalog does not have."""
    channels = await catalog_store.channel_ids(connection)
    unknown = {
        f"outlets[{index}].channel_id": row["channel_id"]
        for index, row in enumerate(rows)
        if row["channel_id"] not in channels
    }
    if unknown:
        raise no_channel(unknown, channels)
    pool_ids = _named(rows, "pool_id")
    missing, known = await outlet_store.missing_pools(connection, pool_ids.values())
    if missing:
        raise no_pool({field: pool_id for field, pool_id in pool_ids.items() if pool_id in missing}, known)
    await _check_locations(connection, _named(rows, "location_id"))


def _named(rows: Sequence[Row], column: str) -> dict[str, Any]:
    return {f"outlets[{index}].{column}": row[column] for index, row in enumerate(rows) if row[column] is not None}


async def _check_locations(connection: Connection, location_ids: Mapping[str, str]) -> None:
    """Raises NotFound for locations that the catalog does not have; `location_ids` are by the field that names each."""
    missing = await catalog_store.missing_locations(connection, location_ids.values())
    if missing:
        unknown = {field: location_id for field, location_id in location_ids.items() if location_id in missing}
        raise await unknown_records.location_error(connection, unknown)
