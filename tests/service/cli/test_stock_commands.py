"""The output of `truestock stock`, `movements` and `transfer`."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from google.type.dayofweek_pb2 import DayOfWeek
from google.type.timeofday_pb2 import TimeOfDay
from rich.console import Console

from policies.domain.model import Location
from service.cli import stock_overview
from service.cli.main import main
from service.cli.views import stock_overview_view
from service.cli.views.stock_views import print_availability
from tests.retailer import HOLD, Retailer, change
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb
from truestock.v1.availability_service_pb2 import Availability, CheckAvailabilityResponse


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    def row(self, *words: str) -> str:
        """The only line with all these words."""
        lines = [line for line in self.out.splitlines() if all(word in line for word in words)]
        assert len(lines) == 1, self.out
        return " ".join(lines[0].split())


Run = Callable[..., Awaitable[Result]]


@pytest.fixture
async def run(retailer: Retailer, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs one command against the retailer as the shell would."""

    def run_main(arguments: tuple[str, ...]) -> int:
        with pytest.raises(SystemExit) as caught:
            main([*arguments, "--server", retailer.service.address])
        return caught.value.code if isinstance(caught.value.code, int) else 0

    async def in_thread(*arguments: str) -> Result:
        # A command runs its own event loop.
        code = await asyncio.to_thread(run_main, arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return in_thread


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """Ten mugs in the warehouse, four in the store."""
    await retailer.stock({("MUG", "dc"): 10, ("MUG", "store"): 4, ("BOWL", "dc"): 3})
    return retailer


async def test_a_stock_overview_shows_levels_with_their_source(shop: Retailer, run: Run) -> None:
    await shop.record(
        change("MUG", "store", at=datetime.now(UTC), count=stock_pb.StockCount(on_hand_count=4)), source="pos-austin"
    )
    await shop.sql("UPDATE stock_level SET movements_since_count = 18 WHERE location_id = 'store'")
    await shop.sql("UPDATE stock_level SET physical_count_time = NULL WHERE location_id = 'dc'")
    await shop.locations("dc", "store", handling_minutes=0)

    result = await run("stock", "MUG")

    assert "dc 10 0 0 0 10 1 min ago counter never - today" in result.row("dc", "counter")
    assert "4 0 0 0 4 0 s ago pos-austin" in result.row("pos-austin")
    # (76 / 94) ** 0.5 is 0.8992, which must not read 90 %.
    assert "89.9%" in result.row("pos-austin")


async def test_a_stock_overview_shows_the_orders_that_units_are_promised_to(shop: Retailer, run: Run) -> None:
    await shop.allocate("A-1", {"MUG": 2})
    await shop.allocate("A-2", {"MUG": 1}, HOLD)
    released = await shop.allocate("A-3", {"MUG": 1}, HOLD)
    await shop.release(released.allocation_id)
    await shop.allocate("A-4", {"BOWL": 1})

    result = await run("stock", "MUG")

    assert "web/A-1 2 sold" in result.row("web/A-1")
    assert "web/A-2 1 held until" in result.row("web/A-2")
    assert "A-3" not in result.out
    assert "A-4" not in result.out


async def test_only_the_newest_orders_are_listed_and_the_others_counted(shop: Retailer, run: Run) -> None:
    await shop.count({("MUG", "dc"): 50}, at=datetime.now(UTC))
    for number in range(8):
        await shop.allocate(f"A-{number}", {"MUG": 1})

    result = await run("stock", "MUG")

    assert "other orders 3" in result.row("other orders")
    assert "web/A-7" in result.out
    assert "web/A-0" not in result.out


async def test_a_stock_overview_shows_incoming_and_unsellable_units(shop: Retailer, run: Run) -> None:
    await run("transfer", "dispatch", "T-1", "MUG:3", "--from", "dc", "--to", "store", "--expect", "2030-01-02T09:00Z")
    await shop.sql("INSERT INTO stock_unavailable VALUES ('MUG', 'dc', 'quality_control', 2)")

    result = await run("stock", "MUG")

    assert "store 3 2030-01-02 09:00:00Z T-1" in result.row("T-1")
    assert "dc 2 quality control" in result.row("quality control")


async def test_a_stock_overview_shows_when_a_new_order_would_ship(shop: Retailer, run: Run) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoweekday()
    works = catalog_pb.WorkingTime(
        opening_days=[DayOfWeek.ValueType(yesterday)], opens=TimeOfDay(hours=8), closes=TimeOfDay(hours=18)
    )
    await shop.locations("store", working_time=works, handling_minutes=30)
    await shop.locations("dc", status=catalog_pb.Location.STATUS_CLOSED)

    result = await run("stock", "MUG")

    assert "never: closed" in result.row("dc")
    assert "by 18:00 UTC" in result.row("store")
    assert "today" not in result.row("store")


async def test_a_location_that_states_no_handling_time_has_no_ship_date(shop: Retailer, run: Run) -> None:
    assert "unknown: no handling time stated" in (await run("stock", "MUG")).row("dc")


@pytest.mark.parametrize(
    ("at", "today", "day"),
    [("2026-11-27T16:00Z", True, "2026-11-27"), ("2026-11-27T20:01Z", False, "2026-11-28")],
)
def test_an_order_after_the_cut_off_ships_the_next_day(at: str, today: bool, day: str) -> None:
    store = Location(
        "austin", "store", time_zone="America/Chicago", handling_minutes=30, cut_off=time(14, 0), closes=time(18, 0)
    )

    ship_date = stock_overview.next_ship_date(store, datetime.fromisoformat(at))

    assert ship_date is not None
    assert (ship_date.is_today, str(ship_date.day)) == (today, day)


async def test_a_stock_overview_shows_what_a_channel_may_sell(shop: Retailer, run: Run) -> None:
    web = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, location_ids=["dc"])
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[web]))

    result = await run("stock", "MUG", "--channel", "web")

    assert "The channel may sell 10 units now." in result.out
    assert result.row("dc", "counter").endswith("10 -")
    assert "not one of the channel's locations" in result.row("store")


