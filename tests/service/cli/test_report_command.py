"""`truestock report`: tables, CSV, JSON, and what it refuses."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.service.cli.test_cli import Result, run, shop

__all__ = ["run", "shop"]

Ask = Callable[..., Result]


@pytest.fixture
def sold(shop: Ask) -> Ask:
    """A shop that has sold 3 bowls of which there was 1, and 2 mugs."""
    lines = ("--line", "BOWL:3@1200", "--line", "MUG:2", "--currency", "JPY")
    result = shop("allocate", "--channel", "shopify", "--order", "1", "--sold", *lines)
    assert result.code in (0, 1), result.err
    return shop


def test_a_report_is_a_table_csv_or_json(sold: Ask) -> None:
    table = sold("report", "--since", "1h", "--by", "channel", "--step", "hour").out
    rows = list(csv.DictReader(io.StringIO(sold("report", "--since", "1h", "--by", "channel", "--csv").out)))
    data: dict[str, Any] = sold("report", "--since", "1h", "--time-zone", "America/Chicago", "--json").data

    oversells = sold("report", "--since", "1h", "--oversells").out

    assert re.search(r"BOWL +shopify/1 +2 +channel was told no figure +telling the channel a figure", oversells)
    assert "Oversold units" in table
    assert "40.0%  2 of 5 units sold" in table
    assert "per 100  " in table
    assert "channel was told no figure 2" in table
    assert "40.0% (2/5)" in table.split("shopify")[-1]
    (oversell,) = [x for x in rows if (x["key"], x["rate"], x["part"]) == ("shopify", "oversell", "")]
    assert (oversell["count"], oversell["total_count"], oversell["order_count"]) == ("2", "5", "1")
    assert re.search(r"Oversold +2 +2,400 JPY", table)
    (value,) = [x for x in rows if (x["key"], x["rate"]) == ("shopify", "oversold_value")]
    assert (value["count"], value["value"], value["currency"]) == ("2", "2400", "JPY")
    assert [x["value"]["currency_code"] for x in data["values"]] == ["JPY"]
    assert data["time_zone"] == "America/Chicago"
    assert data["figures"][0]["parts"] == [{"name": "not_told", "count": 2, "order_count": 1}]


def test_the_page_of_a_report_has_words_tables_and_plots_and_asks_nothing_of_the_network(
    sold: Ask, tmp_path: Path
) -> None:
    file = tmp_path / "report.html"
    result = sold("report", "--since", "2h", "--html", str(file))
    page = file.read_text()

    assert result.code == 0, result.err
    assert "<td>shopify</td><td>40.0% (2 of 5)</td>" in page
    assert "2 of 5 units sold" in page
    assert "<td>2,400 JPY (2 units)</td>" in page
    assert "nothing to compare with" in page
    assert "telling the channel a figure of this product" in page
    assert page.count('role="img"') >= 1
    assert page.count("<svg") == page.count("</svg>") >= 1
    assert not re.search(r"<script|<link|<img|src=|@import|url\((?!#)|href=\"(?!#)", page)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--channel", "shopfy"], "shopify"),
        (["--since", "2099-01-01T00:00:00Z"], "in the future"),
        (["--since", "900d"], "more than 400 days"),
        (["--by", "chanel"], "did you mean 'channel'?"),
        (["--step", "minute"], "is none of: hour, day, week, month"),
        (["--time-zone", "Chicago"], "'Chicago' is not an IANA time zone"),
        (["--csv", "--json"], "choose one"),
        (["--oversells", "--location", "dc"], "goes with channel_ids only"),
        (["--html", "/nowhere/report.html"], "/nowhere"),
    ],
)
def test_a_report_that_makes_no_sense_says_what_to_ask_for(shop: Ask, arguments: list[str], message: str) -> None:
    result = shop("report", *arguments)

    assert result.code != 0
    assert message in result.err + result.out
