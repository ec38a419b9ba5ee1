"""Reading of files to import: valid rows become messages, invalid ones problems."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from service.cli.files.csv_export import CsvWriter
from service.cli.files.file_kinds import KINDS
from service.cli.files.import_file import ImportFile, read_import
from service.cli.spreadsheets.csv_table import CsvError
from service.cli.spreadsheets.decimal_marks import DecimalMark
from truestock.v1.catalog_service_pb2 import Channel, Feed, Location, Product
from truestock.v1.stock_service_pb2 import StockChange


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "file.csv"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def problems(path: Path, kind: str) -> list[str]:
    """The problems of a bad file, without its folder."""
    with pytest.raises(CsvError) as caught:
        read_import(path, kind)
    return [str(problem).replace(str(path), path.name) for problem in caught.value.problems]


def product(file: ImportFile, position: int = 0) -> Product:
    message = file.records[position].message
    assert isinstance(message, Product)
    return message


def test_a_location_is_read_with_all_its_columns(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "location_id,type,tags,country,latitude,longitude,time_zone,offers_pickup,priority,ships_to\n"
        "store-austin,store,street|large,United States,30.25,-97.75,America/Chicago,yes,20,US|CA\n",
    )

    location = read_import(path, "locations").records[0].message

    assert isinstance(location, Location)
    assert (location.type, location.country, location.offers_pickup) == (Location.TYPE_STORE, "US", True)
    assert (list(location.tags), list(location.ships_to.countries)) == (["street", "large"], ["US", "CA"])
    assert (location.coordinates.latitude, location.priority) == (30.25, 20)


def test_a_channels_platform_must_be_a_supported_one(tmp_path: Path) -> None:
    good = write(tmp_path, "channel_id,kind,platform\ntiktok,social,tiktok_shop\npos,pos,\n")
    platforms = [record.message.platform for record in read_import(good, "channels").records]  # type: ignore[attr-defined]
    bad = problems(write(tmp_path, "channel_id,kind,platform\ntiktok,social,tik_tok_shop\n"), "channels")

    assert platforms == ["tiktok_shop", ""]
    assert "did you mean 'tiktok_shop'?" in bad[0]


def test_a_channel_says_how_long_an_order_may_wait_for_payment(tmp_path: Path) -> None:
    good = write(tmp_path, "channel_id,kind,unpaid_order_minutes\ntiktok,social,2880\npos,pos,\n")
    slow, unknown = (record.message for record in read_import(good, "channels").records)
    bad = problems(write(tmp_path, "channel_id,kind,unpaid_order_minutes\ntiktok,social,4321\n"), "channels")

    assert isinstance(slow, Channel)
    assert isinstance(unknown, Channel)
    assert slow.unpaid_order_duration.ToTimedelta() == timedelta(hours=48)
    assert not unknown.HasField("unpaid_order_duration")
    assert "4,320" in bad[0]


def test_a_location_that_ships_nowhere_differs_from_one_that_ships_everywhere(tmp_path: Path) -> None:
    path = write(tmp_path, "location_id,type,ships_to\na,store,none\nb,store,\n")

    nowhere, everywhere = (record.message for record in read_import(path, "locations").records)

    assert isinstance(nowhere, Location)
    assert isinstance(everywhere, Location)
    assert nowhere.HasField("ships_to")
    assert not everywhere.HasField("ships_to")


HEADERS = {
    "locations": ("LOCATION_ID;Type;Latitude;LONGITUDE", "dc;STORE;35,15;-90,05"),
    "products": ("Sku;Display Name;PRICE", "0012;Bolt;12,5"),
    "channels": ("Channel_Id;KIND;Cancellation-Headroom", "web;Web;0,5"),
    "pools": ("Pool ID;LOCATION_IDS", "west;dc|0012"),
    "outlets": ("channel_id;Outlet-Id;Pool_id", "web;0012;west"),
    "feeds": ("SOURCE;Role;Skus", "till;Owner;0012"),
    "stock": ("SKU;Location_ID;On Hand Count", "0012;dc;5"),
}


@pytest.mark.parametrize("kind", HEADERS)
@pytest.mark.parametrize(
    "form",
    [
        "{header}\n{row}\n",
        "\ufeffsep=;\r\n{header}\r\n{row}\r\n",
        '"sep=;"\n{header}\n{row}\n',
        "{header};\n\xa0{row} \n",
    ],
    ids=["letter case and decimal commas", "BOM, sep= and CRLF", "quoted sep=", "NBSP and spaces"],
)
def test_every_table_is_read_as_spreadsheets_write_it(tmp_path: Path, kind: str, form: str) -> None:
    header, row = HEADERS[kind]
    columns = [re.sub("[ -]", "_", name.lower()) for name in header.split(";")]
    cells = [re.sub(r"(\d),(\d)", r"\1.\2", cell).lower() if cell != "Bolt" else cell for cell in row.split(";")]
    plain = write(tmp_path, f"{','.join(columns)}\n{','.join(cells)}\n")
    expected = read_import(plain, kind).records[0].message

    file = read_import(write(tmp_path, form.format(header=header, row=row)), kind)

    assert file.records[0].message == expected


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_guarded_zeros_are_read_as_the_value_that_they_guard(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ["sku", "display_name", "barcode", "weight_grams", "length_mm", "width_mm", "height_mm"],
        ['"=""0012"""', "'s-Hertogenbosch", '="0471"', *['="10"'] * 4],
        ["'0013", "'90", "'0472", *["'10"] * 4],
        ["''0014", "Ann's", "", *[""] * 4],
    ]
    path = write(tmp_path, "\n".join(delimiter.join(row) for row in rows) + "\n")

    products = [product(read_import(path, "products"), position) for position in range(3)]

    assert [item.sku for item in products] == ["0012", "0013", "'0014"]
    assert [item.display_name for item in products] == ["'s-Hertogenbosch", "90", "Ann's"]
    assert [item.barcode for item in products] == ["0471", "0472", ""]
    assert [item.dimensions.weight_grams for item in products] == [10, 10, 0]


