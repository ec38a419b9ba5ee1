"""`truestock exceptions`: what a desk reads and does at a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.cli.main import main
from tests.service.cli.test_cli import SHOP, Result

Ask = Callable[..., Result]
SOME_ID = "0190a6a2-7a3c-7c1e-9d7e-0242ac120002"


@pytest.fixture
def ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server_address: str, tmp_path: Path
) -> Ask:
    """Runs commands against a shop that has sold a bowl more than it has."""
    monkeypatch.setenv("TRUESTOCK_SERVER", server_address)

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        captured = capsys.readouterr()
        code = caught.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    for name, content in SHOP.items():
        path = tmp_path / f"{name}.csv"
        path.write_text(content)
        assert run("import", name, str(path)).code == 0
    sold = run("allocate", "--channel", "shopify", "--order", "1", "--line", "BOWL:2", "--sold")
    assert sold.code == 0, sold.err
    return run


def only(ask: Ask) -> dict[str, Any]:
    listed = ask("exceptions", "--all", "--json")
    (one,) = json.loads(listed.out)
    found: dict[str, Any] = one
    return found


def test_what_is_to_be_settled_is_a_table_of_who_and_until_when(ask: Ask) -> None:
    one = only(ask)

    result = ask("exceptions")

    assert result.code == 0
    assert one["exception_id"] in result.out
    assert "1 unit short: BOWL" in result.out
    assert f"{one['channel_id']}/{one['order_id']}" in result.out
    assert one["owner"] in result.out


def test_a_list_is_of_what_is_asked_for(ask: Ask) -> None:
    asked = {
        ("--kind", "oversell"): 1,
        ("--kind", "late-shipment"): 0,
        ("--channel", "shopify"): 1,
        ("--channel", "pos"): 0,
        ("--owner", "nobody"): 0,
        ("--overdue",): 0,
    }

    counts = {filters: len(ask("exceptions", *filters, "--json").data) for filters in asked}

    assert counts == asked


def test_an_exception_is_assigned_shown_and_settled(ask: Ask) -> None:
    id = only(ask)["exception_id"]

    given = ask("exceptions", "assign", id, "--to", "anna", "--by", "boss")
    settled = ask("exceptions", "resolve", id, "--as", "cancelled", "--note", "[told]", "--by", "anna")
    shown = ask("exceptions", "show", id)
    explained = ask("explain", "shopify/1")

    assert (given.code, settled.code) == (0, 0)
    assert "assigned to" in given.out
    for text in ("cancelled by anna", "[told]", "Assigned to anna.", "boss"):
        assert text in shown.out
    for text in ("anna", "cancelled by anna", "exception_resolved"):
        assert text in explained.out
    assert ask("exceptions").out == "There is nothing to settle.\n"
    assert only(ask)["resolution"] == "EXCEPTION_RESOLUTION_CANCELLED"


def test_a_resolution_that_does_not_fit_is_a_sentence_with_those_that_do(ask: Ask) -> None:
    result = ask("exceptions", "resolve", only(ask)["exception_id"], "--as", "approved")

    assert result.code == 1
    assert "EXCEPTION_RESOLUTION_BACKORDERED" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("resolve", SOME_ID, "--as", "sorted"), "--as 'sorted' is not one of rerouted, backordered, cancelled"),
        (("resolve", SOME_ID, "--as", "other"), "--as other needs a --note"),
        (("resolve", SOME_ID), "Missing option '--as'"),
        (("show", "1"), "is not an exception's id"),
        (("--kind", "oversold"), "--kind 'oversold' is not one of oversell"),
        (("--overdue", "show", SOME_ID), "write options behind the command"),
    ],
)
def test_wrong_usage_is_told(
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
