"""Locations, products and channels in PostgreSQL.

Locations and channels are few and kept in memory by version: every read of stock says which version is in force, and
an older copy is read anew. Products are read with each question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
from sqlalchemy import Integer, Table, Text, func, select, update
from sqlalchemy.dialects.postgresql import insert

from policies.domain.model import Channel, Coordinates, Location, Product
from policies.stock import velocity
from policies.stock.feeds import Feed
from policies.stock.velocity import Velocity
from service.database.database import Connection, Statement, any_of, parameter, parameters
from service.database.tables import catalog_version, channel, feed, location, product

_wanted = func.unnest(parameters("skus", Text)).table_valued("sku", name="wanted").render_derived()
_PRODUCTS = Statement(
    select(
        _wanted.c.sku.label("wanted_sku"), catalog_version.c.version, func.statement_timestamp().label("now"), product
    )
    .select_from(catalog_version)
    .outerjoin(_wanted, _wanted.c.sku.is_not(None))
    .outerjoin(product, product.c.sku == _wanted.c.sku)
)
_LOCATIONS = Statement(select(location).order_by(location.c.id))
_CHANNELS = Statement(select(channel).order_by(channel.c.id))
_FEEDS = Statement(select(feed).order_by(feed.c.source))
_RAISE_VERSION = Statement(update(catalog_version).values(version=catalog_version.c.version + 1))
_VERSION = Statement(select(catalog_version.c.version))
_KNOWN_LOCATIONS = Statement(select(location.c.id).where(location.c.id == any_of("ids", Text)))
_KNOWN_PRODUCTS = Statement(select(product.c.sku).where(product.c.sku == any_of("skus", Text)))


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every location, channel and declared feed as of one version."""

    version: int
    locations: Mapping[str, Location]
    channels: Mapping[str, Channel]
    feeds: Mapping[str, Feed] = field(default_factory=dict)


class CatalogCache:
    """The newest catalogue that this process has seen."""

    def __init__(self) -> None:
        self._newest = Catalog(-1, {}, {})

    async def at(self, connection: Connection, version: int) -> Catalog:
        """The catalogue of at least this version."""
        if self._newest.version < version:
            self._newest = await read(connection)
        return self._newest


async def read(connection: Connection) -> Catalog:
    """Every location, channel and declared feed."""
    # The version is read first: an edit between the statements makes the copy newer than its version, never older.
    found = await version(connection)
    locations = [location_of(r) for r in await _LOCATIONS.rows(connection)]
    channels = [channel_of(r) for r in await _CHANNELS.rows(connection)]
    declared = await feeds(connection)
    return Catalog(found, {x.id: x for x in locations}, {x.id: x for x in channels}, declared)


async def feeds(connection: Connection) -> dict[str, Feed]:
    """Every declared feed, by source."""
    return {row["source"]: feed_of(row) for row in await _FEEDS.rows(connection)}


async def version(connection: Connection) -> int:
    """Rises with every edit of the catalogue."""
    row = await _VERSION.row(connection)
    return row["version"] if row else 0


async def products(connection: Connection, skus: Iterable[str]) -> tuple[int, dict[str, Product]]:
    """The catalogue's version and those of the SKUs that exist."""
    rows = await _PRODUCTS.rows(connection, skus=sorted(set(skus)))
    found = rows[0]["version"] if rows else 0
    return found, {r["sku"]: product_of(r) for r in rows if r["sku"] is not None}


async def missing_locations(connection: Connection, ids: Iterable[str]) -> set[str]:
    """Those of the ids that no location has."""
    wanted = set(ids)
    return wanted - {r["id"] for r in await _KNOWN_LOCATIONS.rows(connection, ids=sorted(wanted))}


async def missing_products(connection: Connection, skus: Iterable[str]) -> set[str]:
    """Those of the SKUs that no product has."""
    wanted = set(skus)
    return wanted - {r["sku"] for r in await _KNOWN_PRODUCTS.rows(connection, skus=sorted(wanted))}


async def claim(connection: Connection) -> None:
    """Makes this transaction the only one that edits the catalogue, until it ends; its version rises."""
    # The one row of the version is also the lock of all catalog edits. Versions therefore rise in commit order, and a
    # cached catalog of some version lacks no edit of that version or an earlier one.
    await _RAISE_VERSION.run(connection)


