"""Public holidays of countries and their regions, from the `holidays` package.

The package is imported when a location first asks for it: that takes a fifth of a second, as does the first look at
some countries. Code on the event loop therefore calls `load` before it asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from policies.domain.near_names import near_name
from truestock.v1 import catalog_service_pb2 as catalog_pb

if TYPE_CHECKING:
    from holidays import HolidayBase

Place = tuple[str, str | None]
"""A country (ISO 3166-1 alpha-2) and one of its regions, or None."""

_CACHED_PLACES = 4_096
_REGIONS_SHOWN = 60


def current_year() -> int:
    """The year for which holidays are asked now."""
    return datetime.now(UTC).year


def places_of(locations: Iterable[catalog_pb.Location]) -> list[Place]:
    """The places of those locations that are closed on their public holidays."""
    closed = [location for location in locations if location.working_time.closed_on_public_holidays]
    return [(location.country, location.region or None) for location in closed]


async def load(places: Iterable[Place]) -> None:
    """Looks these places up in a thread, so that asking for them afterwards takes no time."""
    needed = sorted({(country, region or "") for country, region in places if country})
    if needed:
        await asyncio.to_thread(_look_up, needed, current_year())


def problem_with(country: str | None, region: str | None) -> str | None:
    """What is wrong with the place of a location that is closed on its public holidays; None if nothing is."""
    if not country:
        return "needs the location's country: public holidays are those of its country and region"
    entity = _entity(country)
    if entity is None:
        return f"is not possible: the public holidays of the country '{country}' are not known; list them in holidays"
    if region is None or not entity.subdivisions or region in _region_codes(entity):
        return None
    near = near_name(region, _region_codes(entity))
    regions = ", ".join(entity.subdivisions[:_REGIONS_SHOWN])
    hint = f"did you mean '{near}'?" if near else f"use one of {regions}, or leave the region empty"
    return f"is not possible: '{region}' is not a region of {country} whose public holidays are known; {hint}"


@lru_cache(_CACHED_PLACES)
def public_holidays(country: str, region: str | None, year: int) -> frozenset[date]:
    """The public holidays of a place from the last day of the year before to the end of the second year after.

    A decision looks at most `calendars.MAX_DAYS_AHEAD` days ahead. No holidays for a place that is not known.
    """
    # Where UTC is already in the new year, it is still the last day of the old one further west.
    first, years = date(year, 1, 1) - timedelta(days=1), range(year - 1, year + 3)
    entity = _entity(country)
    if entity is None:
        return frozenset()
    known_region = region if region is not None and region in _region_codes(entity) else None
    return frozenset(day for day in entity(subdiv=known_region, years=years) if day >= first and day.year in years)


def public_holidays_now(country: str, region: str | None) -> frozenset[date]:
    """The public holidays of a place as of the current year."""
    return public_holidays(country, region, current_year())


def _look_up(places: Iterable[tuple[str, str]], year: int) -> None:
    for country, region in places:
        public_holidays(country, region or None, year)


@lru_cache(_CACHED_PLACES)
def _entity(country: str) -> type[HolidayBase] | None:
    import holidays  # noqa: PLC0415 - only where a location asks for public holidays

    entity: type[HolidayBase] | None = getattr(holidays, country, None) if len(country) == 2 else None
    return entity


def _region_codes(entity: type[HolidayBase]) -> list[str]:
    aliases = entity.get_subdivision_aliases()
    return [name for code in entity.subdivisions for name in (code, *aliases.get(code, ()))]
