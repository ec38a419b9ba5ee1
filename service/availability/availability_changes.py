"""Reads changes since the last read that may change what channels can sell, all on one snapshot of the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Text, func, literal_column, select

from service.availability.published_availability import BATCH_PAIRS, COLUMNS, PublishedValue, published_value
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database import change_horizon
from service.database.change_horizon import Horizon, committed_since
from service.database.database import Connection, Statement, parameter
from service.database.tables import Moment, allocation, availability_published, product, promise, stock_movement

NEVER = datetime(1970, 1, 1, tzinfo=UTC)

_MOVED = Statement(
    select(stock_movement.c.sku, func.min(stock_movement.c.ingest_time).label("ingest_time"))
    .where(committed_since(stock_movement.c.xid))
    .group_by(stock_movement.c.sku)
)
# Joined to the allocation, because its index has the expiry of holds.
_EXPIRED = Statement(
    select(promise.c.sku)
    .distinct()
    .join(allocation, allocation.c.id == promise.c.allocation_id)
    .where(
        allocation.c.state == literal_column("'held'"),
        allocation.c.expire_time > parameter("after", Moment),
        allocation.c.expire_time <= parameter("until", Moment),
    )
)
# Of all channels: a subscriber that adds a channel during this read must not miss a value published to it.
_PUBLISHED = Statement(select(*COLUMNS).where(committed_since(availability_published.c.xid)))
_EDITED = Statement(
    select(product.c.sku, product.c.update_time).where(product.c.update_time > parameter("after", Moment))
)
_LAST_EDIT = Statement(select(func.max(product.c.update_time).label("update_time")))
_NEXT_SKUS = Statement(
    select(product.c.sku).where(product.c.sku > parameter("after", Text)).order_by(product.c.sku).limit(BATCH_PAIRS)
)


@dataclass(frozen=True, slots=True)
class ReadPosition:
    """How far changes were read: the database snapshot, its catalog or a later one, and the last product edit."""

    horizon: Horizon
    version: int
    catalog: Catalog
    last_edit: datetime


@dataclass(frozen=True, slots=True)
class AvailabilityChanges:
    """What changed since the last read.

    `moved` are SKUs whose stock changed, with the earliest time at which such a change was received; `expired` are SKUs
    with a hold that expired; `edited` are SKUs of upserted products; `published` are the values that any service
    published.
    """

    position: ReadPosition
    moved: Mapping[str, datetime]
    expired: Sequence[str]
    edited: Sequence[str]
    published: Sequence[PublishedValue]

    def has_any(self, before: ReadPosition) -> bool:
        """Whether anything changed since `before`."""
        return bool(
            self.moved or self.expired or self.edited or self.published or self.position.version != before.version
        )


async def start_position(connection: Connection, cache: CatalogCache) -> ReadPosition:
    """The position from which to read changes. To be called on one snapshot of the database, like `read_changes`."""
    horizon = await change_horizon.horizon(connection)
    version = await catalog_store.version(connection)
    rows = await _LAST_EDIT.rows(connection)
    return ReadPosition(horizon, version, await cache.at(connection, version), rows[0]["update_time"] or NEVER)


async def read_changes(connection: Connection, cache: CatalogCache, before: ReadPosition) -> AvailabilityChanges:
    """Everything that was committed since `before`, and the holds that have expired since."""
    horizon = await change_horizon.horizon(connection)
    since = before.horizon.snapshot
    moved = await _MOVED.rows(connection, since=since)
    expired = await _EXPIRED.rows(connection, after=before.horizon.now, until=horizon.now)
    published = await _PUBLISHED.rows(connection, since=since)
    version = await catalog_store.version(connection)
    edited, last_edit = await _edited(connection, before, version)
    return AvailabilityChanges(
        ReadPosition(horizon, version, await cache.at(connection, version), last_edit),
        {r["sku"]: r["ingest_time"] for r in moved},
        [r["sku"] for r in expired],
        edited,
        [published_value(r) for r in published],
    )


async def next_skus(connection: Connection, after: str) -> list[str]:
    """The next BATCH_PAIRS SKUs of the catalog after this one, sorted."""
    return [r["sku"] for r in await _NEXT_SKUS.rows(connection, after=after)]


async def _edited(connection: Connection, before: ReadPosition, version: int) -> tuple[list[str], datetime]:
    """SKUs of products upserted since `before`. Upserts run one transaction at a time, so their times are in order."""
    if version == before.version:
        return [], before.last_edit
    rows = await _EDITED.rows(connection, after=before.last_edit)
    return [r["sku"] for r in rows], max((r["update_time"] for r in rows), default=before.last_edit)


def channels_edited(before: ReadPosition, after: ReadPosition) -> set[str]:
    """Ids of channels whose values may all have changed because the channel, an outlet or a location was edited."""
    old, new = before.catalog, after.catalog
    if old is new:
        return set()
    if old.locations != new.locations:
        return set(new.channels)
    return {
        channel_id
        for channel_id, channel in new.channels.items()
        if old.channels.get(channel_id) != channel or old.outlets.get(channel_id) != new.outlets.get(channel_id)
    }


def kits_edited(before: ReadPosition, after: ReadPosition) -> set[str]:
    """SKUs that were or are kits and whose components have changed."""
    old, new = before.catalog.kits, after.catalog.kits
    if old is new:
        return set()
    return {sku for sku in (*old.by_sku, *new.by_sku) if old.by_sku.get(sku) != new.by_sku.get(sku)}
