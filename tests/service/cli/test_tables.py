"""Tables of the command line at the width of a terminal: every word whole, no line too long."""

from __future__ import annotations

import json
import re
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from service.cli.console import add_row, new_table
from service.cli.tables import short_id
from tests.service.cli.test_cli import Run, run

__all__ = ["run"]

ID, OTHER_ID = "01a21a4a-bafc-77ab-8663-f51fadddaea6", "01a21a4a-bafc-77ab-8663-f52058dea963"
SENTENCE = "held back by the buffer rule two-on-the-shop-floor, which keeps two units of each product in stores"
ORDER = "web_catalog/576461413038785752"

SHOP = {
    "locations": "location_id,type,country\ndistribution-center-memphis,warehouse,US\nstore-los-angeles,store,US\n",
    "channels": "channel_id,kind\nweb_catalog,web\n",
    "products": "sku,display_name,velocity_per_day\nTRN-1205-MOS-590ML,Tumbler,11.75\nBOWL,Bowl,2\n",
    "pools": "pool_id,display_name,location_ids\nall,Everywhere,distribution-center-memphis|store-los-angeles\n",
    "outlets": "channel_id,outlet_id,pool_id\nweb_catalog,gid://shopify/Location/905684977,all\n",
    "feeds": "source,role,location_ids\nwarehouse-management-system,observer,distribution-center-memphis\n",
    "stock": (
        "sku,location_id,on_hand_count\nTRN-1205-MOS-590ML,distribution-center-memphis,40\n"
        "TRN-1205-MOS-590ML,store-los-angeles,12\nBOWL,store-los-angeles,3\n"
    ),
}
LISTS = [
    "orders",
    "shipments --all",
    "exceptions",
    "exceptions show {exception}",
    f"explain {ORDER}",
    "stock",
    "stock TRN-1205-MOS-590ML --channel web_catalog",
    "movements",
    "transfer list",
    "pools",
    "outlets",
    "feeds",
    "policies",
    "facts",
    "availability TRN-1205-MOS-590ML BOWL --channel web_catalog --locations",
]


def printed(width: int, *rows: tuple[object, ...], columns: tuple[str, ...]) -> list[str]:
    table = new_table(*columns, numbers=("units",))
    for row in rows:
        add_row(table, *row)
    output = StringIO()
    Console(width=width, file=output).print(table)
    return [line.rstrip() for line in output.getvalue().splitlines() if line.strip()]


def test_a_table_that_fits_has_one_line_for_each_row_with_whole_ids() -> None:
    lines = printed(80, ("store-austin", 2, ID), columns=("location", "units", "shipment"))

    assert [line.split() for line in lines[::2]] == [["location", "units", "shipment"], ["store-austin", "2", ID]]


def test_ids_that_do_not_fit_are_cut_to_their_ends_which_differ() -> None:
    lines = printed(50, ("store-austin", 2, ID), ("store-austin", 1, OTHER_ID), columns=("at", "units", "shipment"))

    assert [line.split() for line in lines[2:]] == [
        ["store-austin", "2", "adddaea6"],
        ["store-austin", "1", "58dea963"],
    ]


def test_ids_stay_whole_where_two_of_them_would_look_alike() -> None:
    alike = ID.replace("bafc", "bafd")

    lines = printed(
        60, ("store-los-angeles", 2, ID), ("store-los-angeles", 1, alike), columns=("at", "units", "shipment")
    )

    assert f"{ID}\n" in "\n".join(lines) + "\n"
    assert alike in "\n".join(lines)


def test_a_row_that_does_not_fit_takes_two_lines_with_all_values_in_the_order_of_the_headings() -> None:
    lines = printed(40, ("store-los-angeles", ORDER, 2, "open"), columns=("location", "order", "units", "state"))

    assert lines == [
        "location",
        "  order                           units",
        "  state",
        "───────────────────────────────────────",
        "store-los-angeles",
        f"  {ORDER}      2",
        "  open",
    ]


def test_a_row_that_would_take_many_lines_has_a_line_for_each_value() -> None:
    lines = printed(
        30, ("store-los-angeles", ORDER, 2, "open", SENTENCE), columns=("location", "order", "units", "state", "reason")
    )

    assert lines[:5] == ["location  store-los-angeles", "order", f"  {ORDER[:28]}", f"  {ORDER[28:]}", "units     2"]
    assert " ".join(" ".join(lines[6:]).split()) == f"reason {SENTENCE}"


def test_sentences_wrap_between_words_only() -> None:
    lines = printed(70, ("BOWL", SENTENCE, ID), columns=("SKU", "reason", "shipment"))

    assert set(SENTENCE.split()) <= set(" ".join(lines).split())
    assert max(map(len, lines)) <= 70


@pytest.fixture
def shop(run: Run, server_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A shop with long names, an order with a shipment, one with exceptions, and a transfer."""
    monkeypatch.setenv("TRUESTOCK_SERVER", server_address)
    for name, content in SHOP.items():
        (tmp_path / f"{name}.csv").write_text(content)
        assert run("import", name, str(tmp_path / f"{name}.csv")).code == 0
    for order, units in ((ORDER, 2), (f"{ORDER}9", 99)):
        sale = ("--order", order.partition("/")[2], "--line", f"TRN-1205-MOS-590ML:{units}", "--sold")
        assert run("allocate", "--channel", "web_catalog", *sale, "--country", "US").code == 0
    stock = ("BOWL:1", "--from", "store-los-angeles", "--to", "distribution-center-memphis")
    assert run("transfer", "dispatch", "T-2026-11-27-BOWLS-TO-MEMPHIS", *stock).code == 0
    return run


def test_every_list_fits_the_terminal_and_breaks_no_word(shop: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    exception = json.loads(shop("exceptions", "--json").out)[0]["exception_id"]
    for command in LISTS:
        arguments = [word.format(exception=exception) for word in command.split()]
        monkeypatch.delenv("COLUMNS", raising=False)
        whole = printed_by(shop, arguments)
        narrow_ones = []
        for width in (80, 40):
            monkeypatch.setenv("COLUMNS", str(width))
            narrow_ones.append((width, printed_by(shop, arguments)))
        monkeypatch.delenv("COLUMNS")
        # What the service finds out meanwhile, such as how the tests of its rules end, is not in all of them.
        lasting = set(re.findall(r"[^\s─]+", whole)) & set(re.findall(r"[^\s─]+", printed_by(shop, arguments)))
        # Numbers are left out, because an age may rise.
        words = {word for word in lasting if not re.fullmatch(r"[0-9.:-]+Z?", word)}
        for width, narrow in narrow_ones:
            assert max(map(len, narrow.splitlines())) <= width, narrow
            missing = {word for word in words if word not in narrow and short_id(word) not in narrow.split()}
            assert not {word for word in missing if len(word) <= width - 2}, narrow


def printed_by(shop: Run, arguments: list[str]) -> str:
    result = shop(*arguments)
    assert result.code == 0, result.err
    assert len(result.out.splitlines()) > 2, result.out
    return result.out
