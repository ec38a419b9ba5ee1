"""`truestock access`: tokens that are shown once, and a file that a service can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from service.auth.access_file import read_access
from service.cli.main import app

SHOP = ["--role", "read", "--role", "allocate", "--days", "30", "--channel", "shopify"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["access", *arguments], env={"COLUMNS": "200"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "access.yaml"


def test_an_added_principal_is_known_by_the_printed_token_and_the_file_has_its_digest_only(file: Path) -> None:
    added = [
        run("add", "ops", "--role", "admin", "--file", str(file)),
        run(
            "add",
            "shop",
            "--role",
            "read",
            "--role",
            "allocate",
            "--days",
            "30",
            "--channel",
            "shopify",
            "--file",
            str(file),
        ),
    ]
    tokens = [result.stdout.strip() for result in added]
    access = read_access(file.name, file.read_bytes())
    found = [access.tokens.principal(token) for token in tokens]

    assert [who and (who.name, sorted(who.roles)) for who in found] == [
        ("ops", ["admin"]),
        ("shop", ["allocate", "read"]),
    ]
    assert not any(token in file.read_text() for token in tokens)
    assert file.stat().st_mode & 0o777 == 0o600
    listed = json.loads(run("list", "--json", "--file", str(file)).stdout)
    assert {who["name"]: who["roles"] for who in listed} == {"ops": ["admin"], "shop": ["allocate", "read"]}
    assert {who["name"]: who["channels"] for who in listed} == {"ops": None, "shop": ["shopify"]}


def test_what_a_person_wrote_into_the_file_stays(file: Path) -> None:
    file.write_text("# ours\nprincipals:  # all of them\n  - {name: ops, roles: [admin]}  # us\n")

    assert run("add", "shop", "--role", "read", "--file", str(file)).exit_code == 0

    text = file.read_text()
    assert "# ours" in text
    assert "  - {name: ops, roles: [admin]}  # us\n" in text


@pytest.mark.parametrize(
    ("text", "arguments", "problem"),
    [
        ("", ["shop", "--role", "reed"], "did you mean 'read'?"),
        ("", ["Shop", "--role", "read"], "'name' cannot be 'Shop'"),
        (
            "principals:\n  - {name: shop, roles: [read]}\n",
            ["shop", "--role", "read"],
            "has the principal shop already",
        ),
        ("principals: [{name: ops, roles: [read]}]\n", ["shop", "--role", "read"], "has no line `principals:`"),
        ("principals: 7\n", ["shop", "--role", "read"], "'principals' must be a list"),
    ],
)
def test_what_cannot_be_added_changes_nothing(file: Path, text: str, arguments: list[str], problem: str) -> None:
    if text:
        file.write_text(text)

    result = run("add", *arguments, "--file", str(file))

    assert result.exit_code != 0
    assert problem in result.output + str(result.exception)
    assert (file.read_text() if file.exists() else "") == text