@pytest.mark.parametrize(
    ("cells", "decimal", "expected"),
    [
        (["12,5", "1,234"], None, ["12.5", "1.234"]),
        (["0,125"], None, ["0.125"]),
        (["1.234,5", "7"], None, ["1234.5", "7"]),
        (["1,234.5", "7.25"], None, ["1234.5", "7.25"]),
        (["1.234", "1.5"], None, ["1.234", "1.5"]),
        (["1.234"], DecimalMark.POINT, ["1.234"]),
        (["1,234"], DecimalMark.COMMA, ["1.234"]),
        (["12"], DecimalMark.COMMA, ["12"]),
    ],
)
def test_decimal_commas_are_read_where_they_are_unambiguous(
    tmp_path: Path, cells: list[str], decimal: DecimalMark | None, expected: list[str]
) -> None:
    rows = "".join(f"S{number};{cell}\n" for number, cell in enumerate(cells))

    file = read_import(write(tmp_path, f"sku;price\n{rows}"), "products", decimal=decimal)

    assert [
        Decimal(product(file, place).price.units) + Decimal(product(file, place).price.nanos) / 10**9
        for place in range(len(cells))
    ] == [Decimal(cell) for cell in expected]


@pytest.mark.parametrize(
    ("cell", "decimal", "problem"),
    [("12.50", DecimalMark.COMMA, "writes decimals with a comma"), ("1,234", DecimalMark.POINT, "is not a price")],
)
def test_a_number_with_the_other_mark_is_refused(tmp_path: Path, cell: str, decimal: DecimalMark, problem: str) -> None:
    with pytest.raises(CsvError, match=problem):
        read_import(write(tmp_path, f"sku;price\nA;{cell}\n"), "products", decimal=decimal)


@pytest.mark.parametrize(
    "entries", [["A|B", "C"], ["A\\", "B"], ["\\|"], ["A\\|B\\\\"], ["'0012", "0013"], ['="1"']], ids=str
)
def test_a_list_inside_a_cell_may_have_bars_and_backslashes(tmp_path: Path, entries: list[str]) -> None:
    feed = Feed(source="till", role=Feed.ROLE_OWNER, skus=entries)
    stream = io.StringIO()
    CsvWriter(KINDS["feeds"], stream).write([feed])

    (record,) = read_import(write(tmp_path, stream.getvalue()), "feeds").records

    assert isinstance(record.message, Feed)
    assert list(record.message.skus) == entries


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfsku,display_name\r\nMUG,Caf\xc3\xa9\r\n",
        "sku;display_name\nMUG;Café\n".encode(),
        "sku\tdisplay_name\nMUG\tCafé\n".encode(),
        "sku,display_name\nMUG,Café\n".encode("utf-16"),
        '\n\n"display_name","sku"\n"Café","MUG"'.encode(),
    ],
    ids=["byte order mark and CRLF", "semicolons", "tabs", "UTF-16", "quotes, other order, no last line break"],
)
def test_files_as_spreadsheets_export_them_are_read(tmp_path: Path, content: bytes) -> None:
    message = product(read_import(write(tmp_path, content), "products"))

    assert (message.sku, message.display_name) == ("MUG", "Café")


def test_lines_are_counted_as_in_the_file_also_after_quoted_line_breaks(tmp_path: Path) -> None:
    path = write(tmp_path, 'sku,display_name,price\nMUG,"two\r\nlines",2.50\n\nBOWL,Bowl,dear\n')

    assert problems(path, "products") == [
        "file.csv:2:2: display_name: 'two\\r\\nlines' has control characters, remove them",
        "file.csv:5:3: price: 'dear' is not a price, write it such as 2.55, without currency sign or thousands mark",
    ]


