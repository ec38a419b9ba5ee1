"""The replay of order files: how lines become orders and cancellations, and the totals of a replay."""

from __future__ import annotations

import asyncio
import itertools
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from policies.stock import oversell
from service.cli.client import FieldViolation, ServiceError, connect
from service.cli.replay.order_export import FileProduct, OrderColumns, OrderFile, quantity_of, read_orders, time_of
from service.cli.replay.order_replay import (
    OrderReplayer,
    ReplayTotals,
    SoldLines,
    UnitsToCancel,
    error_summary,
    group_by_allocation,
    percentile,
    refused_line,
)
from service.cli.replay.replay_provisioning import ProvisioningReport, provision, spread_units
from service.cli.spreadsheets.countries import country_code
from service.cli.spreadsheets.csv_table import CsvError
from service.cli.spreadsheets.decimal_marks import DecimalMark
from service.cli.views.order_replay_view import print_totals
from truestock.v1.catalog_service_pb2 import Channel, Location, UpsertChannelsRequest, UpsertLocationsRequest
from truestock.v1.stock_service_pb2 import ListStockLevelsRequest

COLUMNS = OrderColumns("order", "sku", "units", time="time", price="price", country="country")
HEADER = "order,sku,units,time,price,country,Description\n"


def read(tmp_path: Path, rows: str, cancel_prefix: str = "C", limit: int | None = None) -> OrderFile:
    path = tmp_path / "orders.csv"
    path.write_text(HEADER + rows)
    return read_orders(path, COLUMNS, cancel_prefix=cancel_prefix, excluded_skus=frozenset({"POST", "D"}), limit=limit)


def test_lines_of_one_order_belong_together_wherever_they_stand(tmp_path: Path) -> None:
    file = read(tmp_path, "1,MUG,2,,,,\n2,MUG,1,,,,\n1,BOWL,3,,,,\n")

    assert [(order.order_id, [line.line for line in order.sales]) for order in file.orders] == [
        ("1", [2, 4]),
        ("2", [3]),
    ]


def test_lines_say_where_they_may_ship_from_and_what_with(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text('order,sku,units,only,not,group\n1,MUG,2,"a, b",,set\n1,CUP,1,,c,set\n1,CUP,3,,,\n')
    columns = OrderColumns("order", "sku", "units", only_locations="only", not_locations="not", keep_together="group")

    (order,) = read_orders(path, columns).orders

    assert [(x.only_locations, x.not_locations, x.keep_together) for x in order.sales] == [
        (("a", "b"), (), "set"),
        ((), ("c",), "set"),
        ((), (), ""),
    ]


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffsep=;\r\nOrder;Sku;UNITS;Time;PRICE;Country;description\r\n1;0042;6,0;;12,5;DE;Bolt\r\n",
        'ORDER\tSKU\tUnits\tTIME\tPrice\tCOUNTRY\tDESCRIPTION\n="1"\t="0042"\t6\t\t12.50\tDE\tBolt\n',
        "order;sku;units;time;price;country;Description\n'1;'0042;\xa06 ;;1.012,5;DE;Bolt\n",
    ],
    ids=["BOM, sep=, decimal commas", "tabs, guarded zeros", "apostrophes, NBSP, thousands"],
)
def test_an_order_file_is_read_as_spreadsheets_write_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(content)

    file = read_orders(path, COLUMNS)
    (order,) = file.orders

    assert file.problems == []
    assert (order.order_id, order.country) == ("1", "DE")
    assert [(line.sku, line.unit_count) for line in order.sales] == [("0042", 6)]
    assert file.products["0042"].name == "Bolt"
    assert order.sales[0].price in {Decimal("12.5"), Decimal("1012.5")}


def test_the_mark_of_decimals_in_an_order_file_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("order;sku;units;time;price;country\n1;MUG;2;;1,234;DE\n")

    (order,) = read_orders(path, COLUMNS, decimal=DecimalMark.COMMA).orders
    with pytest.raises(CsvError, match="say which with --decimal"):
        read_orders(path, COLUMNS)

    assert order.sales[0].price == Decimal("1.234")


