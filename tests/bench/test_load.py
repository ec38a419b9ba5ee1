"""`make load`: a load test passes on a service that is right, and fails on one that sells what does not exist."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence

import asyncpg
import pytest

from service.database import migrate
from service.database.database import plain_url
from tests.conftest import REPOSITORY

# Where continuous integration sets this, a test without Locust fails instead of being skipped.
_REQUIRED = os.environ.get("VENDOR_CLIENTS") == "required"
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        not _REQUIRED and importlib.util.find_spec("locust") is None, reason="make locust installs Locust"
    ),
]
FORGETFUL = """
    CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.allocated := 0; RETURN NEW; END $$;
    CREATE TRIGGER forget BEFORE UPDATE ON stock_level FOR EACH ROW WHEN (NEW.sku LIKE 'LOAD-%-VIRAL')
        EXECUTE FUNCTION forget();
"""
"""A database that forgets which units of the viral product are promised."""


@pytest.mark.parametrize("profile", ["steady", "feeds"])
def test_a_load_on_a_service_that_is_right_passes(profile: str, database_url: str) -> None:
    ended = _load(database_url, "--profile", profile, "--seconds", "3")

    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert "The ledger balances over" in ended.stderr
    assert "units sold of" in ended.stdout


async def test_a_load_fails_when_units_are_sold_twice(database_url: str) -> None:
    await migrate.migrate(database_url)
    connection = await asyncpg.connect(plain_url(database_url))
    await connection.execute(FORGETFUL)
    await connection.close()

    ended = _load(database_url, "--profile", "spike", "--seconds", "6", "--users", "20")

    assert ended.returncode == 1
    assert "VIRAL were sold, and 120 came in." in ended.stdout
    assert "Wrong after the load: the ledger does not balance" in ended.stderr


def test_a_load_on_a_running_service_wants_to_know_its_database() -> None:
    ended = _run("--address", "127.0.0.1:1")

    assert ended.returncode == 2
    assert "name its database too" in ended.stderr


def _load(database_url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _run("--users", "10", "--database-url", database_url, *arguments)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command: Sequence[str] = [sys.executable, "-m", "bench", "load", *arguments]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)
