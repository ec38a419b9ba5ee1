"""The connectors of an accounts file as a child process of a service, for a laptop: a server runs them alone."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from service.settings import Settings

RESTART_SECONDS = 5.0
STOP_SECONDS = 8.0
"""How long the connectors may take to finish what they do; then they are ended. What they had is read again."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def connectors_beside(accounts: Path | None, settings: Settings, server: str) -> AsyncIterator[None]:
    """Runs the connectors of an accounts file until the block ends, and starts them again if they end; None: none."""
    keeping = None if accounts is None else asyncio.create_task(_keep(accounts, settings, server))
    try:
        yield
    finally:
        if keeping is not None:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping


async def _keep(accounts: Path, settings: Settings, server: str) -> None:
    while True:
        process = await _start(accounts, settings, server)
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            await _end(process)
            raise
        log.warning("the connectors ended and are started again", exit_code=code, pause_seconds=RESTART_SECONDS)
        await asyncio.sleep(RESTART_SECONDS)


async def _start(accounts: Path, settings: Settings, server: str) -> Process:
    command = ("channels", "serve", "--accounts", str(accounts), "--server", server, "--stop-with-input")
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "service", *command),
        # It ends with this process, however that ends: then its input is closed.
        stdin=PIPE,
        env=_environment(settings),
        # Ctrl-C in a terminal is for the service, which stops its connectors.
        start_new_session=True,
    )


def _environment(settings: Settings) -> dict[str, str]:
    """The database of the service, by variables: its URL may have a password, which arguments would show."""
    named = {"DATABASE_URL", "TRUESTOCK_DATABASE_URL", "TRUESTOCK_DATABASE_URL_FILE", "TRUESTOCK_DATA_DIR"}
    environment = {name: value for name, value in os.environ.items() if name not in named}
    if settings.database_url is None:
        return {**environment, "TRUESTOCK_DATA_DIR": str(settings.data_dir)}
    return {**environment, "TRUESTOCK_DATABASE_URL": settings.database_url}


async def _end(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
