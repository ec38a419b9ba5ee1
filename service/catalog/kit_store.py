"""Kits in PostgreSQL: upserts, with the checks that keep kits out of kits, and deletion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg
from sqlalchemy import Integer, Text, delete, exists, func, literal_column, select, update

from service import limits
from service.catalog import catalog_store, unknown_records
from service.catalog.catalog_requests import Row
from service.catalog.catalog_store import CatalogTable
from service.database.database import Connection, Statement, any_of, parameter, parameters
from service.database.tables import allocation, catalog_version, kit, listing, order_line, promise, shortage
from service.errors import KitConflict, NotFound

KITS = CatalogTable(
    kit, "sku", filters={"component_skus": kit.c.component_skus.overlap(parameters("component_skus", Text))}
)
_MARK_EDITED = Statement(update(catalog_version).values(kit_version=catalog_version.c.version))
_NESTED = Statement(
    select(kit.c.sku, kit.c.component_skus)
    .where(
        (kit.c.sku == any_of("component_skus", Text)) | kit.c.component_skus.overlap(parameters("skus", Text)),
        kit.c.sku != func.all(parameters("skus", Text)),
    )
    .order_by(kit.c.sku)
)
_COUNT = Statement(select(func.count().label("count")).select_from(kit))
_LISTINGS = Statement(select(func.count().label("count")).where(listing.c.sku == parameter("sku", Text)))
_KIT = Statement(select(kit).where(kit.c.sku == parameter("sku", Text)))
_DELETE = Statement(delete(kit).where(kit.c.sku == parameter("sku", Text)))
_of_kit = exists().where(
    order_line.c.allocation_id == allocation.c.id,
    order_line.c.kit_sku == parameter("sku", Text),
    exists().where(
        promise.c.allocation_id == order_line.c.allocation_id,
        promise.c.line_id == order_line.c.line_id,
        promise.c.unit_count > 0,
        (promise.c.expire_time.is_(None)) | (promise.c.expire_time > func.statement_timestamp()),
    )
    | exists().where(
        shortage.c.allocation_id == order_line.c.allocation_id,
        shortage.c.line_id == order_line.c.line_id,
        shortage.c.backordered,
    ),
)
_OPEN_ORDERS = Statement(
    select(
        allocation.c.channel_id,
        allocation.c.order_id,
        func.count().over().label("count"),
    )
    .where(
        allocation.c.id.in_(select(order_line.c.allocation_id).where(order_line.c.kit_sku == parameter("sku", Text))),
        allocation.c.state.in_([literal_column("'held'"), literal_column("'confirmed'")]),
        _of_kit,
    )
    .order_by(allocation.c.create_time, allocation.c.id)
    .limit(parameter("limit", Integer))
)


@dataclass(frozen=True, slots=True)
class KitUse:
    """A kit, the open orders that use it, how many and the oldest as (channel id, order id), and how many listings."""

    row: asyncpg.Record
    order_count: int
    orders: tuple[tuple[str, str], ...]
    listing_count: int


async def upsert(connection: Connection, rows: Sequence[Row], *, validate_only: bool) -> tuple[int, int]:
    """Writes kits, and returns how many it created and updated. Raises NotFound for unknown SKUs, and KitConflict."""
    if not validate_only:
        await catalog_store.claim(connection)
    await _check_products(connection, rows)
    await _check_nesting(connection, rows)
    created, updated = await KITS.upsert_counts(connection, rows)
    stored = await _COUNT.row(connection)
    count = created + (stored["count"] if stored else 0)
    if created and count > limits.KITS:
        raise KitConflict.full(count, limits.KITS)
    if not validate_only:
        await KITS.upsert(connection, rows)
        await _MARK_EDITED.run(connection)
    return created, updated


async def delete_kit(connection: Connection, sku: str, *, validate_only: bool) -> KitUse:
    """Deletes a kit, and returns what uses it. Raises NotFound."""
    if not validate_only:
        await catalog_store.claim(connection)
    row = await _KIT.row(connection, sku=sku)
    if row is None:
        raise NotFound("kit", {"sku": sku}, "list the kits with ListKits or `truestock kits`")
    listings = await _LISTINGS.row(connection, sku=sku)
    orders = await _OPEN_ORDERS.rows(connection, sku=sku, limit=limits.KIT_ORDERS)
    if not validate_only:
        async with KITS.history.recorded(connection, [(sku,)], "DeleteKit"):
            await _DELETE.run(connection, sku=sku)
        await _MARK_EDITED.run(connection)
    count = orders[0]["count"] if orders else 0
    references = tuple((order["channel_id"], order["order_id"]) for order in orders)
    return KitUse(row, count, references, listings["count"] if listings else 0)


async def _check_products(connection: Connection, rows: Sequence[Row]) -> None:
    skus = {f"kits[{index}].sku": row["sku"] for index, row in enumerate(rows)} | {
        f"kits[{index}].components[{number}].sku": sku
        for index, row in enumerate(rows)
        for number, sku in enumerate(row["component_skus"])
    }
    missing = await catalog_store.missing_products(connection, skus.values())
    if missing:
        raise await unknown_records.product_error(connection, {f: sku for f, sku in skus.items() if sku in missing})


async def _check_nesting(connection: Connection, rows: Sequence[Row]) -> None:
    """Raises KitConflict if a component is a kit, in this call or in the catalog, or a kit is a component there."""
    component_skus = sorted({sku for row in rows for sku in row["component_skus"]})
    indexes = {row["sku"]: index for index, row in enumerate(rows)}
    stored = await _NESTED.rows(connection, skus=sorted(indexes), component_skus=component_skus)
    stored_kits = {row["sku"] for row in stored}
    for index, row in enumerate(rows):
        for number, sku in enumerate(row["component_skus"]):
            if sku in indexes or sku in stored_kits:
                raise KitConflict.nested(f"kits[{index}].components[{number}].sku", row["sku"], sku)
    for stored_row in stored:
        for sku in stored_row["component_skus"]:
            if sku in indexes:
                raise KitConflict.nested(f"kits[{indexes[sku]}].sku", stored_row["sku"], sku)
