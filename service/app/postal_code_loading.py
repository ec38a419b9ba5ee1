"""Reads the postal codes of the countries that a retailer serves, so that their first orders do not wait for them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

from policies.domain.model import Location
from service.background import every
from service.catalog import catalog_store
from service.catalog.catalog_store import Catalog
from service.database.database import Connection
from service.dependencies import Dependencies

LOADED_COUNTRIES = 8
"""Countries whose codes are read before an order needs them, at most 3.3 MB of memory each."""
FIRST_SECONDS = 5.0
"""After the start: reading takes seconds of CPU, which the first calls need more."""
LOAD_SECONDS = 60.0
"""Time within which the country of a new location is read."""


class PostalCodeLoading:
    """Looks for countries of locations that were not read yet."""

    def __init__(self, deps: Dependencies) -> None:
        self._deps = deps

    async def run(self, stop: asyncio.Event) -> None:
        """Looks for new countries until `stop` is set."""
        await every(LOAD_SECONDS, stop, self.load, first_after=FIRST_SECONDS)

    async def load(self) -> None:
        """Reads the codes of the countries in which locations are, and to which they say that they ship."""
        catalog = await self._deps.database.unlocked("served_countries", self._catalog)
        await self._deps.destination_points.load(served_countries(catalog.locations.values()))

    async def _catalog(self, connection: Connection) -> Catalog:
        return await self._deps.catalog_cache.at(connection, await catalog_store.version(connection))


def served_countries(locations: Iterable[Location]) -> list[str]:
    """The countries of most locations first, then those to which most ship; at most LOADED_COUNTRIES of them."""
    homes, destinations = Counter[str](), Counter[str]()
    for location in locations:
        homes.update([location.country] if location.country else [])
        destinations.update(location.ships_to or ())
    ordered = (country for counts in (homes, destinations) for country, _ in _most_first(counts))
    return list(dict.fromkeys(ordered))[:LOADED_COUNTRIES]


def _most_first(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