class CatalogTable:
    """One table of the catalogue: whole records in, pages out."""

    def __init__(self, table: Table, key: str, *, learnt: tuple[str, ...] = ()) -> None:
        """`learnt` columns are not the caller's: an upsert leaves them as they are."""
        self.table = table
        self.key = key
        columns = [c.name for c in table.columns if c.name not in ("create_time", "update_time", *learnt)]
        values = insert(table).values({name: parameter(name, table.c[name].type) for name in columns})
        changed = {name: values.excluded[name] for name in columns if name != key}
        self._upsert = Statement(
            values.on_conflict_do_update(index_elements=[key], set_={**changed, "update_time": func.clock_timestamp()})
        )
        id_column = table.c[key]
        self._known = Statement(select(id_column).where(id_column == any_of("ids", Text)))
        page = (
            select(table, func.statement_timestamp().label("now"))
            .where(id_column > parameter("after", Text))
            .order_by(id_column)
        )
        self._page = Statement(page.limit(parameter("count", Integer)))
        self._named_page = Statement(page.where(id_column == any_of("ids", Text)).limit(parameter("count", Integer)))

    async def upsert(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
        """Writes whole records, one writer at a time; returns (created, updated)."""
        await claim(connection)
        counts = await self.known_counts(connection, rows)
        await self._upsert.run_for_each(connection, sorted(map(dict, rows), key=lambda row: str(row[self.key])))
        return counts

    async def known_counts(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
        """How many of these records are new, and how many are known."""
        known = await self._known.rows(connection, ids=[row[self.key] for row in rows])
        return len(rows) - len(known), len(known)

    async def page(
        self, connection: Connection, after: str, count: int, ids: Sequence[str] = ()
    ) -> list[asyncpg.Record]:
        """At most `count` records behind the key `after`, in order of the key."""
        if ids:
            return await self._named_page.rows(connection, after=after, count=count, ids=list(ids))
        return await self._page.rows(connection, after=after, count=count)


LOCATIONS = CatalogTable(location, "id")
PRODUCTS = CatalogTable(product, "sku", learnt=("learned_velocity", "learned_velocity_time"))
CHANNELS = CatalogTable(channel, "id")
FEEDS = CatalogTable(feed, "source", learnt=("ingest_time",))


def location_of(row: asyncpg.Record) -> Location:
    """A row of `location` in the words of `policies`."""
    return Location(
        id=row["id"],
        type=row["type"],
        status=row["status"],
        name=row["display_name"],
        tags=frozenset(row["tags"]),
        country=row["country"],
        region=row["region"],
        coordinates=None if row["latitude"] is None else Coordinates(row["latitude"], row["longitude"]),
        time_zone=row["time_zone"],
        offers_pickup=row["offers_pickup"],
        handling_minutes=row["handling_minutes"],
        priority=row["priority"],
        ships_to=None if row["ships_to"] is None else frozenset(row["ships_to"]),
        cut_off=row["cut_off"],
        opening_days=frozenset(row["opening_days"]),
        opens=row["opens"],
        closes=row["closes"],
        holidays=frozenset(row["holidays"]),
    )


def channel_of(row: asyncpg.Record) -> Channel:
    """A row of `channel` in the words of `policies`."""
    places = frozenset(row["location_ids"])
    named = (row["id"], row["kind"], row["display_name"])
    return Channel(*named, places, row["cancellation_headroom"], row["platform"])


def feed_of(row: asyncpg.Record | Mapping[str, Any]) -> Feed:
    """A row of `feed` in the words of `policies`."""
    return Feed(
        source=row["source"],
        role=row["role"],
        basis=row["basis"],
        open_orders=row["open_orders"],
        location_ids=frozenset(row["location_ids"]),
        skus=frozenset(row["skus"]),
        tolerance_units=row["tolerance_units"],
    )


def learned_velocity(row: asyncpg.Record) -> float | None:
    """The units a day that a product has been learnt to sell, at the row's `now`; None until something was sold."""
    if row["learned_velocity"] is None:
        return None
    return velocity.velocity_at(Velocity(row["learned_velocity"], row["learned_velocity_time"]), row["now"])


def product_of(row: asyncpg.Record) -> Product:
    """A row of `product` in the words of `policies`; its velocity is the stated one, else the learnt one."""
    stated = row["velocity_per_day"]
    return Product(
        sku=row["sku"],
        name=row["display_name"],
        status=row["status"],
        tags=frozenset(row["tags"]),
        category=row["category"],
        brand=row["brand"],
        price=row["price"],
        velocity_per_day=learned_velocity(row) if stated is None else stated,
        has_dimensions=row["weight_grams"] is not None,
        has_barcode=bool(row["barcode"]),
        has_image=bool(row["image_uri"]),
    )
