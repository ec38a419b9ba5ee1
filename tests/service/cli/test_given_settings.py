"""Settings that cannot be used, and databases that are not there: what commands say of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from service.cli.commands.given_settings import settings_of
from service.cli.main import main
from service.settings import Settings

WRONG = ("", "many", "-1", "nan", "99999999999")
"""Values of which each setting with a type refuses at least one."""
ANY_TEXT = {
    "address",
    "metrics_address",
    "tls_cert",
    "tls_key",
    "client_ca",
    "access",
    "data_dir",
    "rules",
    "audit_key",
}
"""Settings that are refused where they are used, unless they are empty."""


def exit_code(*command: str) -> object:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as stopped:
        main(command)
    return stopped.value.code


def refusal(**flags: object) -> str:
    """Why the settings are refused; empty if they are not."""
    try:
        settings_of(**flags)
    except typer.BadParameter as error:
        return error.message
    return ""


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_wrong_value_in_the_environment_is_refused_by_the_name_of_its_variable(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"TRUESTOCK_{name.upper()}"
    refusals = {}
    for value in WRONG:
        monkeypatch.setenv(variable, value)
        refusals[value] = refusal()

    assert refusals.pop("") == f"{variable} is empty; give it a value, or unset it"
    said = [text for text in refusals.values() if text]
    assert said or name in (*ANY_TEXT, "instance")
    for text in said:
        assert text.startswith((f"{variable} ", f"{name} ")), text
        assert "Input should" not in text, text
        assert "String should" not in text, text


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"workers": 65}, "--workers is '65'; it must be a whole number from 1 to 64"),
        ({"read_max_lag_seconds": 0.1}, "--read-max-lag-seconds is '0.1'; it must be a number from 0.5 to 3,600"),
        ({"database_url": "mysql://shop:secret@db/shop"}, "--database-url is not a PostgreSQL URL"),
    ],
)
def test_a_wrong_flag_is_refused_by_its_name(flags: dict[str, object], problem: str) -> None:
    assert refusal(**flags).startswith(problem)
    assert "secret" not in refusal(**flags)


def test_a_flag_overrides_an_empty_variable_and_the_file_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUESTOCK_DATA_DIR", "")
    monkeypatch.setenv("TRUESTOCK_DATABASE_URL_FILE", "nowhere")

    settings = settings_of(data_dir=Path("data"), database_url="postgresql://db/shop")

    assert settings.database_url == "postgresql://db/shop"


def test_commands_of_connectors_name_the_setting_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRUESTOCK_WORKERS", "0")

    code = exit_code("channels", "inbox", "--json")

    assert (code, "TRUESTOCK_WORKERS is '0'" in capsys.readouterr().err) == (2, True)


@pytest.mark.parametrize(
    "command",
    [
        ["verify-ledger"],
        ["audit", "verify"],
        ["channels", "inbox"],
        ["channels", "inbox", "show", "577"],
        ["channels", "inbox", "replay"],
    ],
    ids=" ".join,
)
def test_a_command_that_reads_makes_no_database_in_a_folder_that_has_none(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    code = exit_code(*command)

    assert (code, capsys.readouterr().err.split(".")[0]) == (1, "There is no database in ")
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_an_error_keeps_its_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("audit", "verify", "--data-dir", str(tmp_path), "--public-key", "audit.pub") == 2
    assert capsys.readouterr().err.startswith("audit.pub cannot be read")
