"""Where destinations are by the installed data: the most precise that is known, and nothing where nothing is."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from policies.domain.geography import great_circle_km
from policies.domain.model import Coordinates, Destination
from service.geocoding.destination_points import DestinationPoints
from service.geocoding.postal_codes import PostalCodes
from service.metrics import Metrics
from tests.retailer import eventually

ANDORRA, LONDON = Coordinates(42.5063, 1.5218), Coordinates(51.5072, -0.1276)
DALLAS = Coordinates(32.7767, -96.797)


@pytest.fixture
async def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def points(registry: CollectorRegistry) -> AsyncIterator[DestinationPoints]:
    codes, stop = PostalCodes(), asyncio.Event()
    running = asyncio.create_task(codes.run(stop))
    yield DestinationPoints(codes, Metrics(registry))
    stop.set()
    await running


@pytest.mark.parametrize(
    ("country", "region", "postal_code", "located_by", "near", "km"),
    [
        ("AD", "", "500", "postal_code", ANDORRA, 5),
        ("AD", "", "AD509", "area", ANDORRA, 5),
        ("GB", "", "SW1A 1AA", "area", LONDON, 5),
        ("AD", "07", "ZZ", "region", ANDORRA, 5),
        ("US", "TX", "", "region", DALLAS, 350),
        ("US", "us-tx", "", "region", DALLAS, 350),
        ("US", "Texas", "", "region", DALLAS, 350),
        ("AD", "", "", "country", ANDORRA, 20),
        ("AD", "Atlantis", "ZZ", "country", ANDORRA, 20),
    ],
)
async def test_a_destination_is_at_the_most_precise_place_that_is_known(
    points: DestinationPoints, country: str, region: str, postal_code: str, located_by: str, near: Coordinates, km: int
) -> None:
    found = await points.find(country, region, postal_code)

    assert found is not None
    assert found.located_by == located_by
    assert great_circle_km(found.coordinates, near) < km


async def test_coordinates_that_an_order_states_are_kept(points: DestinationPoints) -> None:
    stated = Destination("AD", None, "AD500", Coordinates(1, 2))

    assert await points.located(stated) is stated


@pytest.mark.parametrize("destination", [Destination("XX"), Destination(None, "TX", "AD500")])
async def test_a_destination_of_which_nothing_is_known_has_no_coordinates_and_is_counted(
    points: DestinationPoints, registry: CollectorRegistry, destination: Destination
) -> None:
    assert await points.located(destination) is destination

    name, labels = "truestock_located_destinations_total", {"located_by": "unknown"}
    assert registry.get_sample_value(name, labels) == 1


async def test_a_country_whose_codes_cannot_be_read_is_known_by_its_center(
    points: DestinationPoints, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "missing"))

    found = await points.find("AD", None, "AD500")

    assert found is not None
    assert found.located_by == "country"


async def test_calls_that_need_the_same_country_wait_for_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    start = subprocess.Popen

    def counted(*command: Any, **options: Any) -> Any:
        started.append(command)
        return start(*command, **options)

    monkeypatch.setattr(subprocess, "Popen", counted)
    codes = PostalCodes()
    first, second = await asyncio.gather(codes.of("AD"), codes.of("AD"))

    assert first is second is await codes.of("AD")
    assert len(first) == 7
    assert len(started) == 1


async def test_countries_that_are_loaded_make_no_order_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = PostalCodes()
    await codes.load(["AD", "LI", "AD"])
    monkeypatch.setattr(subprocess, "Popen", None)
    andorra, liechtenstein = await codes.of("AD"), await codes.of("LI")

    assert len(andorra) == 7
    assert len(liechtenstein) > 5


async def test_loading_ends_with_the_service_and_begins_no_other_country() -> None:
    codes, stop = PostalCodes(), asyncio.Event()
    running = asyncio.create_task(codes.run(stop))
    loading = asyncio.create_task(codes.load(["ZA", "AD"]))

    async def reads() -> bool:
        return bool(codes._readings)

    await eventually(reads)
    stop.set()
    await asyncio.wait_for(asyncio.gather(running, loading), 5)

    assert not codes._readings
    assert not codes._tables


async def test_a_reading_that_is_not_over_ends_with_the_service() -> None:
    codes, stop = PostalCodes(), asyncio.Event()
    running = asyncio.create_task(codes.run(stop))
    asking = asyncio.create_task(codes.of("ZA"))

    async def reads() -> bool:
        return bool(codes._readings)

    await eventually(reads)
    stop.set()
    await asyncio.wait_for(running, 5)

    assert not codes._readings
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_the_first_look_up_of_a_region_does_not_import_the_package_with_the_data(
    points: DestinationPoints,
) -> None:
    """Importing it would stall every call for a third of a second."""
    found = await points.find("US", "TX")

    assert found is not None
    assert not any(name.startswith("countrystatecity") for name in sys.modules)