def test_a_negative_quantity_cancels_also_in_an_order_that_sells(tmp_path: Path) -> None:
    order = read(tmp_path, "1,MUG,2,,,,\n1,BOWL,-3,,,,\n").orders[0]

    assert [line.sku for line in order.sales] == ["MUG"]
    assert [(line.sku, line.unit_count) for line in order.cancellations] == [("BOWL", 3)]


def test_an_order_with_the_cancel_prefix_cancels_whatever_its_sign(tmp_path: Path) -> None:
    order = read(tmp_path, "C1,MUG,2,,,,\nC1,BOWL,-3,,,,\n").orders[0]

    assert not order.sales
    assert [line.unit_count for line in order.cancellations] == [2, 3]


def test_lines_of_excluded_skus_are_left_out_and_counted(tmp_path: Path) -> None:
    file = read(tmp_path, "1,POST,1,,18,,\n1,MUG,1,,,,\nC2,D,-1,,27.5,,\n")

    assert (file.excluded_line_count, file.line_count, list(file.products)) == (2, 3, ["MUG"])
    assert [line.sku for line in file.orders[1].excluded_cancellations] == ["D"]


def test_invalid_lines_are_reported_and_the_others_are_read(tmp_path: Path) -> None:
    rows = (
        "1,MUG,0,,,,\n1,,1,,,,\n1,MUG,two,,,,\n1,MUG,1,someday,,,\n1,MUG,1,,cheap,,\n,MUG,1,,,,\n1,MUG\n1,MUG,5,,,,\n"
    )

    file = read(tmp_path, rows)

    assert [(problem.line, problem.column) for problem in file.problems] == [
        (2, 3), (3, 2), (4, 3), (5, 4), (6, 5), (7, 1), (8, 0),
    ]  # fmt: skip
    assert [line.unit_count for line in file.orders[0].sales] == [5]


def test_a_product_has_the_first_description_and_the_first_price_above_0(tmp_path: Path) -> None:
    file = read(tmp_path, "1,MUG,1,,0,,\n2,MUG,1,,2.55,,Mug\n3,MUG,1,,9,,Other\n")

    assert (file.products["MUG"].name, str(file.products["MUG"].price)) == ("Mug", "2.55")


def test_a_limit_reads_all_lines_of_the_first_orders(tmp_path: Path) -> None:
    file = read(tmp_path, "1,A,1,,,,\n2,A,1,,,,\n1,B,1,,,,\n", limit=1)

    assert [len(order.sales) for order in file.orders] == [2]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("United Kingdom", "GB"), ("EIRE", "IE"), ("USA", "US"), ("gb", "GB"), ("Germany", "DE"), ("RSA", "ZA"),
        ("Channel Islands", None), ("Unspecified", None), ("European Community", None), ("", None),
    ],
)  # fmt: skip
def test_country_names_of_real_order_files_are_recognized(name: str, code: str | None) -> None:
    assert country_code(name) == code


def test_american_and_iso_times_are_both_read() -> None:
    assert time_of("12/1/2010 8:26") == time_of("2010-12-01T08:26:00") == time_of("2010-12-01T09:26:00+01:00")


@pytest.mark.parametrize("text", ["", "1.5", "1e3", "NaN", "0", "9" * 400, "3000000000", "--1"])
def test_invalid_quantities_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="units"):
        quantity_of(text)


def test_a_cancellation_takes_units_of_the_newest_sales_first() -> None:
    sales = SoldLines()
    sales.record("MUG", "first", "2", 6)
    sales.record("MUG", "second", "9", 4)

    assert sales.match_cancellation("MUG", 5) == [UnitsToCancel("second", "9", 4), UnitsToCancel("first", "2", 1)]
    assert sales.match_cancellation("MUG", 50) == [UnitsToCancel("first", "2", 5)]
    assert sales.match_cancellation("MUG", 1) == []


