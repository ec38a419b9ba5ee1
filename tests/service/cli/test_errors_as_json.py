"""With `--json`, every error is one JSON object on stderr, and the exit code is the same as without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from service.cli.main import app
from tests.service.cli.test_cli import Result, Run, run, shop  # noqa: F401


def commands(command: Any, *names: str, option: str = "--json") -> Iterator[tuple[str, ...]]:
    """Every command that has the option, by its words."""
    if any(option in parameter.opts for parameter in command.params):
        yield names
    for name, subcommand in getattr(command, "commands", {}).items():
        yield from commands(subcommand, *names, name, option=option)


def error_of(result: Result) -> Any:
    """The one JSON object on stderr; nothing else may be there."""
    (line,) = result.err.splitlines()
    error = json.loads(line)
    assert list(error) == ["code", "message", "fields"]
    assert all(list(field) == ["field", "problem"] for field in error["fields"])
    return error


@pytest.mark.parametrize("names", list(commands(get_command(app))), ids=" ".join)
def test_wrong_usage_of_every_command_is_an_object(run: Run, names: tuple[str, ...]) -> None:  # noqa: F811
    result = run(*names, "--json", "--no-such-option")

    error = error_of(result)
    assert (result.code, result.out) == (2, "")
    assert (error["code"], error["fields"][0]["field"]) == ("USAGE", "--no-such-option")


def test_the_errors_of_the_service_have_its_reason_and_fields(shop: Run) -> None:  # noqa: F811
    unknown = shop("allocate", "--channel", "shopify", "--order", "3", "--line", "MUGG:1", "--json")
    invalid = shop("allocate", "--channel", "shopify", "--order", "3", "--line", "MUG:0", "--json")
    several = shop("availability", "MUG", "MUG", "", "--channel", "shopify", "--json")

    assert (unknown.code, error_of(unknown)["code"]) == (1, "NOT_FOUND")
    field = {"field": "lines[0].sku", "problem": "no product 'MUGG'; did you mean 'MUG'?"}
    assert error_of(unknown)["fields"] == [field]
    assert (invalid.code, error_of(invalid)["code"]) == (1, "INVALID_FIELD")
    assert [field["field"] for field in error_of(several)["fields"]] == ["skus[1]", "skus[2]"]


def test_the_errors_of_files_have_a_place_each(shop: Run, tmp_path: Path) -> None:  # noqa: F811
    bad, unknown = tmp_path / "bad.csv", tmp_path / "unknown.csv"
    bad.write_text("sku,price\nA,x\nB,y\n")
    unknown.write_text("sku,location_id,on_hand_count\nMUGG,dc,1\nMUG,store-b,1\nBOWL,dc1,1\n")

    problems = error_of(shop("import", "products", str(bad), "--json"))
    missing = error_of(shop("import", "products", str(tmp_path / "none.csv"), "--json"))
    names = error_of(shop("import", "stock", str(unknown), "--json"))

    assert {problems["code"], missing["code"], names["code"]} == {"INVALID_FILE"}
    assert [field["field"] for field in problems["fields"]] == [f"{bad}:2:2", f"{bad}:3:2"]
    assert [field["problem"] for field in names["fields"]] == [
        "sku: there is no product 'MUGG', did you mean 'MUG'?",
        "location_id: there is no location 'store-b', did you mean 'store-a'?",
        "location_id: there is no location 'dc1', did you mean 'dc'?",
    ]


def test_what_happens_before_any_call_is_an_object_too(run: Run) -> None:  # noqa: F811
    unreachable = run("stock", "--json", "--server", "127.0.0.1:1")
    address = run("stock", "--json", "--server", "nowhere")
    no_folder = run("check", "nowhere", "--format", "json")

    assert [result.code for result in (unreachable, address, no_folder)] == [1, 1, 2]
    assert [error_of(result)["code"] for result in (unreachable, address, no_folder)] == [
        "UNAVAILABLE",
        "FAILED",
        "USAGE",
    ]


LACKING = {
    ("stock", "MUGG"): "There is no product 'MUGG'; did you mean 'MUG'?",
    ("stock", "--location", "stora"): "There is no location 'stora'; did you mean 'store-a'?",
    ("movements", "--location", "DC"): "There is no location 'DC'; did you mean 'dc'?",
    ("transfer", "list", "--location", "DC"): "There is no location 'DC'; did you mean 'dc'?",
    ("shipments", "--location", "DC"): "There is no location 'DC'; did you mean 'dc'?",
    ("orders", "--channel", "Shopify"): "There is no channel 'Shopify'; did you mean 'shopify'?",
    ("exceptions", "--channel", "shop"): "There is no channel 'shop'; did you mean 'shopify'?",
}


def test_an_empty_list_says_which_names_its_filters_lack(shop: Run) -> None:  # noqa: F811
    for arguments, message in LACKING.items():
        as_json, as_text = shop(*arguments, "--json"), shop(*arguments)

        assert (as_json.code, as_json.data) == (3, [])
        assert error_of(as_json) == {"code": "UNKNOWN_NAMES", "message": message, "fields": []}
        assert (as_text.code, as_text.err) == (3, f"{message}\n")


@pytest.mark.parametrize(
    "words",
    [
        ("check",),
        ("rules", "test"),
        ("import", "products"),
        ("products", "check", "--channel", "shopify", "--csv"),
        ("report", "--html"),
        ("export", "stock"),
        ("replay-decision", "--since", "1d", "--rules"),
        ("serve", "--data-dir", ".", "--rules"),
    ],
    ids=" ".join,
)
def test_a_file_name_that_no_file_can_have_is_refused(run: Run, words: tuple[str, ...]) -> None:  # noqa: F811
    """As for a file in a folder that the caller may not enter, the system does not say whether there is one."""
    name = "a" * 300

    result = run(*words, name)

    assert result.code in (1, 2)
    assert name in "".join(result.err.split())
    assert "File name too long" in " ".join(result.err.split())
