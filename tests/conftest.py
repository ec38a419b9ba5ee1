"""Fixtures: a real PostgreSQL, databases in it, and real services on them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, cast

import asyncpg
import pytest
import structlog
from hypothesis import settings as hypothesis_settings
from prometheus_client import CollectorRegistry

from policies.policy_set import PolicySet
from policies.reading.rules_reader import read
from service.app.application import running
from service.app.wiring import new_id
from service.database import migrate
from service.database.database import Database, plain_url
from service.database.embedded.postgres import temporary_postgres
from service.database.roles import SERVICE_ROLE, Roles
from service.database.scram import verifier
from service.decisions.decision_retention import DecisionRetention
from service.dependencies import Dependencies
from service.feeds.quarantine_retry import QuarantineRetry
from service.metrics import Metrics
from service.policy.active_policies import ActivePolicies
from service.policy.rules_folder import read_folder
from service.settings import Settings
from tests.retailer import Retailer

REPOSITORY = Path(__file__).parent.parent
RULES = REPOSITORY / "rules"
PLAIN_RULES = Path(__file__).parent / "rules"
"""Rules without buffers, for tests of what orders do to stock."""
RESOLVED_RULES = Path(__file__).parent / "rules_resolved"
"""The same rules, with exception rules that reroute, backorder and cancel without a person."""

MEMORY_FOLDER_BYTES = 4_000_000_000
"""Free space that a folder in memory needs for the data of all tests: the log alone may grow to 1 GB."""

SERVICE_PASSWORD = secrets.token_urlsafe(16)
"""The password of the role as which services of tests connect."""

_database_numbers = itertools.count()


# No test may fail because the machine is busy, and an example that takes 200 ms does by default.
hypothesis_settings.register_profile("any_machine", deadline=None)
hypothesis_settings.load_profile("any_machine")


# structlog's default draws the variables of every frame, which takes half a minute for the error of a batch of orders.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.processors.format_exc_info,
        structlog.processors.LogfmtRenderer(key_order=["level", "event"]),
    ],
)


def _keep_compiled_modules() -> None:
    """Lets this process and its children compile each module once, also where Python is told to keep nothing.

    Containers often set PYTHONDONTWRITEBYTECODE. The tests start Python some fifty times, and each time would spend
    seconds on compiling. Nothing is written beside the sources then.
    """
    if sys.dont_write_bytecode:
        sys.dont_write_bytecode = False
        sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(REPOSITORY / ".pytest_cache" / "modules"))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


_keep_compiled_modules()

# A shell without job control starts what runs in its background with Ctrl-C ignored, and so would everything be that
# tests start; they end programs with Ctrl-C as people do.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# pytest loads readline, which sets both for the processes that it starts, without telling os.environ; the command line
# would wrap its tables to a terminal that is not there.
for _variable in ("COLUMNS", "LINES"):
    os.environ.pop(_variable, None)
    os.unsetenv(_variable)


@pytest.fixture(scope="module")
def policy_set() -> PolicySet:
    """PLAIN_RULES, for tests without a service."""
    policy_set = read(read_folder(PLAIN_RULES).files).policy_set
    assert policy_set is not None
    return policy_set


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that ask for PostgreSQL, before pytest selects tests by their marks."""
    for item in items:
        if isinstance(item, pytest.Function) and "postgres_url" in item.fixturenames:
            item.add_marker(pytest.mark.database)


@pytest.fixture(scope="module", autouse=True)
def _spared_objects() -> None:
    """Leaves what the modules of tests and the services of earlier ones left out of garbage collections.

    grpcio keeps a server that was stopped, with all that its calls refer to. Collections would look through some
    millions of objects that stay, for a tenth of the time of all tests.
    """
    gc.collect()
    gc.freeze()


