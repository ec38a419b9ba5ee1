"""Looks up values that rules name: which of them the catalog has, and similar ones. Never reads all products.

Locations, channels and declared feeds come from the cached catalog. Of products, only what is named is read, with its
neighbors by SKU and a few distinct words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Integer, Text, func, literal_column, select
from sqlalchemy.sql.expression import FromClause

from policies.domain.model import Location
from policies.facts.fact_table import FACTS
from policies.linting.catalog_values import KnownValues
from service.catalog import catalog_store, destinations
from service.catalog.catalog_store import Catalog, CatalogCache
from service.database.database import Connection, Database, Statement, any_of, parameter, unnested
from service.database.tables import product, stock_movement

LATEST_MOVEMENTS = 2_000
"""Stock changes among whose sources a similar one is searched."""
SIMILAR_WORDS = 2_000
"""Distinct tags, categories or brands among which a similar one is searched."""
NEIGHBORS = 10
"""SKUs read before and after one that does not exist, in their order."""
MISSPELLED_SKUS = 50
"""Unknown SKUs for which similar ones are searched."""
LONGEST_NUMBER = 14
"""Digits of the longest article number (GTIN), up to which a number may lack the zeros before it."""

CATALOG_FACTS = tuple(fact.name for fact in FACTS.values() if fact.absent)
"""The facts whose values come from the catalog."""

_named = unnested("named", value=Text)
_next = select(product.c.sku).where(product.c.sku >= _named.c.value).order_by(product.c.sku).limit(NEIGHBORS)
_previous = select(product.c.sku).where(product.c.sku < _named.c.value).order_by(product.c.sku.desc()).limit(NEIGHBORS)
_NEIGHBORS = [
    Statement(select(lateral.c.sku).select_from(_named.join(lateral, literal_column("true"))))
    for lateral in (_next.correlate(_named).lateral("near"), _previous.correlate(_named).lateral("near"))
]
_SKUS = Statement(select(product.c.sku).where(product.c.sku == any_of("value", Text)))
_ANY_PRODUCT = Statement(select(product.c.sku).limit(1))
_SOURCES = Statement(
    select(_named.c.value).where(select(stock_movement.c.id).where(stock_movement.c.source == _named.c.value).exists())
)
_latest_movements = (
    select(stock_movement.c.source)
    .order_by(stock_movement.c.ingest_time.desc(), stock_movement.c.id.desc())
    .limit(LATEST_MOVEMENTS)
    .subquery()
)
_LATEST_SOURCES = Statement(select(_latest_movements.c.source).distinct())


class _Words:
    """Statements for the words of products: those that are named, and some others."""

    def __init__(self, word: ColumnElement[Any], source: FromClause) -> None:
        words = select(word.label("word")).select_from(source).distinct()
        self.named = Statement(words.where(word == any_of("value", Text)))
        self.others = Statement(words.where(word.is_not(None)).limit(parameter("count", Integer)))

    async def known(self, connection: Connection, named: Collection[str]) -> KnownValues:
        """The named words that exist and, if any does not, similar ones."""
        known = {row["word"] for row in await self.named.rows(connection, value=sorted(named))}
        if len(known) == len(named):
            return KnownValues(frozenset(known))
        others = await self.others.rows(connection, count=SIMILAR_WORDS)
        known |= {row["word"] for row in others}
        return await _known(named, known, is_complete=len(others) < SIMILAR_WORDS)


_tags = select(func.unnest(product.c.tags).label("tag")).subquery("tags")
_WORDS = {
    "product.tags": _Words(_tags.c.tag, _tags),
    "product.category": _Words(product.c.category, product),
    "product.brand": _Words(product.c.brand, product),
}

_OF_LOCATIONS: Mapping[str, Callable[[Location], Collection[str | None]]] = {
    "location.id": lambda location: (location.id,),
    "location.type": lambda location: (location.type,),
    "location.tags": lambda location: location.tags,
    "location.country": lambda location: (location.country,),
    "location.region": lambda location: (location.region,),
}


class FactValueReader:
    """Reads known values of facts, for rules in force and for rules that a caller holds against the catalog."""

    def __init__(self, database: Database, catalog_cache: CatalogCache) -> None:
        self._database = database
        self._catalog_cache = catalog_cache

    async def version(self) -> int:
        """The version of the catalog, which rises with every edit."""
        return await self._database.unlocked("fact_values", catalog_store.version)

    async def known(self, named: Mapping[str, Collection[str]]) -> dict[str, KnownValues]:
        """By fact, the known values that concern the named ones.

        A fact is missing if nothing can be said of it: its values are not from the catalog, or the catalog has no
        location, channel or product at all.
        """

        async def work(connection: Connection) -> dict[str, KnownValues]:
            catalog = await self._catalog_cache.at(connection, await catalog_store.version(connection))
            facts = [fact for fact in CATALOG_FACTS if named.get(fact)]
            found = {fact: await _look_up(connection, catalog, fact, named[fact]) for fact in facts}
            return {fact: known for fact, known in found.items() if known is not None}

        return await self._database.unlocked("fact_values", work)


async def _look_up(connection: Connection, catalog: Catalog, fact: str, named: Collection[str]) -> KnownValues | None:
    """The known values of one fact that concern the named ones; None if nothing is known of the fact."""
    match fact.split("."):
        case ["location", _]:
            return await _known(named, _location_values(catalog, fact)) if catalog.locations else None
        case ["channel", "id"]:
            return await _known(named, catalog.channels) if catalog.channels else None
        case ["channel", "kind"]:
            kinds = {channel.kind for channel in catalog.channels.values()}
            return await _known(named, kinds) if kinds else None
        case ["destination", "country"]:
            return await destinations.known_countries(connection, catalog, named)
        case ["destination", "region"]:
            return await destinations.known_regions(connection, catalog, named)
        case ["stock", "source"]:
            return await _known_sources(connection, catalog, named)
        case ["order", "product_tags"]:
            return await _look_up(connection, catalog, "product.tags", named)
        case ["product", column]:
            if not await _ANY_PRODUCT.rows(connection):
                return None
            return await (_known_skus(connection, named) if column == "sku" else _WORDS[fact].known(connection, named))
        case _:
            raise LookupError(f"no catalog has values of {fact}")


def _location_values(catalog: Catalog, fact: str) -> set[str]:
    read = _OF_LOCATIONS[fact]
    return {value for location in catalog.locations.values() for value in read(location) if value is not None}


async def _known_skus(connection: Connection, named: Collection[str]) -> KnownValues:
    known = {row["sku"] for row in await _SKUS.rows(connection, value=sorted(named))}
    unknown = sorted(set(named) - known)[:MISSPELLED_SKUS]
    if unknown:
        variants = sorted({variant for sku in unknown for variant in _variants(sku)})
        known |= {row["sku"] for row in await _SKUS.rows(connection, value=variants)}
        beginnings = sorted({part for sku in unknown for part in (sku, sku[: (len(sku) + 1) // 2])})
        for statement in _NEIGHBORS:
            known |= {row["sku"] for row in await statement.rows(connection, value=beginnings)}
    return await _known(named, known, is_complete=False)


def _variants(sku: str) -> set[str]:
    """Other spellings of a SKU: in capitals or small letters, and with more or fewer zeros before a number."""
    variants = {sku.upper(), sku.lower(), sku.lstrip("0")}
    if sku.isdecimal():
        variants |= {sku.zfill(length) for length in range(len(sku) + 1, LONGEST_NUMBER + 1)}
    return variants


async def _known_sources(connection: Connection, catalog: Catalog, named: Collection[str]) -> KnownValues | None:
    """Known feeds: the declared ones, and what has ever reported stock."""
    known = set(catalog.feeds) | {row["value"] for row in await _SOURCES.rows(connection, value=sorted(named))}
    if not known.issuperset(named):
        known |= {row["source"] for row in await _LATEST_SOURCES.rows(connection)}
    return await _known(named, known) if known else None


async def _known(named: Collection[str], known: Collection[str], *, is_complete: bool = True) -> KnownValues:
    """Searches similar values in a thread: thousands of words take a while."""
    return await asyncio.to_thread(KnownValues.of, named, known, is_complete=is_complete)
