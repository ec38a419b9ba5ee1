"""The demo shows what it says, its figures add up, and it fails if they do not."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from bench.demo.demo_run import run_demo
from bench.demo.unit_groups import DemoError, SumError, in_order, unit_groups
from tests.conftest import REPOSITORY, RULES, RetailerMaker
from tests.retailer import HOLD, SOLD
from truestock.v1 import catalog_service_pb2 as catalog_pb
from truestock.v1.availability_service_pb2 import Availability, CheckAvailabilityRequest, LocationAvailability
from truestock.v1.decision_pb2 import FiredRule
from truestock.v1.stock_service_pb2 import ListStockLevelsRequest

Status = catalog_pb.Location.Status


def location(location_id: str, *, on_hand: int, available: int, **fields: Any) -> LocationAvailability:
    return LocationAvailability(location_id=location_id, on_hand_count=on_hand, available_count=available, **fields)


def fired(rule: str, effect: str, location_id: str = "") -> FiredRule:
    return FiredRule(rule=rule, effect=effect, location_id=location_id)


def test_units_are_listed_by_the_rules_that_keep_them() -> None:
    answer = Availability(
        sku="MUG",
        channel_buffer_count=1,
        unpublished_count=2,
        locations=[location("austin", on_hand=12, available=6, unavailable_count=1, held_count=2, allocated_count=3)],
        fired_rules=[
            fired("two", "held back 2 units", "austin"),
            fired("three", "held back 3 units", "austin"),
            fired("old", "blocked: too old", "denver"),
            fired("spike", "held back 1 unit"),
            fired("last", "published as 0 at or below 2 units"),
        ],
    )
    answer.locations[0].buffer_count, answer.locations[0].sellable_count = 3, 3
    answer.locations.add(location_id="denver", on_hand_count=5, available_count=5, buffer_count=2, reasons=["blocked"])

    groups = unit_groups(answer, {"austin": 12, "denver": 5, "outlet": 7})

    assert {name: groups[name] for name in in_order(groups)} == {
        "may sell now": 0,
        "held for carts": 2,
        "sold, not shipped yet": 3,
        "location buffer: three": 3,
        "channel buffer: spike": 1,
        "unpublished: last": 2,
        "blocked: old": 5,
        "not sellable: damaged, on display, …": 1,
        "at locations that the channel does not use": 7,
    }


def test_more_promised_than_there_is_makes_a_group_below_0() -> None:
    answer = Availability(sku="MUG", locations=[location("austin", on_hand=3, available=0, allocated_count=5)])

    assert unit_groups(answer, {"austin": 3}) == {
        "may sell now": 0,
        "sold, not shipped yet": 5,
        "promised beyond what is there": -2,
    }


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            Availability(sku="MUG", sellable_count=4, locations=[location("austin", on_hand=5, available=5)]),
            "the units of MUG do not add up to 5: may sell now 4 are 4",
        ),
        (
            Availability(sku="MUG", locations=[location("austin", on_hand=4, available=4)]),
            "austin has 4 on hand in CheckAvailability and 5 in ListStockLevels",
        ),
        (
            Availability(
                sku="MUG",
                sellable_count=6,
                unpublished_count=-1,
                locations=[location("austin", on_hand=5, available=5, sellable_count=5)],
            ),
            "the units of MUG are below 0: may sell now 6, unpublished:  -1",
        ),
        (Availability(sku="MUG", problem="it cannot be computed"), "MUG: it cannot be computed"),
    ],
)
def test_figures_that_contradict_each_other_are_not_shown(answer: Availability, message: str) -> None:
    with pytest.raises(SumError, match=f"^{re.escape(message)}$"):
        unit_groups(answer, {"austin": 5})


async def test_the_answers_of_a_service_add_up_for_any_stock_and_orders_by_the_shipped_rules(
    retailers: RetailerMaker,
) -> None:
    random = Random(17)
    shop = await retailers.make(RULES)
    skus = [f"MUG-{number}" for number in range(20)]
    places = ("dc", "austin", "chicago", "denver")
    await shop.stock({(sku, place): random.choice((0, 1, 3, 8, 60)) for sku in skus for place in places})
    await shop.channels(tiktok_shop="", clips="")
    web = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, location_ids=["dc", "austin"])
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[web]))
    statuses = (Status.STATUS_OPEN, Status.STATUS_STOCKTAKE, Status.STATUS_CLOSED)
    stores = [
        catalog_pb.Location(location_id=place, type=catalog_pb.Location.TYPE_STORE, status=status)
        for place, status in zip(places[1:], statuses, strict=True)
    ]
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=stores))
    for number, sku in enumerate(skus):
        fast = catalog_pb.Product(sku=sku, velocity_per_day=number * 3)
        await shop.catalog.UpsertProducts(catalog_pb.UpsertProductsRequest(products=[fast]))
        commitment = random.choice((HOLD, SOLD))
        await shop.allocate(f"A-{number}", {sku: random.randint(1, 12)}, commitment, channel_id="clips")
    levels = (await shop.stock_service.ListStockLevels(ListStockLevelsRequest(page_size=1000))).stock_levels

    seen: Counter[str] = Counter()
    for channel_id in ("tiktok_shop", "clips", "web"):
        request = CheckAvailabilityRequest(channel_id=channel_id, skus=skus, include_locations=True)
        for answer in (await shop.availability.CheckAvailability(request)).availabilities:
            on_hand = {level.location_id: level.on_hand_count for level in levels if level.sku == answer.sku}
            seen.update(name.split(":")[0] for name in unit_groups(answer, on_hand))

    assert seen.keys() >= {"may sell now", "held for carts", "sold, not shipped yet", "blocked", "unpublished"}
    assert seen.keys() >= {"location buffer", "channel buffer", "at locations that the channel does not use"}


@pytest.mark.long
async def test_a_store_that_its_own_count_makes_untrusted_fails_the_demo(database_url: str, tmp_path: Path) -> None:
    rules = Path(shutil.copytree(RULES, tmp_path / "rules"))
    exposure = rules / "exposure" / "trusted-stock.yaml"
    exposure.write_text(exposure.read_text().replace("count_confidence: {less_than: 0.9}", "on_hand: {at_least: 1}"))

    with pytest.raises(DemoError, match=r"^store-\w+ is blocked right after its count: blocked: counts at this store"):
        await run_demo(database_url, rules)


def started_demo(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.demo", *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.long
def test_the_demo_ends_by_itself_is_the_same_for_the_same_seed_and_every_column_adds_up() -> None:
    demos = [started_demo("--seed", "7"), started_demo()]
    (output, errors), (again, _) = (demo.communicate(timeout=300) for demo in demos)

    assert ([demo.returncode for demo in demos], errors) == ([0, 0], "")
    assert output == again
    tables = re.findall(r"where the units are.*\n ─+ *\n((?:.*\n)+?) total on hand (.*)\n", output)
    assert len(tables) == 6
    for rows, totals in tables:
        columns = zip(
            *(re.findall(r"-?\d+(?= |$)", row)[-len(totals.split()) :] for row in rows.splitlines()), strict=True
        )
        assert [sum(int(cell) for cell in column) for column in columns] == [int(total) for total in totals.split()]
    assert "- hold_back: {percent: 10, maximum: 25}" in output
    before, after = re.findall(r"TikTok may sell (\d+) before and (\d+) after", output)[0]
    assert int(after) < int(before)
    assert not re.search(r"\b1 (locations|units|orders|shoppers|stores)\b", output)
    assert "(cause: not applied)" in output
    assert re.search(r"oversell +7.8% +4 of 51 units +the channel sold more than it was told", output)
    assert re.search(r"cancellation +2.0% +1 of 51 units +the shop could not supply", output)
    assert re.search(r"counts that differed +25.0% +1 of 4 counts +count store-seattle again", output)
    assert re.search(r"late shipments +12.5% +1 of 8 shipments +give store-brooklyn fewer orders", output)
    assert re.search(r"orders for a person +10.0% +5 of 50 orders", output)
    page = Path(re.findall(r"The report of the day, .*: (\S+\.html)\n", output)[0]).read_text()
    assert "4 of 51" in page
    assert "store-brooklyn" in page


@pytest.mark.long
@pytest.mark.parametrize("seconds", [0.05, 0.2, 0.5, 6, 14])
def test_ctrl_c_ends_the_demo_in_one_sentence(seconds: float) -> None:
    demo = started_demo()
    assert demo.stdout is not None
    first = demo.stdout.readline()
    time.sleep(seconds)
    os.killpg(demo.pid, signal.SIGINT)
    _, errors = demo.communicate(timeout=60)

    assert first.startswith("Starting a temporary Truestock")
    assert (demo.returncode, errors.strip()) == (130, "The demo was stopped, and its data are deleted.")