def test_all_problems_of_a_file_are_reported_at_once(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "sku,price,height_mm,velocity_per_day,status\n,1,,,\nA,nan,,inf,\nB,-1,5,,activ\nC,1,5,,active\nD,1\nC,1,,,\n",
    )

    assert problems(path, "products") == [
        "file.csv:2:1: sku: is empty, fill it in",
        "file.csv:3:2: price: 'nan' is not a price, write it such as 2.55, without currency sign or thousands mark",
        "file.csv:3:4: velocity_per_day: 'inf' is not a number, write it such as 35.15",
        "file.csv:4:5: status: 'activ' is not a valid value, did you mean 'active'?",
        "file.csv:4:2: price: the price -1 is below 0, leave it empty if there is no price",
        (
            "file.csv:5: only some dimensions are given, fill in weight_grams, length_mm, width_mm too, "
            "or the weight alone"
        ),
        "file.csv:6: this row has 2 cells, the header has 5, quote cells that contain ','",
        "file.csv:7:1: sku: product 'C' is already in line 5, remove one of the two rows",
    ]


@pytest.mark.parametrize(
    ("content", "kind", "expected"),
    [
        ("", "products", "file.csv:1: the file is empty, start it with a header: sku"),
        ("sku\n", "products", "file.csv:1: the file has a header but no rows, add a row for each product"),
        ("skus\nMUG\n", "products", "file.csv:1:1: there is no column 'sku', did you mean 'skus'?"),
        ("sku,Sku\nMUG,MUG\n", "products", "file.csv:1:2: column 'sku' appears twice, remove one of them"),
        (
            "location_id,type\nStore Austin,store\n",
            "locations",
            "file.csv:2:1: location_id: 'Store Austin' is not an id such as 'store-austin', use lower-case letters",
        ),
        ("sku,price\nA,12,50\n", "products", "file.csv:2: this row has 3 cells, the header has 2"),
        (
            'sku,price\nA,"1,234"\n',
            "products",
            "file.csv:2: these numbers may have decimals after the comma, or thousands before it, say which",
        ),
        ("sku;price\nA;1.234\n", "products", "file.csv:2: these numbers may have decimals after the point, or"),
        ("sep=;\nsku;prize\n", "products", "file.csv:2:2: unknown column 'prize', did you mean 'price'?"),
        (
            "sku;price\nA;12,50\nB;2.5\n",
            "products",
            "file.csv:2: this file has decimals with a comma and with a point, say which with --decimal comma",
        ),
        ("sku,prize\nMUG,1\n", "products", "file.csv:1:2: unknown column 'prize', did you mean 'price'?"),
        ("sku,sku\nMUG,1\n", "products", "file.csv:1:1: column 'sku' appears twice, rename one of them"),
        (b"sku\nA\nCaf\xe9\n", "products", "file.csv:3: byte 0xE9 is not UTF-8, save the file as UTF-8, or name its"),
        (
            'sku,brand\nMUG,"open\n',
            "products",
            "file.csv:2: this row cannot be read (unexpected end of data), correct the",
        ),
        (
            "location_id,type,time_zone\na,store,America/Chicgo\n",
            "locations",
            "file.csv:2:3: time_zone: 'America/Chicgo' is not a time zone, did you mean 'America/Chicago'?",
        ),
        (
            "location_id,type,latitude\na,store,91\n",
            "locations",
            "file.csv:2:3: latitude: 91 is not between -90 and 90, correct the number",
        ),
        (
            "sku,location_id,on_hand_count,counted_at\nMUG,a,1,2026-11-27T09:00\n",
            "stock",
            "file.csv:2:4: counted_at: '2026-11-27T09:00' has no time zone, add Z for UTC or an offset",
        ),
        (
            # What some programs write for a time that they do not have.
            "sku,location_id,on_hand_count,counted_at\nMUG,a,1,0001-01-01T00:00:00Z\n",
            "stock",
            "file.csv:2:4: counted_at: '0001-01-01T00:00:00Z' is not between the years 1970 and 9999 in UTC, correct",
        ),
        (
            "sku,location_id,on_hand_count,unavailable_count\nMUG,a,1,2\n",
            "stock",
            "file.csv:2: unavailable_count is above on_hand_count, count unavailable units in both",
        ),
    ],
)
def test_a_bad_file_is_reported_with_line_problem_and_help(
    tmp_path: Path, content: str | bytes, kind: str, expected: str
) -> None:
    assert problems(write(tmp_path, content), kind)[0].startswith(expected)


def test_a_missing_file_is_reported_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Exception, match=re.escape("nowhere.csv: cannot be read: No such file or directory")):
        read_import(tmp_path / "nowhere.csv", "products")


def test_the_message_about_a_thousand_problems_lists_the_first_hundred(tmp_path: Path) -> None:
    path = write(tmp_path, "sku,price\n" + "".join(f"S{number},x\n" for number in range(1_000)))

    with pytest.raises(CsvError) as caught:
        read_import(path, "products")

    assert len(caught.value.problems) == 1_000
    assert str(caught.value).endswith("\n… and 900 more")


@pytest.mark.long
def test_a_hundred_thousand_counts_are_read(tmp_path: Path) -> None:
    rows = "".join(f"SKU-{number},store-a,{number}\n" for number in range(100_000))

    file = read_import(write(tmp_path, "sku,location_id,on_hand_count\n" + rows), "stock")

    assert len(file.records) == 100_000
    assert (last := file.records[-1]).line == 100_001
    assert isinstance(last.message, StockChange)
    assert last.message.count.on_hand_count == 99_999
