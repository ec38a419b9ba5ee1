"""The command line: output, exit codes and error messages."""

from __future__ import annotations

import csv
import json
import re
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.main import get_command

from service.cli.files.file_kinds import KINDS
from service.cli.main import app, main

COMMANDS = [
    "serve", "check", "migrate", "verify-ledger", "import", "availability", "allocate", "confirm",
    "pickup-locations", "release", "cancel",
    "stock", "explain", "policies", "replay-orders", "extend", "replay-decision", "orders", "release-hold",
    "forget-order",
    "exceptions", "locations", "products", "channels", "tags", "categories", "export", "report", "readiness",
]  # fmt: skip
SOME_ID = "0190a6a2-7a3c-7c1e-9d7e-0242ac120002"


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs one command as the shell would."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.delenv("TRUESTOCK_SERVER", raising=False)

    def run_main(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        captured = capsys.readouterr()
        code = caught.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    return run_main


@pytest.fixture
def shop(run: Run, server_address: str, tmp_path: Path) -> Callable[..., Result]:
    """Imports a shop with `truestock import`; returns a function that runs commands against it."""
    return imported_shop(SHOP, run, server_address, tmp_path)


def imported_shop(files: Mapping[str, str], run: Run, server: str, folder: Path) -> Callable[..., Result]:
    """Imports these files, by the kind of their records; returns a function that runs commands against the server."""

    def ask(*arguments: str) -> Result:
        return run(*arguments, "--server", server)

    import_files(files, ask, folder)
    return ask


def import_files(files: Mapping[str, str], ask: Callable[..., Result], folder: Path) -> None:
    """Imports these files, by the kind of their records."""
    for name, content in files.items():
        path = folder / f"{name}.csv"
        path.write_text(content)
        result = ask("import", name, str(path))
        assert result.code == 0, result.err


SHOP = {
    "locations": "location_id,type,country,offers_pickup\ndc,warehouse,US,no\nstore-a,store,US,yes\n",
    "channels": "channel_id,kind\nshopify,web\n",
    "products": "sku,display_name,price\nMUG,[red]Mug,12.50\nBOWL,Bowl,20\n",
    "stock": "sku,location_id,on_hand_count\nMUG,dc,10\nMUG,store-a,4\nBOWL,dc,1\n",
}

WITHOUT_DC = """
kind: routing
policies:
  - name: without-dc
    position: 100
    rank: [fewest_shipments, priority]
    exclude:
      - {name: no-dc, when: {location.id: dc}}
    otherwise: exception
"""


@pytest.mark.parametrize("kind", KINDS)
def test_the_help_of_an_import_lists_the_columns_of_its_own_file(run: Run, kind: str) -> None:
    result = run("import", kind, "--help")

    columns = result.out.partition("Columns:")[2].partition("Arguments")[0]
    shown = set(re.findall(r"^ *(\w+)(?: \(required\))?: \w", columns, re.MULTILINE))
    assert shown == {column.name for column in KINDS[kind].columns}
    assert f"truestock import {kind} " in result.out


def test_the_catalog_is_listed_by_filters_as_a_table_as_json_and_as_csv(shop: Run, tmp_path: Path) -> None:
    path = tmp_path / "tagged.csv"
    path.write_text("sku,tags,category,brand\nTENT,bulky|a|b,tents,T\nPEG,small,tents,P\n")
    shop("import", "products", str(path))

    stores = shop("locations", "--type", "store", "--country", "us", "--json").data
    tents = shop("products", "--category", "tents", "--tag", "bulky", "--tag", "c", "--csv").out
    tags, categories = shop("tags", "--csv").out, shop("categories").out
    cut = shop("products", "--limit", "1")

    assert [location["location_id"] for location in stores] == ["store-a"]
    assert [line.split(",")[0] for line in tents.splitlines()] == ["sku", "TENT"]
    assert tags.splitlines() == ["tag,locations,products", "a,0,1", "b,0,1", "bulky,0,1", "small,0,1"]
    assert ["tents", "2"] in [line.split() for line in categories.splitlines()]
    assert [channel["channel_id"] for channel in shop("channels", "--kind", "web", "--json").data] == ["shopify"]
    assert shop("channels", "--kind", "b2b", "--json").data == []
    assert "Only the first 1 entry" in cut.err


def test_products_that_a_channel_cannot_list_are_shown_and_written_for_whoever_mends_them(
    shop: Run, tmp_path: Path
) -> None:
    path = tmp_path / "products.csv"
    path.write_text(
        "sku,display_name,price,weight_grams,images\nMUG,[red]Mug,12.50,300,https://x/a.jpg 900x900\nBOWL,=Bowl,20,,\n"
    )
    shop("import", "products", str(path))
    path.write_text("channel_id,kind,platform\nshopify,web,shopify\nb2b,b2b,\n")
    shop("import", "channels", str(path))

    table = shop("products", "check", "--channel", "shopify", "--csv", str(path))
    ready = shop("products", "check", "MUG", "--channel", "shopify")
    as_json = shop("products", "check", "--channel", "shopify", "--json", "--limit", "1")

    assert (table.code, ready.code, as_json.code) == (1, 0, 1)
    assert re.search(r"BOWL +=Bowl +images +are not there +catalog-desk +shopify-images\s", table.out)
    assert "2 products checked for shopify: 1 ready, 1 not." in table.err
    assert "1 product checked for shopify: all are ready." in ready.err
    assert [x["sku"] for x in as_json.data["unready"]] == ["BOWL"]
    rows = list(csv.reader(path.read_text().splitlines()))
    assert rows[0][:5] == ["sku", "display_name", "category", "attribute", "problem"]
    assert [row[:5] for row in rows[1:]] == [
        ["BOWL", "'=Bowl", "", "images", "are not there"],
        ["BOWL", "'=Bowl", "", "weight_grams", "is not stated"],
    ]
    refused = shop("products", "check", "--channel", "b2b")
    assert (refused.code, "has no platform" in refused.err) == (1, True)


def test_pickup_locations_are_listed_nearest_first_with_what_each_lacks(shop: Run, tmp_path: Path) -> None:
    path = tmp_path / "stores.csv"
    columns = "location_id,type,latitude,longitude,offers_pickup,handling_minutes"
    path.write_text(f"{columns}\nnear,store,30.3,-97.7,yes,60\nfar,store,30.5,-97.7,yes,\n")
    shop("import", "locations", str(path))
    counts = tmp_path / "counts.csv"
    counts.write_text("sku,location_id,on_hand_count\nMUG,near,5\nMUG,far,9\n")
    shop("import", "stock", str(counts))

    asked = ("pickup-locations", "--channel", "shopify", "--lat", "30.27", "--lon", "-97.74")
    shown, narrow = shop(*asked, "--line", "MUG:16"), shop(*asked, "--line", "MUG:2", "--radius", "10", "--json")

    near, far = (line.split() for line in shown.out.splitlines() if line.strip().startswith(("near", "far")))
    assert near[:4] == ["near", "5.1", "no", "-"]
    assert far[:5] == ["far", "25.9", "yes", "time", "not"]
    assert [(x["location_id"], x["whole_cart"]) for x in narrow.data["locations"]] == [("near", True)]
    assert "ready_time" in narrow.data["locations"][0]


def test_the_channels_items_are_listed_ordered_and_cancelled(shop: Run, tmp_path: Path) -> None:
    path, item = tmp_path / "listings.csv", "9223372036854775808123"
    path.write_text(f"channel_id,item_id,sku,unit_count\nshopify,{item},MUG,3\n")
    imported = shop("import", "listings", str(path))
    listed = shop("listings", "--channel", "shopify", "--item", item, "--csv")
    shown = shop("availability", "--channel", "shopify", "--item", item, "--item", "other")
    sold = shop("allocate", "--channel", "shopify", "--order", "I-1", "--item", f"{item}:1@5", "--sold")
    deleted = shop("listings", "delete", "shopify", item)
    early = shop("request-cancel", "shopify/I-9", "--item", f"{item}:1", "--json").data["cancellation_request"]
    assert early["lines"] == [{"line_id": "", "unit_count": 1, "shipment_id": "", "item_id": item}]
    cancelled = shop("cancel", "shopify/I-1", "--item", f"{item}:1", "--json")

    assert (imported.code, sold.code, cancelled.code) == (0, 0, 0)
    assert listed.out == path.read_text()
    assert f"item {item}: 3 x MUG" in shown.out
    assert (shown.code, shown.err) == (3, "There is no listing of item 'other'.\n")
    assert f"MUG (item {item})" in sold.out
    assert "Unchanged: 1 open order with it: shopify/I-1." in deleted.err
    assert [line["cancelled_count"] for line in cancelled.data["lines"]] == [3]


NEAR_NAMES = {
    ("locations", "dc", "Store-A"): "There is no location 'Store-A'; did you mean 'store-a'?",
    ("products", "mug", "BOWL"): "There is no product 'mug'; did you mean 'MUG'?",
    ("locations", "--tag", "street"): "There is no tag 'street'.",
    ("products", "--category", "tents"): "There is no category 'tents'.",
    ("channels", "shopfy"): "There is no channel 'shopfy'; did you mean 'shopify'?",
    ("availability", "MUGG", "MUG", "--channel", "shopify"): "There is no product 'MUGG'; did you mean 'MUG'?",
}


def test_an_unknown_name_is_said_with_the_near_one(shop: Run) -> None:
    for arguments, sentence in NEAR_NAMES.items():
        result = shop(*arguments)

        assert (result.code, result.err) == (3, f"{sentence}\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run: Run, command: str) -> None:
    result = run(command, "--help")

    assert result.code == 0
    assert f"truestock {command}" in result.out


@pytest.fixture
def _log_settings() -> Iterator[None]:
    """Keeps how tests log: a service that starts in their process changes it for all that follow."""
    settings = structlog.get_config()
    yield
    structlog.configure(**settings)


@pytest.mark.usefixtures("_log_settings")
@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_start_of_a_service_is_announced_on_a_terminal(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)

    result = run("serve", "--rules", str(tmp_path / "none"), "--address", "127.0.0.1:0")

    assert result.err.startswith("Starting Truestock …\n") == is_terminal
    assert "there is no rules folder" in result.err


def test_the_help_lists_every_command_in_a_group(run: Run) -> None:
    groups = re.findall(r"╭─ (.*?) ─", run("--help").out)

    assert groups == [
        *("Options", "The service", "Rules", "Catalog and files", "Stock", "Orders", "Fulfillment and exceptions")
    ]


def test_every_example_in_the_help_fits_into_80_columns_and_can_be_copied() -> None:
    helps = [text for text in _help_texts(get_command(app)) if "Examples:" in text]
    lines = [line for text in helps for line in text.split("Examples:")[1].split("\n\n")[0].splitlines()]

    assert len(lines) > 100
    # Rich indents the help by one column and keeps the last one free.
    assert [line for line in lines if len(line) > 78] == []


def _help_texts(command: Any) -> Iterator[str]:
    yield command.help or ""
    for subcommand in getattr(command, "commands", {}).values():
        yield from _help_texts(subcommand)


def test_an_unreachable_server_is_reported_with_what_to_do(run: Run) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = f"127.0.0.1:{unused.getsockname()[1]}"

        result = run("stock", "--server", server)

    assert (result.code, result.out) == (1, "")
    assert result.err == (
        f"cannot reach Truestock at {server}; start it with `make run` or `truestock serve`, "
        "or name another server with --server\n"
    )


@pytest.mark.parametrize("server", ["localhost", "http://localhost:50051", "localhost:0", "localhost:99999", ""])
def test_a_malformed_server_address_is_refused(run: Run, server: str) -> None:
    result = run("stock", "--server", server)

    assert result.code == 1
    assert "is not an address; --server and TRUESTOCK_SERVER take HOST:PORT" in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("allocate", "--channel", "c", "--order", "1", "--line", "MUG"), "is not SKU:UNITS or SKU:UNITS@PRICE"),
        (("allocate", "--channel", "c", "--order", "1", "--line", "MUG:1@nan"), "'nan' is not a price"),
        (("allocate", "--channel", "c", "--order", "1"), "give at least one --line or --item"),
        (("availability", "MUG", "--channel", "c", "--lat", "1"), "--lat and --lon go together"),
        (("availability", "MUG", "--channel", "c", "--country", "Atlantis"), "'Atlantis' is not a country"),
        (("cancel", SOME_ID, "1"), "'1' is not LINE:UNITS"),
        (("cancel", "shopify/1"), "name lines to cancel, such as 1:2, or cancel all units with --all"),
        (("cancel", "shopify/1", "1:1", "--all"), "name lines to cancel, such as 1:2, or cancel all units with --all"),
        (("allocate", "--channel", "c", "--order", "1", "--line", "A:1", "--copy-of", "x"), "is not CHANNEL/ORDER"),
        (("confirm", "shopify/"), "is neither an allocation's id"),
        (("explain", ""), "is neither an allocation's id, nor an order's number, nor CHANNEL/ORDER"),
        (("release", SOME_ID, "--request-id", "1"), "is not a UUID"),
        (("import", "prices", "file.csv"), "No such command 'prices'"),
        (("locations", "--type", "stor"), "--type 'stor' is none of: store, warehouse, supplier, pop_up; did you mean"),
        (("channels", "--json", "--csv"), "--json and --csv exclude each other"),
        (("replay-decision", "shopify/1"), "is not a decision's id"),
        (("replay-decision",), "name a DECISION, or try rules on many with --rules FOLDER --since 1d"),
        (("replay-decision", "--rules", "rules"), "name a DECISION, or try rules on many"),
        (("replay-decision", SOME_ID, "--rules", "rules", "--since", "1d"), "not both"),
        (("replay-decision", "--rules", "rules", "--since", "yesterday"), "--since"),
        (("orders", "--state", "sold"), "'sold' is none of: refused, held"),
        (("shipments", "--state", "asigned"), "is none of: assigned"),
        (("movements", "--kind", "wrong"), "--kind 'wrong' is none of: counted, incoming, untracked, received"),
        (("exceptions", "--kind", "overselling"), "did you mean 'oversell'?"),
        (("exceptions", "resolve", SOME_ID, "--resolution", "gone"), "--resolution 'gone' is none of: "),
        (("extend", SOME_ID, "--minutes", "4321"), "less than or equal to 4320"),
        (("availability", "\udcff", "--channel", "c"), "'\\udcff' is not UTF-8 text"),
        (("transfer", "cancel", "T-1", "--at", "0001-01-01T00:00+14:00"), "between the years 1970 and 9999 in UTC"),
        (("shipments", "--before", "9999-12-31T23:00-02:00"), "is not between the years 1970 and 9999 in UTC"),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(run: Run, arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments)

    assert (result.code, result.out) == (2, "")
    assert message in " ".join(result.err.replace("│", " ").split())


def test_a_bad_order_file_is_reported_by_line_before_any_call_is_made(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("Invoice,Stock,Quantity\n")

    result = run("replay-orders", str(path), "--order", "InvoiceNo", "--sku", "Stock", "--quantity", "Quantity")

    assert result.code == 1
    assert result.err == f"{path}:1:1: there is no column 'InvoiceNo', did you mean 'Invoice'?\n"


def test_importing_the_same_stock_again_does_nothing(shop: Run, tmp_path: Path) -> None:
    result = shop("import", "stock", str(tmp_path / "stock.csv"), "--json")

    assert (result.code, result.data["accepted_count"], result.data["duplicate_count"]) == (0, 0, 3)


def test_an_import_with_an_unknown_sku_writes_nothing(shop: Run, tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text("sku,location_id,on_hand_count\nBOWL,store-a,7\nCUP,dc,1\nMUG,store-b,1\n")

    result = shop("import", "stock", str(path))

    assert (result.code, result.out) == (1, "")
    assert f"{path}:3:1: sku: there is no product 'CUP', import it first" in result.err
    assert f"{path}:4:2: location_id: there is no location 'store-b', did you mean 'store-a'?" in result.err
    assert [level["on_hand_count"] for level in shop("stock", "BOWL", "--json").data] == [1]


def test_availability_is_one_json_object_with_the_names_of_the_api(shop: Run) -> None:
    result = shop("availability", "MUG", "BOWL", "--channel", "shopify", "--locations", "--json")

    mug = result.data["availabilities"][0]
    assert (mug["sku"], [location["on_hand_count"] for location in mug["locations"]]) == ("MUG", [10, 4])


def test_names_that_look_like_markup_are_printed_as_they_are(shop: Run) -> None:
    result = shop("allocate", "--channel", "shopify", "--order", "[red]1", "--line", "MUG:1", "--sold")

    assert "shopify/[red]1: allocated (confirmed)" in result.out


def test_an_order_is_held_confirmed_cancelled_and_explained(shop: Run) -> None:
    held = shop("allocate", "--channel", "shopify", "--order", "1", "--line", "MUG:3@12.50", "--json").data
    confirmed = shop("confirm", held["allocation_id"], "--json").data
    cancelled = shop("cancel", held["allocation_id"], f"{held['lines'][0]['line_id']}:1", "--json").data
    explained = shop("explain", "shopify/1")

    assert (held["state"], confirmed["state"]) == ("STATE_HELD", "STATE_CONFIRMED")
    assert (cancelled["lines"][0]["promised_count"], cancelled["lines"][0]["cancelled_count"]) == (2, 1)
    assert "Timeline, oldest first" in explained.out


def test_a_whole_order_is_cancelled_before_it_arrives(shop: Run) -> None:
    stored = shop("cancel", "shopify/7", "--all", "--event-id", "c-1")
    shop("allocate", "--channel", "shopify", "--order", "7", "--line", "MUG:3", "--sold")
    explained = shop("explain", "shopify/7")

    assert "has not arrived yet; the cancellation is stored" in stored.out
    assert "Status: cancelled." in explained.out


def test_an_order_is_explained_with_its_copies_and_its_channel_status(shop: Run) -> None:
    sold = ("--line", "MUG:3", "--sold")
    shop("allocate", "--channel", "shopify", "--order", "8", "--status", "IN_PROGRESS", *sold)
    shop("allocate", "--channel", "shopify", "--order", "8-copy", "--copy-of", "shopify/8", *sold)
    explained = shop("explain", "shopify/8-copy")

    assert "shopify/8: allocated (confirmed)" in explained.out
    assert "Status: ready to fulfill (channel status IN_PROGRESS)." in explained.out
    assert "Copies of this order: shopify/8-copy." in explained.out


def test_an_order_on_hold_is_shown_listed_and_released(shop: Run) -> None:
    hold = ("--hold-reason", "fraud check", "--hold-until", "2027-06-01T10:00:00Z")
    allocated = shop("allocate", "--channel", "shopify", "--order", "9", "--line", "MUG:1", "--sold", *hold)
    listed = shop("orders", "--on-hold")
    released = shop("release-hold", "shopify/9", "--by", "anna")
    explained = shop("explain", "shopify/9")
    endless = shop("allocate", "--channel", "shopify", "--order", "9", "--line", "MUG:1", "--hold-until", hold[-1])

    assert "On hold until 2027-06-01 10:00" in allocated.out
    assert "because of: fraud check" in allocated.out
    assert "confirmed, on hold" in listed.out
    assert "Status: ready to fulfill." in released.out
    assert "Released from its hold (fraud check): by anna" in explained.out
    assert shop("orders", "--on-hold", "--json").data == []
    assert shop("orders", "--on-hold").out == "No matching orders. `truestock allocate` sends one.\n"
    assert (endless.code, "--hold-until needs --hold-reason" in endless.err) == (2, True)


def test_exceptions_of_one_order_are_listed(shop: Run) -> None:
    for order in ("10", "11"):
        shop("allocate", "--channel", "shopify", "--order", order, "--line", "MUG:5000", "--sold")

    listed = shop("exceptions", "--order", "shopify/11", "--json").data
    assert [exception["order_id"] for exception in listed] == ["11"]
    assert shop("exceptions", "--order", "shopify/nobody", "--json").data == []


def test_a_dry_run_promises_nothing(shop: Run) -> None:
    result = shop("allocate", "--channel", "shopify", "--order", "2", "--line", "MUG:3", "--dry-run")

    assert "none (dry run)" in result.out
    assert all(level["held_count"] == 0 for level in shop("stock", "MUG", "--json").data)


def test_a_refused_call_prints_one_sentence_and_exits_with_code_1(shop: Run) -> None:
    result = shop("allocate", "--channel", "shopify", "--order", "3", "--line", "CUP:1")

    assert (result.code, result.out) == (1, "")
    assert "no product 'CUP'" in result.err
    assert "Traceback" not in result.err


def test_unknown_skus_are_named_beside_the_known_ones_with_exit_code_3(shop: Run) -> None:
    shown = shop("availability", "MUG", "CUP", "--channel", "shopify")
    data = shop("availability", "MUG", "CUP", "--channel", "shopify", "--json")

    assert (shown.code, data.code) == (3, 3)
    assert "MUG" in shown.out
    assert "There is no product 'CUP'." in shown.err
    assert [item["sku"] for item in data.data["availabilities"]] == ["MUG"]
    assert data.data["unknown_skus"] == ["CUP"]


def test_stock_is_listed_up_to_a_limit(shop: Run) -> None:
    assert len(shop("stock", "--limit", "2", "--json").data) == 2
    assert "Only the first 2 stock levels" in shop("stock", "--limit", "2").err


def test_an_explained_order_shows_its_plan_beside_the_next_best(shop: Run) -> None:
    shop("allocate", "--channel", "shopify", "--order", "42", "--line", "MUG:1", "--sold")
    explained = shop("explain", "shopify/42")
    as_json = shop("explain", "shopify/42", "--json").data
    decision_id = as_json["timeline"][0]["decision_id"]

    chosen = as_json["explained_decision"]["explanation"]["chosen"]["shipments"][0]["location_id"]
    assert "Plans compared, by " in explained.out
    assert f"{chosen}: 1 of MUG" in explained.out
    assert "Locations in the order of their ranks" in explained.out
    assert shop("explain", "shopify/42", "--decision", decision_id[-8:]).out == explained.out
    assert "is not one of the decisions of this order" in shop("explain", "shopify/42", "--decision", "ffffff").err


def test_an_order_whose_decision_is_stored_as_a_summary_is_explained_without_other_plans(shop: Run) -> None:
    shop("allocate", "--channel", "shopify", "--order", "43", "--line", "BOWL:9", "--hold", "--only", "1:store-a")

    explained = shop("explain", "shopify/43")

    assert (explained.code, "Plans compared" in explained.out) == (0, False)
    assert "Its plans cannot be compared: " in explained.out
    assert "explained_decision" not in shop("explain", "shopify/43", "--json").data


def test_the_decision_of_an_explained_order_is_replayed(shop: Run) -> None:
    shop("allocate", "--channel", "shopify", "--order", "4", "--line", "MUG:1", "--sold")
    explained = shop("explain", "shopify/4", "--json").data
    decision_id = explained["timeline"][0]["decision_id"]

    replayed = shop("replay-decision", decision_id)

    assert decision_id in shop("explain", "shopify/4").out
    assert (replayed.code, replayed.out.startswith("Identical to the stored decision (")) == (0, True)
    assert shop("replay-decision", decision_id, "--json").data["identical"]
    assert shop("replay-decision", SOME_ID).err.startswith(f"no decision '{SOME_ID}'")


def test_rules_are_tried_on_stored_decisions(shop: Run, tmp_path: Path) -> None:
    for order, sku in (("7", "MUG"), ("8", "BOWL")):
        shop("allocate", "--channel", "shopify", "--order", order, "--line", f"{sku}:1", "--sold")
    rules = tmp_path / "new-rules"
    rules.mkdir()
    (rules / "routing.yaml").write_text(WITHOUT_DC)

    shown = shop("replay-decision", "--rules", str(rules), "--since", "1d")
    data = shop("replay-decision", "--rules", str(rules), "--since", "1d", "--json").data
    one = shop("replay-decision", data["decisions"][0]["decision_id"], "--rules", str(rules))

    assert shown.code == 0
    assert "on 2 stored decisions: 0 same, 2 different, 0 not decidable" in shown.out
    assert "Each decision is taken by itself" in shown.out
    assert (data["different_count"], data["selected_count"]) == (2, 2)
    assert data["locations"] == [
        {"location_id": "dc", "original_unit_count": 2, "replayed_unit_count": 0},
        {"location_id": "store-a", "original_unit_count": 0, "replayed_unit_count": 1},
    ]
    assert {(x["from"], x["to"], x["unit_count"]) for x in data["moves"]} == {
        ("dc", "store-a", 1),
        ("dc", "no location", 1),
    }
    assert data["outcomes"] == [{"original": "allocated", "replayed": "needs review", "decision_count": 1}]
    assert [x["replayed_unit_count"] for x in data["shortages"]] == [1]
    assert "1 MUG from dc to store-a" in one.out
    assert "shopify/8" not in one.out


def test_rules_with_problems_are_not_tried(shop: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(WITHOUT_DC.replace("location.id", "location.name"))

    result = shop("replay-decision", "--rules", str(tmp_path), "--since", "1d")
    missing = shop("replay-decision", "--rules", str(tmp_path / "none"), "--since", "1d")

    assert (result.code, result.out) == (1, "")
    assert "bad.yaml:" in result.err
    assert "unknown-fact" in result.err
    assert "there is no rules folder" in missing.err


def test_a_dry_run_explains_its_decision(shop: Run) -> None:
    flags = ("--channel", "shopify", "--order", "9", "--line", "BOWL:5@1", "--country", "US", "--sold", "--dry-run")

    shown = shop("allocate", *flags).out
    data = shop("allocate", *flags, "--json").data

    assert "Decided by routing policy everything-else, rules/routing/default.yaml:" in shown
    for title in ("Rules that fired", "Locations not used", "Shortages", "ship by"):
        assert title in shown
    assert data["decision"]["routing_policy"] == "everything-else"
    assert data["decision"]["dropped_candidates"]
    assert data["shortages"]


def test_orders_are_listed_by_state_and_location(shop: Run) -> None:
    for number in range(3):
        shop("allocate", "--channel", "shopify", "--order", f"5-{number}", "--line", "MUG:1", "--hold")
    sold = shop("allocate", "--channel", "shopify", "--order", "6", "--line", "BOWL:1", "--sold", "--json").data

    confirmed = shop("orders", "--state", "confirmed", "--location", "dc", "--json").data
    listed = shop("orders", "--limit", "2")

    assert [order["allocation_id"] for order in confirmed] == [sold["allocation_id"]]
    assert [line.split()[0] for line in listed.out.splitlines() if "shopify/" in line] == ["shopify/5-0", "shopify/5-1"]
    assert "Only the first 2 orders" in listed.err


def test_a_hold_is_extended(shop: Run) -> None:
    held = shop("allocate", "--channel", "shopify", "--order", "7", "--line", "MUG:1", "--json").data

    extended = shop("extend", "shopify/7", "--minutes", "120", "--json").data

    assert extended["allocation_id"] == held["allocation_id"]
    assert extended["expire_time"] > held["expire_time"]
