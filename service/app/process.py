"""The service as a process: signals, logs, and what `truestock serve` prints."""

from __future__ import annotations

import asyncio
import faulthandler
import os
import sys
from pathlib import Path
from typing import Any

import uvloop

from service.app import early_stop
from service.app.application import Running, running
from service.app.connector_process import connectors_beside
from service.app.drain import EXIT_SECONDS
from service.app.early_stop import StoppedEarly
from service.app.garbage_collector import spare_started_objects
from service.app.listening import StartError
from service.app.workers.supervisor import running_workers
from service.background import first_of
from service.database.database import RETRYABLE
from service.observability.log_output import configure_logs
from service.settings import DEFAULT_SERVER, Settings
from service.version import VERSION

LAST_RESORT_SECONDS = 0.5
"""How long before the process has to have ended it is ended by force."""


def serve(settings: Settings, channels: Path | None = None) -> None:
    """Runs a service until SIGINT or SIGTERM, then drains and stops it, and exits the process. Raises StartError.

    `channels` is the accounts file of connectors that run beside it.
    """
    configure_logs(settings.log_format)
    exit_code = 0
    try:
        # uvloop takes about a fifth less CPU per call than the event loop of asyncio.
        uvloop.run(_serve(settings, channels))
    except StoppedEarly as stopped:
        print(stopped, file=sys.stderr)
        exit_code = stopped.exit_code
    early_stop.ignore()
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything has ended. Python would spend a second or more on freeing memory, and wait for every thread.
    os._exit(exit_code)


class _Signals:
    """Signals to a running service: the first one stops it, one more cuts off the calls in flight.

    Before the service is ready, the first one cancels its start.
    """

    def __init__(self, start: asyncio.Task[None], seconds: float) -> None:
        """`seconds` are those within which the process ends after the first signal."""
        self.first: int | None = None
        self.stop, self.hurried = asyncio.Event(), asyncio.Event()
        self._start: asyncio.Task[None] | None = start
        self._seconds = seconds
        for number in early_stop.SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._receive, number)

    def started(self) -> None:
        """From now on the first signal sets `stop`."""
        self._start = None

    def _receive(self, number: int) -> None:
        if self.first is not None:
            self.hurried.set()
            return
        self.first = number
        asyncio.get_running_loop().set_exception_handler(_report_other_than_cut_connections)
        # The last resort, for code that hangs where no deadline reaches it: a thread that needs nothing of Python's
        # ends the process, and writes where each thread was.
        faulthandler.dump_traceback_later(self._seconds - LAST_RESORT_SECONDS, exit=True)
        if self._start is None:
            self.stop.set()
        else:
            self._start.cancel()


def _report_other_than_cut_connections(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What awaited a connection that the stop has cut off may be gone, and then nothing takes the error."""
    if not isinstance(context.get("exception"), (*RETRYABLE, asyncio.CancelledError)):
        loop.default_exception_handler(context)


async def _serve(settings: Settings, channels: Path | None) -> None:
    task = asyncio.current_task()
    assert task is not None
    signals = _Signals(task, settings.drain_seconds + EXIT_SECONDS)
    try:
        run = running if settings.workers == 1 else running_workers
        async with run(settings, signals.hurried) as service:
            signals.started()
            spare_started_objects()
            print(_banner(service, settings.workers), flush=True)
            async with connectors_beside(channels, settings, service.address):
                await first_of(signals.stop, service.lost)
            print("Stopping: finishing the calls in flight …", flush=True)
    except (asyncio.CancelledError, StartError) as error:
        if signals.first is None:
            raise
        # What fails after the signal fails because of it.
        raise StoppedEarly(signals.first) from error
    print("Stopped.", flush=True)
    if service.lost.is_set():
        raise StartError(
            "the embedded PostgreSQL exited, so the service stopped; see its postgres.log, then start again"
        )


def _banner(service: Running, workers: int) -> str:
    sample = "\n  sample      loaded: 7 locations, about 300 products, a dozen orders" if service.loaded_sample else ""
    processes = f"\n  workers     {workers} processes answer calls" if workers > 1 else ""
    scheme = "https" if service.has_tls else "http"
    return f"""Truestock {VERSION} is running.
  gRPC        {service.address}  (health and reflection are on)
  metrics     {scheme}://{service.metrics_address}/metrics{processes}
  database    {service.database}
  rules       revision {service.policy_revision}{sample}

Try next, in another terminal:
{_commands(service)}

Ctrl-C stops the service and its database."""


def _commands(service: Running) -> str:
    """Three commands that work on this data, exactly as typed in this terminal."""
    server = "" if service.address == DEFAULT_SERVER else f" --server {service.address}"
    sample_commands = (
        "stock --limit 10",
        "availability TRN-1205-MOS --channel tiktok_shop --locations",
        "allocate --channel shopify --order A-1 --line TRN-1205-MOS:2 --sold --country US",
    )
    general_commands = ("policies", "stock --limit 10", "import locations locations.csv")
    commands = sample_commands if service.has_sample else general_commands
    return "\n".join(f"  {_program()} {command}{server}" for command in commands)


def _program() -> str:
    """The command that started this program."""
    program = Path(sys.argv[0])
    return str(program) if program.name == "truestock" else f"{sys.executable} -m service"