def seeds(count: int, *, of_long_tests: int) -> list[object]:
    """Seeds of a random test: the first `count` for `make test`, as many more as are asked for for `make test-long`."""
    more = range(count, count + of_long_tests)
    return [*range(count), *(pytest.param(seed, marks=pytest.mark.long) for seed in more)]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL with a migrated template database. Its data need not survive a crash, so it does not sync."""
    settings = {"fsync": "off", "full_page_writes": "off", "max_connections": "200"}
    with temporary_postgres(settings=settings, parent=_memory_folder()) as server:
        asyncio.run(_create_template(server.database_url))
        yield server.database_url


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without tables."""
    yield from new_database(postgres_url, "template1")


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A migrated database without data."""
    yield from new_database(postgres_url, "template_truestock")


@pytest.fixture
def server_address(database_url: str) -> Iterator[str]:
    """A service with the repository's rules, on a migrated database without data, for tests that are no coroutines."""
    with service_thread(service_settings(database_url, RULES)) as address:
        yield address


@pytest.fixture
async def retailers(database_url: str) -> AsyncIterator[RetailerMaker]:
    """Starts services in this process, all on one database, with a client of each."""
    async with AsyncExitStack() as stack:
        yield RetailerMaker(database_url, stack)


@pytest.fixture
async def retailer(retailers: RetailerMaker) -> Retailer:
    """A service with plain rules, one channel `web` that sells from everywhere, and no stock."""
    return await retailers.make()


@pytest.fixture
async def quarantine_retry(database_url: str) -> AsyncIterator[QuarantineRetry]:
    """Retries quarantined changes and finds silent feeds when a test says so; services do it in the background."""
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(database_url, metrics, connections=4)
    yield QuarantineRetry(Dependencies(Settings(), database, ActivePolicies(PLAIN_RULES, metrics), metrics, new_id))
    await database.close()


@pytest.fixture
def one_day() -> None:
    """Begins no test in the last minute of a day, by UTC: it would expect the date of another one at its end."""
    while (now := datetime.now(UTC)).date() != (now + timedelta(minutes=1)).date():
        time.sleep(1)


@pytest.fixture
def one_minute() -> None:
    """Begins no test in the last seconds of a minute: what the service merges by minute would be of two minutes."""
    while datetime.now(UTC).second >= 50:
        time.sleep(0.1)


class RetailerMaker:
    """Starts and stops services on one database."""

    def __init__(self, database_url: str, stack: AsyncExitStack) -> None:
        self.database_url = database_url
        self._stack = stack
        self._services: dict[Retailer, AsyncExitStack] = {}

    async def stop(self, retailer: Retailer) -> None:
        """Stops the retailer's service; its client stays open."""
        await self._services.pop(retailer).aclose()

    async def make(
        self,
        rules: Path = PLAIN_RULES,
        *,
        watch_refresh_seconds: float = 1,
        drain_seconds: float = 2,
        address: str = "127.0.0.1:0",
    ) -> Retailer:
        settings = service_settings(
            self.database_url,
            rules,
            address=address,
            watch_refresh_seconds=watch_refresh_seconds,
            drain_seconds=drain_seconds,
        )
        service_stack = await self._stack.enter_async_context(AsyncExitStack())
        service = await service_stack.enter_async_context(running(settings))
        retailer = await self._stack.enter_async_context(Retailer.connect(service, self.database_url))
        self._services[retailer] = service_stack
        await retailer.set_up()
        return retailer


def service_settings(
    database_url: str,
    rules: Path,
    *,
    address: str = "127.0.0.1:0",
    watch_refresh_seconds: float = 1,
    verify_ledger_seconds: float = 300,
    drain_seconds: float = 2,
) -> Settings:
    """The settings of a service of tests: free ports, an existing database, short waits."""
    return Settings(
        address=address,
        metrics_address="127.0.0.1:0",
        database_url=service_url(database_url),
        rules=rules,
        sample=False,
        drain_seconds=drain_seconds,
        watch_poll_seconds=0.05,
        watch_refresh_seconds=watch_refresh_seconds,
        verify_ledger_seconds=verify_ledger_seconds,
        # Tests look for lines of their own.
        log_calls_per_second=0,
    )


