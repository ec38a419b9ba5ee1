"""What `truestock stock`, `movements` and `transfer` say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

import pytest
from google.type.dayofweek_pb2 import DayOfWeek
from google.type.timeofday_pb2 import TimeOfDay

from policies.domain.model import Location as Place
from service.cli import stock_sheet
from service.cli.main import main
from tests.retailer import HOLD, Retailer, change
from truestock.v1 import catalog_service_pb2 as catalog_pb, stock_service_pb2 as stock_pb


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    def row(self, *words: str) -> str:
        """The one line that has all these words."""
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
        # A command has an event loop of its own.
        code = await asyncio.to_thread(run_main, arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return in_thread


@pytest.fixture
async def shop(retailer: Retailer) -> Retailer:
    """Ten mugs in the warehouse, four in the store."""
    await retailer.stock({("MUG", "dc"): 10, ("MUG", "store"): 4, ("BOWL", "dc"): 3})
    return retailer


async def test_a_products_sheet_tells_where_it_sits_and_who_said_so(shop: Retailer, run: Run) -> None:
    await shop.record(
        change("MUG", "store", at=datetime.now(UTC), count=stock_pb.StockCount(on_hand_count=5)), source="till-austin"
    )
    await shop.sql("UPDATE stock_level SET count_confidence = 0.92 WHERE location_id = 'store'")

    result = await run("stock", "MUG")

    assert "dc 10 0 0 0 10 1 min counter 1 min ago - today" in result.row("dc", "counter")
    assert "5 0 0 0 5 0 s till-austin" in result.row("till-austin")
    assert "92%" in result.row("till-austin")


async def test_a_products_sheet_tells_whom_its_units_are_promised_to(shop: Retailer, run: Run) -> None:
    await shop.allocate("A-1", {"MUG": 2})
    await shop.allocate("A-2", {"MUG": 1}, HOLD)
    gone = await shop.allocate("A-3", {"MUG": 1}, HOLD)
    await shop.release(gone.allocation_id)
    await shop.allocate("A-4", {"BOWL": 1})

    result = await run("stock", "MUG")

    assert "web/A-1 2 sold" in result.row("web/A-1")
    assert "web/A-2 1 held until" in result.row("web/A-2")
    assert "A-3" not in result.out
    assert "A-4" not in result.out


async def test_only_the_newest_orders_are_named_and_the_rest_counted(shop: Retailer, run: Run) -> None:
    await shop.count({("MUG", "dc"): 50}, at=datetime.now(UTC))
    for number in range(8):
        await shop.allocate(f"A-{number}", {"MUG": 1})

    result = await run("stock", "MUG")

    assert "other orders 3" in result.row("other orders")
    assert "web/A-7" in result.out
    assert "web/A-0" not in result.out


async def test_a_products_sheet_tells_what_is_coming_and_what_cannot_be_sold(shop: Retailer, run: Run) -> None:
    await run("transfer", "dispatch", "T-1", "MUG:3", "--from", "dc", "--to", "store", "--expect", "2030-01-02T09:00Z")
    await shop.sql("INSERT INTO stock_unavailable VALUES ('MUG', 'dc', 'quality_control', 2)")

    result = await run("stock", "MUG")

    assert "store 3 2030-01-02 09:00:00Z T-1" in result.row("T-1")
    assert "dc 2 quality control" in result.row("quality control")


async def test_a_products_sheet_tells_when_an_order_now_leaves(shop: Retailer, run: Run) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).isoweekday()
    works = catalog_pb.WorkingTime(
        opening_days=[DayOfWeek.ValueType(yesterday)], opens=TimeOfDay(hours=8), closes=TimeOfDay(hours=18)
    )
    await shop.locations("store", working_time=works)
    await shop.locations("dc", status=catalog_pb.Location.STATUS_CLOSED)

    result = await run("stock", "MUG")

    assert "not: it is closed" in result.row("dc")
    assert "by 18:00 UTC" in result.row("store")
    assert "today" not in result.row("store")


@pytest.mark.parametrize(
    ("at", "today", "day"),
    [("2026-11-27T16:00Z", True, "2026-11-27"), ("2026-11-27T20:01Z", False, "2026-11-28")],
)
def test_an_order_after_the_cut_off_leaves_the_next_day(at: str, today: bool, day: str) -> None:
    store = Place("austin", "store", time_zone="America/Chicago", cut_off=time(14, 0), closes=time(18, 0))

    leaving = stock_sheet.leaving(store, datetime.fromisoformat(at))

    assert leaving is not None
    assert (leaving.today, str(leaving.day)) == (today, day)


async def test_a_products_sheet_tells_what_a_channel_may_sell(shop: Retailer, run: Run) -> None:
    web = catalog_pb.Channel(channel_id="web", kind=catalog_pb.Channel.KIND_WEB, location_ids=["dc"])
    await shop.catalog.UpsertChannels(catalog_pb.UpsertChannelsRequest(channels=[web]))

    result = await run("stock", "MUG", "--channel", "web")

    assert "The channel may sell 10 units now." in result.out
    assert result.row("dc", "counter").endswith("10 -")
    assert "not one of the channel's locations" in result.row("store")


async def test_a_products_sheet_as_json_is_its_levels_and_more(shop: Retailer, run: Run) -> None:
    order = await shop.allocate("A-1", {"MUG": 2})

    places = {place["location_id"]: place for place in (await run("stock", "MUG", "--channel", "web", "--json")).data}

    assert places["dc"]["on_hand_count"] == 10
    assert places["dc"]["promises"] == [{"allocation_id": order.allocation_id, "order": "web/A-1", "unit_count": 2}]
    assert places["store"]["sellable_count"] == 4
    assert places["store"]["order_now_leaves_today"] is True


async def test_several_products_are_a_list_of_levels(shop: Retailer, run: Run) -> None:
    result = await run("stock", "MUG", "BOWL")

    assert [result.row("BOWL", "dc"), result.row("MUG", "store")] == [
        "BOWL dc 3 0 0 0 3 1 min counter",
        "MUG store 4 0 0 0 4 1 min counter",
    ]
    assert (await run("stock", "MUG", "BOWL", "--channel", "web")).code == 2


async def test_a_product_that_was_never_stocked_says_what_to_do(shop: Retailer, run: Run) -> None:
    result = await run("stock", "CUP")

    assert (result.code, "truestock import stock" in result.out) == (0, True)


async def test_movements_are_listed_with_why(shop: Retailer, run: Run) -> None:
    await shop.allocate("A-1", {"MUG": 2})
    await run("transfer", "dispatch", "T-1", "MUG:3", "--from", "dc", "--to", "store")

    result = await run("movements", "MUG", "--location", "dc")

    assert "transferred out -3 · · · - accepted transfers T-1" in result.row("transferred out")
    assert "allocated · · · +2" in result.row("allocated", "orders")
    assert "counted +10" in result.row("counted")


async def test_the_movements_of_one_order_are_found_by_its_number(shop: Retailer, run: Run) -> None:
    await shop.allocate("A-1", {"MUG": 2})
    await shop.allocate("A-2", {"MUG": 1})

    found = (await run("movements", "--order", "web/A-1", "--json")).data

    assert [(one["kind"], one["allocated_delta"]) for one in found] == [("allocated", 2)]


async def test_a_list_of_movements_that_was_cut_says_so(shop: Retailer, run: Run) -> None:
    result = await run("movements", "--kind", "counted", "--limit", "2")

    assert "The newest 2 movements; there are more" in result.out
    assert "Nothing has moved there." in (await run("movements", "--kind", "shipped")).out


async def test_a_transfer_is_dispatched_received_and_listed(shop: Retailer, run: Run) -> None:
    sent = await run("transfer", "dispatch", "T-1", "MUG:3", "BOWL:1", "--from", "dc", "--to", "store")
    arrived = await run("transfer", "receive", "T-1", "MUG:2")
    open_ = await run("transfer", "list", "--in-transit", "--json")
    settled = await run("transfer", "receive", "T-1", "BOWL:1", "--complete")
    listed = await run("transfer", "list", "--location", "store")

    assert "Transfer T-1 from dc to store: on its way" in sent.out
    assert "T-1 dc store MUG 3 2 1 -" in arrived.row("MUG")
    assert [one["transfer_id"] for one in open_.data] == ["T-1"]
    assert "Transfer T-1 from dc to store: settled" in settled.out
    assert "T-1 dc store MUG 3 2 - 1" in listed.row("MUG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("dispatch", "T-1", "MUG", "--from", "dc", "--to", "store"), "'MUG' is not SKU:UNITS"),
        (("dispatch", "T-1", "MUG:1", "--from", "dc", "--to", "store", "--expect", "soon"), "'soon' is no time"),
        (("receive", "T-1"), "say what arrived"),
    ],
)
async def test_wrong_usage_of_transfers_is_explained(
    shop: Retailer, run: Run, arguments: tuple[str, ...], message: str
) -> None:
    result = await run("transfer", *arguments)

    assert (result.code, result.out) == (2, "")
    assert message in " ".join(result.err.replace("│", " ").split())


async def test_a_transfer_of_too_many_units_is_a_sentence(shop: Retailer, run: Run) -> None:
    result = await run("transfer", "dispatch", "T-1", "MUG:11", "--from", "dc", "--to", "store")

    assert (result.code, result.out) == (1, "")
    assert "has available 10 units of 'MUG' and 11 are asked for" in result.err


@pytest.mark.parametrize(
    "command", [("stock",), ("movements",), ("transfer", "dispatch"), ("transfer", "receive"), ("transfer", "list")]
)
def test_help_comes_with_an_example(command: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command, "--help"])

    assert f"truestock {' '.join(command)} " in capsys.readouterr().out