@pytest.mark.parametrize(
    ("availability", "sentence"),
    [
        (Availability(sellable_count=5), "The channel may sell 5 units now."),
        (
            Availability(sellable_count=1, channel_buffer_count=4),
            "The channel may sell 1 unit now: 5 at its locations, less 4 as the channel's buffer.",
        ),
        (
            Availability(channel_buffer_count=4, unpublished_count=1),
            (
                "The channel may sell 0 units now: 5 at its locations, less 4 as the channel's buffer "
                "and 1 that its cut-off or cap leaves unpublished."
            ),
        ),
    ],
)
def test_units_that_a_channel_does_not_publish_are_named(availability: Availability, sentence: str) -> None:
    availability.locations.add(location_id="dc", sellable_count=5)

    assert stock_overview_view.published(availability) == sentence


def test_a_row_of_availability_lists_all_available_units_and_unpublished_ones_where_there_are_some() -> None:
    def printed(unpublished: int) -> str:
        console = Console(file=io.StringIO(), width=200)
        item = Availability(sku="MUG", available_count=9, channel_buffer_count=4, unpublished_count=unpublished)
        print_availability(console, CheckAvailabilityResponse(availabilities=[item]), "web")
        return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]

    assert "MUG 0 9 5 4 0" in " ".join(printed(0).split())
    assert "unpublished" not in printed(0)
    assert " ".join(printed(5).split()).startswith(
        "What web may sell now SKU sellable available kept at locations channel buffer unpublished largest order"
    )
    assert "MUG 0 9 0 4 5 0" in " ".join(printed(5).split())


async def test_a_stock_overview_as_json_adds_to_the_stock_levels(shop: Retailer, run: Run) -> None:
    order = await shop.allocate("A-1", {"MUG": 2})

    await shop.locations("store", handling_minutes=0)

    locations = {
        location["location_id"]: location for location in (await run("stock", "MUG", "--channel", "web", "--json")).data
    }

    assert locations["dc"]["on_hand_count"] == 10
    assert locations["dc"]["promises"] == [{"allocation_id": order.allocation_id, "order": "web/A-1", "unit_count": 2}]
    assert locations["store"]["sellable_count"] == 4
    assert locations["store"]["ships_today"] is True
    assert locations["dc"]["ships_today"] is None


async def test_several_products_are_listed_as_stock_levels(shop: Retailer, run: Run) -> None:
    result = await run("stock", "MUG", "BOWL")

    assert [result.row("BOWL", "dc"), result.row("MUG", "store")] == [
        "BOWL dc 3 0 0 0 3 1 min ago counter",
        "MUG store 4 0 0 0 4 1 min ago counter",
    ]
    assert (await run("stock", "MUG", "BOWL", "--channel", "web")).code == 2


