"""A real PostgreSQL for every test that asks, and real services on it."""

from __future__ import annotations

import asyncio
import itertools
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from service.app.application import running
from service.app.wiring import new_id
from service.database import migrate
from service.database.database import Database, plain_url
from service.database.embedded.postgres import temporary_postgres
from service.dependencies import Dependencies
from service.feeds.quarantine_retry import QuarantineRetry
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.settings import Settings
from tests.retailer import Retailer

REPOSITORY = Path(__file__).parent.parent
RULES = REPOSITORY / "rules"
PLAIN_RULES = Path(__file__).parent / "rules"
"""Rules that hold nothing back, for tests of what orders do to stock."""
RESOLVED_RULES = Path(__file__).parent / "rules_resolved"
"""The same, and exception rules that policy carries out: reroute, backorder, cancel."""

_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL whose database `template` has the newest schema. Its data need not survive, so it does not sync."""
    with temporary_postgres(settings={"fsync": "off", "full_page_writes": "off", "max_connections": "200"}) as server:
        asyncio.run(_make_template(server.database_url))
        yield server.database_url


@pytest.fixture
def empty_database_url(postgres_url: str) -> str:
    """A database without tables."""
    return asyncio.run(_make_database(postgres_url, "template1"))


@pytest.fixture
def database_url(postgres_url: str) -> str:
    """A migrated database without a retailer in it."""
    return asyncio.run(_make_database(postgres_url, "template_truestock"))


@pytest.fixture
def server_address(database_url: str) -> Iterator[str]:
    """A service in a process of its own, with the repository's rules, on an empty migrated database."""
    with service_process("--database-url", database_url, "--rules", str(RULES)) as address:
        yield address


@pytest.fixture
async def retailers(database_url: str) -> AsyncIterator[RetailerMaker]:
    """Makes services in this process, all on one database, and clients of them."""
    async with AsyncExitStack() as stack:
        yield RetailerMaker(database_url, stack)


@pytest.fixture
async def retailer(retailers: RetailerMaker) -> Retailer:
    """A service with plain rules, one channel `web` that sells from everywhere, and no stock."""
    return await retailers.make()


@pytest.fixture
async def replay(database_url: str) -> AsyncIterator[QuarantineRetry]:
    """What services do in the background with what was kept aside and with silent feeds; here when a test says so."""
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(database_url, metrics, connections=4)
    yield QuarantineRetry(Dependencies(Settings(), database, ActivePolicies(PLAIN_RULES, metrics), metrics, new_id))
    await database.close()


class RetailerMaker:
    """Services on one database."""

    def __init__(self, database_url: str, stack: AsyncExitStack) -> None:
        self.database_url = database_url
        self._stack = stack
        self._services: dict[Retailer, AsyncExitStack] = {}

    async def stop(self, retailer: Retailer) -> None:
        """Stops the retailer's service; its client stays, as clients do."""
        await self._services.pop(retailer).aclose()

    async def make(
        self, rules: Path = PLAIN_RULES, *, watch_refresh_seconds: float = 1, address: str = "127.0.0.1:0"
    ) -> Retailer:
        settings = Settings(
            address=address,
            metrics_address="127.0.0.1:0",
            database_url=self.database_url,
            rules=rules,
            sample=False,
            drain_seconds=2,
            watch_poll_seconds=0.05,
            watch_refresh_seconds=watch_refresh_seconds,
        )
        alone = await self._stack.enter_async_context(AsyncExitStack())
        service = await alone.enter_async_context(running(settings))
        retailer = await self._stack.enter_async_context(Retailer.connect(service, self.database_url))
        self._services[retailer] = alone
        await retailer.set_up()
        return retailer


@contextmanager
def service_process(*arguments: str, timeout_seconds: float = 60) -> Iterator[str]:
    """`truestock serve` on free ports; yields its gRPC address once it answers."""
    command = [sys.executable, "-m", "service", "serve", "--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRUESTOCK", "DATABASE"))}
    process = subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=REPOSITORY,
    )
    try:
        yield _address_of(process)
    finally:
        process.terminate()
        process.communicate(timeout=timeout_seconds)


def _address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    heard = []
    for line in process.stdout:
        heard.append(line)
        found = re.search(r"gRPC\s+(\S+)", line)
        if found:
            return found.group(1)
    raise AssertionError(f"the service did not start:\n{''.join(heard)}")


async def _make_template(url: str) -> None:
    await _create(url, "template_truestock", "template1")
    await migrate.migrate(_named(url, "template_truestock"))


async def _make_database(url: str, template: str) -> str:
    name = f"test_{os.getpid()}_{next(_numbers)}"
    await _create(url, name, template)
    return _named(url, name)


async def _create(url: str, name: str, template: str) -> None:
    connection = await asyncpg.connect(plain_url(url))
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()


def _named(url: str, name: str) -> str:
    return url.replace("/truestock?", f"/{name}?")
