"""Locations, products, channels and pools in PostgreSQL.

Locations, channels, outlets and kits are few and are cached by version: every read of stock returns the current
version, and a cached copy that is older is read again. Products are not cached.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any

import asyncpg
from sqlalchemy import ColumnElement, Integer, Table, Text, case, func, literal_column, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from policies.domain.kits import NO_KITS, Kit, Kits
from policies.domain.model import Channel, Coordinates, Location, Product
from policies.domain.outlets import Outlet
from policies.stock import velocity
from policies.stock.feeds import Feed
from policies.stock.velocity import Velocity
from service.catalog import location_capacity, product_details, public_holidays, working_hours
from service.catalog.outlets import outlet_store
from service.catalog.product_readiness import ReadinessCache
from service.database.database import Connection, Statement, any_of, parameter, parameters, planned_once
from service.database.tables import catalog_version, channel, feed, kit, location, pool, product
from service.history.catalog_history import HistoryOf

_requested = planned_once(func.unnest(parameters("skus", Text)).table_valued("sku", name="requested").render_derived())
PRODUCT_ROWS = (
    select(
        _requested.c.sku.label("requested_sku"),
        catalog_version.c.version,
        func.statement_timestamp().label("now"),
        *(column for column in product.c if column.name not in product_details.COLUMNS),
    )
    .select_from(catalog_version)
    .outerjoin(_requested, _requested.c.sku.is_not(None))
    .outerjoin(product, product.c.sku == _requested.c.sku)
)
"""The catalog version with the products of the parameter `skus`: at least one row, even without any product."""
_PRODUCTS = Statement(PRODUCT_ROWS)
_LOCATIONS = Statement(select(location).order_by(location.c.id))
_CHANNELS = Statement(select(channel).order_by(channel.c.id))
_FEEDS = Statement(select(feed).order_by(feed.c.source))
_KITS = Statement(select(kit).order_by(kit.c.sku))
_RAISE_VERSION = Statement(update(catalog_version).values(version=catalog_version.c.version + 1))
_VERSION = Statement(select(catalog_version.c.version, catalog_version.c.kit_version))
_CURRENT_VERSION = select(catalog_version.c.version).scalar_subquery()
_OLD_CHANNELS = Statement(
    select(channel.c.id, channel.c.kind, channel.c.location_ids).where(channel.c.id == any_of("ids", Text))
)
_RECHECK = Statement(
    update(location)
    .values(recheck_version=_CURRENT_VERSION)
    .where(
        (func.cardinality(parameters("ids", Text)) == 0) | (location.c.id == any_of("ids", Text)),
        location.c.id != func.all(parameters("kept_ids", Text)),
    )
)
_TIMESTAMPS = ("create_time", "update_time")
_EXISTING_LOCATIONS = Statement(select(location.c.id).where(location.c.id == any_of("ids", Text)))
_CHANNEL_IDS = Statement(select(channel.c.id))
_EXISTING_PRODUCTS = Statement(select(product.c.sku).where(product.c.sku == any_of("skus", Text)))


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every location, channel, declared feed, outlet and kit as of one version."""

    version: int
    locations: Mapping[str, Location]
    channels: Mapping[str, Channel]
    feeds: Mapping[str, Feed] = field(default_factory=dict)
    outlets: Mapping[str, tuple[Outlet, ...]] = field(default_factory=dict)
    """By channel id, each channel's sorted by id; channels without outlets are left out."""
    kits: Kits = NO_KITS
    kit_version: int = 0
    """The version of the last edit of a kit."""
    holiday_year: int | None = None
    """The year as of which it has public holidays; None if no location asks for them."""

    limited_ids: frozenset[str] = frozenset()
    """The locations that state a capacity."""

    @property
    def is_out_of_date(self) -> bool:
        """Whether its public holidays are those of a past year."""
        return self.holiday_year is not None and self.holiday_year != public_holidays.current_year()

    def outlet(self, channel_id: str, outlet_id: str) -> Outlet | None:
        """The outlet of a channel, or None if it has no such outlet."""
        return next((outlet for outlet in self.outlets.get(channel_id, ()) if outlet.id == outlet_id), None)


