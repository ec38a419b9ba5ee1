"""The availability last published to each channel for each SKU, with a version that rises with every new value.

The row of a channel and SKU is locked before stock is read, so a higher version always rests on a later read of stock,
whichever service wrote it. Nothing else locks these rows, and no order waits for them.

While two services have different rules, because one has not read the new ones yet, the last one to publish wins. A
service that loads new rules publishes everything again, so the newest rules prevail.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import asyncpg
from sqlalchemy import BigInteger, Text, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from policies.decisions.availability.item_availability import in_items
from policies.decisions.availability.outlet_split import outlet_units
from policies.decisions.availability.sellable import Availability
from policies.domain.listings import Listing
from policies.domain.model import World
from policies.domain.outlets import Outlet
from policies.policy_set import PolicySet
from service.availability.product_assessment import ProductProblem, assess_product
from service.availability.published_items import Pair, PublishedItems, item_keys, item_of
from service.background import Turn
from service.capacity import capacity_store
from service.catalog import catalog_store, listing_store
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.change_horizon import as_bigint
from service.database.database import Connection, Database, Statement, parameter, transposed, unnested
from service.database.tables import availability_published
from service.policy.active_policies import ActivePolicies
from service.stock import levels, stock_age

BATCH_PAIRS = 200
"""Pairs that are read, and locked, in one transaction."""

_published = availability_published.c
COLUMNS = (
    _published.channel_id,
    _published.sku,
    _published.sellable,
    _published.largest_single_order,
    _published.version,
    _published.outlets,
    as_bigint(_published.xid).label("xid"),
)
_PAIR = {"channel_id": Text, "sku": Text}
_pair = unnested("pair", **_PAIR)
_is_requested = tuple_(_published.channel_id, _published.sku).in_(select(_pair.c.channel_id, _pair.c.sku))
_READ = Statement(select(*COLUMNS).where(_is_requested))
_LOCK = Statement(
    select(*COLUMNS)
    .where(_is_requested)
    .order_by(_published.channel_id, _published.sku)
    .with_for_update(of=availability_published)
)
_unpublished = {"sellable": 0, "largest_single_order": 0, "version": 0}
_CREATE = Statement(
    insert(availability_published)
    .from_select(
        [*_PAIR, *_unpublished, "publish_time"],
        select(
            _pair.c.channel_id,
            _pair.c.sku,
            *(parameter(name, BigInteger) for name in _unpublished),
            func.clock_timestamp(),
        ).order_by(_pair.c.channel_id, _pair.c.sku),
    )
    .on_conflict_do_nothing()
)
_VALUE = {**_PAIR, "sellable": BigInteger, "largest_single_order": BigInteger, "outlets": Text}
_value = unnested("value", **_VALUE)
_WRITE = Statement(
    update(availability_published)
    .values(
        sellable=_value.c.sellable,
        largest_single_order=_value.c.largest_single_order,
        outlets=_value.c.outlets,
        version=_published.version + 1,
        publish_time=func.clock_timestamp(),
        xid=func.pg_current_xact_id(),
    )
    .where(_published.channel_id == _value.c.channel_id, _published.sku == _value.c.sku)
    .returning(*COLUMNS)
)


class PublishedUnits(NamedTuple):
    """What is published of a SKU, in units: sellable ones, those of the largest single order, and by outlet.

    `outlets` is a JSON object by outlet id, empty for a channel without outlets.
    """

    sellable: int
    largest_single_order: int
    outlets: str = ""


@dataclass(frozen=True, slots=True)
class PublishedValue:
    """The availability of a SKU published to a channel, in units; `xid` is the transaction that wrote it.

    Of an item of the channel, `sku` is its name and the figures are items.
    """

    channel_id: str
    sku: str
    sellable: int
    largest_single_order: int
    version: int
    xid: int
    outlets: str = ""

    @property
    def pair(self) -> Pair:
        """(channel id, name)."""
        return self.channel_id, self.sku

    @property
    def units(self) -> PublishedUnits:
        """What is published."""
        return PublishedUnits(self.sellable, self.largest_single_order, self.outlets)

    def outlet_units(self) -> dict[str, int]:
        """Sellable units by outlet id, in order."""
        units: dict[str, int] = json.loads(self.outlets) if self.outlets else {}
        return units


def published_value(row: asyncpg.Record) -> PublishedValue:
    """A row of `availability_published` as a value."""
    return PublishedValue(
        *(row["channel_id"], row["sku"], row["sellable"], row["largest_single_order"]),
        *(row["version"], row["xid"], row["outlets"]),
    )


class Publisher:
    """Computes availability by the rules in force, and publishes values that have changed.

    Several services on one database may do so for the same pairs: the second finds no change.
    """

    def __init__(self, database: Database, cache: CatalogCache, active_policies: ActivePolicies) -> None:
        self._database = database
        self._cache = cache
        self._active_policies = active_policies
        self.items = PublishedItems()

    async def publish_changed(self, pairs: Sequence[Pair]) -> list[PublishedValue]:
        """The values of these pairs, after publishing those that have probably changed; locks only those."""
        unchanged, changed = await self._database.unlocked(
            "read_availability", lambda connection: self._compare(connection, pairs)
        )
        return [*unchanged, *await self.publish(changed)] if changed else unchanged

    async def publish(self, pairs: Sequence[Pair]) -> list[PublishedValue]:
        """Publishes the current values of these pairs, and returns them. Raises NotReady."""
        pair_columns = transposed(list(_PAIR), sorted(set(pairs)))
        return await self._database.transaction("publish", lambda connection: self._publish(connection, pair_columns))

    async def _compare(self, connection: Connection, pairs: Sequence[Pair]) -> tuple[list[PublishedValue], list[Pair]]:
        # Published values are read before the stock: any that are published meanwhile rest on newer stock than this.
        rows = await _READ.rows(connection, **transposed(list(_PAIR), pairs))
        published = {x.pair: x for x in map(published_value, rows)}
        units_by_pair = await self._units_by_pair(connection, list(published)) if published else {}
        unchanged = [published[pair] for pair in units_by_pair if published[pair].units == units_by_pair[pair]]
        return unchanged, sorted(set(pairs) - {x.pair for x in unchanged})

    async def _publish(self, connection: Connection, pair_columns: Mapping[str, list[str]]) -> list[PublishedValue]:
        await _CREATE.run(connection, **pair_columns, **_unpublished)
        rows = await _LOCK.rows(connection, **pair_columns)
        published = {x.pair: x for x in map(published_value, rows)}
        units_by_pair = await self._units_by_pair(connection, list(published))
        changed = [
            (*pair, *new)
            for pair, new in units_by_pair.items()
            if new != published[pair].units or not published[pair].version
        ]
        if changed:
            written = await _WRITE.rows(connection, **transposed(list(_VALUE), changed))
            published |= {x.pair: x for x in map(published_value, written)}
        return [published[pair] for pair in units_by_pair]

    async def _units_by_pair(self, connection: Connection, pairs: Sequence[Pair]) -> dict[Pair, PublishedUnits]:
        """The values by current stock of those pairs whose channel and product are in the catalog, and of items."""
        items = item_keys(pairs)
        listings = await listing_store.read(connection, items.values()) if items else {}
        self.items.note(items, listings)
        skus = sorted({name for _, name in pairs if not item_of(name)} | {x.sku for x in listings.values()})
        version, products = await catalog_store.products(connection, skus)
        catalog = await self._cache.at(connection, version)
        components = sorted(catalog.kits.components_of(skus).difference(skus))
        if components:
            products |= (await catalog_store.products(connection, components))[1]
            skus = sorted({*skus, *components})
        policy_set = self._active_policies.current.policy_set
        products = await self._cache.readiness.added(connection, policy_set, version, products)
        now, read_levels = await levels.read(connection, skus, len(catalog.locations))
        stock_levels = await stock_age.with_receipts(connection, read_levels, policy_set, products)
        capacity = await capacity_store.current_figures(connection, catalog, now)
        world = World(now, catalog.locations, products, stock_levels, capacity=capacity)
        by_pair = {pair: listings.get(key) for pair, key in items.items()}
        return await _assess(policy_set, world, catalog, pairs, by_pair)


async def _assess(
    policy_set: PolicySet,
    world: World,
    catalog: Catalog,
    pairs: Sequence[Pair],
    listings: Mapping[Pair, Listing | None],
) -> dict[Pair, PublishedUnits]:
    """The values of pairs; `listings` has all items among them, with None for those that are not mapped."""
    units_by_pair: dict[Pair, PublishedUnits] = {}
    turn = Turn()
    for pair in pairs:
        channel_id, listing = pair[0], listings.get(pair)
        sku, outlets = pair[1] if listing is None else listing.sku, catalog.outlets.get(channel_id, ())
        if channel_id in catalog.channels and sku in world.products:
            kit = catalog.kits.by_sku.get(sku)
            availability = assess_product(policy_set, world, catalog.channels[channel_id], sku, kit=kit)
            if listing is not None and isinstance(availability, Availability):
                availability = in_items(availability, listing.unit_count)
            units_by_pair[pair] = _units(availability, outlets)
        elif pair in listings:
            # Nobody knows what an item is that was mapped before, so nothing of it is sellable.
            units_by_pair[pair] = _units(ProductProblem("", ""), outlets)
        await turn.end_if_long()
    return units_by_pair


def _units(availability: Availability | ProductProblem, outlets: Sequence[Outlet]) -> PublishedUnits:
    # What cannot be computed is published as 0, so that no channel sells units that may not be there.
    if isinstance(availability, ProductProblem):
        by_outlet, units = {outlet.id: 0 for outlet in outlets}, PublishedUnits(0, 0)
    else:
        by_outlet = outlet_units(availability, outlets) if outlets else {}
        units = PublishedUnits(availability.sellable, availability.largest_single_order)
    return units._replace(outlets=json.dumps(by_outlet, ensure_ascii=False)) if outlets else units
