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
from service.settings import DEFAULT_SERVER, Settings
from service.version import VERSION


def serve(settings: Settings) -> None:
    """Runs a service until SIGINT or SIGTERM, then drains and stops it. Raises StartError."""
    _configure_logs()
    uvloop.run(_serve(settings))


def _configure_logs() -> None:
    """Lines on stderr, without the values of variables: an order's contents have no place in a log."""
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
    # The pool's own tracebacks, one for each connection, say nothing that our log does not say in a line.
    logging.getLogger("asyncpg").setLevel(logging.CRITICAL)


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as service:
        print(_banner(service), flush=True)
        await _either(stop, service.lost)
        print("Stopping: answering what is in flight …", flush=True)
    print("Stopped.", flush=True)
    if service.lost.is_set():
        raise StartError("the embedded PostgreSQL has ended, so the service has too; its log says why. Start it again")


async def _either(*events: asyncio.Event) -> None:
    waiting = [asyncio.ensure_future(event.wait()) for event in events]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for one in waiting:
        one.cancel()


def _banner(service: Running) -> str:
    sample = (
        "\n  sample      a made-up retailer was loaded: 7 locations, about 300 products"
        if service.loaded_sample
        else ""
    )
    return f"""Truestock {VERSION} is running.
  gRPC        {service.address}  (health and reflection are on)
  metrics     http://{service.metrics_address}/metrics
  database    {service.database}
  rules       revision {service.policy_revision}{sample}

Try next, in another terminal:
{_commands(service)}

Ctrl-C stops it all."""


def _commands(service: Running) -> str:
    """Three commands that work on what is there, as they have to be typed here."""
    server = "" if service.address == DEFAULT_SERVER else f" --server {service.address}"
    of_the_sample = (
        "stock --limit 10",
        "availability TRN-1205-MOS --channel tiktok_shop --locations",
        "allocate --channel shopify --order A-1 --line TRN-1205-MOS:2 --sold --country US",
    )
    of_any = ("policies", "stock --limit 10", "import locations locations.csv")
    commands = of_the_sample if service.has_sample else of_any
    return "\n".join(f"  {_program()} {command}{server}" for command in commands)


def _program() -> str:
    """How this program was called."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "truestock" else f"{sys.executable} -m service"
