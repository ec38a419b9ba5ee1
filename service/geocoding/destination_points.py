"""Where a destination is: the best that is known of its postal code, its area, its region or its country."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from policies.domain.geography import as_destination
from policies.domain.model import LOCATED_BY, Coordinates, Destination
from policies.domain.remembered import remember
from service.geocoding.country_centers import country_center, load_countries, region_center
from service.geocoding.postal_codes import PostalCodes
from service.metrics import UNKNOWN_PLACE, Metrics

REMEMBERED_DESTINATIONS = 4_096
"""Destinations whose coordinates are remembered. When there are more, all are forgotten and looked up again."""

_BY_POSTAL_CODE = ("postal_code", "area")


@dataclass(frozen=True, slots=True)
class LocatedPoint:
    """Coordinates and what they are the middle of: one of `LOCATED_BY`."""

    coordinates: Coordinates
    located_by: str


class DestinationPoints:
    """Finds the coordinates of destinations that state none, and counts what they were found by."""

    def __init__(self, postal_codes: PostalCodes, metrics: Metrics) -> None:
        load_countries()
        self._postal_codes = postal_codes
        self._counters = {key: metrics.orders.located_destinations.labels(key) for key in (*LOCATED_BY, UNKNOWN_PLACE)}
        self._remembered: dict[Destination, Destination] = {}

    async def load(self, countries: Iterable[str]) -> None:
        """Reads the postal codes of countries before an order needs them."""
        await self._postal_codes.load(countries)

    def remembered(self, destination: Destination) -> Destination:
        """The destination with coordinates, if they were looked up before; else as it is."""
        known = self._remembered.get(destination)
        if known is None:
            return destination
        self._counters[known.located_by or UNKNOWN_PLACE].inc()
        return known

    async def located(self, destination: Destination | None) -> Destination | None:
        """The destination with coordinates; as it is if it states its own, or where it is is not known."""
        if destination is None or destination.coordinates is not None:
            return destination
        known = self.remembered(destination)
        if known is not destination:
            return known
        found = await self.find(destination.country, destination.region, destination.postal_code)
        if found is None:
            return destination
        known = replace(destination, coordinates=as_destination(found.coordinates), located_by=found.located_by)
        # The table of a country may only have been unreadable for a while, so that its codes are found next time.
        if found.located_by in _BY_POSTAL_CODE or not destination.postal_code:
            remember(self._remembered, destination, known, at_most=REMEMBERED_DESTINATIONS)
        return known

    async def find(
        self, country: str | None, region: str | None = None, postal_code: str | None = None
    ) -> LocatedPoint | None:
        """The point of a postal code, its area, the region or the country, whichever is known first; None if none is.

        `country` is an ISO 3166-1 alpha-2 code. The first postal code of a country waits until its table has been read.
        """
        found = await self._best(country, region, postal_code) if country else None
        self._counters[found.located_by if found else UNKNOWN_PLACE].inc()
        return found

    async def _best(self, country: str, region: str | None, postal_code: str | None) -> LocatedPoint | None:
        if postal_code:
            table = await self._postal_codes.of(country)
            if (point := table.point(postal_code)) is not None:
                return LocatedPoint(point, "postal_code")
            if (point := table.area_center(postal_code)) is not None:
                return LocatedPoint(point, "area")
        if region and (point := region_center(country, region)) is not None:
            return LocatedPoint(point, "region")
        point = country_center(country)
        return None if point is None else LocatedPoint(point, "country")