def test_cancellations_of_one_line_are_merged() -> None:
    merged = group_by_allocation([UnitsToCancel("a", "1", 2), UnitsToCancel("b", "1", 1), UnitsToCancel("a", "1", 3)])

    assert [(line.line_id, line.unit_count) for line in merged["a"]] == [("1", 5)]


def test_a_refusal_is_reported_at_the_line_that_caused_it(tmp_path: Path) -> None:
    order = read(tmp_path, "1,A,1,,,,\n2,A,1,,,,\n1,B,1,,,,\n").orders[0]
    refusal = ServiceError("no product 'B'", violations=(FieldViolation("lines[1].sku", "no product 'B'"),))

    assert refused_line(order, refusal) == 4
    assert refused_line(order, ServiceError("no channel 'shop'")) == 2


def test_a_long_refusal_is_shortened_to_one_line() -> None:
    violations = tuple(FieldViolation(f"lines[{place}].sku", f"no product '{place}'") for place in range(9))

    short = error_summary(ServiceError("many\nlines", violations=violations))

    assert short == "no product '0'; no product '1'; no product '2'; and 6 more"


def test_percentiles_are_measured_values() -> None:
    assert percentile([5.0, 1.0, 3.0], 0.5) == 3.0
    assert percentile([5.0, 1.0, 3.0], 0.99) == 5.0
    assert percentile([], 0.5) is None


def test_provisioned_units_are_spread_and_none_is_lost() -> None:
    warehouse = Location(location_id="dc", type=Location.TYPE_WAREHOUSE)
    stores = [Location(location_id=f"store-{letter}", type=Location.TYPE_STORE) for letter in "cab"]

    assert spread_units(101, [warehouse, *stores]) == {"dc": 51, "store-a": 17, "store-b": 17, "store-c": 16}
    assert spread_units(7, stores) == {"store-a": 3, "store-b": 2, "store-c": 2}
    assert spread_units(7, [warehouse]) == {"dc": 7}


ROWS = (
    "1,MUG,4,2010-12-01T08:00,2.5,United Kingdom,Mug\n"
    "1,BOWL,2,2010-12-01T08:00,3,United Kingdom,Bowl\n"
    "2,MUG,3,2010-12-01T07:00,2.5,Atlantis,Mug\n"
    "C3,MUG,-5,2010-12-01T09:00,2.5,France,Mug\n"
    "C4,BOWL,-5,2010-12-01T09:00,3,France,Bowl\n"
    "C5,PLATE,-1,2010-12-01T09:00,3,France,Plate\n"
    "C6,D,-1,,,,Discount\n"
    "7,MUG,0,,,,Mug\n"
)


def replay(
    server: str, file: OrderFile, channel_id: str = "shopify", *, units: int = 100, complete: bool = False
) -> ReplayTotals:
    """Creates a shop, provisions 100 units of each product and replays the file."""

    async def run() -> ReplayTotals:
        async with connect(server) as client:
            locations = [
                Location(location_id="dc", type=Location.TYPE_WAREHOUSE),
                Location(location_id="store-a", type=Location.TYPE_STORE),
            ]
            await client.ask(client.catalog.UpsertLocations, UpsertLocationsRequest(locations=locations))
            channel = Channel(channel_id=channel_id, kind=Channel.KIND_WEB)
            await client.ask(client.catalog.UpsertChannels, UpsertChannelsRequest(channels=[channel]))
            await provision(client, list(file.products.values()), units, complete=complete)
            return await OrderReplayer(client, channel_id).replay(file)

    return asyncio.run(run())


