"""`truestock import stock`: when the same file is a new count, and who says that a person counted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service import limits
from service.cli.client import connect
from service.cli.files.csv_import import import_file
from service.cli.files.import_calls import ImportReport
from service.cli.files.import_file import read_import
from service.cli.files.stock_import import StockImport
from service.cli.main import app
from tests.retailer import Retailer, change, movement
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb

DAY = timedelta(days=1)
MONDAY = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - 10 * DAY
EIGHT, FIVE = "sku,location_id,on_hand_count\nMUG,dc,8\n", "sku,location_id,on_hand_count\nMUG,dc,5\n"


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """A product and a warehouse, never counted."""
    await retailer.locations("dc")
    await retailer.catalog.UpsertProducts(
        catalog_pb.UpsertProductsRequest(products=[catalog_pb.Product(sku="MUG"), catalog_pb.Product(sku="BOWL")])
    )
    return retailer


async def imported(
    shop: Retailer, tmp_path: Path, content: str, at: datetime, stock: StockImport | None = None
) -> ImportReport:
    """Imports a stock file of this content as if it were that time."""
    path = tmp_path / "counts.csv"
    path.write_text(content)
    async with connect(shop.service.address) as client:
        return await import_file(client, read_import(path, "stock"), stock=stock or StockImport("stocktake"), now=at)


async def figure(shop: Retailer) -> tuple[int, datetime]:
    level = await shop.level("MUG", "dc")
    return level.on_hand_count, level.counted_time.ToDatetime(UTC)


async def test_the_same_figures_are_a_new_count_on_another_day_and_harmless_on_the_same(
    shop: Retailer, tmp_path: Path
) -> None:
    figures = []
    for content, days in ((EIGHT, 0), (FIVE, 1), (EIGHT, 4)):
        report = await imported(shop, tmp_path, content, MONDAY + days * DAY)
        figures.append((report.accepted, await figure(shop)))
    by_mistake = await imported(shop, tmp_path, EIGHT, MONDAY + 4 * DAY + timedelta(hours=3))

    assert figures == [(1, (8, MONDAY)), (1, (5, MONDAY + DAY)), (1, (8, MONDAY + 4 * DAY))]
    assert (by_mistake.accepted, by_mistake.duplicates) == (0, 1)
    assert await figure(shop) == (8, MONDAY + 4 * DAY)


async def test_a_day_is_over_by_the_date_of_each_location(shop: Retailer, tmp_path: Path) -> None:
    zones = {"auckland": "Pacific/Auckland", "austin": "America/Chicago"}
    locations = [
        catalog_pb.Location(location_id=name, type=catalog_pb.Location.TYPE_STORE, time_zone=zone)
        for name, zone in zones.items()
    ]
    await shop.catalog.UpsertLocations(catalog_pb.UpsertLocationsRequest(locations=locations))
    content = "sku,location_id,on_hand_count\nMUG,auckland,8\nMUG,austin,8\n"
    # In Auckland the date changes at 11:00 or 12:00 UTC, in Austin at 5:00 or 6:00.
    first = await imported(shop, tmp_path, content, MONDAY - timedelta(hours=3))

    second = await imported(shop, tmp_path, content, MONDAY + timedelta(hours=3))
    third = await imported(shop, tmp_path, content, MONDAY + timedelta(hours=20))

    assert [(x.accepted, x.duplicates) for x in (first, second, third)] == [(2, 0), (1, 1), (1, 1)]
    assert (await shop.level("MUG", "auckland")).counted_time.ToDatetime(UTC) == MONDAY + timedelta(hours=3)
    assert (await shop.level("MUG", "austin")).counted_time.ToDatetime(UTC) == MONDAY + timedelta(hours=20)


async def test_a_count_with_its_own_time_is_known_on_every_later_day(shop: Retailer, tmp_path: Path) -> None:
    content = f"sku,location_id,on_hand_count,counted_at\nMUG,dc,8,{MONDAY:%Y-%m-%dT%H:%M:%SZ}\n"
    reports = [await imported(shop, tmp_path, content, MONDAY + days * DAY) for days in (0, 0, 3)]

    assert [(x.accepted, x.duplicates) for x in reports] == [(1, 0), (0, 1), (0, 1)]


async def test_a_file_is_counted_again_on_the_same_day_only_on_request(shop: Retailer, tmp_path: Path) -> None:
    again = StockImport("stocktake", again=True)
    await imported(shop, tmp_path, EIGHT, MONDAY)
    sale = movement(stock_pb.MOVEMENT_KIND_SOLD, 1)
    await shop.record(change("MUG", "dc", at=MONDAY + timedelta(hours=1), movement=sale), source="till")

    without = await imported(shop, tmp_path, EIGHT, MONDAY + timedelta(hours=2))
    sold = await figure(shop)
    first = await imported(shop, tmp_path, EIGHT, MONDAY + timedelta(hours=3), again)
    second = await imported(shop, tmp_path, EIGHT, MONDAY + timedelta(hours=4), again)

    assert (without.duplicates, sold) == (1, (7, MONDAY))
    assert (first.accepted, second.accepted) == (1, 1)
    assert await figure(shop) == (8, MONDAY + timedelta(hours=4))


@pytest.mark.parametrize(
    ("cell", "option", "declared", "is_computed"),
    [
        ("", None, None, False),
        ("", None, False, False),
        ("", None, True, True),
        ("", False, True, False),
        ("", True, False, True),
        ("yes", False, False, True),
        ("no", True, True, False),
    ],
)
async def test_the_row_then_the_option_then_the_feed_says_who_wrote_a_figure(
    shop: Retailer, tmp_path: Path, cell: str, option: bool | None, declared: bool | None, is_computed: bool
) -> None:
    if declared is not None:
        feed = catalog_pb.Feed(source="export", role=catalog_pb.Feed.ROLE_OWNER, computed=declared)
        await shop.catalog.UpsertFeeds(catalog_pb.UpsertFeedsRequest(feeds=[feed]))
    content = f"sku,location_id,on_hand_count,computed\nMUG,dc,8,{cell}\n"

    report = await imported(shop, tmp_path, content, MONDAY, StockImport("export", option))
    level = await shop.level("MUG", "dc")

    assert (report.accepted, level.on_hand_count) == (1, 8)
    assert report.computed == is_computed
    assert report.by_default == (cell == "" and option is None and declared is None)
    assert level.HasField("physical_count_time") is level.HasField("count_confidence") is not is_computed


async def run(shop: Retailer, *arguments: str) -> Result:
    def work() -> Result:
        # A command runs its own event loop.
        return CliRunner().invoke(app, [*arguments, "--server", shop.service.address], env={"COLUMNS": "300"})

    return await asyncio.to_thread(work)


async def test_the_result_says_what_was_known_before_and_who_counted(shop: Retailer, tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("sku,location_id,on_hand_count\nMUG,dc,8\nBOWL,dc,2\n")

    first = await run(shop, "import", "stock", str(path))
    second = await run(shop, "import", "stock", str(path), "--counted")
    third = await run(shop, "import", "stock", str(path), "--computed", "--again")
    refused = await run(shop, "import", "feeds", str(path), "--again")

    assert "2 figures were taken as counted by people" in first.output
    assert "imported before on the same day, by the location's date" not in first.output
    assert "2 rows were imported before on the same day, by the location's date, and changed nothing" in second.output
    assert "add --again" in second.output
    assert "taken as counted" not in second.output
    assert ["written", "by", "a", "program", "2"] in [line.split() for line in third.output.splitlines()]
    assert refused.exit_code == 2
    assert "No such option: --again" in refused.output


async def test_an_import_says_what_a_full_quarantine_dropped(
    shop: Retailer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "QUARANTINED_CHANGES", 1)
    content = "sku,location_id,on_hand_count\nMUG,dc,8\nBOWL,dc,8\n"
    await imported(shop, tmp_path, content, MONDAY)

    # Other figures of the same moment wait for a count that decides.
    report = await imported(shop, tmp_path, content.replace("8", "5"), MONDAY)

    assert (len(report.quarantined), report.dropped) == (2, 1)
    assert report.as_dict()["dropped_count"] == 1