class CatalogCache:
    """The newest catalog that this process has read."""

    def __init__(self) -> None:
        self._newest = self._as_read = Catalog(-1, {}, {})
        self._headrooms: Mapping[str, float] = {}
        self.readiness = ReadinessCache()

    @property
    def newest(self) -> Catalog:
        """That catalog, with what is computed of its channels; without locations if none has been read."""
        return self._newest

    @property
    def as_read(self) -> Catalog:
        """That catalog with its channels as they were upserted."""
        return self._as_read

    @property
    def location_count(self) -> int:
        """Locations of that catalog; 0 if none has been read."""
        return len(self._newest.locations)

    @property
    def headrooms(self) -> Mapping[str, float]:
        """The cancellation headroom of channels that was set last."""
        return self._headrooms

    def components_of(self, skus: Iterable[Hashable]) -> Set[Hashable]:
        """The components of those SKUs that are kits in that catalog; others, and items of channels, have none."""
        return self._newest.kits.components_of(sku for sku in skus if isinstance(sku, str))

    async def at(self, connection: Connection, version: int) -> Catalog:
        """The catalog at this version or a later one."""
        if self._newest.version < version or self._newest.is_out_of_date:
            self._as_read = await read(connection, self._as_read)
            self._newest = self._with_headrooms()
        return self._newest

    def set_headrooms(self, headrooms: Mapping[str, float]) -> None:
        """Sets the cancellation headroom of channels, by id, that do not state it themselves."""
        if headrooms != self._headrooms:
            self._headrooms = headrooms
            self._newest = self._with_headrooms()

    def _with_headrooms(self) -> Catalog:
        computed = {
            id: replace(channel, cancellation_headroom=self._headrooms[id])
            for id, channel in self._as_read.channels.items()
            if id in self._headrooms and channel.cancellation_headroom is None
        }
        return replace(self._as_read, channels={**self._as_read.channels, **computed}) if computed else self._as_read


async def read(connection: Connection, before: Catalog | None = None) -> Catalog:
    """Every location, channel, declared feed, outlet and kit.

    Kits are those of the catalog `before` if none was edited since.
    """
    # The version is read first: an edit between the statements makes the copy newer than its version, never older.
    row = await _VERSION.row(connection)
    current, kit_version = (row["version"], row["kit_version"]) if row else (0, 0)
    rows = await _LOCATIONS.rows(connection)
    closed_on_holidays = [(row["country"], row["region"]) for row in rows if row["closed_on_public_holidays"]]
    holiday_year = public_holidays.current_year() if closed_on_holidays else None
    await public_holidays.load(closed_on_holidays)
    locations = {row["id"]: location_of(row) for row in rows}
    channels = {row["id"]: channel_of(row) for row in await _CHANNELS.rows(connection)}
    kits = before.kits if before is not None and before.kit_version == kit_version else await _kits(connection)
    outlets = await outlet_store.outlets(connection)
    feeds_by_source = await feeds(connection)
    limited_ids = frozenset(location.id for location in locations.values() if location.capacity is not None)
    return Catalog(current, locations, channels, feeds_by_source, outlets, kits, kit_version, holiday_year, limited_ids)


async def _kits(connection: Connection) -> Kits:
    return Kits([kit_of(row) for row in await _KITS.rows(connection)])


async def feeds(connection: Connection) -> dict[str, Feed]:
    """Every declared feed, by source."""
    return {row["source"]: feed_of(row) for row in await _FEEDS.rows(connection)}


async def version(connection: Connection) -> int:
    """The catalog version, which rises with every edit."""
    row = await _VERSION.row(connection)
    return row["version"] if row else 0


async def products(connection: Connection, skus: Iterable[str]) -> tuple[int, dict[str, Product]]:
    """The catalog version, and the products of those SKUs that exist."""
    return products_of(await _PRODUCTS.rows(connection, skus=sorted(set(skus))))


def products_of(rows: Sequence[asyncpg.Record]) -> tuple[int, dict[str, Product]]:
    """The catalog version and the products in rows of PRODUCT_ROWS."""
    current = rows[0]["version"] if rows else 0
    return current, {row["sku"]: product_of(row) for row in rows if row["sku"] is not None}


async def missing_locations(connection: Connection, ids: Iterable[str]) -> set[str]:
    """The ids that no location has."""
    requested = set(ids)
    return requested - {row["id"] for row in await _EXISTING_LOCATIONS.rows(connection, ids=sorted(requested))}


async def missing_products(connection: Connection, skus: Iterable[str]) -> set[str]:
    """The SKUs that no product has."""
    requested = set(skus)
    return requested - {row["sku"] for row in await _EXISTING_PRODUCTS.rows(connection, skus=sorted(requested))}


async def channel_ids(connection: Connection) -> set[str]:
    """The ids of all channels, which are few."""
    return {row["id"] for row in await _CHANNEL_IDS.rows(connection)}


