"""The service as a process: signals, logs, and what `truestock serve` prints."""

from __future__ import annotations

import asyncio
import signal
import sys

import structlog
import uvloop

from service.config import Settings
from service.server import Running, running
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


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with running(settings) as service:
        print(_banner(service), flush=True)
        await stop.wait()
        print("Stopping: answering what is in flight …", flush=True)
    print("Stopped.", flush=True)


def _banner(service: Running) -> str:
    sample = (
        "\n  sample      a made-up retailer was loaded: 7 locations, about 300 products"
        if service.loaded_sample
        else ""
    )
    server = "" if service.address.endswith(":50051") else f" --server {service.address}"
    return f"""Truestock {VERSION} is running.
  gRPC        {service.address}  (health and reflection are on)
  metrics     http://{service.metrics_address}/metrics
  database    {service.database}
  rules       revision {service.policy_revision}{sample}

Try next, in another terminal:
  .venv/bin/truestock stock --limit 10{server}
  .venv/bin/truestock availability TRN-1205-MOS --channel tiktok_shop --locations{server}
  .venv/bin/truestock allocate --channel shopify --order A-1 --line TRN-1205-MOS:2 --sold --country US{server}

Ctrl-C stops it all."""
