"""`truestock exceptions`: how people list and resolve exceptions at a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.cli.main import main
from tests.service.cli.test_cli import SHOP, Result, import_files

Ask = Callable[..., Result]
SOME_ID = "0190a6a2-7a3c-7c1e-9d7e-0242ac120002"


@pytest.fixture
def ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server_address: str, tmp_path: Path
) -> Ask:
    """Runs commands against a shop that has oversold one bowl."""
    monkeypatch.setenv("TRUESTOCK_SERVER", server_address)

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        captured = capsys.readouterr()
        code = caught.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    import_files(SHOP, run, tmp_path)
    sold = run("allocate", "--channel", "shopify", "--order", "1", "--line", "BOWL:2", "--sold")
    assert sold.code == 0, sold.err
    return run


def only(ask: Ask) -> dict[str, Any]:
    listed = ask("exceptions", "--all", "--json")
    exception: dict[str, Any]
    (exception,) = json.loads(listed.out)
    return exception


def test_open_exceptions_are_listed_with_order_and_owner(ask: Ask) -> None:
    exception = only(ask)

    result = ask("exceptions")

    assert result.code == 0
    assert exception["exception_id"] in result.out
    assert "1 unit short: BOWL" in result.out
    assert f"{exception['channel_id']}/{exception['order_id']}" in result.out
    assert exception["owner"] in result.out


def test_exceptions_are_filtered_by_kind_channel_owner_and_due_time(ask: Ask) -> None:
    expected_counts = {
        ("--kind", "oversell"): 1,
        ("--kind", "late-shipment"): 0,
        ("--channel", "shopify"): 1,
        ("--channel", "pos"): 0,
        ("--owner", "nobody"): 0,
        ("--overdue",): 0,
    }

    counts = {filters: len(ask("exceptions", *filters, "--json").data) for filters in expected_counts}

    assert counts == expected_counts


LISTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "exceptions": (
        ("--sku BOWL --unassigned --sort newest", "--number 001 --since 1d --updated-since 1h", "--counts"),
        ("--assignee anna", "--location nowhere", "--before 1d", "--all --resolution cancelled", "--number xyz"),
    ),
    "orders": (
        ("--sku BOWL --outcome partly-allocated", "--status exception --sort newest", "--number 001 --sort due"),
        ("--status delivered", "--sku CUP", "--before 1d", "--updated-before 1d", "--location nowhere"),
    ),
    "shipments": (
        ("--sku BOWL --sort due", "--channel shopify --since 1h", "--number 001 --sort newest --all"),
        ("--sku CUP", "--channel pos", "--before 1h", "--number xyz"),
    ),
}
"""By command: options with which it lists something, and options with which it lists nothing."""


def test_lists_have_what_their_options_say(ask: Ask) -> None:
    sold = ask("allocate", "--channel", "shopify", "--order", "A001", "--line", "MUG:15", "--sold")
    assert sold.code == 0, sold.err
    for command, (some, none) in LISTS.items():
        counts = {filters: len(ask(command, *filters.split(), "--json").data) for filters in (*some, *none)}

        assert [filters for filters, count in counts.items() if count] == [*some], command


def test_what_a_resolution_would_do_is_shown_before_and_after(ask: Ask) -> None:
    id = only(ask)["exception_id"]

    shown = ask("exceptions", "show", id)
    told = ask("exceptions", "resolve", id, "--resolution", "cancelled", "--dry-run", "--by", "anna")
    refused = ask("exceptions", "resolve", id, "--resolution", "rerouted", "--dry-run", "--by", "anna")
    still_open = only(ask)["state"]
    done = ask("exceptions", "resolve", id, "--resolution", "cancelled", "--by", "anna")

    assert "1 BOWL: short to backordered" in " ".join(shown.out.split())
    assert "Not now:" in shown.out
    assert all("1 BOWL: short to cancelled" in " ".join(result.out.split()) for result in (told, done))
    assert "1 unit of 1 cannot be allocated elsewhere" in refused.err
    assert still_open == "STATE_OPEN"


def test_an_exception_is_assigned_shown_and_resolved(ask: Ask) -> None:
    id = only(ask)["exception_id"]

    assigned = ask("exceptions", "assign", id, "--to", "anna", "--by", "boss")
    resolved = ask("exceptions", "resolve", id, "--resolution", "cancelled", "--note", "[told]", "--by", "anna")
    shown = ask("exceptions", "show", id)
    explained = ask("explain", "shopify/1")

    assert (assigned.code, resolved.code) == (0, 0)
    assert "assigned to" in assigned.out
    for text in ("cancelled by anna", "[told]", "Assigned to anna.", "boss"):
        assert text in shown.out
    for text in ("anna", "cancelled by anna", "exception_resolved"):
        assert text in explained.out
    assert ask("exceptions").out == "No matching exceptions.\n"
    assert only(ask)["resolution"] == "EXCEPTION_RESOLUTION_CANCELLED"


def test_an_unsuitable_resolution_is_refused_with_the_suitable_ones(ask: Ask) -> None:
    result = ask("exceptions", "resolve", only(ask)["exception_id"], "--resolution", "approved")

    assert result.code == 1
    assert "EXCEPTION_RESOLUTION_BACKORDERED" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("resolve", SOME_ID, "--resolution", "sorted"),
            "--resolution 'sorted' is none of: rerouted, backordered, cancelled",
        ),
        (("resolve", SOME_ID, "--resolution", "other"), "--resolution other needs a --note"),
        (("resolve", SOME_ID), "Missing option '--resolution'"),
        (("show", "1"), "is not an exception's id"),
        (("--kind", "oversold"), "--kind 'oversold' is none of: oversell"),
        (("--overdue", "show", SOME_ID), "write options after the subcommand"),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    with pytest.raises(SystemExit) as caught:
        main(("exceptions", *arguments))

    assert caught.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "assign", "resolve"])
def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str], command: str) -> None:
    with pytest.raises(SystemExit):
        main(("exceptions", command, "--help"))

    assert f"truestock exceptions {command}" in capsys.readouterr().out