async def test_a_product_without_stock_levels_prints_what_to_do(shop: Retailer, run: Run) -> None:
    result = await run("stock", "BOWL", "--location", "store")

    assert (result.code, "truestock import stock" in result.out) == (0, True)


async def test_movements_are_listed_with_their_reasons(shop: Retailer, run: Run) -> None:
    await shop.allocate("A-1", {"MUG": 2})
    await run("transfer", "dispatch", "T-1", "MUG:3", "--from", "dc", "--to", "store")

    result = await run("movements", "MUG", "--location", "dc")

    assert "transferred out -3 · · · 3 accepted transfers T-1" in result.row("transferred out")
    assert "allocated · · · +2" in result.row("allocated", "orders")
    assert "counted +10" in result.row("counted")


async def test_the_movements_of_one_order_are_found_by_its_number(shop: Retailer, run: Run) -> None:
    await shop.allocate("A-1", {"MUG": 2})
    await shop.allocate("A-2", {"MUG": 1})

    movements = (await run("movements", "--order", "web/A-1", "--json")).data

    assert [(movement["kind"], movement["allocated_delta"]) for movement in movements] == [("allocated", 2)]


async def test_a_shortened_list_of_movements_says_so(shop: Retailer, run: Run) -> None:
    result = await run("movements", "--kind", "counted", "--limit", "2")

    assert "Only the newest 2 movements;" in result.err
    assert "No matching movements." in (await run("movements", "--kind", "shipped")).out


async def test_a_transfer_is_dispatched_received_and_listed(shop: Retailer, run: Run) -> None:
    sent = await run("transfer", "dispatch", "T-1", "MUG:3", "BOWL:1", "--from", "dc", "--to", "store")
    arrived = await run("transfer", "receive", "T-1", "MUG:2")
    open_ = await run("transfer", "list", "--in-transit", "--json")
    completed = await run("transfer", "receive", "T-1", "BOWL:1", "--complete")
    listed = await run("transfer", "list", "--location", "store")

    assert "Transfer T-1 from dc to store: in transit" in sent.out
    assert "T-1 dc store MUG 3 2 1 -" in arrived.row("MUG")
    assert [transfer["transfer_id"] for transfer in open_.data] == ["T-1"]
    assert "Transfer T-1 from dc to store: completed" in completed.out
    assert "T-1 dc store MUG 3 2 - 1" in listed.row("MUG")


async def test_a_transfer_is_booked_late_and_called_off(shop: Retailer, run: Run) -> None:
    await run("transfer", "dispatch", "T-1", "MUG:3", "--from", "dc", "--to", "store", "--at", "2026-01-02T03:04Z")
    cancelled = await run("transfer", "cancel", "T-1")

    assert "Transfer T-1 from dc to store: cancelled" in cancelled.out
    assert "T-1 dc store MUG 3 0 - - 3 2026-01-02 03:04:00Z" in cancelled.row("MUG")
    assert (await shop.level("MUG", "dc")).on_hand_count == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dispatch", "T-1", "MUG", "--from", "dc", "--to", "store"), "'MUG' is not SKU:UNITS"),
        (("dispatch", "T-1", "MUG:1", "--from", "dc", "--to", "store", "--expect", "soon"), "'soon' is not a time"),
        (("receive", "T-1"), "name the units that arrived"),
        (("receive", "T-1", "MUG:1", "--at", "soon"), "--at 'soon' is not a time"),
        (("cancel", "T-1", "--at", "soon"), "--at 'soon' is not a time"),
        (("receive", "T-1", "MUG:1", "--at", "2026-11-27T09:00:00"), "has no time zone; add Z for UTC"),
    ],
)
async def test_wrong_usage_of_transfers_is_explained(
    shop: Retailer, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    result = await run("transfer", *arguments)

    assert (result.code, result.out) == (2, "")
    assert message in " ".join(result.err.replace("│", " ").split())


async def test_a_transfer_of_too_many_units_is_refused_in_one_sentence(shop: Retailer, run: Run) -> None:
    result = await run("transfer", "dispatch", "T-1", "MUG:11", "--from", "dc", "--to", "store")

    assert (result.code, result.out) == (1, "")
    assert "location 'dc' has 10 units of 'MUG' available, 11 requested" in result.err


@pytest.mark.parametrize(
    "command", [("stock",), ("movements",), ("transfer", "dispatch"), ("transfer", "receive"), ("transfer", "list")]
)
def test_help_comes_with_an_example(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])

    assert f"truestock {' '.join(command)} " in capsys.readouterr().out
