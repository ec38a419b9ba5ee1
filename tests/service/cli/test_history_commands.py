"""`truestock history`: unmet demand, the rules that were in force, and changes of the catalog at a terminal."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from service.cli.main import main
from tests.service.cli.test_cli import SHOP, Result, import_files

Ask = Callable[..., Result]


@pytest.fixture
def ask(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, server_address: str, tmp_path: Path
) -> Ask:
    """Runs commands against a shop that could not hold bowls, and whose store was paused."""
    monkeypatch.setenv("TRUESTOCK_SERVER", server_address)

    def run(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        captured = capsys.readouterr()
        code = caught.value.code
        return Result(code if isinstance(code, int) else 0, captured.out, captured.err)

    import_files(SHOP, run, tmp_path)
    assert run("allocate", "--channel", "shopify", "--order", "1", "--line", "BOWL:90").code == 0
    return run


def test_each_history_is_shown_as_a_table_and_as_json(ask: Ask) -> None:
    (demand,) = ask("history", "demand", "BOWL", "--channel", "shopify", "--json").data
    (day,) = ask("history", "demand", "--by-day", "--since", "2d", "--json").data
    (start,) = ask("history", "rules", "--json").data
    changes = ask("history", "catalog", "BOWL", "--json").data
    tables = {
        name: ask("history", *name.split()).out for name in ("demand", "demand --by-day", "rules", "catalog BOWL")
    }

    assert demand["wanted_count"] == 90
    assert day["unmet_count"] == demand["unmet_count"] == 90 - demand["met_count"]
    assert (start["kind"], changes[0]["call"]) == ("KIND_STARTED", "UpsertProducts")
    for name, word in zip(tables, ("out of stock", "out of stock", start["policy_revision"], "created"), strict=True):
        assert word in " ".join(tables[name].split()), tables[name]


def test_a_record_is_shown_as_it_was(ask: Ask) -> None:
    now = ask("history", "catalog", "BOWL", "--kind", "product", "--at", "0min", "--json")
    earlier = ask("history", "catalog", "BOWL", "--kind", "product", "--at", "1d")
    without_kind = ask("history", "catalog", "BOWL", "--at", "1d")

    assert now.data["product"]["sku"] == "BOWL"
    assert (earlier.code, "there was none at" in earlier.err) == (1, True)
    assert (without_kind.code, "--kind" in without_kind.err) == (2, True)


def test_unknown_names_in_filters_are_named(ask: Ask) -> None:
    unknown = ask("history", "demand", "BOWLS")

    assert (unknown.code, "did you mean 'BOWL'" in unknown.err) == (3, True)
