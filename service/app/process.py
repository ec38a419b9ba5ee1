"""The service as a process: signals, logs, and what `truestock serve` prints."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from pathlib import Path

import structlog
import uvloop

from service.app.application import Running, StartError, running
from service.background import first_of
from service.settings import DEFAULT_SERVER, Settings
from service.version import VERSION


def serve(settings: Settings) -> None:
    """Runs a service until SIGINT or SIGTERM, then drains and stops it. Raises StartError."""
    _configure_logs()
    # uvloop takes about a fifth less CPU per call than the event loop of asyncio.
    uvloop.run(_serve(settings))


def _configure_logs() -> None:
    """Logs lines to stderr. Tracebacks carry no variable values, because an order's contents do not belong in a log."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # asyncpg logs one traceback per pooled connection for what our own log says in one line.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as service:
        print(_banner(service), flush=True)
        await first_of(stop, service.lost)
        print("Stopping: finishing the calls in flight …", flush=True)
    print("Stopped.", flush=True)
    if service.lost.is_set():
        raise StartError(
            "the embedded PostgreSQL exited, so the service stopped; see its postgres.log, then start again"
        )


def _banner(service: Running) -> str:
    sample = "\n  sample      loaded: 7 locations, about 300 products" if service.loaded_sample else ""
    return f"""Truestock {VERSION} is running.
  gRPC        {service.address}  (health and reflection are on)
  metrics     http://{service.metrics_address}/metrics
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
