"""Where a destination is: the best that is known of its postal code, its area, its region or its country."""

from __future__ import annotations

from dataclasses import dataclass, replace

from policies.domain.model import Coordinates, Destination
from service.geocoding.country_centers import country_center, region_center
from service.geocoding.postal_codes import PostalCodes
from service.metrics import UNKNOWN_PLACE, Metrics


@dataclass(frozen=True, slots=True)
class LocatedPoint:
    """Coordinates and what they are the middle of: one of `LOCATED_BY`."""

    coordinates: Coordinates
    located_by: str


class DestinationPoints:
    """Finds the coordinates of destinations that state none, and counts what they were found by."""

    def __init__(self, postal_codes: PostalCodes, metrics: Metrics) -> None:
        self._postal_codes, self._metrics = postal_codes, metrics

    async def located(self, destination: Destination | None) -> Destination | None:
        """The destination with coordinates; as it is if it states its own, or where it is is not known."""
        if destination is None or destination.coordinates is not None:
            return destination
        found = await self.find(destination.country, destination.region, destination.postal_code)
        if found is None:
            return destination
        return replace(destination, coordinates=found.coordinates, located_by=found.located_by)

    async def find(
        self, country: str | None, region: str | None = None, postal_code: str | None = None
    ) -> LocatedPoint | None:
        """The point of a postal code, its area, the region or the country, whichever is known first; None if none is.

        `country` is an ISO 3166-1 alpha-2 code. The first postal code of a country waits until its table has been read.
        """
        found = await self._best(country, region, postal_code) if country else None
        self._metrics.orders.located_destinations.labels(found.located_by if found else UNKNOWN_PLACE).inc()
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
