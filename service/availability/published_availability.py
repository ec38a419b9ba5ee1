"""What each channel was last told of each product, under a version that rises with every other value.

The row of a channel and SKU is locked first and stock is read after that, so a higher version always rests on a later
reading, whichever service wrote it. Nothing else locks these rows, and no order waits for them.

While two services go by different rules, because one has not read the new ones yet, the last to work a value out wins;
the one that changes its rules works everything out anew, so the newest rules have the last word.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import asyncpg
from sqlalchemy import Integer, Text, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert

from policies.decisions.sellable import assess_availability
from policies.domain.model import World
from policies.policy_set import PolicySet
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.change_horizon import as_bigint
from service.database.database import Connection, Database, Statement, any_of, parameter, transposed, unnested
from service.database.tables import availability_published
from service.policy.active_policies import ActivePolicies
from service.stock import levels

Pair = tuple[str, str]
"""A channel's id and a SKU."""

BATCH_PAIRS = 200
"""Pairs that are read, and locked, at a time."""
TURN_SECONDS = 0.004
"""How long working out what channels may be told keeps the event loop to itself."""

_published = availability_published.c
COLUMNS = (
    _published.channel_id,
    _published.sku,
    _published.sellable,
    _published.largest_single_order,
    _published.version,
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
            *(parameter(name, Integer) for name in _unpublished),
            func.clock_timestamp(),
        ).order_by(_pair.c.channel_id, _pair.c.sku),
    )
    .on_conflict_do_nothing()
)
_VALUE = {**_PAIR, "sellable": Integer, "largest_single_order": Integer}
_value = unnested("value", **_VALUE)
_WRITE = Statement(
    update(availability_published)
    .values(
        sellable=_value.c.sellable,
        largest_single_order=_value.c.largest_single_order,
        version=_published.version + 1,
        publish_time=func.clock_timestamp(),
        xid=func.pg_current_xact_id(),
    )
    .where(_published.channel_id == _value.c.channel_id, _published.sku == _value.c.sku)
    .returning(*COLUMNS)
)
_LAST_PUBLISHED = Statement(
    select(_published.sku, _published.sellable).where(
        _published.channel_id == parameter("channel_id", Text), _published.sku == any_of("skus", Text)
    )
)


@dataclass(frozen=True, slots=True)
class PublishedFigures:
    """What a channel was told of a SKU, in units; `xid` is the transaction that wrote it down."""

    channel_id: str
    sku: str
    sellable: int
    largest_single_order: int
    version: int
    xid: int

    @property
    def pair(self) -> Pair:
        """(channel id, SKU)."""
        return self.channel_id, self.sku

    @property
    def figures(self) -> tuple[int, int]:
        """What is told: (sellable units, units that one order can get)."""
        return self.sellable, self.largest_single_order


async def last_published(connection: Connection, channel_id: str, skus: Iterable[str]) -> dict[str, int]:
    """The sellable units that a channel was last told, by SKU; without those that it was never told of."""
    rows = await _LAST_PUBLISHED.rows(connection, channel_id=channel_id, skus=sorted(set(skus)))
    return {row["sku"]: row["sellable"] for row in rows}


def published_figures(row: asyncpg.Record) -> PublishedFigures:
    """A row of `availability_published`."""
    return PublishedFigures(
        row["channel_id"], row["sku"], row["sellable"], row["largest_single_order"], row["version"], row["xid"]
    )


class Publisher:
    """Works out what channels may be told by the rules in force, and writes down what is new.

    Several services on one database may do so for the same pairs: the second finds no difference.
    """

    def __init__(self, database: Database, cache: CatalogCache, folder: ActivePolicies) -> None:
        self._database = database
        self._cache = cache
        self._folder = folder

    async def publish_changed(self, pairs: Sequence[Pair]) -> list[PublishedFigures]:
        """What the channels are told of pairs that have probably not changed: only those that have are locked."""
        known, changed = await self._database.unlocked(
            "read_availability", lambda connection: self._compare(connection, pairs)
        )
        return [*known, *await self.publish(changed)] if changed else known

    async def publish(self, pairs: Sequence[Pair]) -> list[PublishedFigures]:
        """What the channels are told of these pairs from now on. Raises NotReady."""
        asked = transposed(list(_PAIR), sorted(set(pairs)))
        return await self._database.transaction("publish", lambda connection: self._publish(connection, asked))

    async def _compare(
        self, connection: Connection, pairs: Sequence[Pair]
    ) -> tuple[list[PublishedFigures], list[Pair]]:
        # What was told is read before the stock: what is told meanwhile rests on newer stock than this.
        rows = await _READ.rows(connection, **transposed(list(_PAIR), pairs))
        known = {one.pair: one for one in map(published_figures, rows)}
        figures = await self._figures(connection, list(known)) if known else {}
        same = [known[pair] for pair in figures if known[pair].figures == figures[pair]]
        return same, sorted(set(pairs) - {one.pair for one in same})

    async def _publish(self, connection: Connection, asked: Mapping[str, list[str]]) -> list[PublishedFigures]:
        await _CREATE.run(connection, **asked, **_unpublished)
        rows = await _LOCK.rows(connection, **asked)
        known = {one.pair: one for one in map(published_figures, rows)}
        figures = await self._figures(connection, list(known))
        news = [(*pair, *new) for pair, new in figures.items() if new != known[pair].figures or not known[pair].version]
        if news:
            written = await _WRITE.rows(connection, **transposed(list(_VALUE), news))
            known |= {one.pair: one for one in map(published_figures, written)}
        return [known[pair] for pair in figures]

    async def _figures(self, connection: Connection, pairs: Sequence[Pair]) -> dict[Pair, tuple[int, int]]:
        """What may be told of those pairs whose channel and product the catalogue has, by stock as it is now."""
        skus = sorted({sku for _, sku in pairs})
        version, products = await catalog_store.products(connection, skus)
        known = await self._cache.at(connection, version)
        now, stock = await levels.read(connection, skus)
        world = World(now, known.locations, products, stock)
        return await _assess(self._folder.current.policy_set, world, known, pairs)


async def _assess(
    policy_set: PolicySet, world: World, known: Catalog, pairs: Sequence[Pair]
) -> dict[Pair, tuple[int, int]]:
    figures: dict[Pair, tuple[int, int]] = {}
    turn_began = time.perf_counter()
    for channel_id, sku in pairs:
        if channel_id in known.channels and sku in world.products:
            found = assess_availability(policy_set, world, known.channels[channel_id], sku)
            figures[channel_id, sku] = found.sellable, found.largest_single_order
        if time.perf_counter() - turn_began > TURN_SECONDS:
            await asyncio.sleep(0)
            turn_began = time.perf_counter()
    return figures
