"""Random retailers conserve every unit: long random operations, compared with a plain model after each step.

After a random life every counter is what the tables say.

`TRUESTOCK_RUNS=200 pytest -m long tests/service/test_conservation.py` runs 200 of the longer ones with new random
numbers; with TRUESTOCK_SHRINK also set, a failing run is shortened, which takes minutes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.conftest import REPOSITORY, RESOLVED_RULES, RetailerMaker
from tests.counters import check_counters
from tests.random_retailer import LOCATIONS, RandomRetailer
from tests.retailer import Retailer
from truestock.v1 import catalog_service_pb2 as catalog_pb

BUFFERED_RULES = REPOSITORY / "tests" / "rules_buffered"
KEPT_RULES = REPOSITORY / "tests" / "rules_kept"
RUNS = int(os.environ.get("TRUESTOCK_RUNS", "0"))


def test_random_operations_conserve_every_unit_and_promise_only_real_stock(
    random_retailer: type[RandomRetailer],
) -> None:
    run_state_machine_as_test(random_retailer, settings=_settings(runs=2, steps=30, shrink=True, derandomize=True))

    random_retailer.runner.run(check_counters(random_retailer.shop))


@pytest.mark.long
@pytest.mark.parametrize("run", range(3))
def test_longer_random_operations_conserve_every_unit_and_promise_only_real_stock(
    random_retailer: type[RandomRetailer], run: int
) -> None:
    # Few lives from each of several seeds: after ten, Hypothesis mostly varies earlier ones.
    run_state_machine_as_test(
        random_retailer if RUNS else seed(run)(random_retailer),
        settings=_settings(runs=RUNS or 4, steps=60, shrink="TRUESTOCK_SHRINK" in os.environ, derandomize=False),
    )
    random_retailer.runner.run(check_counters(random_retailer.shop))
    print(sum(RandomRetailer.steps_passed.values()), dict(RandomRetailer.steps_passed))  # noqa: T201


def _settings(*, runs: int, steps: int, shrink: bool, derandomize: bool) -> settings:
    return settings(
        max_examples=runs,
        stateful_step_count=steps,
        derandomize=derandomize,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
    )


@pytest.fixture(
    params=[RESOLVED_RULES, BUFFERED_RULES, pytest.param(KEPT_RULES, marks=pytest.mark.long)],
    ids=["resolved", "buffered", "kept"],
)
def random_retailer(request: pytest.FixtureRequest, database_url: str) -> Iterator[type[RandomRetailer]]:
    """Random retailers, each with its rules.

    They resolve shortages; have buffers and leave shortages to people; or keep half of all units and resolve those.
    """
    rules: Path = request.param
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            shop = runner.run(_open_shop(RetailerMaker(database_url, stack), rules))
            members = {"runner": runner, "shop": shop}
            yield type("RandomRetailer", (RandomRetailer,), members | _rules_of(rules))
        finally:
            runner.run(stack.aclose())


def _rules_of(rules: Path) -> dict[str, object]:
    """What a random retailer has to know about its rules."""
    return {"resolves_by_policy": rules != BUFFERED_RULES, "kept_percent": 50 if rules == KEPT_RULES else 0}


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
