"""`truestock feeds` and `truestock import feeds`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.cli.main import app
from service.cli.spreadsheets.csv_table import CsvError

LOCATIONS = "location_id,type\ndc,warehouse\nannex,warehouse\n"
FEEDS = (
    "source,role,basis,open_orders,location_ids,skus,cadence_minutes,tolerance_units\n"
    "wms,owner,,,dc|annex,,60,\n"
    "erp,observer,available,net,,MUG,,2\n"
)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def test_feeds_are_imported_and_listed_and_own_the_stock(server_address: str, tmp_path: Path) -> None:
    for name, content in (("locations", LOCATIONS), ("products", "sku\nMUG\n"), ("feeds", FEEDS)):
        (tmp_path / f"{name}.csv").write_text(content)
        imported = run("import", name, str(tmp_path / f"{name}.csv"), "--server", server_address)
        assert imported.exit_code == 0, imported.output

    (tmp_path / "stock.csv").write_text("sku,location_id,on_hand_count\nMUG,dc,4\n")
    counted = run("import", "stock", str(tmp_path / "stock.csv"), "--server", server_address)
    listed = run("feeds", "--server", server_address)
    declared = json.loads(run("feeds", "--json", "--server", server_address).stdout)

    assert "1 figure was only compared" in counted.stdout
    assert "import with --source and the owner's name" in " ".join(counted.stdout.split())
    assert "owner" in listed.stdout
    assert "annex, dc" in listed.stdout
    assert [feed["source"] for feed in declared] == ["erp", "wms"]
    assert (declared[0]["open_orders"], declared[1]["cadence_minutes"]) == ("OPEN_ORDERS_NET", 60)


def test_a_feed_that_owns_a_product_of_another_owner_is_refused_by_line(server_address: str, tmp_path: Path) -> None:
    rival = tmp_path / "rival.csv"
    rival.write_text("source,role,skus\nwms,owner,MUG\nerp,owner,BOWL|MUG\n")

    refused = run("import", "feeds", str(rival), "--server", server_address)

    with pytest.raises(CsvError, match=r"rival\.csv:3:1.*would own stock that feed 'wms' already owns"):
        raise refused.exception or AssertionError(refused.output)


def test_without_declared_feeds_the_list_says_what_sources_report(server_address: str) -> None:
    assert "every source reports units on hand" in run("feeds", "--server", server_address).stdout
