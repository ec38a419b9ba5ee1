"""What the locations that state a capacity have taken and can still handle at one moment, also as metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from policies.domain.calendars import local_time
from policies.domain.capacity import NO_FIGURES, NOTHING_USED, CapacityFigures, CapacityPeriod
from policies.domain.handling_times import most_of_one_order
from policies.domain.model import Location
from service.capacity import capacity_store
from service.catalog import catalog_store
from service.catalog.catalog_store import CatalogCache
from service.database.database import Connection
from service.metrics import Metrics
from service.metrics.labels import CAPACITY_LOCATIONS
from service.stock import levels

_NO_TIME = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class CapacityNow:
    """The locations that state a capacity, by id, and what is taken of each; empty if none does."""

    locations: Mapping[str, Location] = field(default_factory=dict)
    figures: CapacityFigures = NO_FIGURES
    now: datetime = _NO_TIME

    def room(self) -> dict[str, float]:
        """The most units of one order that each location could handle, 0 if it is full, by location id."""
        return {key: most_of_one_order(location, self.now, self.figures) for key, location in self.locations.items()}

    def report(self, metrics: Metrics) -> None:
        """Sets the gauges of today's capacity of the first locations by id."""
        used: dict[tuple[str, str], int] = {}
        limits: dict[tuple[str, str], int] = {}
        for key in sorted(self.locations)[:CAPACITY_LOCATIONS]:
            location = self.locations[key]
            if location.capacity is None:
                continue
            today = CapacityPeriod(key, local_time(self.now, location.time_zone).date())
            taken = self.figures.used.get(today, NOTHING_USED)
            for of, count, limit in (
                ("orders", taken.order_count, location.capacity.orders_per_day),
                ("units", taken.unit_count, location.capacity.units_per_day),
            ):
                if limit is not None:
                    used[key, of], limits[key, of] = count, limit
        metrics.capacity.set_today(used, limits)


async def read(connection: Connection, cache: CatalogCache) -> CapacityNow:
    """Reads what is taken now; without a location that states a capacity, only the version of the catalog."""
    catalog = await cache.at(connection, await catalog_store.version(connection))
    if not catalog.limited_ids:
        return CapacityNow()
    now = await levels.clock(connection)
    figures = await capacity_store.current_figures(connection, catalog, now)
    return CapacityNow({key: catalog.locations[key] for key in sorted(catalog.limited_ids)}, figures or NO_FIGURES, now)