async def claim(connection: Connection) -> None:
    """Raises the version, and so makes other edits of the catalog wait until this transaction ends."""
    # The one row of the version is also the lock of all catalog edits. Versions therefore rise in commit order, and a
    # cached catalog of some version lacks no edit of that version or an earlier one.
    await _RAISE_VERSION.run(connection)


async def recheck_locations_of(connection: Connection, channels: Sequence[Mapping[str, Any]]) -> None:
    """Has the promises checked again at locations that these channels, about to be written, gain or lose.

    To be called under `claim`. If the kind of a channel changes, which rules can test, all locations are checked.
    """
    before = {row["id"]: row for row in await _OLD_CHANNELS.rows(connection, ids=[row["id"] for row in channels])}
    for row in channels:
        old = before.get(row["id"])
        if old is None:
            continue
        old_ids, new_ids = set(old["location_ids"]), set(row["location_ids"])
        if old["kind"] != row["kind"]:
            await _RECHECK.run(connection, ids=[], kept_ids=[])
        elif old_ids != new_ids:
            # An empty list is all locations, in the catalog and in the statement.
            named_by_both = bool(old_ids and new_ids)
            ids = sorted(old_ids ^ new_ids) if named_by_both else []
            await _RECHECK.run(connection, ids=ids, kept_ids=[] if named_by_both else sorted(old_ids | new_ids))


