"""Random retailers conserve every unit: long random operations, compared with a plain model after each step.

`TRUESTOCK_LIVES=200 pytest tests/service/test_conservation.py` runs 200 longer ones with new random numbers; with
TRUESTOCK_SHRINK also set, a failing run is shortened, which takes minutes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import REPOSITORY, RESOLVED_RULES, RetailerMaker
from tests.random_retailer import LOCATIONS, RandomRetailer
from tests.retailer import Retailer
from truestock.v1 import catalog_service_pb2 as catalog_pb

BUFFERED_RULES = REPOSITORY / "tests" / "rules_buffered"
LIVES = int(os.environ.get("TRUESTOCK_LIVES", "0"))
SHRINK = not LIVES or "TRUESTOCK_SHRINK" in os.environ


def test_random_operations_conserve_every_unit_and_promise_only_real_stock(
    random_retailer: type[RandomRetailer],
) -> None:
    run_state_machine_as_test(
        random_retailer,
        settings=settings(
            max_examples=LIVES or 6,
            stateful_step_count=60 if LIVES else 40,
            derandomize=not LIVES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink] if SHRINK else [Phase.generate],
        ),
    )
    if LIVES:
        print(sum(RandomRetailer.steps_passed.values()), dict(RandomRetailer.steps_passed))  # noqa: T201


@pytest.fixture(params=[RESOLVED_RULES, BUFFERED_RULES], ids=["resolved", "buffered"])
def random_retailer(request: pytest.FixtureRequest, database_url: str) -> Iterator[type[RandomRetailer]]:
    """Random retailers with rules that resolve shortages, or with buffer rules that leave shortages to people."""
    rules: Path = request.param
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            shop = runner.run(_open_shop(RetailerMaker(database_url, stack), rules))
            members = {"runner": runner, "shop": shop}
            yield type("RandomRetailer", (RandomRetailer,), members | {"resolves_by_policy": rules == RESOLVED_RULES})
        finally:
            runner.run(stack.aclose())


async def _open_shop(maker: RetailerMaker, rules: Path) -> Retailer:
    shop = await maker.make(rules)
    types = {"dc": catalog_pb.Location.TYPE_WAREHOUSE}
    locations = [
        catalog_pb.Location(
            location_id=location_id,
            type=types.get(location_id, catalog_pb.Location.TYPE_STORE),
            priority=number,
            status=catalog_pb.Location.STATUS_CLOSED if location_id == "shut" else catalog_pb.Location.STATUS_OPEN,
            offers_pickup=location_id == "a-store",
            ships_to=catalog_pb.CountryList(countries=["US"]) if location_id == "b-store" else None,
        )
        for number, location_id in enumerate(LOCATIONS, 1)
    ]
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=locations))
    return shop
