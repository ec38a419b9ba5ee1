"""The password of the database is in no log, metric, message or traceback, however it is given and whatever fails."""

from __future__ import annotations

import io
import itertools
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import generate_latest
from pydantic import ValidationError

from service.app.application import running
from service.app.listening import StartError
from service.cli.main import main
from service.database.scram import verifier
from service.settings import Settings
from tests.conftest import PLAIN_RULES, service_settings
from tests.retailer import Retailer, eventually
from tests.server_socket import options_of
from tests.service.observability.test_personal_data import log_of_a_service

PASSWORD = "planted-1e240-secret"
PARTS = ("planted", "1e240", "secret")
"""What must be nowhere: a driver may repeat a part of a URL."""
_numbers = itertools.count()


@pytest.fixture
async def role(database_url: str) -> AsyncIterator[str]:
    """A superuser of the database who logs in with PASSWORD."""
    name = f"keeper_{next(_numbers)}"
    connection = await asyncpg.connect(database_url)
    await connection.execute(f"CREATE ROLE {name} SUPERUSER LOGIN PASSWORD '{verifier(PASSWORD, 1)}'")
    yield name
    # A service makes partitions, which it then owns.
    await connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")
    await connection.close()


@pytest.fixture
def url(role: str, database_url: str) -> str:
    """The URL of this role, with its password."""
    options = options_of(database_url)
    name = database_url.partition("?")[0].rpartition("/")[2]
    return f"postgresql://{role}:{PASSWORD}@/{name}?host={options['host']}&port={options['port']}"


@pytest.fixture
def url_file(url: str, tmp_path: Path) -> Path:
    """A file with that URL."""
    path = tmp_path / "database-url"
    path.write_text(f"{url}\n")
    return path


@pytest.fixture
def said(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a command writes to its output and its errors."""
    monkeypatch.setenv("COLUMNS", "1000")
    for name in ("DATABASE_URL", "TRUESTOCK_DATABASE_URL", "TRUESTOCK_DATABASE_URL_FILE"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit):
            main(arguments)
        return "\n".join(capfd.readouterr())

    return run


def assert_hidden(text: str) -> None:
    assert text
    assert [part for part in PARTS if part in text] == []


async def test_a_service_that_loses_its_database_and_its_password_shows_the_password_nowhere(
    url_file: Path, role: str, database_url: str
) -> None:
    settings = Settings(
        address="127.0.0.1:0", metrics_address="127.0.0.1:0", rules=PLAIN_RULES, database_url_file=url_file
    )
    log, metrics = io.StringIO(), ""
    async with log_of_a_service(log), running(settings) as service, Retailer.connect(service, database_url) as shop:
        await shop.set_up()
        # Its next connections are refused as those of another password.
        await shop.sql(f"ALTER ROLE {role} PASSWORD '{verifier('another', 1)}'")
        await shop.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'")

        async def is_logged() -> bool:
            return "password authentication failed" in log.getvalue()

        await eventually(is_logged)
        metrics = generate_latest(service.metrics.registry).decode()
    assert "truestock_database_up" in metrics
    assert_hidden(log.getvalue())
    assert_hidden(metrics)
    assert_hidden(repr(settings) + str(settings))


def test_commands_read_the_url_from_a_file_and_show_no_password(url_file: Path, said: Callable[..., str]) -> None:
    migrated = said("migrate", "--database-url-file", str(url_file))
    verified = said("verify-ledger", "--database-url-file", str(url_file), "--json")
    url_file.write_text(url_file.read_text().replace(PASSWORD, f"{PASSWORD}-of-before"))
    refused = [
        said(command, "--database-url-file", str(url_file), *more)
        for command, *more in (["migrate"], ["verify-ledger"], ["verify-ledger", "--json"], ["serve"])
    ]

    assert "The database is up to date." in migrated
    assert '"balanced": true' in verified
    assert all("password authentication failed for user" in text for text in refused)
    assert_hidden("\n".join([migrated, verified, *refused]))


@pytest.mark.parametrize("mark", ["/", "?", "#", "[", "]", "@/", ":1/", "\N{FULLWIDTH SOLIDUS}"])
def test_a_password_that_breaks_the_url_is_refused_without_repeating_it(mark: str) -> None:
    with pytest.raises(ValidationError, match="in a password, write /") as refused:
        Settings(database_url=f"postgresql://me:planted{mark}1e240{mark}secret@localhost/shop")

    assert_hidden(str(refused.value))


def test_a_file_of_tls_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValidationError, match=r"names /nowhere/ca\.pem as sslrootcert, which cannot be read"):
        Settings(database_url="postgresql://me@localhost/shop?sslmode=verify-full&sslrootcert=/nowhere/ca.pem")


def test_a_command_with_a_broken_url_does_not_repeat_it(tmp_path: Path, said: Callable[..., str]) -> None:
    path = tmp_path / "database-url"
    path.write_text("postgresql://me:planted/1e240/secret@localhost/shop")

    for option, value in (("--database-url-file", str(path)), ("--database-url", path.read_text())):
        text = said("migrate", option, value)

        assert "in a password, write /" in text
        assert_hidden(text)


async def test_the_traceback_of_a_failed_start_has_no_password(url: str) -> None:
    wrong, unreachable = url.replace(PASSWORD, f"{PASSWORD}-of-before"), url.replace("host=/", "host=/nowhere/")
    for broken in (wrong, unreachable):
        settings = service_settings(broken, PLAIN_RULES)
        with pytest.raises(StartError) as caught:
            async with running(settings):
                pass
        assert_hidden("".join(traceback.format_exception(caught.value)))
    with pytest.raises(ValidationError) as refused:
        Settings(database_url=f"mysql://me:{PASSWORD}@localhost/shop")
    assert_hidden(str(refused.value))


def test_a_file_and_a_url_at_once_are_refused_and_a_flag_overrides_variables(
    tmp_path: Path, said: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = tmp_path / "missing"
    monkeypatch.setenv("DATABASE_URL", f"postgresql://me:{PASSWORD}@localhost/shop?host=/nowhere")

    both = said("migrate", "--database-url", "postgresql://localhost", "--database-url-file", str(missing))
    flag = said("migrate", "--database-url-file", str(missing))
    monkeypatch.setenv("TRUESTOCK_DATABASE_URL_FILE", str(missing))
    variables = said("migrate")

    assert "give one of them" in both
    assert f"database_url_file {missing} cannot be read: No such file or directory" in flag
    assert "give one of them" in variables
    assert_hidden(both + flag + variables)


def test_a_password_of_other_than_ascii_has_no_verifier() -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        verifier("contraseña")


async def test_postgresql_accepts_the_password_of_a_verifier(url: str, role: str) -> None:
    connection = await asyncpg.connect(url)

    assert await connection.fetchval("SELECT current_user") == role
    await connection.close()