def service_url(url: str) -> str:
    """The URL for a service, which works as the role of services; tests themselves read and change what they like."""
    return url.replace("//truestock@", f"//{SERVICE_ROLE}:{SERVICE_PASSWORD}@")


@contextmanager
def service_thread(settings: Settings) -> Iterator[str]:
    """A service in a thread of this process, which starts much sooner than a process; yields its gRPC address."""
    started: Future[tuple[str, asyncio.AbstractEventLoop]] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        async with running(settings) as service:
            started.set_result((service.address, asyncio.get_running_loop()))
            await stop.wait()

    with ThreadPoolExecutor(1) as threads:
        ended = threads.submit(asyncio.run, serve())
        wait([cast(Future[object], started), cast(Future[object], ended)], return_when=FIRST_COMPLETED)
        if ended.done():
            ended.result()
        address, loop = started.result()
        try:
            yield address
        finally:
            loop.call_soon_threadsafe(stop.set)
            ended.result()


class ProcessAddresses(NamedTuple):
    """Where a service in a process of its own answers, HOST:PORT."""

    grpc: str
    metrics: str


@contextmanager
def service_process(
    *arguments: str, timeout_seconds: float = 60, more_environment: Mapping[str, str] | None = None
) -> Iterator[ProcessAddresses]:
    """`truestock serve` on free ports; yields its addresses once it answers."""
    command = [sys.executable, "-m", "service", "serve", "--address", "127.0.0.1:0", "--metrics-address", "127.0.0.1:0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRUESTOCK", "DATABASE"))}
    # Nobody reads the output beyond the address, and a service whose output is full stands still.
    environment["TRUESTOCK_LOG_CALLS_PER_SECOND"] = "0"
    environment |= more_environment or {}
    process = subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        cwd=REPOSITORY,
    )
    try:
        yield _addresses_of(process)
    finally:
        process.terminate()
        process.communicate(timeout=timeout_seconds)


def _addresses_of(process: subprocess.Popen[str]) -> ProcessAddresses:
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        addresses = re.search(r"gRPC\s+(\S+).*\n\s+metrics\s+http://([^/\s]+)", output)
        if addresses:
            return ProcessAddresses(*addresses.groups())
    raise AssertionError(f"the service did not start:\n{output}")


def _memory_folder() -> Path | None:
    """A folder in memory with room for the data of all tests; None if this machine has none.

    Every test creates a database, which is 600 files: 10 ms in memory, up to 200 ms on a disk.
    """
    folder = Path("/dev/shm")
    try:
        has_room = shutil.disk_usage(folder).free >= MEMORY_FOLDER_BYTES
    except OSError:
        return None
    return folder if has_room and os.access(folder, os.W_OK) else None


async def _create_template(url: str) -> None:
    await _copy_template(url, "template_truestock", "template1")
    database_url = _url_of(url, "template_truestock")
    await migrate.migrate(database_url, Roles(service_verifier=verifier(SERVICE_PASSWORD, 1)))
    # As they are from the second start of a service on: each service of a test would spend 30 ms on making them.
    metrics = Metrics(CollectorRegistry())
    database = await Database.open(database_url, metrics, connections=1)
    policies = ActivePolicies(PLAIN_RULES, metrics)
    await DecisionRetention(database, policies, metrics, timedelta(days=1)).make_partitions()
    await database.close()


def new_database(url: str, template: str) -> Iterator[str]:
    """A database of one test. Dropped at its end, most of it is never written to disk."""
    name = f"test_{os.getpid()}_{next(_database_numbers)}"
    asyncio.run(_copy_template(url, name, template))
    yield _url_of(url, name)
    asyncio.run(_execute(url, f'DROP DATABASE "{name}" WITH (FORCE)'))


async def _copy_template(url: str, name: str, template: str) -> None:
    # Copied as files, not page by page through the log, which takes twice as long and empties the shared buffers.
    await _execute(url, f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(plain_url(url))
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _url_of(url: str, name: str) -> str:
    return url.replace("/truestock?", f"/{name}?")