class CatalogTable:
    """One table of the catalog: upserts of whole records with their history, and pages of a list."""

    def __init__(
        self,
        table: Table,
        key: str,
        *,
        learned: tuple[str, ...] = (),
        derived: Mapping[str, ColumnElement[Any]] = MappingProxyType({}),
        filters: Mapping[str, ColumnElement[bool]] = MappingProxyType({}),
    ) -> None:
        """`learned` columns are written by the service: an upsert leaves them unchanged.

        `derived` ones are computed when an existing record is updated; the values to be written are in `excluded`.
        `filters` are conditions of a list by name, each with a list parameter of that name; `ids` is always there.
        """
        self.table = table
        self.key = key
        kept_columns = (*_TIMESTAMPS, *learned, *derived)
        columns = [column.name for column in table.columns if column.name not in kept_columns]
        values = insert(table).values({name: parameter(name, table.c[name].type) for name in columns})
        changed = {name: values.excluded[name] for name in columns if name != key}
        updated = {**changed, **derived, "update_time": func.clock_timestamp()}
        self._upsert = Statement(values.on_conflict_do_update(index_elements=[key], set_=updated))
        self._id_column = table.c[key]
        self._filters = {"ids": self._id_column == any_of("ids", Text), **filters}
        self.history = HistoryOf(table)
        self._call = f"Upsert{table.name.title().replace('_', '')}s"
        self._existing_ids = Statement(select(self._id_column).where(self._filters["ids"]))
        self._pages: dict[frozenset[str], Statement] = {}

    async def upsert(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
        """Writes whole records, under `claim`; returns (created, updated)."""
        keys = [(row[self.key],) for row in rows]
        async with self.history.recorded(connection, keys, self._call) as existing:
            await self._upsert.run_for_each(connection, sorted(map(dict, rows), key=lambda row: str(row[self.key])))
        return len(rows) - len(existing), len(existing)

    async def upsert_counts(self, connection: Connection, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
        """How many of these records an upsert would create, and how many it would update."""
        existing = await self._existing_ids.rows(connection, ids=[row[self.key] for row in rows])
        return len(rows) - len(existing), len(existing)

    async def page(
        self, connection: Connection, after: str, count: int, filters: Mapping[str, Sequence[str]]
    ) -> list[asyncpg.Record]:
        """At most `count` records with keys after `after` that pass every filter by one of its entries, by key."""
        statement = self._page(frozenset(filters))
        entries = {name: list(values) for name, values in filters.items()}
        return await statement.rows(connection, after=after, count=count, **entries)

    def _page(self, filters: frozenset[str]) -> Statement:
        """The statement with exactly these filters: an optional condition would keep PostgreSQL from using an index."""
        if filters not in self._pages:
            self._pages[filters] = Statement(
                select(self.table, func.statement_timestamp().label("now"))
                .where(self._id_column > parameter("after", Text), *(self._filters[name] for name in sorted(filters)))
                .order_by(self._id_column)
                .limit(parameter("count", Integer))
            )
        return self._pages[filters]


_IRRELEVANT_TO_ROUTING = (
    *("id", "display_name", "postal_code", "priority", "recheck_version", *_TIMESTAMPS),
    *(*location_capacity.LIMITS, "capacity_days_ahead"),
)
"""Columns of `location` by which no rule decides whether an order may keep the location.

An order keeps what it has taken of a location's capacity when that is lowered.
"""


def _recheck_version() -> ColumnElement[Any]:
    """The version of this edit if it changes anything that routing rules can test, else the one before."""
    names = [column.name for column in location.columns if column.name not in _IRRELEVANT_TO_ROUTING]
    before = tuple_(*(location.c[name] for name in names))
    after = tuple_(*(literal_column(f"excluded.{name}") for name in names))
    return case((before.is_distinct_from(after), _CURRENT_VERSION), else_=location.c.recheck_version)


LOCATIONS = CatalogTable(
    location,
    "id",
    derived={"recheck_version": _recheck_version()},
    filters={
        "types": location.c.type == any_of("types", Text),
        "statuses": location.c.status == any_of("statuses", Text),
        "tags": location.c.tags.overlap(parameters("tags", Text)),
        "countries": location.c.country == any_of("countries", Text),
    },
)
PRODUCTS = CatalogTable(
    product,
    "sku",
    learned=("learned_velocity", "learned_velocity_time"),
    filters={
        "statuses": product.c.status == any_of("statuses", Text),
        "tags": product.c.tags.overlap(parameters("tags", Text)),
        "categories": product.c.category == any_of("categories", Text),
        "brands": product.c.brand == any_of("brands", Text),
        "near_skus": product.c.sku == any_of("near_skus", Text),
    },
)
CHANNELS = CatalogTable(channel, "id", filters={"kinds": channel.c.kind == any_of("kinds", Text)})
FEEDS = CatalogTable(feed, "source", learned=("ingest_time",))
POOLS = CatalogTable(pool, "id", filters={"locations": pool.c.location_ids.overlap(parameters("locations", Text))})


def location_of(row: asyncpg.Record) -> Location:
    """A row of `location` as a value of `policies`."""
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
        holidays=_days_off(row),
        weekday_hours=working_hours.weekday_hours_of(row),
        capacity=location_capacity.capacity_of(row),
    )


def _days_off(row: asyncpg.Record) -> frozenset[date]:
    days = frozenset(row["holidays"])
    if row["closed_on_public_holidays"] and row["country"]:
        days |= public_holidays.public_holidays_now(row["country"], row["region"])
    return days


def channel_of(row: asyncpg.Record) -> Channel:
    """A row of `channel` as a value of `policies`."""
    location_ids = frozenset(row["location_ids"])
    identity = (row["id"], row["kind"], row["display_name"])
    lag, seconds = timedelta(seconds=row["figure_lag_seconds"]), row["unpaid_order_seconds"]
    unpaid = None if seconds is None else timedelta(seconds=seconds)
    return Channel(
        *(*identity, location_ids, row["cancellation_headroom"], row["platform"], lag, unpaid),
        cancellation_default=row["cancellation_default"],
        markets=tuple(row["markets"] or ()),
    )


def kit_of(row: asyncpg.Record | Mapping[str, Any]) -> Kit:
    """A row of `kit` as a value of `policies`."""
    return Kit(row["sku"], dict(zip(row["component_skus"], row["component_units"], strict=True)), row["may_split"])


def feed_of(row: asyncpg.Record | Mapping[str, Any]) -> Feed:
    """A row of `feed` as a value of `policies`."""
    return Feed(
        source=row["source"],
        role=row["role"],
        basis=row["basis"],
        open_orders=row["open_orders"],
        location_ids=frozenset(row["location_ids"]),
        skus=frozenset(row["skus"]),
        tolerance_units=row["tolerance_units"],
        computed=row["computed"],
    )


def learned_velocity(row: asyncpg.Record) -> float | None:
    """The learned velocity in units a day at the row's `now`; None until the product was sold."""
    if row["learned_velocity"] is None:
        return None
    return velocity.velocity_at(Velocity(row["learned_velocity"], row["learned_velocity_time"]), row["now"])


def product_of(row: asyncpg.Record) -> Product:
    """A row of `product` as a value of `policies`; its velocity is the stated one, else the learned one."""
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
        has_dimensions=row["height_mm"] is not None,
        has_barcode=bool(row["barcode"]),
        has_image=bool(row["image_uri"]),
        weight_grams=row["weight_grams"],
    )
