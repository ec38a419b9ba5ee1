"""The centers of countries and their regions, from the package countrystatecity-countries."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from policies.domain.model import Coordinates

_PACKAGE = "countrystatecity_countries"
KEPT_COUNTRIES = 64
"""Countries whose regions stay in memory, some 10 KB each."""


@lru_cache(1)
def _folder() -> Path:
    """Where the package has its data. The package is not imported: that would stall all calls for 0.3 s."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the package {_PACKAGE} is not installed; install Truestock with its dependencies")
    return Path(spec.submodule_search_locations[0]) / "data"


@lru_cache(1)
def _countries() -> dict[str, Coordinates]:
    """The center of each country by ISO 3166-1 alpha-2 code. Reading them takes about 6 ms, once."""
    records = json.loads((_folder() / "countries.json").read_bytes())
    return {record["iso2"]: point for record in records if (point := _point(record)) is not None}


@lru_cache(KEPT_COUNTRIES)
def _regions(country: str) -> dict[str, Coordinates]:
    """The centers of a country's regions by code, such as `TX` and `US-TX`, and by name, all in lower case."""
    file = _folder() / "by-country" / country / "states.json"
    records = json.loads(file.read_bytes()) if file.is_file() else []
    regions: dict[str, Coordinates] = {}
    # A code goes before another region's name.
    for key in ("native", "name", "state_code", "iso3166_2"):
        for record in records:
            name, point = record.get(key), _point(record)
            if name and point is not None:
                regions[name.casefold()] = point
    return regions


def load_countries() -> None:
    """Reads the centers of all countries, so that no call waits for them later."""
    _countries()


def country_center(country: str) -> Coordinates | None:
    """The center of a country, by ISO 3166-1 alpha-2 code; None if it is not known."""
    return _countries().get(country)


def region_center(country: str, region: str) -> Coordinates | None:
    """The center of a region, by its code or name in that country; None if it is not known."""
    return _regions(country).get(region.strip().casefold()) if country in _countries() else None


def _point(record: dict[str, Any]) -> Coordinates | None:
    latitude, longitude = record.get("latitude"), record.get("longitude")
    return Coordinates(float(latitude), float(longitude)) if latitude and longitude else None