def test_a_file_is_replayed_through_a_service(tmp_path: Path, server_address: str) -> None:
    totals = replay(server_address, read(tmp_path, ROWS)).as_dict()

    assert {key: totals[key] for key in ("orders", "lines", "answered", "errors")} == {
        "orders": 7, "lines": 8, "answered": 6, "errors": 1,
    }  # fmt: skip
    assert (totals["units_sold"], totals["units_allocated"], totals["units_cancelled"]) == (9, 9, 7)
    assert (totals["nothing_to_cancel"], totals["partly_cancelled"], totals["excluded_lines"]) == (2, 1, 1)
    assert (totals["unknown_countries"], totals["duplicate_orders"]) == (1, 0)


def test_a_file_that_is_replayed_twice_sells_once(tmp_path: Path, server_address: str) -> None:
    first = replay(server_address, read(tmp_path, ROWS)).as_dict()
    allocated = _allocated(server_address)

    second = replay(server_address, read(tmp_path, ROWS)).as_dict()

    same = [key for key in first if key not in ("duplicate_orders", "p50_ms", "p99_ms", "seconds")]
    assert {key: second[key] for key in same} == {key: first[key] for key in same}
    assert second["duplicate_orders"] == 2
    assert _allocated(server_address) == allocated == 2


def test_units_that_a_rule_blocks_are_not_oversold_and_complete_products_are_not_blocked(
    tmp_path: Path, server_address: str
) -> None:
    blocked = replay(server_address, read(tmp_path, "T-1,LAMP,60,,,,\n"), "tiktok_shop")
    complete = replay(server_address, read(tmp_path, "T-2,VASE,120,,,,\n"), "tiktok_shop", complete=True)

    assert (blocked.units_withheld, blocked.units_oversold) == (60, 0)
    assert dict(blocked.short_by_reason) == {"blocked_by_rule no-picture-for-tiktok, not-ready-for-tiktok": 60}
    assert complete.units_withheld == 0
    assert complete.short_by_reason["not_told"] == complete.units_oversold == 20
    assert _provisioned(server_address, "LAMP", complete=True).incomplete_products == 1
    assert _provisioned(server_address, "LAMP").incomplete_products == 0
    assert _provisioned(server_address, "VASE", complete=True).incomplete_products == 0
    assert _rows_after("in stock, but kept by a buffer or a block", blocked) == [
        "blocked by rule no-picture-for-tiktok, not-ready-for-tiktok 60"
    ]
    assert _rows_after("oversold: no permitted location has them", complete) == [
        "not told: no figure was published to the channel 20"
    ]


def test_products_that_stay_incomplete_are_named() -> None:
    console = Console(width=400, file=StringIO())
    report = ProvisioningReport(products=0, counts=0, duplicate_counts=7, incomplete_products=1)
    print_totals(console, ReplayTotals(), report)

    assert "1 product existed before without weight, size or picture." in console.file.getvalue()  # type: ignore[attr-defined]


def test_every_cause_of_an_oversell_is_explained_in_the_summary() -> None:
    totals = ReplayTotals()
    totals.short_by_reason.update(dict.fromkeys(oversell.CAUSES, 1))

    assert len(_rows_after("oversold: no permitted location has them", totals)) == len(oversell.CAUSES)


def _rows_after(heading: str, totals: ReplayTotals) -> list[str]:
    """The indented rows below the row with this heading."""
    console = Console(width=100, file=StringIO())
    print_totals(console, totals, None)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    start = next(number for number, line in enumerate(lines) if heading in line) + 1
    return [
        " ".join(line.split()) for line in itertools.takewhile(lambda line: line.startswith("     "), lines[start:])
    ]


def _provisioned(server: str, sku: str, *, complete: bool = False) -> ProvisioningReport:
    async def run() -> ProvisioningReport:
        async with connect(server) as client:
            return await provision(client, [FileProduct(sku, "", None)], 60, complete=complete)

    return asyncio.run(run())


def _allocated(server: str) -> int:
    async def run() -> int:
        async with connect(server) as client:
            page = await client.ask(client.stock.ListStockLevels, ListStockLevelsRequest())
            return sum(level.allocated_count for level in page.stock_levels)

    return asyncio.run(run())
