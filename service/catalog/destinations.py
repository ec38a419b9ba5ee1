"""Countries and regions that orders may go to: those of locations and of the latest orders, and ISO codes.

A country is possible if a location is in it, ships to it or ships everywhere. A region is possible, also without a
location or an order there, if ISO 3166-2 has its code in one of these countries.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pycountry
from sqlalchemy import select

from policies.linting.catalog_values import KnownValues
from service.catalog.catalog_store import Catalog
from service.database.database import Connection, Statement
from service.database.tables import allocation

LATEST_ORDERS = 10_000
"""Orders whose destinations count as known."""

_latest = (
    select(allocation.c.country, allocation.c.region).order_by(allocation.c.id.desc()).limit(LATEST_ORDERS).subquery()
)
_LATEST_DESTINATIONS = Statement(select(_latest.c.country, _latest.c.region).distinct())


async def load_regions() -> None:
    """Reads the regions of ISO 3166-2 beside the event loop. That still stops it for 40 ms, so it is for the start."""
    await asyncio.to_thread(len, pycountry.subdivisions)


async def known_countries(connection: Connection, catalog: Catalog, named: Collection[str]) -> KnownValues | None:
    """The known countries that concern the named ones; None if nothing is known of any country."""
    seen = _countries(catalog) | await _latest_values(connection, "country")
    possible = {country.alpha_2 for country in pycountry.countries} if _ships_everywhere(catalog) else frozenset[str]()
    if not seen and not possible:
        return None
    known = await asyncio.to_thread(KnownValues.of, named, seen)
    return replace(known, existing=known.existing | (possible & frozenset(named)))


async def known_regions(connection: Connection, catalog: Catalog, named: Collection[str]) -> KnownValues | None:
    """The known regions that concern the named ones; None if nothing is known of any region."""
    seen = {location.region for location in catalog.locations.values() if location.region is not None}
    seen |= await _latest_values(connection, "region")
    if not seen:
        return None
    countries = None if _ships_everywhere(catalog) else _countries(catalog)
    return await asyncio.to_thread(_with_codes, named, seen, countries)


def _with_codes(named: Collection[str], seen: Collection[str], countries: Collection[str] | None) -> KnownValues:
    """The known regions, with the codes of ISO 3166-2 that are named themselves or by the name of their region."""
    known = KnownValues.of(named, seen)
    if len(known.existing) == len(frozenset(named)):
        return known
    stated, names = frozenset(named), {value.casefold(): value for value in named}
    existing, similar = set(known.existing), dict(known.similar)
    for subdivision in pycountry.subdivisions:
        if countries is None or subdivision.country_code in countries:
            code = subdivision.code.partition("-")[2]
            if code in stated:
                existing.add(code)
            elif (value := names.get(subdivision.name.casefold())) is not None:
                similar.setdefault(value, code)
    return replace(known, existing=frozenset(existing), similar=similar)


async def _latest_values(connection: Connection, column: str) -> set[str]:
    rows = await _LATEST_DESTINATIONS.rows(connection)
    return {row[column] for row in rows if row[column] is not None}


def _countries(catalog: Catalog) -> set[str]:
    """The countries in which locations are, and those that they state that they ship to."""
    locations = catalog.locations.values()
    own = {location.country for location in locations if location.country is not None}
    return own | {code for location in locations for code in location.ships_to or ()}


def _ships_everywhere(catalog: Catalog) -> bool:
    return any(location.ships_to is None for location in catalog.locations.values())
