"""`python -m bench load`: runs a load test with Locust on a service, and verifies the ledger at the end."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.bench_retailer import check_ledger
from bench.product_server import running_product
from bench.rounds import WrongAnswer
from service.cli.console import say
from service.database import migrate
from service.database.database import single_connection
from service.database.embedded.postgres import temporary_postgres

LOCUSTFILE = Path(__file__).parents[1] / "locustfile.py"
WEB_ADDRESS = "127.0.0.1:8089"


class Profile(StrEnum):
    """What the users do most."""

    STEADY = "steady"
    SPIKE = "spike"
    FEEDS = "feeds"


def load(
    *,
    profile: Annotated[
        Profile, typer.Option(help="steady: shoppers; spike: a TikTok video; feeds: counts and deliveries.")
    ] = Profile.STEADY,
    users: Annotated[int, typer.Option(min=1, max=10_000, help="Users at the same time.")] = 40,
    seconds: Annotated[int, typer.Option(min=1, max=3_600, help="How long the load lasts.")] = 30,
    web: Annotated[bool, typer.Option("--web", help=f"Show Locust's page at http://{WEB_ADDRESS} meanwhile.")] = False,
    address: Annotated[str | None, typer.Option(help="HOST:PORT of a service that runs; else one is started.")] = None,
    database_url: Annotated[
        str | None, typer.Option(help="Its database, whose ledger is verified; else a temporary PostgreSQL.")
    ] = None,
) -> None:
    """Loads a service with shoppers, feeds and stores of Locust.

    Exits with 1 if a unit was sold that does not exist, a call failed, or the ledger does not balance. The service gets
    locations, channels and products of the load, whose names begin with `load-` and `LOAD-`: use one that is for tests.
    """
    if address is not None and database_url is None:
        raise typer.BadParameter("name its database too, whose ledger is verified at the end", param_hint="--address")
    if importlib.util.find_spec("locust") is None:
        say("Locust is not installed: run `make locust`.")
        raise typer.Exit(2)
    arguments = ["--profile", profile, "--users", str(users), "--spawn-rate", str(users), "--run-time", f"{seconds}s"]
    with _database(database_url) as url:
        passed = asyncio.run(_run(url, address, [*arguments, *_page(web=web)]))
    if not passed:
        say("The load test failed.")
        raise typer.Exit(1)


def _page(*, web: bool) -> list[str]:
    if not web:
        return ["--headless", "--only-summary"]
    host, _, port = WEB_ADDRESS.partition(":")
    say(f"Locust shows the load at http://{WEB_ADDRESS}.")
    return ["--autostart", "--autoquit", "0", "--web-host", host, "--web-port", port]


@contextmanager
def _database(url: str | None) -> Iterator[str]:
    with ExitStack() as stack:
        yield stack.enter_context(temporary_postgres()).database_url if url is None else url


async def _run(url: str, address: str | None, arguments: list[str]) -> bool:
    """Whether the load and the ledger after it were right."""
    async with _service(url, address) as host:
        passed = await asyncio.to_thread(_run_locust, host, arguments)
    try:
        async with single_connection(url) as connection:
            report = await check_ledger(connection)
    except WrongAnswer as error:
        say(f"Wrong after the load: {error}")
        return False
    say(f"The ledger balances over {report.totals['movements']:,} movements.")
    return passed


@asynccontextmanager
async def _service(url: str, address: str | None) -> AsyncIterator[str]:
    async with AsyncExitStack() as stack:
        if address is None:
            await migrate.migrate(url)
            address = (await stack.enter_async_context(running_product(url))).address
        yield address


def _run_locust(host: str, arguments: list[str]) -> bool:
    """Whether Locust ended with 0. Calls that are in progress at the end are completed, so that all are counted."""
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", host, "--stop-timeout", "15"]
    # Of the log only warnings: the summary says the rest.
    ended = subprocess.run([*command, "--loglevel", "WARNING", *arguments], check=False, env=_environment())
    return ended.returncode == 0


def _environment() -> dict[str, str]:
    """With the client, which is a package of its own."""
    folders = str(LOCUSTFILE.parents[1] / "client"), os.environ.get("PYTHONPATH", "")
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, folders))}
