"""The centers of countries and their regions, from the package countrystatecity-countries."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Any

from policies.domain.model import Coordinates

_PACKAGE = "countrystatecity_countries.data"
KEPT_COUNTRIES = 64
"""Countries whose regions stay in memory, some 10 KB each."""


@lru_cache(1)
def _countries() -> dict[str, Coordinates]:
    """The center of each country by ISO 3166-1 alpha-2 code. Reading them takes about 20 ms, once."""
    records = json.loads(files(_PACKAGE).joinpath("countries.json").read_bytes())
    return {record["iso2"]: point for record in records if (point := _point(record)) is not None}


@lru_cache(KEPT_COUNTRIES)
def _regions(country: str) -> dict[str, Coordinates]:
    """The centers of a country's regions by code, such as `TX` and `US-TX`, and by name, all in lower case."""
    file = files(_PACKAGE).joinpath("by-country").joinpath(country).joinpath("states.json")
    records = json.loads(file.read_bytes()) if file.is_file() else []
    regions: dict[str, Coordinates] = {}
    # A code goes before another region's name.
    for key in ("native", "name", "state_code", "iso3166_2"):
        for record in records:
            name, point = record.get(key), _point(record)
            if name and point is not None:
                regions[name.casefold()] = point
    return regions


def country_center(country: str) -> Coordinates | None:
    """The center of a country, by ISO 3166-1 alpha-2 code; None if it is not known."""
    return _countries().get(country)


def region_center(country: str, region: str) -> Coordinates | None:
    """The center of a region, by its code or name in that country; None if it is not known."""
    return _regions(country).get(region.strip().casefold()) if country in _countries() else None


def _point(record: dict[str, Any]) -> Coordinates | None:
    latitude, longitude = record.get("latitude"), record.get("longitude")
    return Coordinates(float(latitude), float(longitude)) if latitude and longitude else None
