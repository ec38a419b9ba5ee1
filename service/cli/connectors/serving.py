"""`truestock channels serve` as a process: signals, logs, and what it prints."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import timedelta
from pathlib import Path

import asyncpg
import uvloop
from sqlalchemy.exc import SQLAlchemyError

from service.channels import connectors
from service.channels.connectors import Listening, Options
from service.channels.errors import Away
from service.channels.health import MetricsToken
from service.channels.store import schema
from service.cli.client import check_address, open_channel
from service.cli.commands.database_commands import database_url
from service.cli.connection import token_in
from service.cli.connectors.connector_site import ConnectorSite
from service.cli.console import EXIT_USAGE, UserError, count, print_line
from service.observability.log_output import configure_logs
from service.settings import Address


def serve(
    site: ConnectorSite,
    address: str,
    metrics_address: str,
    poll_seconds: float,
    *,
    metrics_token_file: Path | None = None,
    stop_with_input: bool = False,
) -> None:
    """Runs the connectors until SIGINT or SIGTERM, or with `stop_with_input` until standard input ends.

    With `metrics_token_file`, metrics need the token in it. Raises UserError where they cannot start.
    """
    check_address(site.server)
    token = None if metrics_token_file is None else metrics_token(metrics_token_file)
    webhooks, metrics = _address("--address", address), _address("--metrics-address", metrics_address)
    configure_logs(site.settings.log_format)
    with database_url(site.settings) as url:
        options = Options(webhooks, metrics, url, timedelta(seconds=poll_seconds), token)
        try:
            uvloop.run(_serve(site, options, stop_with_input))
        except* (Away, OSError, asyncpg.PostgresError, SQLAlchemyError) as errors:
            raise UserError(f"The connectors stopped: {errors.exceptions[0]}") from errors


def metrics_token(path: Path) -> MetricsToken:
    """The token in a file, read at each scrape, so that a new one is in force at once. Raises UserError."""
    token_in(path)

    def current() -> str | None:
        try:
            return token_in(path)
        except UserError:
            return None

    return current


async def _serve(site: ConnectorSite, options: Options, stop_with_input: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if stop_with_input:
        asyncio.get_running_loop().add_reader(sys.stdin, stop.set)
    await schema.migrate(options.database_url)

    def started(listening: Listening) -> None:
        accounts = count(len(site.setup.accounts.accounts), "account")
        print_line(f"The connectors of {accounts} are running.")
        print_line(f"  webhooks    http://{listening.webhooks}/webhooks/ACCOUNT")
        print_line(f"  metrics     http://{listening.metrics}/metrics")
        print_line(f"  Truestock   {site.server}")

    await connectors.run(site.setup, options, lambda: open_channel(site.server), stop, started=started)
    print_line("Stopped.")


def _address(option: str, text: str) -> Address:
    try:
        return Address.parse(text)
    except ValueError as error:
        raise UserError(f"{option}: {error}", code="USAGE", exit_code=EXIT_USAGE) from error
